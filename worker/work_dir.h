/* The worker's own folder below MFFA_WORK_DIR, for spill files and files in the making. It is locked while its worker lives; one
 * whose worker died without a word is removed by the next worker that starts on the same MFFA_WORK_DIR. */
#ifndef MFFA_WORKER_WORK_DIR_H
#define MFFA_WORKER_WORK_DIR_H

#include "core/base/buf.h"

typedef struct mffa_work_dir { /* zero-initialise */
    char *path;
    int lock; /* valid while path is not NULL */
} mffa_work_dir;

MFFA_MUST_USE mffa_code mffa_work_dir_open(const char *base, mffa_work_dir *out, mffa_err *err);
void mffa_work_dir_close(mffa_work_dir *w); /* removes it */
/* Removes what lies in a folder, not the folder. What cannot be removed stays. */
void mffa_work_dir_empty(const char *path);

#endif
