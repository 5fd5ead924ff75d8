#include "core/stop.h"

#include <signal.h>
#include <stddef.h>
#include <unistd.h>

static volatile sig_atomic_t asked;

static void on_signal(int sig)
{
    if (sig == SIGINT && asked)
        _exit(130);
    asked = 1;
    static const char note[] = "\nhone: stopping after this step (again to stop at once)\n";
    ssize_t n = write(2, note, sizeof note - 1);
    (void)n;
}

void stop_catch(void)
{
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
}

int stop_requested(void)
{
    return asked;
}

void stop_request(void)
{
    asked = 1;
}
