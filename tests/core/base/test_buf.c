#include "core/base/buf.h"

#include <fcntl.h>
#include <sys/stat.h>
#include "tests/support/test.h"

static void a_fresh_buffer_is_empty_text(void **state) {
    (void)state;
    mffa_buf b = {0};
    mffa_err err = {0};
    assert_string_equal(mffa_buf_text(&b), "");
    assert_int_equal(mffa_buf_span(&b).len, 0);
    assert_ok(mffa_buf_check(&b, &err));
    mffa_buf_done(&b);
    mffa_buf_done(NULL);
}

static void pieces_follow_each_other_and_may_hold_nul(void **state) {
    (void)state;
    MFFA_AUTO(mffa_buf_done) mffa_buf b = {0};
    mffa_buf_puts(&b, "ab");
    mffa_buf_put(&b, "\0c", 2);
    mffa_buf_put(&b, NULL, 0);
    mffa_buf_putf(&b, "%d-%s", 7, "x");
    assert_int_equal(b.len, 7);
    assert_memory_equal(b.ptr, "ab\0c7-x", 8); /* and a NUL behind the length */
}

static void growing_past_any_capacity_keeps_all_bytes(void **state) {
    (void)state;
    MFFA_AUTO(mffa_buf_done) mffa_buf b = {0};
    for (int i = 0; i < 100000; i++) mffa_buf_putf(&b, "%c", 'a' + i % 26);
    assert_int_equal(b.len, 100000);
    for (int i = 0; i < 100000; i++) assert_int_equal(b.ptr[i], 'a' + i % 26);
    assert_int_equal(b.ptr[b.len], 0);
}

static void a_formatted_piece_longer_than_the_buffer_fits(void **state) {
    (void)state;
    MFFA_AUTO(mffa_buf_done) mffa_buf b = {0};
    mffa_buf_putf(&b, "%5000d|", 1);
    assert_int_equal(b.len, 5001);
    assert_memory_equal(b.ptr + 4998, " 1|", 4);
}

static void an_impossible_size_fails_and_stays_failed(void **state) {
    (void)state;
    MFFA_AUTO(mffa_buf_done) mffa_buf b = {0};
    mffa_err err = {0};
    mffa_buf_puts(&b, "kept");
    assert_null(mffa_buf_extend(&b, SIZE_MAX));
    assert_null(mffa_buf_extend(&b, SIZE_MAX / 2));
    mffa_buf_puts(&b, "ignored");
    assert_string_equal(mffa_buf_text(&b), "kept");
    assert_int_equal(mffa_buf_check(&b, &err), MFFA_ENOMEM);
    assert_string_equal(err.msg, "out of memory after 4 bytes");
    mffa_buf_clear(&b);
    assert_int_equal(mffa_buf_check(&b, &err), MFFA_ENOMEM);
}

static void clearing_keeps_the_memory(void **state) {
    (void)state;
    MFFA_AUTO(mffa_buf_done) mffa_buf b = {0};
    mffa_buf_clear(&b);
    mffa_buf_puts(&b, "text");
    size_t cap = b.cap;
    mffa_buf_clear(&b);
    assert_string_equal(mffa_buf_text(&b), "");
    assert_int_equal(b.cap, cap);
}

static void spans_compare_by_length_and_bytes(void **state) {
    (void)state;
    assert_true(mffa_span_is(mffa_span_of("fit"), "fit"));
    assert_false(mffa_span_is(mffa_span_of("fit"), "fits"));
    assert_false(mffa_span_is((mffa_span){"a\0b", 3}, "a"));
    assert_true(mffa_span_is(mffa_span_of(NULL), ""));
    assert_true(mffa_span_is((mffa_span){NULL, 0}, ""));
}

static void write_file(char *path, size_t bytes) {
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    for (size_t i = 0; i < bytes; i++) assert_int_equal(write(fd, &(char){(char)i}, 1), 1);
    close(fd);
}

static void a_file_is_appended_whole(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, 4095, 65536, 70001};
    for (size_t s = 0; s < MFFA_COUNT(sizes); s++) {
        char path[] = "/tmp/mffa-buf-XXXXXX";
        write_file(path, sizes[s]);
        MFFA_AUTO(mffa_buf_done) mffa_buf b = {0};
        mffa_err err = {0};
        mffa_buf_puts(&b, "in front:");
        assert_ok(mffa_buf_read_file(&b, path, sizes[s], &err));
        assert_int_equal(b.len, 9 + sizes[s]);
        for (size_t i = 0; i < sizes[s]; i++) assert_int_equal((unsigned char)b.ptr[9 + i], i % 256);
        unlink(path);
    }
}

static void a_file_over_the_limit_is_refused_and_leaves_nothing(void **state) {
    (void)state;
    char path[] = "/tmp/mffa-buf-XXXXXX", expected[128];
    write_file(path, 11);
    MFFA_AUTO(mffa_buf_done) mffa_buf b = {0};
    mffa_err err = {0};
    mffa_buf_puts(&b, "before");
    assert_int_equal(mffa_buf_read_file(&b, path, 10, &err), MFFA_EINVAL);
    snprintf(expected, sizeof expected, "\"%s\" has more than 10 bytes, the limit for this file", path);
    assert_string_equal(err.msg, expected);
    assert_string_equal(mffa_buf_text(&b), "before");
    unlink(path);
}

static void what_cannot_be_read_is_named(void **state) {
    (void)state;
    MFFA_AUTO(mffa_buf_done) mffa_buf b = {0};
    mffa_err err = {0};
    assert_int_equal(mffa_buf_read_file(&b, "/nowhere/at all", 10, &err), MFFA_ENOTFOUND);
    assert_string_equal(err.msg, "cannot open \"/nowhere/at all\": No such file or directory");
    assert_int_equal(mffa_buf_read_file(&b, "/tmp", 10, &err), MFFA_EIO);
    assert_string_equal(err.msg, "could not read \"/tmp\": Is a directory");
    assert_int_equal(b.len, 0);
}

static void arrays_are_zeroed_and_overflow_is_refused(void **state) {
    (void)state;
    MFFA_AUTO(mffa_free_p) int64_t *a = mffa_alloc_array(1000, sizeof *a);
    assert_non_null(a);
    for (int i = 0; i < 1000; i++) assert_int_equal(a[i], 0);
    assert_null(mffa_alloc_array(SIZE_MAX / 2, 4));
    MFFA_AUTO(mffa_free_p) void *none = mffa_alloc_array(0, 8);
    assert_non_null(none); /* so that NULL always means out of memory */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fresh_buffer_is_empty_text),
        cmocka_unit_test(pieces_follow_each_other_and_may_hold_nul),
        cmocka_unit_test(growing_past_any_capacity_keeps_all_bytes),
        cmocka_unit_test(a_formatted_piece_longer_than_the_buffer_fits),
        cmocka_unit_test(an_impossible_size_fails_and_stays_failed),
        cmocka_unit_test(clearing_keeps_the_memory),
        cmocka_unit_test(spans_compare_by_length_and_bytes),
        cmocka_unit_test(a_file_is_appended_whole),
        cmocka_unit_test(a_file_over_the_limit_is_refused_and_leaves_nothing),
        cmocka_unit_test(what_cannot_be_read_is_named),
        cmocka_unit_test(arrays_are_zeroed_and_overflow_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
