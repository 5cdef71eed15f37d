#include "tests/storage/store_suite.h"

#include <pthread.h>
#include <unistd.h>
#include "storage/store.h"
#include "tests/support/test.h"

static const char *suite_url;

static int open_store(void **state) {
    mffa_err err = {0};
    mffa_store *s = NULL;
    if (mffa_store_open(suite_url, &s, &err)) return -1;
    *state = s;
    return 0;
}

static int close_store(void **state) {
    mffa_store_close(*state);
    return 0;
}

static void put_text(mffa_store *s, const char *key, const char *text) {
    mffa_err err = {0};
    assert_ok(mffa_store_put(s, key, mffa_span_of(text), MFFA_PUT_REPLACE, &err));
}

static void assert_text(mffa_store *s, const char *key, const char *text) {
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    assert_ok(mffa_store_get(s, key, 1 << 20, &got, &err));
    assert_string_equal(mffa_buf_text(&got), text);
}

static mffa_code join_keys(void *ctx, const mffa_object *o, mffa_err *err) {
    mffa_buf_putf(ctx, "%s ", o->key);
    return mffa_buf_check(ctx, err);
}

static void assert_keys(mffa_store *s, const char *under, const char *keys) {
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    assert_ok(mffa_store_list(s, under, join_keys, &got, &err));
    assert_string_equal(mffa_buf_text(&got), keys);
}

static void what_was_put_is_got_back_byte_for_byte(void **state) {
    mffa_store *s = *state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    const char bytes[] = {'a', 0, '\n', (char)0xFF, 0};
    assert_ok(mffa_store_put(s, "bytes/x", (mffa_span){bytes, sizeof bytes}, MFFA_PUT_REPLACE, &err));
    assert_ok(mffa_store_get(s, "bytes/x", sizeof bytes, &got, &err));
    assert_int_equal(got.len, sizeof bytes);
    assert_memory_equal(got.ptr, bytes, sizeof bytes);
    assert_ok(mffa_store_put(s, "bytes/empty", (mffa_span){"", 0}, MFFA_PUT_REPLACE, &err));
    int64_t size = -1;
    assert_ok(mffa_store_head(s, "bytes/empty", &size, NULL, &err));
    assert_int_equal(size, 0);
    assert_ok(mffa_store_delete_all(s, "bytes/", &err));
}

static void get_appends_and_refuses_more_than_it_may_read(void **state) {
    mffa_store *s = *state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    mffa_buf_puts(&got, "before ");
    put_text(s, "limit", "123456");
    assert_int_equal(mffa_store_get(s, "limit", 5, &got, &err), MFFA_EINVAL);
    assert_string_equal(mffa_buf_text(&got), "before ");
    assert_ok(mffa_store_get(s, "limit", 6, &got, &err));
    assert_string_equal(mffa_buf_text(&got), "before 123456");
    assert_ok(mffa_store_delete(s, "limit", &err));
}

static void an_absent_object_is_not_found_by_name(void **state) {
    mffa_store *s = *state;
    mffa_err err = {0};
    mffa_buf got = {0};
    char *path = NULL;
    int64_t size = 0;
    assert_int_equal(mffa_store_get(s, "no/such", 10, &got, &err), MFFA_ENOTFOUND);
    assert_non_null(strstr(err.msg, "no/such"));
    assert_non_null(strstr(err.msg, suite_url));
    assert_int_equal(mffa_store_head(s, "no/such", &size, NULL, &err), MFFA_ENOTFOUND);
    assert_int_equal(mffa_store_local(s, "no/such", &path, &err), MFFA_ENOTFOUND);
    assert_keys(s, "no/such", "");
    assert_ok(mffa_store_delete(s, "no/such", &err));
    assert_ok(mffa_store_delete_all(s, "no/such/", &err));
}

static void a_replaced_object_has_the_new_bytes_and_another_etag(void **state) {
    mffa_store *s = *state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_free_p) char *first = NULL;
    MFFA_AUTO(mffa_free_p) char *second = NULL;
    int64_t size = 0;
    put_text(s, "again", "old");
    assert_ok(mffa_store_head(s, "again", &size, &first, &err));
    put_text(s, "again", "newer");
    assert_ok(mffa_store_head(s, "again", &size, &second, &err));
    assert_int_equal(size, 5);
    assert_string_not_equal(first, second);
    assert_text(s, "again", "newer");
    assert_ok(mffa_store_delete(s, "again", &err));
}

static void put_new_never_replaces(void **state) {
    mffa_store *s = *state;
    mffa_err err = {0};
    assert_ok(mffa_store_put(s, "new/x", mffa_span_of("first"), MFFA_PUT_NEW, &err));
    assert_int_equal(mffa_store_put(s, "new/x", mffa_span_of("second"), MFFA_PUT_NEW, &err), MFFA_EEXISTS);
    assert_text(s, "new/x", "first");
    assert_keys(s, "new/", "new/x ");
    assert_ok(mffa_store_delete_all(s, "new/", &err));
}

static void the_listing_is_in_the_order_of_bytes_however_deep_the_tree(void **state) {
    mffa_store *s = *state;
    mffa_err err = {0};
    const char *keys[] = {"l/b/z.png", "l/a/x", "l/a0", "l/a-b", "l/A", "l/a/d/e/f/g/h/i", "l/\xC3\xA9", "l/b/Z.PNG", "l/a.x/y"};
    for (size_t i = 0; i < MFFA_COUNT(keys); i++)
        put_text(s, keys[i], "1");
    assert_keys(s, "l/", "l/A l/a-b l/a.x/y l/a/d/e/f/g/h/i l/a/x l/a0 l/b/Z.PNG l/b/z.png l/\xC3\xA9 ");
    assert_keys(s, "l/a", "l/a-b l/a.x/y l/a/d/e/f/g/h/i l/a/x l/a0 ");
    assert_keys(s, "l/a/d/e", "l/a/d/e/f/g/h/i ");
    assert_keys(s, "l/b/z.png", "l/b/z.png ");
    assert_ok(mffa_store_delete_all(s, "l/a/", &err));
    assert_keys(s, "l/", "l/A l/a-b l/a.x/y l/a0 l/b/Z.PNG l/b/z.png l/\xC3\xA9 ");
    assert_ok(mffa_store_delete_all(s, "l/a", &err)); /* a prefix is text, not a folder */
    assert_keys(s, "l/", "l/A l/b/Z.PNG l/b/z.png l/\xC3\xA9 ");
    assert_ok(mffa_store_delete_all(s, "l/", &err));
    assert_keys(s, "l/", "");
}

static mffa_code stop_at_second(void *ctx, const mffa_object *o, mffa_err *err) {
    return ++*(int *)ctx == 2 ? mffa_fail(err, MFFA_ECANCELLED, "stopped at %s", o->key) : MFFA_OK;
}

static void a_listing_ends_at_the_first_failure_of_the_callback(void **state) {
    mffa_store *s = *state;
    mffa_err err = {0};
    int count = 0;
    put_text(s, "stop/1", "1"), put_text(s, "stop/2", "2"), put_text(s, "stop/3", "3");
    assert_int_equal(mffa_store_list(s, "stop/", stop_at_second, &count, &err), MFFA_ECANCELLED);
    assert_string_equal(err.msg, "stopped at stop/2");
    assert_int_equal(count, 2);
    assert_ok(mffa_store_delete_all(s, "stop/", &err));
}

static void keys_that_escape_are_refused_by_every_call(void **state) {
    mffa_store *s = *state;
    mffa_buf got = {0};
    char *path = NULL;
    int64_t size = 0;
    const char *keys[] = {"../x", "a/../../x", "/etc/passwd", "a//b", "./a", "a/.", "", "a\nb", ".."};
    for (size_t i = 0; i < MFFA_COUNT(keys); i++) {
        mffa_err err = {0};
        assert_int_equal(mffa_store_get(s, keys[i], 10, &got, &err), MFFA_EDENIED);
        assert_non_null(strstr(err.msg, suite_url));
        assert_int_equal(mffa_store_head(s, keys[i], &size, NULL, &err), MFFA_EDENIED);
        assert_int_equal(mffa_store_local(s, keys[i], &path, &err), MFFA_EDENIED);
        assert_int_equal(mffa_store_put(s, keys[i], mffa_span_of("x"), MFFA_PUT_REPLACE, &err), MFFA_EDENIED);
        assert_int_equal(mffa_store_put_file(s, keys[i], "/etc/hostname", MFFA_PUT_REPLACE, &err), MFFA_EDENIED);
        assert_int_equal(mffa_store_delete(s, keys[i], &err), MFFA_EDENIED);
        if (*keys[i]) assert_int_equal(mffa_store_delete_all(s, keys[i], &err), MFFA_EDENIED);
        if (*keys[i]) assert_int_equal(mffa_store_list(s, keys[i], join_keys, &got, &err), MFFA_EDENIED);
    }
    mffa_err err = {0};
    assert_int_equal(mffa_store_delete_all(s, "", &err), MFFA_EINVAL);
    mffa_buf_done(&got);
}

static void a_file_of_many_pieces_is_put_and_read_through_a_local_path(void **state) {
    enum { SIZE = (3 << 20) + 17 };
    mffa_store *s = *state;
    mffa_err err = {0};
    char source[] = "/tmp/mffa-suite-XXXXXX";
    MFFA_AUTO(mffa_close_fd_p) int fd = mkstemp(source);
    MFFA_AUTO(mffa_free_p) unsigned char *bytes = malloc(SIZE);
    assert_true(fd >= 0 && bytes);
    for (int i = 0; i < SIZE; i++) bytes[i] = (unsigned char)(i * 31 + (i >> 13));
    assert_int_equal(write(fd, bytes, SIZE), SIZE);
    assert_ok(mffa_store_put_file(s, "big/x", source, MFFA_PUT_NEW, &err));
    assert_int_equal(mffa_store_put_file(s, "big/x", source, MFFA_PUT_NEW, &err), MFFA_EEXISTS);
    MFFA_AUTO(mffa_free_p) char *path = NULL;
    assert_ok(mffa_store_local(s, "big/x", &path, &err));
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    assert_ok(mffa_buf_read_file(&got, path, SIZE, &err));
    assert_int_equal(got.len, SIZE);
    assert_memory_equal(got.ptr, bytes, SIZE);
    assert_ok(mffa_store_delete_all(s, "big/", &err));
    unlink(source);
}

enum { RACERS = 8 };
typedef struct racer {
    pthread_barrier_t *start;
    char text[16];
    mffa_code rc;
} racer;

static void *race(void *ctx) {
    racer *r = ctx;
    mffa_store *s = NULL;
    r->rc = mffa_store_open(suite_url, &s, NULL);
    pthread_barrier_wait(r->start);
    if (!r->rc) r->rc = mffa_store_put(s, "race/deep/er/x", mffa_span_of(r->text), MFFA_PUT_NEW, NULL);
    mffa_store_close(s);
    return NULL;
}

static void of_many_that_put_new_at_once_exactly_one_wins(void **state) {
    mffa_store *s = *state;
    mffa_err err = {0};
    for (int round = 0; round < 10; round++) {
        pthread_barrier_t start;
        pthread_t thread[RACERS];
        racer r[RACERS];
        const char *winner = NULL;
        pthread_barrier_init(&start, NULL, RACERS);
        for (int i = 0; i < RACERS; i++) {
            r[i].start = &start;
            snprintf(r[i].text, sizeof r[i].text, "racer %d", i);
            assert_int_equal(pthread_create(&thread[i], NULL, race, &r[i]), 0);
        }
        for (int i = 0; i < RACERS; i++) pthread_join(thread[i], NULL);
        for (int i = 0; i < RACERS; i++) {
            assert_true(r[i].rc == MFFA_OK || r[i].rc == MFFA_EEXISTS);
            if (r[i].rc == MFFA_OK) assert_null(winner), winner = r[i].text;
        }
        assert_non_null(winner);
        assert_text(s, "race/deep/er/x", winner);
        assert_keys(s, "race/", "race/deep/er/x ");
        assert_ok(mffa_store_delete_all(s, "race/", &err));
        pthread_barrier_destroy(&start);
    }
}

/* ---- many ---- */

enum { MANY = 40 };

static void name_and_text(int i, char key[32], char text[32]) {
    snprintf(key, 32, "many/%d/%02d", i % 3, i);
    snprintf(text, 32, "text %d", i * i);
}

static void put_many(mffa_store *s) {
    mffa_err err = {0};
    for (int i = 0; i < MANY; i++) {
        char key[32], text[32];
        name_and_text(i, key, text);
        assert_ok(mffa_store_put_soon(s, key, mffa_span_of(text), MFFA_PUT_NEW, &err));
    }
    assert_ok(mffa_store_settle(s, &err));
}

static void what_was_put_without_waiting_is_there_once_it_is_settled(void **state) {
    mffa_store *s = *state;
    mffa_err err = {0};
    char path[] = "/tmp/mffa-suite-soon-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, "of a file", 9) == 9);
    close(fd);
    put_many(s);
    assert_ok(mffa_store_put_file_soon(s, "many/file", path, MFFA_PUT_NEW, &err));
    assert_ok(mffa_store_settle(s, &err));
    for (int i = 0; i < MANY; i++) {
        char key[32], text[32];
        name_and_text(i, key, text);
        assert_text(s, key, text);
    }
    assert_text(s, "many/file", "of a file");
    mffa_code rc = mffa_store_put_soon(s, "many/file", mffa_span_of("again"), MFFA_PUT_NEW, &err); /* taken: said now or at the end */
    if (!rc) rc = mffa_store_settle(s, &err);
    assert_int_equal(rc, MFFA_EEXISTS);
    assert_non_null(strstr(err.msg, "/many/file"));
    assert_ok(mffa_store_settle(s, &err)); /* once */
    assert_ok(mffa_store_put_soon(s, "many/file", mffa_span_of("replaced"), MFFA_PUT_REPLACE, &err));
    assert_ok(mffa_store_settle(s, &err));
    assert_text(s, "many/file", "replaced");
    unlink(path);
    assert_ok(mffa_store_delete_all(s, "many/", &err));
}

typedef struct noted {
    mffa_object objects[MANY + 1];
    size_t count;
} noted;

static mffa_code note(void *ctx, const mffa_object *o, mffa_err *err) {
    noted *n = ctx;
    (void)err;
    assert_true(n->count < MFFA_COUNT(n->objects));
    n->objects[n->count++] = (mffa_object){strdup(o->key), o->bytes, strdup(o->etag)};
    return MFFA_OK;
}

static void what_is_expected_is_read_in_any_order(void **state) {
    mffa_store *s = *state;
    mffa_err err = {0};
    noted n = {0};
    put_many(s);
    assert_ok(mffa_store_list(s, "many/", note, &n, &err));
    assert_int_equal(n.count, MANY);
    assert_ok(mffa_store_expect(s, n.objects, n.count, &err));
    put_text(s, n.objects[MANY - 1].key, "changed since");
    put_text(s, "many/other", "not expected");
    for (int step = 0; step < 2 * MANY; step++) { /* forwards, then back and forth */
        char key[32], text[32];
        int i = step < MANY ? step : step * 7 % MANY;
        name_and_text(i, key, text);
        assert_text(s, key, strcmp(key, n.objects[MANY - 1].key) == 0 ? "changed since" : text);
    }
    assert_text(s, "many/other", "not expected");
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    assert_int_equal(mffa_store_get(s, n.objects[1].key, 3, &got, &err), MFFA_EINVAL);
    assert_int_equal(got.len, 0);
    MFFA_AUTO(mffa_free_p) char *path = NULL;
    assert_ok(mffa_store_local(s, n.objects[1].key, &path, &err));
    assert_ok(mffa_buf_read_file(&got, path, 100, &err));
    assert_int_equal(got.len, n.objects[1].bytes);
    assert_ok(mffa_store_expect(s, n.objects, 0, &err));
    assert_text(s, "many/other", "not expected");
    for (size_t i = 0; i < n.count; i++) free((char *)(uintptr_t)n.objects[i].key), free((char *)(uintptr_t)n.objects[i].etag);
    assert_ok(mffa_store_delete_all(s, "many/", &err));
}

int store_suite_run(const char *url) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_put_is_got_back_byte_for_byte, open_store, close_store),
        cmocka_unit_test_setup_teardown(get_appends_and_refuses_more_than_it_may_read, open_store, close_store),
        cmocka_unit_test_setup_teardown(an_absent_object_is_not_found_by_name, open_store, close_store),
        cmocka_unit_test_setup_teardown(a_replaced_object_has_the_new_bytes_and_another_etag, open_store, close_store),
        cmocka_unit_test_setup_teardown(put_new_never_replaces, open_store, close_store),
        cmocka_unit_test_setup_teardown(the_listing_is_in_the_order_of_bytes_however_deep_the_tree, open_store, close_store),
        cmocka_unit_test_setup_teardown(a_listing_ends_at_the_first_failure_of_the_callback, open_store, close_store),
        cmocka_unit_test_setup_teardown(keys_that_escape_are_refused_by_every_call, open_store, close_store),
        cmocka_unit_test_setup_teardown(a_file_of_many_pieces_is_put_and_read_through_a_local_path, open_store, close_store),
        cmocka_unit_test_setup_teardown(what_was_put_without_waiting_is_there_once_it_is_settled, open_store, close_store),
        cmocka_unit_test_setup_teardown(what_is_expected_is_read_in_any_order, open_store, close_store),
        cmocka_unit_test_setup_teardown(of_many_that_put_new_at_once_exactly_one_wins, open_store, close_store),
    };
    suite_url = url;
    return cmocka_run_group_tests_name(url, tests, NULL, NULL);
}
