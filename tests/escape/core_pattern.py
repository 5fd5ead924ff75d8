# want: AC
# kernel settings that run a program on the host as root
import os
for p in ("/proc/sys/kernel/core_pattern", "/proc/sys/kernel/modprobe", "/proc/sysrq-trigger", "/sys/kernel/uevent_helper", "/proc/self/oom_adj",
          "/proc/sys/vm/drop_caches", "/sys/kernel/debug", "/proc/kcore", "/proc/kallsyms", "/proc/keys"):
    try:
        fd = os.open(p, os.O_WRONLY)
    except OSError:
        continue
    if p != "/proc/self/oom_adj":
        print("BREACH", p)
