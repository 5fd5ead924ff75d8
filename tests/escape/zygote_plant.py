# want: AC
# changes to what all warm interpreters share
import sys, builtins, os, gc, random, json, threading, ctypes
builtins.len = lambda x: 42
sys.modules["json"] = None
os.environ["PLANT"] = "1"
sys.path.insert(0, "/tmp")
for d in ("/tmp", "/dev/shm", "/var/tmp", "/w", "/w/box", "."):
    try:
        open(d + "/plant.py", "w").write("print('BREACH')")
        open(d + "/sitecustomize.py", "w").write("print('BREACH')")
    except OSError:
        pass
for m in ("/usr/lib/python3/dist-packages", "/usr/lib/python3.11/__pycache__", "/usr/local/lib/python3.11/dist-packages"):
    try:
        open(m + "/plant.py", "w")
        print("BREACH", m)
    except OSError:
        pass
gc.disable()
a = 257
ctypes.c_int.from_address(id(1) + 24).value = 7 if False else 1
