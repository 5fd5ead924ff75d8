# want: AC
# a control group of its own, or leaving the one it is in
import os
for p in ("/sys/fs/cgroup", "/sys", "/run/cgroup"):
    try:
        os.mkdir(p + "/mine")
        print("BREACH", p)
    except OSError:
        pass
for p in ("/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/memory/cgroup.procs", "/proc/self/cgroup"):
    try:
        open(p, "w").write("0")
        print("BREACH", p)
    except OSError:
        pass
