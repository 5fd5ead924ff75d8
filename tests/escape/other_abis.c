// want: SV
// the calls of another architecture under the same numbers
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(void)
{
    long r = syscall(0x40000000 + SYS_getpid); /* x32 */
    if (r > 0)
        printf("BREACH x32\n");
    __asm__ volatile("int $0x80" : "=a"(r) : "a"(20) : "memory"); /* i386 getpid */
    printf("BREACH i386 %ld\n", r);
    return 0;
}
