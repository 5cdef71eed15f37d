#include "core/base/stats.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "core/base/clock.h"

enum { LABELS = 2, LABEL_BYTES = 80, BUCKETS = 12, SERIES_MAX = 2000 };

typedef struct row {
    const char *name, *help;
    enum { COUNTER, GAUGE, HISTOGRAM } type;
    int programs;
    const char *labels[LABELS]; /* NULL: none */
    double buckets[BUCKETS];    /* upper ends, ascending; 0 ends the list */
} row;

/* How long a fleet's jobs wait and run: a score of ten pictures takes a second, a fine-tune with the large networks hours. */
#define JOB_BUCKETS {.1, .5, 1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 86400}

static const row rows[MFFA_STAT_COUNT] = {
    [MFFA_STAT_BUILD_INFO] = {"mffa_build_info",
        "1, with the program's name and version.",
        GAUGE, MFFA_ANY, {"program", "version"}, {0}},
    [MFFA_STAT_START_TIME] = {"process_start_time_seconds",
        "Start of the process, seconds since 1970.",
        GAUGE, MFFA_ANY, {0}, {0}},
    [MFFA_STAT_CPU_SECONDS] = {"process_cpu_seconds_total",
        "CPU time of the process.",
        COUNTER, MFFA_ANY, {0}, {0}},
    [MFFA_STAT_RESIDENT_BYTES] = {"process_resident_memory_bytes",
        "Resident memory of the process.",
        GAUGE, MFFA_ANY, {0}, {0}},
    [MFFA_STAT_REDIS_UP] = {"mffa_redis_up",
        "1 when Redis answered the last call, 0 when not.",
        GAUGE, MFFA_ANY, {0}, {0}},
    [MFFA_STAT_REDIS_ERRORS] = {"mffa_redis_failures_total",
        "Calls that Redis did not answer.",
        COUNTER, MFFA_ANY, {0}, {0}},
    [MFFA_STAT_QUEUE_JOBS] = {"mffa_queue_jobs",
        "Jobs that the queue holds, by state.",
        GAUGE, MFFA_SCHEDULER, {"state"}, {0}},
    [MFFA_STAT_POOL_JOBS] = {"mffa_pool_jobs",
        "Open jobs of a pool: queued, or running (cancelling ones too).",
        GAUGE, MFFA_SCHEDULER, {"pool", "state"}, {0}},
    [MFFA_STAT_POOL_OLDEST] = {"mffa_pool_oldest_queued_seconds",
        "How long the longest waiting queued job of a pool has waited.",
        GAUGE, MFFA_SCHEDULER, {"pool"}, {0}},
    [MFFA_STAT_POOL_WORKERS] = {"mffa_pool_workers",
        "Workers of a pool that were heard of lately.",
        GAUGE, MFFA_SCHEDULER, {"pool", "state"}, {0}},
    [MFFA_STAT_QUEUE_INBOX] = {"mffa_queue_inbox_messages",
        "Messages in the inbox that are not answered yet.",
        GAUGE, MFFA_SCHEDULER, {0}, {0}},
    [MFFA_STAT_QUEUE_FULL] = {"mffa_queue_full",
        "1 while submissions are refused because Redis is almost out of memory.",
        GAUGE, MFFA_SCHEDULER, {0}, {0}},
    [MFFA_STAT_QUEUE_PAUSED] = {"mffa_queue_paused",
        "1 for a kind or pool that is paused.",
        GAUGE, MFFA_SCHEDULER, {"what", "name"}, {0}},
    [MFFA_STAT_SUBMITTED] = {"mffa_jobs_submitted_total",
        "Jobs submitted, and retried by a person, since the queue's keys were made.",
        COUNTER, MFFA_SCHEDULER, {0}, {0}},
    [MFFA_STAT_ENDED] = {"mffa_jobs_ended_total",
        "Jobs that ended, by kind and the state they ended in.",
        COUNTER, MFFA_SCHEDULER, {"kind", "state"}, {0}},
    [MFFA_STAT_REFUSED] = {"mffa_calls_refused_total",
        "Calls that the queue's functions refused, by error code, since Redis started.",
        COUNTER, MFFA_SCHEDULER, {"code"}, {0}},
    [MFFA_STAT_INBOX_REFUSED] = {"mffa_inbox_refused_total",
        "Messages of the inbox that were refused, by error code.",
        COUNTER, MFFA_SCHEDULER, {"code"}, {0}},
    [MFFA_STAT_RUNS_LOST] = {"mffa_runs_lost_total",
        "Runs taken back because no heartbeat came.",
        COUNTER, MFFA_SCHEDULER, {"kind"}, {0}},
    [MFFA_STAT_RUNS_PREEMPTED] = {"mffa_runs_preempted_total",
        "Runs that a stopping worker handed back.",
        COUNTER, MFFA_SCHEDULER, {"kind"}, {0}},
    [MFFA_STAT_RUNS_FAILED] = {"mffa_runs_failed_total",
        "Runs that failed; the job may have another one.",
        COUNTER, MFFA_SCHEDULER, {"kind"}, {0}},
    [MFFA_STAT_REDIS_MEMORY] = {"mffa_redis_memory_used_bytes",
        "Memory that Redis uses.",
        GAUGE, MFFA_SCHEDULER, {0}, {0}},
    [MFFA_STAT_REDIS_MEMORY_MAX] = {"mffa_redis_memory_max_bytes",
        "Redis' maxmemory; 0: no limit.",
        GAUGE, MFFA_SCHEDULER, {0}, {0}},
    [MFFA_STAT_LOST_WRITES] = {"mffa_redis_lost_writes_total",
        "Times that Redis was seen to have lost acknowledged writes.",
        COUNTER, MFFA_SCHEDULER, {0}, {0}},
    [MFFA_STAT_REAP_LAST] = {"mffa_reap_last_success_timestamp_seconds",
        "When this scheduler last reaped, seconds since 1970.",
        GAUGE, MFFA_SCHEDULER, {0}, {0}},
    [MFFA_STAT_REAP_SECONDS] = {"mffa_reap_duration_seconds",
        "Time that a round of reaping took.",
        HISTOGRAM, MFFA_SCHEDULER, {0}, {.001, .005, .01, .05, .1, .5, 1, 5, 10}},
    [MFFA_STAT_REAP_MOVED] = {"mffa_reap_moved_total",
        "What this scheduler's reaping did: lost, promoted, answered, removed.",
        COUNTER, MFFA_SCHEDULER, {"what"}, {0}},
    [MFFA_STAT_WORKER_INFO] = {"mffa_worker_info",
        "1, with the worker's pool and the device that it is set to.",
        GAUGE, MFFA_WORKER, {"pool", "device"}, {0}},
    [MFFA_STAT_BUSY] = {"mffa_worker_busy",
        "1 while a job is held.",
        GAUGE, MFFA_WORKER, {0}, {0}},
    [MFFA_STAT_RUNS] = {"mffa_worker_runs_total",
        "Runs that ended here, by kind and outcome.",
        COUNTER, MFFA_WORKER, {"kind", "outcome"}, {0}},
    [MFFA_STAT_RUN_SECONDS] = {"mffa_worker_run_duration_seconds",
        "Time from claim to last word of a run.",
        HISTOGRAM, MFFA_WORKER, {"kind"}, JOB_BUCKETS},
    [MFFA_STAT_WAIT_SECONDS] = {"mffa_worker_wait_duration_seconds",
        "Time that a claimed job had been queued.",
        HISTOGRAM, MFFA_WORKER, {"kind"}, JOB_BUCKETS},
    [MFFA_STAT_FENCED] = {"mffa_worker_fenced_total",
        "Runs whose job had become another's: their writes were refused.",
        COUNTER, MFFA_WORKER, {0}, {0}},
    [MFFA_STAT_BEAT_LAST] = {"mffa_worker_last_heard_timestamp_seconds",
        "When Redis last answered this worker, seconds since 1970.",
        GAUGE, MFFA_WORKER, {0}, {0}},
    [MFFA_STAT_BEAT_FAILURES] = {"mffa_worker_beat_failures_total",
        "Heartbeats that were not answered.",
        COUNTER, MFFA_WORKER, {0}, {0}},
    [MFFA_STAT_SCORED] = {"mffa_worker_pictures_scored_total",
        "Pictures that were scored, by the kind of job.",
        COUNTER, MFFA_WORKER, {"kind"}, {0}},
    [MFFA_STAT_EXECUTOR_STARTS] = {"mffa_worker_executor_starts_total",
        "Starts of the executor process; more than one: it was lost.",
        COUNTER, MFFA_WORKER, {0}, {0}},
    [MFFA_STAT_EXECUTOR_BYTES] = {"mffa_worker_executor_resident_memory_bytes",
        "Resident memory of the executor process.",
        GAUGE, MFFA_WORKER, {0}, {0}},
    [MFFA_STAT_GPU_BUSY] = {"mffa_worker_gpu_busy_ratio",
        "Share of the last moment in which the worker's GPU ran something, 0 to 1; absent without a GPU, and on a part of one (MIG).",
        GAUGE, MFFA_WORKER, {0}, {0}},
    [MFFA_STAT_GPU_USED] = {"mffa_worker_gpu_memory_used_bytes",
        "Memory of the worker's GPU that is in use, by whomever; absent without a GPU.",
        GAUGE, MFFA_WORKER, {0}, {0}},
    [MFFA_STAT_GPU_TOTAL] = {"mffa_worker_gpu_memory_total_bytes",
        "Memory of the worker's GPU; absent without a GPU.",
        GAUGE, MFFA_WORKER, {0}, {0}},
    [MFFA_STAT_S3_REQUESTS] = {"mffa_s3_requests_total",
        "Requests to S3, each attempt, by operation and outcome: ok, absent (404), taken (412), retried, failed.",
        COUNTER, MFFA_WORKER, {"operation", "outcome"}, {0}},
    [MFFA_STAT_S3_SECONDS] = {"mffa_s3_request_duration_seconds",
        "Time of one attempt, from its start to the end of the answer.",
        HISTOGRAM, MFFA_WORKER, {"operation"}, {.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 15, 60}},
    [MFFA_STAT_S3_BYTES] = {"mffa_s3_bytes_total",
        "Bytes of bodies that were sent to S3 and received.",
        COUNTER, MFFA_WORKER, {"direction"}, {0}},
    [MFFA_STAT_CACHE_LOOKUPS] = {"mffa_cache_lookups_total",
        "Objects looked for in the local cache, by result: hit, miss.",
        COUNTER, MFFA_WORKER, {"result"}, {0}},
    [MFFA_STAT_CACHE_BYTES] = {"mffa_cache_bytes_total",
        "Bytes that the local cache gave (hit), took (added) and dropped to make room (evicted).",
        COUNTER, MFFA_WORKER, {"what"}, {0}},
};

typedef struct series {
    struct series *next;
    char label[LABELS][LABEL_BYTES];
    double value;            /* a histogram's sum */
    uint64_t hits[BUCKETS + 1]; /* each bucket's own, the last one is beyond them all */
} series;

static pthread_mutex_t lock; /* guards all below; recursive, for begin and end */
static series *all[MFFA_STAT_COUNT];
static int count;

__attribute__((constructor)) static void make_lock(void) {
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&lock, &a);
    pthread_mutexattr_destroy(&a);
}

void mffa_stats_begin(void) { pthread_mutex_lock(&lock); }
void mffa_stats_end(void) { pthread_mutex_unlock(&lock); }

static void copy_label(char out[LABEL_BYTES], const char *text) { snprintf(out, LABEL_BYTES, "%s", text ? text : ""); }

/* In order of labels, so that two readings compare line by line. NULL: out of memory, or too many. */
static series *find(mffa_stat what, const char *label, const char *label2) {
    char want[LABELS][LABEL_BYTES];
    copy_label(want[0], label), copy_label(want[1], label2);
    series **at = &all[what];
    for (; *at; at = &(*at)->next) {
        int order = strcmp((*at)->label[0], want[0]);
        if (order == 0) order = strcmp((*at)->label[1], want[1]);
        if (order == 0) return *at;
        if (order > 0) break;
    }
    series *s = count < SERIES_MAX ? calloc(1, sizeof *s) : NULL;
    if (!s) return NULL;
    memcpy(s->label, want, sizeof want);
    s->next = *at, *at = s;
    count++;
    return s;
}

void mffa_stat_add(mffa_stat what, const char *label, const char *label2, double more) {
    mffa_stats_begin();
    series *s = find(what, label, label2);
    if (s) s->value += more;
    mffa_stats_end();
}

void mffa_stat_set(mffa_stat what, const char *label, const char *label2, double value) {
    mffa_stats_begin();
    series *s = find(what, label, label2);
    if (s) s->value = value;
    mffa_stats_end();
}

static int bucket_count(const row *r) {
    int n = 0;
    while (n < BUCKETS && r->buckets[n] > 0) n++;
    return n;
}

void mffa_stat_observe(mffa_stat what, const char *label, double value) {
    const row *r = &rows[what];
    int n = bucket_count(r), i = 0;
    while (i < n && value > r->buckets[i]) i++;
    mffa_stats_begin();
    series *s = find(what, label, NULL);
    if (s) s->value += value, s->hits[i]++;
    mffa_stats_end();
}

void mffa_stat_clear(mffa_stat what) {
    mffa_stats_begin();
    for (series *s = all[what], *next; s; s = next) {
        next = s->next;
        free(s);
        count--;
    }
    all[what] = NULL;
    mffa_stats_end();
}

/* ---- from process to process ---- */

static bool is_empty(const series *s) {
    if (s->value != 0) return false;
    for (int i = 0; i <= BUCKETS; i++)
        if (s->hits[i]) return false;
    return true;
}

static mffa_json *take_series(mffa_stat what, series *s) {
    mffa_json *j = mffa_json_array(), *hits = mffa_json_array();
    mffa_json_push(j, mffa_json_of_text(rows[what].name));
    for (int i = 0; i < LABELS; i++) mffa_json_push(j, mffa_json_of_text(s->label[i]));
    mffa_json_push(j, mffa_json_of_num(s->value));
    for (int i = 0; i <= BUCKETS; i++) mffa_json_push(hits, mffa_json_of_int((int64_t)s->hits[i]));
    mffa_json_push(j, hits);
    s->value = 0;
    memset(s->hits, 0, sizeof s->hits);
    return j;
}

mffa_json *mffa_stats_take(void) {
    mffa_json *list = mffa_json_array();
    mffa_stats_begin();
    for (int what = 0; what < MFFA_STAT_COUNT; what++)
        for (series *s = rows[what].type == GAUGE || what == MFFA_STAT_CPU_SECONDS ? NULL : all[what]; s; s = s->next)
            if (!is_empty(s)) mffa_json_push(list, take_series(what, s));
    mffa_stats_end();
    if (mffa_json_size(list)) return list;
    mffa_json_close(list);
    return NULL;
}

static void merge_series(mffa_stat what, const mffa_json *j) {
    series *s = find(what, mffa_json_text(mffa_json_at(j, 1), ""), mffa_json_text(mffa_json_at(j, 2), ""));
    if (!s) return;
    s->value += mffa_json_num(mffa_json_at(j, 3), 0);
    for (size_t i = 0; i <= BUCKETS; i++) s->hits[i] += (uint64_t)mffa_json_int(mffa_json_at(mffa_json_at(j, 4), i), 0);
}

void mffa_stats_merge(const mffa_json *list) {
    mffa_stats_begin();
    for (size_t i = 0; i < mffa_json_size(list); i++) {
        const char *name = mffa_json_text(mffa_json_at(mffa_json_at(list, i), 0), "");
        for (int what = 0; what < MFFA_STAT_COUNT; what++)
            if (strcmp(rows[what].name, name) == 0) merge_series(what, mffa_json_at(list, i));
    }
    mffa_stats_end();
}

/* ---- the text format ---- */

static double start_seconds(void) { /* field 22 of stat: ticks since the machine started */
    MFFA_AUTO(mffa_fclose_p) FILE *f = fopen("/proc/self/stat", "re");
    unsigned long long ticks = 0;
    struct timespec wall, up;
    if (!f || fscanf(f, "%*d (%*[^)]) %*c" /* 3 */ "%*d %*d %*d %*d %*d %*u %*u %*u %*u %*u" /* 13 */
                        "%*u %*u %*d %*d %*d %*d %*d %*d %llu", &ticks) != 1)
        return 0;
    clock_gettime(CLOCK_REALTIME, &wall), clock_gettime(CLOCK_BOOTTIME, &up);
    return (double)(wall.tv_sec - up.tv_sec) + (double)(wall.tv_nsec - up.tv_nsec) / 1e9 + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

static double resident_bytes(void) {
    MFFA_AUTO(mffa_fclose_p) FILE *f = fopen("/proc/self/statm", "re");
    long long pages = 0;
    return f && fscanf(f, "%*d %lld", &pages) == 1 ? (double)pages * (double)sysconf(_SC_PAGESIZE) : 0;
}

static void read_process(void) {
    struct timespec cpu;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    mffa_stat_set(MFFA_STAT_CPU_SECONDS, NULL, NULL, (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9);
    mffa_stat_set(MFFA_STAT_RESIDENT_BYTES, NULL, NULL, resident_bytes());
    if (!all[MFFA_STAT_START_TIME]) mffa_stat_set(MFFA_STAT_START_TIME, NULL, NULL, start_seconds());
}

static void put_label(mffa_buf *out, const char **open, const char *name, const char *value) {
    if (!name) return;
    mffa_buf_putf(out, "%s%s=\"", *open, name);
    for (; *value; value++) {
        if (*value == '\n') mffa_buf_puts(out, "\\n");
        else mffa_buf_putf(out, strchr("\\\"", *value) ? "\\%c" : "%c", *value);
    }
    mffa_buf_puts(out, "\"");
    *open = ",";
}

static void put_sample(mffa_buf *out, const row *r, const char *suffix, const series *s, const char *le, double value) {
    const char *open = "{";
    mffa_buf_putf(out, "%s%s", r->name, suffix);
    for (int i = 0; i < LABELS; i++) put_label(out, &open, r->labels[i], s->label[i]);
    put_label(out, &open, le ? "le" : NULL, le);
    mffa_buf_putf(out, "%s %.17g\n", *open == ',' ? "}" : "", value);
}

static void put_histogram(mffa_buf *out, const row *r, const series *s) {
    uint64_t sum = 0;
    int n = bucket_count(r);
    for (int i = 0; i <= n; i++) {
        char le[32] = "+Inf";
        if (i < n) snprintf(le, sizeof le, "%g", r->buckets[i]);
        put_sample(out, r, "_bucket", s, le, (double)(sum += s->hits[i]));
    }
    put_sample(out, r, "_sum", s, NULL, s->value);
    put_sample(out, r, "_count", s, NULL, (double)sum);
}

void mffa_stats_write(mffa_program who, mffa_buf *out) {
    static const char *const types[] = {"counter", "gauge", "histogram"};
    mffa_stats_begin();
    read_process();
    for (int what = 0; what < MFFA_STAT_COUNT; what++) {
        const row *r = &rows[what];
        if (!(r->programs & (int)who) || !all[what]) continue;
        mffa_buf_putf(out, "# HELP %s %s\n# TYPE %s %s\n", r->name, r->help, r->name, types[r->type]);
        for (const series *s = all[what]; s; s = s->next) {
            if (r->type == HISTOGRAM) put_histogram(out, r, s);
            else put_sample(out, r, "", s, NULL, s->value);
        }
    }
    mffa_stats_end();
}

void mffa_stats_table(mffa_buf *out) {
    static const char *const types[] = {"counter", "gauge", "histogram"};
    mffa_buf_puts(out, "| Metric | Type | Labels | From | Meaning |\n|---|---|---|---|---|\n");
    for (int what = 0; what < MFFA_STAT_COUNT; what++) {
        const row *r = &rows[what];
        const char *from = r->programs == MFFA_WORKER ? "worker" : r->programs == MFFA_SCHEDULER ? "scheduler" : "both";
        const char *first = r->labels[0] ? r->labels[0] : "", *second = r->labels[1] ? r->labels[1] : "";
        mffa_buf_putf(out, "| `%s` | %s | %s%s%s", r->name, types[r->type], first, *second ? ", " : "", second);
        mffa_buf_putf(out, " | %s | %s |\n", from, r->help);
    }
}
