#include "core/base/config.h"

#include <sys/wait.h>
#include "tests/support/test.h"

static void names_key_and_range(void **state) {
    (void)state;
    mffa_config c;
    mffa_err err = {0};
    setenv("MFFA_BATCH", "8x", 1);
    assert_int_equal(mffa_config_load_env(&c, MFFA_WORKER, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "MFFA_BATCH=\"8x\": expected an integer from 1 to 256");
    unsetenv("MFFA_BATCH");
    mffa_config_done(&c);
}

static void a_flag_wins_over_the_environment_and_the_environment_over_the_file(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_config c;
    char path[] = "/tmp/mffa-config-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    dprintf(fd, "# comment\nMFFA_BATCH=2\nMFFA_THREADS=3\nMFFA_POOL=from-file\n");
    close(fd);
    setenv("MFFA_BATCH", "4", 1);
    setenv("MFFA_THREADS", "5", 1);
    char *argv[] = {"mffa-worker", "--config", path, "--threads", "6", "word", NULL};
    int left = 0;
    assert_ok(mffa_config_load(&c, MFFA_WORKER, "", 6, argv, &left, &err));
    assert_int_equal(c.batch, 4);
    assert_int_equal(c.threads, 6);
    assert_string_equal(c.pool, "from-file");
    assert_int_equal(left, 1);
    assert_string_equal(argv[1], "word");
    mffa_config_done(&c);
    unsetenv("MFFA_BATCH"), unsetenv("MFFA_THREADS");
    unlink(path);
}

static void refuses_unknown_keys_flags_and_choices(void **state) {
    (void)state;
    mffa_config c;
    mffa_err err = {0};
    setenv("MFFA_BATHC", "8", 1);
    assert_int_equal(mffa_config_load_env(&c, MFFA_WORKER, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "unknown setting \"MFFA_BATHC\" in the environment: --help lists the known ones");
    mffa_config_done(&c);
    unsetenv("MFFA_BATHC");
    char *argv[] = {"mffa-worker", "--lease-ms", "5", NULL}; /* the scheduler's */
    int left = 0;
    assert_int_equal(mffa_config_load(&c, MFFA_WORKER, "", 3, argv, &left, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "unknown flag \"--lease-ms\": --help lists the known ones");
    mffa_config_done(&c);
    char *choice[] = {"mffa-worker", "--precision", "fp3", NULL};
    assert_int_equal(mffa_config_load(&c, MFFA_WORKER, "", 3, choice, &left, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "--precision=\"fp3\": expected one of fp32|tf32|bf16");
    mffa_config_done(&c);
}

static void expect_load(mffa_code code, int argc, char **argv, const char *message) {
    mffa_config c;
    mffa_err err = {0};
    int left = 0;
    assert_int_equal(mffa_config_load(&c, MFFA_WORKER, "", argc, argv, &left, &err), code);
    assert_string_equal(err.msg, message);
    mffa_config_done(&c);
}

static void a_value_may_follow_an_equals_sign(void **state) {
    (void)state;
    mffa_config c;
    mffa_err err = {0};
    int left = 0;
    char *argv[] = {"mffa-worker", "--batch=8", "--pool=--odd=", "one", "--", "--two", NULL};
    assert_ok(mffa_config_load(&c, MFFA_WORKER, "", 6, argv, &left, &err));
    assert_int_equal(c.batch, 8);
    assert_string_equal(c.pool, "--odd=");
    assert_int_equal(left, 2);
    assert_string_equal(argv[1], "one");
    assert_string_equal(argv[2], "--two");
    mffa_config_done(&c);
}

static void a_flag_does_not_swallow_the_next_flag(void **state) {
    (void)state;
    expect_load(MFFA_EINVAL, 4, (char *[]){"mffa-worker", "--pool", "--batch", "8", NULL}, "--pool needs a value");
    expect_load(MFFA_EINVAL, 2, (char *[]){"mffa-worker", "--batch", NULL}, "--batch needs a value");
    expect_load(MFFA_EINVAL, 2, (char *[]){"mffa-worker", "--batch=", NULL}, "--batch=\"\": expected an integer from 1 to 256");
    expect_load(MFFA_EINVAL, 2, (char *[]){"mffa-worker", "--=x", NULL}, "unknown flag \"--\": --help lists the known ones");
}

static void an_empty_value_is_not_set_or_refused(void **state) {
    (void)state;
    mffa_config c;
    mffa_err err = {0};
    setenv("MFFA_WEIGHTS", "", 1);
    assert_ok(mffa_config_load_env(&c, MFFA_WORKER, &err));
    assert_null(c.weights);
    mffa_config_done(&c);
    unsetenv("MFFA_WEIGHTS");
    expect_load(MFFA_EINVAL, 2, (char *[]){"mffa-worker", "--queue=", NULL},
                "--queue=\"\": expected a text that is not empty, such as \"main\"");
}

static void numbers_outside_the_range_or_type_are_refused(void **state) {
    (void)state;
    static char *const bad[] = {"0", "257", "1.5", "0x10", "99999999999999999999", " ", "8 "};
    for (size_t i = 0; i < MFFA_COUNT(bad); i++) {
        char message[128];
        snprintf(message, sizeof message, "--batch=\"%s\": expected an integer from 1 to 256", bad[i]);
        expect_load(MFFA_EINVAL, 3, (char *[]){"mffa-worker", "--batch", bad[i], NULL}, message);
    }
}

static const char *config_file(const char *text, size_t len) {
    static char path[64];
    strcpy(path, "/tmp/mffa-config-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    close(fd);
    return path;
}

static void expect_file(const char *text, size_t len, const char *tail) {
    mffa_config c;
    mffa_err err = {0};
    const char *path = config_file(text, len);
    char message[256];
    snprintf(message, sizeof message, "\"%s\"%s", path, tail);
    assert_int_equal(mffa_config_load_from(&c, MFFA_WORKER, path, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, message);
    mffa_config_done(&c);
    unlink(path);
}

static void a_file_may_have_comments_blanks_and_any_line_ends(void **state) {
    (void)state;
    static const char text[] = "\n  # a comment = yes\r\n\tMFFA_BATCH = 3 \r\nMFFA_QUEUE=a=b\n\r\nMFFA_POOL=last";
    mffa_config c;
    mffa_err err = {0};
    const char *path = config_file(text, sizeof text - 1);
    assert_ok(mffa_config_load_from(&c, MFFA_WORKER, path, &err));
    assert_int_equal(c.batch, 3);
    assert_string_equal(c.queue, "a=b");
    assert_string_equal(c.pool, "last");
    mffa_config_done(&c);
    unlink(path);
}

static void a_bad_file_is_named_with_the_line_and_without_its_secrets(void **state) {
    (void)state;
#define TEXT(s) s, sizeof s - 1
    expect_file(TEXT("MFFA_BATCH=1\nhunter2\n"), " line 2: expected NAME=value or # and a comment");
    expect_file(TEXT("\n\nMFFA_BATCH=many\n"), " line 3: MFFA_BATCH=\"many\": expected an integer from 1 to 256");
    expect_file(TEXT("MFFA_SECRET=hunter2\n"), " line 1: unknown setting \"MFFA_SECRET\" in this file: --help lists the known ones");
    expect_file(TEXT("MFFA_BATCH=1\0\nMFFA_BATCH=x"), " is not a text file");
    expect_load(MFFA_ENOTFOUND, 2, (char *[]){"mffa-worker", "--config=/nowhere", NULL},
                "cannot open \"/nowhere\": No such file or directory");
    expect_load(MFFA_EINVAL, 2, (char *[]){"mffa-worker", "--config", NULL}, "--config needs a file");
}

/* The program's own output and exit code, from a child. */
static void run_help(char *flag, char *out, size_t size) {
    int pipe_fd[2], status = 0;
    assert_int_equal(pipe(pipe_fd), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        mffa_config c;
        int left = 0;
        setenv("MFFA_NONSENSE", "1", 1); /* help must help here too */
        dup2(pipe_fd[1], STDOUT_FILENO);
        (void)!mffa_config_load(&c, MFFA_SCHEDULER, "usage: mffa-scheduler", 3, (char *[]){"mffa-scheduler", "--batch", flag, NULL}, &left,
                                NULL);
        _exit(99);
    }
    close(pipe_fd[1]);
    size_t n = 0;
    for (ssize_t got; n + 1 < size && (got = read(pipe_fd[0], out + n, size - 1 - n)) > 0;) n += (size_t)got;
    out[n] = '\0';
    close(pipe_fd[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void help_prints_the_programs_settings_and_ends_well(void **state) {
    (void)state;
    char out[8192], again[8192];
    run_help("--help", out, sizeof out);
    run_help("-h", again, sizeof again);
    assert_string_equal(out, again);
    assert_ptr_equal(strstr(out, "usage: mffa-scheduler\n"), out);
    assert_non_null(strstr(out, "--lease-ms"));
    assert_non_null(strstr(out, "a running job without heartbeat for this long runs again (200 to 3600000; default 30000)"));
    assert_null(strstr(out, "--batch"));
}

static void version_prints_name_and_version_and_ends_well(void **state) {
    (void)state;
    char out[64];
    run_help("--version", out, sizeof out);
    assert_string_equal(out, "mffa-scheduler " MFFA_VERSION "\n");
}

static void the_table_has_a_row_for_every_setting(void **state) {
    (void)state;
    MFFA_AUTO(mffa_buf_done) mffa_buf table = {0};
    mffa_config_table(&table);
    assert_non_null(strstr(
        table.ptr, "| `MFFA_QUEUE` | `--queue` | all | text | `main` | name of the queue; its keys start with mffa:{\\<queue\\>}: |\n"));
    assert_non_null(strstr(table.ptr, "| `MFFA_PRECISION` | `--precision` | worker | fp32, tf32, bf16 | `fp32` |"));
    assert_non_null(strstr(table.ptr, "| `MFFA_WEIGHTS` | `--weights` | worker | text | not set |"));
    for (char *rest = table.ptr, *line; (line = strsep(&rest, "\n")) && *line;) {
        int bars = 0;
        for (char *p = line; *p; p++) bars += *p == '|';
        assert_int_equal(bars, 7);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_key_and_range),
        cmocka_unit_test(a_flag_wins_over_the_environment_and_the_environment_over_the_file),
        cmocka_unit_test(refuses_unknown_keys_flags_and_choices),
        cmocka_unit_test(a_value_may_follow_an_equals_sign),
        cmocka_unit_test(a_flag_does_not_swallow_the_next_flag),
        cmocka_unit_test(an_empty_value_is_not_set_or_refused),
        cmocka_unit_test(numbers_outside_the_range_or_type_are_refused),
        cmocka_unit_test(a_file_may_have_comments_blanks_and_any_line_ends),
        cmocka_unit_test(a_bad_file_is_named_with_the_line_and_without_its_secrets),
        cmocka_unit_test(help_prints_the_programs_settings_and_ends_well),
        cmocka_unit_test(version_prints_name_and_version_and_ends_well),
        cmocka_unit_test(the_table_has_a_row_for_every_setting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
