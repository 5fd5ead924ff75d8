// want: AC
// descriptors left open by the sandbox
#include <fcntl.h>
#include <stdio.h>
int main(void)
{
    for (int i = 3; i < 70000; i++)
        if (fcntl(i, F_GETFD) >= 0)
            printf("BREACH %d\n", i);
    return 0;
}
