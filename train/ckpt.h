/* Checkpoints on disk (docs/checkpoint.md): RUN/step_00000042/ is a Hugging Face folder with a subfolder hone/.
 *
 *   config.json model*.safetensors tokenizer...   weights, readable by transformers and vLLM
 *   hone/optim.safetensors                        AdamW moments
 *   hone/state.json                               counters, data cursor, config, hash of every other file; written last
 *
 * A checkpoint is written in RUN/step_00000042.tmp, every file and folder fsynced, then renamed: a reader sees a
 * whole one or none. The digest covers every file's bytes, the step and the cursor; it does not cover the config
 * text, the code version and the run's id, so that two runs in two folders can be compared.
 */
#ifndef HONE_TRAIN_CKPT_H
#define HONE_TRAIN_CKPT_H

#include <limits.h>
#include <stdint.h>

#include "core/arena.h"
#include "core/cdecl.h"
#include "core/err.h"
#include "core/str.h"

CDECL_BEGIN

struct ckpt_file {
    struct str name;      /* relative to the checkpoint, "hone/optim.safetensors" */
    int64_t bytes;
    char hash[33];
};

struct ckpt_info {
    int64_t step;         /* optimiser steps done */
    struct str cursor;    /* where the data stands; the job's own text */
    struct str config;    /* "section.key=value" lines in force */
    struct str code;      /* version of the program that wrote it */
    int64_t run;          /* id of the run in the store; 0 = none */
    int64_t attempt;      /* 1 for a fresh start, +1 for every resume */
    char digest[33];
    int64_t n_files;
    const struct ckpt_file *files; /* sorted by name */
};

/* One process per run folder. Makes the folder, takes its lock, removes what a killed run left half written.
 * ERR_BUSY: another process has it. */
err_code ckpt_lock(const char *run_dir, int *lock_fd, struct err *e);
void ckpt_unlock(int lock_fd);

/* Newest complete checkpoint of a run folder; path[0] = 0 when there is none. A folder that is a checkpoint itself
 * is its own newest. */
err_code ckpt_newest(const char *dir, char path[PATH_MAX], struct err *e);

/* The model folder that `path` means: itself when it holds a config.json, the newest checkpoint when it is a run folder. */
err_code ckpt_model(const char *path, char out[PATH_MAX], struct err *e);

/* state.json as written (strings live in mem). ERR_DATA damaged, ERR_IO missing. */
err_code ckpt_read(const char *path, struct ckpt_info *out, struct arena *mem, struct err *e);
/* ckpt_read, then hashes every file again. ERR_MISMATCH names the first file that is not what was written. */
err_code ckpt_verify(const char *path, struct ckpt_info *out, struct arena *mem, struct err *e);

struct ckpt_writer {
    char final[PATH_MAX], tmp[PATH_MAX], run_dir[PATH_MAX];
};
/* Makes w->tmp and w->tmp/hone; the caller writes the files, then commits or aborts. */
err_code ckpt_begin(struct ckpt_writer *w, const char *run_dir, int64_t step, struct err *e);
/* Hashes and fsyncs all, writes state.json from info (digest and files are filled in, in mem), renames, then removes
 * all but the newest `keep` checkpoints (0 keeps all). On error nothing visible has changed and w->tmp is gone. */
err_code ckpt_commit(struct ckpt_writer *w, struct ckpt_info *info, int64_t keep, struct arena *mem, struct err *e);
void ckpt_abort(struct ckpt_writer *w);

CDECL_END

#endif
