/* What the queue benchmarks share: a clock, a way to tell, and the time from a submission to its claim by a worker that sleeps. */
#ifndef MFFA_TESTS_BENCH_PICKUP_H
#define MFFA_TESTS_BENCH_PICKUP_H

enum { BENCH_PICKUPS = 500 };
typedef struct bench_pickup_state bench_pickup_state;

enum { BENCH_ROUNDS = 5 };
double bench_seconds(void);
/* The best of BENCH_ROUNDS rounds of n each, per second: a machine that others use too slows some of them. */
double bench_best(void (*round)(void *ctx, int n), void *ctx, int n);
void bench_tell(const char *name, double value);
/* Prints pickup_p50_ms and pickup_p99_ms. sleeper: a thread that takes BENCH_PICKUPS jobs one by one and tells each with bench_picked. */
void bench_pickup(void *(*sleeper)(void *), void (*submit)(void *ctx), void *ctx);
void bench_picked(bench_pickup_state *s);

#endif
