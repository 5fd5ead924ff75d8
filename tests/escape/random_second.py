# want: AC
# two runs of the same program draw different numbers
import random, os, uuid, tempfile
print("RANDOM", random.random(), os.urandom(8).hex(), tempfile.mktemp())
