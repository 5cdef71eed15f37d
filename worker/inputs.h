/* The pictures of a job: the data set's listing sorted out, and a hash of it, so that a run on a changed data set can be told. */
#ifndef MFFA_WORKER_INPUTS_H
#define MFFA_WORKER_INPUTS_H

#include "core/base/digest.h"
#include "core/image/dataset.h"
#include "storage/store.h"

typedef struct mffa_inputs { /* zero-initialise */
    mffa_dataset *set;
    char sha256[MFFA_SHA256_HEX]; /* of key, size and version of every object, in the order of the listing */
} mffa_inputs;

MFFA_MUST_USE mffa_code mffa_inputs_open(mffa_store *s, mffa_dataset_use use, mffa_inputs *out, mffa_err *err);
void mffa_inputs_done(mffa_inputs *in);

#endif
