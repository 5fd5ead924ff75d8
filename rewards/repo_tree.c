/* The tree of one commit, read by libgit2: no work tree, no filters, no attributes, no history. */
#include <git2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rewards/repo_private.h"

enum { FILES_MAX = 400000, DEPTH_MAX = 64, TREE_BYTES_MAX = 800 << 20 };

struct reading {
    git_repository *repo;
    struct arena *mem;
    struct sandbox_file *f;
    int64_t n, cap, bytes, left_out;
    struct err *e;
};

static err_code git_failed(const struct reading *r, const char *what)
{
    const git_error *g = git_error_last();
    return err_set(r->e, ERR_IO, "cannot read %s: %s", what, g && g->message ? g->message : "no reason given");
}

int repo_link_inside(struct str name, struct str to)
{
    struct str rest = name, part;
    int depth = -1; /* folders above the link */
    while (str_split(&rest, '/', &part))
        depth++;
    if (to.n == 0 || to.p[0] == '/')
        return 0;
    for (rest = to; str_split(&rest, '/', &part);) {
        depth += str_eq(part, STR("..")) ? -1 : part.n == 0 || str_eq(part, STR(".")) ? 0 : 1;
        if (depth < 0)
            return 0;
    }
    return 1;
}

static err_code add_blob(struct reading *r, struct str name, const git_oid *id, int mode)
{
    git_blob *blob = NULL;
    const char *why;
    if (git_blob_lookup(&blob, r->repo, id) < 0)
        return git_failed(r, name.p);
    struct str bytes = {git_blob_rawcontent(blob), (int64_t)git_blob_rawsize(blob)};
    enum sandbox_file_kind kind = mode == GIT_FILEMODE_LINK ? SANDBOX_LINK : mode == GIT_FILEMODE_BLOB_EXECUTABLE ? SANDBOX_PROGRAM : SANDBOX_PLAIN;
    err_code rc = ERR_OK;
    r->bytes += bytes.n;
    if (r->n == FILES_MAX || r->bytes > TREE_BYTES_MAX) {
        rc = err_set(r->e, ERR_LIMIT, "the tree has more than %d files or %d MiB", FILES_MAX, TREE_BYTES_MAX >> 20);
    } else if (!repo_path_ok(name, &why) || (kind == SANDBOX_LINK && !repo_link_inside(name, bytes))) {
        r->left_out++;
    } else {
        if (r->n == r->cap) {
            r->cap = r->cap ? 2 * r->cap : 1024;
            struct sandbox_file *f = realloc(r->f, (size_t)r->cap * sizeof *f);
            if (!f)
                BUG("out of memory");
            r->f = f;
        }
        r->f[r->n++] = (struct sandbox_file){.name = name, .bytes = str_dup(r->mem, bytes), .kind = kind};
    }
    git_blob_free(blob);
    return rc;
}

static err_code walk(struct reading *r, const git_oid *id, struct str at, int depth)
{
    git_tree *tree = NULL;
    err_code rc = ERR_OK;
    if (depth > DEPTH_MAX)
        return err_set(r->e, ERR_LIMIT, "the tree is deeper than %d folders", DEPTH_MAX);
    if (git_tree_lookup(&tree, r->repo, id) < 0)
        return git_failed(r, "a folder of the commit");
    for (size_t i = 0; rc == ERR_OK && i < git_tree_entrycount(tree); i++) {
        const git_tree_entry *x = git_tree_entry_byindex(tree, i);
        struct str name = at.n ? str_printf(r->mem, "%.*s/%s", STR_ARG(at), git_tree_entry_name(x)) : str_dup(r->mem, str_of(git_tree_entry_name(x)));
        int mode = (int)git_tree_entry_filemode(x);
        if (mode == GIT_FILEMODE_TREE)
            rc = walk(r, git_tree_entry_id(x), name, depth + 1);
        else if (mode == GIT_FILEMODE_COMMIT)
            r->left_out++; /* a submodule: another repository */
        else
            rc = add_blob(r, name, git_tree_entry_id(x), mode);
    }
    git_tree_free(tree);
    return rc;
}

static int order(const void *a, const void *b)
{
    return str_cmp(((const struct sandbox_file *)a)->name, ((const struct sandbox_file *)b)->name);
}

static err_code read_commit(struct reading *r, const char *path, const char *commit)
{
    git_object *o = NULL;
    git_oid id;
    size_t n = strlen(commit);
    if (n < 7 || n > GIT_OID_HEXSZ || strspn(commit, "0123456789abcdef") != n)
        return err_set(r->e, ERR_DATA, "'%.60s' is no id of a commit (7 to 40 hex digits)", commit);
    int rc = git_repository_open_ext(&r->repo, path, GIT_REPOSITORY_OPEN_NO_SEARCH, NULL);
    if (rc == GIT_EOWNER)
        return err_set(r->e, ERR_IO, "cannot open '%s': it belongs to another user; hint: git config --global --add safe.directory DIR", path);
    if (rc < 0)
        return git_failed(r, path);
    git_oid_fromstrn(&id, commit, n);
    if (git_object_lookup_prefix(&o, r->repo, &id, n, GIT_OBJECT_COMMIT) < 0)
        return err_set(r->e, ERR_DATA, "'%s' has no single commit %s", path, commit);
    err_code done = walk(r, git_commit_tree_id((git_commit *)o), (struct str){"", 0}, 0);
    git_object_free(o);
    return done;
}

err_code repo_tree_read(const char *path, const char *commit, struct arena *mem, struct repo_tree *t, struct err *e)
{
    struct reading r = {.mem = mem, .e = e};
    if (git_libgit2_init() < 0)
        return err_set(e, ERR_IO, "cannot start libgit2");
    err_code rc = read_commit(&r, path, commit);
    git_repository_free(r.repo);
    git_libgit2_shutdown();
    if (rc == ERR_OK) {
        struct sandbox_file *f = ARENA_NEW(mem, struct sandbox_file, r.n + 1);
        if (r.n)
            memcpy(f, r.f, (size_t)r.n * sizeof *f);
        qsort(f, (size_t)r.n, sizeof *f, order);
        *t = (struct repo_tree){f, r.n, r.left_out};
    }
    free(r.f);
    return rc;
}
