/* The root that programs see, made once per worker: a small tmpfs, read-only in the end, with the host's
 * /usr bound read-only, five devices, an /etc of a few files and the place for the tmpfs of each run. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/file.h"
#include "sandbox/inner.h"

#define ROOT "/tmp" /* where the new root is put together; the host's /tmp is not visible afterwards */

static err_code fail(struct err *e, const char *what)
{
    return err_sys(e, ERR_SANDBOX, "cannot make the box: %s", what);
}

static int write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    int bad = fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return bad ? -1 : 0;
}

static int bind_tree(int dir, const char *from, const char *to, int read_only)
{
    struct mount_attr a = {.attr_set = MOUNT_ATTR_NOSUID | (read_only ? MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV : MOUNT_ATTR_NOEXEC)};
    int fd = (int)syscall(SYS_open_tree, dir, from, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | (*from ? 0 : AT_EMPTY_PATH));
    int bad = fd < 0 || syscall(SYS_mount_setattr, fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &a, sizeof a) ||
              syscall(SYS_move_mount, fd, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH);
    int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    return bad ? -1 : 0;
}

/* /bin, /lib... are links into /usr on merged systems, folders on others. */
static err_code system_folders(struct err *e)
{
    static const char *const names[] = {"bin", "sbin", "lib", "lib32", "lib64", "libx32"};
    if (mkdir(ROOT "/usr", 0755) || bind_tree(AT_FDCWD, "/usr", ROOT "/usr", 1))
        return fail(e, "binding /usr read-only");
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        char from[32], to[64], link[256];
        struct stat st;
        snprintf(from, sizeof from, "/%s", names[i]);
        snprintf(to, sizeof to, ROOT "/%s", names[i]);
        if (lstat(from, &st))
            continue;
        if (S_ISLNK(st.st_mode)) {
            ssize_t n = readlink(from, link, sizeof link - 1);
            if (n <= 0)
                continue;
            link[n] = 0;
            if (symlink(link, to))
                return fail(e, to);
        } else if (mkdir(to, 0755) || bind_tree(AT_FDCWD, from, to, 1)) {
            return fail(e, from);
        }
    }
    return ERR_OK;
}

static err_code etc(struct err *e)
{
    struct sbuf cache;
    sbuf_init(&cache, 8 << 20);
    if (mkdir(ROOT "/etc", 0755) || write_text(ROOT "/etc/passwd", "user:x:1000:1000::/w/tmp:/bin/sh\n") ||
        write_text(ROOT "/etc/group", "user:x:1000:\n") || write_text(ROOT "/etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n") ||
        write_text(ROOT "/etc/hosts", "127.0.0.1 localhost\n"))
        return fail(e, "filling /etc");
    if (file_read("/etc/ld.so.cache", &cache, NULL) == ERR_OK) {
        int fd = open(ROOT "/etc/ld.so.cache", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (fd >= 0) {
            file_write_all(fd, cache.p, cache.n, "ld.so.cache", NULL);
            close(fd);
        }
    }
    sbuf_release(&cache);
    if (!mkdir(ROOT "/etc/alternatives", 0755) && file_is_dir("/etc/alternatives") && bind_tree(AT_FDCWD, "/etc/alternatives", ROOT "/etc/alternatives", 1))
        return fail(e, "binding /etc/alternatives");
    return ERR_OK;
}

static err_code devices(struct err *e)
{
    static const char *const names[] = {"null", "zero", "full", "random", "urandom"};
    static const char *const links[][2] = {{"/proc/self/fd", "fd"}, {"fd/0", "stdin"}, {"fd/1", "stdout"}, {"fd/2", "stderr"}, {"/w/shm", "shm"}};
    char from[32], to[64];
    if (mkdir(ROOT "/dev", 0755))
        return fail(e, "/dev");
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(from, sizeof from, "/dev/%s", names[i]);
        snprintf(to, sizeof to, ROOT "/dev/%s", names[i]);
        if (write_text(to, "") || bind_tree(AT_FDCWD, from, to, 0))
            return fail(e, from);
    }
    for (unsigned i = 0; i < sizeof links / sizeof *links; i++) {
        snprintf(to, sizeof to, ROOT "/dev/%s", links[i][1]);
        if (symlink(links[i][0], to))
            return fail(e, to);
    }
    return ERR_OK;
}

err_code sandbox_root_make(struct box *b, struct err *e)
{
    static const char *const folders[] = {"/w", "/proc", "/run", "/home", "/var", "/pch", TREES_AT};
    static const char *const links[][2] = {{"/w/tmp", "/tmp"}, {"/w/tmp", "/var/tmp"}};
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
        return fail(e, "making the mounts private");
    if (mount("hone", ROOT, "tmpfs", MS_NOSUID | MS_NODEV, "size=16m,nr_inodes=512,mode=755"))
        return fail(e, "mounting a tmpfs");
    umask(0);
    for (unsigned i = 0; i < sizeof folders / sizeof *folders; i++) {
        char to[64];
        snprintf(to, sizeof to, ROOT "%s", folders[i]);
        if (mkdir(to, 0755))
            return fail(e, to);
    }
    TRY(system_folders(e));
    TRY(etc(e));
    TRY(devices(e));
    for (unsigned i = 0; i < sizeof links / sizeof *links; i++) {
        char to[64];
        snprintf(to, sizeof to, ROOT "%s", links[i][1]);
        if (symlink(links[i][0], to))
            return fail(e, to);
    }
    /* only processes, and of those only the reader's own: no kernel settings, no host names */
    b->have_proc = !mount("proc", ROOT "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, "subset=pid,hidepid=ptraceable");
    if (b->pch_fd >= 0) {
        b->have_pch = !bind_tree(b->pch_fd, "", ROOT "/pch", 1); /* C++ compiles without as well, more slowly */
        close(b->pch_fd);
        b->pch_fd = -1;
    }
    umask(022);
    if (chdir(ROOT) || syscall(SYS_pivot_root, ".", ".") || umount2(".", MNT_DETACH) || chdir("/"))
        return fail(e, "changing the root");
    if (mount(NULL, "/", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL))
        return fail(e, "making the root read-only");
    return ERR_OK;
}
