# want: AC
# a double fork with its own session that ignores every signal
import os, signal, time
if os.fork() == 0:
    os.setsid()
    for s in range(1, 65):
        try:
            signal.signal(s, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    if os.fork() == 0:
        open("/proc/self/comm", "w").write("hone-escapee")
        while True:
            time.sleep(1)
    os._exit(0)
os.wait()
time.sleep(0.05)
