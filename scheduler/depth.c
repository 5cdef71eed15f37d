#include "scheduler/depth.h"

#include <stdio.h>
#include <string.h>
#include "core/base/stats.h"

static const struct { const char *name; mffa_stat stat; double unit; } numbers[] = { /* words of mffa_metrics */
    {"pool_oldest_queued_ms", MFFA_STAT_POOL_OLDEST, 1e-3},
    {"queue_jobs", MFFA_STAT_QUEUE_JOBS, 1},     {"pool_jobs", MFFA_STAT_POOL_JOBS, 1},
    {"pool_workers", MFFA_STAT_POOL_WORKERS, 1}, {"inbox", MFFA_STAT_QUEUE_INBOX, 1},   {"full", MFFA_STAT_QUEUE_FULL, 1},
    {"paused", MFFA_STAT_QUEUE_PAUSED, 1},       {"submitted", MFFA_STAT_SUBMITTED, 1}, {"ended", MFFA_STAT_ENDED, 1},
    {"refused", MFFA_STAT_INBOX_REFUSED, 1},     {"lost", MFFA_STAT_RUNS_LOST, 1},      {"preempted", MFFA_STAT_RUNS_PREEMPTED, 1},
    {"failures", MFFA_STAT_RUNS_FAILED, 1},
};

static const char *word(const mffa_reply *reply, size_t i) { return mffa_reply_text(mffa_reply_at(reply, i), ""); }

static void store(const mffa_reply *reply) {
    mffa_stats_begin();
    for (size_t k = 0; k < MFFA_COUNT(numbers); k++) mffa_stat_clear(numbers[k].stat); /* pools and pauses that are gone */
    for (size_t i = 0; i + 3 < mffa_reply_size(reply); i += 4)
        for (size_t k = 0; k < MFFA_COUNT(numbers); k++)
            if (strcmp(word(reply, i), numbers[k].name) == 0)
                mffa_stat_set(numbers[k].stat, word(reply, i + 1), word(reply, i + 2), atof(word(reply, i + 3)) * numbers[k].unit);
    mffa_stats_end();
}

static mffa_code info(mffa_queue *q, const char *section, mffa_buf *out, mffa_err *err) {
    mffa_span words[2] = {mffa_span_of("INFO"), mffa_span_of(section)};
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    mffa_code rc = mffa_queue_command(q, words, 2, &reply, err);
    mffa_buf_puts(out, mffa_reply_text(reply, ""));
    return rc == MFFA_EDENIED ? MFFA_OK : rc;
}

/* The number behind "name" in an INFO answer's line that begins with it; -1: there is none. */
static double number_after(const char *text, const char *name) {
    for (const char *line = text; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL)
        if (strncmp(line, name, strlen(name)) == 0) return atof(line + strlen(name));
    return -1;
}

static void set_known(mffa_stat what, const char *label, double value) {
    if (value >= 0) mffa_stat_set(what, label, NULL, value);
}

mffa_code mffa_depth_read(mffa_queue *q, mffa_err *err) {
    static const char *const codes[] = {"BADKIND", "BADFIELD", "TOOBIG", "NOPARENT", "PARENTENDED", "NOTFOUND",
                                        "BADSTATE", "FULL", "FENCED", "OLDLIB", "NOPERM", "OOM"};
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    MFFA_AUTO(mffa_buf_done) mffa_buf memory = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf errors = {0};
    mffa_code rc = mffa_queue_call(q, true, "metrics", NULL, 0, &reply, err);
    if (rc) return rc;
    store(reply);
    rc = info(q, "memory", &memory, err);
    if (!rc) rc = info(q, "errorstats", &errors, err);
    if (rc) return rc;
    set_known(MFFA_STAT_REDIS_MEMORY, NULL, number_after(mffa_buf_text(&memory), "used_memory:"));
    set_known(MFFA_STAT_REDIS_MEMORY_MAX, NULL, number_after(mffa_buf_text(&memory), "maxmemory:"));
    for (size_t i = 0; i < MFFA_COUNT(codes); i++) {
        char name[64];
        snprintf(name, sizeof name, "errorstat_%s:count=", codes[i]);
        double n = number_after(mffa_buf_text(&errors), name);
        if (errors.len) mffa_stat_set(MFFA_STAT_REFUSED, codes[i], NULL, n > 0 ? n : 0);
    }
    return MFFA_OK;
}
