/* Which commit a run's recipe came from. */
#include <git2.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "datasets/datasets.h"

static err_code git_failed(int rc, const char *doing, const char *path, struct err *e)
{
    const git_error *g = git_error_last();
    if (rc == GIT_EOWNER)
        return err_set(e, ERR_IO, "cannot %s the git repository of '%s': it belongs to another user; hint: git config --global --add safe.directory DIR", doing, path);
    return err_set(e, ERR_IO, "cannot %s the git repository of '%s': %s", doing, path, g && g->message ? g->message : "no reason given");
}

/* Changed tracked files anywhere, and new files in the folder (or the file) itself: what the commit does not have. */
static err_code look_for_changes(git_repository *repo, const char *inside, const char *path, int *dirty, struct err *e)
{
    git_status_options o = {.version = GIT_STATUS_OPTIONS_VERSION};
    git_status_list *list = NULL;
    o.show = GIT_STATUS_SHOW_INDEX_AND_WORKDIR;
    o.flags = GIT_STATUS_OPT_EXCLUDE_SUBMODULES;
    int rc = git_status_list_new(&list, repo, &o);
    if (rc < 0)
        return git_failed(rc, "read the state of", path, e);
    *dirty = git_status_list_entrycount(list) > 0;
    git_status_list_free(list);
    if (*dirty || !inside[0])
        return ERR_OK;
    char *one[] = {(char *)inside};
    o.flags = GIT_STATUS_OPT_INCLUDE_UNTRACKED | GIT_STATUS_OPT_RECURSE_UNTRACKED_DIRS | GIT_STATUS_OPT_DISABLE_PATHSPEC_MATCH;
    o.pathspec = (git_strarray){one, 1};
    rc = git_status_list_new(&list, repo, &o);
    if (rc < 0)
        return git_failed(rc, "read the state of", path, e);
    *dirty = git_status_list_entrycount(list) > 0;
    git_status_list_free(list);
    return ERR_OK;
}

/* The path as the repository names it; "" for its root or when it lies elsewhere. */
static void path_inside(git_repository *repo, const char *real, char out[PATH_MAX])
{
    const char *root = git_repository_workdir(repo);
    size_t n = root ? strlen(root) : 0;
    out[0] = 0;
    if (n && !strncmp(real, root, n))
        snprintf(out, PATH_MAX, "%s", real + n);
}

static err_code look(git_repository *repo, const char *real, const char *path, struct data_provenance *out, struct err *e)
{
    git_oid head;
    char inside[PATH_MAX];
    int rc = git_reference_name_to_id(&head, repo, "HEAD");
    if (rc == GIT_ENOTFOUND) { /* a repository without a commit */
        out->dirty = 1;
        return ERR_OK;
    }
    if (rc < 0)
        return git_failed(rc, "read", path, e);
    git_oid_tostr(out->commit, sizeof out->commit, &head);
    if (git_repository_is_bare(repo))
        return ERR_OK;
    path_inside(repo, real, inside);
    return look_for_changes(repo, inside, path, &out->dirty, e);
}

err_code data_provenance(const char *path, struct data_provenance *out, struct err *e)
{
    git_repository *repo = NULL;
    char real[PATH_MAX];
    *out = (struct data_provenance){0};
    if (!realpath(path, real))
        return err_sys(e, ERR_IO, "cannot find '%s'", path);
    if (git_libgit2_init() < 0)
        return git_failed(-1, "open", path, e);
    int rc = git_repository_open_ext(&repo, real, 0, NULL);
    err_code answer = rc == GIT_ENOTFOUND ? ERR_OK : rc < 0 ? git_failed(rc, "open", path, e) : look(repo, real, path, out, e);
    git_repository_free(repo);
    git_libgit2_shutdown();
    return answer;
}

void data_provenance_text(const struct data_provenance *p, char out[80])
{
    snprintf(out, 80, "%s%s", p->commit[0] ? p->commit : p->dirty ? "no commit" : "", p->dirty && p->commit[0] ? " with changes" : "");
}
