# want: AC
# limits and priorities go down only
import os, resource
for k in [x for x in dir(resource) if x.startswith("RLIMIT_")]:
    soft, hard = resource.getrlimit(getattr(resource, k))
    if hard == resource.RLIM_INFINITY:
        continue
    try:
        resource.setrlimit(getattr(resource, k), (hard, hard + 1))
        print("BREACH", k)
    except (OSError, ValueError):
        pass
for act in (lambda: os.nice(-5), lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)), lambda: os.setpriority(os.PRIO_PROCESS, 1, -1),
            lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)), lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0]),
            lambda: open("/proc/self/oom_score_adj", "w").write("-1000") and open("/proc/self/oom_score_adj").read()):
    try:
        if act() is not None or os.getuid() == 0:
            print("BREACH", act)
    except OSError:
        pass
