/* The S3 client against a server that misbehaves on purpose: every row of the retry table, and every answer that must not be believed. */
#include "storage/store.h"

#include <fcntl.h>
#include <time.h>
#include "core/base/clock.h"
#include "tests/support/http_script.h"
#include "tests/support/test.h"

enum { PART = 5 << 20 };
static char folder[] = "/tmp/mffa-faults-XXXXXX";
static const char *stall_ms = "60000"; /* a busy machine is no silent server */

/* A store whose server follows the script. */
static mffa_store *scripted(const mffa_step *steps, size_t count, const char *deadline_ms) {
    mffa_err err = {0};
    mffa_config c = {0};
    mffa_store *s = NULL;
    setenv("MFFA_S3_ENDPOINT", mffa_script_start(steps, count), 1);
    setenv("MFFA_S3_DEADLINE_MS", deadline_ms, 1);
    setenv("MFFA_S3_STALL_MS", stall_ms, 1);
    setenv("MFFA_S3_CONCURRENCY", "1", 1);
    setenv("MFFA_S3_PART_BYTES", "5242880", 1);
    setenv("AWS_ACCESS_KEY_ID", "AKID", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "hunter2", 1);
    assert_ok(mffa_config_load_env(&c, MFFA_WORKER, &err));
    assert_ok(mffa_store_setup(&c, folder, &err));
    mffa_config_done(&c);
    assert_ok(mffa_store_open("s3://plant/dir", &s, &err));
    return s;
}
#define SCRIPT(...) \
    static const mffa_step steps[] = {__VA_ARGS__}; \
    mffa_err err = {0}; \
    mffa_store *s = scripted(steps, MFFA_COUNT(steps), "600000")

/* Every step was used and nothing else was asked. */
static void finish(mffa_store *s, int requests) {
    mffa_store_close(s);
    assert_int_equal(mffa_script_requests(), requests);
    mffa_script_stop();
}

#define ERROR_BODY(code) "<?xml version=\"1.0\"?><Error><Code>" code "</Code><Message>said the server</Message></Error>"
#define RANGE(text) "Content-Range: bytes " text "\r\nETag: \"v1\"\r\n"

static void assert_gets(mffa_store *s, const char *key, const char *want) {
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    assert_ok(mffa_store_get(s, key, 1000, &got, &err));
    assert_string_equal(mffa_buf_text(&got), want);
}

static void assert_get_fails(mffa_store *s, mffa_code code, const char *text) {
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    mffa_buf_puts(&got, "before");
    assert_int_equal(mffa_store_get(s, "x", 1000, &got, &err), code);
    if (!strstr(err.msg, text)) fail_msg("\"%s\" is not in \"%s\"", text, err.msg);
    assert_string_equal(mffa_buf_text(&got), "before");
    assert_null(strstr(err.msg, "hunter2"));
}

static void slow_down_twice_is_waited_out(void **state) {
    (void)state;
    SCRIPT({"503 Slow Down", NULL, ERROR_BODY("SlowDown")}, {"503 Slow Down", NULL, ERROR_BODY("SlowDown")},
           {"206 Partial Content", RANGE("0-4/5"), "hello"});
    (void)err;
    assert_gets(s, "x", "hello");
    finish(s, 3);
}

static void retry_after_is_obeyed(void **state) {
    (void)state;
    SCRIPT({"503 Service Unavailable", "Retry-After: 1\r\n", NULL}, {"206 Partial Content", RANGE("0-4/5"), "hello"});
    (void)err;
    int64_t before = mffa_now_ms();
    assert_gets(s, "x", "hello");
    assert_true(mffa_now_ms() - before >= 1000);
    finish(s, 2);
}

static void a_server_error_and_a_lost_connection_are_tried_again(void **state) {
    (void)state;
    SCRIPT({"500 Internal", NULL, ERROR_BODY("InternalError")}, {.then = MFFA_THEN_CLOSE}, {.then = MFFA_THEN_RESET},
           {"400 Bad Request", NULL, ERROR_BODY("RequestTimeout")}, {"502 Bad Gateway", NULL, "<html>no XML"},
           {"206 Partial Content", RANGE("0-4/5"), "hello"});
    (void)err;
    assert_gets(s, "x", "hello");
    finish(s, 6);
}

static void a_body_that_breaks_off_is_fetched_again(void **state) {
    (void)state;
    SCRIPT({"206 Partial Content", RANGE("0-4/5"), "hel", 5, MFFA_THEN_RESET},
           {"206 Partial Content", RANGE("0-4/5"), "he", 5, MFFA_THEN_CLOSE},
           {"206 Partial Content", RANGE("0-2/3"), "new"});
    (void)err;
    assert_gets(s, "x", "new"); /* shorter by now: nothing of the first attempts is left */
    finish(s, 3);
}

static void what_will_not_get_better_is_asked_once(void **state) {
    (void)state;
    SCRIPT({"403 Forbidden", "x-amz-request-id: R1\r\n", ERROR_BODY("AccessDenied")},
           {"403 Forbidden", NULL, ERROR_BODY("SignatureDoesNotMatch")},
           {"404 Not Found", NULL, ERROR_BODY("NoSuchKey")}, {"400 Bad Request", NULL, ERROR_BODY("ExpiredToken")},
           {"501 Not Implemented", NULL, ERROR_BODY("NotImplemented")}, {"400 Bad Request", NULL, ERROR_BODY("InvalidArgument")});
    (void)err;
    assert_get_fails(s, MFFA_EDENIED, "\"s3://plant/dir/x\": GET answers 403 AccessDenied (request R1) \"said the server\"; "
                                      "the credentials may not do this");
    assert_get_fails(s, MFFA_EDENIED, "look at AWS_SECRET_ACCESS_KEY");
    assert_get_fails(s, MFFA_ENOTFOUND, "404 NoSuchKey");
    assert_get_fails(s, MFFA_EDENIED, "the session has ended");
    assert_get_fails(s, MFFA_EUNSUPPORTED, "501 NotImplemented");
    assert_get_fails(s, MFFA_EUNSUPPORTED, "400 InvalidArgument");
    finish(s, 6);
}

static void a_redirect_is_not_followed_and_names_where_to(void **state) {
    (void)state;
    SCRIPT({"307 Temporary Redirect", "Location: http://127.0.0.1:9/steal?x=y\r\n", NULL},
           {"301 Moved Permanently", "x-amz-bucket-region: eu-west-1\r\n", ERROR_BODY("PermanentRedirect")},
           {"400 Bad Request", NULL, "<Error><Code>AuthorizationHeaderMalformed</Code><Region>eu-north-1</Region></Error>"});
    (void)err;
    assert_get_fails(s, MFFA_EUNSUPPORTED, "names another host, \"127.0.0.1:9\", which is not followed: set MFFA_S3_ENDPOINT");
    assert_get_fails(s, MFFA_EUNSUPPORTED, "the bucket is in region \"eu-west-1\": set MFFA_S3_REGION");
    assert_get_fails(s, MFFA_EDENIED, "the bucket is in region \"eu-north-1\": set MFFA_S3_REGION");
    finish(s, 3);
}

static void a_clock_that_is_off_is_repaired_from_the_servers(void **state) {
    (void)state;
    SCRIPT({"403 Forbidden", "Date: Fri, 24 May 2013 00:00:00 GMT\r\n", ERROR_BODY("RequestTimeTooSkewed")},
           {"206 Partial Content", RANGE("0-4/5"), "hello"}, {"206 Partial Content", RANGE("0-4/5"), "again"},
           {"403 Forbidden", "Date: Sat, 25 May 2013 00:00:00 GMT\r\n", NULL}, {"200 OK", "ETag: \"v1\"\r\n", "12345"},
           {"403 Forbidden", "Date: Sat, 25 May 2013 00:00:00 GMT\r\n", ERROR_BODY("RequestTimeTooSkewed")},
           {"403 Forbidden", "Date: Sat, 25 May 2013 00:00:00 GMT\r\n", ERROR_BODY("RequestTimeTooSkewed")});
    int64_t bytes = 0;
    assert_gets(s, "x", "hello");
    assert_non_null(strstr(mffa_script_request(1), "x-amz-date: 20130524T000"));
    assert_gets(s, "x", "again"); /* and it is remembered */
    assert_non_null(strstr(mffa_script_request(2), "x-amz-date: 20130524T000"));
    assert_ok(mffa_store_head(s, "x", &bytes, NULL, &err)); /* whose refusals say nothing but their date */
    assert_non_null(strstr(mffa_script_request(4), "x-amz-date: 20130525T000"));
    assert_get_fails(s, MFFA_EDENIED, "this machine's clock is off: set it"); /* once */
    finish(s, 7);
}

#define SLOW {"206 Partial Content", RANGE("0-99/100"), \
              "01234567890123456789012345678901234567890123456789" \
              "01234567890123456789012345678901234567890123456789", 0, MFFA_THEN_DRIP}

static void silence_and_drops_end_at_their_limits(void **state) {
    (void)state;
    static const mffa_step steps[] = {{"206 Partial Content", RANGE("0-99/100"), "x", 100, MFFA_THEN_SILENCE}, SLOW, SLOW, SLOW};
    stall_ms = "1000";
    mffa_store *s = scripted(steps, MFFA_COUNT(steps), "4000");
    stall_ms = "60000";
    assert_get_fails(s, MFFA_EIO, "lost 127.0.0.1:"); /* silent for a second, then too slow for the deadline */
    assert_in_range(mffa_script_requests(), 2, 4);    /* drops that a busy machine holds back for a second count as silence too */
    mffa_store_close(s);
    mffa_script_stop();
}

static void a_size_beyond_the_limit_is_refused_before_it_is_read(void **state) {
    (void)state;
    SCRIPT({"206 Partial Content", RANGE("0-5242879/5497558138880"), "0123456789", 5242880, MFFA_THEN_CLOSE},
           {"200 OK", "ETag: \"v1\"\r\n", "0123456789", 5497558138880, MFFA_THEN_CLOSE});
    (void)err;
    assert_get_fails(s, MFFA_EINVAL, "\"s3://plant/dir/x\": it has 5497558138880 bytes: at most 1000 are read");
    assert_get_fails(s, MFFA_EINVAL, "it has 5497558138880 bytes");
    finish(s, 2);
}

/* ---- checksums ---- */

#define SUM(kind, text) "Content-Range: bytes 0-4/5\r\nETag: \"v1\"\r\nx-amz-checksum-" kind ": " text "\r\n"
#define NVME SUM("crc64nvme", "M3eFcAZSQlc=")

static void a_damaged_body_of_the_right_length_is_fetched_again(void **state) {
    (void)state;
    SCRIPT({"206 Partial Content", NVME, "hellp"}, {"206 Partial Content", NVME, "hello"},
           {"206 Partial Content", SUM("crc32c", "mnG7TA=="), "hallo"}, {"206 Partial Content", SUM("crc32c", "mnG7TA=="), "hello"},
           {"206 Partial Content", SUM("crc32", "NhCmhg=="), "jello"}, {"206 Partial Content", SUM("crc32", "NhCmhg=="), "hello"},
           {"206 Partial Content", SUM("sha256", "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="), "Hello"},
           {"206 Partial Content", SUM("sha256", "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="), "hello"});
    (void)err;
    for (int i = 0; i < 4; i++) assert_gets(s, "x", "hello");
    assert_non_null(strstr(mffa_script_request(0), "x-amz-checksum-mode: ENABLED\r\n"));
    assert_non_null(strstr(strstr(mffa_script_request(0), "SignedHeaders="), ";x-amz-checksum-mode;"));
    finish(s, 8);
}

static void an_object_that_lies_damaged_is_never_believed(void **state) {
    (void)state;
    static const mffa_step steps[] = {{"206 Partial Content", NVME, "hellp"}, {"206 Partial Content", NVME, "hellp"},
                                      {"206 Partial Content", NVME, "hellp"}, {"206 Partial Content", NVME, "hellp"},
                                      {"206 Partial Content", NVME, "hellp"}, {"206 Partial Content", NVME, "hellp"},
                                      {"206 Partial Content", NVME, "hellp"}, {"206 Partial Content", NVME, "hellp"},
                                      {"206 Partial Content", NVME, "hellp"}, {"206 Partial Content", NVME, "hellp"}};
    mffa_store *s = scripted(steps, MFFA_COUNT(steps), "1500");
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    assert_int_equal(mffa_store_get(s, "x", 1000, &got, &err), MFFA_EIO);
    assert_int_equal(got.len, 0);
    /* the deadline may end the last attempt before its answer came */
    if (!strstr(err.msg, "/x\": what came does not match the server's checksum, crc64nvme M3eFcAZSQlc=: damaged on its way, or there") &&
        !strstr(err.msg, "/x\": lost 127.0.0.1:"))
        fail_msg("\"%s\" does not say what happened", err.msg);
    assert_true(mffa_code_retryable(MFFA_EIO));
    mffa_store_close(s);
    mffa_script_stop();
}

static void checksums_of_something_else_are_not_held_against_the_content(void **state) {
    (void)state;
    SCRIPT({"206 Partial Content", SUM("sha256", "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=-2"), "hello"},
           {"206 Partial Content", SUM("crc32", "AAAAAA==") "x-amz-checksum-type: COMPOSITE\r\n", "hello"},
           {"206 Partial Content", SUM("xxhash3", "AAAAAA=="), "hello"},
           {"200 OK", "ETag: \"v1\"\r\nx-amz-checksum-crc64nvme: M3eFcAZSQlc=\r\n", "hello"});
    (void)err;
    for (int i = 0; i < 4; i++) assert_gets(s, "x", "hello");
    finish(s, 4);
}

static void ranges_that_were_not_asked_for_are_refused(void **state) {
    (void)state;
    SCRIPT({"206 Partial Content", RANGE("7-11/100"), "hello"}, {"206 Partial Content", RANGE("0-4"), "hello"},
           {"206 Partial Content", "ETag: \"v1\"\r\n", "hello"});
    (void)err;
    for (int i = 0; i < 3; i++) assert_get_fails(s, MFFA_EIO, "the server answers with a range that was not asked for");
    finish(s, 3);
}

/* ---- objects of several parts ---- */

static char *part_of_x(void) {
    char *text = malloc(PART + 1);
    assert_non_null(text);
    memset(text, 'x', PART);
    text[PART] = '\0';
    return text;
}

#define HEAD_OF_X(sum) {"200 OK", "ETag: \"v1\"\r\n" sum, NULL, 5242882}

static mffa_code get_two_parts(const mffa_step *second, mffa_err *err) {
    char *first = part_of_x();
    const mffa_step steps[] = {{"206 Partial Content", RANGE("0-5242879/5242882"), first}, HEAD_OF_X(""), *second};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    mffa_store *s = scripted(steps, 3, "600000");
    mffa_code rc = mffa_store_get(s, "x", 2 * PART, &got, err);
    if (!rc) assert_int_equal(got.len, PART + 2);
    assert_non_null(strstr(mffa_script_request(2), "Range: bytes=5242880-5242881\r\n"));
    assert_non_null(strstr(mffa_script_request(2), "If-Match: \"v1\"\r\n"));
    finish(s, 3);
    free(first);
    return rc;
}

static void an_object_that_changes_between_its_parts_fails_clearly(void **state) {
    (void)state;
    const mffa_step good = {"206 Partial Content", RANGE("5242880-5242881/5242882"), "yz"};
    const mffa_step refused = {"412 Precondition Failed", NULL, ERROR_BODY("PreconditionFailed")};
    const mffa_step other = {"206 Partial Content", "Content-Range: bytes 5242880-5242881/5242882\r\nETag: \"v2\"\r\n", "yz"};
    const mffa_step longer = {"206 Partial Content", RANGE("5242880-5242881/9999999"), "yz"};
    const mffa_step whole = {"200 OK", "ETag: \"v1\"\r\n", "everything"};
    mffa_err err = {0};
    assert_ok(get_two_parts(&good, &err));
    const mffa_step *changed[] = {&refused, &other, &longer};
    for (size_t i = 0; i < MFFA_COUNT(changed); i++) {
        assert_int_equal(get_two_parts(changed[i], &err), MFFA_EIO);
        assert_non_null(strstr(err.msg, "\"s3://plant/dir/x\": it changed while it was read"));
    }
    assert_int_equal(get_two_parts(&whole, &err), MFFA_EIO);
    assert_non_null(strstr(err.msg, "a range that was not asked for"));
}

static void parts_are_held_against_the_whole_objects_checksum(void **state) {
    (void)state;
    char *first = part_of_x();
    const mffa_step part1 = {"206 Partial Content", RANGE("0-5242879/5242882"), first};
    const mffa_step good = {"206 Partial Content", RANGE("5242880-5242881/5242882"), "yz"};
    const mffa_step bad = {"206 Partial Content", RANGE("5242880-5242881/5242882"), "yy"};
    const mffa_step heads[] = {HEAD_OF_X("x-amz-checksum-crc64nvme: Ff1/HpK+OqI=\r\n"), HEAD_OF_X("x-amz-checksum-crc32c: fO96ig==\r\n"),
                               HEAD_OF_X("x-amz-checksum-crc32: H7I8Og==\r\nx-amz-checksum-type: FULL_OBJECT\r\n")};
    for (size_t i = 0; i < MFFA_COUNT(heads); i++) {
        const mffa_step steps[] = {part1, heads[i], bad, part1, heads[i], good};
        MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
        mffa_err err = {0};
        mffa_store *s = scripted(steps, MFFA_COUNT(steps), "600000");
        assert_ok(mffa_store_get(s, "x", 2 * PART, &got, &err)); /* all of it again, and right this time */
        assert_memory_equal(got.ptr + PART, "yz", 3);
        finish(s, 6);
    }
    const mffa_step always[] = {part1, heads[0], bad, part1, heads[0], bad, part1, heads[0], bad};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    mffa_err err = {0};
    mffa_store *s = scripted(always, MFFA_COUNT(always), "600000");
    assert_int_equal(mffa_store_get(s, "x", 2 * PART, &got, &err), MFFA_EIO);
    assert_string_equal(err.msg, "\"s3://plant/dir/x\": what came does not match the server's checksum, crc64nvme Ff1/HpK+OqI=: "
                                 "damaged on its way, or there");
    finish(s, 9);
    free(first);
}

static mffa_code put_two_parts(const mffa_step *steps, size_t count, int requests, mffa_put how, mffa_err *err) {
    char path[] = "/tmp/mffa-faults-file-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, PART + 1), 0);
    close(fd);
    mffa_store *s = scripted(steps, count, "600000");
    mffa_code rc = mffa_store_put_file(s, "x", path, how, err);
    unlink(path);
    mffa_store_close(s);
    assert_int_equal(mffa_script_requests(), requests);
    return rc;
}

#define CREATED {"200 OK", NULL, "<InitiateMultipartUploadResult><UploadId>u/1+</UploadId></InitiateMultipartUploadResult>"}
#define STORED(etag) {"200 OK", "ETag: \"" etag "\"\r\n", NULL}
#define COMPLETED {"200 OK", NULL, "<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"}
#define OURS {"200 OK", "x-amz-meta-mffa-put: {mark}\r\n", NULL}

static void an_error_in_the_clothes_of_a_success_is_an_error(void **state) {
    (void)state;
    mffa_err err = {0};
    const mffa_step later_fine[] = {CREATED, STORED("a"), STORED("b"), {"200 OK", NULL, ERROR_BODY("InternalError")}, COMPLETED, OURS};
    assert_ok(put_two_parts(later_fine, 6, 6, MFFA_PUT_REPLACE, &err));
    assert_non_null(strstr(mffa_script_request(1), "PUT /plant/dir/x?partNumber=1&uploadId=u%2F1%2B HTTP/1.1"));
    mffa_script_stop();
    const mffa_step bad[] = {CREATED, STORED("a"), STORED("b"), {"200 OK", NULL, ERROR_BODY("AccessDenied")},
                             {"204 No Content", NULL, NULL}};
    assert_int_equal(put_two_parts(bad, 5, 5, MFFA_PUT_REPLACE, &err), MFFA_EDENIED);
    assert_non_null(strstr(err.msg, "POST answers 200 AccessDenied"));
    assert_non_null(strstr(mffa_script_request(4), "DELETE /plant/dir/x?uploadId=u%2F1%2B HTTP/1.1"));
    mffa_script_stop();
}

static void a_part_that_fails_for_good_ends_the_upload(void **state) {
    (void)state;
    mffa_err err = {0};
    const mffa_step steps[] = {CREATED, STORED("a"), {"400 Bad Request", NULL, ERROR_BODY("BadDigest")}, {"204 No Content", NULL, NULL}};
    assert_int_equal(put_two_parts(steps, 4, 4, MFFA_PUT_REPLACE, &err), MFFA_EUNSUPPORTED);
    assert_non_null(strstr(err.msg, "400 BadDigest"));
    assert_non_null(strstr(mffa_script_request(3), "DELETE /plant/dir/x?uploadId="));
    mffa_script_stop();
}

static void a_completion_whose_answer_was_lost_is_recognised(void **state) {
    (void)state;
    mffa_err err = {0};
    const mffa_step ours[] = {{"404 Not Found", NULL, NULL}, CREATED, STORED("a"), STORED("b"), {.then = MFFA_THEN_CLOSE},
                              {"404 Not Found", NULL, ERROR_BODY("NoSuchUpload")}, {"200 OK", "x-amz-meta-mffa-put: {mark}\r\n", NULL}};
    assert_ok(put_two_parts(ours, 7, 7, MFFA_PUT_NEW, &err));
    mffa_script_stop();
    const mffa_step not_ours[] = {{"404 Not Found", NULL, NULL}, CREATED, STORED("a"), STORED("b"), {.then = MFFA_THEN_CLOSE},
                                  {"404 Not Found", NULL, ERROR_BODY("NoSuchUpload")}, {"200 OK", "x-amz-meta-mffa-put: other\r\n", NULL},
                                  {"204 No Content", NULL, NULL}};
    assert_int_equal(put_two_parts(not_ours, 8, 8, MFFA_PUT_NEW, &err), MFFA_ENOTFOUND);
    assert_non_null(strstr(err.msg, "NoSuchUpload"));
    mffa_script_stop();
}

static void a_checksum_goes_with_every_part_and_the_whole(void **state) {
    (void)state;
    mffa_err err = {0};
    const mffa_step steps[] = {CREATED, STORED("a"), STORED("b"), COMPLETED, OURS};
    setenv("MFFA_S3_CHECKSUM", "crc64nvme", 1);
    assert_ok(put_two_parts(steps, 5, 5, MFFA_PUT_REPLACE, &err));
    assert_non_null(strstr(mffa_script_request(0), "x-amz-checksum-algorithm: CRC64NVME\r\nx-amz-checksum-type: FULL_OBJECT\r\n"));
    assert_non_null(strstr(mffa_script_request(1), "x-amz-checksum-crc64nvme: vqf3hRLTlJw=\r\n"));
    assert_non_null(strstr(mffa_script_request(2), "x-amz-checksum-crc64nvme: 1dpQR+/shyg=\r\n"));
    assert_non_null(strstr(mffa_script_request(3), "x-amz-checksum-crc64nvme: WJaSZb5eunI=\r\nx-amz-checksum-type: FULL_OBJECT\r\n"));
    assert_non_null(strstr(mffa_script_body(3), "<ChecksumCRC64NVME>1dpQR+/shyg=</ChecksumCRC64NVME></Part>"));
    mffa_script_stop();
    setenv("MFFA_S3_CHECKSUM", "crc32", 1); /* Python's zlib.crc32 of the same zeros */
    assert_ok(put_two_parts(steps, 5, 5, MFFA_PUT_REPLACE, &err));
    assert_non_null(strstr(mffa_script_request(0), "x-amz-checksum-algorithm: CRC32\r\nx-amz-checksum-type: FULL_OBJECT\r\n"));
    assert_non_null(strstr(mffa_script_request(1), "x-amz-checksum-crc32: yTuzdQ==\r\n"));
    assert_non_null(strstr(mffa_script_request(3), "x-amz-checksum-crc32: 8qRRjQ==\r\nx-amz-checksum-type: FULL_OBJECT\r\n"));
    assert_non_null(strstr(mffa_script_body(3), "<ChecksumCRC32>0gLvjQ==</ChecksumCRC32></Part>"));
    mffa_script_stop();
    setenv("MFFA_S3_CHECKSUM", "sha256", 1);
    assert_ok(put_two_parts(steps, 5, 5, MFFA_PUT_REPLACE, &err));
    unsetenv("MFFA_S3_CHECKSUM");
    assert_non_null(strstr(mffa_script_request(0), "x-amz-checksum-algorithm: SHA256\r\n"));
    assert_non_null(strstr(mffa_script_request(2), "x-amz-checksum-sha256: bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=\r\n"));
    assert_non_null(strstr(mffa_script_body(3), "<ChecksumSHA256>bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=</ChecksumSHA256></Part>"));
    mffa_script_stop();
}

static void an_acknowledged_object_that_is_not_there_is_sent_again(void **state) {
    (void)state;
    mffa_err err = {0};
    const mffa_step absent = {"404 Not Found", NULL, NULL}, other = {"200 OK", "x-amz-meta-mffa-put: other\r\n", NULL};
    const mffa_step ended = {"204 No Content", NULL, NULL};
    const mffa_step again[] = {CREATED, STORED("a"), STORED("b"), COMPLETED, absent, ended,
                               CREATED, STORED("a"), STORED("b"), COMPLETED, OURS};
    assert_ok(put_two_parts(again, 11, 11, MFFA_PUT_REPLACE, &err));
    mffa_script_stop();
    const mffa_step never[] = {CREATED, STORED("a"), STORED("b"), COMPLETED, other, ended,
                               CREATED, STORED("a"), STORED("b"), COMPLETED, absent, ended};
    assert_int_equal(put_two_parts(never, 12, 12, MFFA_PUT_REPLACE, &err), MFFA_EIO);
    assert_string_equal(err.msg, "\"s3://plant/dir/x\": the server acknowledges the upload, but the object is not there");
    mffa_script_stop();
}

/* ---- conditional puts ---- */

static mffa_code put_new(mffa_store *s, mffa_err *err) { return mffa_store_put(s, "x", mffa_span_of("x"), MFFA_PUT_NEW, err); }

/* A server that refuses megabytes hangs up before they are through, and what it answered may never arrive. */
static void a_large_new_object_is_looked_for_before_it_is_sent(void **state) {
    (void)state;
    enum { LARGE = 2 << 20 };
    MFFA_AUTO(mffa_free_p) char *bytes = calloc(1, LARGE);
    SCRIPT({"200 OK", "ETag: \"v1\"\r\n", NULL}, {"404 Not Found", NULL, NULL}, {"200 OK", "ETag: \"a\"\r\n", NULL});
    assert_int_equal(mffa_store_put(s, "x", (mffa_span){bytes, LARGE}, MFFA_PUT_NEW, &err), MFFA_EEXISTS);
    assert_string_equal(err.msg, "\"s3://plant/dir/x\" exists already");
    assert_int_equal(mffa_script_requests(), 1);
    assert_ok(mffa_store_put(s, "x", (mffa_span){bytes, LARGE}, MFFA_PUT_NEW, &err));
    assert_non_null(strstr(mffa_script_request(2), "If-None-Match: *\r\n"));
    finish(s, 3);
}

static void a_taken_key_and_a_conflict_are_told_apart(void **state) {
    (void)state;
    SCRIPT({"412 Precondition Failed", NULL, ERROR_BODY("PreconditionFailed")}, {"200 OK", NULL, NULL},
           {"409 Conflict", NULL, ERROR_BODY("ConditionalRequestConflict")},
           {"200 OK", "ETag: \"a\"\r\n", NULL}, {"412 Precondition Failed", NULL, ERROR_BODY("PreconditionFailed")},
           {"200 OK", "ETag: \"a\"\r\n", NULL});
    assert_int_equal(put_new(s, &err), MFFA_EEXISTS);
    assert_string_equal(err.msg, "\"s3://plant/dir/x\" exists already");
    assert_ok(put_new(s, &err)); /* with the proof that the server knows the condition, once */
    assert_ok(put_new(s, &err));
    assert_non_null(strstr(mffa_script_request(0), "If-None-Match: *\r\n"));
    finish(s, 6);
}

static void a_put_whose_answer_was_lost_is_recognised(void **state) {
    (void)state;
    SCRIPT({.then = MFFA_THEN_CLOSE}, {"412 Precondition Failed", NULL, ERROR_BODY("PreconditionFailed")},
           {"200 OK", "x-amz-meta-mffa-put: {mark}\r\n", NULL}, {"412 Precondition Failed", NULL, NULL}, {.then = MFFA_THEN_CLOSE},
           {"412 Precondition Failed", NULL, NULL}, {"200 OK", "x-amz-meta-mffa-put: somebody-elses\r\n", NULL});
    assert_ok(put_new(s, &err));
    assert_int_equal(put_new(s, &err), MFFA_EEXISTS);
    finish(s, 7);
}

static void a_server_that_ignores_the_condition_is_named(void **state) {
    (void)state;
    SCRIPT({"200 OK", "ETag: \"a\"\r\n", NULL}, {"200 OK", "ETag: \"a\"\r\n", NULL});
    assert_int_equal(put_new(s, &err), MFFA_EUNSUPPORTED);
    assert_non_null(strstr(err.msg, " ignores If-None-Match, so that an object could be overwritten unnoticed; "
                                    "MFFA_S3_CONDITIONAL=off accepts that"));
    finish(s, 2);
    static const mffa_step looks[] = {{"404 Not Found", NULL, NULL}, {"200 OK", "ETag: \"a\"\r\n", NULL},
                                      {"200 OK", "ETag: \"a\"\r\n", NULL}};
    setenv("MFFA_S3_CONDITIONAL", "off", 1);
    s = scripted(looks, 3, "600000");
    unsetenv("MFFA_S3_CONDITIONAL");
    assert_ok(put_new(s, &err));
    assert_int_equal(put_new(s, &err), MFFA_EEXISTS);
    finish(s, 3);
}

/* ---- lists ---- */

static mffa_code nothing(void *ctx, const mffa_object *o, mffa_err *err) {
    (void)ctx, (void)o, (void)err;
    return MFFA_OK;
}

#define OBJECT(key) "<Contents><Key>" key "</Key><Size>1</Size><ETag>&quot;e&quot;</ETag></Contents>"
#define PAGE(content) {"200 OK", NULL, "<ListBucketResult>" content "</ListBucketResult>"}
#define MORE(token) "<IsTruncated>true</IsTruncated><NextContinuationToken>" token "</NextContinuationToken>"

static void assert_list_fails(mffa_store *s, const char *text) {
    mffa_err err = {0};
    assert_int_equal(mffa_store_list(s, "", nothing, NULL, &err), MFFA_EIO);
    if (!strstr(err.msg, text)) fail_msg("\"%s\" is not in \"%s\"", text, err.msg);
    assert_non_null(strstr(err.msg, "\"s3://plant/dir/\": "));
}

static void lists_that_cannot_be_are_refused(void **state) {
    (void)state;
    SCRIPT(PAGE(OBJECT("dir/a") MORE("t")), PAGE(OBJECT("dir/b") MORE("t")),        /* the same place again */
           PAGE(OBJECT("dir/a") MORE("t1")), PAGE(OBJECT("dir/a") MORE("t2")),      /* the same keys again */
           PAGE(OBJECT("dir/b") OBJECT("dir/a")), PAGE(OBJECT("other/a")), PAGE(OBJECT("dir/a") "<IsTruncated>true</IsTruncated>"),
           PAGE("<Contents><Key>dir/a</Key></Contents>"), {"200 OK", NULL, "<html><br></html>"},
           {"200 OK", NULL, "<ListBucketResult><Contents>"});
    (void)err;
    assert_list_fails(s, "goes round in circles");
    assert_list_fails(s, "is not in order, or goes round in circles");
    assert_list_fails(s, "is not in order, or goes round in circles");
    assert_list_fails(s, "has a key that was not asked for");
    assert_list_fails(s, "has more, but does not say where");
    assert_list_fails(s, "has an object without a size");
    assert_list_fails(s, "is not well-formed");
    assert_list_fails(s, "is not well-formed");
    finish(s, 10);
}

static mffa_code join_keys(void *ctx, const mffa_object *o, mffa_err *err) {
    mffa_buf_putf(ctx, "%s:%lld:%s ", o->key, (long long)o->bytes, o->etag);
    return mffa_buf_check(ctx, err);
}

static void folders_that_consoles_make_are_no_objects_and_odd_keys_are_errors(void **state) {
    (void)state;
    SCRIPT(PAGE("<EncodingType>url</EncodingType><Contents><Key>dir/</Key><Size>0</Size></Contents>" OBJECT("dir/a+b%2B")
                "<Contents><Key>dir/c/</Key><Size>0</Size></Contents>"),
           PAGE(OBJECT("dir/a//b")));
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    assert_ok(mffa_store_list(s, "", join_keys, &got, &err));
    assert_string_equal(mffa_buf_text(&got), "a b+:1:e ");
    assert_int_equal(mffa_store_list(s, "", join_keys, &got, &err), MFFA_EDENIED);
    assert_non_null(strstr(err.msg, "cannot list \"s3://plant/dir\": key \"a//b\" has an empty segment"));
    finish(s, 2);
}

static void what_could_not_be_deleted_is_named(void **state) {
    (void)state;
    SCRIPT(PAGE(OBJECT("dir/a/1") OBJECT("dir/a/2")),
           {"200 OK", NULL, "<DeleteResult><Error><Key>dir/a/2</Key><Code>AccessDenied</Code></Error></DeleteResult>"});
    assert_int_equal(mffa_store_delete_all(s, "a/", &err), MFFA_EDENIED);
    assert_string_equal(err.msg, "\"s3://plant/dir/a/2\" could not be deleted: AccessDenied");
    finish(s, 2);
}

static void uploads_that_nobody_finished_go_with_delete_all(void **state) {
    (void)state;
    SCRIPT(PAGE(""),
           {"200 OK", NULL,
            "<ListMultipartUploadsResult><Upload><Key>dir/a/x</Key><UploadId>u1</UploadId></Upload></ListMultipartUploadsResult>"},
           {"204 No Content", NULL, NULL});
    assert_ok(mffa_store_delete_all(s, "a/", &err));
    assert_non_null(strstr(mffa_script_request(2), "DELETE /plant/dir/a/x?uploadId=u1 HTTP/1.1"));
    finish(s, 3);
}

/* ---- settings ---- */

static void encryption_and_the_requesters_costs_are_signed_headers(void **state) {
    (void)state;
    setenv("MFFA_S3_SSE", "aws:kms", 1), setenv("MFFA_S3_KMS_KEY", "key-7", 1), setenv("MFFA_S3_REQUESTER_PAYS", "on", 1);
    SCRIPT({"200 OK", "ETag: \"a\"\r\n", NULL}, {"206 Partial Content", RANGE("0-4/5"), "hello"});
    unsetenv("MFFA_S3_SSE"), unsetenv("MFFA_S3_KMS_KEY"), unsetenv("MFFA_S3_REQUESTER_PAYS");
    assert_ok(mffa_store_put(s, "x", mffa_span_of("hello"), MFFA_PUT_REPLACE, &err));
    assert_gets(s, "x", "hello");
    const char *put = mffa_script_request(0), *get = mffa_script_request(1);
    assert_non_null(strstr(put, "x-amz-server-side-encryption: aws:kms\r\nx-amz-server-side-encryption-aws-kms-key-id: key-7\r\n"));
    assert_non_null(strstr(put, "x-amz-request-payer;x-amz-server-side-encryption;x-amz-server-side-encryption-aws-kms-key-id,"));
    assert_non_null(strstr(get, "x-amz-request-payer: requester\r\n"));
    assert_null(strstr(get, "server-side-encryption")); /* S3 refuses them there */
    finish(s, 2);
}

/* A store of a server that only a proxy reaches. */
static mffa_store *behind_proxy(void) {
    mffa_err err = {0};
    mffa_config c = {0};
    mffa_store *s = NULL;
    setenv("MFFA_S3_ENDPOINT", "http://s3.mffa.invalid", 1);
    setenv("MFFA_S3_DEADLINE_MS", "500", 1);
    assert_ok(mffa_config_load_env(&c, MFFA_WORKER, &err));
    assert_ok(mffa_store_setup(&c, folder, &err));
    mffa_config_done(&c);
    assert_ok(mffa_store_open("s3://plant/dir", &s, &err));
    return s;
}

static void the_usual_variables_name_a_proxy(void **state) {
    (void)state;
    static const mffa_step steps[] = {{"206 Partial Content", RANGE("0-4/5"), "hello"}};
    setenv("http_proxy", mffa_script_start(steps, 1), 1);
    mffa_store *s = behind_proxy();
    assert_gets(s, "x", "hello");
    assert_non_null(strstr(mffa_script_request(0), "GET http://s3.mffa.invalid/plant/dir/x HTTP/1.1\r\n"));
    assert_non_null(strstr(mffa_script_request(0), "Host: s3.mffa.invalid\r\n"));
    setenv("no_proxy", ".mffa.invalid", 1);
    assert_get_fails(s, MFFA_EIO, "s3.mffa.invalid"); /* no such host: the proxy is not asked */
    unsetenv("http_proxy"), unsetenv("no_proxy");
    finish(s, 1);
}

static void bandwidth_has_a_limit(void **state) {
    (void)state;
    char *large = part_of_x();
    large[1000000] = '\0';
    const mffa_step steps[] = {{"206 Partial Content", RANGE("0-999999/1000000"), large}};
    setenv("MFFA_S3_BYTES_PER_S", "400000", 1);
    mffa_store *s = scripted(steps, 1, "600000");
    unsetenv("MFFA_S3_BYTES_PER_S");
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    int64_t began = mffa_now_ms();
    assert_ok(mffa_store_get(s, "x", 1 << 20, &got, &err));
    assert_int_equal(got.len, 1000000);
    assert_true(mffa_now_ms() - began >= 1000); /* unlimited it takes milliseconds */
    finish(s, 1);
    free(large);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slow_down_twice_is_waited_out),
        cmocka_unit_test(retry_after_is_obeyed),
        cmocka_unit_test(a_server_error_and_a_lost_connection_are_tried_again),
        cmocka_unit_test(a_body_that_breaks_off_is_fetched_again),
        cmocka_unit_test(what_will_not_get_better_is_asked_once),
        cmocka_unit_test(a_redirect_is_not_followed_and_names_where_to),
        cmocka_unit_test(a_clock_that_is_off_is_repaired_from_the_servers),
        cmocka_unit_test(silence_and_drops_end_at_their_limits),
        cmocka_unit_test(a_size_beyond_the_limit_is_refused_before_it_is_read),
        cmocka_unit_test(a_damaged_body_of_the_right_length_is_fetched_again),
        cmocka_unit_test(an_object_that_lies_damaged_is_never_believed),
        cmocka_unit_test(checksums_of_something_else_are_not_held_against_the_content),
        cmocka_unit_test(ranges_that_were_not_asked_for_are_refused),
        cmocka_unit_test(an_object_that_changes_between_its_parts_fails_clearly),
        cmocka_unit_test(parts_are_held_against_the_whole_objects_checksum),
        cmocka_unit_test(an_error_in_the_clothes_of_a_success_is_an_error),
        cmocka_unit_test(a_part_that_fails_for_good_ends_the_upload),
        cmocka_unit_test(a_completion_whose_answer_was_lost_is_recognised),
        cmocka_unit_test(a_checksum_goes_with_every_part_and_the_whole),
        cmocka_unit_test(an_acknowledged_object_that_is_not_there_is_sent_again),
        cmocka_unit_test(a_large_new_object_is_looked_for_before_it_is_sent),
        cmocka_unit_test(a_taken_key_and_a_conflict_are_told_apart),
        cmocka_unit_test(a_put_whose_answer_was_lost_is_recognised),
        cmocka_unit_test(a_server_that_ignores_the_condition_is_named),
        cmocka_unit_test(lists_that_cannot_be_are_refused),
        cmocka_unit_test(folders_that_consoles_make_are_no_objects_and_odd_keys_are_errors),
        cmocka_unit_test(what_could_not_be_deleted_is_named),
        cmocka_unit_test(uploads_that_nobody_finished_go_with_delete_all),
        cmocka_unit_test(encryption_and_the_requesters_costs_are_signed_headers),
        cmocka_unit_test(the_usual_variables_name_a_proxy),
        cmocka_unit_test(bandwidth_has_a_limit),
    };
    if (!mkdtemp(folder)) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    mffa_store_teardown();
    return rmdir(folder) || failed;
}
