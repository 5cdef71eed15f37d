/* Numbers about a running program, for Prometheus: counters, gauges and histograms, one table row each (stats.c): name, programs,
 * labels, help. Names follow Prometheus' conventions: base units, _total for counters. Labels hold kinds, states, pools: never ids.
 * One process has one set of them; every function may be called by any thread. Running out of memory loses numbers, not the program. */
#ifndef MFFA_CORE_BASE_STATS_H
#define MFFA_CORE_BASE_STATS_H

#include "core/base/config.h"
#include "core/base/json.h"

typedef enum mffa_stat {
    MFFA_STAT_BUILD_INFO, /* program, version: 1 */
    MFFA_STAT_START_TIME, MFFA_STAT_CPU_SECONDS, MFFA_STAT_RESIDENT_BYTES, /* read when written */
    MFFA_STAT_REDIS_UP, MFFA_STAT_REDIS_ERRORS,
    /* scheduler: the queue as Redis holds it, the same from every scheduler */
    MFFA_STAT_QUEUE_JOBS, MFFA_STAT_POOL_JOBS, MFFA_STAT_POOL_OLDEST, MFFA_STAT_POOL_WORKERS, MFFA_STAT_QUEUE_INBOX, MFFA_STAT_QUEUE_FULL,
    MFFA_STAT_QUEUE_PAUSED, MFFA_STAT_SUBMITTED, MFFA_STAT_ENDED, MFFA_STAT_REFUSED, MFFA_STAT_INBOX_REFUSED,
    MFFA_STAT_RUNS_LOST, MFFA_STAT_RUNS_PREEMPTED, MFFA_STAT_RUNS_FAILED,
    MFFA_STAT_REDIS_MEMORY, MFFA_STAT_REDIS_MEMORY_MAX, MFFA_STAT_LOST_WRITES,
    /* scheduler: this process */
    MFFA_STAT_REAP_LAST, MFFA_STAT_REAP_SECONDS, MFFA_STAT_REAP_MOVED,
    /* worker */
    MFFA_STAT_WORKER_INFO, MFFA_STAT_BUSY, MFFA_STAT_RUNS, MFFA_STAT_RUN_SECONDS, MFFA_STAT_WAIT_SECONDS, MFFA_STAT_FENCED,
    MFFA_STAT_BEAT_LAST, MFFA_STAT_BEAT_FAILURES, MFFA_STAT_SCORED, MFFA_STAT_EXECUTOR_STARTS, MFFA_STAT_EXECUTOR_BYTES,
    MFFA_STAT_GPU_BUSY, MFFA_STAT_GPU_USED, MFFA_STAT_GPU_TOTAL, /* worker on a GPU */
    /* worker: storage */
    MFFA_STAT_S3_REQUESTS, MFFA_STAT_S3_SECONDS, MFFA_STAT_S3_BYTES, MFFA_STAT_CACHE_LOOKUPS, MFFA_STAT_CACHE_BYTES,
    MFFA_STAT_COUNT
} mffa_stat;

/* Labels in the table's order; NULL for those that a metric does not have. A series exists from its first call. */
void mffa_stat_add(mffa_stat what, const char *label, const char *label2, double more);  /* counters: more >= 0 */
void mffa_stat_set(mffa_stat what, const char *label, const char *label2, double value); /* gauges, and counters kept elsewhere */
void mffa_stat_observe(mffa_stat what, const char *label, double value);                 /* histograms */
/* Forgets all series: before those that exist now are set. Between the two a reader may see none: hold them with begin and end. */
void mffa_stat_clear(mffa_stat what);
/* Between begin and end nobody else reads or changes; for sets that belong together. Short, and by one thread. */
void mffa_stats_begin(void);
void mffa_stats_end(void);

/* What was added and observed since the last call, as a JSON list, all zero afterwards; NULL when there is nothing. For a process
 * that has no readers of its own, which hands it to one that has: mffa_stats_merge. */
mffa_json *mffa_stats_take(void);
void mffa_stats_merge(const mffa_json *list);

/* Everything this program has, in the text format 0.0.4. */
void mffa_stats_write(mffa_program who, mffa_buf *out);
/* The table of all metrics as Markdown. */
void mffa_stats_table(mffa_buf *out);

#endif
