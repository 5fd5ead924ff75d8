/* The order of a commit is the whole point: files, their fsync, state.json, its fsync, folders, rename, run folder.
 * The rename is the only moment at which something becomes visible. */
#include "train/ckpt.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/hash.h"
#include "core/json.h"
#include "core/log.h"

enum { FORMAT = 1, MAX_FILES = 4096 };
static const int64_t STATE_MAX_BYTES = 16 << 20;
static const char STATE[] = "hone/state.json";

static err_code path_join(char out[PATH_MAX], const char *dir, const char *name, struct err *e)
{
    if (snprintf(out, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
        return err_set(e, ERR_IO, "path is too long: '%.200s...'", dir);
    return ERR_OK;
}

/* "step_00000042" -> 42; -1 for any other name, "step_00000042.tmp" among them. */
static int64_t step_of(const char *name)
{
    int64_t step;
    struct str s = str_of(name);
    if (!str_starts(s, STR("step_")) || !str_to_i64(str_sub(s, 5, s.n), &step) || step < 0)
        return -1;
    return step;
}

static int is_checkpoint(const char *dir)
{
    char path[PATH_MAX];
    return path_join(path, dir, STATE, NULL) == ERR_OK && file_exists(path);
}

/* ---- the run folder -------------------------------------------------------------------------------------------- */

/* What a killed run left: half-written and half-removed checkpoints. The name is never that of a whole one. */
static err_code remove_leftovers(const char *run_dir, struct err *e)
{
    DIR *d = opendir(run_dir);
    if (!d)
        return err_sys(e, ERR_IO, "cannot open folder '%s'", run_dir);
    err_code rc = ERR_OK;
    for (struct dirent *it; rc == ERR_OK && (it = readdir(d));) {
        char path[PATH_MAX];
        struct str name = str_of(it->d_name);
        if (!str_starts(name, STR("step_")) || !str_ends(name, STR(".tmp")))
            continue;
        rc = path_join(path, run_dir, it->d_name, e);
        if (rc == ERR_OK)
            rc = file_remove_tree(path, e);
    }
    closedir(d);
    return rc;
}

err_code ckpt_lock(const char *run_dir, int *lock_fd, struct err *e)
{
    char path[PATH_MAX];
    TRY(file_mkdirs(run_dir, e));
    TRY(path_join(path, run_dir, "lock", e));
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return err_sys(e, ERR_IO, "cannot create '%s'", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        err_code rc = errno == EWOULDBLOCK ? err_set(e, ERR_BUSY, "another process is training in '%s'", run_dir)
                                           : err_sys(e, ERR_IO, "cannot lock '%s'", path);
        close(fd);
        return rc;
    }
    err_code rc = remove_leftovers(run_dir, e);
    if (rc != ERR_OK)
        close(fd);
    else
        *lock_fd = fd;
    return rc;
}

void ckpt_unlock(int lock_fd)
{
    close(lock_fd);
}

static int compare_desc(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Steps of the complete checkpoints, newest first. */
static err_code list_steps(const char *run_dir, int64_t *steps, int *n, struct err *e)
{
    DIR *d = opendir(run_dir);
    *n = 0;
    if (!d)
        return errno == ENOENT ? ERR_OK : err_sys(e, ERR_IO, "cannot open folder '%s'", run_dir);
    err_code rc = ERR_OK;
    for (struct dirent *it; rc == ERR_OK && (it = readdir(d));) {
        char path[PATH_MAX];
        if (step_of(it->d_name) < 0)
            continue;
        if ((rc = path_join(path, run_dir, it->d_name, e)) != ERR_OK || !is_checkpoint(path))
            continue;
        if (*n == MAX_FILES)
            rc = err_set(e, ERR_LIMIT, "more than %d checkpoints in '%s'", MAX_FILES, run_dir);
        else
            steps[(*n)++] = step_of(it->d_name);
    }
    closedir(d);
    qsort(steps, (size_t)*n, sizeof *steps, compare_desc);
    return rc;
}

static void step_path(char out[PATH_MAX], const char *run_dir, int64_t step)
{
    if (snprintf(out, PATH_MAX, "%s/step_%08lld", run_dir, (long long)step) >= PATH_MAX - 8)
        BUG("path was checked by ckpt_begin");
}

err_code ckpt_newest(const char *dir, char path[PATH_MAX], struct err *e)
{
    int64_t steps[MAX_FILES];
    int n;
    path[0] = 0;
    if (strlen(dir) > PATH_MAX - 64)
        return err_set(e, ERR_IO, "path is too long: '%.200s...'", dir);
    if (is_checkpoint(dir)) {
        snprintf(path, PATH_MAX, "%s", dir);
        return ERR_OK;
    }
    TRY(list_steps(dir, steps, &n, e));
    if (n)
        step_path(path, dir, steps[0]);
    return ERR_OK;
}

err_code ckpt_model(const char *path, char out[PATH_MAX], struct err *e)
{
    char config[PATH_MAX];
    if (snprintf(config, sizeof config, "%s/config.json", path) >= (int)sizeof config)
        return err_set(e, ERR_IO, "path is too long: '%.200s...'", path);
    out[0] = 0;
    if (!file_exists(config) && file_is_dir(path))
        TRY(ckpt_newest(path, out, e));
    if (!out[0])
        snprintf(out, PATH_MAX, "%s", path);
    return ERR_OK;
}

/* ---- files and digest ------------------------------------------------------------------------------------------ */

static int compare_names(const void *a, const void *b)
{
    return str_cmp(((const struct ckpt_file *)a)->name, ((const struct ckpt_file *)b)->name);
}

static err_code add_files(const char *root, const char *below, struct ckpt_file *files, int64_t *n, struct arena *mem, struct err *e)
{
    char dir[PATH_MAX];
    TRY(path_join(dir, root, below, e));
    DIR *d = opendir(dir);
    if (!d)
        return err_sys(e, ERR_IO, "cannot open folder '%s'", dir);
    err_code rc = ERR_OK;
    for (struct dirent *it; rc == ERR_OK && (it = readdir(d));) {
        char path[PATH_MAX];
        if ((rc = path_join(path, dir, it->d_name, e)) != ERR_OK || it->d_name[0] == '.' || file_is_dir(path))
            continue;
        struct str name = str_printf(mem, "%s%s%s", below, below[0] ? "/" : "", it->d_name);
        if (str_eq(name, str_of(STATE)))
            continue;
        if (*n == MAX_FILES)
            rc = err_set(e, ERR_LIMIT, "more than %d files in '%s'", MAX_FILES, root);
        else
            files[(*n)++].name = name;
    }
    closedir(d);
    return rc;
}

static err_code hash_file(const char *root, struct ckpt_file *f, int sync, struct err *e)
{
    char path[PATH_MAX];
    struct file_map m;
    TRY(path_join(path, root, f->name.p, e));
    if (sync) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            return err_sys(e, ERR_IO, "cannot open '%s'", path);
        err_code rc = file_sync(fd, path, e);
        close(fd);
        TRY(rc);
    }
    TRY(file_map_open(path, &m, e));
    f->bytes = m.n;
    hash_hex(hash_bytes(m.p, m.n), f->hash);
    file_map_release(&m);
    return ERR_OK;
}

/* Every file below the checkpoint except state.json, sorted by name, hashed. */
static err_code hash_all(const char *root, int sync, struct ckpt_info *info, struct arena *mem, struct err *e)
{
    struct ckpt_file *files = ARENA_NEW(mem, struct ckpt_file, MAX_FILES);
    int64_t n = 0;
    TRY(add_files(root, "", files, &n, mem, e));
    TRY(add_files(root, "hone", files, &n, mem, e));
    qsort(files, (size_t)n, sizeof *files, compare_names);
    for (int64_t i = 0; i < n; i++)
        TRY(hash_file(root, &files[i], sync, e));
    info->files = files;
    info->n_files = n;
    return ERR_OK;
}

static void digest_of(const struct ckpt_info *info, char out[33])
{
    struct hash_state *h = hash_open();
    int64_t step = info->step;
    hash_field(h, &step, sizeof step);
    hash_field(h, info->cursor.p, info->cursor.n);
    for (int64_t i = 0; i < info->n_files; i++) {
        hash_field(h, info->files[i].name.p, info->files[i].name.n);
        hash_field(h, info->files[i].hash, 32);
    }
    hash_hex(hash_close(h), out);
}

/* ---- state.json ------------------------------------------------------------------------------------------------ */

static void put_member(struct sbuf *b, const char *key, struct str value)
{
    sbuf_addf(b, ",\n \"%s\": ", key);
    json_put_str(b, value);
}

static err_code write_state(const char *root, const struct ckpt_info *info, struct err *e)
{
    char path[PATH_MAX];
    struct sbuf b;
    TRY(path_join(path, root, STATE, e));
    sbuf_init(&b, STATE_MAX_BYTES);
    sbuf_addf(&b, "{\"format\": %d,\n \"step\": %lld,\n \"run\": %lld,\n \"attempt\": %lld", FORMAT, (long long)info->step,
              (long long)info->run, (long long)info->attempt);
    put_member(&b, "digest", str_of(info->digest));
    put_member(&b, "code", info->code);
    put_member(&b, "cursor", info->cursor);
    put_member(&b, "config", info->config);
    sbuf_adds(&b, ",\n \"files\": {");
    for (int64_t i = 0; i < info->n_files; i++) {
        const struct ckpt_file *f = &info->files[i];
        sbuf_adds(&b, i ? ",\n  " : "\n  ");
        json_put_str(&b, f->name);
        sbuf_addf(&b, ": {\"bytes\": %lld, \"hash\": \"%s\"}", (long long)f->bytes, f->hash);
    }
    sbuf_adds(&b, "}}\n");
    err_code rc = b.full ? err_set(e, ERR_LIMIT, "'%s' would be larger than %lld bytes", path, (long long)b.max)
                         : file_write_atomic(path, sbuf_str(&b), e);
    sbuf_release(&b);
    return rc;
}

static err_code read_files(const json_t *o, struct ckpt_info *out, struct arena *mem, struct err *e)
{
    const char *name;
    json_t *v;
    int64_t n = 0;
    if (!json_is_object(o) || json_object_size(o) > MAX_FILES)
        return err_set(e, ERR_DATA, "'files' is not an object of at most %d members", MAX_FILES);
    struct ckpt_file *files = ARENA_NEW(mem, struct ckpt_file, (int64_t)json_object_size(o) + 1);
    json_object_foreach((json_t *)(uintptr_t)o, name, v)
    {
        struct str hash;
        files[n].name = str_dup(mem, str_of(name));
        TRY(json_need_i64(v, "bytes", &files[n].bytes, e));
        TRY(json_need_str(v, "hash", &hash, e));
        snprintf(files[n].hash, sizeof files[n].hash, "%.*s", (int)(hash.n < 32 ? hash.n : 32), hash.p);
        n++;
    }
    qsort(files, (size_t)n, sizeof *files, compare_names);
    out->files = files;
    out->n_files = n;
    return ERR_OK;
}

static err_code read_state(const json_t *o, struct ckpt_info *out, struct arena *mem, struct err *e)
{
    int64_t format;
    struct str digest, cursor, config, code;
    TRY(json_need_i64(o, "format", &format, e));
    if (format != FORMAT)
        return err_set(e, ERR_UNSUPPORTED, "checkpoint format %lld; this program knows %d", (long long)format, FORMAT);
    struct ckpt_info r = {0};
    TRY(json_need_i64(o, "step", &r.step, e));
    TRY(json_need_i64(o, "run", &r.run, e));
    TRY(json_need_i64(o, "attempt", &r.attempt, e));
    TRY(json_need_str(o, "digest", &digest, e));
    TRY(json_need_str(o, "cursor", &cursor, e));
    TRY(json_need_str(o, "config", &config, e));
    TRY(json_need_str(o, "code", &code, e));
    TRY(read_files(json_object_get(o, "files"), &r, mem, e));
    snprintf(r.digest, sizeof r.digest, "%.*s", (int)(digest.n < 32 ? digest.n : 32), digest.p);
    r.cursor = str_dup(mem, cursor);
    r.config = str_dup(mem, config);
    r.code = str_dup(mem, code);
    *out = r;
    return ERR_OK;
}

err_code ckpt_read(const char *path, struct ckpt_info *out, struct arena *mem, struct err *e)
{
    char state[PATH_MAX];
    json_t *o;
    TRY(path_join(state, path, STATE, e));
    TRY(json_load(state, STATE_MAX_BYTES, &o, e));
    err_code rc = read_state(o, out, mem, e);
    json_decref(o);
    return rc == ERR_OK ? rc : err_ctx(e, "'%s'", state);
}

err_code ckpt_verify(const char *path, struct ckpt_info *out, struct arena *mem, struct err *e)
{
    struct ckpt_info now = {0}, was;
    char digest[33];
    TRY(ckpt_read(path, &was, mem, e));
    TRY(hash_all(path, 0, &now, mem, e));
    for (int64_t i = 0, j = 0; i < was.n_files || j < now.n_files;) {
        const struct ckpt_file *a = i < was.n_files ? &was.files[i] : NULL, *b = j < now.n_files ? &now.files[j] : NULL;
        int order = !a ? 1 : !b ? -1 : compare_names(a, b);
        if (order < 0)
            return err_set(e, ERR_MISMATCH, "'%s/%s' is missing", path, a->name.p);
        if (order > 0) { /* somebody put a file there: it is none of the state */
            j++;
            continue;
        }
        if (a->bytes != b->bytes || strcmp(a->hash, b->hash))
            return err_set(e, ERR_MISMATCH, "'%s/%s' is damaged: %lld bytes with hash %s, written were %lld with %s", path,
                           a->name.p, (long long)b->bytes, b->hash, (long long)a->bytes, a->hash);
        i++, j++;
    }
    digest_of(&was, digest);
    if (strcmp(digest, was.digest))
        return err_set(e, ERR_MISMATCH, "'%s/%s' is damaged: its own digest does not match", path, STATE);
    *out = was;
    return ERR_OK;
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

err_code ckpt_begin(struct ckpt_writer *w, const char *run_dir, int64_t step, struct err *e)
{
    char sub[PATH_MAX];
    if (strlen(run_dir) > PATH_MAX - 64)
        return err_set(e, ERR_IO, "path is too long: '%.200s...'", run_dir);
    snprintf(w->run_dir, sizeof w->run_dir, "%s", run_dir);
    step_path(w->final, run_dir, step);
    snprintf(w->tmp, sizeof w->tmp, "%.*s.tmp", PATH_MAX - 8, w->final);
    TRY(file_remove_tree(w->tmp, e));
    TRY(path_join(sub, w->tmp, "hone", e));
    return file_mkdirs(sub, e);
}

void ckpt_abort(struct ckpt_writer *w)
{
    struct err e = {0};
    if (file_remove_tree(w->tmp, &e) != ERR_OK)
        log_warn("train", "%s", e.msg);
}

/* Takes the place of an older checkpoint of the same step in one move, so that a reader always finds one. */
static err_code publish(const struct ckpt_writer *w, struct err *e)
{
    if (!file_exists(w->final))
        return file_rename(w->tmp, w->final, e);
    if (renameat2(AT_FDCWD, w->tmp, AT_FDCWD, w->final, RENAME_EXCHANGE) < 0)
        return err_sys(e, ERR_IO, "cannot put '%s' in the place of '%s'", w->tmp, w->final);
    return file_remove_tree(w->tmp, e);
}

/* Renamed before it is removed: a half-removed folder never has the name of a checkpoint. */
static err_code prune(const char *run_dir, int64_t keep, struct err *e)
{
    int64_t steps[MAX_FILES];
    int n;
    TRY(list_steps(run_dir, steps, &n, e));
    for (int i = n - 1; keep > 0 && i >= keep; i--) {
        char path[PATH_MAX], tmp[PATH_MAX + 8];
        step_path(path, run_dir, steps[i]);
        snprintf(tmp, sizeof tmp, "%s.tmp", path);
        TRY(file_rename(path, tmp, e));
        TRY(file_remove_tree(tmp, e));
    }
    return ERR_OK;
}

static err_code sync_folders(const struct ckpt_writer *w, struct err *e)
{
    char sub[PATH_MAX];
    TRY(path_join(sub, w->tmp, "hone", e));
    TRY(file_sync_dir(sub, e));
    return file_sync_dir(w->tmp, e);
}

err_code ckpt_commit(struct ckpt_writer *w, struct ckpt_info *info, int64_t keep, struct arena *mem, struct err *e)
{
    struct err later = {0};
    err_code rc = hash_all(w->tmp, 1, info, mem, e);
    if (rc == ERR_OK) {
        digest_of(info, info->digest);
        rc = write_state(w->tmp, info, e);
    }
    if (rc == ERR_OK)
        rc = sync_folders(w, e);
    if (rc == ERR_OK)
        rc = publish(w, e);
    if (rc != ERR_OK) {
        ckpt_abort(w);
        return rc;
    }
    TRY(file_sync_dir(w->run_dir, e));
    if (prune(w->run_dir, keep, &later) != ERR_OK) /* the new one is safe: an old one too many is no reason to stop */
        log_warn("train", "cannot remove an old checkpoint: %s", later.msg);
    return ERR_OK;
}
