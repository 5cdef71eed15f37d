/* The GPU's numbers, beside a management library of ours (nvml.c, on LD_LIBRARY_PATH). */
#include "core/base/stats.h"
#include "tests/support/test.h"
#include "worker/gather.h"
#include "worker/gpu.h"

/* The memory in use tells which one it is. */
static int64_t used_by(const char *device, const char *visible) {
    mffa_gpu g = {0};
    int64_t used = 0, total = 0;
    if (!mffa_gpu_open(&g, device, visible)) return -1;
    assert_true(mffa_gpu_memory(&g, &used, &total));
    assert_int_equal(total, 80000);
    mffa_gpu_done(&g);
    return used;
}

static void the_settings_gpu_is_asked(void **state) {
    (void)state;
    assert_int_equal(used_by("auto", NULL), 1000);
    assert_int_equal(used_by("cuda:0", NULL), 1000);
    assert_int_equal(used_by("cuda:1", NULL), 2000);
    assert_int_equal(used_by("cuda:2", NULL), -1);
    assert_int_equal(used_by("cpu", NULL), -1);
}

static void visible_devices_are_counted_anew(void **state) {
    (void)state;
    assert_int_equal(used_by("auto", "1"), 2000);
    assert_int_equal(used_by("cuda:1", "1,0"), 1000);
    assert_int_equal(used_by("cuda:1", "GPU-a,GPU-b"), 2000);
    assert_int_equal(used_by("auto", "MIG-c"), 3000);
    assert_int_equal(used_by("cuda:1", "0"), -1);
    assert_int_equal(used_by("auto", ""), -1);
    assert_int_equal(used_by("auto", "-1"), -1);
    assert_int_equal(used_by("auto", "GPU-unknown"), -1);
}

static void a_part_of_a_gpu_tells_memory_alone(void **state) {
    (void)state;
    mffa_gpu g = {0};
    double busy = -1;
    assert_true(mffa_gpu_open(&g, "auto", "0"));
    assert_true(mffa_gpu_busy(&g, &busy));
    assert_true(busy == .25);
    mffa_gpu_done(&g);
    assert_true(mffa_gpu_open(&g, "auto", "MIG-c"));
    assert_false(mffa_gpu_busy(&g, &busy));
    mffa_gpu_done(&g);
    assert_false(mffa_gpu_busy(&g, &busy));
}

static mffa_buf text;

static const char *page(void) {
    mffa_gather(NULL);
    mffa_buf_clear(&text);
    mffa_stats_write(MFFA_WORKER, &text);
    return mffa_buf_text(&text);
}

static void metrics_have_it_where_the_executor_does(void **state) {
    (void)state;
    static mffa_config c;
    mffa_err err = {0};
    unsetenv("CUDA_VISIBLE_DEVICES");
    assert_ok(mffa_config_load_env(&c, MFFA_WORKER, &err));
    mffa_gather_begin(&c);
    mffa_gather_executor(getpid(), false);
    assert_null(strstr(page(), "mffa_worker_gpu"));
    mffa_gather_executor(getpid(), true);
    assert_true(strstr(page(), "\nmffa_worker_gpu_busy_ratio 0.25\n") && strstr(page(), "\nmffa_worker_gpu_memory_used_bytes 1000\n"));
    assert_non_null(strstr(page(), "\nmffa_worker_gpu_memory_total_bytes 80000\n"));
    mffa_buf_done(&text);
    mffa_config_done(&c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_settings_gpu_is_asked),
        cmocka_unit_test(visible_devices_are_counted_anew),
        cmocka_unit_test(a_part_of_a_gpu_tells_memory_alone),
        cmocka_unit_test(metrics_have_it_where_the_executor_does),
    };
    return cmocka_run_group_tests_name("gpu", tests, NULL, NULL);
}
