/* hone doctor: what this machine gives, and what a missing thing means. */
#include "cmd/cmd.h"
#include "sandbox/sandbox.h"

int cmd_doctor(int argc, char **argv)
{
    struct sandbox_layer l[SANDBOX_LAYERS_MAX];
    struct arena mem;
    int words, done, unused = 0, rc;
    const struct cmd_flags f = {.usage = "doctor", .about = "Prints the layers of the sandbox on this machine; exit code 6 when a required one is missing."};
    arena_init(&mem, "flags", 1 << 20);
    rc = cmd_parse(&f, &unused, &mem, argc, argv, &words, &done);
    arena_release(&mem);
    if (done)
        return rc;
    int n = sandbox_layers(l);
    for (int i = 0; i < n; i++) {
        printf("%-8s sandbox: %-15s %s\n", l[i].have ? "ok" : l[i].required ? "MISSING" : "lesser", l[i].name, l[i].what);
        if (!l[i].have && l[i].required)
            rc = err_exit(ERR_SANDBOX);
    }
    return rc;
}
