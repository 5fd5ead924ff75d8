// want: AC
// filters and the settings that protect them cannot be taken back
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void)
{
    if (prctl(PR_SET_SECCOMP, 0, 0, 0, 0) == 0 || syscall(SYS_seccomp, 1, 0, 0) == 0)
        printf("BREACH seccomp\n");
    if (prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0 || prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        printf("BREACH no_new_privs\n");
    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0) == 0 || prctl(PR_SET_SECUREBITS, 0, 0, 0, 0) == 0 || prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) == 0)
        printf("BREACH capabilities\n");
    if (prctl(PR_SET_MM, 8, 0, 0, 0) == 0 || prctl(PR_SET_PTRACER, 1, 0, 0, 0) == 0 || prctl(PR_TASK_PERF_EVENTS_ENABLE, 0, 0, 0, 0) == 0)
        printf("BREACH prctl\n");
    return 0;
}
