#include "core/base/stats.h"

#include <pthread.h>
#include <time.h>
#include "tests/support/test.h"

static const char *page_of(mffa_program who) {
    static mffa_buf page;
    mffa_buf_clear(&page);
    mffa_stats_write(who, &page);
    return mffa_buf_text(&page);
}

static int clear(void **state) {
    (void)state;
    for (int what = 0; what < MFFA_STAT_COUNT; what++) mffa_stat_clear(what);
    return 0;
}

static void counters_add_up_and_gauges_are_set(void **state) {
    (void)state;
    mffa_stat_add(MFFA_STAT_RUNS, "fit", "done", 1);
    mffa_stat_add(MFFA_STAT_RUNS, "fit", "done", 2);
    mffa_stat_set(MFFA_STAT_BUSY, NULL, NULL, 1);
    mffa_stat_set(MFFA_STAT_BUSY, NULL, NULL, 0);
    assert_non_null(strstr(page_of(MFFA_WORKER), "\n# TYPE mffa_worker_runs_total counter\n"
                                                 "mffa_worker_runs_total{kind=\"fit\",outcome=\"done\"} 3\n"));
    assert_non_null(strstr(page_of(MFFA_WORKER), "\n# TYPE mffa_worker_busy gauge\nmffa_worker_busy 0\n"));
    assert_null(strstr(page_of(MFFA_SCHEDULER), "mffa_worker_"));
}

static void series_stand_in_order_and_a_label_is_escaped(void **state) {
    (void)state;
    mffa_stat_set(MFFA_STAT_POOL_JOBS, "z", "queued", 1);
    mffa_stat_set(MFFA_STAT_POOL_JOBS, "a\"\\\n", "running", 2);
    mffa_stat_set(MFFA_STAT_POOL_JOBS, "a\"\\\n", "queued", 3);
    assert_non_null(strstr(page_of(MFFA_SCHEDULER), "mffa_pool_jobs{pool=\"a\\\"\\\\\\n\",state=\"queued\"} 3\n"
                                                    "mffa_pool_jobs{pool=\"a\\\"\\\\\\n\",state=\"running\"} 2\n"
                                                    "mffa_pool_jobs{pool=\"z\",state=\"queued\"} 1\n"));
    mffa_stat_clear(MFFA_STAT_POOL_JOBS);
    assert_null(strstr(page_of(MFFA_SCHEDULER), "mffa_pool_jobs"));
}

static void a_histogram_counts_upwards_and_a_value_on_an_edge_is_below_it(void **state) {
    (void)state;
    mffa_stat_observe(MFFA_STAT_RUN_SECONDS, "fit", 0.1);
    mffa_stat_observe(MFFA_STAT_RUN_SECONDS, "fit", 0.6);
    mffa_stat_observe(MFFA_STAT_RUN_SECONDS, "fit", 1e9);
    const char *page = page_of(MFFA_WORKER);
    assert_non_null(strstr(page, "mffa_worker_run_duration_seconds_bucket{kind=\"fit\",le=\"0.1\"} 1\n"
                                 "mffa_worker_run_duration_seconds_bucket{kind=\"fit\",le=\"0.5\"} 1\n"
                                 "mffa_worker_run_duration_seconds_bucket{kind=\"fit\",le=\"1\"} 2\n"));
    assert_non_null(strstr(page, "le=\"+Inf\"} 3\n"));
    assert_non_null(strstr(page, "mffa_worker_run_duration_seconds_count{kind=\"fit\"} 3\n"));
}

static void what_one_process_counted_another_one_shows(void **state) {
    (void)state;
    mffa_stat_add(MFFA_STAT_SCORED, "score", NULL, 5);
    mffa_stat_observe(MFFA_STAT_RUN_SECONDS, "score", 2);
    mffa_stat_set(MFFA_STAT_BUSY, NULL, NULL, 1);
    MFFA_AUTO(mffa_json_close_p) mffa_json *taken = mffa_stats_take();
    assert_non_null(strstr(page_of(MFFA_WORKER), "mffa_worker_pictures_scored_total{kind=\"score\"} 0\n"));
    assert_null(mffa_stats_take());
    mffa_stat_add(MFFA_STAT_SCORED, "score", NULL, 2);
    mffa_stats_merge(taken);
    assert_non_null(strstr(page_of(MFFA_WORKER), "mffa_worker_pictures_scored_total{kind=\"score\"} 7\n"));
    assert_non_null(strstr(page_of(MFFA_WORKER), "mffa_worker_run_duration_seconds_bucket{kind=\"score\",le=\"5\"} 1\n"));
    assert_non_null(strstr(page_of(MFFA_WORKER), "mffa_worker_run_duration_seconds_sum{kind=\"score\"} 2\n"));
    assert_non_null(strstr(page_of(MFFA_WORKER), "mffa_worker_busy 1\n"));
}

static void there_is_an_end_to_the_number_of_series(void **state) {
    (void)state;
    char pool[16];
    for (int i = 0; i < 5000; i++) {
        snprintf(pool, sizeof pool, "p%d", i);
        mffa_stat_set(MFFA_STAT_POOL_JOBS, pool, "queued", 1);
    }
    size_t lines = 0;
    for (const char *at = page_of(MFFA_SCHEDULER); (at = strstr(at, "\nmffa_pool_jobs{")); at++) lines++;
    assert_true(lines > 1000 && lines <= 2000);
}

static void *count_many(void *ctx) {
    for (int i = 0; i < 10000; i++) {
        mffa_stat_add(MFFA_STAT_RUNS, ctx, "done", 1);
        if (i % 100 == 0) mffa_stat_observe(MFFA_STAT_RUN_SECONDS, ctx, 1);
    }
    return NULL;
}

static void many_threads_count_while_one_reads(void **state) {
    (void)state;
    pthread_t threads[4];
    static char kinds[2][8] = {"fit", "score"};
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&threads[i], NULL, count_many, kinds[i % 2]), 0);
    for (int i = 0; i < 20; i++) page_of(MFFA_WORKER);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    assert_non_null(strstr(page_of(MFFA_WORKER), "mffa_worker_runs_total{kind=\"fit\",outcome=\"done\"} 20000\n"));
    assert_non_null(strstr(page_of(MFFA_WORKER), "mffa_worker_runs_total{kind=\"score\",outcome=\"done\"} 20000\n"));
}

static void the_process_tells_when_it_began_and_what_it_uses(void **state) {
    (void)state;
    const char *page = page_of(MFFA_SCHEDULER);
    const char *began = strstr(page, "\nprocess_start_time_seconds "), *resident = strstr(page, "\nprocess_resident_memory_bytes ");
    double seconds = began ? atof(strchr(began, ' ')) : 0;
    assert_true(seconds > (double)time(NULL) - 600 && seconds < (double)time(NULL) + 1);
    assert_true(resident && atof(strchr(resident, ' ')) > 1e5);
    assert_non_null(strstr(page, "\n# TYPE process_cpu_seconds_total counter\n"));
}

static void the_table_names_follow_the_conventions(void **state) {
    (void)state;
    MFFA_AUTO(mffa_buf_done) mffa_buf table = {0};
    mffa_stats_table(&table);
    int rows = 0;
    for (const char *line = strstr(mffa_buf_text(&table), "\n| `"); line; line = strstr(line + 1, "\n| `"), rows++) {
        char name[128] = "", type[32] = "";
        assert_int_equal(sscanf(line, "\n| `%127[a-z0-9_]` | %31[a-z]", name, type), 2);
        size_t len = strlen(name);
        bool total = len > 6 && strcmp(name + len - 6, "_total") == 0;
        assert_int_equal(total, strcmp(type, "counter") == 0);
        assert_true(strncmp(name, "mffa_", 5) == 0 || strncmp(name, "process_", 8) == 0);
        assert_null(strstr(name, "_ms"));
    }
    assert_int_equal(rows, MFFA_STAT_COUNT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(counters_add_up_and_gauges_are_set, clear),
        cmocka_unit_test_setup(series_stand_in_order_and_a_label_is_escaped, clear),
        cmocka_unit_test_setup(a_histogram_counts_upwards_and_a_value_on_an_edge_is_below_it, clear),
        cmocka_unit_test_setup(what_one_process_counted_another_one_shows, clear),
        cmocka_unit_test_setup(there_is_an_end_to_the_number_of_series, clear),
        cmocka_unit_test_setup(many_threads_count_while_one_reads, clear),
        cmocka_unit_test(the_process_tells_when_it_began_and_what_it_uses),
        cmocka_unit_test(the_table_names_follow_the_conventions),
    };
    int failed = cmocka_run_group_tests_name("stats", tests, NULL, NULL);
    clear(NULL);
    return failed;
}
