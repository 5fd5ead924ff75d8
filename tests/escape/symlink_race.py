# want: AC
# links where the sandbox may write after the run
import os
for n in ("main.py", "prog", "note", "../box", "out"):
    try:
        os.unlink(n)
    except OSError:
        pass
    try:
        os.symlink("/etc/passwd", n)
    except OSError:
        pass
try:
    os.rename("/w/box", "/w/old")
    os.symlink("/", "/w/box")
except OSError:
    pass
