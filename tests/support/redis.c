#include "tests/support/redis.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include "core/base/clock.h"
#include "tests/support/test.h"

static bool has_redis_server(void) {
    const char *path = getenv("PATH");
    for (const char *p = path; p && *p; p += strcspn(p, ":"), p += *p == ':') {
        char file[4096];
        int n = snprintf(file, sizeof file, "%.*s/redis-server", (int)strcspn(p, ":"), p);
        if (n < (int)sizeof file && access(file, X_OK) == 0) return true;
    }
    return false;
}

static void spawn(mffa_test_redis *r) {
    pid_t parent = getpid();
    r->pid = fork();
    assert_true(r->pid >= 0);
    if (r->pid > 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0), dup2(null, 1), dup2(null, 2);
    if (*r->clock) setenv("LD_PRELOAD", MFFA_TEST_CLOCK, 1), setenv("MFFA_TEST_CLOCK", r->clock, 1);
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", r->socket, "--dir", r->dir, "--save", "", "--appendonly",
           r->keeps ? "yes" : "no", "--appendfsync", *r->clock ? "no" : "always", "--enable-debug-command", "yes", (char *)NULL);
    _exit(127);
}

/* On a clock of ours no key may go by itself: Redis 8's search for old keys takes one in the ms in which every other look still finds
 * it. */
static void wait_until_it_answers(mffa_test_redis *r) {
    for (int i = 0; i < 500; i++) {
        if (strcmp(mffa_test_ask(r, "PING"), "PONG") == 0) {
            if (*r->clock) assert_string_equal(mffa_test_ask(r, "DEBUG SET-ACTIVE-EXPIRE 0"), "OK");
            return;
        }
        mffa_sleep_ms(20);
    }
    fail_msg("the private redis-server does not answer: %s", mffa_test_ask(r, "PING"));
}

/* The folder and the client; the server is not started yet. */
static void prepare(mffa_test_redis *r, bool keeps) {
    if (!has_redis_server()) {
        printf("skipped: there is no redis-server on the PATH\n");
        exit(MFFA_TEST_SKIP);
    }
    signal(SIGPIPE, SIG_IGN); /* as our programs do: a dead server is an error of the call */
    *r = (mffa_test_redis){.dir = "/tmp/mffa-redis-XXXXXX", .keeps = keeps};
    assert_non_null(mkdtemp(r->dir));
    snprintf(r->socket, sizeof r->socket, "%s/redis.sock", r->dir);
    snprintf(r->url, sizeof r->url, "unix://%s", r->socket);
    mffa_err err = {0};
    assert_ok(mffa_queue_open(&(mffa_queue_options){.url = r->url, .name = "main"}, &r->queue, &err));
}

void mffa_test_redis_start(mffa_test_redis *r, bool keeps) {
    mffa_err err = {0};
    prepare(r, keeps);
    spawn(r);
    wait_until_it_answers(r);
    assert_ok(mffa_queue_load_library(r->queue, &err));
}

void mffa_test_redis_set_time(mffa_test_redis *r, int64_t ms) {
    int fd = open(r->clock, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, &ms, sizeof ms), sizeof ms);
    close(fd);
}

void mffa_test_redis_start_at(mffa_test_redis *r, bool keeps, int64_t ms) {
    mffa_err err = {0};
    prepare(r, keeps);
    snprintf(r->clock, sizeof r->clock, "%s/clock", r->dir);
    mffa_test_redis_set_time(r, ms);
    spawn(r);
    wait_until_it_answers(r);
    assert_int_equal(atoll(mffa_test_ask(r, "TIME")), ms / 1000);
    assert_ok(mffa_queue_load_library(r->queue, &err));
}

static void remove_folder(const char *path) {
    pid_t rm = fork();
    if (rm == 0) execlp("rm", "rm", "-rf", path, (char *)NULL), _exit(127);
    if (rm > 0) waitpid(rm, NULL, 0);
}

void mffa_test_redis_renew(mffa_test_redis *r, bool keeps) {
    char files[112];
    snprintf(files, sizeof files, "%s/appendonlydir", r->dir);
    mffa_test_redis_kill(r);
    remove_folder(files);
    r->keeps = keeps;
    mffa_test_redis_restart(r);
}

void mffa_test_redis_kill(mffa_test_redis *r) {
    if (r->pid > 0) kill(r->pid, SIGKILL), waitpid(r->pid, NULL, 0);
    r->pid = 0;
}

static int64_t clock_of(const mffa_test_redis *r) {
    int64_t ms = 0;
    int fd = open(r->clock, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(read(fd, &ms, sizeof ms), sizeof ms);
    close(fd);
    return ms;
}

/* On a clock of ours it starts a ms early, until it is told to leave old keys alone. */
void mffa_test_redis_restart(mffa_test_redis *r) {
    int64_t now = *r->clock ? clock_of(r) : 0;
    mffa_test_redis_kill(r);
    if (now) mffa_test_redis_set_time(r, now - 1);
    spawn(r);
    wait_until_it_answers(r);
    if (now) mffa_test_redis_set_time(r, now);
}

void mffa_test_redis_stop(mffa_test_redis *r) {
    mffa_test_redis_kill(r);
    mffa_queue_close(r->queue);
    r->queue = NULL;
    remove_folder(r->dir);
}

/* ---- a line as a command, an answer as a line ---- */

enum { WORDS_MAX = 256, ANSWERS = 32 };

static size_t split(char *line, mffa_span *words) {
    size_t n = 0;
    for (char *p = line + strspn(line, " "); *p; p += strspn(p, " ")) {
        bool quoted = *p == '\'';
        char *start = p + quoted, *end = start + strcspn(start, quoted ? "'" : " ");
        assert_true(n < WORDS_MAX);
        words[n++] = (mffa_span){start, (size_t)(end - start)};
        p = end + (*end && quoted);
    }
    return n;
}

static void render(mffa_buf *out, const mffa_reply *r, bool outer) {
    size_t n = mffa_reply_size(r);
    if (mffa_reply_is_nil(r)) mffa_buf_puts(out, "(nil)");
    else if (mffa_reply_text(r, NULL)) mffa_buf_put(out, mffa_reply_bytes(r).ptr, mffa_reply_bytes(r).len);
    else if (mffa_reply_int(r, INT64_MIN) != INT64_MIN) mffa_buf_putf(out, "%lld", (long long)mffa_reply_int(r, 0));
    else {
        if (!outer) mffa_buf_puts(out, "[");
        for (size_t i = 0; i < n; i++) {
            if (i) mffa_buf_puts(out, " ");
            render(out, mffa_reply_at(r, i), false);
        }
        if (!outer) mffa_buf_puts(out, "]");
    }
}

static const char *ask(mffa_test_redis *r, char *line) {
    static mffa_buf answers[ANSWERS];
    static unsigned at;
    mffa_buf *out = &answers[at++ % ANSWERS];
    mffa_span words[WORDS_MAX];
    size_t n = split(line, words);
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    mffa_err err = {0};
    mffa_buf_clear(out);
    if (mffa_queue_command(r->queue, words, n, &reply, &err)) mffa_buf_puts(out, err.msg);
    else render(out, reply, true);
    assert_ok(mffa_buf_check(out, &err));
    return mffa_buf_text(out);
}

static char *formatted(const char *before, const char *fmt, va_list ap) {
    char *rest = NULL, *line = NULL;
    assert_true(vasprintf(&rest, fmt, ap) >= 0);
    assert_true(asprintf(&line, "%s%s", before, rest) >= 0);
    free(rest);
    return line;
}

/* "verb rest" as "FCALL mffa_verb 0 rest". */
static char *as_fcall(char *line) {
    size_t verb = strcspn(line, " ");
    char *call = NULL;
    assert_true(asprintf(&call, "FCALL mffa_%.*s 0%s", (int)verb, line, line + verb) >= 0);
    free(line);
    return call;
}

const char *mffa_test_ask(mffa_test_redis *r, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    MFFA_AUTO(mffa_free_p) char *line = formatted("", fmt, ap);
    va_end(ap);
    return ask(r, line);
}

const char *mffa_test_fcall(mffa_test_redis *r, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    MFFA_AUTO(mffa_free_p) char *line = as_fcall(formatted("", fmt, ap));
    va_end(ap);
    return ask(r, line);
}

const char *mffa_test_field(mffa_test_redis *r, const char *id, const char *name) {
    const char *value = mffa_test_ask(r, "HGET mffa:{main}:job:%s %s", id, name);
    return strcmp(value, "(nil)") == 0 ? "" : value;
}

void mffa_test_refused(mffa_test_redis *r, const char *error, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    MFFA_AUTO(mffa_free_p) char *line = as_fcall(formatted("", fmt, ap));
    va_end(ap);
    const char *before = mffa_test_ask(r, "DEBUG DIGEST");
    assert_string_equal(ask(r, line), error);
    assert_string_equal(mffa_test_ask(r, "DEBUG DIGEST"), before);
}

/* ---- rule 2 ---- */

static bool ended(const char *state) {
    static const char *const states[] = {"done", "failed", "dead", "cancelled", "skipped", "rejected", "accepted"};
    for (size_t i = 0; i < MFFA_COUNT(states); i++)
        if (strcmp(state, states[i]) == 0) return true;
    return false;
}

/* The one index that a job of this state belongs in. */
static void index_of(mffa_test_redis *r, const char *id, char *out, size_t size) {
    const char *state = mffa_test_field(r, id, "state"), *pool = mffa_test_field(r, id, "pool");
    if (strcmp(state, "queued") == 0)
        snprintf(out, size, "mffa:{main}:ready:%s:%s", *pool ? pool : "default", mffa_test_field(r, id, "kind"));
    else if (strcmp(state, "running") == 0 || strcmp(state, "cancelling") == 0) snprintf(out, size, "mffa:{main}:lease");
    else if (strcmp(state, "delayed") == 0 || strcmp(state, "blocked") == 0 || ended(state)) snprintf(out, size, "mffa:{main}:%s", state);
    else fail_msg("job %s has the state \"%s\"", id, state);
}

static bool is_index(const char *key) {
    static const char *const others[] = {"lease", "delayed", "blocked"};
    const char *name = key + strlen("mffa:{main}:");
    if (strncmp(name, "ready:", 6) == 0 || ended(name)) return true;
    for (size_t i = 0; i < MFFA_COUNT(others); i++)
        if (strcmp(name, others[i]) == 0) return true;
    return false;
}

static int counted_as_open(mffa_test_redis *r) {
    MFFA_AUTO(mffa_free_p) char *cfg = strdup(mffa_test_ask(r, "HGETALL mffa:{main}:cfg"));
    int sum = 0;
    for (const char *at = cfg; (at = strstr(at, "open:")) != NULL; at++) sum += atoi(at + strcspn(at, " "));
    return sum;
}

int mffa_test_check_rules(mffa_test_redis *r) {
    MFFA_AUTO(mffa_free_p) char *keys = strdup(mffa_test_ask(r, "KEYS mffa:{main}:*"));
    int jobs = 0, entries = 0, open = 0, queued_or_held = 0, unended = 0;
    char *save = NULL;
    for (char *k = strtok_r(keys, " ", &save); k; k = strtok_r(NULL, " ", &save)) {
        char index[256];
        if (is_index(k)) entries += atoi(mffa_test_ask(r, "ZCARD %s", k));
        if (strncmp(k, "mffa:{main}:open:", 17) == 0) open += atoi(mffa_test_ask(r, "ZCARD %s", k));
        if (strncmp(k, "mffa:{main}:job:", 16) != 0) continue;
        index_of(r, k + 16, index, sizeof index);
        if (strcmp(mffa_test_ask(r, "ZSCORE %s %s", index, k + 16), "(nil)") == 0) fail_msg("%s is not in %s", k + 16, index);
        if (strstr(index, ":ready:") || strstr(index, ":lease")) queued_or_held++;
        if (!ended(index + strlen("mffa:{main}:"))) unended++;
        jobs++;
    }
    assert_int_equal(jobs, entries);
    assert_int_equal(open, queued_or_held);
    assert_int_equal(unended, counted_as_open(r));
    return jobs;
}
