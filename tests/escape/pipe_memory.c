// want: AC|MLE|RE
// memory in pipe buffers
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(void)
{
    static char buf[1 << 20];
    long total = 0;
    int p[2];
    while (pipe2(p, O_NONBLOCK) == 0) {
        fcntl(p[1], F_SETPIPE_SZ, 1 << 20);
        long n = write(p[1], buf, sizeof buf);
        total += n > 0 ? n : 0;
    }
    if (total > 128L << 20)
        printf("BREACH %ld\n", total);
    return 0;
}
