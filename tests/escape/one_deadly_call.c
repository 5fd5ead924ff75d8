// want: SV
// the verdict of such a call
#include <sys/syscall.h>
#include <unistd.h>
int main(void) { return (int)syscall(SYS_unshare, 0x10000000); }
