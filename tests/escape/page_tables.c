// want: MLE|TLE|RE|AC
// page tables instead of pages: one touched page in every 2 MiB
#include <stdio.h>
#include <sys/mman.h>
int main(void)
{
    unsigned long n = 0;
    for (;;) {
        char *p = mmap(0, 1UL << 30, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED)
            return 0;
        for (unsigned long i = 0; i < 1UL << 30; i += 2UL << 20)
            p[i] = 1, n++;
        if (n > 300000)
            printf("BREACH\n"), n = 0;
    }
}
