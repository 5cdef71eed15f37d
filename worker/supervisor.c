#include "worker/supervisor.h"

#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/rng.h"
#include "core/base/stats.h"
#include "scheduler/endpoint.h"
#include "scheduler/health.h"
#include "worker/child.h"
#include "worker/gather.h"
#include "worker/held_job.h"
#include "worker/stop.h"
#include "worker/wire.h"
#include "worker/work_dir.h"

enum { IDLE_MS = 1000, RESTART_MS = 2000, READY_MS = 60000 };

typedef struct supervisor {
    const mffa_config *config;
    char *const *args;
    mffa_queue *queue;
    mffa_prefetch *prefetch;
    mffa_endpoint *endpoint; /* NULL: MFFA_LISTEN is not set */
    mffa_child child;
    mffa_work_dir work;
    char id[128], host[65];
    bool known; /* to the queue, in this life */
    char *folder; /* the executor's part of work */
} supervisor;

static void supervisor_done(supervisor *s) {
    mffa_prefetch_close(s->prefetch);
    mffa_endpoint_close(s->endpoint);
    mffa_child_end(&s->child, NULL);
    mffa_queue_close(s->queue);
    mffa_work_dir_close(&s->work);
    free(s->folder);
}

static mffa_code name_worker(supervisor *s, mffa_err *err) {
    char chance[9];
    mffa_code rc = mffa_random_hex(chance, 4, err);
    if (gethostname(s->host, sizeof s->host - 1) != 0) snprintf(s->host, sizeof s->host, "localhost");
    if (s->config->worker_id) snprintf(s->id, sizeof s->id, "%s", s->config->worker_id);
    else snprintf(s->id, sizeof s->id, "%.64s-%d-%s", s->host, (int)getpid(), chance);
    return rc;
}

static mffa_code open_queue(supervisor *s, mffa_err *err) {
    mffa_queue_options o = mffa_queue_options_of(s->config);
    MFFA_AUTO(mffa_free_p) char *warning = NULL;
    mffa_code rc = mffa_queue_open(&o, &s->queue, err);
    if (!rc) rc = mffa_queue_check_server(s->queue, &warning, err);
    if (!rc && warning) mffa_log(MFFA_WARN, "redis.risky", mffa_str("text", warning));
    return rc ? rc : mffa_queue_load_library(s->queue, err);
}

static mffa_code open_supervisor(supervisor *s, mffa_err *err) {
    mffa_code rc = name_worker(s, err);
    mffa_gather_begin(s->config);
    if (!rc) rc = mffa_endpoint_open(s->config->listen, MFFA_WORKER, mffa_gather, NULL, &s->endpoint, err);
    if (!rc) rc = mffa_prefetch_open(s->config, &s->prefetch, err);
    if (!rc) rc = open_queue(s, err);
    if (!rc) rc = mffa_work_dir_open(s->config->work_dir, &s->work, err);
    if (rc) return rc;
    if (asprintf(&s->folder, "%s/job", s->work.path) < 0) return s->folder = NULL, mffa_fail(err, MFFA_ENOMEM, "out of memory");
    if (mkdir(s->folder, 0700) != 0) return mffa_fail(err, MFFA_EIO, "cannot make \"%s\"", s->folder);
    return MFFA_OK;
}

static bool child_alive(const mffa_child *c) {
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    return c->pid && poll(&p, 1, 0) == 0; /* between jobs it says nothing: news means that it ended */
}

/* Until it says that it is ready: a job that is claimed can start at once. */
static mffa_code start_child(supervisor *s, mffa_err *err) {
    MFFA_AUTO(mffa_json_close_p) mffa_json *hello = NULL;
    char how[128] = "";
    mffa_work_dir_empty(s->folder);
    mffa_code rc = mffa_child_start(&s->child, s->folder, s->args, err);
    if (rc) return rc;
    struct pollfd p[2] = {{.fd = s->child.fd, .events = POLLIN}, {.fd = mffa_stop_fd(), .events = POLLIN}};
    if (poll(p, 2, READY_MS) > 0 && p[0].revents && mffa_wire_receive(s->child.fd, &hello, NULL) == MFFA_OK) {
        mffa_log(MFFA_INFO, "executor.started", mffa_int("pid", s->child.pid));
        mffa_stat_add(MFFA_STAT_EXECUTOR_STARTS, NULL, NULL, 1);
        mffa_gather_executor(s->child.pid, mffa_json_int(mffa_json_get(hello, "gpus"), 0) > 0);
        return MFFA_OK;
    }
    mffa_child_end(&s->child, how);
    return mffa_fail(err, MFFA_EIO, "the executor %s before it was ready", how);
}

/* One that ended is started again, for as long as it takes. */
static bool executor_ready(supervisor *s) {
    mffa_err err = {0};
    char how[128];
    if (child_alive(&s->child)) return true;
    if (s->child.pid) {
        mffa_child_end(&s->child, how);
        mffa_log(MFFA_WARN, "executor.ended", mffa_str("how", how));
    }
    if (start_child(s, &err) == MFFA_OK) return true;
    mffa_log(MFFA_ERROR, "executor.failed", mffa_str("error", err.msg));
    mffa_health_not_ready(err.msg);
    mffa_stop_sleep(RESTART_MS);
    return false;
}

/* One job if there is one; false when this worker is to end. */
static bool work_once(supervisor *s, int64_t *jobs) {
    const mffa_config *c = s->config;
    mffa_worker_info who = {.id = s->id, .pool = c->pool, .kinds = c->kinds, .host = s->host, .device = c->device, .version = MFFA_VERSION,
                            .fresh = !s->known};
    mffa_holding h = {0};
    mffa_err err = {0};
    bool got = false, drain = false;
    if (!executor_ready(s)) return true;
    mffa_code rc = mffa_holding_claim(s->queue, &who, c->beat_ms, &h, &got, &err);
    if (rc) {
        mffa_log(MFFA_INFO, "worker.drained", mffa_str("text", err.msg));
        return false;
    }
    s->known = true;
    if (!got) {
        if (!mffa_stop_asked() && mffa_queue_wait(s->queue, c->pool, IDLE_MS, &err)) mffa_stop_sleep(IDLE_MS);
        return true;
    }
    mffa_stat_set(MFFA_STAT_BUSY, NULL, NULL, 1);
    mffa_prefetch_rest(s->prefetch);
    mffa_held_job_run(&h, &s->child, c, s->prefetch, &drain);
    mffa_stat_set(MFFA_STAT_BUSY, NULL, NULL, 0);
    mffa_holding_done(&h);
    ++*jobs;
    return !drain;
}

int mffa_supervisor_run(const mffa_config *config, char *const args[]) {
    MFFA_AUTO(supervisor_done) supervisor s = {.config = config, .args = args, .work = {.lock = -1}};
    mffa_err err = {0};
    int64_t jobs = 0;
    mffa_code rc = mffa_stop_open(&err);
    if (!rc) rc = open_supervisor(&s, &err);
    if (!rc) rc = start_child(&s, &err); /* a device that is not here ends the worker: a pod or a one-job worker would wait for ever */
    if (rc && !mffa_stop_asked()) {
        mffa_log(MFFA_ERROR, "worker.failed", mffa_str("error", err.msg));
        return 1;
    }
    if (!rc) mffa_log(MFFA_INFO, "worker.started", mffa_str("worker", s.id), mffa_str("pool", config->pool), mffa_str("kinds", config->kinds));
    while (!rc && !mffa_stop_asked() && work_once(&s, &jobs) && (config->once == 0 || jobs < config->once)) continue;
    mffa_log(MFFA_INFO, "worker.stopped", mffa_str("worker", s.id), mffa_int("jobs", jobs));
    return 0;
}
