// want: AC|TLE|RE
// stopping init and itself does not stop the clock
#include <signal.h>
#include <unistd.h>
int main(void)
{
    kill(1, SIGSTOP);
    kill(0, SIGSTOP);
    for (;;)
        raise(SIGSTOP);
}
