# want: AC
# a file, link or folder anywhere but in its own places
import os
seen = 0
for d, dirs, names in os.walk("/"):
    if d.startswith(("/proc", "/w", "/tmp", "/dev/shm", "/var/tmp")):
        dirs[:] = []
        continue
    if d.count("/") > 2:
        dirs[:] = []
    seen += 1
    for act in (lambda: os.open(d + "/.x", os.O_CREAT | os.O_WRONLY), lambda: os.mkdir(d + "/.y"), lambda: os.symlink("a", d + "/.z"),
                lambda: os.rename("/tmp", d + "/.r"), lambda: os.chmod(d, 0o777), lambda: os.utime(d)):
        try:
            act()
            print("BREACH", d)
        except OSError:
            pass
print(seen > 10)
