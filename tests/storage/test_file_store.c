#include "storage/store.h"

#include <sys/stat.h>
#include "tests/storage/store_suite.h"
#include "tests/support/test.h"

static char folder[] = "/tmp/mffa-store-XXXXXX";
static char url[64];

static mffa_store *open_at(const char *at) {
    mffa_err err = {0};
    mffa_store *s = NULL;
    assert_ok(mffa_store_open(at, &s, &err));
    return s;
}

static mffa_code count(void *ctx, const mffa_object *o, mffa_err *err) {
    (void)o, (void)err;
    ++*(int *)ctx;
    return MFFA_OK;
}

static void make_file(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("secret", f);
    fclose(f);
}

static void make_link(const char *target, const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(symlink(target, path), 0);
}

static void make_folder(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(mkdir(path, 0777), 0);
}

static void links_out_of_the_prefix_are_refused_and_links_inside_are_files(void **state) {
    (void)state;
    mffa_err err = {0};
    make_folder("links");
    make_file("outside"), make_file("links/real");
    make_link("../outside", "links/out"), make_link("real", "links/in");
    char at[96];
    snprintf(at, sizeof at, "%s/links", url);
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_at(at);
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    char *path = NULL;
    int n = 0;
    assert_int_equal(mffa_store_get(s, "out", 100, &got, &err), MFFA_EDENIED);
    assert_non_null(strstr(err.msg, "outside of the prefix"));
    assert_int_equal(mffa_store_local(s, "out", &path, &err), MFFA_EDENIED);
    assert_int_equal(mffa_store_list(s, "", count, &n, &err), MFFA_EDENIED);
    assert_ok(mffa_store_get(s, "in", 100, &got, &err));
    assert_string_equal(mffa_buf_text(&got), "secret");
    assert_ok(mffa_store_delete(s, "out", &err)); /* the link, not what it names */
    n = 0;
    assert_ok(mffa_store_list(s, "", count, &n, &err));
    assert_int_equal(n, 2);
    MFFA_AUTO(mffa_store_close_p) mffa_store *outer = open_at(url);
    int64_t size = 0;
    assert_ok(mffa_store_head(outer, "outside", &size, NULL, &err));
}

static void nothing_is_written_or_deleted_through_a_linked_folder_that_leads_out(void **state) {
    (void)state;
    mffa_err err = {0};
    make_folder("cage"), make_folder("free"), make_file("free/x");
    make_link("../free", "cage/door");
    char at[96];
    snprintf(at, sizeof at, "%s/cage", url);
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_at(at);
    assert_int_equal(mffa_store_put(s, "door/y", mffa_span_of("y"), MFFA_PUT_REPLACE, &err), MFFA_EDENIED);
    assert_int_equal(mffa_store_put(s, "door/deep/y", mffa_span_of("y"), MFFA_PUT_REPLACE, &err), MFFA_EDENIED);
    assert_int_equal(mffa_store_delete(s, "door/x", &err), MFFA_EDENIED);
    MFFA_AUTO(mffa_store_close_p) mffa_store *outer = open_at(url);
    int n = 0;
    assert_ok(mffa_store_list(outer, "free/", count, &n, &err));
    assert_int_equal(n, 1);
}

static void unfinished_objects_are_never_listed_and_go_with_delete_all(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_at(url);
    make_folder("half"), make_file("half/.mffa-tmp-0123456789abcdef");
    int n = 0;
    assert_ok(mffa_store_list(s, "half/", count, &n, &err));
    assert_int_equal(n, 0);
    assert_int_equal(mffa_store_put(s, "half/.mffa-tmp-x", mffa_span_of("x"), MFFA_PUT_REPLACE, &err), MFFA_EDENIED);
    assert_ok(mffa_store_delete_all(s, "half/", &err));
    char path[128];
    snprintf(path, sizeof path, "%s/half", folder);
    assert_int_equal(access(path, F_OK), -1);
}

static void an_empty_folder_does_not_outlive_its_last_object(void **state) {
    (void)state;
    mffa_err err = {0};
    char path[128];
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_at(url);
    snprintf(path, sizeof path, "%s/leaf/a", folder);
    assert_ok(mffa_store_put(s, "leaf/a/b/x", mffa_span_of("x"), MFFA_PUT_NEW, &err));
    assert_ok(mffa_store_put(s, "leaf/y", mffa_span_of("y"), MFFA_PUT_NEW, &err));
    assert_ok(mffa_store_delete(s, "leaf/a/b/x", &err));
    assert_int_equal(access(path, F_OK), -1);
    int n = 0;
    assert_ok(mffa_store_list(s, "leaf/", count, &n, &err));
    assert_int_equal(n, 1);
}

static void pipes_are_no_objects_and_hold_nobody_up(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_at(url);
    char path[128];
    make_folder("pipes");
    snprintf(path, sizeof path, "%s/pipes/p", folder);
    assert_int_equal(mkfifo(path, 0666), 0);
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    assert_int_equal(mffa_store_get(s, "pipes/p", 10, &got, &err), MFFA_ENOTFOUND);
    int n = 0;
    assert_ok(mffa_store_list(s, "pipes/", count, &n, &err));
    assert_int_equal(n, 0);
}

static void a_name_that_cannot_be_a_key_is_an_error_not_an_omission(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_at(url);
    make_folder("odd"), make_file("odd/a\nb");
    int n = 0;
    assert_int_equal(mffa_store_list(s, "odd/", count, &n, &err), MFFA_EDENIED);
    assert_non_null(strstr(err.msg, "control character"));
    assert_ok(mffa_store_delete_all(s, "odd/", &err));
}

static void s3_is_refused_before_its_settings_are_known(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_store *s = NULL;
    assert_int_equal(mffa_store_open("s3://plant/bottle", &s, &err), MFFA_EBUG);
    assert_string_equal(err.msg, "\"s3://plant/bottle\": opened before mffa_store_setup");
}

static void a_file_has_no_presigned_url(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_at(url);
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    assert_int_equal(mffa_store_presign(s, "x", 60, &got, &err), MFFA_EUNSUPPORTED);
}

static int remove_folder(void) {
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(links_out_of_the_prefix_are_refused_and_links_inside_are_files),
        cmocka_unit_test(nothing_is_written_or_deleted_through_a_linked_folder_that_leads_out),
        cmocka_unit_test(unfinished_objects_are_never_listed_and_go_with_delete_all),
        cmocka_unit_test(an_empty_folder_does_not_outlive_its_last_object),
        cmocka_unit_test(pipes_are_no_objects_and_hold_nobody_up),
        cmocka_unit_test(a_name_that_cannot_be_a_key_is_an_error_not_an_omission),
        cmocka_unit_test(s3_is_refused_before_its_settings_are_known),
        cmocka_unit_test(a_file_has_no_presigned_url),
    };
    if (!mkdtemp(folder)) return 1;
    snprintf(url, sizeof url, "file://%s", folder);
    char fresh[96];
    snprintf(fresh, sizeof fresh, "%s/not/there/yet", url);
    int failed = store_suite_run(fresh);
    failed += cmocka_run_group_tests(tests, NULL, NULL);
    return remove_folder() || failed;
}
