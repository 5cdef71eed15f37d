/* The pretrained weights in a folder: recognised by what they are, or found again by their SHA-256. */
#ifndef MFFA_WORKER_PRETRAINED_H
#define MFFA_WORKER_PRETRAINED_H

#include "worker/job.h"

typedef struct mffa_pretrained { /* zero-initialise */
    mffa_store *store; /* keeps the local paths valid; NULL: no folder was needed */
    mffa_pretrained_file backbone, transformer;
} mffa_pretrained;
void mffa_pretrained_done(mffa_pretrained *w);

typedef enum mffa_pretrained_need { MFFA_NEED_BACKBONE = 1, MFFA_NEED_TRANSFORMER = 2 } mffa_pretrained_need;

/* need: bits; what is not needed is not looked at closely. MFFA_EINVAL: two of a kind (names both), or a broken file; MFFA_ENOTFOUND:
 * none of a kind. The folder is the job's `weights`, else the worker's MFFA_WEIGHTS. */
MFFA_MUST_USE mffa_code mffa_pretrained_recognised(const mffa_job *j, int need, mffa_pretrained *out, mffa_err *err);
/* The files that a model was fitted with, as its provenance names them; a member of out that has a path already is kept. */
MFFA_MUST_USE mffa_code mffa_pretrained_recorded(const mffa_job *j, const mffa_provenance *from, mffa_pretrained *out, mffa_err *err);
/* A store's object as a weights file; *file is for mffa_pretrained_file_done in any case. */
MFFA_MUST_USE mffa_code mffa_pretrained_take(mffa_engine *e, mffa_store *s, const char *key, mffa_pretrained_file *file, mffa_err *err);
void mffa_pretrained_file_done(mffa_pretrained_file *f);

#endif
