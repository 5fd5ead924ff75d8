// want: AC|RE|SV|TLE|MLE|OLE
// Any system call with any arguments, in children that die of it; the seed comes from standard input.
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t state;
static uint64_t rnd(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static long argument(char *page)
{
    static const char *const paths[] = {"/", ".", "..", "/proc/self/mem", "/proc/self/fd/0", "/dev/null", "/dev/zero", "/tmp/f", "/w", "/w/box/main.c", "/etc/passwd", "/proc", "/dev/shm/x"};
    switch (rnd() % 10) {
    case 0: return (long)(rnd() % 8);
    case 1: return -1 - (long)(rnd() % 4);
    case 2: return (long)(page + rnd() % 4096);
    case 3: return (long)paths[rnd() % (sizeof paths / sizeof *paths)];
    case 4: return 1L << rnd() % 63;
    case 5: return (long)rnd();
    case 6: return (long)(rnd() % 70000);
    case 7: return 4096 * (long)(rnd() % 256);
    case 8: return O_CREAT | O_RDWR | (long)(rnd() % 0x200000);
    default: return 0;
    }
}

static void child(void)
{
    char *page = mmap(NULL, 1 << 16, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 1 << 16; i += 8) {
        uint64_t v = rnd() % 3 ? rnd() % 256 : rnd();
        memcpy(page + i, &v, 8);
    }
    alarm(1);
    for (int i = 0; i < 300; i++) {
        long nr = (long)(rnd() % 470);
        if (nr == SYS_exit || nr == SYS_exit_group || nr == SYS_pause || nr == SYS_alarm)
            continue;
        if (rnd() % 500 == 0)
            nr |= 0x40000000;
        syscall(nr, argument(page), argument(page), argument(page), argument(page), argument(page), argument(page));
    }
    _exit(0);
}

int main(void)
{
    unsigned long seed = 1;
    struct timespec t0, t;
    long done = 0;
    if (scanf("%lu", &seed) != 1)
        seed = 1;
    state = 88172645463325252ULL ^ seed * 0x9e3779b97f4a7c15ULL;
    clock_gettime(CLOCK_MONOTONIC, &t0);
    for (int s = 1; s < 65; s++) /* its own children signal it */
        if (s != SIGCHLD && s != SIGALRM)
            signal(s, SIG_IGN);
    do {
        pid_t p = fork();
        if (p == 0)
            child();
        rnd();
        if (p > 0)
            waitpid(p, NULL, 0);
        done++;
        clock_gettime(CLOCK_MONOTONIC, &t);
    } while (t.tv_sec - t0.tv_sec < 2);
    printf("%ld children\n", done);
    return 0;
}
