/* What the interface page shows is what runs: its shell loop is cut out of it and run as it stands, its names are the library's. */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "core/base/clock.h"
#include "scheduler/functions.h"
#include "tests/support/redis.h"
#include "tests/support/test.h"

static mffa_test_redis redis;
static mffa_buf page;
#define D "dataset s3://plant/bottle output s3://plant/out"
#define N1 "11111111111111111111111111111111"

/* A file of the temporary folder with this text, executable. */
static void put_file(const char *name, const char *text, size_t len) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", redis.dir, name);
    int fd = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0700);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), (ssize_t)len);
    close(fd);
}

/* Starts the block of the page that begins like this, as a script with one argument; a redis-cli that knows the private server stands
 * first on its PATH. What it prints: followed(). */
static pid_t run_script(const char *first, const char *argument) {
    const char *begin = strstr(page.ptr, first), *end = begin ? strstr(begin + 6, "```") : NULL;
    char wrapper[256], script[256], out[256], path[4200];
    assert_non_null(end);
    put_file("script.sh", begin + 6, (size_t)(end - begin - 6));
    int n = snprintf(wrapper, sizeof wrapper, "#!/bin/sh\nPATH=${PATH#*:} exec redis-cli -s %s \"$@\"\n", redis.socket);
    put_file("redis-cli", wrapper, (size_t)n);
    snprintf(script, sizeof script, "%s/script.sh", redis.dir);
    snprintf(out, sizeof out, "%s/script.out", redis.dir);
    snprintf(path, sizeof path, "%s:%s", redis.dir, getenv("PATH"));
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) return pid;
    int fd = open(out, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    dup2(fd, 1);
    setenv("PATH", path, 1);
    execlp("sh", "sh", script, argument, (char *)NULL);
    _exit(127);
}

static pid_t follow(const char *id) { return run_script("```sh\nid=", id); }

static int ended(pid_t pid) {
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WEXITSTATUS(status);
}

static const char *followed(void) {
    static mffa_buf out;
    char path[256];
    snprintf(path, sizeof path, "%s/script.out", redis.dir);
    mffa_buf_clear(&out);
    mffa_err err = {0};
    assert_ok(mffa_buf_read_file(&out, path, 1 << 20, &err));
    return mffa_buf_text(&out);
}

static void the_loop_prints_a_jobs_events_as_they_come_and_ends_with_it(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D);
    pid_t pid = follow(id);
    for (int i = 0; i < 1000 && atoi(mffa_test_ask(&redis, "INFO clients") + strlen("# Clients\r\nconnected_clients:")) < 2; i++)
        mffa_sleep_ms(5);
    mffa_test_fcall(&redis, "claim w1 " N1);
    mffa_test_fcall(&redis, "beat %s 1 " N1 " phase features done 3 total 10", id);
    mffa_test_fcall(&redis, "finish %s 1 " N1 " s3://plant/out/x image_auroc 0.99", id);
    assert_int_equal(ended(pid), 0);
    const char *text = followed(), *begin = "state running run 1 worker w1\nstate running phase features done 3 total 10\nstate done "
                                            "result s3://plant/out/x\nstate done\nkind fit\nimage_auroc 0.99\n";
    assert_int_equal(strncmp(text, begin, strlen(begin)), 0);
}

static void the_first_steps_are_answered_as_the_page_says(void **state) {
    (void)state;
    mffa_test_ask(&redis, "FLUSHALL");
    assert_int_equal(ended(run_script("```sh\nset -e\nask()", "first")), 0);
    const char *text = followed(),
               *begin = "state queued\nkind fit\npool default\nprio 3\ndataset s3://plant/bottle\noutput s3://plant/out\n";
    assert_int_equal(strncmp(text, begin, strlen(begin)), 0);
    const char *id = strstr(text, "no worker of pool default takes fit jobs: start one\nqueued\ncancelled\nqueued\n");
    assert_non_null(id);
    id += strlen("no worker of pool default takes fit jobs: start one\nqueued\ncancelled\nqueued\n");
    assert_non_null(strstr(id, "-1\ncancelled\n"));
    assert_string_equal(mffa_test_ask(&redis, "ZCARD mffa:{main}:cancelled"), "1");
}

static void the_page_shows_fulls_sentences_as_they_are(void **state) {
    (void)state;
    static const char *const parts[] = {"has %d open jobs and may have %d: submit later, or raise MFFA_MAX_QUEUED",
                                        "is new and %d pools have open jobs already: name one of them, mffa_stats shows them",
                                        "Redis is almost out of memory: wait until ended jobs are removed, or raise its maxmemory",
                                        "too many pools are paused: resume some first"};
    for (size_t i = 0; i < MFFA_COUNT(parts); i++) {
        const char *after = strrchr(parts[i], '%') ? strrchr(parts[i], '%') + 2 : parts[i];
        assert_non_null(strstr(mffa_functions_source, parts[i]));
        assert_non_null(strstr(page.ptr, after));
    }
}

static void the_loop_ends_with_a_job_that_never_ran(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D);
    mffa_test_fcall(&redis, "cancel %s", id);
    assert_int_equal(ended(follow(id)), 1);
    assert_int_equal(strncmp(followed(), "state cancelled\nkind fit\nreason cancelled before it ran\n", 50), 0);
    assert_int_equal(ended(follow("kx-1")), 1);
}

/* ---- users ---- */

/* One command as one of the page's users. */
static const char *as(const char *user, const char *command) {
    char url[160];
    mffa_err err = {0};
    mffa_queue *all = redis.queue, *own = NULL;
    snprintf(url, sizeof url, "unix://%s:%s-password@%s", user, user, redis.socket);
    assert_ok(mffa_queue_open(&(mffa_queue_options){.url = url, .name = "main"}, &own, &err));
    redis.queue = own;
    const char *answer = mffa_test_ask(&redis, "%s", command);
    redis.queue = all;
    mffa_queue_close(own);
    return answer;
}

/* Runs the page's script that makes the users. */
static void make_users(void) {
    assert_int_equal(ended(run_script("```sh\nset -ef\nkeys=", "users")), 0);
}

static bool is_one_of(const char *word, const char *list) {
    size_t len = strlen(word);
    for (const char *at = list; (at = strstr(at, word)); at += len)
        if ((at == list || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0')) return true;
    return false;
}

static const char all_verbs[] = "submit check help status explain list stats metrics cancel retry setprio pause resume drain version "
                                "claim peek beat finish fail release configure reap";
static const struct { const char *name, *calls, *reads; } users[] = {
    {"watcher", "", "status explain list stats metrics help check version"},
    {"submitter", "submit cancel retry setprio", "status explain list stats metrics help check version"},
    {"operator", "submit cancel retry setprio pause resume drain", "status explain list stats metrics help check version"},
    {"worker", "claim beat finish fail release", "version peek"},
    {"scheduler", "configure reap", "version metrics"},
    {"producer", "", ""},
    {"autoscaler", "", ""},
};

static void each_of_the_pages_users_may_call_its_verbs_and_no_others(void **state) {
    (void)state;
    make_users();
    for (size_t u = 0; u < MFFA_COUNT(users); u++) {
        MFFA_AUTO(mffa_free_p) char *words = strdup(all_verbs);
        char *save = NULL;
        for (char *verb = strtok_r(words, " ", &save); verb; verb = strtok_r(NULL, " ", &save))
            for (int ro = 0; ro < 2; ro++) {
                char line[96];
                snprintf(line, sizeof line, "%s mffa_%s 0", ro ? "FCALL_RO" : "FCALL", verb);
                bool may = is_one_of(verb, ro ? users[u].reads : users[u].calls);
                bool denied = strncmp(as(users[u].name, line), "NOPERM", 6) == 0;
                if (may == denied) fail_msg("%s: %s is %s", users[u].name, line, denied ? "denied" : "allowed");
            }
        assert_int_equal(strncmp(as(users[u].name, "GET foreign"), "NOPERM", 6), 0);
        assert_int_equal(strncmp(as(users[u].name, "FCALL mffa_submit 1 mffa:{other} fit " D), "NOPERM", 6), 0);
    }
    mffa_test_check_rules(&redis);
}

static void a_job_and_its_dependents_live_under_the_pages_users(void **state) {
    (void)state;
    char line[256], id[64];
    mffa_test_ask(&redis, "FLUSHALL");
    make_users();
    assert_string_equal(as("scheduler", "FCALL mffa_configure 1 mffa:{main} retention_s 3600"), "OK");
    assert_string_equal(as("worker", "FCALL mffa_claim 0 w1 " N1 " pool gpu"), "(nil)");
    snprintf(id, sizeof id, "%s", as("submitter", "FCALL mffa_submit 0 pipeline " D " idem x pool gpu"));
    id[strcspn(id, " ")] = '\0';
    assert_int_equal(strncmp(as("worker", "FCALL mffa_claim 0 w1 " N1 " pool gpu"), "id ", 3), 0);
    assert_string_equal(as("worker", "BLPOP mffa:{main}:wake:gpu 1"), "mffa:{main}:wake:gpu 1");
    snprintf(line, sizeof line, "FCALL mffa_beat 0 %s 1 " N1 " phase bank done 1 total 2", id);
    assert_string_equal(as("worker", line), "go");
    assert_string_equal(as("operator", "FCALL mffa_drain 0 w1"), "draining");
    assert_string_equal(as("operator", "FCALL mffa_pause 0 pool gpu"), "paused");
    assert_string_equal(as("operator", "FCALL mffa_resume 0 pool gpu"), "resumed");
    snprintf(line, sizeof line, "FCALL mffa_setprio 0 %s 8", id);
    assert_string_equal(as("submitter", line), "running");
    snprintf(line, sizeof line, "FCALL mffa_fail 0 %s 1 " N1 " no broken", id);
    assert_string_equal(as("worker", line), "failed"); /* its dependents are skipped with it */
    snprintf(line, sizeof line, "FCALL mffa_retry 0 %s", id);
    assert_string_equal(as("submitter", line), "queued");
    snprintf(line, sizeof line, "FCALL mffa_cancel 0 %s", id);
    assert_string_equal(as("submitter", line), "cancelled");
    snprintf(line, sizeof line, "FCALL_RO mffa_explain 0 %s", id);
    assert_non_null(strstr(as("watcher", line), "is cancelled"));
    assert_non_null(strstr(as("watcher", "XREAD COUNT 1 STREAMS mffa:{main}:ev 0"), "state queued"));
    assert_non_null(strstr(as("watcher", "FCALL_RO mffa_check 0 fit " D), "[kind fit"));
    for (int i = 0; i < 3; i++) assert_int_equal(strncmp(as("scheduler", "FCALL mffa_reap 0 lib 1"), "lost 0 ", 7), 0);
    mffa_test_check_rules(&redis);
}

static void what_every_user_needs_at_its_start_is_allowed(void **state) {
    (void)state;
    static const char *const programs[] = {"worker", "scheduler"};
    make_users();
    for (size_t i = 0; i < MFFA_COUNT(programs); i++) {
        char url[160];
        mffa_err err = {0};
        MFFA_AUTO(mffa_free_p) char *warning = NULL;
        MFFA_AUTO(mffa_queue_close_p) mffa_queue *q = NULL;
        snprintf(url, sizeof url, "unix://%s:%s-password@%s", programs[i], programs[i], redis.socket);
        assert_ok(mffa_queue_open(&(mffa_queue_options){.url = url, .name = "main"}, &q, &err));
        assert_ok(mffa_queue_check_server(q, &warning, &err));
        assert_ok(mffa_queue_load_library(q, &err));
        if (i == 1) mffa_test_ask(&redis, "FUNCTION FLUSH");
        assert_ok(mffa_queue_load_library(q, &err)); /* the scheduler brings it back */
    }
}

static void the_producer_can_add_messages_and_forge_nothing(void **state) {
    (void)state;
    make_users();
    const char *id = as("producer", "XADD mffa:{main}:inbox * kind fit " D);
    mffa_test_fcall(&redis, "reap");
    assert_string_equal(mffa_test_field(&redis, id, "state"), "accepted");
    assert_int_equal(strncmp(as("producer", "HSET mffa:{main}:job:kx-1 state done"), "NOPERM", 6), 0);
    assert_int_equal(strncmp(as("producer", "XADD mffa:{main}:ev * state done"), "NOPERM", 6), 0);
    assert_int_equal(strncmp(as("watcher", "HSET mffa:{main}:job:kx-1 state done"), "NOPERM", 6), 0);
}

static void the_autoscaler_can_count_open_jobs_and_change_nothing(void **state) {
    (void)state;
    mffa_test_ask(&redis, "FLUSHALL");
    make_users();
    mffa_test_fcall(&redis, "submit fit " D);
    assert_string_not_equal(as("autoscaler", "EVAL return(redis.call('del',KEYS[1])) 1 mffa:{main}:open:default"), "1");
    assert_string_equal(as("autoscaler", "EVAL return(redis.call('zcard',KEYS[1])) 1 mffa:{main}:open:default"), "1");
    assert_int_equal(strncmp(as("autoscaler", "TYPE mffa:{main}:lease"), "NOPERM", 6), 0);
}

static void the_page_names_every_verb_and_every_field(void **state) {
    (void)state;
    static const char *const verbs[] = {"submit", "check",   "help",   "status", "explain", "list",      "stats",   "cancel",
                                        "retry",  "setprio", "pause",  "resume", "drain",   "metrics",   "version", "claim",
                                        "peek",   "beat",    "finish", "fail",   "release", "configure", "reap"};
    static const char *const kinds[] = {"finetune", "fit", "evaluate", "score"};
    const char *list = mffa_test_ask(&redis, "FUNCTION LIST LIBRARYNAME mffa");
    size_t registered = 0;
    for (const char *at = list; (at = strstr(at, "name mffa_")); at++) registered++;
    assert_int_equal(registered, MFFA_COUNT(verbs));
    for (size_t i = 0; i < MFFA_COUNT(verbs); i++) {
        char word[64];
        snprintf(word, sizeof word, "`%s", verbs[i]);
        if (!strstr(page.ptr, word)) fail_msg("the page lacks the verb %s", verbs[i]);
        snprintf(word, sizeof word, "mffa_%s ", verbs[i]);
        if (!strstr(list, word)) fail_msg("the library lacks the verb %s", verbs[i]);
    }
    for (size_t i = 0; i < MFFA_COUNT(kinds); i++) { /* the row of the kind lists the fields that an unknown one is answered with */
        char row[32];
        snprintf(row, sizeof row, "\n| %s |", kinds[i]);
        const char *fields = strstr(mffa_test_fcall(&redis, "submit %s zzzzzz 1", kinds[i]), "fields are "), *from = strstr(page.ptr, row);
        assert_non_null(fields), assert_non_null(from);
        MFFA_AUTO(mffa_free_p) char *words = strdup(fields + strlen("fields are ")), *line = strndup(from + 1, strcspn(from + 1, "\n"));
        char *save = NULL;
        for (char *w = strtok_r(words, " ", &save); w && strcmp(w, "prio") != 0; w = strtok_r(NULL, " ", &save))
            if (!strstr(line, w)) fail_msg("the page's row of %s lacks %s", kinds[i], w);
    }
}

static int start(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_test_redis_start(&redis, false);
    assert_ok(mffa_buf_read_file(&page, MFFA_TEST_PAGE, 1 << 20, &err));
    return 0;
}
static int stop(void **state) {
    (void)state;
    mffa_buf_done(&page);
    mffa_test_redis_stop(&redis);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loop_prints_a_jobs_events_as_they_come_and_ends_with_it),
        cmocka_unit_test(the_loop_ends_with_a_job_that_never_ran),
        cmocka_unit_test(the_first_steps_are_answered_as_the_page_says),
        cmocka_unit_test(the_page_shows_fulls_sentences_as_they_are),
        cmocka_unit_test(each_of_the_pages_users_may_call_its_verbs_and_no_others),
        cmocka_unit_test(a_job_and_its_dependents_live_under_the_pages_users),
        cmocka_unit_test(what_every_user_needs_at_its_start_is_allowed),
        cmocka_unit_test(the_producer_can_add_messages_and_forge_nothing),
        cmocka_unit_test(the_autoscaler_can_count_open_jobs_and_change_nothing),
        cmocka_unit_test(the_page_names_every_verb_and_every_field),
    };
    return cmocka_run_group_tests_name("page", tests, start, stop);
}
