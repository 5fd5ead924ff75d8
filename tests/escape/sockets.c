// want: AC
// any socket that could reach out, or another run
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
int main(void)
{
    static const int families[] = {AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, 38 /* ALG */, 40 /* VSOCK */, 44 /* XDP */, 31 /* BLUETOOTH */, 16, 29};
    int sv[2];
    for (unsigned i = 0; i < sizeof families / sizeof *families; i++)
        for (int type = 1; type <= 5; type++)
            if (socket(families[i], type, 0) >= 0)
                printf("BREACH %d %d\n", families[i], type);
    if (socketpair(AF_UNIX, SOCK_DGRAM, 0, sv) == 0) {
        struct sockaddr_un a = {.sun_family = AF_UNIX, .sun_path = "\0other"};
        if (bind(sv[0], (void *)&a, sizeof a) == 0 || connect(sv[0], (void *)&a, sizeof a) == 0)
            printf("BREACH bind\n");
    }
    return 0;
}
