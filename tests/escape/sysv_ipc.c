// want: AC
// runs: 2
// shared memory and queues that outlive a run: the second looks for what the first made
#include <mqueue.h>
#include <stdio.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <fcntl.h>
int main(void)
{
    if (shmget(4711, 4096, 0666) >= 0 || semget(4711, 1, 0666) >= 0 || msgget(4711, 0666) >= 0 || mq_open("/q", O_RDWR) != (mqd_t)-1)
        printf("BREACH found\n");
    shmget(4711, 4096, IPC_CREAT | 0666);
    semget(4711, 1, IPC_CREAT | 0666);
    msgget(4711, IPC_CREAT | 0666);
    mq_open("/q", O_CREAT | O_RDWR, 0666, NULL);
    return 0;
}
