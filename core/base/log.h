/* Logs: one JSON object per line on stderr.
 *   mffa_log(MFFA_WARN, "job.retry", mffa_str("job", id), mffa_str("error", err.msg), mffa_int("attempt", n));
 *   {"ts":"2026-01-31T12:00:00.123Z","level":"warn","event":"job.retry","program":"mffa-worker","job":"k4-17",...}
 * The event is a constant name, facts are fields, every job line carries "job". Info: state changes. Warn: what we recovered from.
 * Error: what a person must look at. No secrets, no image bytes. Thread-safe: a line is one write. */
#ifndef MFFA_CORE_BASE_LOG_H
#define MFFA_CORE_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

typedef enum mffa_level { MFFA_DEBUG, MFFA_INFO, MFFA_WARN, MFFA_ERROR } mffa_level;

typedef struct mffa_field {
    const char *name; /* NULL ends a list */
    enum { MFFA_FIELD_STR, MFFA_FIELD_INT, MFFA_FIELD_NUM } type;
    const char *str; /* NULL is written as null; bytes that are not UTF-8 become U+FFFD */
    int64_t num;
    double real;
} mffa_field;

static inline mffa_field mffa_str(const char *name, const char *v) { return (mffa_field){name, MFFA_FIELD_STR, v, 0, 0}; }
static inline mffa_field mffa_int(const char *name, int64_t v) { return (mffa_field){name, MFFA_FIELD_INT, 0, v, 0}; }
static inline mffa_field mffa_num(const char *name, double v) { return (mffa_field){name, MFFA_FIELD_NUM, 0, 0, v}; }

/* Before other threads start: the program's name (kept, not copied) and the lowest level that is written. Default: "mffa", info. */
void mffa_log_setup(const char *program, mffa_level least);
/* "debug", "info", "warn", "error"; false for anything else. */
bool mffa_level_parse(const char *name, mffa_level *out);
/* From now on every line carries "trace_id" with this text (copied; at most 32 characters), until NULL. For the whole process. */
void mffa_log_trace(const char *trace_id);
void mffa_log_fields(mffa_level level, const char *event, const mffa_field *fields);
#define mffa_log(level, event, ...) mffa_log_fields(level, event, (const mffa_field[]){__VA_ARGS__ __VA_OPT__(,) {0}})

#endif
