/* A held job, towards the queue: heartbeats while it runs, and one last word that is repeated until it is known to have arrived.
 * Redis may be away for a while; the fence decides in the end whose job it is. */
#ifndef MFFA_WORKER_LEASE_H
#define MFFA_WORKER_LEASE_H

#include "core/base/json.h"
#include "scheduler/queue.h"

typedef struct mffa_holding {
    mffa_queue *queue;
    mffa_lease lease;
    int64_t beat_ms, next_beat_ms;
    int64_t heard_ms; /* when Redis last answered a beat */
    int64_t began_ms; /* when it was claimed */
    bool outlived;    /* the queue says that this run is over: what it stored is nobody's */
} mffa_holding;

/* Claim with a request of its own, repeated while Redis does not answer and nobody asks to stop. *got false: no job, or asked to stop.
 * MFFA_ECANCELLED: this worker is to end. */
MFFA_MUST_USE mffa_code mffa_holding_claim(mffa_queue *q, const mffa_worker_info *who, int64_t beat_ms, mffa_holding *out, bool *got,
                                           mffa_err *err);
void mffa_holding_done(mffa_holding *h);
/* Into the metrics: how this run ended (done, failed, preempted, cancelled, fenced, alone: no Redis for too long) and what it took. */
void mffa_holding_count(const mffa_holding *h, const char *outcome);

/* A beat that is due. MFFA_EFENCED: drop the job; MFFA_EIO: Redis has been away too long to go on; other trouble is logged and tried
 * again soon. verdict is MFFA_GO_ON when nothing was heard. */
MFFA_MUST_USE mffa_code mffa_holding_beat(mffa_holding *h, const mffa_beat *b, int64_t now_ms, mffa_verdict *verdict, mffa_err *err);

/* Last words; each logs how it went. stop_ms: how long to go on trying once asked to stop. */
void mffa_holding_finish(mffa_holding *h, const char *result, const mffa_json *facts, const mffa_buf *summary, int64_t stop_ms);
void mffa_holding_fail(mffa_holding *h, const char *reason, bool retryable, int64_t stop_ms);
void mffa_holding_release(mffa_holding *h, const char *why, int64_t stop_ms);

#endif
