# want: AC
# input that nobody reads, and a closed stream
import os
os.close(0)
print("ok")
