#include "tests/support/redis_group.h"

#define D "dataset s3://plant/bottle output s3://plant/out"
#define N1 "11111111111111111111111111111111"
#define N2 "22222222222222222222222222222222"
#define N3 "33333333333333333333333333333333"

static const char *state_of(const char *id) { return mffa_test_field(&redis, id, "state"); }

static const char *sentence(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static const char *sentence(const char *fmt, ...) {
    static char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return text;
}

static const char *claim(const char *nonce) {
    static char id[8][64];
    static unsigned at;
    char *out = id[at++ % 8];
    *out = '\0';
    sscanf(mffa_test_fcall(&redis, "claim w1 %s", nonce), "id %63s", out);
    return out;
}

typedef struct three { char a[32], b[32], c[32]; } three;
static three pipeline(void) {
    three p;
    assert_int_equal(sscanf(mffa_test_fcall(&redis, "submit pipeline " D), "%31s %31s %31s", p.a, p.b, p.c), 3);
    return p;
}

static void a_job_that_does_not_run_is_cancelled_at_once_and_never_starts(void **state) {
    (void)state;
    const char *queued = mffa_test_fcall(&redis, "submit fit " D), *delayed = mffa_test_fcall(&redis, "submit fit " D " delay 100");
    const char *blocked = mffa_test_fcall(&redis, "submit fit " D " after %s", delayed);
    assert_string_equal(mffa_test_fcall(&redis, "cancel %s", queued), "cancelled");
    assert_string_equal(mffa_test_fcall(&redis, "cancel %s", queued), "cancelled"); /* again is no error */
    assert_string_equal(mffa_test_fcall(&redis, "cancel %s", blocked), "cancelled");
    assert_string_equal(mffa_test_fcall(&redis, "cancel %s", delayed), "cancelled");
    assert_string_equal(mffa_test_field(&redis, queued, "reason"), "cancelled before it ran");
    assert_string_equal(claim(N1), "");
    assert_int_equal(mffa_test_check_rules(&redis), 3);
}

static void a_running_job_learns_of_its_cancel_by_its_beat(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D);
    claim(N1);
    mffa_test_refused(&redis, sentence("BADSTATE %s was not told to stop: release it as preempted, or call mffa_fail", id),
                      "release %s 1 " N1 " cancelled", id);
    assert_string_equal(mffa_test_fcall(&redis, "cancel %s", id), "cancelling");
    assert_string_equal(mffa_test_fcall(&redis, "cancel %s", id), "cancelling");
    const char *lease = mffa_test_ask(&redis, "ZSCORE mffa:{main}:lease %s", id);
    assert_string_equal(mffa_test_fcall(&redis, "beat %s 1 " N1, id), "cancel");
    assert_string_equal(mffa_test_ask(&redis, "ZSCORE mffa:{main}:lease %s", id), lease); /* no longer lease */
    mffa_test_check_rules(&redis);
    assert_string_equal(mffa_test_fcall(&redis, "release %s 1 " N1 " cancelled", id), "cancelled");
    assert_string_equal(mffa_test_fcall(&redis, "release %s 1 " N1 " cancelled", id), "cancelled");
    assert_string_equal(mffa_test_field(&redis, id, "reason"), "cancelled while it ran");
    mffa_test_refused(&redis, sentence("FENCED run 1 of %s is over, the job is cancelled at run 1: stop it and publish nothing", id),
                      "finish %s 1 " N1 " s3://plant/out/x", id);
    mffa_test_check_rules(&redis);
}

static void a_cancelled_job_whose_worker_fails_or_hands_it_back_is_cancelled(void **state) {
    (void)state;
    const char *a = mffa_test_fcall(&redis, "submit fit " D), *b = mffa_test_fcall(&redis, "submit fit " D);
    claim(N1), claim(N2);
    mffa_test_fcall(&redis, "cancel %s", a), mffa_test_fcall(&redis, "cancel %s", b);
    assert_string_equal(mffa_test_fcall(&redis, "fail %s 1 " N1 " yes broken", a), "cancelled");
    assert_string_equal(mffa_test_fcall(&redis, "fail %s 1 " N1 " yes broken", a), "cancelled");
    assert_string_equal(mffa_test_fcall(&redis, "release %s 1 " N2 " preempted", b), "cancelled");
    assert_int_equal(mffa_test_check_rules(&redis), 2);
}

static void a_cancelled_job_that_is_finished_already_is_done(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D);
    claim(N1);
    mffa_test_fcall(&redis, "cancel %s", id);
    assert_string_equal(mffa_test_fcall(&redis, "finish %s 1 " N1 " s3://plant/out/x", id), "done");
    mffa_test_refused(&redis, sentence("BADSTATE %s is done already: there is nothing to cancel", id), "cancel %s", id);
    mffa_test_refused(&redis, sentence("BADSTATE %s is done: only failed, dead and cancelled jobs can be retried", id), "retry %s", id);
    mffa_test_refused(&redis, sentence("BADSTATE %s is done: its priority means nothing any more", id), "setprio %s 3", id);
}

static void an_unknown_id_is_named(void **state) {
    (void)state;
    static const char *const verbs[] = {"cancel", "retry", "setprio", "status", "explain"};
    for (size_t i = 0; i < MFFA_COUNT(verbs); i++)
        mffa_test_refused(
            &redis,
            "NOTFOUND no job \"kx-1\": it was never submitted, or its record was removed after its time; mffa_list shows those there are",
            "%s kx-1 3", verbs[i]);
}

static void dependents_of_a_failed_job_are_skipped_naming_it_and_come_back_with_its_retry(void **state) {
    (void)state;
    three p = pipeline();
    claim(N1);
    assert_string_equal(mffa_test_fcall(&redis, "fail %s 1 " N1 " no 'bad picture'", p.a), "failed");
    assert_string_equal(mffa_test_ask(&redis, "HMGET mffa:{main}:job:%s state cause reason", p.b),
                        sentence("skipped %s %s has failed", p.a, p.a));
    assert_string_equal(mffa_test_ask(&redis, "HMGET mffa:{main}:job:%s state cause reason", p.c),
                        sentence("skipped %s %s has failed", p.a, p.a));
    mffa_test_check_rules(&redis);
    mffa_test_refused(&redis, sentence("BADSTATE %s was skipped because of %s: retry %s", p.c, p.a, p.a), "retry %s", p.c);
    assert_string_equal(mffa_test_fcall(&redis, "retry %s", p.a), "queued");
    assert_string_equal(mffa_test_ask(&redis, "HMGET mffa:{main}:job:%s state cause reason ended", p.b), "blocked (nil) (nil) (nil)");
    assert_string_equal(state_of(p.c), "blocked");
    assert_string_equal(mffa_test_ask(&redis, "HMGET mffa:{main}:job:%s failures reason run", p.a), "(nil) (nil) 1");
    mffa_test_check_rules(&redis);
    assert_string_equal(claim(N2), p.a); /* and the whole chain runs */
    mffa_test_fcall(&redis, "finish %s 2 " N2 " s3://plant/out/a", p.a);
    assert_string_equal(state_of(p.b), "queued");
}

static void a_dependent_of_two_ended_jobs_comes_back_when_both_are_retried(void **state) {
    (void)state;
    const char *a = mffa_test_fcall(&redis, "submit fit " D), *b = mffa_test_fcall(&redis, "submit fit " D);
    const char *c = mffa_test_fcall(&redis, "submit fit " D " after '%s %s'", a, b),
               *d = mffa_test_fcall(&redis, "submit fit " D " after %s", c);
    mffa_test_fcall(&redis, "cancel %s", a), mffa_test_fcall(&redis, "cancel %s", b);
    assert_string_equal(mffa_test_field(&redis, c, "cause"), a);
    mffa_test_fcall(&redis, "retry %s", a);
    assert_string_equal(state_of(c), "skipped");
    assert_string_equal(mffa_test_field(&redis, c, "cause"), b);
    assert_string_equal(state_of(d), "skipped");
    assert_string_equal(mffa_test_field(&redis, d, "cause"), b);
    mffa_test_check_rules(&redis);
    mffa_test_fcall(&redis, "retry %s", b);
    assert_string_equal(state_of(c), "blocked");
    assert_string_equal(state_of(d), "blocked");
    assert_int_equal(mffa_test_check_rules(&redis), 4);
}

static void a_diamond_of_dependents_is_skipped_once_and_comes_back_whole(void **state) {
    (void)state;
    const char *a = mffa_test_fcall(&redis, "submit fit " D);
    const char *l = mffa_test_fcall(&redis, "submit fit " D " after %s", a), *r = mffa_test_fcall(&redis, "submit fit " D " after %s", a);
    const char *z = mffa_test_fcall(&redis, "submit fit " D " after %s,%s", l, r);
    mffa_test_fcall(&redis, "cancel %s", a);
    assert_string_equal(state_of(z), "skipped");
    assert_int_equal(mffa_test_check_rules(&redis), 4);
    mffa_test_fcall(&redis, "retry %s", a);
    assert_string_equal(state_of(l), "blocked");
    assert_string_equal(state_of(r), "blocked");
    assert_string_equal(state_of(z), "blocked");
    assert_int_equal(mffa_test_check_rules(&redis), 4);
}

static void a_job_cancelled_while_blocked_can_only_be_retried_when_its_parents_live(void **state) {
    (void)state;
    three p = pipeline();
    mffa_test_fcall(&redis, "cancel %s", p.b);
    mffa_test_fcall(&redis, "cancel %s", p.a);
    mffa_test_refused(&redis, sentence("PARENTENDED %s waits for %s and it is cancelled: retry %s first", p.b, p.a, p.a), "retry %s", p.b);
    mffa_test_fcall(&redis, "retry %s", p.a);
    assert_string_equal(state_of(p.b), "cancelled"); /* it was cancelled for itself */
    assert_string_equal(mffa_test_fcall(&redis, "retry %s", p.b), "blocked");
    assert_string_equal(state_of(p.c), "blocked");
    assert_int_equal(mffa_test_check_rules(&redis), 3);
}

static void a_retried_job_goes_behind_those_of_its_priority(void **state) {
    (void)state;
    const char *a = mffa_test_fcall(&redis, "submit fit " D), *b = mffa_test_fcall(&redis, "submit fit " D);
    mffa_test_fcall(&redis, "cancel %s", a);
    assert_string_equal(mffa_test_fcall(&redis, "retry %s", a), "queued");
    assert_string_equal(claim(N1), b);
    assert_string_equal(claim(N2), a);
}

static void setprio_moves_a_waiting_job(void **state) {
    (void)state;
    const char *a = mffa_test_fcall(&redis, "submit fit " D), *b = mffa_test_fcall(&redis, "submit fit " D);
    mffa_test_refused(&redis, "BADFIELD prio \"ten\" does not fit: give an integer from 0 to 9", "setprio %s ten", b);
    assert_string_equal(mffa_test_fcall(&redis, "setprio %s 9", b), "queued");
    assert_string_equal(claim(N1), b);
    assert_string_equal(mffa_test_fcall(&redis, "setprio %s 0", b), "running");
    assert_string_equal(claim(N2), a);
    mffa_test_check_rules(&redis);
}

static void a_paused_kind_or_pool_is_not_claimed_until_it_is_resumed(void **state) {
    (void)state;
    const char *fit = mffa_test_fcall(&redis, "submit fit " D), *tune = mffa_test_fcall(&redis, "submit finetune " D " prio 0");
    assert_string_equal(mffa_test_fcall(&redis, "pause kind fit"), "paused");
    assert_string_equal(claim(N1), tune);
    assert_string_equal(claim(N2), "");
    assert_string_equal(mffa_test_fcall(&redis, "resume kind fit"), "resumed");
    mffa_test_fcall(&redis, "pause pool default");
    assert_string_equal(claim(N2), "");
    assert_non_null(strstr(mffa_test_fcall(&redis, "stats"), "paused:pool:default 20"));
    mffa_test_fcall(&redis, "resume pool default");
    assert_string_equal(claim(N2), fit);
    mffa_test_refused(&redis, "BADFIELD what \"fit\" does not fit: give kind or pool", "pause fit");
    mffa_test_refused(&redis, "BADFIELD kind \"fot\" does not fit: give finetune, fit, evaluate, score or verify", "pause kind fot");
}

static void a_drained_worker_hands_its_job_back_and_gets_no_other(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D);
    mffa_test_refused(&redis, "NOTFOUND no worker \"w1\": mffa_stats shows those there are", "drain w1");
    claim(N1);
    assert_string_equal(mffa_test_fcall(&redis, "drain w1"), "draining");
    assert_string_equal(mffa_test_fcall(&redis, "beat %s 1 " N1, id), "drain");
    assert_string_equal(mffa_test_fcall(&redis, "release %s 1 " N1 " preempted", id), "queued");
    assert_string_equal(mffa_test_fcall(&redis, "claim w1 " N2), "drain 1");
    assert_string_equal(mffa_test_fcall(&redis, "claim w1 " N2 " fresh no"), "drain 1");
    assert_string_equal(state_of(id), "queued");
    /* another process of that name */
    assert_non_null(strstr(mffa_test_fcall(&redis, "claim w1 " N2 " fresh yes"), id));
    assert_string_equal(mffa_test_fcall(&redis, "beat %s 2 " N2, id), "go");
}

static void status_begins_with_the_state_and_hides_what_is_not_for_people(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D " prio 8 seed 3");
    const char *text = mffa_test_ask(&redis, "FCALL_RO mffa_status 0 %s", id);
    const char *begin = "state queued kind fit pool default prio 8 dataset s3://plant/bottle output s3://plant/out seed 3 submitted 20";
    assert_int_equal(strncmp(text, begin, strlen(begin)), 0);
    claim(N1);
    mffa_test_fcall(&redis, "beat %s 1 " N1 " phase features done 3 total 10 rate 2.5 eta_s 3", id);
    text = mffa_test_ask(&redis, "FCALL_RO mffa_status 0 %s", id);
    begin = "state running kind fit phase features done 3 total 10 rate 2.5 eta_s 3 pool default ";
    assert_int_equal(strncmp(text, begin, strlen(begin)), 0);
    assert_null(strstr(text, N1));
    mffa_test_fcall(&redis, "finish %s 1 " N1 " s3://plant/out/x pixel_auroc 0.98 image_auroc 0.99 bad_images 1 summary 0123456789", id);
    text = mffa_test_ask(&redis, "FCALL_RO mffa_status 0 %s", id);
    begin = "state done kind fit image_auroc 0.99 pixel_auroc 0.98 bad_images 1 result s3://plant/out/x pool default ";
    assert_int_equal(strncmp(text, begin, strlen(begin)), 0);
    assert_non_null(strstr(text, " summary_bytes 10"));
    assert_null(strstr(text, "0123456789"));
}

static void explain_says_why_a_job_waits(void **state) {
    (void)state;
    three p = pipeline();
    const char *urgent = mffa_test_fcall(&redis, "submit fit " D " prio 9"), *later = mffa_test_fcall(&redis, "submit fit " D " delay 100");
    assert_string_equal(
        mffa_test_ask(&redis, "FCALL_RO mffa_explain 0 %s", p.a),
        sentence("%s is queued 1 queued jobs of pool default come before it no worker of pool default takes finetune jobs: start one",
                 p.a));
    assert_string_equal(mffa_test_ask(&redis, "FCALL_RO mffa_explain 0 %s", p.b),
                        sentence("%s is blocked it waits for %s (finetune, queued)", p.b, p.a));
    mffa_test_ask(&redis, "ZADD mffa:{main}:delayed 1 %s", later);
    assert_string_equal(mffa_test_ask(&redis, "FCALL_RO mffa_explain 0 %s", later),
                        sentence("%s is delayed it starts in 0 s at the earliest", later));
    mffa_test_fcall(&redis, "pause kind finetune");
    assert_string_equal(claim(N1), urgent);
    assert_string_equal(
        mffa_test_ask(&redis, "FCALL_RO mffa_explain 0 %s", p.a),
        sentence("%s is queued kind finetune is paused: FCALL mffa_resume 0 kind finetune 0 queued jobs of pool default come before it "
                 "1 workers take such jobs, 1 of them busy",
                 p.a));
    const char *begin = sentence("%s is running worker w1 has it, run 1 its lease lasts ", urgent);
    assert_int_equal(strncmp(mffa_test_ask(&redis, "FCALL_RO mffa_explain 0 %s", urgent), begin, strlen(begin)), 0);
    mffa_test_fcall(&redis, "cancel %s", p.a);
    assert_string_equal(mffa_test_ask(&redis, "FCALL_RO mffa_explain 0 %s", p.b),
                        sentence("%s is skipped %s was cancelled FCALL mffa_retry 0 %s brings both back", p.b, p.a, p.a));
}

static void list_walks_all_jobs_in_pages_and_filters(void **state) {
    (void)state;
    char cursor[32] = "1:0";
    int rows = 0, pages = 0;
    for (int i = 0; i < 5; i++)
        mffa_test_fcall(&redis, "submit fit " D), mffa_test_fcall(&redis, "submit score " D " model s3://models/a pool gpu");
    mffa_test_fcall(&redis, "submit fit " D " delay 60");
    const char *id = claim(N1);
    while (strcmp(cursor, "0") != 0) {
        const char *page = mffa_test_ask(&redis, "FCALL_RO mffa_list 0 limit 3 cursor %s", cursor);
        assert_int_equal(sscanf(page, "%31s", cursor), 1);
        for (const char *at = page; (at = strstr(at, "[id ")); at++) rows++;
        assert_true(++pages < 30);
    }
    assert_int_equal(rows, 11);
    assert_string_equal(mffa_test_ask(&redis, "FCALL_RO mffa_list 0 state running"),
                        sentence("0 [[id %s state running kind fit pool default prio 5]]", id));
    const char *gpu = mffa_test_ask(&redis, "FCALL_RO mffa_list 0 kind score pool gpu limit 1000");
    rows = 0;
    for (const char *at = gpu; (at = strstr(at, " state queued kind score pool gpu prio 5]")); at++) rows++;
    assert_int_equal(rows, 5);
    assert_string_equal(mffa_test_ask(&redis, "FCALL_RO mffa_list 0 state dead"), "0 []");
    mffa_test_refused(&redis, "BADFIELD cursor \"x\" does not fit: give the first element of the last answer", "list cursor x");
    mffa_test_refused(&redis, "BADFIELD \"status\" is not an option here: options are cursor kind limit pool state", "list status done");
}

static void stats_counts_by_state_pool_and_worker(void **state) {
    (void)state;
    mffa_test_fcall(&redis, "submit fit " D), mffa_test_fcall(&redis, "submit fit " D " pool gpu"),
        mffa_test_fcall(&redis, "submit fit " D " delay 9");
    const char *id = claim(N1);
    assert_string_equal(
        mffa_test_ask(&redis, "FCALL_RO mffa_stats 0"),
        sentence(
            "queued 1 running 1 delayed 1 blocked 0 failed 0 dead 0 done 0 cancelled 0 skipped 0 rejected 0 inbox 0 pool:default:queued 0 "
            "pool:default:open 1 pool:gpu:queued 1 pool:gpu:open 1 workers 1 worker:w1 default finetune,fit,evaluate,score,verify %s "
            "submitted_so_far 3 library 3",
            id));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_job_that_does_not_run_is_cancelled_at_once_and_never_starts, empty),
        cmocka_unit_test_setup(a_running_job_learns_of_its_cancel_by_its_beat, empty),
        cmocka_unit_test_setup(a_cancelled_job_whose_worker_fails_or_hands_it_back_is_cancelled, empty),
        cmocka_unit_test_setup(a_cancelled_job_that_is_finished_already_is_done, empty),
        cmocka_unit_test_setup(an_unknown_id_is_named, empty),
        cmocka_unit_test_setup(dependents_of_a_failed_job_are_skipped_naming_it_and_come_back_with_its_retry, empty),
        cmocka_unit_test_setup(a_dependent_of_two_ended_jobs_comes_back_when_both_are_retried, empty),
        cmocka_unit_test_setup(a_diamond_of_dependents_is_skipped_once_and_comes_back_whole, empty),
        cmocka_unit_test_setup(a_job_cancelled_while_blocked_can_only_be_retried_when_its_parents_live, empty),
        cmocka_unit_test_setup(a_retried_job_goes_behind_those_of_its_priority, empty),
        cmocka_unit_test_setup(setprio_moves_a_waiting_job, empty),
        cmocka_unit_test_setup(a_paused_kind_or_pool_is_not_claimed_until_it_is_resumed, empty),
        cmocka_unit_test_setup(a_drained_worker_hands_its_job_back_and_gets_no_other, empty),
        cmocka_unit_test_setup(status_begins_with_the_state_and_hides_what_is_not_for_people, empty),
        cmocka_unit_test_setup(explain_says_why_a_job_waits, empty),
        cmocka_unit_test_setup(list_walks_all_jobs_in_pages_and_filters, empty),
        cmocka_unit_test_setup(stats_counts_by_state_pool_and_worker, empty),
    };
    return cmocka_run_group_tests_name("steer", tests, start, stop);
}
