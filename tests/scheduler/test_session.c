/* The session of scheduler/README.md, call by call: what the page shows is what the queue answers. */
#include <ctype.h>
#include "tests/support/redis_group.h"

enum { TEXT_BYTES = 8192 };

/* One line, single spaces, no brackets of inner lists; ids of the page's queue k4 with the epoch of this one (once it is known). */
static void normalise(const char *text, size_t len, const char *epoch, char out[TEXT_BYTES]) {
    size_t n = 0;
    for (size_t i = 0; i < len && n + 16 < TEXT_BYTES; i++) {
        bool id = strncmp(text + i, "k4-", 3) == 0 && (i == 0 || !isalnum((unsigned char)text[i - 1]));
        if (id && *epoch) n += (size_t)snprintf(out + n, TEXT_BYTES - n, "%s", epoch), i++;
        else if (isspace((unsigned char)text[i])) n += n > 0 && out[n - 1] != ' ' ? (out[n] = ' ', 1) : 0;
        else if (!strchr("[]", text[i])) out[n++] = text[i];
    }
    while (n > 0 && out[n - 1] == ' ') n--;
    out[n] = '\0';
}

/* want with "..." for anything. */
static bool fits(const char *want, const char *have) {
    const char *gap = strstr(want, "...");
    if (!gap) return strcmp(want, have) == 0;
    if (strncmp(want, have, (size_t)(gap - want)) != 0) return false;
    const char *rest = gap + 3;
    for (have += gap - want; *have; have++)
        if (fits(rest, have)) return true;
    return *rest == '\0';
}

/* The page's lines from one call to the next, or to the end of its block. */
static size_t answer_len(const char *answer) {
    const char *call = strstr(answer, "\n> "), *end = strstr(answer, "\n```");
    assert_non_null(end);
    return (size_t)((call && call < end ? call : end) - answer);
}

static void ask(const char *line, size_t len, const char *answer, char epoch[8]) {
    static char call[TEXT_BYTES], want[TEXT_BYTES], have[TEXT_BYTES];
    normalise(line, len, epoch, call);
    const char *before = mffa_test_ask(&redis, "DEBUG DIGEST"), *said = mffa_test_fcall(&redis, "%s", call);
    if (!*epoch && strspn(said, "abcdefghijklmnopqrstuvwxyz0123456789") == 4 && said[4] == '-') snprintf(epoch, 8, "%.4s", said);
    normalise(answer, answer_len(answer), epoch, want);
    normalise(said, strlen(said), "", have);
    if (!fits(want, have)) fail_msg("%s\n  the page says: %s\n  the queue says: %s", call, want, have);
    if (isupper((unsigned char)have[0]) && isupper((unsigned char)have[1]) && isupper((unsigned char)have[2]))
        assert_string_equal(mffa_test_ask(&redis, "DEBUG DIGEST"), before); /* refused: nothing has changed */
}

static void every_call_of_the_page_is_answered_as_it_says(void **state) {
    (void)state;
    MFFA_AUTO(mffa_buf_done) mffa_buf page = {0};
    mffa_err err = {0};
    char epoch[8] = "";
    int calls = 0;
    assert_ok(mffa_buf_read_file(&page, MFFA_TEST_PAGE, 1 << 20, &err));
    for (const char *at = mffa_buf_text(&page); (at = strstr(at, "\n> ")); calls++) {
        const char *line = at + 3, *answer = strchr(line, '\n');
        assert_non_null(answer);
        ask(line, (size_t)(answer - line), answer, epoch);
        at = answer;
    }
    assert_true(calls > 70);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_call_of_the_page_is_answered_as_it_says)};
    return cmocka_run_group_tests_name("session", tests, start, stop);
}
