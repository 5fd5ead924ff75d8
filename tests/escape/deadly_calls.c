// want: AC
// every call that only an attack makes must end the process that makes it
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void)
{
    static const struct { int nr; const char *name; } c[] = {
#define C(n) {SYS_##n, #n}
        C(ptrace), C(process_vm_readv), C(process_vm_writev), C(kcmp), C(bpf), C(perf_event_open), C(userfaultfd), C(io_uring_setup), C(mount), C(umount2),
        C(pivot_root), C(chroot), C(setns), C(unshare), C(open_by_handle_at), C(kexec_load), C(init_module), C(delete_module), C(reboot), C(swapon), C(acct),
        C(iopl), C(ioperm), C(add_key), C(request_key), C(keyctl), C(fanotify_init), C(settimeofday), C(clock_settime), C(adjtimex), C(syslog), C(modify_ldt),
        C(sethostname), {428, "open_tree"}, {429, "move_mount"}, {430, "fsopen"}, {438, "pidfd_getfd"}, {442, "mount_setattr"}};
    for (unsigned i = 0; i < sizeof c / sizeof *c; i++) {
        int st = 0;
        pid_t p = fork();
        if (p == 0) {
            syscall(c[i].nr, 0, 0, 0, 0, 0, 0);
            _exit(0);
        }
        waitpid(p, &st, 0);
        if (!WIFSIGNALED(st) || WTERMSIG(st) != SIGSYS)
            printf("BREACH %s\n", c[i].name);
    }
    return 0;
}
