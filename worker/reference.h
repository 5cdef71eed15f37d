/* What the fields `model` and `backbone` name: the folder of a finished run. Either that folder itself (it has a manifest.json), or a
 * prefix above such folders, which stands for the newest one. Job ids arrive here as the URLs that these jobs published. */
#ifndef MFFA_WORKER_REFERENCE_H
#define MFFA_WORKER_REFERENCE_H

#include "worker/job.h"

typedef struct mffa_reference { /* zero-initialise */
    mffa_store *store; /* on the run folder */
    mffa_manifest manifest;
} mffa_reference;
void mffa_reference_done(mffa_reference *r);

/* kind: "fit" or "finetune"; object must be in the manifest. A prefix that had to be resolved is noted in the job's note. */
MFFA_MUST_USE mffa_code mffa_reference_open(mffa_job *j, const char *field, const char *kind, const char *object, mffa_reference *out,
                                            mffa_err *err);
/* An object of the run folder as a local file whose hash is the manifest's. */
MFFA_MUST_USE mffa_code mffa_reference_take(mffa_job *j, mffa_reference *r, const char *object, mffa_pretrained_file *out, mffa_err *err);

#endif
