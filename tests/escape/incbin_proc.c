// want: CE|AC|RE
// nor the environment of whoever started it
#include <stdio.h>
#include <string.h>
#include <unistd.h>
__asm__(".section .rodata\nblob: .incbin \"/proc/1/environ\"\nblob_end: .byte 0\n");
extern const char blob[], blob_end[];
int main(void)
{
    if (blob_end - blob > 0)
        printf("BREACH %s\n", blob);
    return 0;
}
