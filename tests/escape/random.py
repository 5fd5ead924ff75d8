"""random_calls.c over and over with new seeds, an honest program after each, for some time.
    random.py HONE SECONDS [SEED]
Prints how often each verdict came; fails on an IE, a wrong answer of the honest program, or anything left on the host."""
import collections, glob, json, os, subprocess, sys, time

hone, seconds = sys.argv[1], float(sys.argv[2])
seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
text = open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "random_calls.c")).read()
LIMITS = {"wall_ms": 6000, "cpu_ms": 3000, "mem_bytes": 128 << 20, "out_bytes": 65536, "procs": 32, "tmp_bytes": 32 << 20}
CONTROL = {"language": "python", "code": "print(6 * 7)", "limits": {"wall_ms": 30000}}


def state():
    own = [l.split(":", 2)[2].strip() for l in open("/proc/self/cgroup") if ":memory:" in l or l.startswith("0::")]
    groups = [d for o in own for base in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup") for d in glob.glob(base + o + "/hone-box-*")
              if not os.path.exists("/proc/" + d.rsplit("-", 2)[1])]
    return {"dead groups": groups, "core_pattern": open("/proc/sys/kernel/core_pattern").read(), "name": os.uname().nodename, "dev": sorted(os.listdir("/dev"))}


before, end = state(), time.time() + seconds
seen, bad, runs = collections.Counter(), [], 0
while time.time() < end:
    lines = []
    for seed in range(seed, seed + 8):
        lines.append({"id": seed, "language": "c", "code": text, "stdin": "%d\n" % seed, "limits": LIMITS})
        lines.append(dict(CONTROL, id="control"))
    seed += 1
    p = subprocess.run([hone, "sandbox", "run", "--jobs", "1"], input="".join(json.dumps(l) + "\n" for l in lines), capture_output=True, text=True)
    got = [json.loads(l) for l in p.stdout.splitlines()]
    if p.returncode or len(got) != len(lines):
        bad.append("exit %d, %d answers: %s" % (p.returncode, len(got), p.stderr[-300:]))
    for r in got:
        if r["id"] == "control":
            if r["verdict"] != "AC" or r["stdout"] != "42\n":
                bad.append("the honest program: %s %s" % (r["verdict"], r["sub"]))
            continue
        runs += 1
        seen[r["verdict"] + " " + r["sub"]] += 1
        if r["verdict"] == "IE" or r.get("retries"):
            bad.append("seed %s: %s %s, retries %s" % (r["id"], r["verdict"], r["sub"], r.get("retries", 0)))
after = state()
for k in before:
    if after[k] != before[k]:
        bad.append("the host changed: %s from %s to %s" % (k, before[k], after[k]))
print("%d runs: %s" % (runs, ", ".join("%s x%d" % kv for kv in seen.most_common())))
for b in bad[:20]:
    print("  " + b)
sys.exit(1 if bad else 0)
