# want: AC
# the next run on the same worker sees none of it
import os, sys, gc
if len([1]) != 1 or sys.modules.get("json") is None or "PLANT" in os.environ or "/tmp" in sys.path or not gc.isenabled():
    print("BREACH interpreter")
for d in ("/tmp", "/dev/shm", "/var/tmp", ".", "/w"):
    if [x for x in os.listdir(d) if "plant" in x or "site" in x]:
        print("BREACH", d)
