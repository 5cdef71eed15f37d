/* A real worker on a real S3 server, started around this program by tests/support/rgw.sh or versitygw.sh: every kind of job with s3:// and
 * file:// mixed, kills, the next job's inputs, metrics. */
#include <errno.h>
#include <signal.h>
#include "core/base/clock.h"
#include "core/base/stats.h"
#include "storage/store.h"
#include "tests/support/http.h"
#include "tests/support/test.h"
#include "tests/worker/world.h"

static world w;
static char s3[96]; /* the part of the bucket that is ours */
static char cache[96];
static pid_t worker;

#define SMALL "side 64 blocks 1 ratio 0.1"

static pid_t start_worker(void) {
    char allowed[160];
    snprintf(allowed, sizeof allowed, "file:///tmp,%s", s3);
    return world_worker(&w, (const char *const[]){"--allowed-urls", allowed, NULL});
}

static const char *result_of(const char *id) {
    static char result[512];
    snprintf(result, sizeof result, "%s", mffa_test_field(&w.redis, id, "result"));
    return result;
}

static void assert_done(const char *id, const char *place) {
    world_wait(&w, id, "done");
    world_check_manifest(&w, id);
    if (strncmp(result_of(id), place, strlen(place)) != 0)
        fail_msg("%s published \"%s\", expected it below \"%s\"", id, result_of(id), place);
}

static void every_kind_of_job_runs_with_any_mix_of_places(void **state) {
    (void)state;
    char file[96], model[512], here_auroc[32];
    snprintf(file, sizeof file, "file://%s", w.dir);
    const char *tuned = world_submit(&w, "finetune dataset %s/dataset output %s/out side 64 epochs 1 batch 8", s3, s3);
    const char *there = world_submit(&w, "fit dataset %s/dataset weights %s/weights output %s/out " SMALL, file, s3, s3);
    const char *mixed = world_submit(&w, "fit dataset %s/dataset output %s/out backbone %s after %s " SMALL, s3, file, tuned, tuned);
    const char *here = world_submit(&w, "fit dataset %s/dataset output %s/out " SMALL, file, file);
    const char *all_s3 =
        world_submit(&w, "evaluate dataset %s/dataset weights %s/weights model %s output %s/out after %s", s3, s3, there, s3, there);
    const char *all_here = world_submit(&w, "evaluate dataset %s/dataset model %s output %s/out after %s", file, here, file, here);
    const char *to_here = world_submit(&w, "evaluate dataset %s/dataset model %s output %s/out after %s", s3, mixed, file, mixed);
    assert_done(tuned, s3), assert_done(there, s3), assert_done(mixed, file), assert_done(here, file);
    assert_done(all_s3, s3), assert_done(all_here, file), assert_done(to_here, file);
    snprintf(model, sizeof model, "%s", result_of(there));
    const char *score = world_submit(&w, "score dataset %s/dataset/test/good model %s output %s/out", s3, model, s3);
    const char *verify = world_submit(&w, "verify dataset %s/dataset weights %s/weights model %s output %s/out", s3, s3, there, file);
    assert_done(score, s3), assert_done(verify, file);
    const char *figures[] = {"image_auroc", "pixel_auroc", "aupro"};
    for (size_t i = 0; i < MFFA_COUNT(figures); i++) { /* to the last digit */
        snprintf(here_auroc, sizeof here_auroc, "%s", mffa_test_field(&w.redis, all_here, figures[i]));
        assert_string_equal(mffa_test_field(&w.redis, all_s3, figures[i]), here_auroc);
    }
    MFFA_AUTO(mffa_json_close_p) mffa_json *j = world_summary(&w, verify);
    assert_true(mffa_json_num(mffa_json_get(j, "largest_difference"), -1) == 0);
}

/* ---- kills ---- */

static mffa_store *open_place(void) {
    mffa_err err = {0};
    mffa_store *s = NULL;
    assert_ok(mffa_store_open(s3, &s, &err));
    return s;
}

static bool is_there(mffa_store *s, const char *key) {
    int64_t bytes = 0;
    return mffa_store_head(s, key, &bytes, NULL, NULL) == MFFA_OK;
}

static bool count(void *ctx, const char *key) {
    (void)key;
    ++*(int *)ctx;
    return false;
}

static mffa_code of_one_run(void *ctx, const mffa_object *o, mffa_err *err) {
    (void)err;
    if (strncmp(o->key + strlen("out/"), ctx, strlen(ctx)) != 0) fail_msg("\"%s\" is not of %s", o->key, (const char *)ctx);
    return MFFA_OK;
}

/* Nothing of other runs, no half upload. */
static void assert_only_run(mffa_store *s, const char *kind, const char *id, const char *run) {
    mffa_err err = {0};
    char under[128], prefix[32];
    int uploads = 0;
    snprintf(under, sizeof under, "out/%s-%s/", kind, id);
    snprintf(prefix, sizeof prefix, "%s-%s/run-%s-", kind, id, run);
    assert_ok(mffa_store_list(s, under, of_one_run, prefix, &err));
    assert_ok(mffa_store_end_uploads(s, under, count, &uploads, &err));
    assert_int_equal(uploads, 0);
}

static void a_killed_fine_tuning_goes_on_from_its_checkpoint_on_s3(void **state) {
    (void)state;
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_place();
    const char *id = world_submit(&w, "finetune dataset %s/dataset output %s/out side 64 epochs 12 batch 8", s3, s3);
    char key[128];
    snprintf(key, sizeof key, "out/finetune-%s/checkpoint/checkpoint.safetensors", id);
    for (int i = 0; !is_there(s, key) && i < 6000; i++) mffa_sleep_ms(20);
    assert_int_equal(kill(world_executor(worker), SIGKILL), 0);
    assert_done(id, s3);
    assert_string_equal(mffa_test_field(&w.redis, id, "run"), "2");
    MFFA_AUTO(mffa_json_close_p) mffa_json *j = world_summary(&w, id);
    assert_in_range(mffa_json_int(mffa_json_get(j, "resumed_epoch"), 0), 1, 12);
    assert_false(is_there(s, key));
    assert_only_run(s, "finetune", id, "2");
}

static void a_retried_job_never_mixes_with_its_killed_run(void **state) {
    (void)state;
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_place();
    const char *id = world_submit(&w, "pipeline dataset %s/dataset output %s/out psg off heatmaps both " SMALL, s3, s3);
    char fit[64], evaluate[64];
    assert_int_equal(sscanf(id, "%63s %63s", fit, evaluate), 2);
    world_wait_phase(&w, fit, "features");
    assert_int_equal(kill(world_executor(worker), SIGKILL), 0);
    assert_done(fit, s3);
    assert_string_equal(mffa_test_field(&w.redis, fit, "run"), "2");
    assert_only_run(s, "fit", fit, "2");
    assert_done(evaluate, s3);
    assert_only_run(s, "evaluate", evaluate, mffa_test_field(&w.redis, evaluate, "run"));
}

/* ---- the next job, numbers ---- */

static const char *log_of_worker(void) {
    static char path[96];
    snprintf(path, sizeof path, "%s/worker-%d.log", w.dir, w.workers - 1);
    return path;
}

static double says(const char *series) {
    static mffa_buf page;
    assert_int_equal(mffa_test_http(mffa_test_http_port(log_of_worker()), "GET", "/metrics", &page), 200);
    return mffa_test_sample(&page, series);
}

static bool log_has(const char *a, const char *b) {
    char command[512];
    snprintf(command, sizeof command, "grep -F '%s' '%s' | grep -qF '%s'", a, log_of_worker(), b);
    return system(command) == 0;
}

static void the_next_jobs_pictures_come_while_this_one_computes(void **state) {
    (void)state;
    char job[96];
    world_shell("rm -rf '%s'", cache); /* what earlier tests fetched */
    const char *now = world_submit(&w, "fit dataset file://%s/dataset output file://%s/out " SMALL, w.dir, w.dir);
    world_wait_phase(&w, now, "features");
    assert_int_equal(kill(world_executor(worker), SIGSTOP), 0); /* it computes, for as long as this takes */
    const char *next = world_submit(&w, "fit dataset %s/dataset output %s/out " SMALL, s3, s3);
    snprintf(job, sizeof job, "\"job\":\"%s\"", next);
    for (int i = 0; !log_has("prefetch.done", job) && i < 6000; i++) mffa_sleep_ms(20);
    assert_true(log_has("prefetch.done", job) && log_has(job, "whole"));
    assert_string_equal(mffa_test_field(&w.redis, next, "state"), "queued"); /* peeked at, not claimed */
    assert_string_equal(mffa_test_field(&w.redis, now, "state"), "running");
    double got = says("mffa_s3_requests_total{operation=\"get\",outcome=\"ok\"}"), hits = says("mffa_cache_lookups_total{result=\"hit\"}");
    assert_true(got >= 24);
    assert_int_equal(kill(world_executor(worker), SIGCONT), 0);
    assert_done(now, "file://");
    assert_done(next, s3);
    assert_true(says("mffa_s3_requests_total{operation=\"get\",outcome=\"ok\"}") == got); /* not one picture twice */
    assert_true(says("mffa_cache_lookups_total{result=\"hit\"}") >= hits + 24);
}

static void storage_is_measured(void **state) {
    (void)state;
    MFFA_AUTO(mffa_buf_done) mffa_buf page = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf table = {0};
    assert_true(says("mffa_s3_requests_total{operation=\"put_part\",outcome=\"ok\"}") > 0 ||
                says("mffa_s3_requests_total{operation=\"put\",outcome=\"ok\"}") > 0);
    assert_true(says("mffa_s3_request_duration_seconds_count{operation=\"list\"}") > 0);
    assert_true(says("mffa_s3_bytes_total{direction=\"sent\"}") > 0 && says("mffa_s3_bytes_total{direction=\"received\"}") > 0);
    assert_true(says("mffa_cache_bytes_total{what=\"hit\"}") > 0 && says("mffa_cache_bytes_total{what=\"added\"}") > 0);
    assert_int_equal(mffa_test_http(mffa_test_http_port(log_of_worker()), "GET", "/metrics", &page), 200);
    mffa_test_promtool(&page);
    mffa_stats_table(&table);
    int found = 0;
    for (const char *line = strstr(mffa_buf_text(&table), "\n| `mffa_"); line; line = strstr(line + 1, "\n| `mffa_")) {
        char name[128] = "", type[160];
        assert_int_equal(sscanf(line, "\n| `%127[a-z0-9_]`", name), 1);
        if (strncmp(name, "mffa_s3_", 8) != 0 && strncmp(name, "mffa_cache_", 11) != 0) continue;
        snprintf(type, sizeof type, "\n# TYPE %s ", name);
        if (!strstr(mffa_buf_text(&page), type)) fail_msg("the worker does not serve %s", name);
        found++;
    }
    assert_int_equal(found, 5);
}

/* ---- */

static void set_up_s3(void) {
    mffa_err err = {0};
    mffa_config c = {0};
    setenv("MFFA_S3_ENDPOINT", getenv("S3_ENDPOINT"), 1);
    setenv("MFFA_S3_REGION", getenv("S3_REGION"), 1);
    setenv("MFFA_S3_PART_BYTES", "5242880", 1);
    setenv("AWS_ACCESS_KEY_ID", getenv("S3_OWNER_KEY"), 1);
    setenv("AWS_SECRET_ACCESS_KEY", getenv("S3_OWNER_SECRET"), 1);
    setenv("MFFA_LISTEN", "127.0.0.1:0", 1);
    snprintf(s3, sizeof s3, "s3://%s/plant", getenv("S3_BUCKET"));
    snprintf(cache, sizeof cache, "%s/work/cache", w.dir);
    assert_ok(mffa_config_load_env(&c, MFFA_WORKER, &err));
    assert_ok(mffa_store_setup(&c, w.dir, &err));
    mffa_config_done(&c);
}

static int start(void **state) {
    (void)state;
    world_open(&w, 24, 64);
    set_up_s3();
    world_shell("'%s' put '%s/dataset' %s/dataset >/dev/null && '%s' put '%s/weights' %s/weights >/dev/null", MFFA_TEST_CTL, w.dir, s3,
                MFFA_TEST_CTL, w.dir, s3);
    worker = start_worker();
    return 0;
}

static int stop(void **state) {
    (void)state;
    int code = world_stop(worker);
    mffa_store_teardown();
    world_close(&w);
    return code;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_job_runs_with_any_mix_of_places),
        cmocka_unit_test(a_killed_fine_tuning_goes_on_from_its_checkpoint_on_s3),
        cmocka_unit_test(a_retried_job_never_mixes_with_its_killed_run),
        cmocka_unit_test(the_next_jobs_pictures_come_while_this_one_computes),
        cmocka_unit_test(storage_is_measured),
    };
    if (!getenv("S3_ENDPOINT")) {
        printf("skipped: there is no S3 server; tests/support/rgw.sh run %s starts one\n", program_invocation_name);
        return MFFA_TEST_SKIP;
    }
    return cmocka_run_group_tests_name(getenv("S3_SERVER"), tests, start, stop);
}
