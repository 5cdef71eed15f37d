/* What a client sees when the ground moves: connections cut at every command, functions flushed under load, Redis out of memory, started
 * again with and without its data, with a library of another version. */
#include <pthread.h>
#include <stdatomic.h>
#include "core/base/clock.h"
#include "core/base/rng.h"
#include "scheduler/functions.h"
#include "tests/support/cutter.h"
#include "tests/support/redis_group.h"

#define D "dataset s3://plant/bottle output s3://plant/out"
enum { TRIES = 200 };

/* ---- one job's life, as a careful client leads it: what was not answered is said again ---- */

static bool again(mffa_code rc, int tries) {
    if (rc == MFFA_EIO && tries > 0) mffa_sleep_ms(5);
    return rc == MFFA_EIO && tries < TRIES;
}

static mffa_code submit(mffa_queue *q, const char *key, char id[64], mffa_err *err) {
    const char *const text[] = {"fit", "dataset", "s3://plant/bottle", "output", "s3://plant/out", "idem", key};
    mffa_span words[MFFA_COUNT(text)];
    for (size_t i = 0; i < MFFA_COUNT(text); i++) words[i] = mffa_span_of(text[i]);
    mffa_code rc = MFFA_EIO;
    for (int i = 0; again(rc, i); i++) {
        MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
        rc = mffa_queue_call(q, false, "submit", words, MFFA_COUNT(words), &reply, err);
        if (!rc) snprintf(id, 64, "%s", mffa_reply_text(mffa_reply_at(reply, 0), ""));
    }
    return rc;
}

static mffa_code claim(mffa_queue *q, const char *worker, mffa_lease *out, mffa_err *err) {
    char request[33];
    bool got = false;
    mffa_code rc = mffa_random_hex(request, 16, err);
    if (!rc) rc = MFFA_EIO;
    const mffa_worker_info who = {.id = worker, .pool = "default"};
    for (int i = 0; again(rc, i); i++) rc = mffa_queue_claim(q, &who, request, out, &got, err);
    return rc ? rc : got ? MFFA_OK : mffa_fail(err, MFFA_ENOTFOUND, "there is no job");
}

static mffa_code beat(mffa_queue *q, const mffa_lease *l, mffa_verdict *verdict, mffa_err *err) {
    mffa_code rc = MFFA_EIO;
    const mffa_beat progress = {.phase = "features", .done = 1, .total = 2, .rate = 1, .eta_s = 1};
    for (int i = 0; again(rc, i); i++) rc = mffa_queue_beat(q, l, &progress, verdict, err);
    return rc;
}

typedef enum last_word { FINISH, FAIL, HAND_BACK } last_word;
static mffa_code say(mffa_queue *q, const mffa_lease *l, last_word word, mffa_err *err) {
    mffa_code rc = MFFA_EIO;
    for (int i = 0; again(rc, i); i++) {
        if (word == FINISH) rc = mffa_queue_finish(q, l, "s3://plant/out/x", NULL, 0, err);
        else if (word == FAIL) rc = mffa_queue_fail(q, l, "broken", false, err);
        else rc = mffa_queue_release(q, l, "preempted", err);
    }
    return rc;
}

/* submit, claim, beat, hand back, claim, beat, the last word. */
static mffa_code live(mffa_queue *q, const char *key, last_word word, char id[64], mffa_err *err) {
    mffa_verdict verdict;
    mffa_code rc = submit(q, key, id, err);
    for (int run = 0; run < 2 && !rc; run++) {
        mffa_lease l = {0};
        rc = claim(q, "w1", &l, err);
        if (!rc) rc = beat(q, &l, &verdict, err);
        if (!rc) rc = say(q, &l, run == 0 ? HAND_BACK : word, err);
        mffa_lease_done(&l);
    }
    return rc;
}

static void lives_through_every_cut(mffa_cut how, last_word word, const char *want) {
    mffa_cutter cutter;
    MFFA_AUTO(mffa_queue_close_p) mffa_queue *q = NULL;
    mffa_err err = {0};
    bool cut = true;
    int at = 0;
    mffa_cutter_start(&cutter, &redis);
    assert_ok(mffa_queue_open(&(mffa_queue_options){.url = cutter.url, .name = "main"}, &q, &err));
    while (cut) {
        char key[32], id[64] = "";
        snprintf(key, sizeof key, "life-%d", ++at);
        mffa_cutter_set(&cutter, at, how);
        mffa_code rc = live(q, key, word, id, &err);
        if (rc) fail_msg("cut at command %d: %s", at, err.msg);
        assert_string_equal(mffa_test_ask(&redis, "HMGET mffa:{main}:job:%s state run preempted lost", id), want);
        assert_int_equal(mffa_test_check_rules(&redis), at);
        cut = mffa_cutter_has_cut(&cutter);
    }
    assert_int_equal(at, 8); /* a life has seven commands: each was cut once, and one life was not */
    mffa_cutter_stop(&cutter);
}

static void a_command_that_never_arrives_is_said_again_and_nothing_is_lost_or_doubled(void **state) {
    (void)state;
    lives_through_every_cut(MFFA_CUT_COMMAND, FINISH, "done 2 1 (nil)");
}
static void an_answer_that_never_arrives_is_asked_for_again_and_nothing_is_lost_or_doubled(void **state) {
    (void)state;
    lives_through_every_cut(MFFA_CUT_REPLY, FINISH, "done 2 1 (nil)");
    mffa_test_ask(&redis, "FLUSHALL");
    lives_through_every_cut(MFFA_CUT_REPLY, FAIL, "failed 2 1 (nil)");
}

/* ---- load ---- */

enum { CLIENTS = 4, LIVES = 60 };
typedef struct client {
    pthread_t thread;
    int number, done;
    mffa_err err;
} client;
static atomic_int at_work;

static void *work(void *arg) {
    client *c = arg;
    mffa_queue *q = NULL;
    mffa_code rc = mffa_queue_open(&(mffa_queue_options){.url = redis.url, .name = "main"}, &q, &c->err);
    for (int i = 0; i < LIVES && !rc; i++) {
        char key[32], name[16], id[64];
        mffa_lease l = {0};
        mffa_verdict verdict;
        snprintf(key, sizeof key, "%d-%d", c->number, i), snprintf(name, sizeof name, "w%d", c->number);
        rc = submit(q, key, id, &c->err);
        if (!rc) rc = claim(q, name, &l, &c->err); /* somebody's job: there are as many as are claimed */
        if (!rc) rc = beat(q, &l, &verdict, &c->err);
        if (!rc) rc = say(q, &l, FINISH, &c->err);
        mffa_lease_done(&l);
        if (!rc) c->done++;
    }
    mffa_queue_close(q);
    atomic_fetch_sub(&at_work, 1);
    return NULL;
}

static void start_clients(client *c) {
    atomic_store(&at_work, CLIENTS);
    for (int i = 0; i < CLIENTS; i++) {
        c[i] = (client){.number = i};
        assert_int_equal(pthread_create(&c[i].thread, NULL, work, &c[i]), 0);
    }
}
static void all_lives_were_led(client *c) {
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(c[i].thread, NULL);
        if (c[i].done != LIVES) fail_msg("client %d ended after %d jobs: %s", i, c[i].done, c[i].err.msg);
    }
    assert_string_equal(mffa_test_ask(&redis, "ZCARD mffa:{main}:done"), "240");
    assert_string_equal(mffa_test_ask(&redis, "HGET mffa:{main}:cfg seq"), "240"); /* no id was given out twice or in vain */
    assert_int_equal(mffa_test_check_rules(&redis), CLIENTS * LIVES);
}

static void functions_flushed_under_load_are_loaded_again_and_every_job_is_done_once(void **state) {
    (void)state;
    client clients[CLIENTS];
    int flushes = 0;
    start_clients(clients);
    for (; atomic_load(&at_work) > 0; flushes++) {
        mffa_test_ask(&redis, flushes % 2 ? "SCRIPT FLUSH" : "FUNCTION FLUSH");
        mffa_sleep_ms(1);
    }
    mffa_err err = {0};
    assert_ok(mffa_queue_load_library(redis.queue, &err));
    all_lives_were_led(clients);
    assert_true(flushes > 2);
}

static void redis_restarted_under_load_with_its_data_loses_and_doubles_nothing(void **state) {
    (void)state;
    client clients[CLIENTS];
    mffa_test_redis_renew(&redis, true);
    start_clients(clients);
    for (int i = 0; i < 3 && atomic_load(&at_work) > 0; i++) {
        mffa_sleep_ms(10);
        mffa_test_redis_restart(&redis);
    }
    all_lives_were_led(clients);
    mffa_test_redis_renew(&redis, false);
}

/* ---- Redis without room, without its data, with another library ---- */

static void a_full_redis_refuses_new_work_alone(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_lease l = {0};
    mffa_verdict verdict;
    char id[64], other[64];
    assert_ok(submit(redis.queue, "a", id, &err));
    mffa_test_ask(&redis, "CONFIG SET maxmemory 1mb"); /* less than an empty server uses */
    assert_int_equal(submit(redis.queue, "b", other, &err), MFFA_ENOSPC);
    assert_ok(claim(redis.queue, "w1", &l, &err));
    assert_ok(beat(redis.queue, &l, &verdict, &err));
    assert_ok(say(redis.queue, &l, FINISH, &err));
    mffa_lease_done(&l);
    mffa_test_ask(&redis, "CONFIG SET maxmemory 0");
    assert_ok(submit(redis.queue, "b", other, &err));
    mffa_test_check_rules(&redis);
}

static void a_redis_that_forgot_everything_fences_old_runs_and_gives_out_no_old_id(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_lease l = {0};
    mffa_verdict verdict;
    char old[64], new[64];
    assert_ok(submit(redis.queue, "a", old, &err));
    assert_ok(claim(redis.queue, "w1", &l, &err));
    mffa_test_redis_restart(&redis);
    assert_int_equal(beat(redis.queue, &l, &verdict, &err), MFFA_EFENCED); /* and the library is there again */
    assert_int_equal(say(redis.queue, &l, FINISH, &err), MFFA_EFENCED);
    mffa_lease_done(&l);
    assert_string_equal(mffa_test_ask(&redis, "KEYS *"), "");
    assert_ok(submit(redis.queue, "a", new, &err));
    assert_string_not_equal(new, old);
    assert_int_equal(mffa_test_check_rules(&redis), 1);
}

/* Our library, as if it had this version and took programs from this one on. */
static void load_version(int version, int oldest) {
    static const char first[] = "local VERSION = 3 ", second[] = "local OLDEST_CLIENT = 1 ";
    MFFA_AUTO(mffa_free_p) char *text = strdup(mffa_functions_source);
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    mffa_err err = {0};
    char *at = strstr(text, first), *after = strstr(text, second);
    assert_non_null(at), assert_non_null(after);
    at[strlen(first) - 2] = (char)('0' + version), after[strlen(second) - 2] = (char)('0' + oldest);
    const mffa_span words[] = {mffa_span_of("FUNCTION"), mffa_span_of("LOAD"), mffa_span_of("REPLACE"), mffa_span_of(text)};
    assert_ok(mffa_queue_command(redis.queue, words, MFFA_COUNT(words), &reply, &err));
}

static void an_older_library_is_replaced_by_the_first_claim_and_its_jobs_stay(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_lease l = {0};
    char id[64];
    load_version(1, 1);
    assert_ok(submit(redis.queue, "a", id, &err));
    assert_ok(claim(redis.queue, "w1", &l, &err));
    assert_string_equal(l.job, id);
    assert_string_equal(mffa_test_fcall(&redis, "version"), "3");
    assert_ok(say(redis.queue, &l, FINISH, &err));
    mffa_lease_done(&l);
}

static void a_newer_library_that_takes_older_programs_serves_them(void **state) {
    (void)state;
    mffa_err err = {0};
    char id[64];
    load_version(4, 1);
    assert_ok(live(redis.queue, "a", FINISH, id, &err));
    assert_string_equal(mffa_test_fcall(&redis, "version"), "4");
    load_version(3, 1);
}

static void a_newer_library_that_does_not_take_older_programs_says_so_and_stays(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_lease l = {0};
    char id[64];
    load_version(4, 4);
    assert_ok(submit(redis.queue, "a", id, &err));
    assert_int_equal(claim(redis.queue, "w1", &l, &err), MFFA_EUNSUPPORTED);
    assert_string_equal(err.msg, "OLDLIB this program speaks library version 3, Redis holds 4: update the program");
    assert_string_equal(mffa_test_fcall(&redis, "version"), "4");
    assert_string_equal(mffa_test_field(&redis, id, "state"), "queued");
    load_version(3, 1);
}

/* Before version 3 they had a hash of their own. Schedulers of both versions may come in any order, jobs in between. */
static void open_jobs_that_an_older_library_counted_are_taken_over(void **state) {
    (void)state;
    mffa_err err = {0};
    char id[2][64];
    mffa_test_ask(&redis, "HSET mffa:{main}:pools default 3 gpu 1");
    assert_ok(submit(redis.queue, "a", id[0], &err));
    for (int i = 0; i < 2; i++) assert_string_equal(mffa_test_fcall(&redis, "configure lease_ms 30000"), "OK");
    assert_ok(submit(redis.queue, "b", id[1], &err));
    assert_string_equal(mffa_test_ask(&redis, "HMGET mffa:{main}:cfg open:default open:gpu"), "5 1");
    assert_string_equal(mffa_test_ask(&redis, "EXISTS mffa:{main}:pools"), "0");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_command_that_never_arrives_is_said_again_and_nothing_is_lost_or_doubled, empty),
        cmocka_unit_test_setup(an_answer_that_never_arrives_is_asked_for_again_and_nothing_is_lost_or_doubled, empty),
        cmocka_unit_test_setup(functions_flushed_under_load_are_loaded_again_and_every_job_is_done_once, empty),
        cmocka_unit_test_setup(redis_restarted_under_load_with_its_data_loses_and_doubles_nothing, empty),
        cmocka_unit_test_setup(a_full_redis_refuses_new_work_alone, empty),
        cmocka_unit_test_setup(a_redis_that_forgot_everything_fences_old_runs_and_gives_out_no_old_id, empty),
        cmocka_unit_test_setup(an_older_library_is_replaced_by_the_first_claim_and_its_jobs_stay, empty),
        cmocka_unit_test_setup(a_newer_library_that_takes_older_programs_serves_them, empty),
        cmocka_unit_test_setup(a_newer_library_that_does_not_take_older_programs_says_so_and_stays, empty),
        cmocka_unit_test_setup(open_jobs_that_an_older_library_counted_are_taken_over, empty),
    };
    return cmocka_run_group_tests_name("faults", tests, start, stop);
}
