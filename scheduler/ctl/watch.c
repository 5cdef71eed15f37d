/* Follows jobs by their event streams: XREAD sleeps until something happens, the record says what. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "core/base/clock.h"
#include "scheduler/ctl/command.h"
#include "scheduler/ctl/progress_line.h"

enum { SLEEP_MS = 1000, EXPLAIN_MS = 4000 };

static volatile sig_atomic_t interrupted;
static void interrupt(int sig) { (void)sig, interrupted = 1; }

typedef struct watched {
    mffa_queue *queue;
    const char *id, *stream; /* stream: its key */
    char last[64];           /* id of the last event that was read */
    char state[16];
    int64_t waits_since_ms;
    bool explained, lost;    /* lost: Redis does not answer at present */
    mffa_progress_line line;
} watched;

static bool is_one_of(const char *word, const char *list) { /* list: words with a space on either side */
    char padded[40];
    snprintf(padded, sizeof padded, " %.30s ", word);
    return strstr(list, padded) != NULL;
}
static bool has_ended(const char *state) { return is_one_of(state, " done failed dead cancelled skipped rejected accepted "); }

static const char *field(const mffa_reply *record, const char *name) { return mffa_reply_text(mffa_reply_field(record, name), ""); }

/* The first sentence behind "<id> is <state>" of mffa_explain. */
static void explain(watched *w, const char *kind) {
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *why = NULL;
    mffa_span id = mffa_span_of(w->id);
    if (mffa_queue_call(w->queue, true, "explain", &id, 1, &why, NULL)) return;
    printf("%s %s  %s", kind, w->id, w->state);
    for (size_t i = 1; i < mffa_reply_size(why); i++) printf("%s%s", i == 1 ? ": " : "; ", mffa_reply_text(mffa_reply_at(why, i), ""));
    puts("");
    w->explained = true;
}

static void tell_end(watched *w, const mffa_reply *record) {
    static const char *const figures[] = {"image_auroc", "pixel_auroc",        "aupro",  "loss",   "accuracy",
                                          "bank_rows",   "largest_difference", "images", "seconds"};
    printf("%s %s  %s", field(record, "kind"), w->id, w->state);
    for (size_t i = 0; i < MFFA_COUNT(figures); i++)
        if (*field(record, figures[i])) printf("  %s=%s", figures[i], field(record, figures[i]));
    if (*field(record, "reason")) printf(": %s", field(record, "reason"));
    if (strcmp(w->state, "skipped") == 0) printf("%s because of %s", *field(record, "reason") ? "," : ":", field(record, "cause"));
    puts("");
    if (*field(record, "result")) printf("  %s\n", field(record, "result"));
}

/* What the record says now. */
static void tell(watched *w, const mffa_reply *record) {
    const char *state = field(record, "state"), *phase = field(record, "phase");
    int64_t now = mffa_now_ms();
    if (strcmp(state, w->state) != 0) {
        mffa_progress_line_end(&w->line, strcmp(state, "done") == 0);
        snprintf(w->state, sizeof w->state, "%s", state);
        snprintf(w->line.label, sizeof w->line.label, "%s %s", field(record, "kind"), w->id);
        w->waits_since_ms = now, w->explained = false;
        if (is_one_of(state, " delayed cancelling ")) explain(w, field(record, "kind"));
        if (has_ended(state)) tell_end(w, record);
    }
    if (is_one_of(state, " running cancelling ") && *phase)
        mffa_progress_line_show(&w->line, phase, mffa_reply_int(mffa_reply_field(record, "done"), 0),
                                mffa_reply_int(mffa_reply_field(record, "total"), 0));
    if (is_one_of(state, " queued blocked ") && !w->explained && now - w->waits_since_ms >= EXPLAIN_MS) explain(w, field(record, "kind"));
}

static mffa_code look(watched *w, mffa_err *err) {
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *record = NULL;
    mffa_span id = mffa_span_of(w->id);
    mffa_code rc = mffa_queue_call(w->queue, true, "status", &id, 1, &record, err);
    if (!rc) tell(w, record);
    fflush(stdout);
    return rc;
}

/* Until an event comes or a while has passed. */
static mffa_code sleep_until_event(watched *w, mffa_err *err) {
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *events = NULL;
    char ms[16];
    snprintf(ms, sizeof ms, "%d", SLEEP_MS);
    const mffa_span words[] = {mffa_span_of("XREAD"),   mffa_span_of("BLOCK"),   mffa_span_of(ms),
                               mffa_span_of("STREAMS"), mffa_span_of(w->stream), mffa_span_of(w->last)};
    mffa_code rc = mffa_queue_command(w->queue, words, MFFA_COUNT(words), &events, err);
    if (rc) return rc;
    const mffa_reply *list = mffa_reply_at(mffa_reply_at(events, 0), 1);
    size_t n = mffa_reply_size(list);
    if (n) snprintf(w->last, sizeof w->last, "%s", mffa_reply_text(mffa_reply_at(mffa_reply_at(list, n - 1), 0), "0"));
    return MFFA_OK;
}

/* Redis may be gone for a while: the job does not mind, so neither does who watches it. */
static mffa_code forgive(watched *w, mffa_code rc, mffa_err *err) {
    if (rc != MFFA_EIO) {
        if (!rc && w->lost) puts("Redis answers again");
        w->lost = rc;
        return rc;
    }
    if (!w->lost) mffa_progress_line_end(&w->line, false), printf("%s; trying again\n", err->msg), fflush(stdout);
    w->lost = true;
    *err = (mffa_err){0};
    mffa_sleep_ms(SLEEP_MS);
    return MFFA_OK;
}

static mffa_code follow(watched *w, mffa_err *err) {
    mffa_code rc = MFFA_OK;
    while (!rc && !interrupted && !has_ended(w->state)) {
        mffa_err why = {0};
        rc = look(w, &why);
        if (!rc && !has_ended(w->state)) rc = sleep_until_event(w, &why);
        rc = interrupted ? MFFA_OK : forgive(w, rc, &why);
        if (rc && err) *err = why;
    }
    mffa_progress_line_end(&w->line, false);
    if (!interrupted || has_ended(w->state)) return rc;
    printf("the job goes on; mffactl watch %s follows it again, mffactl --help tells more\n", w->id);
    return MFFA_ECANCELLED;
}

static mffa_code watch_one(const mffa_command *c, mffa_queue *q, const char *id, bool *done, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf stream = {0};
    mffa_buf_putf(&stream, "mffa:{%s}:ev:%s", c->config->queue, id);
    watched w = {.queue = q, .id = id, .stream = mffa_buf_text(&stream), .last = "0"};
    mffa_progress_line_init(&w.line, stdout, id);
    mffa_code rc = mffa_buf_check(&stream, err);
    if (!rc) rc = follow(&w, err);
    *done = strcmp(w.state, "done") == 0;
    return rc;
}

mffa_code mffa_command_watch(const mffa_command *c, mffa_err *err) {
    MFFA_AUTO(mffa_queue_close_p) mffa_queue *q = NULL;
    struct sigaction on_interrupt = {.sa_handler = interrupt, .sa_flags = SA_RESETHAND}; /* a second one does not wait */
    int failed = 0;
    if (c->count < 1) return mffa_fail(err, MFFA_EINVAL, "watch needs a job: mffactl watch ID...");
    mffa_code rc = mffa_command_queue(c, &q, err);
    sigaction(SIGINT, &on_interrupt, NULL);
    for (int i = 0; !rc && i < c->count; i++) {
        bool done = false;
        rc = watch_one(c, q, c->words[i], &done, err);
        failed += !done;
    }
    if (!rc && failed) return mffa_fail(err, MFFA_EINVAL, "%d of %d jobs did not end well", failed, c->count);
    return rc;
}
