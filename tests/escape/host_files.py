# want: AC
# names and contents that only the host has
import os
for p in ("/etc/shadow", "/etc/ssh", "/root", "/home", "/var/lib", "/var/log", "/run/systemd", "/boot", "/mnt", "/etc/hostname", "/etc/machine-id", "/etc/resolv.conf",
          "/proc/cmdline", "/proc/mounts", "/proc/version", "/proc/net/tcp", "/proc/partitions", "/proc/sys", "/sys"):
    if os.path.isdir(p) and os.listdir(p) or os.path.isfile(p) and p not in ("/proc/mounts",):
        print("BREACH", p)
os.chdir("/")
for _ in range(200):
    os.chdir("..")
if sorted(os.listdir(".")) != sorted(os.listdir("/")) or "work" in os.listdir("/") or "root" in os.listdir("/"):
    print("BREACH", os.listdir("."))
if os.uname().nodename != "box":
    print("BREACH", os.uname().nodename)
