#include "storage/url.h"

#include "tests/support/test.h"

static void reads_buckets_prefixes_and_folders(void **state) {
    (void)state;
    const struct { const char *text; mffa_scheme scheme; const char *bucket, *path; } good[] = {
        {"s3://plant/bottle/run 1", MFFA_S3, "plant", "bottle/run 1"},
        {"s3://plant", MFFA_S3, "plant", ""},
        {"s3://plant/", MFFA_S3, "plant", ""},
        {"s3://p-1.x/a%20b/", MFFA_S3, "p-1.x", "a%20b"},
        {"file:///", MFFA_FILE, NULL, "/"},
        {"file:///a/b//", MFFA_FILE, NULL, "/a/b"},
    };
    for (size_t i = 0; i < MFFA_COUNT(good); i++) {
        mffa_err err = {0};
        mffa_url u = {0};
        assert_ok(mffa_url_parse(good[i].text, &u, &err));
        assert_int_equal(u.scheme, good[i].scheme);
        assert_string_equal(u.path, good[i].path);
        if (good[i].bucket) assert_string_equal(u.bucket, good[i].bucket);
        else assert_null(u.bucket);
        mffa_url_done(&u);
    }
}

static void refuses_what_is_no_url_and_says_what_one_looks_like(void **state) {
    (void)state;
    const char *bad[] = {"",      "plant/bottle", "http://x/y", "file://host/x", "file:/x",
                         "s3://", "s3:///x",      "s3://Up/x",  "s3://ab",       "s3://plant/a\nb"};
    for (size_t i = 0; i < MFFA_COUNT(bad); i++) {
        mffa_err err = {0};
        mffa_url u = {0};
        assert_int_equal(mffa_url_parse(bad[i], &u, &err), MFFA_EINVAL);
        assert_non_null(strstr(err.msg, "give s3://bucket/prefix or file:///absolute/path"));
    }
    const char *dots[] = {"file:///a/../b", "s3://plant/..", "s3://plant/a//b", "file:///a/./b"};
    for (size_t i = 0; i < MFFA_COUNT(dots); i++) {
        mffa_url u = {0};
        assert_int_equal(mffa_url_parse(dots[i], &u, NULL), MFFA_EINVAL);
    }
}

static void joins_with_exactly_one_slash(void **state) {
    (void)state;
    const char *base[] = {"s3://plant/a", "s3://plant/a/"};
    for (size_t i = 0; i < MFFA_COUNT(base); i++) {
        MFFA_AUTO(mffa_free_p) char *joined = mffa_url_join(base[i], "b/c");
        assert_string_equal(joined, "s3://plant/a/b/c");
    }
}

static void without_a_setting_s3_is_allowed_and_files_are_not(void **state) {
    (void)state;
    mffa_err err = {0};
    assert_ok(mffa_url_allowed("s3://any/where", NULL, &err));
    assert_int_equal(mffa_url_allowed("file:///etc", NULL, &err), MFFA_EDENIED);
    assert_string_equal(err.msg, "\"file:///etc\" is not allowed here: without MFFA_ALLOWED_URLS a worker takes s3:// only");
    assert_int_equal(mffa_url_allowed("ftp://x", NULL, &err), MFFA_EINVAL);
}

static void an_allowed_prefix_ends_at_a_slash(void **state) {
    (void)state;
    mffa_err err = {0};
    const char *allowed = "s3://plant/out, file:///data/ ,,s3://open";
    const char *yes[] = {"s3://plant/out", "s3://plant/out/", "s3://plant/out/x", "file:///data", "file:///data/x/y", "s3://open/x"};
    const char *no[] = {"s3://plant/outer", "s3://plant", "file:///dat", "file:///database", "s3://opener/x", "file:///"};
    for (size_t i = 0; i < MFFA_COUNT(yes); i++) assert_ok(mffa_url_allowed(yes[i], allowed, &err));
    for (size_t i = 0; i < MFFA_COUNT(no); i++) assert_int_equal(mffa_url_allowed(no[i], allowed, &err), MFFA_EDENIED);
    assert_non_null(strstr(err.msg, "MFFA_ALLOWED_URLS"));
    assert_ok(mffa_url_allowed("file:///any", "file:///", &err));
    assert_ok(mffa_url_allowed("s3://any/x", "s3://", &err));
    assert_int_equal(mffa_url_allowed("s3://any/x", "", &err), MFFA_EDENIED);
    assert_int_equal(mffa_url_allowed("file:///data/../etc", allowed, &err), MFFA_EINVAL);
}

static void a_key_of_1024_bytes_is_the_longest(void **state) {
    (void)state;
    mffa_err err = {0};
    char key[1100];
    memset(key, 'k', sizeof key);
    key[1024] = '\0';
    assert_ok(mffa_key_check(key, &err));
    key[1024] = 'k', key[1025] = '\0';
    assert_int_equal(mffa_key_check(key, &err), MFFA_EDENIED);
    assert_non_null(strstr(err.msg, "1025 bytes: at most 1024"));
    assert_ok(mffa_key_check("...", &err));
    assert_ok(mffa_key_check("a/..b/c..", &err));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_buckets_prefixes_and_folders),
        cmocka_unit_test(refuses_what_is_no_url_and_says_what_one_looks_like),
        cmocka_unit_test(joins_with_exactly_one_slash),
        cmocka_unit_test(without_a_setting_s3_is_allowed_and_files_are_not),
        cmocka_unit_test(an_allowed_prefix_ends_at_a_slash),
        cmocka_unit_test(a_key_of_1024_bytes_is_the_longest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
