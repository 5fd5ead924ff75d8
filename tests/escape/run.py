"""Runs the programs of this folder on one worker, each followed by an honest one, and looks at the host before and after.
    run.py HONE FOLDER [--as-nobody]
A program says `want:` verdicts in its first line, `runs: N` in its second if it must run N times in a row on the same worker,
and prints BREACH when it got what it must not get."""
import glob, json, os, subprocess, sys, time

hone, folder = sys.argv[1:3]
nobody = "--as-nobody" in sys.argv
LIMITS = {"wall_ms": 4000, "cpu_ms": 1000, "mem_bytes": 128 << 20, "out_bytes": 65536, "procs": 32, "fds": 64, "tmp_bytes": 64 << 20, "tmp_inodes": 4096}
LANG = {".py": "python", ".c": "c", ".sh": "sh"}
CONTROL = {"language": "python", "code": "import os\nprint(6 * 7, len(os.listdir('/tmp')))", "limits": dict(LIMITS, wall_ms=10000)}


def host():
    """What an attack could have left behind."""
    cg = [d for d in glob.glob("/sys/fs/cgroup/*/**/hone-box-*", recursive=True) if not os.path.exists("/proc/" + d.rsplit("-", 2)[1])]
    mine = [p for p in os.listdir("/proc") if p.isdigit() and comm(p) in ("hone-escapee",)]
    mounts = sum("hone" in l.split()[:1] for l in open("/proc/self/mounts"))
    return {"groups": len(cg), "escapees": len(mine), "mounts": mounts, "cores": len(glob.glob("core*") + glob.glob("/tmp/core*")),
            "tmp": len([x for x in os.listdir("/tmp") if "plant" in x or x.startswith(".x")])}


def comm(p):
    try:
        return open("/proc/%s/comm" % p).read().strip()
    except OSError:
        return ""


def mem_free():
    return next(int(l.split()[1]) for l in open("/proc/meminfo") if l.startswith("MemAvailable")) >> 10


names = sorted(glob.glob(folder + "/*.py") + glob.glob(folder + "/*.c") + glob.glob(folder + "/*.sh"))
names = [n for n in names if os.path.basename(n) not in ("run.py", "random.py")]
lines, want = [], {}
for n in names:
    text = open(n).read()
    key = os.path.basename(n)
    want[key] = text.split("want:")[1].split("\n")[0].strip().split("|")
    runs = int((text.split("\n")[1].split("runs:") + ["1"])[1])
    lines += runs * [{"id": key, "language": LANG[os.path.splitext(n)[1]], "code": text, "limits": LIMITS}]
    lines.append(dict(CONTROL, id="control after " + key))
env = dict(os.environ, HONE_CANARY="HONECANARY", **({"HOME": "/nonexistent"} if nobody else {}))
env.pop("XDG_CACHE_HOME", None)
before, free = host(), mem_free()
cmd = [hone, "sandbox", "run", "--jobs", "1"]
if nobody:
    cmd = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] + cmd
began = time.time()
p = subprocess.run(cmd, input="".join(json.dumps(l) + "\n" for l in lines), capture_output=True, text=True, env=env)
took = time.time() - began
if p.returncode == 6:
    print("skip: no sandbox here:", p.stderr.strip())
    sys.exit(77)
bad = []
got = [json.loads(l) for l in p.stdout.splitlines()]
if len(got) != len(lines) or p.returncode:
    bad.append("%d answers to %d programs, exit %d: %s" % (len(got), len(lines), p.returncode, p.stderr[-300:]))
drawn = []
for r in got:
    key, text = r["id"], r.get("stdout", "") + r.get("stderr", "")
    if key.startswith("control"):
        if r["verdict"] != "AC" or r["stdout"] != "42 0\n":
            bad.append("%s: %s %s %r" % (key, r["verdict"], r["sub"], text[:100]))
        continue
    if r["verdict"] not in want[key]:
        bad.append("%s: verdict %s (%s), not %s: %s" % (key, r["verdict"], r["sub"], "|".join(want[key]), text[-200:]))
    if "BREACH" in text or "HONECANARY" in text or "root:x:0" in text or "root:$" in text:
        bad.append("%s: %s" % (key, text[:200]))
    if max(len(r["stdout"]), len(r["stderr"])) > LIMITS["out_bytes"]:
        bad.append("%s: more output than the limit" % key)
    # only a hang: bench/sandbox_limits has the figures. Who had no CPU gets up to three times the limit more (docs/sandbox.md)
    if r["wall_ms"] > 4 * LIMITS["wall_ms"] + 2000:
        bad.append("%s: took %.0f ms" % (key, r["wall_ms"]))
    if r["mem_peak_bytes"] > LIMITS["mem_bytes"] * 1.05:
        bad.append("%s: used %d bytes" % (key, r["mem_peak_bytes"]))
    drawn += [l for l in text.splitlines() if l.startswith("RANDOM")]
if len(set(drawn)) != 2:
    bad.append("two runs drew the same numbers: %s" % drawn)
for _ in range(40):  # others may use the machine: only what stays counts
    after = host()
    if all(after[k] <= before[k] for k in before):
        break
    time.sleep(0.25)
else:
    bad.append("left on the host: %s, before %s" % (after, before))
print("%d programs as %s in %.1f s, %d failures; free memory %d -> %d MiB" % (len(names), "nobody" if nobody else "the caller", took, len(bad), free, mem_free()))
for b in bad:
    print("  " + b)
sys.exit(1 if bad else 0)
