/* Private to the box: cells and what happens in them. */
#ifndef HONE_SANDBOX_RUN_H
#define HONE_SANDBOX_RUN_H

#include "sandbox/inner.h"

struct cell {
    pid_t init;
    int init_fd;   /* pidfd */
    int tmp_fd;    /* root of the tmpfs */
    int box_fd;    /* its folder "box", where the program starts */
    int top_fd;    /* with a tree: another tmpfs, the layer over it; else -1 */
    int has_trees; /* the box has trees, which no program may see */
    char lower[32]; /* the tree's folder */
    int32_t state; /* a futex: what init says of its mounts */
    char *stack, **stacks;
};
int sandbox_cell_make(struct cell *c, const struct sandbox_limits *l);  /* the tmpfs; a step or 0 */
int sandbox_cell_over(struct cell *c, const struct sandbox_limits *l, int slot); /* it starts in this tree: files go to top_fd/u */
int sandbox_tmpfs(int64_t bytes, int64_t inodes);                       /* not mounted anywhere yet; -1 with errno */
int sandbox_cell_put(int dir, struct str name, struct str bytes, enum sandbox_file_kind kind); /* 0 or -1 with errno */
int sandbox_cell_start(struct cell *c);                                 /* the namespaces; a step or 0. c stays where it is from here on */
int sandbox_cell_ready(struct cell *c);                                 /* waits until the files are mounted there; a step or 0 */
/* Ends everything in the cell and waits until it is gone; the files stay readable through box_fd.
 * Returns the CPU seconds of what its init collected. */
double sandbox_cell_kill(struct cell *c);
void sandbox_cell_end(struct cell *c);                                 /* kill, and the files go too */

/* Without a control group: what the processes of the box's PID namespace use, those in `own` left out. */
struct usage {
    double cpu_s;
    int64_t bytes;
    int procs;
};
/* Seconds that a process was ready to run and had no CPU so far; 0 where the kernel does not say. */
double sandbox_waited(int pid);
void sandbox_usage(const pid_t *own, int n_own, int exact, struct usage *u);

#endif
