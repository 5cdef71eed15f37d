/* Whether a fit fits: asked before its work starts. */
#ifndef MFFA_WORKER_FIT_MEMORY_H
#define MFFA_WORKER_FIT_MEMORY_H

#include "worker/job.h"

/* held_bytes: what the job holds beside the fit. MFFA_EINVAL names the bytes needed and those that there are, and the largest side that
 * would fit. */
MFFA_MUST_USE mffa_code mffa_fit_memory_check(mffa_job *j, const mffa_network *net, const mffa_profile *p, int64_t images, int64_t held_bytes,
                                              mffa_err *err);

#endif
