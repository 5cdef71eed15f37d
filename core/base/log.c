#include "core/base/log.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include "core/base/buf.h"
#include "core/base/clock.h"
#include "core/base/json.h"

static const char *program_name = "mffa";
static mffa_level least_level = MFFA_INFO;
static pthread_mutex_t trace_lock = PTHREAD_MUTEX_INITIALIZER; /* guards trace */
static char trace[33];                                          /* "": none */
static const char *const level_names[] = {"debug", "info", "warn", "error"};

void mffa_log_setup(const char *program, mffa_level least) {
    program_name = program;
    least_level = least;
}

bool mffa_level_parse(const char *name, mffa_level *out) {
    for (size_t i = 0; i < MFFA_COUNT(level_names); i++)
        if (strcmp(name, level_names[i]) == 0) return *out = (mffa_level)i, true;
    return false;
}

void mffa_log_trace(const char *trace_id) {
    pthread_mutex_lock(&trace_lock);
    snprintf(trace, sizeof trace, "%s", trace_id ? trace_id : "");
    pthread_mutex_unlock(&trace_lock);
}

static void put_trace(mffa_buf *line) {
    pthread_mutex_lock(&trace_lock);
    mffa_buf_puts(line, *trace ? ",\"trace_id\":" : "");
    if (*trace) mffa_json_quote(line, trace, strlen(trace));
    pthread_mutex_unlock(&trace_lock);
}

static void put_field(mffa_buf *line, const mffa_field *f) {
    mffa_buf_putf(line, ",\"%s\":", f->name);
    if (f->type == MFFA_FIELD_INT) mffa_buf_putf(line, "%lld", (long long)f->num);
    else if (f->type == MFFA_FIELD_NUM && isfinite(f->real)) mffa_buf_putf(line, "%.9g", f->real);
    else if (f->type == MFFA_FIELD_STR && f->str) mffa_json_quote(line, f->str, strlen(f->str));
    else mffa_buf_puts(line, "null");
}

void mffa_log_fields(mffa_level level, const char *event, const mffa_field *fields) {
    if (level < least_level) return;
    MFFA_AUTO(mffa_buf_done) mffa_buf line = {0};
    char ts[25];
    mffa_wall_text(mffa_wall_ms(), ts);
    mffa_buf_putf(&line, "{\"ts\":\"%s\",\"level\":\"%s\",\"event\":\"%s\",\"program\":\"%s\"", ts, level_names[level], event,
                  program_name);
    put_trace(&line);
    for (; fields->name; fields++) put_field(&line, fields);
    mffa_buf_puts(&line, "}\n");
    if (!line.failed) (void)!write(STDERR_FILENO, line.ptr, line.len);
}
