/* Anomaly maps of a run, put away in a file that has no name: it needs no memory and is gone with its process. */
#ifndef MFFA_WORKER_MAP_SPOOL_H
#define MFFA_WORKER_MAP_SPOOL_H

#include <stdint.h>
#include "core/base/err.h"

typedef struct mffa_map_spool {
    int fd; /* -1: closed */
    int side;
    int64_t count;
} mffa_map_spool;

/* folder: where the file system with enough room is. */
MFFA_MUST_USE mffa_code mffa_map_spool_open(const char *folder, int side, mffa_map_spool *out, mffa_err *err);
void mffa_map_spool_close(mffa_map_spool *s);
/* maps [n, side, side]; MFFA_ENOSPC says how much did not fit. */
MFFA_MUST_USE mffa_code mffa_map_spool_add(mffa_map_spool *s, const float *maps, int64_t n, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_map_spool_read(const mffa_map_spool *s, int64_t i, float *map, mffa_err *err);

#endif
