/* The queue as its rules say it should be (scheduler/functions/README.md), in memory and in C: the second opinion that the property test
 * holds against the functions in Redis. Every call answers what the queue must answer: text, or the code word of a refusal that changes
 * nothing. Times are ms, jobs are named by the number in their id, which grows by one with each job. */
#ifndef MFFA_TESTS_SCHEDULER_MODEL_MODEL_H
#define MFFA_TESTS_SCHEDULER_MODEL_MODEL_H

#include <stdbool.h>
#include <stdint.h>

enum { JOBS_MAX = 4096, PARENTS_MAX = 4, WORKERS = 5, POOLS = 2, KINDS = 5, KEYS = 4, MESSAGES_MAX = 1024, COUNTS_MAX = 64 };
typedef enum job_kind { FINETUNE, FIT, EVALUATE, SCORE, VERIFY, PIPELINE } job_kind;
typedef enum job_state { NONE, BLOCKED, QUEUED, DELAYED, RUNNING, CANCELLING, DONE, FAILED, DEAD, CANCELLED, SKIPPED } job_state;
#define TRACE "00-%032d-0000000000000001-01" /* of a number above 0 */
extern const char *const kind_names[], *const state_names[], *const pool_names[];

enum { OUTPUT = -2 }; /* the folder that all jobs write to: what the newest done job published there */

typedef struct submission { /* a submission; -1: the field is not given */
    job_kind kind;
    bool psg_off;
    int prio, pool, delay_s, retries, timeout_s, keep_s, idem;
    int trace;               /* which of several */
    int after[2], reference; /* numbers of jobs; reference: backbone of fit, model of the later kinds, or OUTPUT */
} submission;

typedef struct job {
    char id[24];
    job_state state;
    submission r;
    bool removed;
    int parents[PARENTS_MAX], parent_count; /* all that it was made to wait for */
    bool waits[PARENTS_MAX];                /* still */
    int64_t seq, due, until;                /* until: of the lease, the delay, or the record */
    bool has_seq;                           /* retried: another place than its number's */
    int64_t run, failures, lost, preempted, started, ended, ev_at, ev_until; /* ev_until: -1 until the end */
    char nonce[33];
    int worker;
    const char *run_ended; /* how the last run ended; NULL: it has not */
    bool timed_out, progress, reason;
    int cause;             /* of a skipped job */
    int64_t result;        /* the run that published; 0: none */
    int64_t open_since, queued; /* when it was queued; the same as its record has it, 0: when it was made */
    int inputs;            /* what a beat said its inputs were; 0: nothing */
    char reference_url[64];
} job;

typedef struct worker_record {
    int64_t seen, until; /* until: of its record */
    int64_t listed;      /* when its place in the list and its record's time were renewed; 0: not in the list */
    bool introduced;     /* it has told pool and kinds since the record was made */
    bool drain;
    int job;
    char request[33];
} worker_record;

typedef struct message {
    char id[32];
    submission r;
    bool broken; /* its fields do not fit */
    bool waiting, removed, accepted;
    char ids[96];
    int64_t created, until;
} message;

typedef struct fence {
    int job, worker;
    int64_t run;
    char nonce[33];
} fence;

typedef struct model {
    int64_t now, seq, max_queued, lease_ms;
    char epoch[8];
    bool new_process, grace_due; /* the functions were loaded anew: the next ids have another epoch, the next reap gives leases anew */
    bool paused_kind[KINDS], paused_pool[POOLS];
    job *jobs; /* [JOBS_MAX], by number */
    int first; /* no job below it has a record */
    worker_record workers[WORKERS];
    struct { int64_t until; submission r; char ids[96]; } keys[KEYS];
    message messages[MESSAGES_MAX];
    int message_count;
    struct { char name[32]; int64_t n; } counts[COUNTS_MAX]; /* for metrics */
    int count_count;
    bool pool_seen[POOLS];
    struct { int64_t until; char url[64]; } newest[KINDS]; /* published by a fit or finetune job */
    char answer[256];
} model;

enum { RETENTION_S = 120, DEAD_RETENTION_S = 300, BACKOFF_MS = 1000 };
extern const char *const worker_kinds[WORKERS];
extern const int worker_pool[WORKERS];

void model_begin(model *m, int64_t now);
bool model_is_there(const model *m, int64_t until); /* a key that expires then */
bool is_held(job_state s);
bool is_ended(job_state s);
int64_t ready_place(const job *j); /* the score in the ready index: less runs earlier */
int open_jobs(const model *m, int pool);
bool names_model(job_kind kind); /* its reference is the field model; that of fit is backbone */
/* A job whose record is there; NULL: none. */
job *find_job(model *m, int number);

/* Each answers the whole answer, or the code word of the refusal. Jobs get numbers without an id: name_jobs comes next. */
const char *model_submit(model *m, const submission *r, bool store);
/* ids: the queue's answer. Gives the newest jobs their names; false when one does not fit: wrong number, or an epoch that is not the
 * present one, or not a new one after a new process began. */
bool name_jobs(model *m, const char *ids);
/* The job's number; 0: none. *waited_ms: since it was queued; -1: the same claim again. */
int model_claim(model *m, int worker, const char *request, bool *drain, int64_t *waited_ms);
const char *model_beat(model *m, const fence *f, bool progress, int inputs);
const char *model_finish(model *m, const fence *f);
bool model_knows(const model *m, int worker); /* its pool and kinds */
bool model_drained(const model *m, int worker);
const char *model_fail(model *m, const fence *f, bool again);
const char *model_release(model *m, const fence *f, bool preempted);
const char *model_cancel(model *m, int number);
const char *model_retry(model *m, int number);
const char *model_setprio(model *m, int number, int prio);
const char *model_drain(model *m, int worker);
void model_resume_clock(model *m, int64_t now);
typedef struct reaped { int lost, promoted, answered, removed; } reaped;
/* accepted messages get their ids from name: called once a message, false when the queue said something else. */
bool model_reap(model *m, reaped *out, bool (*name)(model *m, message *msg, void *ctx), void *ctx);

/* The rules that need no look at Redis, between the model before and after a step (which Redis was found to agree with). retried, chained:
 * the step may have revived ended jobs; it may have made a blocked job ready and begun it. NULL: kept. */
const char *broken_rule(const model *before, const model *after, bool retried, bool chained);

#endif
