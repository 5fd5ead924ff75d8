// want: RE|TLE|AC
// signals to everything it can see: only its own run may die of it
#include <signal.h>
#include <unistd.h>
int main(void)
{
    for (int i = 0; i < 70000; i++)
        if (i != getpid())
            kill(i, SIGKILL);
    kill(-1, SIGKILL);
    return 0;
}
