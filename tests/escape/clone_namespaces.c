// want: AC
// a user namespace by clone, clone3 or with flags in the upper half
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void)
{
    unsigned long flags[] = {CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP, 0x80, CLONE_PARENT, CLONE_PTRACE};
    for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
        long r = syscall(SYS_clone, flags[i] | SIGCHLD, 0, 0, 0, 0);
        if (r == 0)
            _exit(0);
        if (r > 0)
            printf("BREACH clone %lx\n", flags[i]);
    }
    uint64_t a[11] = {CLONE_NEWUSER};
    if (syscall(SYS_clone3, a, sizeof a) >= 0 || errno != ENOSYS)
        printf("BREACH clone3\n");
    return 0;
}
