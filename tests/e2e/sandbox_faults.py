"""Drives `hone sandbox run` while its world breaks (see sandbox_faults.sh)."""
import glob, json, os, signal, subprocess, sys, time

hone = os.path.abspath(sys.argv[1])
failures = []


def check(name, ok, what=""):
    print("%-6s %s%s" % ("ok" if ok else "FAILED", name, "" if ok else ": " + str(what)[:400]))
    if not ok:
        failures.append(name)


def start(lines, jobs=1, wrap=(), **env):
    p = subprocess.Popen(list(wrap) + [hone, "sandbox", "run", "--jobs", str(jobs)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                         text=True, env=dict(os.environ, **env))
    p.stdin.write("".join(json.dumps(dict({"id": i, "limits": {"wall_ms": 60000, "cpu_ms": 5000}}, **l)) + "\n" for i, l in enumerate(lines)))
    p.stdin.close()
    return p


def finish(p, limit=180):
    p.stdin = None
    try:
        out, err = p.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        p.kill()
        return [], "hung", -1
    return [json.loads(l) for l in out.splitlines()], err, p.returncode


def run(lines, **kw):
    return finish(start(lines, **kw))


def children(pid):
    try:
        return [int(x) for x in open("/proc/%d/task/%d/children" % (pid, pid)).read().split()]
    except OSError:
        return []


def below(pid):
    out = []
    for c in children(pid):
        out += [c] + below(c)
    return out


def until(what, seconds=60):
    end = time.time() + seconds
    while time.time() < end:
        v = what()
        if v:
            return v
        time.sleep(0.01)
    return what()


def groups_of(keepers):
    return [d for d in glob.glob("/sys/fs/cgroup/*/**/hone-box-*", recursive=True) if int(d.rsplit("-", 2)[1]) in keepers]


HELLO = {"language": "python", "code": "print(6 * 7)"}
SLOW = {"language": "python", "code": "import time\ntime.sleep(1.5)\nprint(6 * 7)"}


def right(r):
    return len(r) > 0 and all(x["verdict"] == "AC" and x["stdout"] == "42\n" for x in r)


def kill_part(name, pick):
    p = start([SLOW, HELLO])
    tree = until(lambda: below(p.pid) if len(below(p.pid)) >= 5 else None)  # keeper, box, zygote, init, program
    victim = pick(p.pid) if tree else None
    if victim:
        os.kill(victim, signal.SIGKILL)
    r, err, rc = finish(p)
    check("kill -9 of the %s: repeated, right, nothing left" % name, victim and right(r) and rc == 0 and sum(x.get("retries", 0) for x in r) >= 1 and
          until(lambda: not any(os.path.exists("/proc/%d" % x) for x in tree)), (victim, r, err, rc))


r, err, rc = run([HELLO])
if rc == 6:
    print("skip: no sandbox here:", err.strip())
    sys.exit(77)
keeper = lambda pid: children(pid)[0]
box = lambda pid: children(keeper(pid))[0]
kill_part("keeper", keeper)
kill_part("box", box)
kill_part("zygote", lambda pid: min(children(box(pid))))

p = start([SLOW, HELLO], jobs=2)
tree = until(lambda: below(p.pid) if len(below(p.pid)) >= 8 else None)
p.kill()
p.wait()
check("kill -9 of the owner: every process is gone", tree and until(lambda: not any(os.path.exists("/proc/%d" % x) for x in tree), 20), tree)

r, err, rc = run([HELLO], HONE_FAULT="fork:1+")
check("no process for a worker: an error that says so", rc not in (0, 1) and not r and "sandbox worker" in err, (r, err, rc))
r, err, rc = run([HELLO], HONE_FAULT="userns:1+")
check("no user namespaces: an error with a hint", rc == 6 and not r and "user namespaces" in err, (r, err, rc))

tight = {"wall_ms": 60000, "cpu_ms": 500, "mem_bytes": 64 << 20}
r, err, rc = run([HELLO, {"language": "python", "code": "while True: pass", "limits": tight},
                  {"language": "c", "code": "#include <stdlib.h>\n#include <string.h>\nint main(void){for(;;){char*p=malloc(1<<20);if(p)memset(p,1,1<<20);}}", "limits": tight},
                  {"language": "python", "code": "import os\nfor i in range(3): os.fork()\nwhile True: pass", "limits": tight}], HONE_SANDBOX_NO_CGROUP="1")
check("no control groups: limits hold by other means", [x["verdict"] for x in r] == ["AC", "TLE", "MLE", "TLE"], [(x["verdict"], x["sub"]) for x in r] or err)

CPP = {"language": "cpp", "code": "#include <bits/stdc++.h>\nint main(){std::cout << 42 << std::endl;}"}
r, err, rc = run([CPP], HOME="/dev/null", XDG_CACHE_HOME="")
check("no place for the compiler's cache: compiles without", right(r), (r, err, rc))
fill = {"language": "python", "code": "n = 0\ntry:\n  while True: n += open('/tmp/f', 'ab', 0).write(b'x' * 65536)\nexcept OSError as e: print(n <= 1 << 20, e.errno)", "limits": {"tmp_bytes": 1 << 20}}
r, err, rc = run([fill, HELLO])
check("the run's disk is full: the program is told, the next one has room", len(r) == 2 and r[0]["stdout"] == "True 28\n" and right(r[1:]), (r, err))
full = subprocess.run([hone, "sandbox", "run"], input=json.dumps(dict(HELLO, id=1)) + "\n", stdout=open("/dev/full", "w"), stderr=subprocess.PIPE, text=True, timeout=120)
check("the answers cannot be written: an error", full.returncode not in (0, 1) or full.stderr, (full.returncode, full.stderr))
if os.geteuid() == 0:
    shell = lambda script: ("unshare", "-m", "--propagation", "private", "sh", "-c", script + '; exec "$0" "$@"')
    r, err, rc = run([HELLO, CPP], wrap=shell("mount --rbind /tmp /tmp && mount -o remount,bind,ro /tmp"))
    check("read-only /tmp", right(r), (r, err, rc))
    r, err, rc = run([HELLO, CPP], wrap=shell("mount -t tmpfs -o size=64k tmpfs /mnt; head -c 60000 /dev/zero > /mnt/x; export XDG_CACHE_HOME=/mnt HOME=/mnt"))
    check("a full disk for the compiler's cache", right(r), (r, err, rc))
    few = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", 'ulimit -u 3; exec "$0" "$@"')
    r, err, rc = run([HELLO, HELLO], wrap=few, HOME="/nonexistent", XDG_CACHE_HOME="")
    check("no more processes for the user: an error or IE, never another verdict", (rc and not r and err) or all(x["verdict"] in ("AC", "IE") for x in r), (r, err, rc))
else:
    print("skip: read-only /tmp, full disk and process limits need root")
p = start([SLOW])
until(lambda: len(below(p.pid)) >= 3)
victims = below(p.pid)
for v in [p.pid] + victims:
    try:
        os.kill(v, signal.SIGKILL)
    except OSError:
        pass
p.wait()
until(lambda: not any(os.path.exists("/proc/%d" % v) for v in victims))
left = groups_of(victims)
r, err, rc = run([HELLO])
check("owner and keeper killed at once: the next start takes the %d groups away" % len(left), right(r) and not groups_of(victims), (left, groups_of(victims), err))
sys.exit(1 if failures else 0)
