// want: RE
// a crash with a large image leaves no core file
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
int main(void)
{
    struct rlimit l = {1 << 30, 1 << 30};
    setrlimit(RLIMIT_CORE, &l);
    memset(malloc(50 << 20), 1, 50 << 20);
    abort();
}
