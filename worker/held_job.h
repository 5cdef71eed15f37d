/* One claimed job from the hand-over to the executor until its last word: heartbeats, cancellation, stopping, an executor that dies
 * or hangs. */
#ifndef MFFA_WORKER_HELD_JOB_H
#define MFFA_WORKER_HELD_JOB_H

#include "core/base/config.h"
#include "worker/child.h"
#include "worker/lease.h"
#include "worker/prefetch.h"

/* Returns when the job is no longer ours. prefetch: looks for the next job with every beat. child: ready for a job; afterwards ready, or
 * ended (pid 0). *drain: set when the queue asks this worker to end after the job. */
void mffa_held_job_run(mffa_holding *h, mffa_child *child, const mffa_config *config, mffa_prefetch *prefetch, bool *drain);

#endif
