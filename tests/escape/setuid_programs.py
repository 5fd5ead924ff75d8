# want: AC
# programs with the set-user-id bit
import os, subprocess
for d, _, names in os.walk("/usr/bin"):
    for n in names:
        p = os.path.join(d, n)
        try:
            st = os.stat(p)
        except OSError:
            continue
        if st.st_mode & 0o6000 and n in ("su", "mount", "umount", "newgrp", "chsh", "passwd", "chfn", "gpasswd", "sudo"):
            try:
                out = subprocess.run([p, "--version"] if n != "su" else [p, "-c", "id"], capture_output=True, text=True, timeout=1).stdout
            except (OSError, subprocess.TimeoutExpired):
                continue
            if "uid=0" in out:
                print("BREACH", p)
if os.getuid() == 0 or os.geteuid() == 0:
    print("BREACH uid", os.getuid())
for line in open("/proc/self/status"):
    k, v = line.split(":", 1)
    if k in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb") and int(v, 16) or k == "NoNewPrivs" and v.strip() != "1" or k == "Seccomp" and v.strip() != "2":
        print("BREACH", line.strip())
