/* s3:// against a real server, started around this program by tests/support/rgw.sh or versitygw.sh. */
#include "storage/store.h"

#include <errno.h>
#include <sys/wait.h>
#include "tests/storage/store_suite.h"
#include "tests/support/test.h"

static char url[256], cache_folder[] = "/tmp/mffa-s3-cache-XXXXXX";
enum { PART = 5 << 20 }; /* the least that S3 takes */

static const char *env(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}



/* The settings that a test changes, on top of those of the server; NULL ends the list. */
static mffa_code set_up(const char *const changes[][2], mffa_err *err) {
    mffa_config c = {0};
    setenv("MFFA_S3_ENDPOINT", env("S3_ENDPOINT"), 1);
    setenv("MFFA_S3_REGION", env("S3_REGION"), 1);
    setenv("MFFA_S3_CA_FILE", env("S3_CA"), 1);
    setenv("MFFA_S3_PART_BYTES", "5242880", 1);
    setenv("AWS_ACCESS_KEY_ID", env("S3_OWNER_KEY"), 1);
    setenv("AWS_SECRET_ACCESS_KEY", env("S3_OWNER_SECRET"), 1);
    for (size_t i = 0; changes && changes[i][0]; i++) setenv(changes[i][0], changes[i][1], 1);
    mffa_code rc = mffa_config_load_env(&c, MFFA_WORKER, err);
    if (!rc) rc = mffa_store_setup(&c, cache_folder, err);
    mffa_config_done(&c);
    for (size_t i = 0; changes && changes[i][0]; i++)
        if (strncmp(changes[i][0], "MFFA_", 5) == 0) unsetenv(changes[i][0]); /* credentials are read when they are needed */
    return rc;
}

static int standard_settings(void **state) {
    (void)state;
    mffa_err err = {0};
    return set_up(NULL, &err) ? -1 : 0;
}

static mffa_store *open_store(void) {
    mffa_err err = {0};
    mffa_store *s = NULL;
    assert_ok(mffa_store_open(url, &s, &err));
    return s;
}

static mffa_code join_keys(void *ctx, const mffa_object *o, mffa_err *err) {
    mffa_buf_putf(ctx, "%s\n", o->key);
    return mffa_buf_check(ctx, err);
}

static void round_trip(mffa_store *s, const char *key) {
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    int64_t bytes = 0;
    assert_ok(mffa_store_put(s, key, mffa_span_of(key), MFFA_PUT_NEW, &err));
    assert_ok(mffa_store_get(s, key, 4096, &got, &err));
    assert_string_equal(mffa_buf_text(&got), key);
    assert_ok(mffa_store_head(s, key, &bytes, NULL, &err));
    assert_int_equal(bytes, strlen(key));
}

static void keys_with_anything_in_them_are_signed_listed_and_deleted(void **state) {
    (void)state;
    mffa_err err = {0};
    const char *keys[] = {"odd/ b", "odd/!\"'()*", "odd/#?&=@:", "odd/%2B", "odd/+plus+", "odd/...", "odd/<&>;", "odd/[x]{y}|\\^`",
                          "odd/a=b&c=d", "odd/caf\xC3\xA9", "odd/x ~y", "odd/\xE6\xBC\xA2\xE5\xAD\x97.png"};
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_store();
    MFFA_AUTO(mffa_buf_done) mffa_buf want = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    for (size_t i = 0; i < MFFA_COUNT(keys); i++) round_trip(s, keys[i]), mffa_buf_putf(&want, "%s\n", keys[i]);
    assert_ok(mffa_store_list(s, "odd/", join_keys, &got, &err));
    assert_string_equal(mffa_buf_text(&got), mffa_buf_text(&want));
    mffa_buf_clear(&got);
    assert_ok(mffa_store_list(s, "odd/%", join_keys, &got, &err));
    assert_string_equal(mffa_buf_text(&got), "odd/%2B\n");
    assert_ok(mffa_store_delete(s, keys[1], &err));
    assert_ok(mffa_store_delete_all(s, "odd/", &err));
    mffa_buf_clear(&got);
    assert_ok(mffa_store_list(s, "odd/", join_keys, &got, &err));
    assert_string_equal(mffa_buf_text(&got), "");
}

static mffa_code count_keys(void *ctx, const mffa_object *o, mffa_err *err) {
    (void)o, (void)err;
    ++*(int *)ctx;
    return MFFA_OK;
}

static void a_listing_of_several_pages_is_complete_and_in_order(void **state) {
    (void)state;
    enum { KEYS = 2100 };
    mffa_err err = {0};
    int count = 0;
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_store();
    for (int i = 0; i < KEYS; i++) {
        char key[64];
        snprintf(key, sizeof key, "pages/%04d & +%%", i);
        assert_ok(mffa_store_put(s, key, mffa_span_of(""), MFFA_PUT_REPLACE, &err));
    }
    assert_ok(mffa_store_list(s, "pages/", count_keys, &count, &err));
    assert_int_equal(count, KEYS);
    assert_ok(mffa_store_delete_all(s, "pages/", &err));
    count = 0;
    assert_ok(mffa_store_list(s, "pages/", count_keys, &count, &err));
    assert_int_equal(count, 0);
}

/* A file with content that shows where each byte belongs. */
static void make_file(char *path, size_t size) {
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    MFFA_AUTO(mffa_free_p) uint32_t *words = malloc(size);
    assert_non_null(words);
    for (size_t i = 0; i < size / 4; i++) words[i] = (uint32_t)(i * 2654435761u);
    assert_int_equal(write(fd, words, size), size);
    close(fd);
}

static void assert_same_file(const char *a, const char *b) {
    char command[512];
    snprintf(command, sizeof command, "cmp '%s' '%s'", a, b);
    assert_int_equal(system(command), 0);
}

static void a_large_object_travels_in_parts_both_ways(void **state) {
    (void)state;
    enum { SIZE = 3 * PART + 4 * 1000 };
    mffa_err err = {0};
    char file[] = "/tmp/mffa-s3-big-XXXXXX";
    make_file(file, SIZE);
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_store();
    MFFA_AUTO(mffa_free_p) char *path = NULL;
    MFFA_AUTO(mffa_free_p) char *again = NULL;
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf want = {0};
    assert_ok(mffa_store_put_file(s, "big/x", file, MFFA_PUT_NEW, &err));
    assert_int_equal(mffa_store_put_file(s, "big/x", file, MFFA_PUT_NEW, &err), MFFA_EEXISTS);
    assert_non_null(strstr(err.msg, "/big/x\" exists already"));
    assert_ok(mffa_store_put_file(s, "big/x", file, MFFA_PUT_REPLACE, &err));
    assert_ok(mffa_store_local(s, "big/x", &path, &err));
    assert_same_file(path, file);
    assert_ok(mffa_store_get(s, "big/x", SIZE, &got, &err));
    assert_ok(mffa_buf_read_file(&want, file, SIZE, &err));
    assert_int_equal(got.len, SIZE);
    assert_memory_equal(got.ptr, want.ptr, SIZE);
    assert_int_equal(mffa_store_get(s, "big/x", SIZE - 1, &got, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "bytes: at most"));
    assert_int_equal(got.len, SIZE);
    assert_ok(mffa_store_local(s, "big/x", &again, &err));
    assert_string_equal(path, again); /* the copy, not another one */
    assert_ok(mffa_store_delete_all(s, "big/", &err));
    unlink(file);
}

static void an_upload_that_is_not_allowed_is_refused_before_its_parts(void **state) {
    (void)state;
    mffa_err err = {0};
    char file[] = "/tmp/mffa-s3-short-XXXXXX";
    make_file(file, 2 * PART);
    const char *reader[][2] = {{"AWS_ACCESS_KEY_ID", env("S3_READER_KEY")}, {"AWS_SECRET_ACCESS_KEY", env("S3_READER_SECRET")},
                               {NULL, NULL}};
    assert_ok(set_up(reader, &err));
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_store();
    mffa_code rc = mffa_store_put_file(s, "half/x", file, MFFA_PUT_REPLACE, &err);
    unlink(file);
    assert_int_equal(rc, MFFA_EDENIED);
    assert_non_null(strstr(err.msg, "/half/x\": POST answers 403 AccessDenied"));
    int64_t bytes = 0;
    assert_int_equal(mffa_store_head(s, "half/x", &bytes, NULL, &err), MFFA_ENOTFOUND);
}

/* ---- who asks ---- */

static mffa_code put_as(const char *key_id, const char *secret, mffa_err *err) {
    const char *who[][2] = {{"AWS_ACCESS_KEY_ID", key_id}, {"AWS_SECRET_ACCESS_KEY", secret}, {NULL, NULL}};
    mffa_code rc = set_up(who, err);
    if (rc) return rc;
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_store();
    return mffa_store_put(s, "who", mffa_span_of("x"), MFFA_PUT_REPLACE, err);
}

static void a_wrong_secret_is_named_as_such(void **state) {
    (void)state;
    mffa_err err = {0};
    assert_int_equal(put_as(env("S3_OWNER_KEY"), "wrong-secret-wrong-secret", &err), MFFA_EDENIED);
    assert_non_null(strstr(err.msg, "/who\": PUT answers 403 SignatureDoesNotMatch (request "));
    assert_non_null(strstr(err.msg, "the secret does not belong to the access key: look at AWS_SECRET_ACCESS_KEY"));
    assert_null(strstr(err.msg, "wrong-secret"));
    assert_int_equal(put_as("nobodyskey", "wrong-secret-wrong-secret", &err), MFFA_EDENIED);
    assert_non_null(strstr(err.msg, "InvalidAccessKeyId"));
}

static void a_reader_may_read_and_not_write(void **state) {
    (void)state;
    mffa_err err = {0};
    assert_ok(put_as(env("S3_OWNER_KEY"), env("S3_OWNER_SECRET"), &err));
    assert_int_equal(put_as(env("S3_READER_KEY"), env("S3_READER_SECRET"), &err), MFFA_EDENIED);
    assert_non_null(strstr(err.msg, "403 AccessDenied"));
    const char *who[][2] = {{"AWS_ACCESS_KEY_ID", env("S3_READER_KEY")}, {"AWS_SECRET_ACCESS_KEY", env("S3_READER_SECRET")}, {NULL, NULL}};
    assert_ok(set_up(who, &err));
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_store();
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    assert_ok(mffa_store_get(s, "who", 10, &got, &err));
    assert_string_equal(mffa_buf_text(&got), "x");
}

static void missing_credentials_say_what_to_set(void **state) {
    (void)state;
    mffa_err err = {0};
    assert_ok(set_up(NULL, &err));
    unsetenv("AWS_ACCESS_KEY_ID");
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_store();
    int64_t bytes = 0;
    assert_int_equal(mffa_store_head(s, "x", &bytes, NULL, &err), MFFA_EDENIED);
    assert_non_null(strstr(err.msg, "AWS_SECRET_ACCESS_KEY is set and AWS_ACCESS_KEY_ID is not: set both"));
}

static void an_absent_bucket_and_an_absent_server_are_told_apart(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_buf got = {0};
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = NULL;
    assert_ok(mffa_store_open("s3://no-such-bucket-here/x", &s, &err));
    assert_int_equal(mffa_store_list(s, "", join_keys, &got, &err), MFFA_ENOTFOUND);
    assert_non_null(strstr(err.msg, "404 NoSuchBucket"));
    assert_non_null(strstr(err.msg, "there is no such bucket at this server"));
    const char *nowhere[][2] = {{"MFFA_S3_ENDPOINT", "http://127.0.0.1:9"}, {"MFFA_S3_DEADLINE_MS", "500"}, {NULL, NULL}};
    mffa_store_close(MFFA_TAKE(s));
    assert_ok(set_up(nowhere, &err));
    s = open_store();
    assert_int_equal(mffa_store_list(s, "", join_keys, &got, &err), MFFA_EIO);
    assert_non_null(strstr(err.msg, "could not reach 127.0.0.1:9: "));
    assert_non_null(strstr(err.msg, "look at MFFA_S3_ENDPOINT"));
}

static void the_bucket_may_stand_in_the_host_name(void **state) {
    (void)state;
    mffa_err err = {0};
    const char *host[][2] = {{"MFFA_S3_ENDPOINT", env("S3_VHOST_ENDPOINT")}, {"MFFA_S3_STYLE", "host"}, {NULL, NULL}};
    assert_ok(set_up(host, &err));
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_store();
    round_trip(s, "host style/x+y");
    assert_ok(mffa_store_delete_all(s, "host", &err));
}

static void checksums_are_sent_where_asked_for(void **state) {
    (void)state;
    mffa_err err = {0};
    const char *kinds[] = {"sha256", "crc64nvme", "crc32"};
    for (size_t i = 0; i < MFFA_COUNT(kinds); i++) {
        const char *checksum[][2] = {{"MFFA_S3_CHECKSUM", kinds[i]}, {NULL, NULL}};
        assert_ok(set_up(checksum, &err));
        MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_store();
        char file[] = "/tmp/mffa-s3-sum-XXXXXX";
        make_file(file, PART + 4 * 1000);
        MFFA_AUTO(mffa_free_p) char *path = NULL;
        round_trip(s, "sum/x");
        assert_ok(mffa_store_put_file(s, "sum/big", file, MFFA_PUT_REPLACE, &err));
        assert_ok(mffa_store_local(s, "sum/big", &path, &err));
        assert_same_file(path, file);
        unlink(file);
        assert_ok(mffa_store_delete_all(s, "sum/", &err));
    }
}

/* Where the server keeps its objects as files, one of them decays. */
static void what_decayed_on_the_servers_disk_is_not_believed(void **state) {
    (void)state;
    if (strcmp(env("S3_SERVER"), "versitygw") != 0) skip(); /* this server gives no checksums that were not sent with the object */
    mffa_err err = {0};
    char command[512], file[] = "/tmp/mffa-s3-decay-XXXXXX";
    const char *soon[][2] = {{"MFFA_S3_DEADLINE_MS", "2000"}, {"MFFA_S3_CHECKSUM", "crc64nvme"}, {NULL, NULL}};
    assert_ok(set_up(soon, &err));
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_store();
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    make_file(file, 2 * PART);
    assert_ok(mffa_store_put(s, "decay/small", mffa_span_of("hello"), MFFA_PUT_REPLACE, &err));
    assert_ok(mffa_store_put_file(s, "decay/large", file, MFFA_PUT_REPLACE, &err));
    unlink(file);
    assert_ok(mffa_store_get(s, "decay/small", 10, &got, &err));
    assert_ok(mffa_store_get(s, "decay/large", 3 * PART, &got, &err));
    snprintf(command, sizeof command, "cd \"$S3_DIR\"/data/\"$S3_BUCKET\"/own/decay && printf J | dd of=small conv=notrunc status=none "
                                      "&& printf J | dd of=large bs=1 seek=%d conv=notrunc status=none", PART + 77);
    assert_int_equal(system(command), 0);
    const char *keys[] = {"decay/small", "decay/large"};
    for (size_t i = 0; i < MFFA_COUNT(keys); i++) {
        MFFA_AUTO(mffa_free_p) char *path = NULL;
        assert_int_equal(mffa_store_get(s, keys[i], 3 * PART, &got, &err), MFFA_EIO);
        assert_non_null(strstr(err.msg, "what came does not match the server's checksum, crc64nvme "));
        assert_int_equal(mffa_store_local(s, keys[i], &path, &err), MFFA_EIO);
        assert_null(path);
    }
    assert_ok(mffa_store_delete_all(s, "decay/", &err));
}

static void a_presigned_url_is_fetched_by_anyone_until_it_ends(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_store();
    MFFA_AUTO(mffa_buf_done) mffa_buf at = {0};
    char command[2048];
    assert_ok(mffa_store_put(s, "open/a b+c", mffa_span_of("for all"), MFFA_PUT_REPLACE, &err));
    assert_ok(mffa_store_presign(s, "open/a b+c", 60, &at, &err));
    snprintf(command, sizeof command, "test \"$(curl -sf --noproxy '*' ${S3_CA:+--cacert $S3_CA} '%s')\" = 'for all'", mffa_buf_text(&at));
    assert_int_equal(system(command), 0);
    /* tampered with */
    snprintf(command, sizeof command, "! curl -sf -o /dev/null --noproxy '*' ${S3_CA:+--cacert $S3_CA} '%s0'", mffa_buf_text(&at));
    assert_int_equal(system(command), 0);
    assert_ok(mffa_store_delete_all(s, "open/", &err));
}

static void a_server_with_an_unknown_certificate_is_not_trusted(void **state) {
    (void)state;
    mffa_err err = {0};
    if (!*env("S3_CA")) skip(); /* a run without TLS */
    const char *unknown[][2] = {{"MFFA_S3_CA_FILE", "/etc/ssl/certs/ca-certificates.crt"}, {NULL, NULL}};
    assert_ok(set_up(unknown, &err));
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_store();
    int64_t bytes = 0;
    assert_int_equal(mffa_store_head(s, "x", &bytes, NULL, &err), MFFA_EDENIED);
    assert_non_null(strstr(err.msg, "MFFA_S3_CA_FILE names the authority"));
}

static int count_copies(void) {
    char command[160];
    snprintf(command, sizeof command, "exit $(find '%s' -type f | wc -l)", cache_folder);
    return WEXITSTATUS(system(command));
}

static void copies_that_nobody_uses_make_room_for_others(void **state) {
    (void)state;
    mffa_err err = {0};
    const char *small[][2] = {{"MFFA_CACHE_BYTES", "25"}, {NULL, NULL}};
    assert_ok(set_up(small, &err));
    char command[160];
    snprintf(command, sizeof command, "rm -rf '%s'/*", cache_folder);
    assert_int_equal(system(command), 0);
    mffa_store *s = open_store();
    for (int i = 0; i < 5; i++) {
        char key[32];
        MFFA_AUTO(mffa_free_p) char *path = NULL;
        snprintf(key, sizeof key, "copies/%d", i);
        assert_ok(mffa_store_put(s, key, mffa_span_of("ten bytes."), MFFA_PUT_REPLACE, &err));
        assert_ok(mffa_store_local(s, key, &path, &err));
    }
    assert_int_equal(count_copies(), 5); /* all in use */
    mffa_store_close(s);
    s = open_store();
    assert_ok(mffa_store_put(s, "copies/5", mffa_span_of("ten bytes."), MFFA_PUT_REPLACE, &err));
    MFFA_AUTO(mffa_free_p) char *path = NULL;
    assert_ok(mffa_store_local(s, "copies/5", &path, &err));
    assert_int_equal(count_copies(), 2);
    assert_ok(mffa_store_delete_all(s, "copies/", &err));
    mffa_store_close(s);
}

static void an_object_that_was_replaced_is_fetched_again(void **state) {
    (void)state;
    mffa_err err = {0};
    const char *texts[] = {"one", "other"};
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = open_store();
    for (size_t i = 0; i < MFFA_COUNT(texts); i++) {
        MFFA_AUTO(mffa_free_p) char *path = NULL;
        MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
        assert_ok(mffa_store_put(s, "fresh", mffa_span_of(texts[i]), MFFA_PUT_REPLACE, &err));
        assert_ok(mffa_store_local(s, "fresh", &path, &err));
        assert_ok(mffa_buf_read_file(&got, path, 100, &err));
        assert_string_equal(mffa_buf_text(&got), texts[i]);
    }
    assert_ok(mffa_store_delete(s, "fresh", &err));
}

static void refuse_setting(const char *name, const char *value, const char *text) {
    mffa_err err = {0};
    const char *bad[][2] = {{name, value}, {NULL, NULL}};
    assert_int_equal(set_up(bad, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, text));
}

static void bad_settings_are_named(void **state) {
    (void)state;
    refuse_setting("MFFA_S3_ENDPOINT", "s3.example.com",
                   "MFFA_S3_ENDPOINT=\"s3.example.com\" is no URL: expected https://host or http://host:port");
    refuse_setting("MFFA_S3_ENDPOINT", "https://s3.example.com/path", "has a path");
    refuse_setting("MFFA_S3_ENDPOINT", "https://user:secret@s3.example.com", "MFFA_S3_ENDPOINT=\"...\" has characters that no host has");
    refuse_setting("MFFA_S3_REGION", "eu west", "MFFA_S3_REGION=\"eu west\" is no region");
    refuse_setting("MFFA_S3_PART_BYTES", "1000", "expected an integer from 5242880 to 5368709120");
}

#define TEST(name) cmocka_unit_test_setup(name, standard_settings)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(keys_with_anything_in_them_are_signed_listed_and_deleted),
        TEST(a_listing_of_several_pages_is_complete_and_in_order),
        TEST(a_large_object_travels_in_parts_both_ways),
        TEST(an_upload_that_is_not_allowed_is_refused_before_its_parts),
        TEST(a_wrong_secret_is_named_as_such),
        TEST(a_reader_may_read_and_not_write),
        TEST(missing_credentials_say_what_to_set),
        TEST(an_absent_bucket_and_an_absent_server_are_told_apart),
        TEST(the_bucket_may_stand_in_the_host_name),
        TEST(checksums_are_sent_where_asked_for),
        TEST(what_decayed_on_the_servers_disk_is_not_believed),
        TEST(a_presigned_url_is_fetched_by_anyone_until_it_ends),
        TEST(a_server_with_an_unknown_certificate_is_not_trusted),
        TEST(copies_that_nobody_uses_make_room_for_others),
        TEST(an_object_that_was_replaced_is_fetched_again),
        TEST(bad_settings_are_named),
    };
    mffa_err err = {0};
    if (!*env("S3_ENDPOINT")) {
        printf("skipped: there is no S3 server; tests/support/rgw.sh run %s starts one\n", program_invocation_name);
        return MFFA_TEST_SKIP;
    }
    if (!mkdtemp(cache_folder) || set_up(NULL, &err)) return fprintf(stderr, "%s\n", err.msg), 1;
    snprintf(url, sizeof url, "s3://%s/not/there yet", env("S3_BUCKET"));
    int failed = store_suite_run(url);
    snprintf(url, sizeof url, "s3://%s/own", env("S3_BUCKET"));
    failed += cmocka_run_group_tests_name(env("S3_SERVER"), tests, NULL, NULL);
    mffa_store_teardown();
    char command[64];
    snprintf(command, sizeof command, "rm -rf '%s'", cache_folder);
    return system(command) || failed;
}
