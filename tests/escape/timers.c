// want: AC|RE|TLE
// timers and queued signals without end
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>
int main(void)
{
    struct sigevent e = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    timer_t t;
    int n = 0;
    signal(SIGRTMIN, SIG_IGN);
    while (n < 100000 && timer_create(CLOCK_MONOTONIC, &e, &t) == 0)
        n++;
    if (n >= 10000)
        printf("BREACH %d\n", n);
    return 0;
}
