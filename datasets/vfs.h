/* SQLite's own file layer with the fault points "sqlite" (a write finds the disk full) and "sqlite_sync"
 * (a flush fails) in front. Private to datasets/. */
#ifndef HONE_DATASETS_VFS_H
#define HONE_DATASETS_VFS_H

const char *store_vfs(void); /* registers it once; its name for sqlite3_open_v2 */

#endif
