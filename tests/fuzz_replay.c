/* Replays the stored inputs of a fuzz target: every file of the folders given as arguments. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "core/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
    int n = 0;
    for (int i = 1; i < argc; i++) {
        DIR *d = opendir(argv[i]);
        if (!d) {
            printf("no corpus '%s'\n", argv[i]);
            return 1;
        }
        for (struct dirent *it; (it = readdir(d));) {
            char path[4096];
            struct sbuf b;
            struct err e = {0};
            if (it->d_name[0] == '.')
                continue;
            snprintf(path, sizeof path, "%s/%s", argv[i], it->d_name);
            sbuf_init(&b, 64 << 20);
            if (file_read(path, &b, &e) != ERR_OK) {
                printf("%s\n", e.msg);
                return 1;
            }
            LLVMFuzzerTestOneInput((const uint8_t *)(b.p ? b.p : ""), (size_t)b.n);
            sbuf_release(&b);
            n++;
        }
        closedir(d);
    }
    printf("%d inputs replayed\n", n);
    return n == 0; /* an empty corpus checks nothing */
}
