/* Sorting more 64-bit records than memory holds: sorted runs in one file, merged when read.
 * The order is that of the whole integers, so what comes out does not depend on how much memory there was. The file has no name from
 * the moment it is made: whatever ends the process, nothing is left behind. One thread at a time. */
#ifndef MFFA_CORE_MFFA_SPOOL_H
#define MFFA_CORE_MFFA_SPOOL_H

#include <stdint.h>
#include "core/base/buf.h"

typedef struct mffa_spool mffa_spool;

/* memory_bytes: all that it uses (64 KiB at least). MFFA_EIO or MFFA_EDENIED names dir when no file can be made there. */
MFFA_MUST_USE mffa_code mffa_spool_open(const char *dir, int64_t memory_bytes, mffa_spool **out, mffa_err *err);
void mffa_spool_close(mffa_spool *s);
static inline void mffa_spool_close_p(mffa_spool **s) { mffa_spool_close(*s); }
/* MFFA_ENOSPC, saying how much is missing, before anything of a run is written that has no room. */
MFFA_MUST_USE mffa_code mffa_spool_put(mffa_spool *s, uint64_t record, mffa_err *err);
/* Once, after the last record and before the first read. */
MFFA_MUST_USE mffa_code mffa_spool_sort(mffa_spool *s, mffa_err *err);
/* Up to max records in ascending order into out; *got 0 at the end. */
MFFA_MUST_USE mffa_code mffa_spool_read(mffa_spool *s, uint64_t *out, size_t max, size_t *got, mffa_err *err);
int64_t mffa_spool_runs(const mffa_spool *s); /* written to the file so far; 0: everything is in memory */

#endif
