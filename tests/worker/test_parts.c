/* Small parts of the supervisor: messages, progress, phases, the work folder. */
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include "tests/support/test.h"
#include "worker/memory.h"
#include "worker/meter.h"
#include "worker/timings.h"
#include "worker/wire.h"
#include "worker/work_dir.h"

static void *send_long_text(void *ctx) {
    int fd = *(int *)ctx;
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    for (int i = 0; i < 200000; i++) mffa_buf_puts(&text, "0123456789");
    MFFA_AUTO(mffa_json_close_p) mffa_json *m = mffa_json_object();
    mffa_json_set(m, "text", mffa_json_of_text(mffa_buf_text(&text)));
    mffa_code rc = mffa_wire_send(fd, m, NULL);
    close(fd);
    return rc ? (void *)1 : NULL;
}

static void a_message_larger_than_the_socket_arrives_whole(void **state) {
    (void)state;
    mffa_err err = {0};
    int pair[2];
    pthread_t sender;
    void *failed = NULL;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    assert_int_equal(pthread_create(&sender, NULL, send_long_text, &pair[1]), 0);
    MFFA_AUTO(mffa_json_close_p) mffa_json *m = NULL;
    assert_ok(mffa_wire_receive(pair[0], &m, &err));
    pthread_join(sender, &failed);
    assert_null(failed);
    assert_int_equal(strlen(mffa_json_text(mffa_json_get(m, "text"), "")), 2000000);
    mffa_json *end = NULL;
    assert_int_equal(mffa_wire_receive(pair[0], &end, &err), MFFA_ENOTFOUND);
    close(pair[0]);
}

static void half_a_message_and_a_lying_length_are_refused(void **state) {
    (void)state;
    const struct { const char *bytes; size_t len; } bad[] = {{"\0\0", 2}, {"\0\0\0\x05{}", 6}, {"\xFF\xFF\xFF\xFF{}", 6}};
    for (size_t i = 0; i < MFFA_COUNT(bad); i++) {
        mffa_err err = {0};
        int pair[2];
        mffa_json *m = NULL;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        assert_int_equal(write(pair[1], bad[i].bytes, bad[i].len), bad[i].len);
        close(pair[1]);
        assert_int_equal(mffa_wire_receive(pair[0], &m, &err), MFFA_EIO);
        close(pair[0]);
    }
}

static void sending_to_a_process_that_is_gone_is_an_error(void **state) {
    (void)state;
    mffa_err err = {0};
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    close(pair[1]);
    MFFA_AUTO(mffa_json_close_p) mffa_json *m = mffa_json_object();
    assert_int_equal(mffa_wire_send(pair[0], m, &err), MFFA_EIO);
    close(pair[0]);
}

static void rate_and_time_left_count_from_the_beginning_of_the_phase(void **state) {
    (void)state;
    mffa_meter m = {0};
    mffa_beat b = mffa_meter_beat(&m, 0);
    assert_string_equal(b.phase, "");
    assert_int_equal(b.eta_s, -1);
    mffa_meter_note(&m, "features", 0, 100, 1000);
    mffa_meter_note(&m, "features", 20, 100, 6000);
    b = mffa_meter_beat(&m, 6000);
    assert_float_equal(b.rate, 4, 1e-9);
    assert_int_equal(b.eta_s, 20);
    mffa_meter_note(&m, "coreset", 5, 10, 7000);
    b = mffa_meter_beat(&m, 8000);
    assert_string_equal(b.phase, "coreset");
    assert_float_equal(b.rate, 0, 0);
    assert_int_equal(b.eta_s, -1);
}

static void repeated_progress_is_no_progress(void **state) {
    (void)state;
    mffa_meter m = {0};
    mffa_meter_note(&m, "bank", 3, 10, 1000);
    mffa_meter_note(&m, "bank", 3, 10, 9000);
    assert_int_equal(m.moved_ms, 1000);
}

static void phases_are_timed_one_after_the_other(void **state) {
    (void)state;
    mffa_timings t = {0};
    mffa_timings_enter(&t, "prepare", 100);
    mffa_timings_enter(&t, "score", 150);
    mffa_timings_enter(&t, "score", 400);
    mffa_timings_enter(&t, "publish", 450);
    mffa_timings_end(&t, 460);
    assert_int_equal(t.count, 3);
    assert_int_equal(t.list[0].ms, 50);
    assert_int_equal(t.list[1].ms, 300);
    assert_int_equal(t.list[2].ms, 10);
    assert_int_equal(mffa_timings_total_ms(&t), 360);
}

static void the_folder_of_a_dead_worker_is_removed_and_that_of_a_living_one_stays(void **state) {
    (void)state;
    mffa_err err = {0};
    char base[] = "/tmp/mffa-work-XXXXXX", file[256], dead[160], command[64];
    assert_non_null(mkdtemp(base));
    snprintf(dead, sizeof dead, "%s/mffa-worker-0123456789abcdef", base);
    snprintf(file, sizeof file, "%s/lock", dead);
    assert_int_equal(mkdir(dead, 0700), 0);
    fclose(fopen(file, "w"));
    mffa_work_dir first = {.lock = -1}, second = {.lock = -1};
    assert_ok(mffa_work_dir_open(base, &first, &err));
    assert_int_equal(access(dead, F_OK), -1);
    assert_ok(mffa_work_dir_open(base, &second, &err));
    assert_int_equal(access(first.path, F_OK), 0);
    mffa_work_dir_close(&first);
    mffa_work_dir_close(&second);
    snprintf(command, sizeof command, "rmdir '%s'", base); /* fails if anything is left */
    assert_int_equal(system(command), 0);
}

static void the_peak_of_memory_sees_what_was_given_back_and_starts_anew(void **state) {
    (void)state;
    enum { MANY = 64 << 20 };
    mffa_memory_peak_reset();
    int64_t before = mffa_memory_peak_bytes();
    assert_true(before > 0);
    void *block = mmap(NULL, MANY, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    assert_ptr_not_equal(block, MAP_FAILED);
    munmap(block, MANY);
    assert_true(mffa_memory_peak_bytes() >= before + MANY / 2);
    mffa_memory_peak_reset();
    assert_true(mffa_memory_peak_bytes() < before + MANY / 2);
}

static void the_memory_limit_is_no_more_than_the_machine_has(void **state) {
    (void)state;
    int64_t limit = mffa_memory_limit_bytes();
    assert_true(limit > 1 << 20);
    assert_true(limit <= (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_larger_than_the_socket_arrives_whole),
        cmocka_unit_test(half_a_message_and_a_lying_length_are_refused),
        cmocka_unit_test(sending_to_a_process_that_is_gone_is_an_error),
        cmocka_unit_test(rate_and_time_left_count_from_the_beginning_of_the_phase),
        cmocka_unit_test(repeated_progress_is_no_progress),
        cmocka_unit_test(phases_are_timed_one_after_the_other),
        cmocka_unit_test(the_folder_of_a_dead_worker_is_removed_and_that_of_a_living_one_stays),
        cmocka_unit_test(the_peak_of_memory_sees_what_was_given_back_and_starts_anew),
        cmocka_unit_test(the_memory_limit_is_no_more_than_the_machine_has),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
