/* Run folders and their manifests, on a store of files. */
#include "worker/results.h"

#include <unistd.h>
#include "tests/support/test.h"

static char folder[] = "/tmp/mffa-results-XXXXXX";
static mffa_store *store;

static void put(const char *key, const char *text) {
    mffa_err err = {0};
    assert_ok(mffa_store_put(store, key, mffa_span_of(text), MFFA_PUT_REPLACE, &err));
}

static bool is_there(const char *key) {
    int64_t bytes = 0;
    return mffa_store_head(store, key, &bytes, NULL, NULL) == MFFA_OK;
}

static void the_manifest_names_every_object_with_size_and_hash(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_results_close_p) mffa_results *r = NULL;
    assert_ok(mffa_results_open(store, "fit", "k4-1", 2, "abc", &r, &err));
    assert_string_equal(strrchr(mffa_results_url(r), '/'), "/run-2-abc");
    assert_ok(mffa_results_put(r, "a.txt", mffa_span_of("hello"), &err));
    assert_ok(mffa_results_put_file(r, "deep/b.txt", "/etc/hostname", &err));
    assert_false(is_there("fit-k4-1/run-2-abc/manifest.json"));
    assert_ok(mffa_results_finish(r, &err));
    MFFA_AUTO(mffa_manifest_done) mffa_manifest m = {0};
    assert_ok(mffa_manifest_read(store, "fit-k4-1/run-2-abc", &m, &err));
    assert_int_equal(m.count, 2);
    assert_string_equal(m.kind, "fit");
    assert_string_equal(m.job, "k4-1");
    assert_string_equal(m.nonce, "abc");
    assert_int_equal(m.run, 2);
    assert_int_equal(m.objects[0].bytes, 5);
    assert_string_equal(m.objects[0].sha256, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824");
    assert_non_null(mffa_manifest_find(&m, "deep/b.txt"));
    assert_null(mffa_manifest_find(&m, "manifest.json"));
    assert_null(mffa_manifest_find(&m, "started"));
}

static void a_published_object_is_never_overwritten(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_results_close_p) mffa_results *r = NULL;
    assert_ok(mffa_results_open(store, "fit", "k4-2", 1, "abc", &r, &err));
    assert_ok(mffa_results_put(r, "x", mffa_span_of("1"), &err));
    assert_int_equal(mffa_results_put(r, "x", mffa_span_of("2"), &err), MFFA_EEXISTS);
    assert_ok(mffa_results_finish(r, &err));
    assert_int_equal(mffa_results_finish(r, &err), MFFA_EEXISTS);
}

static void earlier_runs_of_the_job_are_removed_and_nothing_else(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_results_close_p) mffa_results *r = NULL;
    put("fit-k4-3/run-1-old/model.safetensors", "x"), put("fit-k4-3/run-1-old/deep/y", "x"), put("fit-k4-3/run-2-old/z", "x");
    put("fit-k4-3/run-9-newer/model.safetensors", "x"); /* whoever holds the job now */
    put("fit-k4-3/checkpoint/c", "x"), put("fit-k4-33/run-1-other/x", "x"), put("evaluate-k4-3/run-1-other/x", "x");
    assert_ok(mffa_results_open(store, "fit", "k4-3", 5, "me", &r, &err));
    assert_false(is_there("fit-k4-3/run-1-old/model.safetensors"));
    assert_false(is_there("fit-k4-3/run-1-old/deep/y"));
    assert_false(is_there("fit-k4-3/run-2-old/z"));
    assert_true(is_there("fit-k4-3/run-9-newer/model.safetensors"));
    assert_true(is_there("fit-k4-3/checkpoint/c"));
    assert_true(is_there("fit-k4-33/run-1-other/x"));
    assert_true(is_there("evaluate-k4-3/run-1-other/x"));
}

static void put_draft(const char *key) {
    char command[256];
    snprintf(command, sizeof command, "mkdir -p $(dirname '%s/%s') && touch '%s/%s'", folder, key, folder, key);
    assert_int_equal(system(command), 0);
}

static bool is_file(const char *key) {
    char path[160];
    snprintf(path, sizeof path, "%s/%s", folder, key);
    return access(path, F_OK) == 0;
}

static void what_killed_runs_had_begun_to_write_is_removed(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_results_close_p) mffa_results *r = NULL;
    const char *dead[] = {"fit-k4-6/run-1-old/.mffa-tmp-a", "fit-k4-6/run-2-old/deep/.mffa-tmp-b", "fit-k4-6/checkpoint/.mffa-tmp-c"};
    const char *kept[] = {"fit-k4-6/run-9-newer/.mffa-tmp-d", "fit-k4-66/run-1-other/.mffa-tmp-e", "fit-k4-6/run-9-newer/x"};
    for (size_t i = 0; i < MFFA_COUNT(dead); i++) put_draft(dead[i]), put_draft(kept[i]);
    assert_ok(mffa_results_open(store, "fit", "k4-6", 5, "me", &r, &err));
    for (size_t i = 0; i < MFFA_COUNT(dead); i++) {
        if (is_file(dead[i])) fail_msg("%s is still there", dead[i]);
        if (!is_file(kept[i])) fail_msg("%s is gone", kept[i]);
    }
}

static void a_discarded_run_leaves_nothing(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_results_close_p) mffa_results *r = NULL;
    assert_ok(mffa_results_open(store, "fit", "k4-5", 1, "abc", &r, &err));
    assert_ok(mffa_results_put(r, "heatmaps/test/x.png", mffa_span_of("1"), &err));
    put("fit-k4-5/checkpoint/c", "x");
    assert_ok(mffa_results_discard(r, &err));
    assert_false(is_there("fit-k4-5/run-1-abc/heatmaps/test/x.png"));
    assert_true(is_there("fit-k4-5/checkpoint/c"));
}

static void an_output_that_cannot_be_written_is_refused_at_once(void **state) {
    (void)state;
    mffa_err err = {0};
    char url[96];
    put("plain", "a file");
    snprintf(url, sizeof url, "file://%s/plain/out", folder);
    MFFA_AUTO(mffa_store_close_p) mffa_store *bad = NULL;
    assert_ok(mffa_store_open(url, &bad, &err));
    mffa_results *r = NULL;
    assert_int_equal(mffa_results_open(bad, "fit", "k4-4", 1, "abc", &r, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "output cannot be used"));
    assert_non_null(strstr(err.msg, url));
}

static void what_is_no_manifest_is_refused_by_name(void **state) {
    (void)state;
    const char *bad[] = {"", "{", "[]", "{\"v\": 2}", "{\"v\": 1, \"objects\": [{\"key\": \"../x\", \"bytes\": 1, \"sha256\": \"00\"}]}",
                         "{\"v\": 1, \"objects\": [{\"key\": \"x\", \"bytes\": -1}]}"};
    for (size_t i = 0; i < MFFA_COUNT(bad); i++) {
        mffa_err err = {0};
        mffa_manifest m = {0};
        put("odd/manifest.json", bad[i]);
        assert_int_equal(mffa_manifest_read(store, "odd", &m, &err), MFFA_EINVAL);
        assert_non_null(strstr(err.msg, "odd/manifest.json"));
    }
    mffa_manifest m = {0};
    assert_int_equal(mffa_manifest_read(store, "none", &m, NULL), MFFA_ENOTFOUND);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_manifest_names_every_object_with_size_and_hash),
        cmocka_unit_test(a_published_object_is_never_overwritten),
        cmocka_unit_test(earlier_runs_of_the_job_are_removed_and_nothing_else),
        cmocka_unit_test(what_killed_runs_had_begun_to_write_is_removed),
        cmocka_unit_test(a_discarded_run_leaves_nothing),
        cmocka_unit_test(an_output_that_cannot_be_written_is_refused_at_once),
        cmocka_unit_test(what_is_no_manifest_is_refused_by_name),
    };
    char url[64], command[64];
    if (!mkdtemp(folder)) return 1;
    snprintf(url, sizeof url, "file://%s", folder);
    if (mffa_store_open(url, &store, NULL)) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mffa_store_close(store);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) || failed;
}
