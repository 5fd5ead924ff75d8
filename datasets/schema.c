/* The tables. Small columns that scans need lie apart from large ones (items / bodies, token_rows /
 * token_data), so that planning over a million rows does not read the rows themselves. */
#include "datasets/schema.h"

static const char data_tables[] =
    "CREATE TABLE sources(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);"
    /* One imported file; path '' holds what the program itself made. bytes_done and lines_done are the cursor of
     * an import: they move in the transaction that writes the rows. superseded_at: the row sequence when another
     * content took this path: snapshots up to that sequence still see its rows. */
    "CREATE TABLE files(id INTEGER PRIMARY KEY, source INTEGER NOT NULL REFERENCES sources, path TEXT NOT NULL,"
    " hash BLOB NOT NULL, bytes INTEGER NOT NULL, options TEXT NOT NULL, bytes_done INTEGER NOT NULL DEFAULT 0,"
    " lines_done INTEGER NOT NULL DEFAULT 0, rows INTEGER NOT NULL DEFAULT 0, added INTEGER NOT NULL DEFAULT 0,"
    " bad INTEGER NOT NULL DEFAULT 0, done INTEGER NOT NULL DEFAULT 0, superseded_at INTEGER,"
    " imported_at TEXT NOT NULL DEFAULT(strftime('%Y-%m-%dT%H:%M:%SZ')));"
    "CREATE UNIQUE INDEX files_live ON files(source, path) WHERE superseded_at IS NULL;"
    /* Every distinct row once. hash: of kind and body. prompt: of what comes before the first answer,
     * case and white space folded; it decides the split and finds contamination. */
    "CREATE TABLE items(id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, kind TEXT NOT NULL, prompt INTEGER NOT NULL);"
    "CREATE TABLE bodies(item INTEGER PRIMARY KEY REFERENCES items, body TEXT NOT NULL);"
    "CREATE TABLE source_rows(seq INTEGER PRIMARY KEY, file INTEGER NOT NULL REFERENCES files, line INTEGER NOT NULL,"
    " item INTEGER NOT NULL REFERENCES items);"
    "CREATE INDEX source_rows_file ON source_rows(file, line);"
    "CREATE TABLE bad_lines(file INTEGER NOT NULL REFERENCES files, line INTEGER NOT NULL, reason TEXT NOT NULL,"
    " PRIMARY KEY(file, line)) WITHOUT ROWID;"
    "CREATE TABLE snapshots(id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, sources TEXT NOT NULL, kinds TEXT NOT NULL,"
    " split TEXT NOT NULL, heldout REAL NOT NULL, exclude TEXT NOT NULL, max_seq INTEGER NOT NULL,"
    " items INTEGER NOT NULL, excluded INTEGER NOT NULL, digest BLOB NOT NULL);"
    /* How rows became tokens; hash is over all the other columns but model. */
    "CREATE TABLE recipes(id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, tokenizer BLOB NOT NULL,"
    " template BLOB NOT NULL, options TEXT NOT NULL, model TEXT NOT NULL);"
    "CREATE TABLE token_rows(id INTEGER PRIMARY KEY, recipe INTEGER NOT NULL REFERENCES recipes,"
    " item INTEGER NOT NULL REFERENCES items, n INTEGER NOT NULL, supervised INTEGER NOT NULL,"
    " first_supervised INTEGER NOT NULL, UNIQUE(recipe, item));"
    /* ids: int32 little-endian. weights: runs of (int32 count, float32 weight), little-endian. */
    "CREATE TABLE token_data(row INTEGER PRIMARY KEY REFERENCES token_rows, ids BLOB NOT NULL, weights BLOB NOT NULL,"
    " text TEXT);"
    "CREATE TABLE plans(id INTEGER PRIMARY KEY, hash BLOB NOT NULL UNIQUE, snapshot INTEGER NOT NULL REFERENCES snapshots,"
    " recipe INTEGER NOT NULL REFERENCES recipes, options TEXT NOT NULL);"
    "CREATE TABLE plan_epochs(plan INTEGER NOT NULL REFERENCES plans, epoch INTEGER NOT NULL, steps INTEGER NOT NULL,"
    " batches INTEGER NOT NULL, rows INTEGER NOT NULL, tokens INTEGER NOT NULL, supervised INTEGER NOT NULL,"
    " dropped_long INTEGER NOT NULL, truncated INTEGER NOT NULL, dropped_unsupervised INTEGER NOT NULL,"
    " efficiency REAL NOT NULL, digest BLOB NOT NULL, PRIMARY KEY(plan, epoch)) WITHOUT ROWID;"
    /* token_rows: ids of token_rows, int64; ends: rows behind each batch's last one, int64; little-endian. */
    "CREATE TABLE plan_parts(plan INTEGER NOT NULL, epoch INTEGER NOT NULL, part INTEGER NOT NULL,"
    " token_rows BLOB NOT NULL, ends BLOB NOT NULL, PRIMARY KEY(plan, epoch, part),"
    " FOREIGN KEY(plan, epoch) REFERENCES plan_epochs(plan, epoch));"
    "CREATE VIEW rows AS SELECT i.id AS item, s.name AS source, f.path AS path, r.line AS line, i.kind AS kind,"
    " b.body AS body FROM source_rows r JOIN files f ON f.id = r.file JOIN sources s ON s.id = f.source"
    " JOIN items i ON i.id = r.item JOIN bodies b ON b.item = i.id WHERE f.superseded_at IS NULL;"
    "CREATE VIEW pairs AS SELECT item, source, json_extract(body, '$.prompt') AS prompt,"
    " json_extract(body, '$.chosen') AS chosen, json_extract(body, '$.rejected') AS rejected FROM rows WHERE kind = 'pair';";

#define OF_STEP "run INTEGER NOT NULL REFERENCES runs, step INTEGER NOT NULL, attempt INTEGER NOT NULL"
/* a row is valid while no later attempt began at or before its step */
#define VALID(t) " FROM " t " r WHERE NOT EXISTS(SELECT 1 FROM attempts b WHERE b.run = r.run AND b.attempt > r.attempt" \
                 " AND b.first_step <= r.step);"

static const char run_tables[] =
    "CREATE TABLE runs(id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, code TEXT NOT NULL,"
    " provenance TEXT, seed INTEGER NOT NULL, snapshot INTEGER REFERENCES snapshots, status TEXT, why TEXT, config TEXT NOT NULL,"
    " began_at TEXT NOT NULL DEFAULT(strftime('%Y-%m-%dT%H:%M:%fZ')), ended_at TEXT);"
    "CREATE INDEX runs_name ON runs(name);"
    "CREATE TABLE attempts(run INTEGER NOT NULL REFERENCES runs, attempt INTEGER NOT NULL, first_step INTEGER NOT NULL,"
    " pid INTEGER NOT NULL, code TEXT NOT NULL, config TEXT, status TEXT, why TEXT,"
    " began_at TEXT NOT NULL DEFAULT(strftime('%Y-%m-%dT%H:%M:%fZ')), ended_at TEXT, PRIMARY KEY(run, attempt)) WITHOUT ROWID;"
    "CREATE TABLE steps_all(" OF_STEP ", epoch INTEGER NOT NULL, PRIMARY KEY(run, step, attempt)) WITHOUT ROWID;"
    "CREATE TABLE metrics_all(" OF_STEP ", name TEXT NOT NULL, value REAL, PRIMARY KEY(run, step, name, attempt)) WITHOUT ROWID;"
    "CREATE TABLE timings_all(" OF_STEP ", name TEXT NOT NULL, value REAL, PRIMARY KEY(run, step, name, attempt)) WITHOUT ROWID;"
    "CREATE TABLE events_all(id INTEGER PRIMARY KEY, " OF_STEP ", name TEXT NOT NULL, count INTEGER NOT NULL, detail TEXT);"
    "CREATE INDEX events_step ON events_all(run, step);"
    "CREATE TABLE evals_all(" OF_STEP ", dataset TEXT NOT NULL, name TEXT NOT NULL, value REAL, n INTEGER NOT NULL,"
    " PRIMARY KEY(run, step, dataset, name, attempt)) WITHOUT ROWID;"
    "CREATE TABLE rollouts_all(id INTEGER PRIMARY KEY, " OF_STEP ", purpose TEXT NOT NULL, prompt INTEGER NOT NULL,"
    " sample INTEGER NOT NULL, item INTEGER REFERENCES items, n_prompt INTEGER NOT NULL, n INTEGER NOT NULL,"
    " stop TEXT NOT NULL, reward REAL, advantage REAL, used INTEGER NOT NULL, why TEXT, text TEXT, prompt_ids BLOB,"
    " ids BLOB NOT NULL, logp BLOB, UNIQUE(run, step, purpose, prompt, sample, attempt));"
    "CREATE TABLE verdicts_all(" OF_STEP ", purpose TEXT NOT NULL, prompt INTEGER NOT NULL, sample INTEGER NOT NULL,"
    " reward TEXT NOT NULL, outcome TEXT NOT NULL, score REAL, why TEXT, wall_ms REAL,"
    " PRIMARY KEY(run, step, purpose, prompt, sample, reward, attempt)) WITHOUT ROWID;"
    "CREATE VIEW steps AS SELECT run, step, epoch" VALID("steps_all")
    "CREATE VIEW metrics AS SELECT run, step, name, value" VALID("metrics_all")
    "CREATE VIEW timings AS SELECT run, step, name, value" VALID("timings_all")
    "CREATE VIEW events AS SELECT run, step, name, count, detail" VALID("events_all")
    "CREATE VIEW evals AS SELECT run, step, dataset, name, value, n" VALID("evals_all")
    "CREATE VIEW rollouts AS SELECT run, step, purpose, prompt, sample, item, n_prompt, n, stop, reward, advantage, used,"
    " why, text, prompt_ids, ids, logp" VALID("rollouts_all")
    "CREATE VIEW verdicts AS SELECT run, step, purpose, prompt, sample, reward, outcome, score, why, wall_ms" VALID("verdicts_all")
    "CREATE VIEW pass_rates AS SELECT run, item, purpose, count(*) AS samples, avg(reward) AS mean_reward"
    " FROM rollouts WHERE used = 1 AND item IS NOT NULL GROUP BY run, item, purpose;";

/* What version 3 added: rows that an import's filter left out; the commit that a resumed part of a run was made at. */
static const char filter_columns[] = "ALTER TABLE files ADD COLUMN left_out INTEGER NOT NULL DEFAULT 0;"
                                     "ALTER TABLE attempts ADD COLUMN provenance TEXT;";

/* Version 4: mixtures of experts. tokens: a JSON array, one number per expert. routes: of every sampled token, the experts behind its
 * logits: mixtures ascending, ids ascending in each, 16 bits each. */
static const char expert_tables[] =
    "CREATE TABLE loads_all(" OF_STEP ", layer INTEGER NOT NULL, violation REAL NOT NULL, tokens TEXT NOT NULL, PRIMARY KEY(run, step, layer, attempt)) WITHOUT ROWID;"
    "CREATE VIEW loads AS SELECT run, step, layer, violation, tokens" VALID("loads_all")
    "ALTER TABLE rollouts_all ADD COLUMN routes BLOB;"
    "DROP VIEW pass_rates; DROP VIEW rollouts;"
    "CREATE VIEW rollouts AS SELECT run, step, purpose, prompt, sample, item, n_prompt, n, stop, reward, advantage, used,"
    " why, text, prompt_ids, ids, logp, routes" VALID("rollouts_all")
    "CREATE VIEW pass_rates AS SELECT run, item, purpose, count(*) AS samples, avg(reward) AS mean_reward"
    " FROM rollouts WHERE used = 1 AND item IS NOT NULL GROUP BY run, item, purpose;";

const char *const store_schema[] = {data_tables, run_tables, filter_columns, expert_tables};
const int store_schema_version = sizeof store_schema / sizeof *store_schema;
