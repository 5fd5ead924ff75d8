# want: AC|MLE
# all writable places together hold no more than the limit
import os
total = 0
for d in ("/tmp", "/dev/shm", "/var/tmp", "."):
    try:
        for i in range(64):
            fd = os.open("%s/f%d" % (d, i), os.O_CREAT | os.O_WRONLY)
            while True:
                total += os.write(fd, b"x" * (1 << 20))
                if total > 80 << 20:
                    print("BREACH")
                    os._exit(0)
    except OSError:
        pass
