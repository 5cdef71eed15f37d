/* The queue's numbers as Redis holds them, into the metrics: jobs by state and pool, ages, workers, counts, refused calls, memory. */
#ifndef MFFA_SCHEDULER_DEPTH_H
#define MFFA_SCHEDULER_DEPTH_H

#include "scheduler/queue.h"

/* One mffa_metrics call and two INFO calls; what this Redis user may not ask is left out. Main thread. */
MFFA_MUST_USE mffa_code mffa_depth_read(mffa_queue *q, mffa_err *err);

#endif
