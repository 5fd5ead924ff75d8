# want: AC
# device nodes, its own or those that are there
import os, stat
for d, _, names in os.walk("/dev"):
    for n in names:
        p = os.path.join(d, n)
        st = os.lstat(p)
        if (stat.S_ISCHR(st.st_mode) or stat.S_ISBLK(st.st_mode)) and n not in ("null", "zero", "full", "random", "urandom"):
            print("BREACH", p)
for kind, major, minor in ((stat.S_IFCHR, 1, 1), (stat.S_IFBLK, 8, 0), (stat.S_IFCHR, 1, 3), (stat.S_IFBLK, 254, 0)):
    for folder in ("/tmp", "/dev/shm", "."):
        try:
            os.mknod(folder + "/node", kind | 0o666, os.makedev(major, minor))
            print("BREACH", folder)
        except OSError:
            pass
