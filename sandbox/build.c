/* Compiled programs by the hash of everything that went into them, in memory, and precompiled C++ headers,
 * in a folder that outlives the process. The compiler runs in the box like any program. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/file.h"
#include "core/log.h"
#include "sandbox/inner.h"

enum { SLOTS = 4096, ARGS = 64, PCH_MAX_VARIANTS = 4 };
static const int64_t cache_max_bytes = 512LL << 20;

struct build_cache {
    pthread_mutex_t lock, pch_lock;
    struct built *slot[SLOTS];
    int64_t bytes, clock;
    char pch[512];
    struct { struct hash128 key; int state; } pch_made[PCH_MAX_VARIANTS]; /* state 1 there, -1 cannot */
    int n_pch;
    int libc_a; /* 1 there, -1 not, 0 not looked yet; by pch_lock */
};

struct build_cache *sandbox_builds_open(const char *pch_dir)
{
    struct build_cache *c = calloc(1, sizeof *c);
    if (!c)
        BUG("out of memory");
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->pch_lock, NULL);
    snprintf(c->pch, sizeof c->pch, "%s", pch_dir);
    return c;
}

static void built_free(struct built *b)
{
    sbuf_release(&b->exe);
    sbuf_release(&b->err);
    free(b);
}

void sandbox_builds_close(struct build_cache *c)
{
    for (int i = 0; i < SLOTS; i++)
        if (c->slot[i])
            built_free(c->slot[i]);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->pch_lock);
    free(c);
}

static struct sandbox_limits compile_limits(const struct sandbox_job *job)
{
    struct sandbox_limits l = sandbox_limits_default();
    l.cpu_ms = 30000;
    l.wall_ms = 5 * l.cpu_ms; /* CPU time is the limit: a busy machine is no compile error */
    l.out_bytes = 64 << 10;
    l.file_bytes = l.tmp_bytes = 512 << 20;
    l.fds = 256;
    if (job->compile.wall_ms > 0) {
        l.wall_ms = job->compile.wall_ms;
        l.cpu_ms = job->compile.cpu_ms;
        l.mem_bytes = job->compile.mem_bytes;
    }
    return l;
}

static struct hash128 key_of(const struct sandbox_job *job, const char *const *argv)
{
    struct hash_state *h = hash_open();
    for (int i = 0; argv[i]; i++)
        hash_field(h, argv[i], (int64_t)strlen(argv[i]));
    hash_field(h, job->code.p, job->code.n);
    for (int i = 0; i < job->n_files; i++) {
        hash_field(h, job->files[i].name.p, job->files[i].name.n);
        hash_field(h, job->files[i].bytes.p, job->files[i].bytes.n);
    }
    return hash_close(h);
}

/* ---- precompiled header */

/* Beside it: where the compiler cannot use a precompiled header (it is not the first thing in the file, or another flag
 * differs) it insists on a file of that name. */
static int plain_header(const char *dir)
{
    char path[800];
    snprintf(path, sizeof path, "%s/bits/stdc++.h", dir);
    return !access(path, R_OK) || (file_write_atomic(path, STR("#include_next <bits/stdc++.h>\n"), NULL) == ERR_OK && !chmod(path, 0644));
}

/* Compiles <bits/stdc++.h> with the same flags once and keeps it for all workers and later processes. */
static int pch_make(struct sandbox_worker *w, const char *const *argv, const char *dir)
{
    const char *cmd[ARGS + 8] = {argv[0], "-x", "c++-header", "all.h", "-o", "prog"};
    int n = 6, ok = 0;
    for (int i = 1; argv[i] && n < ARGS; i++)
        if (argv[i][0] == '-' && (argv[i][1] == 's' || argv[i][1] == 'O'))
            cmd[n++] = argv[i];
    cmd[n] = NULL;
    struct sandbox_file f = {.name = STR("all.h"), .bytes = STR("#include <bits/stdc++.h>\n")};
    struct sandbox_job job = {.argv = cmd, .files = &f, .n_files = 1, .keep = "prog"};
    struct sandbox_result r = {0};
    job.limits = compile_limits(&job);
    job.limits.wall_ms = 300000; /* once for all: a busy machine may take its time */
    job.limits.cpu_ms = 60000;
    sandbox_run_built(w, &job, cmd, NULL, NULL, &r);
    char sub[700], path[800];
    snprintf(sub, sizeof sub, "%s/bits", dir);
    snprintf(path, sizeof path, "%s/bits/stdc++.h.gch", dir);
    if (r.verdict == SANDBOX_AC && r.has_kept && file_mkdirs(sub, NULL) == ERR_OK && file_write_atomic(path, sbuf_str(&r.kept), NULL) == ERR_OK)
        ok = !chmod(dir, 0755) && !chmod(sub, 0755) && !chmod(path, 0644) && plain_header(dir);
    else
        log_debug("sandbox", 1, "no precompiled header: %s %s", sandbox_verdict_name(r.verdict), r.sub);
    sandbox_result_release(&r);
    return ok;
}

/* "-I/pch/<key>" for these flags, or "" when there is none to be had. */
static void pch_flag(struct sandbox_worker *w, struct build_cache *c, const char *const *argv, char out[64])
{
    struct hash_state *h = hash_open();
    struct stat st;
    char hex[33], dir[600], path[700];
    struct stat gxx;
    out[0] = 0;
    if (!stat(argv[0], &gxx)) { /* another compiler makes another header */
        hash_field(h, &gxx.st_size, sizeof gxx.st_size);
        hash_field(h, &gxx.st_mtim.tv_sec, sizeof gxx.st_mtim.tv_sec);
    }
    for (int i = 0; argv[i]; i++)
        if (!i || argv[i][1] == 's' || argv[i][1] == 'O')
            hash_field(h, argv[i], (int64_t)strlen(argv[i]));
    struct hash128 key = hash_close(h);
    if (!c->pch[0])
        return;
    hash_hex(key, hex);
    snprintf(dir, sizeof dir, "%s/%s", c->pch, hex);
    snprintf(path, sizeof path, "%s/bits/stdc++.h.gch", dir);
    pthread_mutex_lock(&c->pch_lock);
    int i = 0, ok = 0;
    while (i < c->n_pch && !hash_eq(c->pch_made[i].key, key))
        i++;
    if (i < c->n_pch) {
        ok = c->pch_made[i].state > 0;
    } else if (i < PCH_MAX_VARIANTS) {
        ok = (!stat(path, &st) && plain_header(dir)) || pch_make(w, argv, dir);
        c->pch_made[i].key = key;
        c->pch_made[i].state = ok ? 1 : -1;
        c->n_pch++;
    }
    pthread_mutex_unlock(&c->pch_lock);
    if (ok)
        snprintf(out, 64, "-I/pch/%s", hex);
}

/* Can programs be linked without shared libraries here, by the linker that is quick at it? The compiler itself says. */
static const char *const static_flags[] = {"-static", "-fuse-ld=gold"};

static int links_static(struct sandbox_worker *w, struct build_cache *c, const char *compiler)
{
    pthread_mutex_lock(&c->pch_lock);
    if (!c->libc_a) {
        const char *cmd[] = {compiler, static_flags[0], static_flags[1], "-o", "prog", "main.c", "-lm", NULL};
        struct sandbox_file f = {.name = STR("main.c"), .bytes = STR("int main(void) { return 0; }\n")};
        struct sandbox_job job = {.argv = cmd, .files = &f, .n_files = 1, .keep = "prog"};
        struct sandbox_result r = {0};
        job.limits = compile_limits(&job);
        sandbox_run_built(w, &job, cmd, NULL, NULL, &r);
        if (r.verdict != SANDBOX_IE)
            c->libc_a = r.verdict == SANDBOX_AC && r.has_kept ? 1 : -1;
        sandbox_result_release(&r);
    }
    int yes = c->libc_a > 0;
    pthread_mutex_unlock(&c->pch_lock);
    return yes;
}

/* ---- cache */

static struct built *lookup(struct build_cache *c, struct hash128 key)
{
    pthread_mutex_lock(&c->lock);
    struct built *b = c->slot[key.lo % SLOTS];
    if (b && hash_eq(b->key, key)) {
        b->users++;
        b->used = ++c->clock;
    } else {
        b = NULL;
    }
    pthread_mutex_unlock(&c->lock);
    return b;
}

static int64_t weight(const struct built *b) { return b->exe.cap + b->err.cap; }

static void drop_slot(struct build_cache *c, int i)
{
    if (c->slot[i] && c->slot[i]->users == 0) {
        c->bytes -= weight(c->slot[i]);
        built_free(c->slot[i]);
        c->slot[i] = NULL;
    }
}

/* b gets one user (the caller); it is cached unless its place is taken by one in use, or it failed on our side. */
static void insert(struct build_cache *c, struct built *b)
{
    int at = (int)(b->key.lo % SLOTS);
    pthread_mutex_lock(&c->lock);
    drop_slot(c, at);
    while (c->bytes + weight(b) > cache_max_bytes) {
        int oldest = -1;
        for (int i = 0; i < SLOTS; i++)
            if (c->slot[i] && c->slot[i]->users == 0 && (oldest < 0 || c->slot[i]->used < c->slot[oldest]->used))
                oldest = i;
        if (oldest < 0)
            break;
        drop_slot(c, oldest);
    }
    b->users = 1;
    b->used = ++c->clock;
    if (!c->slot[at] && b->verdict != SANDBOX_IE) {
        c->slot[at] = b;
        c->bytes += weight(b);
    } else {
        b->users = -1; /* the caller's alone */
    }
    pthread_mutex_unlock(&c->lock);
}

void sandbox_build_done(struct build_cache *c, struct built *b)
{
    pthread_mutex_lock(&c->lock);
    int own = b->users < 0;
    if (!own)
        b->users--;
    pthread_mutex_unlock(&c->lock);
    if (own)
        built_free(b);
}

static void compile(struct sandbox_worker *w, const struct sandbox_job *job, const char *const *argv, struct built *b)
{
    struct sandbox_result r = {0};
    struct sandbox_file files[64];
    struct sandbox_job j = {.argv = argv, .files = files, .keep = "prog", .limits = compile_limits(job)};
    const struct lang *lang = sandbox_lang(job->language);
    if (job->code.p)
        files[j.n_files++] = (struct sandbox_file){.name = str_of(lang->main_file), .bytes = job->code};
    for (int i = 0; i < job->n_files && j.n_files < 64; i++)
        files[j.n_files++] = job->files[i];
    sandbox_run_built(w, &j, argv, NULL, NULL, &r);
    b->ms = r.wall_ms;
    sbuf_init(&b->exe, WIRE_MAX);
    sbuf_init(&b->err, WIRE_MAX);
    b->verdict = r.verdict == SANDBOX_AC && r.has_kept ? SANDBOX_AC : r.verdict == SANDBOX_IE ? SANDBOX_IE : SANDBOX_CE;
    if (b->verdict == SANDBOX_AC) {
        sbuf_add(&b->exe, sbuf_str(&r.kept));
        b->hash = hash_bytes(b->exe.p, b->exe.n);
    } else {
        sbuf_add(&b->err, sbuf_str(&r.err));
        snprintf(b->sub, sizeof b->sub, "%s%s%.70s", b->verdict == SANDBOX_CE ? "compiler" : "", r.sub[0] ? " " : "", r.sub);
    }
    sandbox_result_release(&r);
}

struct built *sandbox_build(struct sandbox_worker *w, struct build_cache *c, const struct sandbox_job *job, struct sandbox_result *r)
{
    const struct lang *lang = sandbox_lang(job->language);
    const char *const *table = job->build ? job->build : lang->compile;
    const char *argv[ARGS], *plain[ARGS];
    char pch[64] = "";
    int n = 0, p = 0;
    struct hash128 key = key_of(job, table);
    struct built *b = lookup(c, key);
    r->compiled = !b;
    sandbox_pool_compiled(w->pool, b != NULL);
    if (b)
        return b;
    for (int i = 0; table[i] && p < ARGS - 1; i++)
        if (table[i][0] != '@')
            plain[p++] = table[i];
    plain[p] = NULL;
    for (int i = 0; table[i] && n < ARGS - 1; i++) {
        if (table[i][0] != '@') {
            argv[n++] = table[i];
        } else if (!strcmp(table[i], "@static")) {
            int yes = n < ARGS - 2 && links_static(w, c, table[0]);
            for (int k = 0; yes && k < 2; k++)
                argv[n++] = static_flags[k];
        } else if (str_find(job->code, STR("bits/stdc++.h"), 0) >= 0) {
            pch_flag(w, c, plain, pch);
            if (pch[0])
                argv[n++] = pch;
        }
    }
    argv[n] = NULL;
    b = calloc(1, sizeof *b);
    if (!b)
        BUG("out of memory");
    b->key = key;
    compile(w, job, argv, b);
    r->compile_ms = b->ms;
    insert(c, b);
    return b;
}
