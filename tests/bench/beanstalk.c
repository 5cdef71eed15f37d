/* bench_beanstalk PORT: the same figures of the beanstalkd on that port: no-op jobs with a body as long as two of our URLs. Each job is
 * reserved and deleted. Prints "name value" lines. */
#include <stdio.h>
#include <string.h>
#include "core/base/clock.h"
#include "tests/bench/line.h"
#include "tests/bench/pickup.h"

enum { ROUND = 20000, PIPE = 500, BODY = 128 };

static int port;
static char body[BODY + 1];

static void put(line *l) { line_put(l, "put 100 0 60 %d\r\n%s\r\n", BODY, body); }

static void submit(void *ctx) {
    line *l = ctx;
    put(l);
    line_send(l);
    if (strncmp(line_read(l), "INSERTED", 8) != 0) exit(1);
}

static void submit_some(void *ctx, int n) {
    for (int i = 0; i < n; i++) submit(ctx);
}

static void submit_piped(void *ctx, int n) {
    line *l = ctx;
    for (int done = 0; done < n; done += PIPE) {
        for (int i = 0; i < PIPE; i++) put(l);
        line_send(l);
        for (int i = 0; i < PIPE; i++) (void)line_read(l);
    }
}

static void reserve(line *l, char id[32]) {
    if (sscanf(line_read(l), "RESERVED %31s", id) != 1) exit(1);
    (void)line_read(l); /* the body */
}

static void work_off(void *ctx, int n) {
    line *l = ctx;
    char id[32];
    for (int i = 0; i < n; i++) {
        line_put(l, "reserve\r\n");
        line_send(l);
        reserve(l, id);
        line_put(l, "delete %s\r\n", id);
        line_send(l);
        (void)line_read(l);
    }
}

static void work_off_together(void *ctx, int n) {
    line *l = ctx;
    char id[32];
    line_put(l, "reserve\r\n");
    line_send(l);
    reserve(l, id);
    for (int i = 0; i + 1 < n; i++) {
        line_put(l, "delete %s\r\nreserve\r\n", id);
        line_send(l);
        (void)line_read(l);
        reserve(l, id);
    }
    line_put(l, "delete %s\r\n", id);
    line_send(l);
    (void)line_read(l);
}

static void *sleeper(void *ctx) {
    line l;
    char id[32];
    line_open(&l, NULL, port);
    for (int i = 0; i < BENCH_PICKUPS; i++) {
        line_put(&l, "reserve\r\n");
        line_send(&l);
        reserve(&l, id);
        bench_picked(ctx);
        line_put(&l, "delete %s\r\n", id);
        line_send(&l);
        (void)line_read(&l);
    }
    line_close(&l);
    return NULL;
}

int main(int argc, char **argv) {
    line l;
    port = argc == 2 ? atoi(argv[1]) : 0;
    if (port < 1) return fprintf(stderr, "usage: %s PORT\n", argv[0]), 2;
    memset(body, 'x', BODY);
    line_open(&l, NULL, port);
    bench_tell("submit_per_s", bench_best(submit_some, &l, ROUND));
    bench_tell("claim_finish_per_s", bench_best(work_off, &l, ROUND));
    bench_tell("submit_piped_per_s", bench_best(submit_piped, &l, ROUND));
    bench_tell("finish_with_next_claim_per_s", bench_best(work_off_together, &l, ROUND));
    bench_pickup(sleeper, submit, &l);
    line_close(&l);
    return 0;
}
