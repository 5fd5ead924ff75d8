/* The program's version, written into checkpoints and runs. */
#ifndef HONE_CORE_VERSION_H
#define HONE_CORE_VERSION_H

#define HONE_VERSION "0.1.0"

#endif
