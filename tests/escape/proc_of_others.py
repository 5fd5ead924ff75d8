# want: AC
# memory, environment, files and root of any other process
import os
me = int(os.readlink("/proc/self"))  # /proc shows the numbers of the box
for p in [x for x in os.listdir("/proc") if x.isdigit()] + ["1", str(os.getppid()), "2", "3"]:
    if int(p) == me:
        continue
    for what, how in (("mem", os.O_RDWR), ("environ", os.O_RDONLY), ("maps", os.O_RDONLY), ("root/etc/passwd", os.O_RDONLY), ("cwd/main.py", os.O_RDONLY),
                      ("fd/0", os.O_RDONLY), ("exe", os.O_RDONLY), ("auxv", os.O_RDONLY), ("stack", os.O_RDONLY)):
        try:
            fd = os.open("/proc/%s/%s" % (p, what), how)
            if os.read(fd, 1):
                print("BREACH", p, what)
        except OSError:
            pass
