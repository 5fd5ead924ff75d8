#include "core/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/fault.h"

static int open_for_read(const char *path)
{
    if (fault_hit("open")) {
        errno = EMFILE;
        return -1;
    }
    return open(path, O_RDONLY | O_CLOEXEC);
}

err_code file_read(const char *path, struct sbuf *out, struct err *e)
{
    int fd = open_for_read(path);
    if (fd < 0)
        return err_sys(e, ERR_IO, "cannot open '%s'", path);
    err_code rc = ERR_OK;
    sbuf_clear(out);
    for (;;) {
        char chunk[65536];
        ssize_t n = fault_hit("read") ? (errno = EIO, -1) : read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            rc = err_sys(e, ERR_IO, "cannot read '%s'", path);
        if (n <= 0)
            break;
        sbuf_add(out, (struct str){chunk, n});
        if (out->full) {
            rc = err_set(e, ERR_LIMIT, "'%s' is larger than %lld bytes", path, (long long)out->max);
            break;
        }
    }
    close(fd);
    return rc;
}

err_code file_map_open(const char *path, struct file_map *m, struct err *e)
{
    int fd = open_for_read(path);
    if (fd < 0)
        return err_sys(e, ERR_IO, "cannot open '%s'", path);
    struct stat st;
    err_code rc = ERR_OK;
    if (fstat(fd, &st) < 0)
        rc = err_sys(e, ERR_IO, "cannot stat '%s'", path);
    else if (!S_ISREG(st.st_mode))
        rc = err_set(e, ERR_IO, "cannot map '%s': not a regular file", path);
    else if (st.st_size == 0)
        *m = (struct file_map){NULL, 0};
    else {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED)
            rc = err_sys(e, ERR_IO, "cannot map '%s'", path);
        else
            *m = (struct file_map){p, st.st_size};
    }
    close(fd);
    return rc;
}

void file_map_release(struct file_map *m)
{
    if (m->p)
        munmap((void *)(uintptr_t)m->p, (size_t)m->n);
    *m = (struct file_map){NULL, 0};
}

err_code file_write_all(int fd, const void *p, int64_t n, const char *path, struct err *e)
{
    const char *at = p;
    while (n > 0) {
        ssize_t w = fault_hit("write") ? (errno = ENOSPC, -1) : write(fd, at, (size_t)n);
        if (w < 0 && errno == EINTR)
            continue;
        if (w < 0)
            return err_sys(e, ERR_IO, "cannot write '%s'", path);
        at += w;
        n -= w;
    }
    return ERR_OK;
}

err_code file_sync(int fd, const char *path, struct err *e)
{
    if (fault_hit("sync") ? (errno = EIO, -1) : fsync(fd))
        return err_sys(e, ERR_IO, "cannot flush '%s' to disk", path);
    return ERR_OK;
}

err_code file_sync_dir(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, ERR_IO, "cannot open folder '%s'", path);
    err_code rc = file_sync(fd, path, e);
    close(fd);
    return rc;
}

err_code file_rename(const char *from, const char *to, struct err *e)
{
    if (fault_hit("rename") ? (errno = EIO, -1) : rename(from, to))
        return err_sys(e, ERR_IO, "cannot rename '%s' to '%s'", from, to);
    return ERR_OK;
}

static void parent_of(const char *path, char out[PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s", path);
    char *slash = strrchr(out, '/');
    if (!slash)
        snprintf(out, PATH_MAX, ".");
    else if (slash == out)
        out[1] = 0;
    else
        *slash = 0;
}

err_code file_write_atomic(const char *path, struct str bytes, struct err *e)
{
    char tmp[PATH_MAX], dir[PATH_MAX];
    if (snprintf(tmp, sizeof tmp, "%s.tmp.%d", path, (int)getpid()) >= (int)sizeof tmp)
        return err_set(e, ERR_IO, "cannot write '%s': the path is too long", path);
    parent_of(path, dir);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (fd < 0)
        return err_sys(e, ERR_IO, "cannot create '%s'", tmp);
    err_code rc = file_write_all(fd, bytes.p, bytes.n, tmp, e);
    if (rc == ERR_OK)
        rc = file_sync(fd, tmp, e);
    if (close(fd) < 0 && rc == ERR_OK)
        rc = err_sys(e, ERR_IO, "cannot close '%s'", tmp);
    if (rc == ERR_OK)
        rc = file_rename(tmp, path, e);
    if (rc != ERR_OK) {
        unlink(tmp);
        return rc;
    }
    return file_sync_dir(dir, e);
}

err_code file_mkdirs(const char *path, struct err *e)
{
    char buf[PATH_MAX];
    if (snprintf(buf, sizeof buf, "%s", path) >= (int)sizeof buf)
        return err_set(e, ERR_IO, "cannot create folder '%s': the path is too long", path);
    for (char *p = buf + 1;; p++) {
        if (*p != '/' && *p)
            continue;
        char was = *p;
        *p = 0;
        if (mkdir(buf, 0777) < 0 && errno != EEXIST)
            return err_sys(e, ERR_IO, "cannot create folder '%s'", buf);
        *p = was;
        if (!was)
            break;
    }
    if (!file_is_dir(path))
        return err_set(e, ERR_IO, "cannot create folder '%s': a file is in the way", path);
    return ERR_OK;
}

static int remove_at(int dir_fd, const char *name, int depth)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if ((errno != EISDIR && errno != EPERM) || depth > 64)
        return -1;
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -1;
    DIR *d = fdopendir(fd);
    if (!d) {
        close(fd);
        return -1;
    }
    int rc = 0;
    for (struct dirent *it; rc == 0 && (it = readdir(d));)
        if (strcmp(it->d_name, ".") && strcmp(it->d_name, ".."))
            rc = remove_at(fd, it->d_name, depth + 1);
    closedir(d);
    return rc ? rc : unlinkat(dir_fd, name, AT_REMOVEDIR);
}

err_code file_remove_tree(const char *path, struct err *e)
{
    if (remove_at(AT_FDCWD, path, 0) < 0)
        return err_sys(e, ERR_IO, "cannot remove '%s'", path);
    return ERR_OK;
}

int file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

int file_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}
