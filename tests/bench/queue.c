/* bench_queue SOCKET MOST: figures of the queue's functions in the Redis on that socket, no-op jobs on one connection; MOST: jobs in the
 * fullest queue. Prints "name value" lines. The Redis is emptied. */
#include <stdio.h>
#include <string.h>
#include "core/base/rng.h"
#include "scheduler/queue.h"
#include "tests/bench/line.h"
#include "tests/bench/pickup.h"

enum { ROUND = 20000, MAX_QUEUED = 1000000, PIPE = 500, SHORT_URL = 64, LONG_URL = 200 };

static const char *socket_path;
static mffa_queue *queue;

static void must(mffa_code rc, const mffa_err *err) {
    if (rc) fprintf(stderr, "%s\n", err->msg), exit(1);
}

static mffa_queue *connect_queue(void) {
    char url[160];
    mffa_queue *q = NULL;
    mffa_err err = {0};
    snprintf(url, sizeof url, "unix://%s", socket_path);
    must(mffa_queue_open(&(mffa_queue_options){.url = url, .name = "main"}, &q, &err), &err);
    must(mffa_queue_load_library(q, &err), &err);
    return q;
}

/* As a scheduler does at its start. */
static void configure(int jobs) {
    char text[16];
    snprintf(text, sizeof text, "%d", jobs);
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    mffa_err err = {0};
    const mffa_span words[2] = {mffa_span_of("max_queued"), mffa_span_of(text)};
    must(mffa_queue_call(queue, false, "configure", words, 2, &reply, &err), &err);
}

static void empty(int max_queued) {
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    mffa_err err = {0};
    must(mffa_queue_command(queue, &(mffa_span){"FLUSHALL", 8}, 1, &reply, &err), &err);
    configure(max_queued);
}

static double used_memory(void) {
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    mffa_err err = {0};
    mffa_span words[2] = {mffa_span_of("INFO"), mffa_span_of("memory")};
    must(mffa_queue_command(queue, words, 2, &reply, &err), &err);
    const char *at = strstr(mffa_reply_text(reply, ""), "used_memory:");
    return at ? atof(at + strlen("used_memory:")) : 0;
}

/* ---- what is called ---- */

static char url[2][LONG_URL + 1]; /* of a data set, of an output */

static void name_urls(int bytes) {
    for (int i = 0; i < 2; i++) {
        int n = snprintf(url[i], sizeof url[i], "s3://plant/%s/", i ? "out" : "line");
        while (n < bytes) url[i][n++] = 'x';
        url[i][n] = '\0';
    }
}

static void submit(void *q) {
    const char *const text[] = {"fit", "dataset", url[0], "output", url[1]};
    mffa_span args[MFFA_COUNT(text)];
    for (size_t i = 0; i < MFFA_COUNT(text); i++) args[i] = mffa_span_of(text[i]);
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    mffa_err err = {0};
    must(mffa_queue_call(q, false, "submit", args, MFFA_COUNT(args), &reply, &err), &err);
}

static bool claim(mffa_queue *q, mffa_lease *out) {
    char request[33];
    bool got = false;
    mffa_err err = {0};
    must(mffa_random_hex(request, 16, &err), &err);
    must(mffa_queue_claim(q, &(mffa_worker_info){.id = "w1", .pool = "default"}, request, out, &got, &err), &err);
    return got;
}

static void finish(mffa_queue *q, const mffa_lease *l) {
    mffa_err err = {0};
    must(mffa_queue_finish(q, l, "s3://plant/out/fit/run", NULL, 0, &err), &err);
}

static void submit_some(void *ctx, int n) {
    for (int i = 0; i < n; i++) submit(ctx);
}

static void work_off(void *ctx, int n) {
    (void)ctx;
    for (int i = 0; i < n; i++) {
        mffa_lease l = {0};
        if (!claim(queue, &l)) fprintf(stderr, "the queue is empty\n"), exit(1);
        finish(queue, &l);
        mffa_lease_done(&l);
    }
}

/* The end of a job and the claim of the next in one call. */
static void work_off_together(void *ctx, int n) {
    line *l = ctx;
    mffa_lease now = {0};
    if (!claim(queue, &now)) fprintf(stderr, "the queue is empty\n"), exit(1);
    char id[64], run[24], nonce[40], request[33];
    snprintf(id, sizeof id, "%s", now.job), snprintf(run, sizeof run, "%lld", (long long)now.run);
    snprintf(nonce, sizeof nonce, "%s", now.nonce);
    mffa_lease_done(&now);
    for (int i = 0; i < n; i++) {
        mffa_err err = {0};
        must(mffa_random_hex(request, 16, &err), &err);
        line_put_command(l, (const char *const[]){"FCALL", "mffa_finish", "0", id, run, nonce, "s3://plant/out/fit/run", "next", request},
                         9);
        line_send(l);
        const char *head = line_read(l); /* id, run, nonce come first */
        int words = atoi(head + 1);
        for (int at = 0; at < words; at++) {
            (void)line_read(l);
            const char *word = line_read(l);
            if (at == 1) snprintf(id, sizeof id, "%s", word);
            if (at == 3) snprintf(run, sizeof run, "%s", word);
            if (at == 5) snprintf(nonce, sizeof nonce, "%s", word);
        }
    }
}

static void submit_piped(void *ctx, int n) {
    line *l = ctx;
    const char *const words[] = {"FCALL", "mffa_submit", "0", "fit", "dataset", url[0], "output", url[1]};
    for (int done = 0; done < n; done += PIPE) {
        for (int i = 0; i < PIPE; i++) line_put_command(l, words, MFFA_COUNT(words));
        line_send(l);
        for (int i = 0; i < PIPE; i++) line_skip_answer(l);
    }
}

static void *sleeper(void *state) {
    mffa_queue *q = connect_queue();
    mffa_err err = {0};
    for (int i = 0; i < BENCH_PICKUPS;) {
        mffa_lease l = {0};
        if (!claim(q, &l)) {
            must(mffa_queue_wait(q, "default", 10000, &err), &err);
            continue;
        }
        bench_picked(state);
        finish(q, &l);
        mffa_lease_done(&l);
        i++;
    }
    mffa_queue_close(q);
    return NULL;
}

/* ---- the rounds ---- */

/* Redis' own CPU time: the same on a machine that others use too. */
static double cpu_us(void) {
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    mffa_err err = {0};
    mffa_span words[2] = {mffa_span_of("INFO"), mffa_span_of("cpu")};
    must(mffa_queue_command(queue, words, 2, &reply, &err), &err);
    const char *text = mffa_reply_text(reply, ""), *user = strstr(text, "used_cpu_user:"), *sys = strstr(text, "used_cpu_sys:");
    return user && sys ? (atof(user + strlen("used_cpu_user:")) + atof(sys + strlen("used_cpu_sys:"))) * 1e6 : 0;
}

static void measure(const char *rate_name, const char *cpu_name, void (*round)(void *ctx, int n), void *ctx, int n) {
    double before = cpu_us();
    bench_tell(rate_name, bench_best(round, ctx, n));
    bench_tell(cpu_name, (cpu_us() - before) / (BENCH_ROUNDS * n));
}

static void measure_rates(line *l) {
    empty(MAX_QUEUED);
    measure("submit_per_s", "submit_cpu_us", submit_some, queue, ROUND);
    measure("claim_finish_per_s", "claim_finish_cpu_us", work_off, NULL, ROUND);
    empty(MAX_QUEUED);
    measure("submit_piped_per_s", "submit_piped_cpu_us", submit_piped, l, 2 * ROUND);
    measure("finish_with_next_claim_per_s", "finish_with_next_claim_cpu_us", work_off_together, l, ROUND);
}

static void measure_bytes(line *l, int bytes, const char *queued, const char *finished) {
    empty(MAX_QUEUED);
    name_urls(bytes);
    submit(queue); /* keys that are there once */
    double before = used_memory();
    submit_piped(l, ROUND);
    double full = used_memory();
    bench_tell(queued, (full - before) / ROUND);
    work_off(NULL, ROUND);
    bench_tell(finished, (used_memory() - before) / ROUND);
    name_urls(SHORT_URL);
}

/* With this many jobs in the queue: other jobs' calls take no longer. */
static void measure_depth(line *l, int depth) {
    char name[64], cpu[64];
    empty(2 * depth + ROUND);
    submit_piped(l, depth);
    int n = depth < ROUND ? depth / 2 : ROUND / 4;
    snprintf(name, sizeof name, "submit_per_s_at_%d", depth), snprintf(cpu, sizeof cpu, "submit_cpu_us_at_%d", depth);
    measure(name, cpu, submit_some, queue, n);
    snprintf(name, sizeof name, "claim_finish_per_s_at_%d", depth), snprintf(cpu, sizeof cpu, "claim_finish_cpu_us_at_%d", depth);
    measure(name, cpu, work_off, NULL, n);
}

int main(int argc, char **argv) {
    line l;
    int most = argc == 3 ? atoi(argv[2]) : 0;
    if (most < 1000) return fprintf(stderr, "usage: %s SOCKET MOST (at least 1000)\n", argv[0]), 2;
    socket_path = argv[1];
    queue = connect_queue();
    line_open(&l, socket_path, 0);
    name_urls(SHORT_URL);
    measure_rates(&l);
    empty(MAX_QUEUED);
    bench_pickup(sleeper, submit, queue);
    measure_bytes(&l, SHORT_URL, "queued_bytes_64", "finished_bytes_64");
    measure_bytes(&l, LONG_URL, "queued_bytes_200", "finished_bytes_200");
    measure_depth(&l, 1000);
    measure_depth(&l, most);
    empty(MAX_QUEUED);
    line_close(&l);
    mffa_queue_close(queue);
    return 0;
}
