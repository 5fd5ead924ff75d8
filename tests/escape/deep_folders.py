# want: AC|MLE|RE|TLE
# folders so deep and files so many that removing them one by one takes seconds
import os
try:
    while True:
        os.mkdir("d")
        os.chdir("d")
        for i in range(3):
            os.close(os.open(str(i), os.O_CREAT | os.O_WRONLY))
except OSError:
    pass
