/* Random schedules of calls, run against Redis and the model side by side, and shrunk when the two part. */
#ifndef MFFA_TESTS_SCHEDULER_MODEL_SCHEDULE_H
#define MFFA_TESTS_SCHEDULER_MODEL_SCHEDULE_H

#include "tests/scheduler/model/model.h"
#include "tests/support/redis.h"

enum { SLOTS = 14, LEASES = 6, STEPS_MAX = 600 };

typedef struct op { /* means something whatever came before it, so any part of a schedule is a schedule */
    uint8_t verb, slot, lease; /* slot: one of the jobs remembered; lease: one of the claims remembered */
    uint32_t r;                /* decides the rest */
} op;

typedef struct schedule {
    op ops[STEPS_MAX];
    int count;
    bool restarts; /* the server keeps its data and is killed now and then */
} schedule;

typedef struct bench {
    mffa_test_redis redis;
    const char *source; /* of the library under test */
    int64_t now;        /* the server's clock */
    model m, before;
    int slots[SLOTS];
    fence leases[LEASES];
    long steps;
    char said[512];     /* the last call */
    bool wrote_nothing; /* what the step's call must have done */
    int64_t writes;     /* counted by Redis until the end of the last step */
    bool tell;          /* print every call and its answer */
    char why[4096];     /* of a failure */
} bench;

void bench_open(bench *b);
void bench_close(bench *b);
void schedule_make(schedule *s, uint64_t seed, uint64_t number);
/* From an empty queue; false: b->why says what was wrong. *at: the number of ops that were begun. */
bool schedule_run(bench *b, const schedule *s, int *at);
/* Leaves out what the failure does not need, within so many steps. */
void schedule_shrink(bench *b, schedule *s, long steps);

#endif
