/* How much memory a job will need at its peak: told before its work starts (a line of the log, later the summary's
 * planned_memory_bytes), and refused when the worker has less (MFFA_EINVAL, with both figures and what would fit). */
#ifndef MFFA_WORKER_MEMORY_PLAN_H
#define MFFA_WORKER_MEMORY_PLAN_H

#include "core/mffa/psg.h"
#include "worker/job.h"

/* held_bytes: what the job holds beside the fit. */
MFFA_MUST_USE mffa_code mffa_plan_fit(mffa_job *j, const mffa_network *net, const mffa_profile *p, int64_t images, int64_t held_bytes,
                                      mffa_err *err);
/* batch: pictures that are scored at once; figures_bytes: for sorting pixels, 0 without labels. */
MFFA_MUST_USE mffa_code mffa_plan_scoring(mffa_job *j, const mffa_model *m, const mffa_network *net, int64_t batch, int64_t figures_bytes,
                                          mffa_err *err);
MFFA_MUST_USE mffa_code mffa_plan_finetune(mffa_job *j, const char *backbone, const mffa_psg_params *p, int64_t images, mffa_err *err);

#endif
