#include "core/mffa/spool.h"

#include <sys/statvfs.h>
#include "core/base/rng.h"
#include "tests/support/test.h"

enum { LEAST = 64 << 10, ROOM = LEAST / 16 /* records of a run */ };

static fsblkcnt_t blocks_left = 1 << 20;

/* In place of libc's: the file system is as full as a test wants. */
int fstatvfs(int fd, struct statvfs *v) {
    (void)fd;
    *v = (struct statvfs){.f_frsize = 1024, .f_bavail = blocks_left};
    return 0;
}

static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static void gives_back_every_record_in_order(size_t n, int64_t runs) {
    mffa_err err = {0};
    mffa_spool *s = NULL;
    mffa_rng r;
    uint64_t *want = malloc((n + 1) * sizeof *want), got[100];
    assert_ok(mffa_spool_open("/tmp", LEAST, &s, &err));
    mffa_rng_init(&r, n, 0);
    for (size_t i = 0; i < n; i++) {
        want[i] = (uint64_t)mffa_rng_below(&r, 1000) << 40 | mffa_rng_below(&r, 7);
        assert_ok(mffa_spool_put(s, want[i], &err));
    }
    assert_ok(mffa_spool_sort(s, &err));
    assert_int_equal(mffa_spool_runs(s), runs);
    qsort(want, n, sizeof *want, ascending);
    size_t at = 0, more = 0;
    for (;;) {
        assert_ok(mffa_spool_read(s, got, MFFA_COUNT(got), &more, &err));
        if (!more) break;
        assert_true(at + more <= n);
        assert_memory_equal(got, want + at, more * sizeof *got);
        at += more;
    }
    assert_int_equal(at, n);
    mffa_spool_close(s);
    free(want);
}

static void sorts_in_memory_and_in_runs(void **state) {
    (void)state;
    gives_back_every_record_in_order(0, 0);
    gives_back_every_record_in_order(1, 0);
    gives_back_every_record_in_order(ROOM, 0);
    gives_back_every_record_in_order(ROOM + 1, 2);
    gives_back_every_record_in_order(2 * ROOM, 2);
    gives_back_every_record_in_order(9 * ROOM + 17, 10);
}

static void says_how_much_space_is_missing_before_it_writes(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_spool *s = NULL;
    assert_ok(mffa_spool_open("/tmp", LEAST, &s, &err));
    blocks_left = 10; /* KiB; a run is 32 KiB */
    mffa_code rc = MFFA_OK;
    for (int i = 0; !rc && i <= ROOM; i++) rc = mffa_spool_put(s, (uint64_t)i, &err);
    blocks_left = 1 << 20;
    assert_int_equal(rc, MFFA_ENOSPC);
    assert_string_equal(err.msg, "sorting pixels needs 32768 more bytes in \"/tmp\", which has 10240 left beside the 0 in use: free 22528 "
                                 "bytes, name another folder, or give more memory");
    assert_int_equal(mffa_spool_runs(s), 0);
    mffa_spool_close(s);
}

static void refuses_more_runs_than_can_be_merged(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_spool *s = NULL;
    assert_ok(mffa_spool_open("/tmp", LEAST, &s, &err));
    for (int i = 0; i < 33 * ROOM; i++) assert_ok(mffa_spool_put(s, (uint64_t)i, &err));
    assert_int_equal(mffa_spool_sort(s, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "33 sorted runs are too many to merge in 65536 bytes: give at least 67584");
    mffa_spool_close(s);
    assert_int_equal(mffa_spool_open("/tmp", LEAST - 1, &s, &err), MFFA_EINVAL);
}

static void leaves_no_name_in_the_folder(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_spool *s = NULL;
    char dir[] = "/tmp/mffa-spool-test-XXXXXX";
    assert_non_null(mkdtemp(dir));
    assert_ok(mffa_spool_open(dir, LEAST, &s, &err));
    for (int i = 0; i < 3 * ROOM; i++) assert_ok(mffa_spool_put(s, (uint64_t)i, &err));
    assert_int_equal(rmdir(dir), 0); /* works on an empty folder only, spill file open or not */
    mffa_spool_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorts_in_memory_and_in_runs),
        cmocka_unit_test(says_how_much_space_is_missing_before_it_writes),
        cmocka_unit_test(refuses_more_runs_than_can_be_merged),
        cmocka_unit_test(leaves_no_name_in_the_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
