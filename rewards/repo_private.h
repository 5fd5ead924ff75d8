/* Private to repository tasks. */
#ifndef HONE_REWARDS_REPO_PRIVATE_H
#define HONE_REWARDS_REPO_PRIVATE_H

#include "rewards/repo.h"

const char *repo_runner(void); /* the text of rewards/inside/repo.py, for python3 -c */
int repo_is_folder(const struct repo_tree *t, const struct repo_edits *x, struct str name);
/* Sets or replaces one. ERR_LIMIT too many. */
err_code repo_edit(struct repo_edits *x, const struct sandbox_file *f, struct err *e);
/* 1: a link at `name` to `to` stays inside the tree. */
int repo_link_inside(struct str name, struct str to);

#endif
