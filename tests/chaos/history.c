#include "tests/chaos/history.h"

#include "core/base/clock.h"
#include "tests/support/test.h"

static void doubled(history *h, const char *what) { h->doubled = true, h->what = what; }

static void begin_run(history *h, int64_t at_ms, int64_t run, const char *worker) {
    if (h->held) doubled(h, "a run began while another was not over");
    if (h->ends) doubled(h, "a run began after the end");
    if (run != h->runs + 1) doubled(h, "the numbers of its runs do not grow by one");
    if (h->struck_ms && at_ms - h->struck_ms > h->worst_rerun_ms) h->worst_rerun_ms = at_ms - h->struck_ms;
    h->runs = (int)run, h->held = true, h->started_ms = at_ms, h->struck_ms = 0;
    snprintf(h->worker, sizeof h->worker, "%s", worker);
}

/* Back among those that wait. */
static void hand_back(history *h, const cast *c, int64_t at_ms) {
    h->struck_ms = h->held ? cast_blow_within(c, h->worker, h->started_ms, at_ms) : 0;
    h->held = false;
}

static void end(history *h) { h->ends++, h->held = false; }

static void note(history *h, const cast *c, const mffa_reply *entry) {
    int64_t at_ms = atoll(mffa_reply_text(mffa_reply_at(entry, 0), "0"));
    const mffa_reply *fields = mffa_reply_at(entry, 1);
    const char *state = mffa_reply_text(mffa_reply_field(fields, "state"), "");
    int64_t run = mffa_reply_int(mffa_reply_field(fields, "run"), 0);
    h->events++;
    if (strcmp(state, "running") == 0 && run) begin_run(h, at_ms, run, mffa_reply_text(mffa_reply_field(fields, "worker"), ""));
    else if (strcmp(state, "queued") == 0 || strcmp(state, "delayed") == 0) hand_back(h, c, at_ms);
    else if (strcmp(state, "running") != 0 && strcmp(state, "cancelling") != 0) end(h);
}

void history_read(history *h, const cast *c, const char *id) {
    char key[64];
    *h = (history){0};
    snprintf(key, sizeof key, "mffa:{main}:ev:%s", id);
    mffa_span words[4] = {mffa_span_of("XRANGE"), mffa_span_of(key), mffa_span_of("-"), mffa_span_of("+")};
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    mffa_err err = {0};
    assert_ok(mffa_queue_command(c->world->redis.queue, words, 4, &reply, &err));
    for (size_t i = 0; i < mffa_reply_size(reply); i++) note(h, c, mffa_reply_at(reply, i));
}
