# want: AC
# runs: 2
# both runs draw different numbers
import random, os, uuid, tempfile
print("RANDOM", random.random(), os.urandom(8).hex(), tempfile.mktemp())
