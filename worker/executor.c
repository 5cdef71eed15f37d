#include "worker/executor.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/stats.h"
#include "core/nn/tensor.h"
#include "worker/job.h"
#include "worker/trace.h"
#include "worker/wire.h"
#include "worker/work_dir.h"

enum { TICK_MS = 200 }; /* between two messages of progress in one phase */

typedef struct executor {
    int fd;
    const char *folder;
    mffa_engine *engine;
    atomic_bool stop;        /* the job in hand shall end */
    pthread_mutex_t lock;    /* guards next; held with no other */
    pthread_cond_t arrived;
    mffa_json *next;         /* a "run" message that nobody works on yet */
    char phase[24];          /* of the last progress that was sent */
    int64_t sent_ms;
} executor;

static void *listen_to_supervisor(void *ctx) {
    executor *x = ctx;
    for (;;) {
        mffa_json *m = NULL;
        if (mffa_wire_receive(x->fd, &m, NULL)) _exit(0); /* the supervisor is gone: free the device now */
        if (strcmp(mffa_json_text(mffa_json_get(m, "do"), ""), "run") != 0) {
            atomic_store(&x->stop, true);
            mffa_json_close(m);
            continue;
        }
        pthread_mutex_lock(&x->lock);
        atomic_store(&x->stop, false);
        x->next = m;
        pthread_cond_signal(&x->arrived);
        pthread_mutex_unlock(&x->lock);
    }
}

static mffa_json *next_job(executor *x) {
    pthread_mutex_lock(&x->lock);
    while (!x->next) pthread_cond_wait(&x->arrived, &x->lock);
    mffa_json *m = MFFA_TAKE(x->next);
    pthread_mutex_unlock(&x->lock);
    return m;
}

/* Without the supervisor there is nobody to work for. */
static void tell(executor *x, mffa_json *message) {
    mffa_err err = {0};
    if (mffa_wire_send(x->fd, message, &err)) {
        mffa_log(MFFA_ERROR, "executor.alone", mffa_str("error", err.msg));
        _exit(1);
    }
    mffa_json_close(message);
}

static mffa_json *message(const char *is) {
    mffa_json *m = mffa_json_object();
    mffa_json_set(m, "is", mffa_json_of_text(is));
    return m;
}

/* The executor has no readers of its own: its numbers go to the supervisor, before the last word at the latest. */
static void tell_counts(executor *x) {
    mffa_json *counts = mffa_stats_take();
    if (!counts) return;
    mffa_json *m = message("counts");
    mffa_json_set(m, "counts", counts);
    tell(x, m);
}

static bool tick(void *ctx, const char *phase, int64_t done, int64_t total) {
    executor *x = ctx;
    int64_t now = mffa_now_ms();
    if (atomic_load(&x->stop)) return false;
    if (strcmp(phase, x->phase) == 0 && now - x->sent_ms < TICK_MS && done < total) return true;
    snprintf(x->phase, sizeof x->phase, "%s", phase);
    x->sent_ms = now;
    mffa_json *m = message("progress");
    mffa_json_set(m, "phase", mffa_json_of_text(phase));
    mffa_json_set(m, "done", mffa_json_of_int(done));
    mffa_json_set(m, "total", mffa_json_of_int(total));
    tell(x, m);
    tell_counts(x);
    return true;
}

static void listed(void *ctx, const char *inputs_sha256) {
    mffa_json *m = message("inputs");
    mffa_json_set(m, "sha256", mffa_json_of_text(inputs_sha256));
    tell(ctx, m);
}

static mffa_json *hex_text(const mffa_buf *b) {
    MFFA_AUTO(mffa_buf_done) mffa_buf hex = {0};
    for (size_t i = 0; i < b->len; i++) mffa_buf_putf(&hex, "%02x", (unsigned char)b->ptr[i]);
    return mffa_json_of_text(mffa_buf_text(&hex));
}

static mffa_json *done_message(const mffa_job *j) {
    mffa_json *m = message("done"), *facts = mffa_json_object();
    const mffa_buf *t = &j->facts.texts;
    for (size_t at = 0; at < t->len;) {
        const char *name = t->ptr + at, *value = name + strlen(name) + 1;
        mffa_json_set(facts, name, mffa_json_of_text(value));
        at = (size_t)(value - t->ptr) + strlen(value) + 1;
    }
    mffa_json_set(m, "result", mffa_json_of_text(mffa_results_url(j->results)));
    mffa_json_set(m, "facts", facts);
    if (j->facts.summary.len) mffa_json_set(m, "summary", hex_text(&j->facts.summary));
    return m;
}

static mffa_json *failed_message(const mffa_err *err) {
    mffa_json *m = message("failed");
    mffa_json_set(m, "code", mffa_json_of_text(mffa_code_name(err->code)));
    mffa_json_set(m, "text", mffa_json_of_text(*err->msg ? err->msg : mffa_code_text(err->code)));
    mffa_json_set(m, "again", mffa_json_of_bool(mffa_code_retryable(err->code)));
    return m;
}

/* A failed run leaves nothing half written; what cannot be removed now is removed by the job's next run. */
static void discard(const mffa_job *j) {
    mffa_err err = {0};
    if (mffa_results_discard(j->results, &err)) mffa_log(MFFA_WARN, "run.not_removed", mffa_str("job", j->id), mffa_str("error", err.msg));
}

/* Only a new process gets a GPU back that has failed for good. The supervisor sees the end of the pair at once, before it claims another
 * job for this executor. */
static void give_up(executor *x, const mffa_err *err) {
    mffa_log(MFFA_ERROR, "executor.device_lost", mffa_str("error", err->msg));
    (void)shutdown(x->fd, SHUT_RDWR);
    _exit(1);
}

static void run(executor *x, const mffa_json *m) {
    mffa_job j;
    mffa_err err = {0};
    mffa_progress progress = {x, tick};
    x->phase[0] = '\0';
    mffa_trace_begin(mffa_json_text(mffa_json_get(mffa_json_get(m, "fields"), "trace"), ""));
    mffa_work_dir_empty(x->folder);
    mffa_code rc = mffa_job_init(&j, x->engine, m, x->folder, &progress, &err);
    j.listed = listed;
    if (!rc) rc = mffa_job_run(&j, &err);
    bool broken = rc == MFFA_EDEVICE && !mffa_engine_device_works(x->engine);
    if (broken) rc = mffa_wrap(&err, rc, "the device does not answer any more");
    mffa_json *answer = rc ? failed_message(&err) : done_message(&j);
    if (rc && j.results) discard(&j);
    mffa_job_done(&j);
    mffa_work_dir_empty(x->folder);
    if (rc == MFFA_EDEVICE || rc == MFFA_ENOMEM) mffa_engine_cool(x->engine); /* what is warm may be what broke, or what was in the way */
    tell_counts(x);
    tell(x, answer);
    mffa_trace_end();
    if (broken) give_up(x, &err);
}

static void tell_ready(executor *x) {
    mffa_json *m = message("ready");
    mffa_json_set(m, "gpus", mffa_json_of_int(mffa_device_gpus()));
    tell(x, m);
}

int mffa_executor_run(int fd, const char *folder, const mffa_config *config) {
    static executor x = {.lock = PTHREAD_MUTEX_INITIALIZER, .arrived = PTHREAD_COND_INITIALIZER};
    mffa_err err = {0};
    pthread_t listener;
    sigset_t all;
    sigfillset(&all); /* an interrupt on the terminal reaches the whole group: the supervisor decides what it means */
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    x.fd = fd, x.folder = folder;
    if (mffa_device_check(config->device, &err) || mffa_engine_open(config, &x.engine, &err)) { /* else every job would fail */
        mffa_log(MFFA_ERROR, "executor.failed", mffa_str("error", err.msg));
        return 1;
    }
    if (pthread_create(&listener, NULL, listen_to_supervisor, &x) != 0) return 1;
    tell_ready(&x);
    for (;;) {
        mffa_json *m = next_job(&x);
        run(&x, m);
        mffa_json_close(m);
    }
}
