/* A real run as monitoring sees it: metrics of scheduler and worker, health, the trace of a job in logs and manifest. */
#include <signal.h>
#include "core/base/clock.h"
#include "core/base/stats.h"
#include "storage/store.h"
#include "tests/support/http.h"
#include "tests/support/test.h"
#include "tests/worker/world.h"
#include "worker/manifest.h"

static world w;
static pid_t worker;
static char worker_log[128], scheduler_log[128];
static mffa_buf page;

#define TRACE_ID "4bf92f3577b34da6a3ce929d0e0e4736"
#define TRACE "00-" TRACE_ID "-00f067aa0ba902b7-01"

#define wait_for(condition)                                          \
    do {                                                             \
        int tries_ = 0;                                              \
        while (!(condition) && ++tries_ < 3000) mffa_sleep_ms(10);   \
        if (tries_ == 3000) fail_msg("never came true: " #condition); \
    } while (0)

static const mffa_buf *scrape(const char *log) {
    assert_int_equal(mffa_test_http(mffa_test_http_port(log), "GET", "/metrics", &page), 200);
    return &page;
}

static double worker_says(const char *series) { return mffa_test_sample(scrape(worker_log), series); }
static double scheduler_says(const char *series) { return mffa_test_sample(scrape(scheduler_log), series); }

static char fit[64], evaluate[64];

static void a_job_is_counted_where_it_ran(void **state) {
    (void)state;
    wait_for(mffa_test_http(mffa_test_http_port(worker_log), "GET", "/readyz", &page) == 200);
    const char *ids = world_submit(
        &w, "pipeline dataset file://%s/dataset output file://%s/out psg off side 64 blocks 1 ratio 0.1 trace " TRACE, w.dir, w.dir);
    assert_int_equal(sscanf(ids, "%63s %63s", fit, evaluate), 2);
    world_wait(&w, evaluate, "done");
    wait_for(worker_says("mffa_worker_runs_total{kind=\"evaluate\",outcome=\"done\"}") == 1);
    assert_true(worker_says("mffa_worker_runs_total{kind=\"fit\",outcome=\"done\"}") == 1);
    assert_true(worker_says("mffa_worker_runs_total{kind=\"fit\",outcome=\"failed\"}") == 0);
    assert_true(worker_says("mffa_worker_pictures_scored_total{kind=\"evaluate\"}") == 7);
    assert_true(worker_says("mffa_worker_run_duration_seconds_count{kind=\"fit\"}") == 1);
    assert_true(worker_says("mffa_worker_run_duration_seconds_sum{kind=\"fit\"}") > 0);
    assert_true(worker_says("mffa_worker_wait_duration_seconds_count{kind=\"fit\"}") == 1);
    assert_true(worker_says("mffa_worker_executor_resident_memory_bytes") > 1e7);
    assert_true(worker_says("mffa_worker_executor_starts_total") == 1);
    assert_true(worker_says("mffa_worker_busy") == 0);
    assert_true(worker_says("mffa_worker_info{pool=\"default\",device=\"auto\"}") == 1);
    assert_true(worker_says("mffa_worker_last_heard_timestamp_seconds") > 1.7e9);
    wait_for(scheduler_says("mffa_jobs_ended_total{kind=\"evaluate\",state=\"done\"}") == 1);
    assert_true(scheduler_says("mffa_jobs_submitted_total") == 2);
    assert_true(scheduler_says("mffa_reap_last_success_timestamp_seconds") > 1.7e9);
    mffa_test_promtool(scrape(worker_log));
    mffa_test_promtool(scrape(scheduler_log));
}

/* Lines of a log that hold all these texts. */
static int lines_with(const char *log, const char *a, const char *b) {
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    int n = 0;
    assert_int_equal(mffa_buf_read_file(&text, log, 1 << 24, NULL), MFFA_OK);
    char *save = NULL;
    for (char *line = strtok_r(text.ptr, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) n += strstr(line, a) && strstr(line, b);
    return n;
}

static void a_jobs_trace_stands_in_its_log_lines_and_in_the_manifest(void **state) {
    (void)state;
    char job[96];
    mffa_err err = {0};
    MFFA_AUTO(mffa_manifest_done) mffa_manifest m = {0};
    mffa_store *s = NULL;
    snprintf(job, sizeof job, "\"job\":\"%s\"", evaluate);
    assert_true(lines_with(worker_log, job, "") >= 2); /* started, done */
    assert_int_equal(lines_with(worker_log, job, "\"trace_id\":\"" TRACE_ID "\""), lines_with(worker_log, job, ""));
    assert_ok(mffa_store_open(mffa_test_field(&w.redis, evaluate, "result"), &s, &err));
    assert_ok(mffa_manifest_read(s, "", &m, &err));
    mffa_store_close(s);
    assert_string_equal(m.trace, TRACE);
    const char *id = world_submit(&w, "score dataset file://%s/dataset/test/good model %s output file://%s/out", w.dir, fit, w.dir);
    world_wait(&w, id, "done"); /* one without a trace */
    snprintf(job, sizeof job, "\"job\":\"%s\"", id);
    wait_for(lines_with(worker_log, job, "job.done") == 1);
    assert_int_equal(lines_with(worker_log, job, "trace_id"), 0);
}

static void losing_the_executor_and_redis_shows(void **state) {
    (void)state;
    world_kill(world_executor(worker));
    wait_for(worker_says("mffa_worker_executor_starts_total") == 2);
    mffa_test_redis_kill(&w.redis);
    wait_for(mffa_test_http(mffa_test_http_port(worker_log), "GET", "/readyz", &page) == 503);
    assert_int_equal(mffa_test_http(mffa_test_http_port(worker_log), "GET", "/healthz", &page), 200);
    wait_for(worker_says("mffa_redis_up") == 0);
    assert_true(worker_says("mffa_redis_failures_total") >= 1);
    mffa_test_redis_restart(&w.redis);
    wait_for(mffa_test_http(mffa_test_http_port(worker_log), "GET", "/readyz", &page) == 200);
    wait_for(worker_says("mffa_redis_up") == 1);
}

static void a_worker_whose_gpu_is_not_here_says_so_and_ends(void **state) {
    (void)state;
    char log[160], work[160];
    snprintf(log, sizeof log, "%s/no-gpu.log", w.dir), snprintf(work, sizeof work, "%s/work", w.dir);
    pid_t lost = world_spawn(&w, "no-gpu.log", (char *[]){(char[]){MFFA_TEST_WORKER}, "--redis-url", w.redis.url, "--work-dir", work,
                                                         "--device", "cuda:100", NULL});
    assert_int_equal(world_wait_exit(lost), 1);
    assert_true(lines_with(log, "executor.failed", "\"cuda:100\\\" is not here: this program finds") == 1);
    assert_true(lines_with(log, "worker.failed", "before it was ready") == 1);
}

/* What alerts and dashboards may name is what a real run shows. */
static void every_metric_of_the_table_is_served(void **state) {
    (void)state;
    MFFA_AUTO(mffa_buf_done) mffa_buf table = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf both = {0};
    mffa_test_fcall(&w.redis, "pause kind score");
    wait_for(scheduler_says("mffa_queue_paused{what=\"kind\",name=\"score\"}") == 1);
    mffa_buf_puts(&both, mffa_buf_text(scrape(scheduler_log)));
    mffa_buf_puts(&both, mffa_buf_text(scrape(worker_log)));
    mffa_stats_table(&table);
    int found = 0;
    for (const char *line = strstr(mffa_buf_text(&table), "\n| `"); line; line = strstr(line + 1, "\n| `"), found++) {
        char name[128] = "", type[160];
        assert_int_equal(sscanf(line, "\n| `%127[a-z0-9_]`", name), 1);
        if (strncmp(name, "mffa_s3_", 8) == 0 || strncmp(name, "mffa_cache_", 11) == 0) continue; /* test_s3_jobs: nothing here is on S3 */
        snprintf(type, sizeof type, "\n# TYPE %s ", name);
        bool gpu = strncmp(name, "mffa_worker_gpu_", 16) == 0; /* test_gpu.c has these */
        if (!gpu && !strstr(mffa_buf_text(&both), type)) fail_msg("no program serves %s", name);
    }
    assert_int_equal(found, MFFA_STAT_COUNT);
    mffa_test_fcall(&w.redis, "resume kind score");
}

static int start(void **state) {
    (void)state;
    setenv("MFFA_LISTEN", "127.0.0.1:0", 1);
    world_open(&w, 6, 64);
    snprintf(worker_log, sizeof worker_log, "%s/worker-0.log", w.dir);
    snprintf(scheduler_log, sizeof scheduler_log, "%s/scheduler.log", w.dir);
    worker = world_worker(&w, NULL);
    return 0;
}

static int stop(void **state) {
    (void)state;
    mffa_buf_done(&page);
    int code = world_stop(worker);
    world_close(&w);
    return code;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_is_counted_where_it_ran),
        cmocka_unit_test(a_jobs_trace_stands_in_its_log_lines_and_in_the_manifest),
        cmocka_unit_test(losing_the_executor_and_redis_shows),
        cmocka_unit_test(a_worker_whose_gpu_is_not_here_says_so_and_ends),
        cmocka_unit_test(every_metric_of_the_table_is_served),
    };
    return cmocka_run_group_tests_name("metrics", tests, start, stop);
}
