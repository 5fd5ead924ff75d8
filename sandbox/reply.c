/* The owner's side of a run: the reply of a box read with distrust, and the verdict from the facts. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>

#include "sandbox/inner.h"

static const char *const steps[] = {
#define X(name) #name,
    RUN_STEPS(X)
#undef X
};

const char *sandbox_step_name(int step) { return step >= 0 && step < STEP_N ? steps[step] : "?"; }

const char *sandbox_verdict_name(enum sandbox_verdict v)
{
    static const char *const names[] = {
#define X(name, text) #name,
        SANDBOX_VERDICTS(X)
#undef X
    };
    return v < SANDBOX_VERDICT_N ? names[v] : "?";
}

err_code sandbox_reply_parse(struct str body, const struct sandbox_job *job, struct sandbox_result *r, struct run_facts *f, int *need_exe,
                             struct err *e)
{
    struct wire_in in = {body.p, body.n, 0};
    enum wire_tag tag;
    struct str s;
    int rc, seen = 0;
    *need_exe = 0;
    sbuf_clear(&r->out);
    sbuf_clear(&r->err);
    sbuf_clear(&r->partner);
    sbuf_clear(&r->kept);
    r->has_kept = 0;
    while ((rc = sandbox_wire_next(&in, &tag, &s)) == 1) {
        int bit = 1 << (tag == WIRE_DONE ? 0 : tag == WIRE_OUT ? 1 : tag == WIRE_ERR ? 2 : tag == WIRE_PARTNER ? 3 : tag == WIRE_KEPT ? 4 : 5);
        if (seen & bit)
            return err_set(e, ERR_DATA, "the box answered the same thing twice");
        seen |= bit;
        if (tag == WIRE_DONE && s.n == sizeof *f)
            memcpy(f, s.p, sizeof *f);
        else if (tag == WIRE_OUT && s.n <= job->limits.out_bytes)
            sbuf_add(&r->out, s);
        else if (tag == WIRE_ERR && s.n <= job->limits.out_bytes)
            sbuf_add(&r->err, s);
        else if (tag == WIRE_PARTNER && (job->partner || job->report))
            sbuf_add(&r->partner, s);
        else if (tag == WIRE_KEPT && job->keep && s.n <= job->limits.file_bytes)
            sbuf_add(&r->kept, s), r->has_kept = 1;
        else if (tag == WIRE_NEED_EXE)
            *need_exe = 1;
        else
            return err_set(e, ERR_DATA, "the box answered with a field that was not asked for");
    }
    if (rc || (seen & 7) != 7)
        return err_set(e, ERR_DATA, "the box answered half a message");
    if (f->failed < 0 || f->failed >= STEP_N || !(f->wall_ms >= 0) || !(f->cpu_ms >= -1e9) || f->mem_peak < 0)
        return err_set(e, ERR_DATA, "the box answered numbers that cannot be");
    return ERR_OK;
}

/* Interpreters and runtimes say so themselves when memory ran out below the limit. */
static int says_no_memory(const struct sbuf *err)
{
    struct str s = sbuf_str(err);
    struct str tail = str_trim(str_sub(s, s.n - 400, s.n));
    int64_t nl = str_rfind(tail, STR("\n"));
    struct str last = str_sub(tail, nl + 1, tail.n);
    return str_starts(last, STR("MemoryError")) || str_find(tail, STR("std::bad_alloc"), 0) >= 0;
}

static enum sandbox_verdict set(struct sandbox_result *r, enum sandbox_verdict v, const char *sub)
{
    snprintf(r->sub, sizeof r->sub, "%s", sub);
    return v;
}

static enum sandbox_verdict decide(const struct run_facts *f, const struct sandbox_job *job, struct sandbox_result *r)
{
    char text[96];
    int sig = WIFSIGNALED(f->status) ? WTERMSIG(f->status) : 0;
    if (f->failed) {
        snprintf(text, sizeof text, "%s: %s", sandbox_step_name(f->failed), strerror(f->sys));
        return set(r, SANDBOX_IE, text);
    }
    if (f->exec_errno) {
        snprintf(text, sizeof text, "cannot start: %s", strerror(f->exec_errno));
        return set(r, SANDBOX_RE, text);
    }
    if (f->syntax)
        return set(r, SANDBOX_CE, "syntax");
    if (f->ended && sig == SIGSYS)
        return set(r, SANDBOX_SV, "forbidden system call");
    if (f->hit_out || f->hit_err)
        return set(r, SANDBOX_OLE, f->hit_out ? "stdout" : "stderr");
    if (f->oom || f->hit_mem)
        return set(r, SANDBOX_MLE, f->oom ? "memory cgroup" : "memory");
    if (f->hit_wall || f->hit_cpu || (f->ended && sig == SIGXCPU))
        return set(r, SANDBOX_TLE, f->hit_wall ? "wall" : "cpu");
    if ((job->partner || job->peer) && f->partner_ok)
        return set(r, SANDBOX_AC, "");
    if (!f->ended)
        return job->partner || job->peer ? set(r, SANDBOX_TLE, "the tests did not end") : set(r, SANDBOX_IE, "ended for no reason");
    if (sig) {
        if (sig == SIGABRT && says_no_memory(&r->err))
            return set(r, SANDBOX_MLE, "bad_alloc");
        snprintf(text, sizeof text, "signal %d", sig);
        return set(r, SANDBOX_RE, text);
    }
    if (WEXITSTATUS(f->status)) {
        if (says_no_memory(&r->err))
            return set(r, SANDBOX_MLE, "MemoryError");
        snprintf(text, sizeof text, "exit %d", WEXITSTATUS(f->status));
        return set(r, SANDBOX_RE, text);
    }
    return set(r, SANDBOX_AC, "");
}

void sandbox_judge_facts(const struct run_facts *f, const struct sandbox_job *job, struct sandbox_result *r)
{
    r->exit_code = f->ended && WIFEXITED(f->status) ? WEXITSTATUS(f->status) : -1;
    r->signal = WIFSIGNALED(f->status) ? WTERMSIG(f->status) : 0;
    r->wall_ms = f->wall_ms;
    r->cpu_ms = f->cpu_ms > 0 ? f->cpu_ms : 0;
    r->mem_peak = f->mem_peak;
    r->peer_exit = !job->peer || !f->partner_ok ? -1000 : WIFEXITED(f->peer_status) ? WEXITSTATUS(f->peer_status) : -WTERMSIG(f->peer_status);
    r->verdict = decide(f, job, r);
}
