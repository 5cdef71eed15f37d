/* A worker's process is killed right after each single thing of a job's life that outlives it, in turn: each command to Redis, each change
 * in the store. Whichever it was, the job ends done, once, with one published folder whose objects match its manifest, and nothing is left
 * of the runs that died. */
#include <fcntl.h>
#include <sys/mman.h>
#include "core/base/clock.h"
#include "tests/support/crash_page.h"
#include "tests/support/test.h"
#include "tests/worker/world.h"

enum { PATIENCE_MS = 60000 };
#define SMALL "side 64 blocks 0 ratio 0.1 gaussian_channels 8"

static world w;
static struct crash_page *page;
static pid_t worker;
static char points[CRASH_POINTS][CRASH_POINT_BYTES]; /* of a life that nobody cuts, in their order */
static int count;

/* A worker that notes its points. */
static void start_worker(void) {
    char path[128], below[128];
    snprintf(path, sizeof path, "%s/crash", w.dir), snprintf(below, sizeof below, "%s/out/", w.dir);
    setenv("MFFA_TEST_CRASH", path, 1), setenv("MFFA_TEST_CRASH_BELOW", below, 1), setenv("LD_PRELOAD", MFFA_TEST_CRASH_LIBRARY, 1);
    worker = world_worker(&w, NULL);
    unsetenv("LD_PRELOAD");
}

static void replace_killed(void) {
    if (atomic_load(&page->killed) != worker) return;
    world_kill(worker); /* it is dying: this waits for it */
    start_worker();
}

static void wait_until_done(const char *id) {
    for (int64_t until = mffa_now_ms() + PATIENCE_MS; mffa_now_ms() < until; mffa_sleep_ms(5)) {
        replace_killed();
        if (strcmp(mffa_test_field(&w.redis, id, "state"), "done") == 0) return;
    }
    world_shell("tail -n 50 '%s'/worker-*.log", w.dir);
    fail_msg("killed after \"%s\" (%d): %s is %s: %s", page->target, page->nth, id, mffa_test_field(&w.redis, id, "state"),
             mffa_test_field(&w.redis, id, "reason"));
}

/* One run folder, the published one; it was published once; no folder of a dead worker. */
static void check(const char *kind, const char *id) {
    const char *result = mffa_test_field(&w.redis, id, "result");
    world_check_manifest(&w, id);
    world_shell("cd '%s/out/%s-%s' && test \"$(ls -A)\" = '%s' || { ls -AR; exit 1; }", w.dir, kind, id, strrchr(result, '/') + 1);
    const char *events = mffa_test_ask(&w.redis, "XRANGE mffa:{main}:ev:%s - +", id);
    const char *first = strstr(events, "state done");
    if (!first || strstr(first + 1, "state done")) fail_msg("killed after \"%s\" (%d): %s", page->target, page->nth, events);
    assert_int_equal(mffa_test_check_rules(&w.redis), atoi(mffa_test_ask(&w.redis, "ZCARD mffa:{main}:done")));
}

/* One life, killed when it comes to its target for the nth time; "": nobody is killed. False: a lease ran out before it came there, which
 * happens where the machine is busy. */
static bool live(const char *kind, const char *fields, const char *target, int nth) {
    memcpy(page->target, target, sizeof page->target);
    page->nth = nth;
    atomic_store(&page->seen, 0), atomic_store(&page->noted, 0), atomic_store(&page->on, 1);
    const char *id = world_submit(&w, "%s output file://%s/out retries 9 %s", kind, w.dir, fields);
    wait_until_done(id);
    for (int i = 0; i < 400 && *target && !atomic_load(&page->killed); i++) mffa_sleep_ms(5); /* Redis may be faster than the signal */
    bool there = *target ? atomic_load(&page->killed) != 0 : strcmp(mffa_test_field(&w.redis, id, "run"), "1") == 0;
    if (!there && strcmp(mffa_test_field(&w.redis, id, "run"), "1") == 0) fail_msg("%s did not come to \"%s\" (%d)", id, target, nth);
    replace_killed();
    atomic_store(&page->on, 0), atomic_store(&page->killed, 0);
    check(kind, id);
    return there;
}

static int nth_of(int at) {
    int nth = 1;
    for (int i = 0; i < at; i++) nth += strcmp(points[i], points[at]) == 0;
    return nth;
}

/* How often a job beats, and whether its worker looks at the next one, is a matter of time; each beat but the first two is like the second,
 * and a look changes nothing. */
static bool comes_in_every_life(int at) {
    return strcmp(points[at], "sent mffa_peek") != 0 && (strcmp(points[at], "sent mffa_beat") != 0 || nth_of(at) <= 2);
}

static void note_points(const char *kind, const char *fields) {
    while (!live(kind, fields, "", 0)) continue;
    count = atomic_load(&page->noted);
    assert_in_range(count, 1, CRASH_POINTS);
    memcpy(points, page->point, sizeof points);
    for (int i = 0; i < count; i++)
        if (strcmp(points[i], "sent mffa_finish") == 0) count = i + 1; /* what follows is the next job's */
}

static void walk(const char *kind, const char *fields) {
    int64_t began = mffa_now_ms();
    note_points(kind, fields);
    int killed = 0;
    for (int i = 0; i < count; i++) {
        if (!comes_in_every_life(i)) continue;
        while (!live(kind, fields, points[i], nth_of(i))) continue;
        killed++;
    }
    printf("%s: killed at each of %d points, %.1f s\n", kind, killed, (double)(mffa_now_ms() - began) / 1e3);
}

static void has_points(const char *const *names) {
    for (int i = 0; *names; names++) {
        for (i = 0; i < count && strcmp(points[i], *names) != 0;) i++;
        if (i == count) fail_msg("nobody was killed after \"%s\"", *names);
    }
}

static void a_fit_outlives_a_kill_at_each_of_its_points(void **state) {
    (void)state;
    char fields[256];
    snprintf(fields, sizeof fields, "dataset file://%s/dataset " SMALL, w.dir);
    walk("fit", fields);
    has_points((const char *const[]){"sent mffa_claim", "sent mffa_beat", "sent mffa_finish", "named run-1-*/model.safetensors",
                                     "named run-1-*/summary.json", "named run-1-*/summary.msgpack", "named run-1-*/manifest.json", NULL});
}

static void a_fine_tuning_outlives_a_kill_at_each_of_its_points(void **state) {
    (void)state;
    char fields[256];
    snprintf(fields, sizeof fields, "dataset file://%s/dataset side 64 epochs 1", w.dir);
    walk("finetune", fields);
    has_points((const char *const[]){"named checkpoint/checkpoint.safetensors", "named run-1-*/backbone.safetensors",
                                     "named run-1-*/manifest.json", "removed checkpoint/checkpoint.safetensors", NULL});
}

static void scoring_outlives_a_kill_at_each_of_its_points(void **state) {
    (void)state;
    char fields[256];
    const char *model = world_submit(&w, "fit dataset file://%s/dataset output file://%s/models " SMALL, w.dir, w.dir);
    wait_until_done(model);
    snprintf(fields, sizeof fields, "model %s dataset file://%s/dataset/test/hole", model, w.dir);
    walk("score", fields);
    has_points((const char *const[]){"named run-1-*/scores.msgpack", "named run-1-*/report.html", "named run-1-*/manifest.json", NULL});
}

static int start(void **state) {
    (void)state;
    char path[128];
    world_open(&w, 2, 64);
    mffa_test_fcall(&w.redis, "configure lease_ms 1000 backoff_ms 1");
    snprintf(path, sizeof path, "%s/crash", w.dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, sizeof *page), 0);
    page = mmap(NULL, sizeof *page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(page != MAP_FAILED);
    close(fd);
    start_worker();
    return 0;
}

static int stop(void **state) {
    (void)state;
    world_close(&w);
    munmap(page, sizeof *page);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fit_outlives_a_kill_at_each_of_its_points),
        cmocka_unit_test(a_fine_tuning_outlives_a_kill_at_each_of_its_points),
        cmocka_unit_test(scoring_outlives_a_kill_at_each_of_its_points),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
