#include "tests/worker/world.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include "core/base/clock.h"
#include "scheduler/ctl/sample.h"
#include "tests/support/test.h"
#include "worker/manifest.h"

enum { PATIENCE_MS = 120000, LOOK_MS = 20, ARGS_MAX = 48 };

pid_t world_spawn(const world *w, const char *log, char *const argv[]) {
    pid_t parent = getpid(), pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    char path[128];
    snprintf(path, sizeof path, "%s/%s", w->dir, log);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(fd, 1), dup2(fd, 2);
    execv(argv[0], argv);
    _exit(127);
}

void world_open(world *w, int train, int side_px) {
    mffa_err err = {0};
    mffa_sample_options o = mffa_sample_defaults();
    *w = (world){.dir = "/tmp/mffa-world-XXXXXX"};
    mffa_test_redis_start(&w->redis, true);
    assert_non_null(mkdtemp(w->dir));
    o.train = train, o.good = 2, o.defects_per_kind = 1, o.side_px = side_px;
    assert_ok(mffa_sample_write(w->dir, &o, NULL, &err));
    char lease[16], *argv[] = {(char[]){MFFA_TEST_SCHEDULER}, "--redis-url", w->redis.url, "--lease-ms", lease, "--reap-ms", "50",
                               "--backoff-ms", "50", NULL};
    snprintf(lease, sizeof lease, "%d", WORLD_LEASE_MS);
    w->scheduler = world_spawn(w, "scheduler.log", argv);
}

void world_kill_workers(world *w) {
    for (int i = 0; i < w->workers; i++)
        if (waitpid(w->worker[i], NULL, WNOHANG) == 0) world_kill(w->worker[i]);
}

void world_close(world *w) {
    world_kill_workers(w);
    world_kill(w->scheduler);
    mffa_test_redis_stop(&w->redis);
    world_shell("rm -rf '%s'", w->dir);
}

/* How often a word stands in a log. */
static int count_in(const char *path, const char *word) {
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    int n = 0;
    if (mffa_buf_read_file(&text, path, 64 << 20, NULL)) return 0;
    for (const char *at = mffa_buf_text(&text); (at = strstr(at, word)); at++) n++;
    return n;
}

static pid_t spawn_worker(world *w, const char *const *settings, char path[128]) {
    char log[32], weights[96], work[96];
    assert_true(w->workers < (int)MFFA_COUNT(w->worker));
    snprintf(log, sizeof log, "worker-%d.log", w->workers);
    snprintf(path, 128, "%s/%s", w->dir, log);
    snprintf(weights, sizeof weights, "file://%s/weights", w->dir);
    snprintf(work, sizeof work, "%s/work", w->dir);
    char *argv[ARGS_MAX] = {(char[]){MFFA_TEST_WORKER},
                            "--redis-url",
                            w->redis.url,
                            "--weights",
                            weights,
                            "--work-dir",
                            work,
                            "--allowed-urls",
                            "file:///tmp",
                            "--beat-ms",
                            "100",
                            "--threads",
                            "1",
                            "--batch",
                            "4"};
    int n = 15;
    for (int i = 0; settings && settings[i]; i++) argv[n++] = (char *)(uintptr_t)settings[i];
    assert_true(n < ARGS_MAX);
    return w->worker[w->workers++] = world_spawn(w, log, argv);
}

pid_t world_worker(world *w, const char *const *settings) {
    char path[128];
    pid_t pid = spawn_worker(w, settings, path);
    for (int64_t until = mffa_now_ms() + PATIENCE_MS; !count_in(path, "\"executor.started\"");) {
        if (mffa_now_ms() > until || waitpid(pid, NULL, WNOHANG) != 0) {
            world_shell("cat '%s'", path);
            fail_msg("the worker did not start");
        }
        mffa_sleep_ms(LOOK_MS);
    }
    return pid;
}

void world_refused(world *w, const char *const *settings, const char *text) {
    char path[128];
    assert_int_not_equal(world_wait_exit(spawn_worker(w, settings, path)), 0);
    if (count_in(path, text)) return;
    world_shell("cat '%s'", path);
    fail_msg("the worker did not say \"%s\"", text);
}

pid_t world_executor(pid_t worker) {
    char path[64];
    int pid = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)worker, (int)worker);
    MFFA_AUTO(mffa_fclose_p) FILE *f = fopen(path, "re");
    return f && fscanf(f, "%d", &pid) == 1 ? pid : 0;
}

int world_stop(pid_t worker) {
    assert_int_equal(kill(worker, SIGTERM), 0);
    return world_wait_exit(worker);
}

int world_wait_exit(pid_t worker) {
    int status = -1;
    assert_int_equal(waitpid(worker, &status, 0), worker);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void world_kill(pid_t process) {
    if (process <= 0) return;
    kill(process, SIGKILL);
    waitpid(process, NULL, 0);
}

static bool is_gone(pid_t process) {
    char path[64], state = 'Z';
    snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    MFFA_AUTO(mffa_fclose_p) FILE *f = fopen(path, "re");
    return !f || fscanf(f, "%*d (%*[^)]) %c", &state) != 1 || state == 'Z' || state == 'X';
}

bool world_gone_within(pid_t process, int64_t ms) {
    for (int64_t until = mffa_now_ms() + ms; mffa_now_ms() < until; mffa_sleep_ms(10))
        if (is_gone(process)) return true;
    return false;
}

const char *world_submit(world *w, const char *fmt, ...) {
    char line[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    static char kept[32][128];
    static unsigned at;
    char *ids = kept[at++ % 32];
    snprintf(ids, sizeof kept[0], "%s", mffa_test_fcall(&w->redis, "submit %s", line));
    if (!strchr(ids, '-') || (ids[0] >= 'A' && ids[0] <= 'Z')) fail_msg("refused: %s", ids);
    return ids;
}

static bool is_end(const char *state) {
    static const char *const ends[] = {"done", "failed", "dead", "cancelled", "skipped", "rejected"};
    for (size_t i = 0; i < MFFA_COUNT(ends); i++)
        if (strcmp(state, ends[i]) == 0) return true;
    return false;
}

void world_wait(world *w, const char *id, const char *state) {
    for (int64_t until = mffa_now_ms() + PATIENCE_MS; mffa_now_ms() < until; mffa_sleep_ms(LOOK_MS)) {
        const char *now = mffa_test_field(&w->redis, id, "state");
        if (strcmp(now, state) == 0) return;
        if (!is_end(now)) continue;
        world_shell("cat '%s'/worker-*.log", w->dir);
        fail_msg("%s is %s, expected %s: %s", id, now, state, mffa_test_field(&w->redis, id, "reason"));
    }
    world_shell("cat '%s'/worker-*.log", w->dir);
    fail_msg("%s is still %s, expected %s", id, mffa_test_field(&w->redis, id, "state"), state);
}

void world_wait_phase(world *w, const char *id, const char *phase) {
    for (int64_t until = mffa_now_ms() + PATIENCE_MS; mffa_now_ms() < until; mffa_sleep_ms(LOOK_MS)) {
        if (strcmp(mffa_test_field(&w->redis, id, "phase"), phase) == 0) return;
        if (is_end(mffa_test_field(&w->redis, id, "state")))
            fail_msg("%s ended before phase %s: %s", id, phase, mffa_test_field(&w->redis, id, "reason"));
    }
    fail_msg("%s never came to phase %s", id, phase);
}

static mffa_code count_object(void *ctx, const mffa_object *o, mffa_err *err) {
    (void)o, (void)err;
    ++*(size_t *)ctx;
    return MFFA_OK;
}

static mffa_code check_object(mffa_store *s, const mffa_manifest_object *o, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) char *path = NULL;
    char sha256[MFFA_SHA256_HEX];
    int64_t bytes = -1;
    mffa_code rc = mffa_store_head(s, o->key, &bytes, NULL, err);
    if (!rc) rc = mffa_store_local(s, o->key, &path, err);
    if (!rc) rc = mffa_sha256_file(path, sha256, err);
    if (!rc && (bytes != o->bytes || strcmp(sha256, o->sha256) != 0))
        rc = mffa_fail(err, MFFA_EINVAL, "\"%s\" is not as the manifest says", o->key);
    return rc;
}

mffa_code world_manifest_holds(const char *result, const char *id, mffa_err *err) {
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = NULL;
    MFFA_AUTO(mffa_manifest_done) mffa_manifest m = {0};
    size_t objects = 0;
    mffa_code rc = mffa_store_open(result, &s, err);
    if (!rc) rc = mffa_manifest_read(s, "", &m, err);
    for (size_t i = 0; !rc && i < m.count; i++) rc = check_object(s, &m.objects[i], err);
    if (!rc) rc = mffa_store_list(s, "", count_object, &objects, err);
    if (!rc && objects != m.count + 1) /* and the manifest itself */
        rc = mffa_fail(err, MFFA_EINVAL, "%zu objects beside a manifest of %zu", objects - 1, m.count);
    if (!rc && strcmp(m.job, id) != 0) rc = mffa_fail(err, MFFA_EINVAL, "the manifest is that of %s", m.job);
    return rc;
}

void world_check_manifest(world *w, const char *id) {
    mffa_err err = {0};
    assert_ok(world_manifest_holds(mffa_test_field(&w->redis, id, "result"), id, &err));
}

mffa_json *world_summary(world *w, const char *id) {
    mffa_err err = {0};
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = NULL;
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    mffa_json *j = NULL;
    assert_ok(mffa_store_open(mffa_test_field(&w->redis, id, "result"), &s, &err));
    assert_ok(mffa_store_get(s, "summary.json", 1 << 20, &text, &err));
    assert_ok(mffa_json_parse(mffa_buf_span(&text), &j, &err));
    return j;
}

void world_assert_reason(world *w, const char *id, const char *part) {
    const char *reason = mffa_test_field(&w->redis, id, "reason");
    if (!strstr(reason, part)) fail_msg("the reason is \"%s\", expected \"%s\" in it", reason, part);
}

void world_shell(const char *fmt, ...) {
    char command[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    int status = system(command);
    if (status != 0) fail_msg("%s: status %d", command, status);
}
