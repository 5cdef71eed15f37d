#include "tests/support/redis.h"
#include "tests/support/test.h"

static mffa_test_redis redis;
#define D "dataset s3://plant/bottle output s3://plant/out"
#define N1 "11111111111111111111111111111111"
#define N2 "22222222222222222222222222222222"

static int empty(void **state) {
    (void)state;
    mffa_test_ask(&redis, "FLUSHALL");
    mffa_test_fcall(&redis, "reap"); /* the first one in a process gives leases anew */
    return 0;
}

static const char *state_of(const char *id) { return mffa_test_field(&redis, id, "state"); }

static const char *claim(const char *nonce) {
    static char id[8][64];
    static unsigned at;
    char *out = id[at++ % 8];
    *out = '\0';
    sscanf(mffa_test_fcall(&redis, "claim w1 %s", nonce), "id %63s", out);
    return out;
}

/* What reap counts under this name. */
static int reap(const char *name) {
    const char *answer = mffa_test_fcall(&redis, "reap"), *at = strstr(answer, name);
    if (!at) fail_msg("reap answered %s", answer);
    return atoi(at + strlen(name));
}

/* As if nobody had beaten for the time of the lease. */
static void lose(const char *id) {
    mffa_test_ask(&redis, "ZADD mffa:{main}:lease 1 %s", id);
    assert_int_equal(reap("lost "), 1);
}

static void a_lost_job_runs_again_in_its_old_place_and_the_lost_run_is_fenced(void **state) {
    (void)state;
    char want[160];
    const char *a = mffa_test_fcall(&redis, "submit fit " D), *b = mffa_test_fcall(&redis, "submit fit " D);
    assert_string_equal(claim(N1), a);
    lose(a);
    snprintf(want, sizeof want, "FENCED run 1 of %s is over, the job is queued at run 1: stop it and publish nothing", a);
    mffa_test_refused(&redis, want, "beat %s 1 " N1, a);
    mffa_test_refused(&redis, want, "finish %s 1 " N1 " s3://plant/out/x", a);
    mffa_test_check_rules(&redis);
    assert_string_equal(claim(N2), a);
    assert_string_equal(mffa_test_ask(&redis, "HMGET mffa:{main}:job:%s run lost failures", a), "2 1 (nil)");
    assert_string_equal(state_of(b), "queued");
}

static void three_losses_make_a_job_dead_and_a_retry_forgets_them(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D), *kid = mffa_test_fcall(&redis, "submit score " D " model %s", id);
    for (int i = 1; i <= 3; i++) {
        char nonce[33];
        snprintf(nonce, sizeof nonce, "%032d", i);
        assert_string_equal(claim(nonce), id);
        lose(id);
    }
    assert_string_equal(state_of(id), "dead");
    assert_string_equal(mffa_test_field(&redis, id, "reason"), "its workers were lost 3 times, last w1: see their logs, then mffa_retry");
    assert_string_equal(state_of(kid), "skipped");
    mffa_test_check_rules(&redis);
    assert_string_equal(mffa_test_fcall(&redis, "retry %s", id), "queued");
    assert_string_equal(mffa_test_ask(&redis, "HMGET mffa:{main}:job:%s run lost", id), "3 (nil)");
    assert_string_equal(state_of(kid), "blocked");
}

static void a_cancelled_job_whose_worker_is_lost_is_cancelled(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D);
    claim(N1);
    mffa_test_fcall(&redis, "cancel %s", id);
    lose(id);
    assert_string_equal(state_of(id), "cancelled");
    assert_int_equal(mffa_test_check_rules(&redis), 1);
}

static void a_timed_out_job_whose_worker_is_lost_has_failed_once(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D " timeout 60");
    claim(N1);
    mffa_test_ask(&redis, "HINCRBY mffa:{main}:job:%s started -61000", id);
    assert_string_equal(mffa_test_fcall(&redis, "beat %s 1 " N1, id), "cancel");
    lose(id);
    assert_string_equal(mffa_test_ask(&redis, "HMGET mffa:{main}:job:%s state failures lost", id), "delayed 1 (nil)");
    mffa_test_check_rules(&redis);
}

static void a_delayed_job_is_queued_when_it_is_due(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D " delay 60");
    assert_int_equal(reap("promoted "), 0);
    assert_string_equal(state_of(id), "delayed");
    assert_string_equal(mffa_test_fcall(&redis, "claim w1 " N1), "(nil)"); /* a worker sleeps */
    assert_string_equal(mffa_test_ask(&redis, "LLEN mffa:{main}:wake:default"), "0");
    mffa_test_ask(&redis, "ZADD mffa:{main}:delayed 1 %s", id);
    assert_int_equal(reap("promoted "), 1);
    assert_string_equal(state_of(id), "queued");
    assert_string_equal(mffa_test_ask(&redis, "LLEN mffa:{main}:wake:default"), "1");
    mffa_test_check_rules(&redis);
}

static void a_blocked_job_with_a_delay_waits_for_both(void **state) {
    (void)state;
    const char *a = mffa_test_fcall(&redis, "submit fit " D), *b = mffa_test_fcall(&redis, "submit fit " D " delay 60 after %s", a);
    claim(N1);
    mffa_test_fcall(&redis, "finish %s 1 " N1 " s3://plant/out/a", a);
    assert_string_equal(state_of(b), "delayed");
    mffa_test_check_rules(&redis);
}

static void after_a_restart_every_running_job_gets_a_full_lease_again(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D);
    claim(N1);
    mffa_test_ask(&redis, "ZADD mffa:{main}:lease 1 %s", id);
    assert_string_equal(mffa_test_ask(&redis, "FUNCTION FLUSH"), "OK"); /* to the functions the same as another process */
    mffa_err err = {0};
    assert_ok(mffa_queue_load_library(redis.queue, &err));
    assert_int_equal(reap("lost "), 0);
    assert_string_equal(state_of(id), "running");
    assert_true(atof(mffa_test_ask(&redis, "ZSCORE mffa:{main}:lease %s", id)) > 1e12);
}

static void ended_jobs_leave_nothing_behind_after_their_time(void **state) {
    (void)state;
    mffa_test_fcall(&redis, "configure retention_s 3600 dead_retention_s 7200");
    const char *fit = mffa_test_fcall(&redis, "submit fit " D " keep 60"),
               *score = mffa_test_fcall(&redis, "submit score " D " model %s", fit);
    claim(N1);
    mffa_test_fcall(&redis, "fail %s 1 " N1 " no broken", fit);
    double keep = atof(mffa_test_ask(&redis, "ZSCORE mffa:{main}:skipped %s", score)) -
                  atof(mffa_test_ask(&redis, "ZSCORE mffa:{main}:failed %s", fit));
    assert_true(keep == (3600 - 60) * 1000.0);
    assert_int_equal(reap("removed "), 0);
    mffa_test_ask(&redis, "ZADD mffa:{main}:failed 1 %s", fit);
    assert_int_equal(reap("removed "), 1);
    mffa_test_refused(
        &redis,
        "NOTFOUND no job \"kx-1\": it was never submitted, or its record was removed after its time; mffa_list shows those there are",
        "status kx-1");
    mffa_test_check_rules(&redis);
    mffa_test_ask(&redis, "ZADD mffa:{main}:skipped 1 %s", score);
    assert_int_equal(reap("removed "), 1);
    mffa_test_ask(
        &redis,
        "DEL mffa:{main}:worker:w1 mffa:{main}:workers mffa:{main}:wake:default mffa:{main}:ev mffa:{main}:counts");
    assert_string_equal(mffa_test_ask(&redis, "KEYS *"), "mffa:{main}:cfg");
}

static void a_dead_job_is_kept_for_its_own_time(void **state) {
    (void)state;
    mffa_test_fcall(&redis, "configure retention_s 10 dead_retention_s 7200");
    const char *id = mffa_test_fcall(&redis, "submit fit " D);
    for (int i = 1; i <= 3; i++) {
        char nonce[33];
        snprintf(nonce, sizeof nonce, "%032d", i);
        claim(nonce), lose(id);
    }
    double ended = atof(mffa_test_field(&redis, id, "ended")), until = atof(mffa_test_ask(&redis, "ZSCORE mffa:{main}:dead %s", id));
    assert_true(until - ended == 7200 * 1000.0);
}

static void a_message_in_the_inbox_becomes_a_job_and_is_answered(void **state) {
    (void)state;
    char id[32], ids[96];
    snprintf(id, sizeof id, "%s",
             mffa_test_ask(&redis, "XADD mffa:{main}:inbox * dataset s3://plant/bottle kind pipeline output s3://plant/out prio 7"));
    assert_int_equal(reap("answered "), 1);
    assert_string_equal(state_of(id), "accepted");
    snprintf(ids, sizeof ids, "%s", mffa_test_field(&redis, id, "ids"));
    ids[strcspn(ids, " ")] = '\0';
    assert_string_equal(state_of(ids), "queued");
    assert_string_equal(mffa_test_field(&redis, ids, "prio"), "7");
    assert_string_equal(mffa_test_ask(&redis, "XLEN mffa:{main}:inbox"), "0");
    assert_non_null(strstr(mffa_test_ask(&redis, "FCALL_RO mffa_status 0 %s", id), "state accepted ids "));
    assert_int_equal(mffa_test_check_rules(&redis), 4);
}

static void a_wrong_message_is_rejected_with_its_reason_and_the_next_is_read(void **state) {
    (void)state;
    char bad[32], none[32];
    snprintf(bad, sizeof bad, "%s", mffa_test_ask(&redis, "XADD mffa:{main}:inbox * kind fit dataset nowhere"));
    snprintf(none, sizeof none, "%s", mffa_test_ask(&redis, "XADD mffa:{main}:inbox * dataset nowhere"));
    mffa_test_ask(&redis, "XADD mffa:{main}:inbox * kind fit " D);
    assert_int_equal(reap("answered "), 3);
    assert_string_equal(state_of(bad), "rejected");
    assert_string_equal(mffa_test_field(&redis, bad, "reason"),
                        "BADFIELD dataset \"nowhere\" does not fit: give s3://bucket/prefix or file:///path");
    assert_string_equal(mffa_test_field(&redis, none, "reason"),
                        "BADKIND \"\" is not a kind: kinds are finetune fit evaluate score verify pipeline");
    assert_string_equal(mffa_test_ask(&redis, "ZCARD mffa:{main}:ready:default:fit"), "1");
    assert_int_equal(mffa_test_check_rules(&redis), 4);
    mffa_test_ask(&redis, "ZADD mffa:{main}:rejected 1 %s", bad);
    assert_int_equal(reap("removed "), 1);
    assert_string_equal(mffa_test_ask(&redis, "EXISTS mffa:{main}:job:%s", bad), "0");
}

static void the_inbox_waits_while_the_queue_is_full(void **state) {
    (void)state;
    mffa_test_fcall(&redis, "configure max_queued 1");
    const char *first = mffa_test_fcall(&redis, "submit fit " D);
    mffa_test_ask(&redis, "XADD mffa:{main}:inbox * kind fit " D);
    assert_int_equal(reap("answered "), 0);
    assert_string_equal(mffa_test_ask(&redis, "XLEN mffa:{main}:inbox"), "1");
    mffa_test_fcall(&redis, "cancel %s", first);
    assert_int_equal(reap("answered "), 1);
}

static const char *add_message(const char *fields) { return mffa_test_ask(&redis, "XADD mffa:{main}:inbox * %s", fields); }

static void a_full_pool_holds_up_its_own_messages_only_and_keeps_their_order(void **state) {
    (void)state;
    mffa_test_fcall(&redis, "configure max_queued 2");
    mffa_test_fcall(&redis, "submit fit " D);
    const char *wide = add_message("kind pipeline " D), *narrow = add_message("kind fit " D),
               *other = add_message("kind fit " D " pool other");
    assert_int_equal(reap("answered "), 1);
    assert_string_equal(state_of(other), "accepted");
    assert_string_equal(state_of(narrow), ""); /* there is room for it, and the one before it comes first */
    mffa_test_fcall(&redis, "configure max_queued 4");
    assert_int_equal(reap("answered "), 1); /* three jobs of the first message fill the pool */
    assert_string_equal(state_of(wide), "accepted");
    assert_string_equal(state_of(narrow), "");
    mffa_test_check_rules(&redis);
}

static void messages_behind_more_waiting_ones_than_one_call_reads_are_reached(void **state) {
    (void)state;
    mffa_test_fcall(&redis, "configure max_queued 1");
    MFFA_AUTO(mffa_free_p) char *first = strdup(mffa_test_fcall(&redis, "submit fit " D));
    for (int i = 0; i < 450; i++) add_message("kind fit " D);
    const char *behind = add_message("kind fit " D " pool other");
    assert_int_equal(reap("answered "), 0);
    assert_int_equal(reap("answered "), 0);
    assert_int_equal(reap("answered "), 1);
    assert_string_equal(state_of(behind), "accepted");
    mffa_test_fcall(&redis, "cancel %s", first);
    assert_int_equal(reap("answered "), 1); /* from the start again */
    assert_string_equal(mffa_test_ask(&redis, "XLEN mffa:{main}:inbox"), "449");
    assert_int_equal(reap("answered ") + reap("answered "), 0);
    assert_string_equal(mffa_test_ask(&redis, "HEXISTS mffa:{main}:cfg inbox_at"), "0");
    mffa_test_check_rules(&redis);
}

static void a_message_for_one_pool_too_many_waits_and_the_others_do_not(void **state) {
    (void)state;
    for (int i = 1; i <= 256; i++) mffa_test_fcall(&redis, "submit fit " D " pool p%d", i);
    const char *odd = add_message("kind fit " D " pool p257"), *known = add_message("kind fit " D " pool p1");
    assert_int_equal(reap("answered "), 1);
    assert_string_equal(state_of(known), "accepted");
    mffa_test_fcall(&redis, "cancel %s", mffa_test_ask(&redis, "ZRANGE mffa:{main}:ready:p9:fit 0 0"));
    assert_int_equal(reap("answered "), 1);
    assert_string_equal(state_of(odd), "accepted");
    mffa_test_check_rules(&redis);
}

static void a_message_that_redis_itself_stumbles_over_is_rejected_and_the_next_is_read(void **state) {
    (void)state;
    mffa_test_ask(&redis, "LPUSH mffa:{main}:idem:odd x"); /* no string: GET fails */
    const char *odd = add_message("kind fit " D " idem odd"), *next = add_message("kind fit " D);
    assert_int_equal(reap("answered "), 2);
    assert_string_equal(state_of(odd), "rejected");
    assert_int_equal(strncmp(mffa_test_field(&redis, odd, "reason"), "WRONGTYPE ", 10), 0);
    assert_string_equal(state_of(next), "accepted");
}

static void without_memory_submitting_is_refused_and_work_in_hand_is_not(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D), *other = mffa_test_fcall(&redis, "submit fit " D);
    mffa_test_ask(&redis, "CONFIG SET maxmemory 1mb"); /* less than an empty server uses */
    assert_int_equal(strncmp(mffa_test_fcall(&redis, "submit fit " D), "OOM ", 4), 0);
    assert_string_equal(claim(N1), id);
    assert_string_equal(mffa_test_fcall(&redis, "beat %s 1 " N1 " phase features done 1 total 2", id), "go");
    reap("lost ");
    assert_string_equal(mffa_test_fcall(&redis, "finish %s 1 " N1 " s3://plant/out/x", id), "done");
    assert_string_equal(mffa_test_fcall(&redis, "cancel %s", other), "cancelled");
    mffa_test_ask(&redis, "CONFIG SET maxmemory 0"); /* full since the reap, and it is the scheduler that sees that it is over */
    mffa_test_refused(&redis, "FULL Redis is almost out of memory: wait until ended jobs are removed, or raise its maxmemory",
                      "submit fit " D);
    reap("lost ");
    assert_non_null(strchr(mffa_test_fcall(&redis, "submit fit " D), '-'));
    mffa_test_check_rules(&redis);
}

/* As a user named half, with these rights. */
static const char *ask_as_half(const char *rights, const char *line) {
    char url[160];
    mffa_err err = {0};
    mffa_test_ask(&redis, "ACL SETUSER half reset on >pass~word %s", rights);
    snprintf(url, sizeof url, "unix://half:pass~word@%s", redis.socket);
    mffa_queue *all = redis.queue, *half = NULL;
    assert_ok(mffa_queue_open(&(mffa_queue_options){.url = url, .name = "main"}, &half, &err));
    redis.queue = half;
    const char *answer = mffa_test_fcall(&redis, "%s", line);
    redis.queue = all;
    mffa_queue_close(half);
    mffa_test_ask(&redis, "ACL DELUSER half");
    return answer;
}

/* Without one of these commands after the other the call is refused, naming it, and nothing has changed. */
static void deny_each(const char *commands, const char *line) {
    char writes[80], rights[80], want[64], *save = NULL;
    const char *before = mffa_test_ask(&redis, "DEBUG DIGEST");
    snprintf(writes, sizeof writes, "%s", commands);
    for (char *w = strtok_r(writes, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        snprintf(rights, sizeof rights, "~mffa:{main}* +@all -%s", w);
        snprintf(want, sizeof want, "NOPERM this user may not %s 'mffa:{main}:", w);
        const char *answer = ask_as_half(rights, line);
        if (strncmp(answer, want, strlen(want)) != 0) fail_msg("%s without %s: %s", line, w, answer);
        assert_string_equal(mffa_test_ask(&redis, "DEBUG DIGEST"), before);
    }
}

static void a_caller_who_may_not_do_every_write_changes_nothing(void **state) {
    (void)state;
    char id[64], end[128], end_and_next[160];
    snprintf(id, sizeof id, "%s", mffa_test_fcall(&redis, "submit fit " D));
    mffa_test_fcall(&redis, "submit fit " D);
    claim(N1);
    snprintf(end, sizeof end, "finish %s 1 " N1 " s3://plant/out/x", id);
    snprintf(end_and_next, sizeof end_and_next, "%s next " N2, end);
    deny_each("HSET ZADD XADD", "submit fit " D);
    deny_each("HSET ZADD XADD SADD", "submit pipeline " D);
    deny_each("HSET ZADD XADD ZREM", "claim w1 " N2);
    deny_each("HSET ZADD XADD ZREM HINCRBY PEXPIRE SET HDEL", end);
    deny_each("HSET ZADD XADD ZREM HINCRBY PEXPIRE SET", end_and_next);
    assert_string_equal(ask_as_half("~mffa:{main}* +@all -HGETALL", "status kx-1"),
                        "NOPERM this user may not do all that mffa_status does: nothing was changed");
    /* the end may be written, the worker's record may not: it is published, and the worker has to claim */
    assert_string_equal(ask_as_half("%R~mffa:{main}:* ~mffa:{main}:[^w]* +@all", end_and_next), "(nil)");
    assert_string_equal(state_of(id), "done");
    mffa_test_check_rules(&redis);
}

static void settings_are_checked_and_stored(void **state) {
    (void)state;
    mffa_test_refused(&redis, "BADFIELD lease_ms \"5\" does not fit: give an integer from 200 to 3600000", "configure lease_ms 5");
    mffa_test_refused(&redis,
                      "BADFIELD \"lease\" is not an option here: options are backoff_ms dead_retention_s lease_ms max_queued retention_s",
                      "configure lease 5");
    assert_int_equal(reap("configured "), 0);
    assert_string_equal(mffa_test_fcall(&redis, "configure lease_ms 2000"), "OK");
    assert_int_equal(reap("configured "), 1);
    mffa_test_fcall(&redis, "submit fit " D);
    assert_non_null(strstr(mffa_test_fcall(&redis, "claim w1 " N1), " lease_ms 2000 "));
}

static void functions_carry_the_flags_that_they_should(void **state) {
    (void)state;
    static const char *const reads[] = {"status", "explain", "list", "stats", "help", "check", "peek", "version"};
    static const char *const always[] = {"beat", "finish", "fail", "release", "cancel", "reap"};
    static const char *const if_room[] = {"submit", "retry", "setprio"};
    const char *list = mffa_test_ask(&redis, "FUNCTION LIST LIBRARYNAME mffa");
    const struct { const char *const *names; size_t n; const char *flags; } sets[] = {
        {reads, MFFA_COUNT(reads), "[no-writes]"}, {always, MFFA_COUNT(always), "[allow-oom]"}, {if_room, MFFA_COUNT(if_room), "[]"}};
    for (size_t s = 0; s < MFFA_COUNT(sets); s++)
        for (size_t i = 0; i < sets[s].n; i++) {
            char want[128];
            snprintf(want, sizeof want, "name mffa_%s description (nil) flags %s", sets[s].names[i], sets[s].flags);
            if (!strstr(list, want)) fail_msg("not found: %s", want);
        }
}

static void an_index_entry_without_its_record_is_dropped(void **state) {
    (void)state;
    mffa_test_ask(&redis, "ZADD mffa:{main}:lease 1 kx-1");
    mffa_test_ask(&redis, "ZADD mffa:{main}:delayed 1 kx-2");
    mffa_test_ask(&redis, "ZADD mffa:{main}:ready:default:fit 1 kx-3");
    mffa_test_ask(&redis, "ZADD mffa:{main}:done 1 kx-4");
    assert_string_equal(claim(N1), "");
    reap("lost ");
    assert_string_equal(
        mffa_test_ask(&redis, "EXISTS mffa:{main}:lease mffa:{main}:delayed mffa:{main}:ready:default:fit mffa:{main}:done"), "0");
}

static int start(void **state) {
    (void)state;
    mffa_test_redis_start(&redis, false);
    return 0;
}
static int stop(void **state) {
    (void)state;
    mffa_test_redis_stop(&redis);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_lost_job_runs_again_in_its_old_place_and_the_lost_run_is_fenced, empty),
        cmocka_unit_test_setup(three_losses_make_a_job_dead_and_a_retry_forgets_them, empty),
        cmocka_unit_test_setup(a_cancelled_job_whose_worker_is_lost_is_cancelled, empty),
        cmocka_unit_test_setup(a_timed_out_job_whose_worker_is_lost_has_failed_once, empty),
        cmocka_unit_test_setup(a_delayed_job_is_queued_when_it_is_due, empty),
        cmocka_unit_test_setup(a_blocked_job_with_a_delay_waits_for_both, empty),
        cmocka_unit_test_setup(after_a_restart_every_running_job_gets_a_full_lease_again, empty),
        cmocka_unit_test_setup(ended_jobs_leave_nothing_behind_after_their_time, empty),
        cmocka_unit_test_setup(a_dead_job_is_kept_for_its_own_time, empty),
        cmocka_unit_test_setup(a_message_in_the_inbox_becomes_a_job_and_is_answered, empty),
        cmocka_unit_test_setup(a_wrong_message_is_rejected_with_its_reason_and_the_next_is_read, empty),
        cmocka_unit_test_setup(the_inbox_waits_while_the_queue_is_full, empty),
        cmocka_unit_test_setup(a_full_pool_holds_up_its_own_messages_only_and_keeps_their_order, empty),
        cmocka_unit_test_setup(messages_behind_more_waiting_ones_than_one_call_reads_are_reached, empty),
        cmocka_unit_test_setup(a_message_for_one_pool_too_many_waits_and_the_others_do_not, empty),
        cmocka_unit_test_setup(a_message_that_redis_itself_stumbles_over_is_rejected_and_the_next_is_read, empty),
        cmocka_unit_test_setup(without_memory_submitting_is_refused_and_work_in_hand_is_not, empty),
        cmocka_unit_test_setup(a_caller_who_may_not_do_every_write_changes_nothing, empty),
        cmocka_unit_test_setup(settings_are_checked_and_stored, empty),
        cmocka_unit_test_setup(functions_carry_the_flags_that_they_should, empty),
        cmocka_unit_test_setup(an_index_entry_without_its_record_is_dropped, empty),
    };
    return cmocka_run_group_tests_name("reap", tests, start, stop);
}
