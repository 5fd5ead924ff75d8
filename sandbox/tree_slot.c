/* Trees in the box: each in a tmpfs of its own that is mounted read-only where only the box sees it. A run mounts overlayfs over one (cell.c) and takes the folder with all trees out of its own view. */
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sandbox/run.h"

enum { TREE_BYTES = 1800 << 20, TREE_SLOTS = 4 };

static int unpack(int dir, struct str packed)
{
    struct wire_in in = {packed.p, packed.n, 0};
    enum wire_tag tag;
    struct str s, name = {NULL, 0};
    enum sandbox_file_kind kind = SANDBOX_PLAIN;
    int rc;
    while ((rc = sandbox_wire_next(&in, &tag, &s)) == 1) {
        if (tag == WIRE_FILE_NAME)
            name = s;
        else if (tag == WIRE_FILE_KIND && s.n == 1)
            kind = (enum sandbox_file_kind)s.p[0];
        else if (tag == WIRE_FILE_BYTES && sandbox_cell_put(dir, name, s, kind))
            return -1;
    }
    errno = EINVAL;
    return rc;
}

/* Where trees are mounted: once, when the first one comes. */
static int mount_place(struct box *b)
{
    char to[32];
    int fd = sandbox_tmpfs(1 << 20, 64);
    int bad = fd < 0 || mkdirat(fd, "run", 0755);
    for (int i = 0; !bad && i < TREE_SLOTS; i++) {
        snprintf(to, sizeof to, "%d", i);
        bad = mkdirat(fd, to, 0755);
    }
    bad = bad || syscall(SYS_move_mount, fd, "", AT_FDCWD, TREES_AT, MOVE_MOUNT_F_EMPTY_PATH);
    int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    b->trees_mounted = !bad;
    return bad ? -1 : 0;
}

int sandbox_tree_slot(struct box *b, struct hash128 key, int sent, struct str packed)
{
    enum { INODES = 1 << 20 };
    struct mount_attr a = {.attr_set = MOUNT_ATTR_RDONLY};
    char at[32];
    int slot = 0;
    for (int i = 0; i < TREE_SLOTS; i++) {
        if (b->tree[i].used && hash_eq(b->tree[i].h, key)) {
            b->tree[i].used = ++b->clock;
            return i;
        }
        if (b->tree[i].used < b->tree[slot].used)
            slot = i;
    }
    errno = 0;
    if (!sent || (!b->trees_mounted && mount_place(b)))
        return -1;
    snprintf(at, sizeof at, TREES_AT "/%d", slot);
    if (b->tree[slot].used && umount2(at, MNT_DETACH))
        return -1;
    b->tree[slot].used = 0;
    int fd = sandbox_tmpfs(TREE_BYTES, INODES);
    int bad = fd < 0 || unpack(fd, packed) || syscall(SYS_move_mount, fd, "", AT_FDCWD, at, MOVE_MOUNT_F_EMPTY_PATH) ||
              syscall(SYS_mount_setattr, AT_FDCWD, at, 0, &a, sizeof a);
    int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    if (bad)
        return -1;
    b->tree[slot] = (struct tree_slot){key, ++b->clock};
    return slot;
}
