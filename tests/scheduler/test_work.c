#include "core/base/clock.h"
#include "tests/support/redis_group.h"

#define D "dataset s3://plant/bottle output s3://plant/out"
#define N1 "11111111111111111111111111111111"
#define N2 "22222222222222222222222222222222"
#define N3 "33333333333333333333333333333333"
#define N4 "44444444444444444444444444444444"

static bool is_state(const char *id, const char *state) { return strcmp(mffa_test_field(&redis, id, "state"), state) == 0; }

/* The id that a claim answers, "" for none. */
static const char *claim(const char *nonce) {
    static char id[8][64];
    static unsigned at;
    char *out = id[at++ % 8];
    *out = '\0';
    sscanf(mffa_test_fcall(&redis, "claim w1 %s", nonce), "id %63s", out);
    return out;
}

/* The id of the job that the end of this one brings, "" for none; `next` beside its request may say more. */
static const char *finish_next(const char *id, const char *nonce, const char *next) {
    static char out[64];
    *out = '\0';
    sscanf(mffa_test_fcall(&redis, "finish %s 1 %s s3://plant/out/%s next %s", id, nonce, id, next), "id %63s", out);
    return out;
}

static void a_claim_answers_the_job_with_every_field_and_the_fence(void **state) {
    (void)state;
    char want[1024];
    const char *id = mffa_test_fcall(&redis, "submit score " D " model s3://models/a retries 1");
    snprintf(want, sizeof want,
             "id %s run 1 nonce " N1
             " lease_ms 30000 kind score dataset s3://plant/bottle model s3://models/a output s3://plant/out maps product "
             "save_maps no heatmaps yes on_bad_image fail prio 5 retries 1 timeout 0 pool default model_url s3://models/a waited_ms ",
             id);
    const char *answer = mffa_test_fcall(&redis, "claim w1 " N1 " host node-1 device cpu");
    assert_int_equal(strncmp(answer, want, strlen(want)), 0);
    assert_int_equal(strspn(answer + strlen(want), "0123456789"), strlen(answer + strlen(want)));
    assert_true(is_state(id, "running"));
    snprintf(want, sizeof want, "%s cpu node-1", id);
    assert_string_equal(mffa_test_ask(&redis, "HMGET mffa:{main}:worker:w1 job device host"), want);
    mffa_test_check_rules(&redis);
}

static void the_same_request_answers_the_same_run_and_another_gets_another_job(void **state) {
    (void)state;
    const char *a = mffa_test_fcall(&redis, "submit fit " D), *b = mffa_test_fcall(&redis, "submit fit " D);
    assert_string_equal(claim(N1), a);
    assert_string_equal(claim(N1), a);
    assert_string_equal(mffa_test_field(&redis, a, "run"), "1");
    assert_string_equal(claim(N2), b);
    assert_string_equal(mffa_test_fcall(&redis, "claim w1 " N3), "(nil)");
}

static void priority_goes_first_and_equal_ones_in_order_across_kinds(void **state) {
    (void)state;
    const char *a = mffa_test_fcall(&redis, "submit fit " D), *b = mffa_test_fcall(&redis, "submit finetune " D);
    const char *c = mffa_test_fcall(&redis, "submit fit " D " prio 9"), *d = mffa_test_fcall(&redis, "submit fit " D " prio 0");
    const char *e = mffa_test_fcall(&redis, "submit fit " D);
    assert_string_equal(claim(N1), c);
    assert_string_equal(claim(N2), a);
    assert_string_equal(claim(N3), b);
    assert_string_equal(claim(N4), e);
    assert_string_equal(claim("55555555555555555555555555555555"), d);
}

static void a_worker_gets_only_its_pool_and_its_kinds(void **state) {
    (void)state;
    char want[64];
    const char *a = mffa_test_fcall(&redis, "submit fit " D " pool gpu");
    assert_string_equal(claim(N1), "");
    assert_string_equal(mffa_test_fcall(&redis, "claim w2 " N2 " pool gpu kinds score,evaluate"), "(nil)");
    snprintf(want, sizeof want, "id %s run 1 ", a);
    assert_int_equal(strncmp(mffa_test_fcall(&redis, "claim w2 " N2 " pool gpu kinds score,fit"), want, strlen(want)), 0);
}

static void peek_shows_what_a_claim_would_get_and_changes_nothing(void **state) {
    (void)state;
    assert_string_equal(mffa_test_ask(&redis, "FCALL_RO mffa_peek 0"), "(nil)");
    const char *a = mffa_test_fcall(&redis, "submit fit " D);
    char want[64];
    snprintf(want, sizeof want, "id %s kind fit dataset s3://plant/bottle ", a);
    assert_int_equal(strncmp(mffa_test_ask(&redis, "FCALL_RO mffa_peek 0 pool default kinds fit"), want, strlen(want)), 0);
    assert_true(is_state(a, "queued"));
}

static void wrong_claims_are_refused(void **state) {
    (void)state;
    mffa_test_fcall(&redis, "submit fit " D);
    mffa_test_refused(&redis, "BADFIELD request \"abc\" does not fit: give 32 random hex digits, new ones for each claim", "claim w1 abc");
    mffa_test_refused(&redis, "BADFIELD worker \"\" does not fit: give 1 to 128 letters, digits or . _ : -", "claim");
    mffa_test_refused(&redis, "BADFIELD kinds \"pipeline\" does not fit: give one or more of finetune,fit,evaluate,score,verify",
                      "claim w1 " N1 " kinds pipeline");
    mffa_test_refused(&redis, "BADFIELD \"gpu\" is not an option here: options are device fresh host kinds lib pool version",
                      "claim w1 " N1 " gpu 1");
    mffa_test_refused(&redis, "OLDLIB Redis holds library version 3, this program needs 9: start a scheduler of its version",
                      "claim w1 " N1 " lib 9");
}

static void a_beat_stores_progress_and_renews_the_lease(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D);
    claim(N1);
    double before = atof(mffa_test_ask(&redis, "ZSCORE mffa:{main}:lease %s", id));
    mffa_sleep_ms(5);
    assert_string_equal(mffa_test_fcall(&redis, "beat %s 1 " N1 " phase features done 3 total 10 rate 2.5e+01 eta_s 4", id), "go");
    assert_true(atof(mffa_test_ask(&redis, "ZSCORE mffa:{main}:lease %s", id)) > before);
    assert_string_equal(mffa_test_ask(&redis, "HMGET mffa:{main}:job:%s phase done total rate eta_s", id), "features 3 10 2.5e+01 4");
    const char *events = mffa_test_ask(&redis, "XLEN mffa:{main}:ev:%s", id);
    assert_string_equal(mffa_test_fcall(&redis, "beat %s 1 " N1 " phase features done 4 total 10", id),
                        "go"); /* within the second: no event */
    assert_string_equal(mffa_test_ask(&redis, "XLEN mffa:{main}:ev:%s", id), events);
    assert_string_equal(mffa_test_field(&redis, id, "done"), "4");
}

static void what_a_run_found_as_inputs_is_kept_for_the_next_run(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D);
    assert_null(strstr(mffa_test_fcall(&redis, "claim w1 " N1), " inputs "));
    assert_string_equal(mffa_test_fcall(&redis, "beat %s 1 " N1 " inputs 4f2a", id), "go");
    assert_string_equal(mffa_test_field(&redis, id, "inputs"), "4f2a");
    assert_string_equal(mffa_test_fcall(&redis, "release %s 1 " N1 " preempted", id), "queued");
    assert_non_null(strstr(mffa_test_fcall(&redis, "claim w2 " N2), " inputs 4f2a"));
    assert_string_equal(mffa_test_fcall(&redis, "beat %s 2 " N2 " inputs 77", id), "go");
    assert_non_null(strstr(mffa_test_ask(&redis, "FCALL_RO mffa_status 0 %s", id), " inputs 77"));
    mffa_test_refused(&redis, "BADFIELD inputs \"a/b\" does not fit: give 1 to 128 letters, digits or . _ : -",
                      "beat %s 2 " N2 " inputs a/b", id);
}

static void only_the_fence_of_the_present_run_is_accepted(void **state) {
    (void)state;
    char want[256];
    const char *id = mffa_test_fcall(&redis, "submit fit " D);
    mffa_test_refused(&redis, "FENCED there is no job \"kx-1\" (any more): stop it and publish nothing", "beat kx-1 1 " N1);
    snprintf(want, sizeof want, "FENCED run 1 of %s is over, the job is queued at run 0: stop it and publish nothing", id);
    mffa_test_refused(&redis, want, "beat %s 1 " N1, id);
    claim(N1);
    snprintf(want, sizeof want, "FENCED run 1 of %s is over, the job is running at run 1: stop it and publish nothing", id);
    mffa_test_refused(&redis, want, "beat %s 1 " N2, id);
    mffa_test_refused(&redis, want, "finish %s 1 " N2 " s3://plant/out/x", id);
    mffa_test_refused(&redis, want, "fail %s 1 " N2 " yes broken", id);
    mffa_test_refused(&redis, want, "release %s 1 " N2 " preempted", id);
    snprintf(want, sizeof want, "FENCED run 2 of %s is over, the job is running at run 1: stop it and publish nothing", id);
    mffa_test_refused(&redis, want, "finish %s 2 " N1 " s3://plant/out/x", id);
    assert_string_equal(mffa_test_fcall(&redis, "release %s 1 " N1 " preempted", id), "queued");
    assert_string_equal(claim(N2), id);
    snprintf(want, sizeof want, "FENCED run 1 of %s is over, the job is running at run 2: stop it and publish nothing", id);
    mffa_test_refused(&redis, want, "finish %s 1 " N1 " s3://plant/out/x", id);
}

static void finish_publishes_once_and_its_repetition_changes_nothing(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D);
    claim(N1);
    mffa_test_fcall(&redis, "beat %s 1 " N1 " phase bank done 1 total 2", id);
    assert_string_equal(mffa_test_fcall(&redis, "finish %s 1 " N1 " s3://plant/out/fit-x/run-1 image_auroc 0.99 images 12 summary abc", id),
                        "done");
    assert_string_equal(mffa_test_ask(&redis, "HMGET mffa:{main}:job:%s state result image_auroc images summary phase done", id),
                        "done s3://plant/out/fit-x/run-1 0.99 12 abc (nil) (nil)");
    const char *digest = mffa_test_ask(&redis, "DEBUG DIGEST");
    assert_string_equal(mffa_test_fcall(&redis, "finish %s 1 " N1 " s3://plant/out/fit-x/run-1 image_auroc 0.99", id), "done");
    assert_string_equal(mffa_test_ask(&redis, "DEBUG DIGEST"), digest);
    assert_string_equal(mffa_test_ask(&redis, "HEXISTS mffa:{main}:worker:w1 job"), "0");
    mffa_test_check_rules(&redis);
}

static void finish_brings_the_next_job_for_the_pool_and_kinds_of_the_worker(void **state) {
    (void)state;
    const char *a = mffa_test_fcall(&redis, "submit fit " D " pool gpu"),
               *b = mffa_test_fcall(&redis, "submit evaluate " D " pool gpu model %s", a);
    mffa_test_fcall(&redis, "submit fit " D " prio 9");           /* of another pool */
    mffa_test_fcall(&redis, "submit finetune " D " pool gpu");    /* of another kind */
    const char *c = mffa_test_fcall(&redis, "submit fit " D " pool gpu prio 4");
    assert_string_not_equal(mffa_test_fcall(&redis, "claim w1 " N1 " pool gpu kinds fit,evaluate host h"), "(nil)");
    assert_string_equal(finish_next(a, N1, N2), b); /* what this end made ready goes first */
    assert_string_equal(mffa_test_ask(&redis, "HMGET mffa:{main}:worker:w1 job request pool kinds host"),
                        mffa_test_ask(&redis, "ECHO '%s " N2 " gpu fit,evaluate h'", b));
    assert_string_equal(finish_next(b, N2, N3 " image_auroc 0.5"), c);
    assert_string_equal(mffa_test_field(&redis, b, "image_auroc"), "0.5");
    assert_string_equal(finish_next(c, N3, N4), "");
    assert_true(is_state(a, "done") && is_state(b, "done") && is_state(c, "done"));
    assert_string_equal(mffa_test_ask(&redis, "HMGET mffa:{main}:worker:w1 job request"), "(nil) (nil)");
    mffa_test_check_rules(&redis);
}

static void finish_with_next_repeated_answers_the_same_run(void **state) {
    (void)state;
    const char *a = mffa_test_fcall(&redis, "submit fit " D), *b = mffa_test_fcall(&redis, "submit fit " D);
    mffa_test_fcall(&redis, "submit fit " D);
    claim(N1);
    assert_string_equal(finish_next(a, N1, N2), b);
    assert_string_equal(finish_next(a, N1, N2), b); /* its answer was lost */
    assert_string_equal(mffa_test_field(&redis, b, "run"), "1");
    assert_string_equal(claim(N2), b);
    mffa_test_refused(&redis, "BADFIELD request \"12\" does not fit: give 32 random hex digits, new ones for each claim",
                      "finish %s 1 " N2 " s3://plant/out/b next 12", b);
    assert_true(is_state(b, "running"));
    mffa_test_check_rules(&redis);
}

static void finish_with_next_has_published_even_if_it_brings_nothing(void **state) {
    (void)state;
    const char *a = mffa_test_fcall(&redis, "submit fit " D), *b = mffa_test_fcall(&redis, "submit fit " D);
    mffa_test_fcall(&redis, "submit fit " D);
    claim(N1);
    mffa_test_ask(&redis, "DEL mffa:{main}:worker:w1"); /* its pool and kinds are unknown */
    assert_string_equal(mffa_test_fcall(&redis, "finish %s 1 " N1 " s3://plant/out/a next " N2, a), "(nil)");
    assert_string_equal(claim(N2), b);
    mffa_test_fcall(&redis, "drain w1");
    assert_string_equal(mffa_test_fcall(&redis, "finish %s 1 " N2 " s3://plant/out/b next " N3, b), "drain 1");
    assert_true(is_state(a, "done") && is_state(b, "done"));
    assert_string_equal(mffa_test_ask(&redis, "HGET mffa:{main}:worker:w1 job"), "(nil)");
    mffa_test_check_rules(&redis);
}

static void wrong_facts_are_refused(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D);
    claim(N1);
    mffa_test_refused(&redis,
                      "BADFIELD \"state\" cannot be the name of a fact: give lower-case letters, digits and _, and no name of the record",
                      "finish %s 1 " N1 " s3://plant/out/x state queued", id);
    mffa_test_refused(&redis,
                      "BADFIELD \"dataset\" cannot be the name of a fact: give lower-case letters, digits and _, and no name of the record",
                      "finish %s 1 " N1 " s3://plant/out/x dataset y", id);
    mffa_test_refused(&redis, "BADFIELD auroc has no value: give facts as name value name value",
                      "finish %s 1 " N1 " s3://plant/out/x auroc", id);
    mffa_test_refused(&redis, "BADFIELD result \"\" does not fit: give s3://bucket/prefix or file:///path", "finish %s 1 " N1, id);
    assert_true(is_state(id, "running"));
}

static void a_failure_is_retried_after_a_growing_while_until_the_retries_are_used(void **state) {
    (void)state;
    mffa_test_fcall(&redis, "configure backoff_ms 1000");
    const char *id = mffa_test_fcall(&redis, "submit fit " D " retries 1");
    claim(N1);
    assert_string_equal(mffa_test_fcall(&redis, "fail %s 1 " N1 " yes 'disk is slow'", id), "delayed");
    assert_string_equal(mffa_test_fcall(&redis, "fail %s 1 " N1 " yes 'disk is slow'", id), "delayed"); /* the reply was lost */
    assert_string_equal(mffa_test_ask(&redis, "HMGET mffa:{main}:job:%s failures reason run_ended", id), "1 disk is slow failed");
    mffa_test_ask(&redis, "ZADD mffa:{main}:delayed 1 %s", id); /* as if the while were over */
    assert_non_null(strstr(mffa_test_fcall(&redis, "reap"), "promoted 1 "));
    assert_string_equal(claim(N2), id);
    assert_string_equal(mffa_test_fcall(&redis, "fail %s 2 " N2 " yes 'disk is gone'", id), "failed");
    assert_string_equal(mffa_test_fcall(&redis, "fail %s 2 " N2 " yes 'disk is gone'", id), "failed");
    assert_string_equal(mffa_test_ask(&redis, "HMGET mffa:{main}:job:%s failures reason run", id), "2 disk is gone 2");
    mffa_test_check_rules(&redis);
}

static void a_failure_that_cannot_pass_is_not_retried(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D " retries 9");
    claim(N1);
    mffa_test_refused(&redis, "BADFIELD again \"maybe\" does not fit: give yes or no", "fail %s 1 " N1 " maybe", id);
    mffa_test_refused(&redis, "BADFIELD reason is missing: say in one sentence why the job failed", "fail %s 1 " N1 " no", id);
    assert_string_equal(mffa_test_fcall(&redis, "fail %s 1 " N1 " no 'train/good is missing'", id), "failed");
    assert_string_equal(mffa_test_field(&redis, id, "reason"), "train/good is missing");
}

static void a_preempted_job_keeps_its_place_and_is_never_dead(void **state) {
    (void)state;
    const char *a = mffa_test_fcall(&redis, "submit fit " D);
    mffa_test_fcall(&redis, "submit fit " D);
    for (int run = 1; run <= 6; run++) {
        char nonce[33];
        snprintf(nonce, sizeof nonce, "%032d", run);
        assert_string_equal(claim(nonce), a);
        assert_string_equal(mffa_test_fcall(&redis, "release %s %d %s preempted", a, run, nonce), "queued");
        assert_string_equal(mffa_test_fcall(&redis, "release %s %d %s preempted", a, run, nonce), "queued");
    }
    assert_string_equal(mffa_test_ask(&redis, "HMGET mffa:{main}:job:%s preempted run lost failures", a), "6 6 (nil) (nil)");
    mffa_test_check_rules(&redis);
}

static void children_start_when_their_last_parent_is_done(void **state) {
    (void)state;
    const char *a = mffa_test_fcall(&redis, "submit fit " D), *b = mffa_test_fcall(&redis, "submit fit " D);
    const char *c = mffa_test_fcall(&redis, "submit fit " D " after %s,%s prio 9", a, b);
    assert_string_equal(claim(N1), a);
    assert_string_equal(claim(N2), b);
    assert_string_equal(claim(N3), "");
    mffa_test_fcall(&redis, "finish %s 1 " N2 " s3://plant/out/b", b);
    assert_true(is_state(c, "blocked"));
    mffa_test_fcall(&redis, "finish %s 1 " N1 " s3://plant/out/a", a);
    assert_true(is_state(c, "queued"));
    mffa_test_check_rules(&redis);
    assert_string_equal(mffa_test_ask(&redis, "EXISTS mffa:{main}:kids:%s mffa:{main}:kids:%s mffa:{main}:wait:%s", a, b, c), "0");
}

static void a_reference_is_resolved_when_its_job_is_done(void **state) {
    (void)state;
    char a[32], b[32], c[32];
    assert_int_equal(sscanf(mffa_test_fcall(&redis, "submit pipeline " D), "%31s %31s %31s", a, b, c), 3);
    assert_string_equal(claim(N1), a);
    mffa_test_fcall(&redis, "finish %s 1 " N1 " s3://plant/out/tuned/", a);
    assert_non_null(strstr(mffa_test_fcall(&redis, "claim w1 " N2), " backbone_url s3://plant/out/tuned/"));
    assert_string_equal(mffa_test_field(&redis, b, "backbone_url"), "s3://plant/out/tuned/");
    mffa_test_fcall(&redis, "finish %s 1 " N2 " s3://plant/out/model/", b);
    assert_non_null(strstr(mffa_test_fcall(&redis, "claim w1 " N3), " model_url s3://plant/out/model/"));
    assert_non_null(strstr(mffa_test_ask(&redis, "FCALL_RO mffa_status 0 %s", c), "model_url s3://plant/out/model/"));
}

static void a_url_above_results_stands_for_the_newest_that_a_done_job_published(void **state) {
    (void)state;
    char a[32], want[160];
    snprintf(a, sizeof a, "%s", mffa_test_fcall(&redis, "submit fit dataset s3://plant/bottle output s3://plant/out/ keep 100"));
    assert_string_equal(claim(N1), a);
    mffa_test_fcall(&redis, "finish %s 1 " N1 " s3://plant/out/fit-%s/run-1", a, a);
    const char *later = mffa_test_fcall(&redis, "submit fit " D);
    assert_string_equal(claim(N2), later); /* runs, and has published nothing */
    mffa_test_fcall(&redis, "submit score " D " model s3://plant/out pool p");
    mffa_test_fcall(&redis, "submit score " D " model s3://plant/out/fit-%s/ pool p", a);
    mffa_test_fcall(&redis, "submit score " D " model s3://plant/out/fit-%s pool p", later);
    mffa_test_fcall(&redis, "submit score " D " model s3://plant pool p");
    snprintf(want, sizeof want, " model_url s3://plant/out/fit-%s/run-1", a);
    assert_non_null(strstr(mffa_test_fcall(&redis, "claim w2 " N3 " pool p"), want));
    assert_non_null(strstr(mffa_test_fcall(&redis, "claim w2 " N4 " pool p"), want));
    snprintf(want, sizeof want, " model_url s3://plant/out/fit-%s ", later); /* the queue knows of nothing there: the worker looks */
    assert_non_null(strstr(mffa_test_fcall(&redis, "claim w2 55555555555555555555555555555555 pool p"), want));
    assert_non_null(strstr(mffa_test_fcall(&redis, "claim w2 66666666666666666666666666666666 pool p"), " model_url s3://plant "));
    mffa_test_fcall(&redis, "finish %s 1 " N2 " s3://plant/out/fit-%s/run-1", later, later);
    mffa_test_fcall(&redis, "submit score " D " model s3://plant/out/ pool q");
    snprintf(want, sizeof want, " model_url s3://plant/out/fit-%s/run-1", later);
    assert_non_null(strstr(mffa_test_fcall(&redis, "claim w2 77777777777777777777777777777777 pool q"), want));
    assert_true(atoi(mffa_test_ask(&redis, "TTL mffa:{main}:newest:fit:s3://plant/out")) > 600000);
    mffa_test_check_rules(&redis);
}

/* The job's record goes, as retention does it. */
static void remove_record(const char *id, const char *state) {
    mffa_test_ask(&redis, "ZADD mffa:{main}:%s 1 %s", state, id);
    assert_non_null(strstr(mffa_test_fcall(&redis, "reap"), "removed 1 "));
    assert_string_equal(mffa_test_ask(&redis, "EXISTS mffa:{main}:job:%s", id), "0");
}

static void a_reference_outlives_the_record_of_the_job_that_it_names(void **state) {
    (void)state;
    const char *fit = mffa_test_fcall(&redis, "submit fit " D);
    const char *waiting = mffa_test_fcall(&redis, "submit score " D " model %s", fit);
    const char *gone_on = mffa_test_fcall(&redis, "submit score " D " model %s delay 60", fit);
    const char *cancelled = mffa_test_fcall(&redis, "submit score " D " model %s", fit);
    mffa_test_fcall(&redis, "cancel %s", cancelled);
    assert_string_equal(claim(N1), fit);
    mffa_test_fcall(&redis, "finish %s 1 " N1 " s3://plant/out/model/", fit);
    const char *later = mffa_test_fcall(&redis, "submit score " D " model %s idem x", fit);
    assert_string_equal(mffa_test_fcall(&redis, "submit score " D " model %s idem x", fit), later);
    remove_record(fit, "done");
    assert_non_null(strstr(mffa_test_fcall(&redis, "claim w1 " N2), " model_url s3://plant/out/model/"));
    assert_true(is_state(waiting, "running"));
    assert_true(is_state(gone_on, "delayed"));
    assert_string_equal(mffa_test_fcall(&redis, "retry %s", cancelled), "queued");
    const char *const all[] = {waiting, gone_on, cancelled, later};
    for (size_t i = 0; i < MFFA_COUNT(all); i++) assert_string_equal(mffa_test_field(&redis, all[i], "model_url"), "s3://plant/out/model/");
    assert_non_null(strstr(mffa_test_fcall(&redis, "claim w1 " N3), " model_url s3://plant/out/model/"));
    mffa_test_check_rules(&redis);
}

static void a_pipeline_goes_on_when_the_records_of_its_first_jobs_are_gone(void **state) {
    (void)state;
    char a[32], b[32], c[32];
    assert_int_equal(sscanf(mffa_test_fcall(&redis, "submit pipeline " D " keep 1"), "%31s %31s %31s", a, b, c), 3);
    assert_string_equal(claim(N1), a);
    mffa_test_fcall(&redis, "finish %s 1 " N1 " s3://plant/out/tuned/", a);
    remove_record(a, "done");
    assert_non_null(strstr(mffa_test_fcall(&redis, "claim w1 " N2), " backbone_url s3://plant/out/tuned/"));
    mffa_test_fcall(&redis, "finish %s 1 " N2 " s3://plant/out/model/", b);
    remove_record(b, "done");
    assert_non_null(strstr(mffa_test_fcall(&redis, "claim w1 " N3), " model_url s3://plant/out/model/"));
    mffa_test_fcall(&redis, "finish %s 1 " N3 " s3://plant/out/figures/", c);
    assert_true(is_state(c, "done"));
    mffa_test_check_rules(&redis);
}

static void a_job_of_the_past_does_not_free_its_worker_of_the_present_one(void **state) {
    (void)state;
    const char *a = mffa_test_fcall(&redis, "submit fit " D), *b = mffa_test_fcall(&redis, "submit fit " D);
    assert_string_equal(claim(N1), a);
    assert_string_equal(claim(N2), b); /* another process with the same name */
    mffa_test_fcall(&redis, "finish %s 1 " N1 " s3://plant/out/a", a);
    assert_string_equal(claim(N2), b); /* its reply was lost */
    mffa_test_fcall(&redis, "finish %s 1 " N2 " s3://plant/out/b", b);
    assert_string_equal(mffa_test_ask(&redis, "HMGET mffa:{main}:worker:w1 job request"), "(nil) (nil)");
}

static void a_run_that_takes_too_long_is_stopped_and_has_failed(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D " timeout 60 retries 0");
    claim(N1);
    assert_string_equal(mffa_test_fcall(&redis, "beat %s 1 " N1, id), "go");
    mffa_test_ask(&redis, "HINCRBY mffa:{main}:job:%s started -61000", id); /* as if it had run for 61 s */
    assert_string_equal(mffa_test_fcall(&redis, "beat %s 1 " N1, id), "cancel");
    assert_string_equal(mffa_test_fcall(&redis, "release %s 1 " N1 " cancelled", id), "failed");
    assert_string_equal(mffa_test_field(&redis, id, "reason"), "took longer than its timeout of 60 s");
    mffa_test_check_rules(&redis);
}

static void events_tell_the_life_of_a_job_and_last_a_day_after_it(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D);
    claim(N1);
    mffa_test_fcall(&redis, "beat %s 1 " N1 " phase features done 1 total 2", id);
    assert_string_equal(mffa_test_ask(&redis, "TTL mffa:{main}:ev:%s", id), "-1");
    mffa_test_fcall(&redis, "finish %s 1 " N1 " s3://plant/out/x", id);
    const char *own = mffa_test_ask(&redis, "XRANGE mffa:{main}:ev:%s - +", id);
    assert_non_null(strstr(own, "[state running run 1 worker w1]"));
    assert_non_null(strstr(own, "[state running phase features done 1 total 2]"));
    assert_non_null(strstr(own, "[state done result s3://plant/out/x]"));
    assert_true(atoi(mffa_test_ask(&redis, "TTL mffa:{main}:ev:%s", id)) > 86000);
    const char *all = mffa_test_ask(&redis, "XRANGE mffa:{main}:ev - +");
    assert_non_null(strstr(all, " kind fit state queued]"));
    assert_non_null(strstr(all, " kind fit state done result s3://plant/out/x]"));
}

static int tokens(const char *pool) { return atoi(mffa_test_ask(&redis, "LLEN mffa:{main}:wake:%s", pool)); }

static void only_workers_that_were_sent_away_are_woken(void **state) {
    (void)state;
    mffa_test_fcall(&redis, "submit fit " D);
    assert_int_equal(tokens("default"), 0);
    assert_string_equal(mffa_test_fcall(&redis, "claim w1 " N1 " kinds score"), "(nil)");
    assert_string_equal(mffa_test_fcall(&redis, "claim w2 " N2 " kinds score"), "(nil)");
    assert_string_equal(mffa_test_fcall(&redis, "claim w3 " N3 " pool other"), "(nil)");
    for (int i = 0; i < 5; i++) mffa_test_fcall(&redis, "submit fit " D);
    mffa_test_fcall(&redis, "submit pipeline " D " pool other");
    assert_int_equal(tokens("default"), 2);
    assert_int_equal(tokens("other"), 1);
}

static void a_worker_that_asks_again_and_again_is_one_that_sleeps(void **state) {
    (void)state;
    for (int i = 0; i < 100; i++) mffa_test_fcall(&redis, "claim w1 %032d", i);
    for (int i = 0; i < 100; i++) mffa_test_fcall(&redis, "submit fit " D);
    assert_in_range(tokens("default"), 1, 2); /* as many as workers, and one while the first is noted */
}

static void many_workers_that_sleep_are_all_woken(void **state) {
    (void)state;
    for (int i = 0; i < 200; i++) mffa_test_fcall(&redis, "claim w%d %032d", i, i);
    for (int i = 0; i < 200; i++) mffa_test_fcall(&redis, "submit fit " D);
    assert_int_equal(tokens("default"), 200);
}

static void a_pool_that_is_resumed_wakes_its_workers(void **state) {
    (void)state;
    mffa_test_fcall(&redis, "submit fit " D);
    mffa_test_fcall(&redis, "submit fit " D);
    mffa_test_fcall(&redis, "pause pool default");
    mffa_test_fcall(&redis, "pause kind fit");
    for (int i = 0; i < 3; i++) mffa_test_fcall(&redis, "claim w%d %032d", i, i);
    mffa_test_fcall(&redis, "resume pool default");
    assert_int_equal(tokens("default"), 2);
    assert_string_equal(mffa_test_fcall(&redis, "claim w1 " N1), "(nil)"); /* the other pause lasts */
    mffa_test_fcall(&redis, "resume kind fit");
    assert_int_equal(strncmp(mffa_test_fcall(&redis, "claim w1 " N1), "id ", 3), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_claim_answers_the_job_with_every_field_and_the_fence, empty),
        cmocka_unit_test_setup(the_same_request_answers_the_same_run_and_another_gets_another_job, empty),
        cmocka_unit_test_setup(priority_goes_first_and_equal_ones_in_order_across_kinds, empty),
        cmocka_unit_test_setup(a_worker_gets_only_its_pool_and_its_kinds, empty),
        cmocka_unit_test_setup(peek_shows_what_a_claim_would_get_and_changes_nothing, empty),
        cmocka_unit_test_setup(wrong_claims_are_refused, empty),
        cmocka_unit_test_setup(a_beat_stores_progress_and_renews_the_lease, empty),
        cmocka_unit_test_setup(what_a_run_found_as_inputs_is_kept_for_the_next_run, empty),
        cmocka_unit_test_setup(only_the_fence_of_the_present_run_is_accepted, empty),
        cmocka_unit_test_setup(finish_publishes_once_and_its_repetition_changes_nothing, empty),
        cmocka_unit_test_setup(finish_brings_the_next_job_for_the_pool_and_kinds_of_the_worker, empty),
        cmocka_unit_test_setup(finish_with_next_repeated_answers_the_same_run, empty),
        cmocka_unit_test_setup(finish_with_next_has_published_even_if_it_brings_nothing, empty),
        cmocka_unit_test_setup(wrong_facts_are_refused, empty),
        cmocka_unit_test_setup(a_failure_is_retried_after_a_growing_while_until_the_retries_are_used, empty),
        cmocka_unit_test_setup(a_failure_that_cannot_pass_is_not_retried, empty),
        cmocka_unit_test_setup(a_preempted_job_keeps_its_place_and_is_never_dead, empty),
        cmocka_unit_test_setup(children_start_when_their_last_parent_is_done, empty),
        cmocka_unit_test_setup(a_url_above_results_stands_for_the_newest_that_a_done_job_published, empty),
        cmocka_unit_test_setup(a_reference_is_resolved_when_its_job_is_done, empty),
        cmocka_unit_test_setup(a_reference_outlives_the_record_of_the_job_that_it_names, empty),
        cmocka_unit_test_setup(a_pipeline_goes_on_when_the_records_of_its_first_jobs_are_gone, empty),
        cmocka_unit_test_setup(a_job_of_the_past_does_not_free_its_worker_of_the_present_one, empty),
        cmocka_unit_test_setup(a_run_that_takes_too_long_is_stopped_and_has_failed, empty),
        cmocka_unit_test_setup(events_tell_the_life_of_a_job_and_last_a_day_after_it, empty),
        cmocka_unit_test_setup(only_workers_that_were_sent_away_are_woken, empty),
        cmocka_unit_test_setup(a_worker_that_asks_again_and_again_is_one_that_sleeps, empty),
        cmocka_unit_test_setup(many_workers_that_sleep_are_all_woken, empty),
        cmocka_unit_test_setup(a_pool_that_is_resumed_wakes_its_workers, empty),
    };
    return cmocka_run_group_tests_name("work", tests, start, stop);
}
