/* mffactl as a person runs it: the real program, a real Redis, files on disk, and for weights a real HTTP server. */
#include <fcntl.h>
#include <pty.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include "core/base/clock.h"
#include "storage/store.h"
#include "tests/support/redis.h"
#include "tests/support/test.h"
#include "worker/results.h"

static mffa_test_redis redis;
static char dir[] = "/tmp/mffa-ctl-XXXXXX";
#define D "dataset s3://plant/bottle output s3://plant/out"
#define N1 "11111111111111111111111111111111"

typedef struct process {
    pid_t pid;
    int terminal; /* -1: its words go into the file */
    char out[96];
} process;

static process start(bool on_terminal, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static process start(bool on_terminal, const char *fmt, ...) {
    static int count;
    char words[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(words, sizeof words, fmt, ap);
    va_end(ap);
    process p = {.terminal = -1};
    pid_t parent = getpid();
    snprintf(p.out, sizeof p.out, "%s/out-%d.txt", dir, ++count);
    p.pid = on_terminal ? forkpty(&p.terminal, NULL, NULL, NULL) : fork();
    assert_true(p.pid >= 0);
    if (p.pid > 0) return p;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    int fd = on_terminal ? -1 : open(p.out, O_CREAT | O_WRONLY | O_TRUNC, 0600);
    if (fd >= 0) dup2(fd, 1), dup2(fd, 2);
    setenv("MFFA_REDIS_URL", redis.url, 1);
    setenv("TERM", "xterm", 1);
    char command[1200];
    snprintf(command, sizeof command, "exec '%s' %s", MFFA_TEST_CTL, words);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    _exit(127);
}

static int wait_exit(const process *p) {
    int status = 0;
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static const char *text_of(const char *path) {
    static mffa_buf text;
    mffa_err err = {0};
    mffa_buf_clear(&text);
    assert_ok(mffa_buf_read_file(&text, path, 1 << 20, &err));
    return mffa_buf_text(&text);
}

/* Runs it to the end: the exit code must be this; what it said, valid until the next call. */
#define ctl(code, ...) run_ctl(code, start(false, __VA_ARGS__))
static const char *run_ctl(int code, process p) {
    int found = wait_exit(&p);
    const char *said = text_of(p.out);
    if (found != code) fail_msg("exit code %d instead of %d: %s", found, code, said);
    return said;
}

static void assert_has(const char *text, const char *part) {
    if (!strstr(text, part)) fail_msg("\"%s\" is not in:\n%s", part, text);
}

static void wait_for_text(const process *p, const char *part) {
    for (int i = 0; i < 1500; i++, mffa_sleep_ms(10))
        if (access(p->out, F_OK) == 0 && strstr(text_of(p->out), part)) return;
    fail_msg("\"%s\" never came:\n%s", part, text_of(p->out));
}

static int empty(void **state) {
    (void)state;
    mffa_test_ask(&redis, "FLUSHALL");
    return 0;
}

/* ---- command line, submit ---- */

static void wrong_command_lines_are_answered_with_the_way_out(void **state) {
    (void)state;
    assert_string_equal(ctl(1, "frobnicate"), "mffactl: there is no command \"frobnicate\": mffactl --help lists them\n");
    assert_string_equal(ctl(1, "watch"), "mffactl: watch needs a job: mffactl watch ID...\n");
    assert_string_equal(ctl(1, "get k4-1"), "mffactl: get needs a job and a folder: mffactl get ID|URL DIR\n");
    assert_string_equal(ctl(1, "get --presign"), "mffactl: get --presign needs a job: mffactl get --presign ID|URL [KEY]\n");
    assert_string_equal(ctl(1, "weights medium %s/w", dir), "mffactl: weights \"medium\": expected small or paper\n");
    assert_string_equal(ctl(1, "sample"), "mffactl: sample needs a folder: mffactl sample DIR\n");
    assert_string_equal(ctl(1, "sample %s/s train 5x", dir), "mffactl: train=\"5x\": expected an integer from 0 to 1000000\n");
    assert_string_equal(ctl(1, "sample %s/s colour 5", dir),
                        "mffactl: sample does not know \"colour\": it knows train, good, defects, side, seed and profile\n");
    assert_string_equal(ctl(1, "verify k4-1"), "mffactl: verify needs the data set that the model was fitted with: --data DIR\n");
    assert_string_equal(ctl(1, "verify k4-1 --data"), "mffactl: --data needs a folder or a URL\n");
    assert_string_equal(ctl(1, "verify k4-1 --data /nowhere"), "mffactl: data: there is no folder \"/nowhere\"\n");
    assert_has(ctl(1, "verify k4-1 --data /tmp"), "mffactl: NOTFOUND");
    assert_has(ctl(2, "%s", ""), "submit KIND FIELD VALUE...");
    assert_has(ctl(0, "--help"), "MFFA_REDIS_URL");
    assert_has(ctl(0, "settings"), "MFFA_RETENTION_S");
    assert_has(ctl(0, "version"), MFFA_VERSION);
}

static void submit_prints_ids_and_says_what_the_queue_says(void **state) {
    (void)state;
    char ids[256];
    snprintf(ids, sizeof ids, "%s", ctl(0, "submit pipeline " D));
    char *second = strchr(ids, '\n') + 1;
    *strchr(second, '\n') = '\0';
    assert_string_equal(mffa_test_field(&redis, second, "kind"), "fit");
    assert_string_equal(ctl(1, "submit fit output s3://plant/out"),
                        "mffactl: BADFIELD dataset is missing: give s3://bucket/prefix or file:///path\n");
}

/* ---- watch ---- */

static const char *claim(const char *kind, const char *nonce) {
    static char id[64];
    const char *answer = mffa_test_fcall(&redis, "claim w1 %s kinds %s", nonce, kind);
    const char *at = strstr(answer, "id ");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "id %63s", id), 1);
    return id;
}

static void watch_shows_each_phase_and_the_figures(void **state) {
    (void)state;
    char id[64];
    snprintf(id, sizeof id, "%s", mffa_test_fcall(&redis, "submit fit " D));
    process p = start(false, "watch %s", id);
    assert_string_equal(claim("fit", N1), id);
    mffa_test_fcall(&redis, "beat %s 1 " N1 " phase features done 3 total 28 rate 2 eta_s 12", id);
    wait_for_text(&p, "features  3 of 28");
    mffa_test_fcall(&redis, "beat %s 1 " N1 " phase coreset done 1 total 9", id);
    wait_for_text(&p, "coreset  1 of 9");
    mffa_test_fcall(&redis, "finish %s 1 " N1 " s3://plant/out/fit-1/run-1 bank_rows 245 seconds 12.5", id);
    assert_int_equal(wait_exit(&p), 0);
    const char *said = text_of(p.out);
    assert_has(said, "features  28 of 28"); /* complete, though the last beat was before its end */
    assert_has(said, "done  bank_rows=245  seconds=12.5\n  s3://plant/out/fit-1/run-1\n");
    assert_null(strchr(said, '\r'));
}

static void watch_on_a_terminal_rewrites_its_line(void **state) {
    (void)state;
    char id[64], said[8192] = "";
    size_t n = 0;
    int has = posix_openpt(O_RDWR | O_NOCTTY);
    if (has < 0) {
        print_message("skipped: this system has no pseudo-terminals (/dev/pts is not mounted)\n");
        skip();
    }
    close(has);
    snprintf(id, sizeof id, "%s", mffa_test_fcall(&redis, "submit fit " D));
    process p = start(true, "watch %s", id);
    claim("fit", N1);
    mffa_test_fcall(&redis, "beat %s 1 " N1 " phase features done 3 total 28", id);
    for (ssize_t got; n + 1 < sizeof said && !strstr(said, "3 of 28") && (got = read(p.terminal, said + n, sizeof said - 1 - n)) > 0;)
        n += (size_t)got;
    assert_has(said, "\r\x1b[K");
    assert_has(said, "features  3 of 28");
    assert_null(strstr(strstr(said, "3 of 28"), "\n")); /* the line stays open */
    mffa_test_fcall(&redis, "fail %s 1 " N1 " no 'the disk is full'", id);
    for (ssize_t got; n + 1 < sizeof said && (got = read(p.terminal, said + n, sizeof said - 1 - n)) > 0;) n += (size_t)got;
    assert_int_equal(wait_exit(&p), 1);
    assert_has(said, "failed: the disk is full");
    close(p.terminal);
}

static void watch_names_the_job_because_of_which_others_were_skipped(void **state) {
    (void)state;
    char first[64], second[64], wanted[160];
    snprintf(first, sizeof first, "%s", mffa_test_fcall(&redis, "submit fit " D));
    snprintf(second, sizeof second, "%s", mffa_test_fcall(&redis, "submit evaluate " D " model %s", first));
    mffa_test_fcall(&redis, "cancel %s", first);
    const char *said = ctl(1, "watch %s %s", first, second);
    snprintf(wanted, sizeof wanted, "because of %s", first);
    assert_has(said, "cancelled");
    assert_has(said, wanted);
    assert_has(said, "mffactl: 2 of 2 jobs did not end well\n");
}

static void watch_outlives_redis_and_an_interrupt_leaves_the_job_alone(void **state) {
    (void)state;
    char id[64];
    snprintf(id, sizeof id, "%s", mffa_test_fcall(&redis, "submit fit " D));
    claim("fit", N1);
    mffa_test_fcall(&redis, "beat %s 1 " N1 " phase features done 3 total 28", id);
    process p = start(false, "watch %s", id);
    wait_for_text(&p, "3 of 28");
    mffa_test_redis_kill(&redis);
    wait_for_text(&p, "trying again");
    mffa_test_redis_restart(&redis);
    wait_for_text(&p, "Redis answers again");
    kill(p.pid, SIGINT);
    assert_int_equal(wait_exit(&p), 130);
    assert_has(text_of(p.out), "the job goes on");
    assert_string_equal(mffa_test_field(&redis, id, "state"), "running");
    assert_has(ctl(1, "watch k9-9"), "mffactl: NOTFOUND");
}

/* ---- get ---- */

/* A published run folder with two objects; its URL. */
static const char *make_run(const char *name) {
    static char url[160];
    mffa_err err = {0};
    mffa_store *output = NULL;
    mffa_results *r = NULL;
    snprintf(url, sizeof url, "file://%s/%s", dir, name);
    assert_ok(mffa_store_open(url, &output, &err));
    assert_ok(mffa_results_open(output, "fit", "k4-1", 1, "0123", &r, &err));
    assert_ok(mffa_results_put(r, "summary.json", mffa_span_of("{}\n"), &err));
    assert_ok(mffa_results_put(r, "heatmaps/test/a b.png", mffa_span_of("picture"), &err));
    assert_ok(mffa_results_finish(r, &err));
    snprintf(url, sizeof url, "%s", mffa_results_url(r));
    mffa_results_close(r);
    mffa_store_close(output);
    return url;
}

static void write_text(const char *path, const char *text) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void get_fetches_what_a_done_job_published_and_keeps_what_is_there(void **state) {
    (void)state;
    char id[64], path[160], wanted[256];
    const char *url = make_run("out");
    snprintf(id, sizeof id, "%s", mffa_test_fcall(&redis, "submit fit " D));
    snprintf(wanted, sizeof wanted, "mffactl: job %s is queued: it has published nothing; mffactl watch %s follows it\n", id, id);
    assert_string_equal(ctl(1, "get %s %s/got", id, dir), wanted);
    claim("fit", N1);
    assert_string_equal(mffa_test_fcall(&redis, "finish %s 1 " N1 " %s", id, url), "done");
    assert_has(ctl(0, "get %s %s/got", id, dir), "2 objects, 0.0 MB in ");
    snprintf(path, sizeof path, "%s/got/heatmaps/test/a b.png", dir);
    assert_string_equal(text_of(path), "picture");
    write_text(path, "PICTURE");
    assert_has(ctl(0, "get %s %s/got", url, dir), "(1 were there already)");
    assert_string_equal(text_of(path), "picture");
}

static void get_presign_says_that_files_have_no_such_urls(void **state) {
    (void)state;
    char url[160];
    snprintf(url, sizeof url, "%s", make_run("unsigned"));
    assert_has(ctl(1, "get --presign %s", url), "cannot be presigned: only s3:// can");
    assert_has(ctl(1, "get --presign %s absent.json", url), "absent.json");
}

static void get_refuses_what_the_manifest_does_not_vouch_for(void **state) {
    (void)state;
    char path[320], url[160];
    snprintf(url, sizeof url, "%s", make_run("bad"));
    snprintf(path, sizeof path, "%s/summary.json", url + strlen("file://"));
    write_text(path, "[]\n");
    assert_has(ctl(1, "get %s %s/bad-got", url, dir), "is not what its manifest says");
    snprintf(path, sizeof path, "%s/bad-got/manifest.json", dir);
    assert_int_not_equal(access(path, F_OK), 0);
    snprintf(path, sizeof path, "%s/manifest.json", url + strlen("file://"));
    write_text(path, "{\"v\":1,\"kind\":\"fit\",\"job\":\"k4-1\",\"run\":1,\"nonce\":\"0123\",\"version\":\"1\",\"created_ms\":1,"
                     "\"objects\":[{\"key\":\"../../escaped\",\"bytes\":3,\"sha256\":\"00\"}]}");
    const char *said = ctl(1, "get %s %s/bad-got/deep", url, dir);
    assert_has(said, "../../escaped");
    snprintf(path, sizeof path, "%s/escaped", dir);
    assert_int_not_equal(access(path, F_OK), 0);
}

/* ---- weights ---- */

static void shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void shell(const char *fmt, ...) {
    char command[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    assert_int_equal(system(command), 0);
}

static void a_file_that_is_not_the_published_one_is_refused(void **state) {
    (void)state;
    shell("mkdir %s/put && cp '%s/pth/zip.pth' %s/put/resnet18-f37072fd.pth", dir, MFFA_TEST_GOLDEN, dir);
    assert_has(ctl(1, "weights small %s/put", dir), "is not the published resnet18-f37072fd.pth: its SHA-256 begins with ");
    shell("test ! -e %s/put/resnet18.safetensors", dir);
}

/* Serves a folder on a free port; its URL. */
static pid_t serve(const char *folder, char url[64]) {
    static const char script[] =
        "import functools, http.server as h, sys\n"
        "s = h.ThreadingHTTPServer(('127.0.0.1', 0), functools.partial(h.SimpleHTTPRequestHandler, directory=sys.argv[1]))\n"
        "print(s.server_port, flush=True)\ns.serve_forever()\n";
    int out[2], port = 0;
    assert_int_equal(pipe(out), 0);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(out[1], 1);
        int nowhere = open("/dev/null", O_WRONLY);
        dup2(nowhere, 2);
        execlp("python3", "python3", "-c", script, folder, (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    FILE *f = fdopen(out[0], "r");
    if (!f || fscanf(f, "%d", &port) != 1) port = 0;
    if (f) fclose(f);
    snprintf(url, 64, "http://127.0.0.1:%d", port);
    return port ? pid : 0;
}

static void weights_come_from_a_mirror_and_are_known_again(void **state) {
    (void)state;
    char mirror[64], folder[64];
    snprintf(folder, sizeof folder, "%s/mirror", dir);
    shell("mkdir %s %s/w && cp '%s/mffa/tiny_backbone.safetensors' %s/w/resnet18.safetensors", folder, dir, MFFA_TEST_GOLDEN, dir);
    pid_t server = serve(folder, mirror);
    if (!server) {
        print_message("skipped: python3 is not installed\n");
        skip();
    }
    const char *said = ctl(1, "weights small %s/w --weights-mirror %s", dir, mirror);
    assert_has(said, "404");
    assert_has(said, "put it as \"cait_xxs24_224.safetensors\" into ");
    shell("cp '%s/mffa/tiny_backbone.safetensors' %s/cait_xxs24_224.safetensors", MFFA_TEST_GOLDEN, folder);
    assert_has(ctl(1, "weights small %s/w --weights-mirror %s", dir, mirror), "holds no CaiT with timm's names");
    shell("test ! -e %s/w/SHA256SUMS && cp '%s/mffa/tiny_transformer.safetensors' %s/cait_xxs24_224.safetensors", dir, MFFA_TEST_GOLDEN,
          folder);
    assert_has(ctl(0, "weights small %s/w --weights-mirror %s", dir, mirror),
               "cait_xxs24_224.safetensors: from cait_xxs24_224.safetensors");
    shell("cd %s/w && sha256sum --quiet -c SHA256SUMS && test $(ls | wc -l) = 3", dir);
    assert_has(ctl(0, "weights small %s/w --weights-mirror http://127.0.0.1:1", dir), "is there already");
    shell("rm %s/w/cait_xxs24_224.safetensors && printf x >> %s/cait_xxs24_224.safetensors", dir, folder);
    assert_has(ctl(1, "weights small %s/w --weights-mirror %s", dir, mirror), "is not the published cait_xxs24_224.safetensors");
    shell("test ! -e %s/w/cait_xxs24_224.safetensors && test ! -e %s/w/cait_xxs24_224.safetensors.fetched", dir, dir);
    kill(server, SIGKILL);
    (void)waitpid(server, NULL, 0);
}

static void sample_makes_its_two_folders_once(void **state) {
    (void)state;
    assert_has(ctl(0, "sample %s/s train 2 good 1 defects 1 side 64", dir), "made ");
    shell("test $(ls %s/s/dataset/train/good | wc -l) = 2 && test -s %s/s/weights/backbone.safetensors", dir, dir);
    assert_has(ctl(1, "sample %s/s", dir), "mffactl: ");
}

static int open_all(void **state) {
    (void)state;
    mffa_test_redis_start(&redis, true);
    return mkdtemp(dir) ? 0 : -1;
}

static int close_all(void **state) {
    (void)state;
    mffa_test_redis_stop(&redis);
    shell("rm -rf '%s'", dir);
    return 0;
}

int main(void) {
    signal(SIGPIPE, SIG_IGN);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(wrong_command_lines_are_answered_with_the_way_out, empty),
        cmocka_unit_test_setup(submit_prints_ids_and_says_what_the_queue_says, empty),
        cmocka_unit_test_setup(watch_shows_each_phase_and_the_figures, empty),
        cmocka_unit_test_setup(watch_on_a_terminal_rewrites_its_line, empty),
        cmocka_unit_test_setup(watch_names_the_job_because_of_which_others_were_skipped, empty),
        cmocka_unit_test_setup(watch_outlives_redis_and_an_interrupt_leaves_the_job_alone, empty),
        cmocka_unit_test_setup(get_fetches_what_a_done_job_published_and_keeps_what_is_there, empty),
        cmocka_unit_test(get_presign_says_that_files_have_no_such_urls),
        cmocka_unit_test(get_refuses_what_the_manifest_does_not_vouch_for),
        cmocka_unit_test(a_file_that_is_not_the_published_one_is_refused),
        cmocka_unit_test(weights_come_from_a_mirror_and_are_known_again),
        cmocka_unit_test(sample_makes_its_two_folders_once),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
