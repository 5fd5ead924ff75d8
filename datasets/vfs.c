#include "datasets/vfs.h"

#include <assert.h>
#include <pthread.h>
#include <sqlite3.h>

#include "core/fault.h"

/* The system's file keeps its own state and size: only its method table is exchanged for a copy whose
 * write and sync ask the fault points first. The system has few tables (one per locking style). */
enum { MAX_TABLES = 8 };

static struct {
    const sqlite3_io_methods *real;
    sqlite3_io_methods ours;
} tables[MAX_TABLES];
static int n_tables;
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static sqlite3_vfs vfs;
static sqlite3_vfs *base;

static const sqlite3_io_methods *real_of(sqlite3_file *f)
{
    for (int i = 0; i < MAX_TABLES; i++)
        if (f->pMethods == &tables[i].ours)
            return tables[i].real;
    assert(!"a file of another layer");
    return NULL;
}

static int write_file(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    if (fault_hit("sqlite"))
        return SQLITE_FULL;
    return real_of(f)->xWrite(f, p, n, at);
}

static int sync_file(sqlite3_file *f, int flags)
{
    if (fault_hit("sqlite_sync"))
        return SQLITE_IOERR_FSYNC;
    return real_of(f)->xSync(f, flags);
}

/* The system's close looks nothing up by method table, so it can be called with ours in place. */
static int open_file(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out_flags)
{
    (void)v;
    int rc = base->xOpen(base, name, f, flags, out_flags);
    if (rc != SQLITE_OK || !f->pMethods)
        return rc;
    pthread_mutex_lock(&guard);
    int i = 0;
    while (i < n_tables && tables[i].real != f->pMethods)
        i++;
    if (i == n_tables && n_tables < MAX_TABLES) {
        tables[i].real = f->pMethods;
        tables[i].ours = *f->pMethods;
        tables[i].ours.xWrite = write_file;
        tables[i].ours.xSync = sync_file;
        n_tables++;
    }
    if (i < n_tables)
        f->pMethods = &tables[i].ours;
    pthread_mutex_unlock(&guard);
    return rc;
}

static void make(void)
{
    base = sqlite3_vfs_find(NULL);
    vfs = *base;
    vfs.zName = "hone";
    vfs.pNext = NULL;
    vfs.xOpen = open_file;
    sqlite3_vfs_register(&vfs, 0);
}

const char *store_vfs(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make);
    return "hone";
}
