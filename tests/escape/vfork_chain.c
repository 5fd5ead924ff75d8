// want: TLE|MLE|RE
// a chain of vforks, each waiting for the next, under ignored signals
#include <signal.h>
#include <unistd.h>
int main(void)
{
    for (int s = 1; s < 65; s++)
        signal(s, SIG_IGN);
    for (;;)
        if (vfork() < 0)
            pause();
}
