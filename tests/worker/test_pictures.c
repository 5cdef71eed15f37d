/* Pictures of a data set on S3: what is asked of the server for each, and the limit of its size. */
#include "worker/pictures.h"

#include "tests/support/http_script.h"
#include "tests/support/test.h"

static char folder[] = "/tmp/mffa-pictures-XXXXXX";

/* A job whose data set lies on a server that follows the script. */
static mffa_job job_on(const mffa_step *steps, size_t count, mffa_config *c, bool skip_bad) {
    mffa_err err = {0};
    mffa_job j = {.config = c, .skip_bad = skip_bad};
    setenv("MFFA_S3_ENDPOINT", mffa_script_start(steps, count), 1);
    setenv("MFFA_MAX_IMAGE_BYTES", "1024", 1);
    setenv("AWS_ACCESS_KEY_ID", "AKID", 1);
    setenv("AWS_SECRET_ACCESS_KEY", "hunter2", 1);
    assert_ok(mffa_config_load_env(c, MFFA_WORKER, &err));
    assert_ok(mffa_store_setup(c, folder, &err));
    assert_ok(mffa_store_open("s3://plant/set", &j.dataset, &err));
    return j;
}

static void finish(mffa_job *j, mffa_config *c, int requests) {
    mffa_store_close(j->dataset);
    mffa_store_teardown();
    mffa_skipped_done(&j->skipped);
    mffa_config_done(c);
    assert_int_equal(mffa_script_requests(), requests);
    mffa_script_stop();
}

static void assert_says(const mffa_err *err, const char *text) {
    if (!strstr(err->msg, text)) fail_msg("\"%s\" is not in \"%s\"", text, err->msg);
}

static void a_picture_is_one_request(void **state) {
    (void)state;
    static const mffa_step steps[] = {
        {"206 Partial Content", "Content-Range: bytes 0-4/5\r\nETag: \"v1\"\r\n", "hello", 0, MFFA_THEN_KEEP}};
    mffa_config c = {0};
    mffa_job j = job_on(steps, MFFA_COUNT(steps), &c, false);
    mffa_image picture = {0};
    mffa_err err = {0};
    assert_int_equal(mffa_picture_read(&j, "train/good/1.png", &picture, &err), MFFA_EINVAL);
    assert_says(&err, "\"s3://plant/set/train/good/1.png\": "); /* it arrived, and is none */
    assert_non_null(strstr(mffa_script_request(0), "GET /plant/set/train/good/1.png HTTP/1.1"));
    finish(&j, &c, 1);
}

static void a_file_beyond_the_limit_is_refused_from_its_first_answer(void **state) {
    (void)state;
    static const mffa_step steps[] = {
        {"206 Partial Content", "Content-Range: bytes 0-4999/5000\r\nETag: \"v1\"\r\n", "start", 5000, MFFA_THEN_SILENCE},
        {"206 Partial Content", "Content-Range: bytes 0-4999/5000\r\nETag: \"v1\"\r\n", "start", 5000, MFFA_THEN_SILENCE}};
    mffa_config c = {0};
    mffa_job j = job_on(steps, MFFA_COUNT(steps), &c, false);
    mffa_image picture = {0};
    mffa_err err = {0};
    assert_int_equal(mffa_picture_read(&j, "x.png", &picture, &err), MFFA_EINVAL);
    assert_says(&err, "\"s3://plant/set/x.png\": cannot be read (MFFA_MAX_IMAGE_BYTES is 1024): ");
    assert_says(&err, "it has 5000 bytes: at most 1024 are read");
    j.skip_bad = true;
    assert_int_equal(mffa_picture_read(&j, "x.png", &picture, &err), MFFA_ESKIP);
    assert_int_equal(j.skipped.count, 1);
    finish(&j, &c, 2);
}

static void what_the_server_cannot_deliver_is_no_bad_picture(void **state) {
    (void)state;
    static const mffa_step steps[] = {{"403 Forbidden", NULL, "<Error><Code>AccessDenied</Code></Error>", 0, MFFA_THEN_KEEP}};
    mffa_config c = {0};
    mffa_job j = job_on(steps, MFFA_COUNT(steps), &c, true);
    mffa_image picture = {0};
    mffa_err err = {0};
    assert_int_equal(mffa_picture_read(&j, "x.png", &picture, &err), MFFA_EDENIED);
    assert_int_equal(j.skipped.count, 0);
    finish(&j, &c, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_picture_is_one_request),
        cmocka_unit_test(a_file_beyond_the_limit_is_refused_from_its_first_answer),
        cmocka_unit_test(what_the_server_cannot_deliver_is_no_bad_picture),
    };
    if (!mkdtemp(folder)) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return rmdir(folder) || failed;
}
