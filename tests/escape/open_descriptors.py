# want: AC
# the same for the warm interpreter
import os
for i in range(3, 4096):
    try:
        os.fstat(i)
        print("BREACH", i)
    except OSError:
        pass
