/* The queue, as C programs use it: a thin client of the Redis functions in scheduler/functions (docs: README, "The queue").
 * Every call is one FCALL; the functions hold all rules. Redis' error sentences come back unchanged in err, with the code
 *   FENCED -> MFFA_EFENCED   NOTFOUND -> MFFA_ENOTFOUND   FULL, OOM -> MFFA_ENOSPC   NOPERM, NOAUTH, WRONGPASS -> MFFA_EDENIED
 *   OLDLIB -> MFFA_EUNSUPPORTED   connection loss, LOADING, READONLY and the like -> MFFA_EIO   the rest -> MFFA_EINVAL
 * A missing or older function library is loaded and the call made again, where the Redis user may.
 * A lost connection is reopened by the next call; calls that may not be repeated blindly (claim, finish) carry request ids, so the
 * caller simply calls again. One connection, one thread. */
#ifndef MFFA_SCHEDULER_QUEUE_H
#define MFFA_SCHEDULER_QUEUE_H

#include <stdint.h>
#include "core/base/buf.h"
#include "core/base/config.h"

typedef struct mffa_queue mffa_queue;

typedef struct mffa_queue_options {
    const char *url;                          /* redis_address.h */
    const char *password_file;                /* NULL: none */
    const char *name;                         /* queue name */
    const char *ca_file, *cert_file, *key_file; /* rediss://; NULL: the system's authorities, no certificate of ours */
} mffa_queue_options;
mffa_queue_options mffa_queue_options_of(const mffa_config *c);

/* Checks address, password and certificate files only; the first call connects (5 s to connect, 10 s an answer). */
MFFA_MUST_USE mffa_code mffa_queue_open(const mffa_queue_options *o, mffa_queue **out, mffa_err *err);
void mffa_queue_close(mffa_queue *q);
static inline void mffa_queue_close_p(mffa_queue **q) { mffa_queue_close(*q); }

/* Server fit for jobs? Version >= 7.0, FUNCTION available, maxmemory-policy noeviction (or no maxmemory); each failure is one
 * sentence with the way out. *warning (freed by the caller; NULL: none) for what is allowed but risky (no persistence, clocks that
 * differ). */
MFFA_MUST_USE mffa_code mffa_queue_check_server(mffa_queue *q, char **warning, mffa_err *err);
/* Load the function library if it is absent or older; an equal or newer one stays. */
MFFA_MUST_USE mffa_code mffa_queue_load_library(mffa_queue *q, mffa_err *err);

/* A reply, as a tree. Borrowed until mffa_reply_close. */
typedef struct mffa_reply mffa_reply;
void mffa_reply_close(mffa_reply *r);
static inline void mffa_reply_close_p(mffa_reply **r) { mffa_reply_close(*r); }
size_t mffa_reply_size(const mffa_reply *r);                              /* elements of an array; 0 otherwise */
const mffa_reply *mffa_reply_at(const mffa_reply *r, size_t i);           /* NULL out of range */
mffa_span mffa_reply_bytes(const mffa_reply *r);                          /* string, status; empty otherwise */
const char *mffa_reply_text(const mffa_reply *r, const char *otherwise);  /* NUL-terminated */
int64_t mffa_reply_int(const mffa_reply *r, int64_t otherwise);           /* integers, and strings that are integers */
bool mffa_reply_is_nil(const mffa_reply *r);
/* In a flat list name, value, name, value...: the value, NULL if absent. */
const mffa_reply *mffa_reply_field(const mffa_reply *r, const char *name);

/* FCALL (read_only: FCALL_RO) mffa_<verb> with the queue's key and these arguments. */
MFFA_MUST_USE mffa_code mffa_queue_call(mffa_queue *q, bool read_only, const char *verb, const mffa_span *args, size_t n, mffa_reply **out,
                                        mffa_err *err);
/* Any Redis command, words as they are. */
MFFA_MUST_USE mffa_code mffa_queue_command(mffa_queue *q, const mffa_span *words, size_t n, mffa_reply **out, mffa_err *err);

/* Worker's side. A claimed job: its record's fields as they were when claimed. */
typedef struct mffa_lease {
    char job[64], nonce[40];
    int64_t run;      /* the fence is run + nonce */
    int64_t lease_ms; /* without a beat for this long the job runs elsewhere */
    mffa_reply *fields; /* flat list name, value; owned: mffa_lease_done */
} mffa_lease;
void mffa_lease_done(mffa_lease *l);
const char *mffa_lease_field(const mffa_lease *l, const char *name, const char *otherwise);

typedef struct mffa_worker_info {
    const char *id, *pool, *kinds; /* kinds: comma-separated */
    const char *host, *device, *version;
    bool fresh; /* the first claim of a process: its name may be that of one which was drained */
} mffa_worker_info;

/* Claim the best job of the pool; *got false when there is none. MFFA_ECANCELLED: a person drained this worker, it should end. request: 32
 * hex digits from the caller, repeated when the reply was lost; it becomes the run's nonce. */
MFFA_MUST_USE mffa_code mffa_queue_claim(mffa_queue *q, const mffa_worker_info *w, const char *request, mffa_lease *out, bool *got,
                                         mffa_err *err);
/* Sleep until a job of the pool is ready or wait_ms passed (BLPOP of the wake list); a wake is a hint, claim decides. */
MFFA_MUST_USE mffa_code mffa_queue_wait(mffa_queue *q, const char *pool, int64_t wait_ms, mffa_err *err);

typedef enum mffa_verdict { MFFA_GO_ON, MFFA_STOP_CANCELLED, MFFA_STOP_DRAIN } mffa_verdict;
/* Progress goes into the record and, at most once a second, into the event stream. MFFA_EFENCED: the lease is another's now. */
typedef struct mffa_beat {
    const char *phase; /* "" while nothing is known */
    int64_t done, total;
    double rate; /* per second */
    int64_t eta_s; /* -1: unknown */
    const char *inputs; /* hash of the inputs as this run found them, "" or NULL: not known yet */
} mffa_beat;
MFFA_MUST_USE mffa_code mffa_queue_beat(mffa_queue *q, const mffa_lease *l, const mffa_beat *b, mffa_verdict *out, mffa_err *err);
/* Publish: result (URL of the run folder) and facts (flat name, value list: headline figures as plain fields, "summary" as msgpack). */
MFFA_MUST_USE mffa_code mffa_queue_finish(mffa_queue *q, const mffa_lease *l, const char *result, const mffa_span *facts, size_t n,
                                          mffa_err *err);
/* reason: one sentence for people. retryable: the job's retries decide; otherwise it is failed at once. */
MFFA_MUST_USE mffa_code mffa_queue_fail(mffa_queue *q, const mffa_lease *l, const char *reason, bool retryable, mffa_err *err);
/* Hand back: why "preempted" (free) or "cancelled" (ends a cancelling job). */
MFFA_MUST_USE mffa_code mffa_queue_release(mffa_queue *q, const mffa_lease *l, const char *why, mffa_err *err);

#endif
