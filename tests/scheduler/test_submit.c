#include <pthread.h>
#include "tests/support/redis_group.h"

#define D "dataset s3://plant/bottle output s3://plant/out"

static void a_submitted_job_is_queued_with_what_was_chosen_and_nothing_else(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D " prio 8 seed 007 profile small");
    assert_string_equal(mffa_test_field(&redis, id, "state"), "queued");
    assert_string_equal(mffa_test_field(&redis, id, "prio"), "8");
    assert_string_equal(mffa_test_field(&redis, id, "seed"), "7");
    assert_string_equal(mffa_test_field(&redis, id, "profile"), ""); /* the default */
    assert_string_equal(mffa_test_field(&redis, id, "run"), "");
    assert_int_equal(mffa_test_check_rules(&redis), 1);
    assert_string_equal(mffa_test_ask(&redis, "EXISTS mffa:{main}:ev:%s", id), "0"); /* no stream before the first claim */
}

static void ids_are_an_epoch_and_a_number_and_lost_data_draws_another_epoch(void **state) {
    (void)state;
    const char *a = mffa_test_fcall(&redis, "submit fit " D), *b = mffa_test_fcall(&redis, "submit fit " D);
    assert_true(strlen(a) >= 6 && a[4] == '-' && strcmp(a + 4, "-1") == 0);
    assert_true(strncmp(a, b, 5) == 0 && strcmp(b + 4, "-2") == 0);
    mffa_test_redis_restart(&redis); /* it kept nothing: the number starts again */
    mffa_err err = {0};
    assert_ok(mffa_queue_load_library(redis.queue, &err));
    const char *c = mffa_test_fcall(&redis, "submit fit " D);
    assert_string_equal(c + 4, "-1");
    assert_string_not_equal(a, c);
    mffa_test_ask(&redis, "FLUSHALL");
    const char *d = mffa_test_fcall(&redis, "submit fit " D);
    assert_string_equal(d + 4, "-1");
    assert_string_not_equal(c, d);
}

static void each_wrong_field_is_refused_with_its_sentence_and_changes_nothing(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"submit", "BADKIND \"\" is not a kind: kinds are finetune fit evaluate score verify pipeline"},
        {"submit fitt", "BADKIND \"fitt\" is not a kind: did you mean fit? kinds are finetune fit evaluate score verify pipeline"},
        {"submit fit", "BADFIELD dataset is missing: give s3://bucket/prefix or file:///path"},
        {"submit fit dataset s3://plant/bottle", "BADFIELD output is missing: give s3://bucket/prefix or file:///path"},
        {"submit evaluate " D, "BADFIELD model is missing: give s3://bucket/prefix or file:///path, or the id of a fit job"},
        {"submit fit dataset", "BADFIELD dataset has no value: give fields as name value name value"},
        {"submit fit " D " dataset s3://plant/b", "BADFIELD dataset is given twice: give it once"},
        {"submit score model s3://models/x " D " treshold 3",
         "BADFIELD \"treshold\" is not a field of score: did you mean threshold? fields are dataset model output weights profile maps "
         "save_maps "
         "heatmaps threshold on_bad_image prio after idem delay retries timeout pool keep trace"},
        {"submit fit dataset plant/bottle output s3://plant/out",
         "BADFIELD dataset \"plant/bottle\" does not fit: give s3://bucket/prefix or file:///path"},
        {"submit fit dataset file://bottle output s3://plant/out",
         "BADFIELD dataset \"file://bottle\" does not fit: give s3://bucket/prefix or file:///path"},
        {"submit fit dataset s3://x output s3://plant/out",
         "BADFIELD dataset \"s3://x\" does not fit: give s3://bucket/prefix or file:///path"},
        {"submit fit " D " prio 10", "BADFIELD prio \"10\" does not fit: give an integer from 0 to 9"},
        {"submit fit " D " prio -1", "BADFIELD prio \"-1\" does not fit: give an integer from 0 to 9"},
        {"submit fit " D " prio 1e0", "BADFIELD prio \"1e0\" does not fit: give an integer from 0 to 9"},
        {"submit fit " D " side 100", "BADFIELD side \"100\" does not fit: give a multiple of 32 from 64 to 1024"},
        {"submit fit " D " ratio 0", "BADFIELD ratio \"0\" does not fit: give a number from 1e-06 to 1"},
        {"submit fit " D " ratio 0x1", "BADFIELD ratio \"0x1\" does not fit: give a number from 1e-06 to 1"},
        {"submit fit " D " ratio nan", "BADFIELD ratio \"nan\" does not fit: give a number from 1e-06 to 1"},
        {"submit fit " D " profile big", "BADFIELD profile \"big\" does not fit: give small or paper"},
        {"submit pipeline " D " maps nn", "BADFIELD maps \"nn\" does not fit: give product, nns or gaussian"},
        {"submit fit " D " pool 'a b'", "BADFIELD pool \"a b\" does not fit: give 1 to 64 letters, digits or . _ : -"},
        {"submit fit " D " trace 00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
         "BADFIELD trace \"00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01\" does not fit: "
         "give a W3C traceparent, 00-<32 hex digits>-<16>-<2>"},
        {"submit fit " D " trace 00-00000000000000000000000000000000-00f067aa0ba902b7-01",
         "BADFIELD trace \"00-00000000000000000000000000000000-00f067aa0ba902b7-01\" does not fit: "
         "give a W3C traceparent, 00-<32 hex digits>-<16>-<2>"},
        {"submit fit " D " pool ''", "BADFIELD pool \"\" does not fit: give 1 to 64 letters, digits or . _ : -"},
        {"submit fit " D " after k4", "BADFIELD after \"k4\" does not fit: give at most 64 job ids with a comma or a space between"},
        {"submit fit " D " after k4-17", "NOPARENT after names k4-17 and there is no such job: submit it first"},
        {"submit score " D " model k4-17", "NOPARENT model names k4-17 and there is no such job: submit it first"},
        {"submit pipeline " D " backbone s3://b/x", "BADFIELD \"backbone\" is not a field of pipeline: fields are dataset output psg "
                                                    "weights profile seed epochs batch learning_rate side grid blocks "
                                                    "gaussian_channels ratio lambda sigma keep_statistics maps save_maps heatmaps "
                                                    "on_bad_image prio after idem delay retries timeout pool keep trace"},
        {"submit pipeline " D " psg off epochs 2", "BADFIELD epochs is for fine-tuning and psg is off: leave one of them out"},
    };
    for (size_t i = 0; i < MFFA_COUNT(cases); i++) mffa_test_refused(&redis, cases[i][1], "%s", cases[i][0]);
    assert_string_equal(mffa_test_ask(&redis, "DBSIZE"), "0");
}

static void what_is_too_long_is_refused_with_its_size(void **state) {
    (void)state;
    char url[1100];
    memset(url, 'a', sizeof url);
    memcpy(url, "s3://plant/", 11);
    url[1025] = '\0';
    mffa_test_refused(&redis, "TOOBIG dataset has 1025 bytes: give at most 1024", "submit fit dataset %s output s3://plant/o", url);
    url[129] = '\0';
    mffa_test_refused(&redis, "TOOBIG idem has 129 bytes: give at most 128", "submit fit " D " idem %s", url);
}

static void a_pipeline_makes_three_jobs_in_one_step_that_name_each_other(void **state) {
    (void)state;
    char a[32], b[32], c[32];
    assert_int_equal(sscanf(mffa_test_fcall(&redis, "submit pipeline " D " profile paper prio 7 epochs 2 grid 32 maps nns pool gpu"),
                            "%31s %31s %31s", a, b, c),
                     3);
    assert_string_equal(mffa_test_field(&redis, a, "kind"), "finetune");
    assert_string_equal(mffa_test_field(&redis, b, "kind"), "fit");
    assert_string_equal(mffa_test_field(&redis, c, "kind"), "evaluate");
    assert_string_equal(mffa_test_field(&redis, a, "state"), "queued");
    assert_string_equal(mffa_test_field(&redis, b, "state"), "blocked");
    assert_string_equal(mffa_test_field(&redis, c, "state"), "blocked");
    assert_string_equal(mffa_test_field(&redis, b, "backbone"), a);
    assert_string_equal(mffa_test_field(&redis, c, "model"), b);
    assert_string_equal(mffa_test_field(&redis, a, "epochs"), "2");
    assert_string_equal(mffa_test_field(&redis, b, "epochs"), "");
    assert_string_equal(mffa_test_field(&redis, b, "grid"), "32");
    assert_string_equal(mffa_test_field(&redis, c, "maps"), "nns");
    const char *const ids[] = {a, b, c};
    for (int i = 0; i < 3; i++) {
        assert_string_equal(mffa_test_field(&redis, ids[i], "prio"), "7");
        assert_string_equal(mffa_test_field(&redis, ids[i], "pool"), "gpu");
        assert_string_equal(mffa_test_field(&redis, ids[i], "profile"), "paper");
    }
    assert_int_equal(mffa_test_check_rules(&redis), 3);
}

static void a_pipeline_without_psg_makes_two(void **state) {
    (void)state;
    char a[32], b[32], c[32];
    assert_int_equal(sscanf(mffa_test_fcall(&redis, "submit pipeline " D " psg off"), "%31s %31s %31s", a, b, c), 2);
    assert_string_equal(mffa_test_field(&redis, a, "kind"), "fit");
    assert_string_equal(mffa_test_field(&redis, a, "state"), "queued");
    assert_string_equal(mffa_test_field(&redis, a, "backbone"), "");
    assert_string_equal(mffa_test_field(&redis, b, "model"), a);
}

static void a_named_job_becomes_a_parent_unless_it_is_done(void **state) {
    (void)state;
    const char *fit = mffa_test_fcall(&redis, "submit fit " D);
    const char *score = mffa_test_fcall(&redis, "submit score " D " model %s", fit);
    assert_string_equal(mffa_test_field(&redis, score, "state"), "blocked");
    mffa_test_ask(&redis, "HSET mffa:{main}:job:%s state done", fit);
    const char *later = mffa_test_fcall(&redis, "submit score " D " model %s after %s,%s", fit, fit, fit);
    assert_string_equal(mffa_test_field(&redis, later, "state"), "queued");
    mffa_test_ask(&redis, "HSET mffa:{main}:job:%s state queued", fit);
    mffa_test_check_rules(&redis);
}

static void a_reference_of_the_wrong_kind_and_one_to_an_ended_job_are_refused(void **state) {
    (void)state;
    char want[512];
    const char *tune = mffa_test_fcall(&redis, "submit finetune " D);
    snprintf(want, sizeof want, "BADFIELD model names %s, a finetune job: give the id of a fit job", tune);
    mffa_test_refused(&redis, want, "submit score " D " model %s", tune);
    assert_string_equal(mffa_test_fcall(&redis, "cancel %s", tune), "cancelled");
    snprintf(want, sizeof want, "PARENTENDED after names %s and it is cancelled: retry %s first, or name another", tune, tune);
    mffa_test_refused(&redis, want, "submit fit " D " after %s", tune);
}

static void the_same_idempotency_key_answers_the_same_ids_and_refuses_other_fields(void **state) {
    (void)state;
    char want[512];
    const char *ids = mffa_test_fcall(&redis, "submit pipeline " D " idem order-9");
    assert_string_equal(mffa_test_fcall(&redis, "submit pipeline " D " idem order-9 prio 5"), ids); /* 5 is the default: no other field */
    snprintf(want, sizeof want, "BADFIELD idem order-9 made %s with another prio: give the same fields, or another key", ids);
    mffa_test_refused(&redis, want, "submit pipeline " D " idem order-9 prio 6");
    snprintf(want, sizeof want, "BADFIELD idem order-9 made %s with another kind: give the same fields, or another key", ids);
    mffa_test_refused(&redis, want, "submit fit " D " idem order-9");
    assert_int_equal(mffa_test_check_rules(&redis), 3);
    int ttl = atoi(mffa_test_ask(&redis, "TTL mffa:{main}:idem:order-9"));
    assert_true(ttl > 86000 && ttl <= 86400);
}

static void *submit_once(void *arg) {
    char *id = arg;
    mffa_err err = {0};
    mffa_queue *q = NULL;
    mffa_reply *reply = NULL;
    const char *const text[] = {"fit", "dataset", "s3://plant/bottle", "output", "s3://plant/out", "idem", "same"};
    mffa_span words[MFFA_COUNT(text)];
    for (size_t i = 0; i < MFFA_COUNT(text); i++) words[i] = mffa_span_of(text[i]);
    if (mffa_queue_open(&(mffa_queue_options){.url = redis.url, .name = "main"}, &q, &err) == MFFA_OK &&
        mffa_queue_call(q, false, "submit", words, MFFA_COUNT(words), &reply, &err) == MFFA_OK)
        snprintf(id, 32, "%s", mffa_reply_text(mffa_reply_at(reply, 0), "none"));
    mffa_reply_close(reply);
    mffa_queue_close(q);
    return NULL;
}

static void thirty_two_at_once_with_one_key_make_one_job(void **state) {
    (void)state;
    pthread_t threads[32];
    char ids[32][32] = {{0}};
    for (int i = 0; i < 32; i++) assert_int_equal(pthread_create(&threads[i], NULL, submit_once, ids[i]), 0);
    for (int i = 0; i < 32; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < 32; i++) assert_string_equal(ids[i], ids[0]);
    assert_int_equal(strchr(ids[0], '-') - ids[0], 4);
    assert_int_equal(mffa_test_check_rules(&redis), 1);
}

static void check_answers_what_submit_would_make_and_stores_nothing(void **state) {
    (void)state;
    assert_string_equal(
        mffa_test_ask(&redis, "FCALL_RO mffa_check 0 score " D " model s3://models/x threshold 2.5 delay 10"),
        "[kind score dataset s3://plant/bottle model s3://models/x output s3://plant/out maps product save_maps no heatmaps yes "
        "on_bad_image fail prio 5 retries 2 timeout 0 pool default threshold 2.5 delay 10]");
    const char *three = mffa_test_ask(&redis, "FCALL_RO mffa_check 0 pipeline " D);
    assert_non_null(strstr(three, "[kind finetune "));
    assert_non_null(strstr(three, "backbone the job before"));
    assert_non_null(strstr(three, "model the job before"));
    assert_string_equal(mffa_test_ask(&redis, "DBSIZE"), "0");
    mffa_test_refused(&redis, "BADFIELD output is missing: give s3://bucket/prefix or file:///path", "check fit dataset s3://plant/b");
}

static void help_names_every_kind_and_every_field_of_a_kind(void **state) {
    (void)state;
    const char *all = mffa_test_ask(&redis, "FCALL_RO mffa_help 0");
    static const char *const kinds[] = {"finetune: ", "fit: ", "evaluate: ", "score: ", "pipeline: ", "prio: ", "idem: "};
    for (size_t i = 0; i < MFFA_COUNT(kinds); i++) assert_non_null(strstr(all, kinds[i]));
    const char *fit = mffa_test_ask(&redis, "FCALL_RO mffa_help 0 fit");
    assert_non_null(strstr(fit, "dataset: folder of pictures (s3://bucket/prefix or file:///path; needed)"));
    assert_non_null(strstr(fit, "keep_statistics: store what extending the model later needs (no or yes; default no)"));
    assert_non_null(strstr(fit, "prio: urgency, 9 first; equal ones run in order of submission (an integer from 0 to 9; default 5)"));
    mffa_test_refused(&redis, "BADKIND \"fot\" is not a kind: did you mean fit? kinds are finetune fit evaluate score verify pipeline",
                      "help fot");
}

static void a_queue_that_is_full_refuses(void **state) {
    (void)state;
    assert_string_equal(mffa_test_fcall(&redis, "configure max_queued 4"), "OK");
    mffa_test_fcall(&redis, "submit pipeline " D);
    mffa_test_refused(&redis, "FULL pool \"default\" has 3 open jobs and may have 4: submit later, or raise MFFA_MAX_QUEUED",
                      "submit pipeline " D);
    mffa_test_fcall(&redis, "submit fit " D);
    mffa_test_refused(&redis, "FULL pool \"default\" has 4 open jobs and may have 4: submit later, or raise MFFA_MAX_QUEUED",
                      "submit fit " D);
    assert_non_null(strchr(mffa_test_fcall(&redis, "submit fit " D " pool other"), '-'));
    assert_int_equal(mffa_test_check_rules(&redis), 5);
}

static void one_pool_too_many_is_refused_until_another_has_no_open_job(void **state) {
    (void)state;
    for (int i = 1; i < 256; i++) mffa_test_fcall(&redis, "submit fit " D " pool p%d", i);
    MFFA_AUTO(mffa_free_p) char *last = strdup(mffa_test_fcall(&redis, "submit fit " D " pool p256"));
    mffa_test_refused(&redis, "FULL pool \"p257\" is new and 256 pools have open jobs already: name one of them, mffa_stats shows them",
                      "submit fit " D " pool p257");
    assert_non_null(strchr(mffa_test_fcall(&redis, "submit fit " D " pool p256"), '-'));
    mffa_test_fcall(&redis, "cancel %s", mffa_test_fcall(&redis, "submit fit " D " pool p7"));
    assert_non_null(strstr(mffa_test_fcall(&redis, "submit fit " D " pool p257"), "FULL ")); /* p7 has another job */
    assert_int_equal(mffa_test_check_rules(&redis), 258);
    mffa_test_fcall(&redis, "cancel %s", mffa_test_ask(&redis, "ZRANGE mffa:{main}:ready:p7:fit 0 0"));
    assert_non_null(strchr(mffa_test_fcall(&redis, "submit fit " D " pool p257"), '-'));
    assert_string_equal(mffa_test_ask(&redis, "HGET mffa:{main}:cfg open:p257"), "1");
    assert_string_equal(mffa_test_ask(&redis, "HGET mffa:{main}:cfg open:p7"), "(nil)");
    assert_string_equal(mffa_test_fcall(&redis, "cancel %s", last), "cancelled");
    mffa_test_check_rules(&redis);
}

static void another_queue_is_another_world_and_a_wrong_key_is_refused(void **state) {
    (void)state;
    mffa_test_ask(&redis, "FCALL mffa_submit 1 mffa:{line2} fit " D);
    assert_int_equal(mffa_test_check_rules(&redis), 0);
    assert_string_equal(mffa_test_ask(&redis, "ZCARD mffa:{line2}:ready:default:fit"), "1");
    assert_string_equal(mffa_test_ask(&redis, "FCALL mffa_submit 1 mffa:line2 fit"),
                        "BADFIELD key \"mffa:line2\" is not a queue: give 0 keys, or 1 key mffa:{<queue>}");
    assert_string_equal(mffa_test_ask(&redis, "FCALL mffa_submit 2 a b fit"),
                        "BADFIELD 2 keys are given: give 0 keys, or 1 key mffa:{<queue>}");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_submitted_job_is_queued_with_what_was_chosen_and_nothing_else, empty),
        cmocka_unit_test_setup(ids_are_an_epoch_and_a_number_and_lost_data_draws_another_epoch, empty),
        cmocka_unit_test_setup(each_wrong_field_is_refused_with_its_sentence_and_changes_nothing, empty),
        cmocka_unit_test_setup(what_is_too_long_is_refused_with_its_size, empty),
        cmocka_unit_test_setup(a_pipeline_makes_three_jobs_in_one_step_that_name_each_other, empty),
        cmocka_unit_test_setup(a_pipeline_without_psg_makes_two, empty),
        cmocka_unit_test_setup(a_named_job_becomes_a_parent_unless_it_is_done, empty),
        cmocka_unit_test_setup(a_reference_of_the_wrong_kind_and_one_to_an_ended_job_are_refused, empty),
        cmocka_unit_test_setup(the_same_idempotency_key_answers_the_same_ids_and_refuses_other_fields, empty),
        cmocka_unit_test_setup(thirty_two_at_once_with_one_key_make_one_job, empty),
        cmocka_unit_test_setup(check_answers_what_submit_would_make_and_stores_nothing, empty),
        cmocka_unit_test_setup(help_names_every_kind_and_every_field_of_a_kind, empty),
        cmocka_unit_test_setup(a_queue_that_is_full_refuses, empty),
        cmocka_unit_test_setup(one_pool_too_many_is_refused_until_another_has_no_open_job, empty),
        cmocka_unit_test_setup(another_queue_is_another_world_and_a_wrong_key_is_refused, empty),
    };
    return cmocka_run_group_tests_name("submit", tests, start, stop);
}
