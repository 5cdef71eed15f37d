/* mffa-scheduler: loads the function library and calls mffa_reap every MFFA_REAP_MS. All rules live in the functions; any number of
 * schedulers may run, none is a leader. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "core/base/clock.h"
#include "core/base/config.h"
#include "core/base/log.h"
#include "core/base/rng.h"
#include "core/base/stats.h"
#include "scheduler/depth.h"
#include "scheduler/endpoint.h"
#include "scheduler/functions.h"
#include "scheduler/health.h"
#include "scheduler/queue.h"

enum { BACKOFF_FIRST_MS = 100, BACKOFF_LAST_MS = 5000, DEPTH_MS = 2000, READY_MS = 15000 };

typedef struct scheduler {
    const mffa_config *config;
    mffa_queue *queue;
    mffa_endpoint *endpoint; /* NULL: MFFA_LISTEN is not set */
    sigset_t stop_signals;
    mffa_rng rng;
    bool ready;         /* library loaded and settings stored on the present connection */
    int64_t tick, seq;  /* of the last reap: they never go back unless Redis lost writes */
    int64_t backoff_ms; /* 0: the last round went well */
    int64_t depth_ms;   /* when the queue was last looked at for the metrics */
} scheduler;

/* True when a signal to stop came within ms. */
static bool stopped_within(const scheduler *s, int64_t ms) {
    struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    int sig;
    do sig = sigtimedwait(&s->stop_signals, NULL, &wait);
    while (sig < 0 && errno == EINTR);
    if (sig > 0) mffa_log(MFFA_INFO, "scheduler.stop", mffa_str("signal", strsignal(sig)));
    return sig > 0;
}

static mffa_code store_settings(scheduler *s, mffa_err *err) {
    const struct { const char *name; int64_t value; } settings[] = {
        {"lease_ms", s->config->lease_ms},       {"backoff_ms", s->config->backoff_ms},
        {"retention_s", s->config->retention_s}, {"dead_retention_s", s->config->dead_retention_s},
        {"max_queued", s->config->max_queued},
    };
    char text[MFFA_COUNT(settings)][24];
    mffa_span args[2 * MFFA_COUNT(settings)];
    for (size_t i = 0; i < MFFA_COUNT(settings); i++) {
        snprintf(text[i], sizeof text[i], "%lld", (long long)settings[i].value);
        args[2 * i] = mffa_span_of(settings[i].name), args[2 * i + 1] = mffa_span_of(text[i]);
    }
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    return mffa_queue_call(s->queue, false, "configure", args, MFFA_COUNT(args), &reply, err);
}

static mffa_code prepare(scheduler *s, mffa_err *err) {
    mffa_code rc = mffa_queue_load_library(s->queue, err);
    if (!rc) rc = store_settings(s, err);
    s->ready = rc == MFFA_OK;
    return rc;
}

static int64_t number(const mffa_reply *reply, const char *name) { return mffa_reply_int(mffa_reply_field(reply, name), 0); }

static void report(scheduler *s, const mffa_reply *reply) {
    int64_t tick = number(reply, "tick"), seq = number(reply, "seq");
    if (tick <= s->tick || seq < s->seq) {
        mffa_stat_add(MFFA_STAT_LOST_WRITES, NULL, NULL, 1);
        mffa_log(MFFA_ERROR, "redis.lost_writes", mffa_int("submitted_before", s->seq), mffa_int("submitted_now", seq),
                 mffa_int("tick_before", s->tick), mffa_int("tick_now", tick),
                 mffa_str("epoch", mffa_reply_text(mffa_reply_field(reply, "epoch"), "")));
    }
    s->tick = tick, s->seq = seq;
    int64_t lost = number(reply, "lost"), promoted = number(reply, "promoted"), answered = number(reply, "answered"),
            removed = number(reply, "removed");
    const struct { const char *what; int64_t n; } moved[] = {
        {"lost", lost}, {"promoted", promoted}, {"answered", answered}, {"removed", removed}};
    for (size_t i = 0; i < MFFA_COUNT(moved); i++) mffa_stat_add(MFFA_STAT_REAP_MOVED, moved[i].what, NULL, (double)moved[i].n);
    if (lost) mffa_log(MFFA_WARN, "jobs.lost", mffa_int("jobs", lost));
    if (promoted || answered || removed)
        mffa_log(MFFA_INFO, "jobs.moved", mffa_int("promoted", promoted), mffa_int("answered", answered), mffa_int("removed", removed));
}

/* One round: reap until nothing more is due. */
static mffa_code reap(scheduler *s, mffa_err *err) {
    char lib[16];
    snprintf(lib, sizeof lib, "%d", mffa_functions_version);
    mffa_span args[2] = {mffa_span_of("lib"), mffa_span_of(lib)};
    bool more = true;
    for (int i = 0; more && i < 100; i++) {
        MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
        mffa_code rc = mffa_queue_call(s->queue, false, "reap", args, 2, &reply, err);
        if (rc) return rc;
        report(s, reply);
        if (!number(reply, "configured") || number(reply, "library") < mffa_functions_version) s->ready = false;
        more = number(reply, "more");
    }
    return MFFA_OK;
}

/* What /metrics says of the queue; only where somebody may ask. */
static mffa_code look(scheduler *s, mffa_err *err) {
    int64_t now = mffa_now_ms();
    if (!s->endpoint || (s->depth_ms && now - s->depth_ms < DEPTH_MS)) return MFFA_OK;
    s->depth_ms = now;
    return mffa_depth_read(s->queue, err);
}

static void note_round(const scheduler *s, int64_t began_ms, mffa_code rc, const mffa_err *err) {
    mffa_stat_set(MFFA_STAT_REDIS_UP, NULL, NULL, rc != MFFA_EIO);
    mffa_stat_add(MFFA_STAT_REDIS_ERRORS, NULL, NULL, rc == MFFA_EIO);
    if (rc) return mffa_health_not_ready(err->msg);
    mffa_stat_observe(MFFA_STAT_REAP_SECONDS, NULL, (double)(mffa_now_ms() - began_ms) / 1e3);
    mffa_stat_set(MFFA_STAT_REAP_LAST, NULL, NULL, (double)mffa_wall_ms() / 1e3);
    mffa_health_ready(READY_MS + 3 * s->config->reap_ms);
}

/* How long to wait before the next round: a while that grows and is drawn anew each time, so that many schedulers do not come at once. */
static int64_t after_failure(scheduler *s, const mffa_err *err) {
    mffa_log(mffa_code_retryable(err->code) ? MFFA_WARN : MFFA_ERROR, "reap.failed", mffa_str("error", err->msg));
    s->ready = false;
    s->backoff_ms = s->backoff_ms ? s->backoff_ms * 2 : BACKOFF_FIRST_MS;
    if (s->backoff_ms > BACKOFF_LAST_MS) s->backoff_ms = BACKOFF_LAST_MS;
    return 1 + (int64_t)mffa_rng_below(&s->rng, (uint64_t)s->backoff_ms);
}

static void run(scheduler *s) {
    for (int64_t wait = 0; !stopped_within(s, wait);) {
        mffa_err err = {0};
        int64_t began_ms = mffa_now_ms();
        mffa_code rc = s->ready ? MFFA_OK : prepare(s, &err);
        if (!rc) rc = reap(s, &err);
        if (!rc) rc = look(s, &err);
        note_round(s, began_ms, rc, &err);
        if (!rc && s->backoff_ms) mffa_log(MFFA_INFO, "redis.back");
        if (!rc) s->backoff_ms = 0;
        wait = rc ? after_failure(s, &err) : s->ready ? s->config->reap_ms : 0;
    }
}

static mffa_code begin(scheduler *s, mffa_err *err) {
    const mffa_config *c = s->config;
    uint64_t seed;
    mffa_code rc = mffa_random_bytes(&seed, sizeof seed, err);
    if (rc) return rc;
    mffa_rng_init(&s->rng, seed, 0);
    mffa_stat_add(MFFA_STAT_LOST_WRITES, NULL, NULL, 0);
    rc = mffa_endpoint_open(c->listen, MFFA_SCHEDULER, NULL, NULL, &s->endpoint, err);
    if (rc) return rc;
    mffa_queue_options o = mffa_queue_options_of(c);
    rc = mffa_queue_open(&o, &s->queue, err);
    if (rc) return rc;
    MFFA_AUTO(mffa_free_p) char *warning = NULL;
    rc = mffa_queue_check_server(s->queue, &warning, err);
    if (rc) return rc;
    if (warning) mffa_log(MFFA_WARN, "redis.risky", mffa_str("warning", warning));
    return prepare(s, err);
}

static mffa_code load_config(mffa_config *c, int argc, char **argv, mffa_err *err) {
    int left = 0;
    static const char usage[] = "mffa-scheduler [--setting value]...: take back lost jobs, start delayed ones, remove old ones.\n"
                                "mffa-scheduler --health [--listen address:port]: exits 0 if the one that listens there is ready.\n"
                                "mffa-scheduler --version: its version.\n";
    mffa_code rc = mffa_config_load(c, MFFA_SCHEDULER, usage, argc, argv, &left, err);
    mffa_level level = MFFA_INFO;
    if (!rc && left) rc = mffa_fail(err, MFFA_EINVAL, "unknown argument \"%s\": --help lists the settings", argv[1]);
    if (!rc && mffa_level_parse(c->log_level, &level)) mffa_log_setup("mffa-scheduler", level);
    return rc;
}

/* --health [settings]: how the scheduler that listens here is. */
static int ask_health(int argc, char **argv) {
    MFFA_AUTO(mffa_config_done) mffa_config c = {0};
    mffa_err err = {0};
    if (load_config(&c, argc, argv, &err)) return fprintf(stderr, "mffa-scheduler: %s\n", err.msg), 2;
    return mffa_endpoint_ask(c.listen);
}

static void quit_now(int sig) { (void)sig, _exit(0); }

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--health") == 0) return ask_health(argc - 1, argv + 1);
    scheduler s = {0};
    mffa_config config = {0};
    mffa_err err = {0};
    sigemptyset(&s.stop_signals), sigaddset(&s.stop_signals, SIGTERM), sigaddset(&s.stop_signals, SIGINT);
    /* the start-up may be interrupted anywhere: nothing is held; the rounds look at signals between calls */
    signal(SIGTERM, quit_now), signal(SIGINT, quit_now), signal(SIGPIPE, SIG_IGN);
    mffa_log_setup("mffa-scheduler", MFFA_INFO);
    s.config = &config;
    mffa_code rc = load_config(&config, argc, argv, &err);
    if (!rc) rc = begin(&s, &err);
    if (rc) {
        mffa_log(MFFA_ERROR, "scheduler.refused", mffa_str("error", err.msg));
    } else {
        sigprocmask(SIG_BLOCK, &s.stop_signals, NULL);
        mffa_log(MFFA_INFO, "scheduler.start", mffa_str("version", MFFA_VERSION), mffa_str("queue", config.queue),
                 mffa_int("library", mffa_functions_version));
        run(&s);
    }
    mffa_endpoint_close(s.endpoint);
    mffa_queue_close(s.queue);
    mffa_config_done(&config);
    return rc ? 1 : 0;
}
