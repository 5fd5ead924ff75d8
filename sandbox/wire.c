/* Messages between the owner and a box. The owner trusts nothing of a reply: lengths, tags and sizes are
 * checked here, and a reply that is not well formed means that the box is broken and gets replaced. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "sandbox/inner.h"

static const char magic[4] = {'H', 'B', 'X', '1'};

void sandbox_wire_begin(struct sbuf *b)
{
    sbuf_clear(b);
    sbuf_add(b, (struct str){magic, 4});
    sbuf_add(b, (struct str){"\0\0\0\0", 4});
}

void sandbox_wire_put(struct sbuf *b, enum wire_tag tag, const void *p, int64_t n)
{
    uint16_t t = (uint16_t)tag;
    uint32_t len = (uint32_t)n;
    if (n < 0 || n > WIRE_MAX) {
        b->full = 1;
        return;
    }
    sbuf_add(b, (struct str){(const char *)&t, 2});
    sbuf_add(b, (struct str){(const char *)&len, 4});
    sbuf_add(b, (struct str){p, n});
}

void sandbox_wire_puts(struct sbuf *b, enum wire_tag tag, const char *s)
{
    sandbox_wire_put(b, tag, s, (int64_t)strlen(s));
}

void sandbox_wire_end(struct sbuf *b)
{
    uint32_t len = (uint32_t)(b->n - 8);
    if (!b->full)
        memcpy(b->p + 4, &len, 4);
}

int sandbox_wire_next(struct wire_in *in, enum wire_tag *tag, struct str *bytes)
{
    uint16_t t;
    uint32_t len;
    if (in->at == in->n)
        return 0;
    if (in->n - in->at < WIRE_FIELD_HEAD)
        return -1;
    memcpy(&t, in->p + in->at, 2);
    memcpy(&len, in->p + in->at + 2, 4);
    in->at += WIRE_FIELD_HEAD;
    if (t == 0 || t >= WIRE_TAG_N || (int64_t)len > in->n - in->at)
        return -1;
    *tag = (enum wire_tag)t;
    *bytes = (struct str){in->p + in->at, len};
    in->at += len;
    return 1;
}

int sandbox_wire_send(int fd, const struct sbuf *b)
{
    if (b->full)
        return -1;
    for (int64_t at = 0; at < b->n;) {
        ssize_t k = send(fd, b->p + at, (size_t)(b->n - at), MSG_NOSIGNAL);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return -1;
        at += k;
    }
    return 0;
}

static int read_all(int fd, char *p, int64_t n)
{
    for (int64_t at = 0; at < n;) {
        ssize_t k = recv(fd, p + at, (size_t)(n - at), 0);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return -1;
        at += k;
    }
    return 0;
}

int sandbox_wire_recv(int fd, struct sbuf *b, int64_t max)
{
    char head[8];
    uint32_t len;
    if (read_all(fd, head, 8) || memcmp(head, magic, 4))
        return -1;
    memcpy(&len, head + 4, 4);
    sbuf_clear(b);
    char *p = (int64_t)len <= max ? sbuf_room(b, (int64_t)len) : NULL;
    if (!p || read_all(fd, p, len))
        return -1;
    b->n += len;
    return 0;
}

int sandbox_send_fds(int sock, const void *p, int64_t n, const int *fds, int n_fds)
{
    union {
        struct cmsghdr h;
        char buf[CMSG_SPACE(16 * sizeof(int))];
    } c;
    struct iovec iov = {(void *)(uintptr_t)p, (size_t)n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n_fds > 0) {
        memset(&c, 0, sizeof c);
        m.msg_control = c.buf;
        m.msg_controllen = CMSG_SPACE((size_t)n_fds * sizeof(int));
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN((size_t)n_fds * sizeof(int));
        memcpy(CMSG_DATA(h), fds, (size_t)n_fds * sizeof(int));
    }
    ssize_t k;
    do
        k = sendmsg(sock, &m, MSG_NOSIGNAL);
    while (k < 0 && errno == EINTR);
    return k == n ? 0 : -1;
}

int64_t sandbox_recv_fds(int sock, void *p, int64_t n, int *fds, int max_fds, int *n_fds)
{
    union {
        struct cmsghdr h;
        char buf[CMSG_SPACE(16 * sizeof(int))];
    } c;
    struct iovec iov = {p, (size_t)n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.buf, .msg_controllen = sizeof c.buf};
    ssize_t k;
    *n_fds = 0;
    do
        k = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
    while (k < 0 && errno == EINTR);
    if (k < 0)
        return -1;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        int got = (int)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
        for (int i = 0; i < got; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(h) + (size_t)i * sizeof(int), sizeof fd);
            if (*n_fds < max_fds)
                fds[(*n_fds)++] = fd;
            else
                close(fd);
        }
    }
    return k;
}
