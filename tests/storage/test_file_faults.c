/* Disks that are full, folders that may not be written. */
#include "storage/store.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include "tests/support/test.h"

static char folder[] = "/tmp/mffa-faults-XXXXXX";
static char url[64];

static mffa_code count(void *ctx, const mffa_object *o, mffa_err *err) {
    (void)o, (void)err;
    ++*(int *)ctx;
    return MFFA_OK;
}

static void assert_nothing_of_the_big_object_is_left(mffa_store *s) {
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    int n = 0;
    assert_ok(mffa_store_list(s, "", count, &n, &err));
    assert_int_equal(n, 1);
    assert_ok(mffa_store_get(s, "x", 100, &got, &err));
    assert_string_equal(mffa_buf_text(&got), "old");
    char command[160];
    snprintf(command, sizeof command, "test -z \"$(find '%s' -name '.mffa-tmp-*')\"", folder);
    assert_int_equal(system(command), 0);
}

static void put_too_much(mffa_store *s) {
    enum { SIZE = 1 << 20 };
    mffa_err err = {0};
    MFFA_AUTO(mffa_free_p) char *bytes = calloc(1, SIZE);
    assert_non_null(bytes);
    assert_int_equal(mffa_store_put(s, "x", (mffa_span){bytes, SIZE}, MFFA_PUT_REPLACE, &err), MFFA_ENOSPC);
    assert_non_null(strstr(err.msg, "/x\": "));
    assert_non_null(strstr(err.msg, "(1048576 bytes)"));
}

static void a_full_disk_is_named_with_the_bytes_and_the_old_object_stays(void **state) {
    (void)state;
    mffa_err err = {0};
    if (geteuid() != 0 || mount("none", folder, "tmpfs", 0, "size=64k") != 0) skip(); /* the file size limit below is tested everywhere */
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = NULL;
    assert_ok(mffa_store_open(url, &s, &err));
    assert_ok(mffa_store_put(s, "x", mffa_span_of("old"), MFFA_PUT_REPLACE, &err));
    put_too_much(s);
    assert_nothing_of_the_big_object_is_left(s);
    assert_int_equal(umount(folder), 0);
}

static void a_file_size_limit_reads_as_no_space(void **state) {
    (void)state;
    mffa_err err = {0};
    struct rlimit before, small = {4096, 4096};
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = NULL;
    assert_ok(mffa_store_open(url, &s, &err));
    assert_ok(mffa_store_put(s, "x", mffa_span_of("old"), MFFA_PUT_REPLACE, &err));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    put_too_much(s);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_nothing_of_the_big_object_is_left(s);
}

static void an_unwritable_folder_is_refused_by_name(void **state) {
    (void)state;
    mffa_err err = {0};
    bool root = geteuid() == 0;
    char path[96], at[128];
    snprintf(path, sizeof path, "%s/locked", folder);
    snprintf(at, sizeof at, "file://%s", path);
    assert_int_equal(mkdir(path, 0555), 0);
    if (root) assert_int_equal(chmod(folder, 0755) | seteuid(65534), 0);
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = NULL;
    assert_ok(mffa_store_open(at, &s, &err));
    mffa_code flat = mffa_store_put(s, "x", mffa_span_of("1"), MFFA_PUT_NEW, &err);
    mffa_code deep = mffa_store_put(s, "a/x", mffa_span_of("1"), MFFA_PUT_NEW, &err);
    if (root) assert_int_equal(seteuid(0), 0);
    assert_int_equal(flat, MFFA_EDENIED);
    assert_int_equal(deep, MFFA_EDENIED);
    assert_non_null(strstr(err.msg, at));
    assert_non_null(strstr(err.msg, "Permission denied"));
}

static void a_file_where_a_folder_should_be_is_refused(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = NULL;
    assert_ok(mffa_store_open(url, &s, &err));
    assert_int_equal(mffa_store_put(s, "x/y", mffa_span_of("1"), MFFA_PUT_REPLACE, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "Not a directory"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_full_disk_is_named_with_the_bytes_and_the_old_object_stays),
        cmocka_unit_test(a_file_size_limit_reads_as_no_space),
        cmocka_unit_test(an_unwritable_folder_is_refused_by_name),
        cmocka_unit_test(a_file_where_a_folder_should_be_is_refused),
    };
    if (!mkdtemp(folder)) return 1;
    snprintf(url, sizeof url, "file://%s", folder);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) || failed;
}
