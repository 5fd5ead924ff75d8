/* The program that runs as keeper, box and zygote, as bytes. It is linked from the sources of this folder and the few
 * parts of core/ they use, without hone's libraries: a run is a fork, and a fork pays for every mapping it copies. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sandbox/inner.h"

__asm__(".pushsection .rodata\n.balign 16\n"
        "sandbox_image_bytes:\n.incbin \"sandbox-box.elf\"\n"
        "sandbox_image_end:\n.byte 0\n"
        ".popsection\n");
extern const char sandbox_image_bytes[], sandbox_image_end[];

enum { ABOVE = 10, MEMFD_EXEC = 0x10 };

int sandbox_image_open(struct err *e)
{
    int fd = memfd_create("hone-box", MFD_CLOEXEC | MFD_ALLOW_SEALING | MEMFD_EXEC), high = -1;
    if (fd < 0 && errno == EINVAL) /* before Linux 6.3 */
        fd = memfd_create("hone-box", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int bad = fd < 0;
    for (const char *p = sandbox_image_bytes; !bad && p < sandbox_image_end;) {
        ssize_t n = write(fd, p, (size_t)(sandbox_image_end - p));
        bad = n <= 0;
        p += n;
    }
    bad = bad || fchmod(fd, 0555) || fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) ||
          (high = fcntl(fd, F_DUPFD_CLOEXEC, ABOVE)) < 0;
    int saved = errno;
    if (fd >= 0)
        close(fd);
    errno = saved;
    if (bad)
        err_sys(e, ERR_SANDBOX, "cannot put the sandbox's own program into memory");
    return bad ? -1 : high;
}
