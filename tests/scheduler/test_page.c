/* What the interface page shows is what runs: its shell loop is cut out of it and run as it stands, its names are the library's. */
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include "core/base/clock.h"
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

/* Starts the page's loop for a job; a redis-cli that knows the private server stands first on its PATH. */
static pid_t follow(const char *id) {
    const char *begin = strstr(page.ptr, "```sh\n"), *end = begin ? strstr(begin + 6, "```") : NULL;
    char wrapper[256], script[256], out[256], path[4200];
    assert_non_null(end);
    put_file("follow.sh", begin + 6, (size_t)(end - begin - 6));
    int n = snprintf(wrapper, sizeof wrapper, "#!/bin/sh\nPATH=${PATH#*:} exec redis-cli -s %s \"$@\"\n", redis.socket);
    put_file("redis-cli", wrapper, (size_t)n);
    snprintf(script, sizeof script, "%s/follow.sh", redis.dir);
    snprintf(out, sizeof out, "%s/follow.out", redis.dir);
    snprintf(path, sizeof path, "%s:%s", redis.dir, getenv("PATH"));
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) return pid;
    int fd = open(out, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    dup2(fd, 1);
    setenv("PATH", path, 1);
    execlp("sh", "sh", script, id, (char *)NULL);
    _exit(127);
}

static int ended(pid_t pid) {
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WEXITSTATUS(status);
}

static const char *followed(void) {
    static mffa_buf out;
    char path[256];
    snprintf(path, sizeof path, "%s/follow.out", redis.dir);
    mffa_buf_clear(&out);
    mffa_err err = {0};
    assert_ok(mffa_buf_read_file(&out, path, 1 << 20, &err));
    return mffa_buf_text(&out);
}

static void the_loop_prints_a_jobs_events_as_they_come_and_ends_with_it(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D);
    pid_t pid = follow(id);
    for (int i = 0; i < 1000 && atoi(mffa_test_ask(&redis, "INFO clients") + strlen("# Clients\r\nconnected_clients:")) < 2; i++) mffa_sleep_ms(5);
    mffa_test_fcall(&redis, "claim w1 " N1);
    mffa_test_fcall(&redis, "beat %s 1 " N1 " phase features done 3 total 10", id);
    mffa_test_fcall(&redis, "finish %s 1 " N1 " s3://plant/out/x image_auroc 0.99", id);
    assert_int_equal(ended(pid), 0);
    const char *text = followed(), *begin = "state running run 1 worker w1\nstate running phase features done 3 total 10\nstate done result s3://plant/out/x\nstate done\nkind fit\nimage_auroc 0.99\n";
    assert_int_equal(strncmp(text, begin, strlen(begin)), 0);
}

static void the_loop_ends_with_a_job_that_never_ran(void **state) {
    (void)state;
    const char *id = mffa_test_fcall(&redis, "submit fit " D);
    mffa_test_fcall(&redis, "cancel %s", id);
    assert_int_equal(ended(follow(id)), 1);
    assert_int_equal(strncmp(followed(), "state cancelled\nkind fit\nreason cancelled before it ran\n", 50), 0);
    assert_int_equal(ended(follow("kx-1")), 1);
}

/* One command as the page's inbox producer. */
static const char *as_producer(const char *command) {
    char url[160];
    mffa_err err = {0};
    mffa_queue *all = redis.queue, *producer = NULL;
    snprintf(url, sizeof url, "unix://plc:secret@%s", redis.socket);
    assert_ok(mffa_queue_open(&(mffa_queue_options){.url = url, .name = "main"}, &producer, &err));
    redis.queue = producer;
    const char *answer = mffa_test_ask(&redis, "%s", command);
    redis.queue = all;
    mffa_queue_close(producer);
    return answer;
}

static void the_pages_inbox_producer_can_add_messages_and_nothing_else(void **state) {
    (void)state;
    const char *line = strstr(page.ptr, "`ACL SETUSER plc");
    assert_non_null(line);
    assert_string_equal(mffa_test_ask(&redis, "%.*s", (int)strcspn(line + 1, "`"), line + 1), "OK");
    const char *id = as_producer("XADD mffa:{main}:inbox * kind fit " D);
    mffa_test_fcall(&redis, "reap");
    assert_string_equal(mffa_test_field(&redis, id, "state"), "accepted");
    assert_int_equal(strncmp(as_producer("FCALL mffa_submit 0 fit " D), "NOPERM", 6), 0);
    assert_int_equal(strncmp(as_producer("HSET mffa:{main}:job:kx-1 state done"), "NOPERM", 6), 0);
    assert_int_equal(strncmp(as_producer("XADD mffa:{main}:ev * state done"), "NOPERM", 6), 0);
}

static void the_page_names_every_verb_and_every_field(void **state) {
    (void)state;
    static const char *const verbs[] = {"submit", "check", "help", "status", "explain", "list", "stats", "cancel", "retry", "setprio", "pause", "resume", "drain",
                                        "metrics", "version", "claim", "peek", "beat", "finish", "fail", "release", "configure", "reap"};
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
        cmocka_unit_test(the_pages_inbox_producer_can_add_messages_and_nothing_else),
        cmocka_unit_test(the_page_names_every_verb_and_every_field),
    };
    return cmocka_run_group_tests_name("page", tests, start, stop);
}
