/* A real server that is killed (SIGKILL) and started again while objects travel, and a writer that is killed. Started around this program
 * by tests/support/rgw.sh or versitygw.sh; what is killed is the process that answers. */
#include "storage/store.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/support/tcp_gate.h"
#include "tests/support/test.h"

enum { PART = 5 << 20, SIZE = 4 * PART + 4 * 1000 };
static char url[256], cache[64], folder[] = "/tmp/mffa-s3-kills-XXXXXX", file[64];

static const char *env(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

static void run_script(const char *words) {
    char command[512];
    snprintf(command, sizeof command, "bash \"$S3_SCRIPT\" %s >/dev/null", words);
    assert_int_equal(system(command), 0);
}

static void kill_server(void *ctx) {
    (void)ctx;
    run_script("kill \"$S3_DIR\" \"$S3_PROCESS\"");
}

static void start_server(void) { run_script("start \"$S3_DIR\""); }

static void kill_and_start_server(void *ctx) { kill_server(ctx), start_server(); }

/* A store whose requests pass the gate. */
static mffa_store *open_store(const char *deadline_ms) {
    mffa_err err = {0};
    mffa_config c = {0};
    mffa_store *s = NULL;
    char endpoint[64];
    snprintf(endpoint, sizeof endpoint, "http://127.0.0.1:%d", mffa_gate_open(atoi(env("S3_PORT"))));
    setenv("MFFA_S3_ENDPOINT", endpoint, 1);
    setenv("MFFA_S3_REGION", env("S3_REGION"), 1);
    setenv("MFFA_S3_PART_BYTES", "5242880", 1);
    setenv("MFFA_S3_CONCURRENCY", "2", 1);
    setenv("MFFA_S3_DEADLINE_MS", deadline_ms, 1);
    setenv("AWS_ACCESS_KEY_ID", env("S3_OWNER_KEY"), 1);
    setenv("AWS_SECRET_ACCESS_KEY", env("S3_OWNER_SECRET"), 1);
    assert_ok(mffa_config_load_env(&c, MFFA_WORKER, &err));
    assert_ok(mffa_store_setup(&c, cache, &err));
    mffa_config_done(&c);
    assert_ok(mffa_store_open(url, &s, &err));
    return s;
}

static void close_store(mffa_store *s) {
    mffa_err err = {0};
    char command[96];
    assert_ok(mffa_store_delete_all(s, "kills/", &err));
    mffa_store_close(s);
    mffa_gate_close();
    snprintf(command, sizeof command, "rm -f '%s'/*", cache); /* copies: the next test fetches its own */
    (void)!system(command);
}

static void assert_same(const char *path) {
    char command[256];
    snprintf(command, sizeof command, "cmp '%s' '%s'", path, file);
    assert_int_equal(system(command), 0);
}

static void assert_holds_the_file(mffa_store *s, const char *key) {
    mffa_err err = {0};
    MFFA_AUTO(mffa_free_p) char *path = NULL;
    assert_ok(mffa_store_local(s, key, &path, &err));
    assert_same(path);
}

static bool count_uploads(void *ctx, const char *key) {
    assert_string_equal(key, "kills/x");
    ++*(int *)ctx;
    return false;
}

static bool all(void *ctx, const char *key) {
    (void)ctx, (void)key;
    return true;
}

static int unfinished(mffa_store *s) {
    mffa_err err = {0};
    int n = 0;
    assert_ok(mffa_store_end_uploads(s, "kills/", count_uploads, &n, &err));
    return n;
}

static mffa_code none(void *ctx, const mffa_object *o, mffa_err *err) {
    (void)ctx, (void)err;
    fail_msg("\"%s\" is published", o->key);
    return MFFA_OK;
}

static void assert_nothing_is_published(mffa_store *s) {
    mffa_err err = {0};
    assert_ok(mffa_store_list(s, "kills/", none, NULL, &err));
}

/* ---- the server ---- */

static void an_upload_goes_on_when_the_server_is_back(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_store *s = open_store("600000");
    mffa_gate_at_bytes(MFFA_GATE_TO_SERVER, 2 * PART + PART / 2, kill_and_start_server, NULL);
    assert_ok(mffa_store_put_file(s, "kills/x", file, MFFA_PUT_NEW, &err));
    assert_int_equal(mffa_gate_acted(), 1);
    assert_holds_the_file(s, "kills/x");
    assert_int_equal(unfinished(s), 0);
    close_store(s);
}

static void a_completion_that_the_kill_meets_is_found_out_about(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_store *s = open_store("600000");
    mffa_gate_at_text(MFFA_GATE_TO_SERVER, "<CompleteMultipartUpload", kill_and_start_server, NULL);
    assert_ok(mffa_store_put_file(s, "kills/x", file, MFFA_PUT_NEW, &err));
    assert_int_equal(mffa_gate_acted(), 1);
    assert_holds_the_file(s, "kills/x");
    close_store(s);
}

static void a_fetch_goes_on_when_the_server_is_back(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf want = {0};
    mffa_store *s = open_store("600000");
    assert_ok(mffa_store_put_file(s, "kills/x", file, MFFA_PUT_NEW, &err));
    mffa_gate_at_bytes(MFFA_GATE_TO_CLIENT, PART / 2, kill_and_start_server, NULL); /* in the first part */
    assert_holds_the_file(s, "kills/x");
    mffa_gate_at_bytes(MFFA_GATE_TO_CLIENT, 2 * PART + PART / 2, kill_and_start_server, NULL);
    assert_ok(mffa_store_get(s, "kills/x", SIZE, &got, &err));
    assert_int_equal(mffa_gate_acted(), 2);
    assert_ok(mffa_buf_read_file(&want, file, SIZE, &err));
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.ptr, want.ptr, want.len);
    close_store(s);
}

static void small_objects_are_all_there_and_once(void **state) {
    (void)state;
    enum { COUNT = 40, EACH = 50000 };
    mffa_err err = {0};
    static char bytes[EACH];
    mffa_store *s = open_store("600000");
    mffa_gate_at_bytes(MFFA_GATE_TO_SERVER, COUNT * EACH / 2, kill_and_start_server, NULL);
    for (int i = 0; i < COUNT; i++) {
        char key[32];
        snprintf(key, sizeof key, "kills/small/%02d", i);
        memset(bytes, 'a' + i % 26, sizeof bytes);
        assert_ok(mffa_store_put(s, key, (mffa_span){bytes, sizeof bytes}, MFFA_PUT_NEW, &err)); /* its own lost answer is no rival */
    }
    assert_int_equal(mffa_gate_acted(), 1);
    for (int i = 0; i < COUNT; i++) {
        char key[32];
        MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
        snprintf(key, sizeof key, "kills/small/%02d", i);
        memset(bytes, 'a' + i % 26, sizeof bytes);
        assert_ok(mffa_store_get(s, key, EACH, &got, &err));
        assert_int_equal(got.len, EACH);
        assert_memory_equal(got.ptr, bytes, EACH);
    }
    close_store(s);
}

static void a_server_that_stays_away_is_a_clear_error_and_publishes_nothing(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_store *s = open_store("3000");
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    mffa_gate_at_bytes(MFFA_GATE_TO_SERVER, 2 * PART + PART / 2, kill_server, NULL);
    assert_int_equal(mffa_store_put_file(s, "kills/x", file, MFFA_PUT_NEW, &err), MFFA_EIO);
    assert_true(mffa_code_retryable(MFFA_EIO));
    if (!strstr(err.msg, "/kills/x\": lost 127.0.0.1:") && !strstr(err.msg, "/kills/x\": could not reach 127.0.0.1:"))
        fail_msg("\"%s\" does not say what happened", err.msg);
    start_server();
    assert_nothing_is_published(s);
    assert_int_equal(unfinished(s), 1); /* it could not be ended then, and is now */
    assert_ok(mffa_store_end_uploads(s, "kills/", all, NULL, &err));
    assert_int_equal(unfinished(s), 0);
    assert_ok(mffa_store_put_file(s, "kills/x", file, MFFA_PUT_NEW, &err));
    mffa_gate_at_bytes(MFFA_GATE_TO_CLIENT, PART / 2, kill_server, NULL);
    assert_int_equal(mffa_store_get(s, "kills/x", SIZE, &got, &err), MFFA_EIO);
    assert_int_equal(got.len, 0);
    start_server();
    assert_holds_the_file(s, "kills/x");
    close_store(s);
}

/* ---- the writer ---- */

static void kill_writer(void *ctx) { assert_int_equal(kill(atomic_load((atomic_int *)ctx), SIGKILL), 0); }

static void what_a_killed_writer_left_is_no_object_and_can_be_ended(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_store *s = open_store("600000");
    char from[96], to[300], program[] = MFFA_TEST_CTL, put[] = "put", *words[] = {program, put, from, to, NULL};
    snprintf(from, sizeof from, "%s/in", folder);
    snprintf(to, sizeof to, "%s/kills", url);
    atomic_int writer = 0;
    pid_t started = 0;
    int status = 0;
    mffa_gate_at_bytes(MFFA_GATE_TO_SERVER, 2 * PART + PART / 2, kill_writer, &writer);
    assert_int_equal(posix_spawn(&started, program, NULL, NULL, words, environ), 0);
    atomic_store(&writer, started);
    assert_int_equal(waitpid(started, &status, 0), started);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_nothing_is_published(s);
    assert_int_equal(unfinished(s), 1);
    assert_ok(mffa_store_end_uploads(s, "kills/", all, NULL, &err));
    assert_int_equal(unfinished(s), 0);
    close_store(s);
}

static void make_input(void) {
    char command[256];
    snprintf(command, sizeof command, "mkdir '%s/in' '%s/cache' && head -c %d /dev/urandom >'%s/in/x'", folder, folder, SIZE, folder);
    snprintf(file, sizeof file, "%s/in/x", folder);
    snprintf(cache, sizeof cache, "%s/cache", folder);
    if (system(command)) fprintf(stderr, "could not make %s\n", file), exit(1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_upload_goes_on_when_the_server_is_back),
        cmocka_unit_test(a_completion_that_the_kill_meets_is_found_out_about),
        cmocka_unit_test(a_fetch_goes_on_when_the_server_is_back),
        cmocka_unit_test(small_objects_are_all_there_and_once),
        cmocka_unit_test(a_server_that_stays_away_is_a_clear_error_and_publishes_nothing),
        cmocka_unit_test(what_a_killed_writer_left_is_no_object_and_can_be_ended),
    };
    if (!*env("S3_ENDPOINT")) {
        printf("skipped: there is no S3 server; tests/support/versitygw.sh run %s starts one\n", program_invocation_name);
        return MFFA_TEST_SKIP;
    }
    if (!mkdtemp(folder)) return 1;
    make_input();
    snprintf(url, sizeof url, "s3://%s/own", env("S3_BUCKET"));
    int failed = cmocka_run_group_tests_name(env("S3_SERVER"), tests, NULL, NULL);
    mffa_store_teardown();
    char command[64];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) || failed;
}
