#include "tests/bench/pickup.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "core/base/clock.h"

struct bench_pickup_state {
    _Atomic double at; /* 0: not yet */
};

double bench_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double bench_best(void (*round)(void *ctx, int n), void *ctx, int n) {
    double best = 0;
    for (int i = 0; i < BENCH_ROUNDS; i++) {
        double began = bench_seconds();
        round(ctx, n);
        double rate = n / (bench_seconds() - began);
        if (rate > best) best = rate;
    }
    return best;
}

void bench_tell(const char *name, double value) {
    printf("%s %.6g\n", name, value);
    fflush(stdout);
}

void bench_picked(bench_pickup_state *s) { atomic_store(&s->at, bench_seconds()); }

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void bench_pickup(void *(*sleeper)(void *), void (*submit)(void *ctx), void *ctx) {
    static double ms[BENCH_PICKUPS];
    bench_pickup_state s = {0};
    pthread_t thread;
    if (pthread_create(&thread, NULL, sleeper, &s) != 0) exit(1);
    for (int i = 0; i < BENCH_PICKUPS; i++) {
        mffa_sleep_ms(10); /* the last one is done and the worker asleep */
        atomic_store(&s.at, 0);
        double began = bench_seconds();
        submit(ctx);
        while (atomic_load(&s.at) == 0) mffa_sleep_ms(1);
        ms[i] = (atomic_load(&s.at) - began) * 1e3;
    }
    pthread_join(thread, NULL);
    qsort(ms, BENCH_PICKUPS, sizeof *ms, by_value);
    bench_tell("pickup_p50_ms", ms[BENCH_PICKUPS / 2]);
    bench_tell("pickup_p99_ms", ms[BENCH_PICKUPS * 99 / 100]);
}
