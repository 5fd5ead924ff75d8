# want: OLE
# both streams at once, faster than anyone reads
import os
if os.fork() == 0:
    while True:
        os.write(2, b"e" * 65536)
while True:
    os.write(1, b"o" * 65536)
