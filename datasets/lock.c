/* A POSIX record lock: the kernel drops it when the holder dies, and children that the holder forked do
 * not keep it (an flock would live on in a sandbox child after kill -9 of the parent). Such a lock says
 * nothing inside one process, so a list of the locks this process holds stands beside it. */
#include "datasets/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct store_lock {
    struct store_lock *next;
    int fd;
    dev_t dev;
    ino_t ino;
    pid_t pid; /* a forked child has the entry, but not the lock */
};

static struct store_lock *held;
static pthread_mutex_t held_guard = PTHREAD_MUTEX_INITIALIZER;

static int held_here(dev_t dev, ino_t ino)
{
    for (struct store_lock *l = held; l; l = l->next)
        if (l->dev == dev && l->ino == ino && l->pid == getpid())
            return 1;
    return 0;
}

static err_code busy(const char *store_path, const char *lock_path, struct err *e)
{
    char who[200] = "another process";
    FILE *f = fopen(lock_path, "r");
    if (f) {
        if (fgets(who, sizeof who, f))
            who[strcspn(who, "\n")] = 0;
        fclose(f);
    }
    return err_set(e, ERR_BUSY, "store '%s' is being written by %s; hint: wait for it, or use another store", store_path, who);
}

static void sign(int fd, const char *who)
{
    char line[200], when[32];
    time_t now = time(NULL);
    struct tm tm;
    strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now, &tm));
    int n = snprintf(line, sizeof line, "'%s' (process %d, since %s)\n", who, (int)getpid(), when);
    /* for the other side's message only: the lock holds without it */
    if (ftruncate(fd, 0) == 0 && pwrite(fd, line, (size_t)n, 0) < 0)
        return;
}

err_code store_lock_take(const char *store_path, const char *who, struct store_lock **out, struct err *e)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s-lock", store_path) >= (int)sizeof path)
        return err_set(e, ERR_IO, "cannot open store '%s': the path is too long", store_path);
    struct stat st;
    pthread_mutex_lock(&held_guard);
    err_code rc = ERR_OK;
    int fd = -1;
    /* looked up before opening: closing a second descriptor would drop this process's own lock */
    if (stat(path, &st) == 0 && held_here(st.st_dev, st.st_ino))
        rc = err_set(e, ERR_BUSY, "store '%s' is open for writing in this process already", store_path);
    else if ((fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666)) < 0)
        rc = err_sys(e, ERR_IO, "cannot open store '%s' for writing: '%s'", store_path, path);
    struct flock want = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    if (rc == ERR_OK && fcntl(fd, F_SETLK, &want) < 0)
        rc = errno == EACCES || errno == EAGAIN ? busy(store_path, path, e)
                                                 : err_sys(e, ERR_IO, "cannot lock '%s'", path);
    struct store_lock *l = rc == ERR_OK && fstat(fd, &st) == 0 ? malloc(sizeof *l) : NULL;
    if (rc == ERR_OK && !l)
        rc = err_sys(e, ERR_IO, "cannot lock '%s'", path);
    if (rc == ERR_OK) {
        sign(fd, who);
        *l = (struct store_lock){held, fd, st.st_dev, st.st_ino, getpid()};
        *out = held = l;
    } else if (fd >= 0) {
        close(fd);
    }
    pthread_mutex_unlock(&held_guard);
    return rc;
}

void store_lock_drop(struct store_lock *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&held_guard);
    for (struct store_lock **at = &held; *at; at = &(*at)->next)
        if (*at == l) {
            *at = l->next;
            break;
        }
    close(l->fd);
    pthread_mutex_unlock(&held_guard);
    free(l);
}
