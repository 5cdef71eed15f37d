/* Pictures and masks of a job's data set, decoded. A bad one fails the call naming its key, or is noted and left out (MFFA_ESKIP) as
 * the job's on_bad_image says. What storage cannot deliver at the moment is never a bad picture. */
#ifndef MFFA_WORKER_PICTURES_H
#define MFFA_WORKER_PICTURES_H

#include "core/image/dataset.h"
#include "core/image/image.h"
#include "core/mffa/source.h"
#include "worker/job.h"

MFFA_MUST_USE mffa_code mffa_picture_read(mffa_job *j, const char *key, mffa_image *out, mffa_err *err);
/* The sample's mask at side x side, 1 = defect. MFFA_EINVAL names both keys and sizes when it is not of the picture's size. */
MFFA_MUST_USE mffa_code mffa_picture_mask(mffa_job *j, const mffa_sample *sample, const mffa_image *picture, int side, uint8_t *out,
                                          mffa_err *err);

/* The data set's pictures for fit and finetune; a bad one is noted once, however often it is asked for. */
typedef struct mffa_training {
    mffa_job *job;
    const mffa_dataset *set;
    bool *bad; /* one a picture */
} mffa_training;
MFFA_MUST_USE mffa_code mffa_training_init(mffa_training *t, mffa_job *j, const mffa_dataset *set, mffa_err *err);
void mffa_training_done(mffa_training *t);
mffa_source mffa_training_source(mffa_training *t); /* borrows t */

#endif
