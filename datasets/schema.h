/* The schema as forward migrations: schema_versions[v] brings version v to v + 1. Private to datasets/.
 * A migration that has shipped is never edited; a change is a new one at the end. */
#ifndef HONE_DATASETS_SCHEMA_H
#define HONE_DATASETS_SCHEMA_H

extern const char *const store_schema[];
extern const int store_schema_version; /* number of migrations */

enum { STORE_APPLICATION_ID = 0x686f6e65 }; /* "hone" in the file's header */

#endif
