/* The page about formats: its Python snippet reads what we write. */
#include "tests/support/test.h"
#include "worker/scores.h"

static char folder[] = "/tmp/mffa-page-XXXXXX";

static void write_text(const char *name, mffa_span text) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    MFFA_AUTO(mffa_fclose_p) FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text.ptr, 1, text.len, f), text.len);
}

static void the_python_snippet_lists_the_highest_scores_first(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_scores_done) mffa_scores s = {.job = "k4-1", .kind = "score", .side = 64, .threshold = {.known = true, .value = 2}};
    MFFA_AUTO(mffa_buf_done) mffa_buf packed = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf page = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf out = {0};
    assert_ok(mffa_scores_add(&s, "low.png", "", NULL, -1, &(mffa_score){.score = 1.5f}, &err));
    assert_ok(mffa_scores_add(&s, "high.png", "", NULL, -1, &(mffa_score){.score = 2.25f}, &err));
    assert_ok(mffa_scores_pack(&s, &packed, &err));
    write_text("scores.msgpack", mffa_buf_span(&packed));
    assert_ok(mffa_buf_read_file(&page, MFFA_TEST_PAGE, 1 << 20, &err));
    const char *begin = strstr(mffa_buf_text(&page), "```python\n");
    assert_non_null(begin);
    begin += strlen("```python\n");
    write_text("snippet.py", (mffa_span){begin, (size_t)(strstr(begin, "```") - begin)});
    char command[192], path[128];
    snprintf(command, sizeof command, "cd '%s' && python3 snippet.py > out.txt", folder);
    assert_int_equal(system(command), 0);
    snprintf(path, sizeof path, "%s/out.txt", folder);
    assert_ok(mffa_buf_read_file(&out, path, 1 << 20, &err));
    assert_string_equal(mffa_buf_text(&out), "high.png 2.25 True\nlow.png 1.5 False\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_python_snippet_lists_the_highest_scores_first)};
    if (system("python3 -c 'import msgpack' 2>/dev/null") != 0) {
        printf("skipped: python3 with msgpack is not installed\n");
        return MFFA_TEST_SKIP;
    }
    if (!mkdtemp(folder)) return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[64];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) || failed;
}
