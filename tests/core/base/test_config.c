#include "core/base/config.h"

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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_key_and_range),
        cmocka_unit_test(a_flag_wins_over_the_environment_and_the_environment_over_the_file),
        cmocka_unit_test(refuses_unknown_keys_flags_and_choices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
