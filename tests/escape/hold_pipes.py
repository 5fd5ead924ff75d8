# want: AC
# children that keep the output open do not keep the run
import os, time
for _ in range(10):
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
print("done")
