/* What the queue benchmarks share: a clock, a way to tell, and the time from a submission to its claim by a worker that sleeps. */
#ifndef MFFA_TESTS_BENCH_PICKUP_H
#define MFFA_TESTS_BENCH_PICKUP_H

enum { BENCH_PICKUPS = 500 };
typedef struct bench_pickup_state bench_pickup_state;

double bench_seconds(void);
void bench_tell(const char *name, double value);
/* Prints pickup_p50_ms and pickup_p99_ms. sleeper: a thread that takes BENCH_PICKUPS jobs one by one and tells each with bench_picked. */
void bench_pickup(void *(*sleeper)(void *), void (*submit)(void *ctx), void *ctx);
void bench_picked(bench_pickup_state *s);

#endif
