/* What the next job will read comes from s3:// into the local cache while this one computes. The next job is peeked at, not claimed:
 * whoever claims it, on this machine, finds it there; nobody loses it otherwise. A quarter of the cache at most, one job at a time; what
 * fails is left to the job itself. The calls are of the supervisor's thread; the fetching is a thread of its own. */
#ifndef MFFA_WORKER_PREFETCH_H
#define MFFA_WORKER_PREFETCH_H

#include "core/base/config.h"
#include "scheduler/queue.h"

typedef struct mffa_prefetch mffa_prefetch;
/* config stays with the caller. Starts the thread. */
MFFA_MUST_USE mffa_code mffa_prefetch_open(const mffa_config *config, mffa_prefetch **out, mffa_err *err);
void mffa_prefetch_close(mffa_prefetch *p); /* waits for the request in hand to notice */
/* One look at the queue: a job that was not seen the last time is fetched for, in place of what went on. */
void mffa_prefetch_look(mffa_prefetch *p, mffa_queue *q);
/* A job was claimed: whoever runs it reads by itself now. */
void mffa_prefetch_rest(mffa_prefetch *p);

#endif
