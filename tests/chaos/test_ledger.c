/* The judge of the chaos run is judged: each sort of broken promise, done by hand to a job that ended well, is found. */
#include <signal.h>
#include "core/base/clock.h"
#include "tests/chaos/ledger.h"
#include "tests/support/test.h"

static world w;
static cast c;

static const char *text_of(const char *id, const char *field) { return mffa_test_field(&w.redis, id, field); }

/* One job, done, with what a broken service would have made of it; then the verdict. */
static ledger verdict_on(void (*break_it)(const char *id)) {
    ledger l;
    mffa_test_ask(&w.redis, "FLUSHALL"); /* others' jobs would be ones that nobody was told of */
    ledger_open(&l, &c);
    while (l.count == 0) ledger_submit(&l);
    world_wait(&w, l.jobs[0].id, "done");
    ledger_look(&l);
    break_it(l.jobs[0].id);
    ledger_judge(&l);
    ledger_close(&l);
    return l;
}

static void none(const char *id) { (void)id; }
static void lose(const char *id) { mffa_test_ask(&w.redis, "DEL mffa:{main}:job:%s", id); }
static void run_again(const char *id) { mffa_test_ask(&w.redis, "HSET mffa:{main}:job:%s state queued", id); }
static void end_again(const char *id) { mffa_test_ask(&w.redis, "XADD mffa:{main}:ev:%s * state done", id); }
static void begin_again(const char *id) { mffa_test_ask(&w.redis, "XADD mffa:{main}:ev:%s * state running run 2 worker w9", id); }
static void let_another_publish(const char *id) { mffa_test_ask(&w.redis, "HSET mffa:{main}:job:%s run 2", id); }
static void fail_after_all(const char *id) { mffa_test_ask(&w.redis, "HSET mffa:{main}:job:%s state failed", id); }
/* Due to be removed in the year 2286: one that is past its time is gone as soon as a scheduler looks. */
static void invent(const char *id) { mffa_test_ask(&w.redis, "ZADD mffa:{main}:done 9999999999999 not-%s", id); }
static void change_an_object(const char *id) { world_shell("echo more >>'%s/summary.json'", text_of(id, "result") + strlen("file://")); }

static void a_job_that_ended_well_is_no_complaint(void **state) {
    (void)state;
    ledger l = verdict_on(none);
    assert_true(l.done == 1 && l.lost == 0 && l.doubled == 0 && l.unexpected == 0);
    assert_true(ledger_print(&l));
}

/* counted: which of the verdict's counts each of these raises. */
static void each_is_counted(void (*const breaches[])(const char *), size_t n, size_t counted) {
    for (size_t i = 0; i < n; i++) {
        ledger l = verdict_on(breaches[i]);
        assert_true(*(const int *)((const char *)&l + counted) > 0);
        assert_false(ledger_print(&l));
    }
}

static void what_is_lost_is_counted(void **state) {
    (void)state;
    void (*const breaches[])(const char *) = {lose, run_again};
    each_is_counted(breaches, MFFA_COUNT(breaches), offsetof(ledger, lost));
}

static void what_had_its_effect_twice_is_counted(void **state) {
    (void)state;
    void (*const breaches[])(const char *) = {end_again, begin_again, let_another_publish};
    each_is_counted(breaches, MFFA_COUNT(breaches), offsetof(ledger, doubled));
}

static void what_nobody_expects_is_counted(void **state) {
    (void)state;
    void (*const breaches[])(const char *) = {fail_after_all, change_an_object, invent};
    each_is_counted(breaches, MFFA_COUNT(breaches), offsetof(ledger, unexpected));
}

static int start(void **state) {
    (void)state;
    world_open(&w, 2, 64);
    world_kill(w.scheduler), w.scheduler = 0; /* the cast has its own */
    cast_open(&c, &w, 1, false);
    return 0;
}

static int stop(void **state) {
    (void)state;
    cast_close(&c);
    world_close(&w);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_job_that_ended_well_is_no_complaint),
        cmocka_unit_test(what_is_lost_is_counted),
        cmocka_unit_test(what_had_its_effect_twice_is_counted),
        cmocka_unit_test(what_nobody_expects_is_counted),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
