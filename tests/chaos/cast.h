/* Those who work and are harmed: workers, each behind a proxy of its own, schedulers, Redis. A harm lasts for a while and is mended when
 * its time has come; nobody suffers two at once. */
#ifndef MFFA_TESTS_CHAOS_CAST_H
#define MFFA_TESTS_CHAOS_CAST_H

#include "core/base/rng.h"
#include "tests/support/cutter.h"
#include "tests/worker/world.h"

enum { CAST_WORKERS = 3, CAST_SCHEDULERS = 2, CAST_LEASE_MS = 2000 };

typedef enum harm { UNHARMED, KILLED, STOPPED, EXECUTOR_STOPPED, CUT_OFF, DISCONNECTED } harm;

typedef struct cast_worker {
    pid_t pid, executor; /* executor: the one that is stopped */
    mffa_cutter link;
    char id[32]; /* another one for each life */
    harm harm;
    int64_t mend_ms;
} cast_worker;

typedef struct cast_scheduler {
    pid_t pid;
    int64_t mend_ms; /* 0: it runs */
} cast_scheduler;

typedef struct cast_blow { /* when a worker was harmed, on the calendar, which is Redis' clock too */
    char worker[32];
    int64_t at_ms;
} cast_blow;

typedef struct cast {
    world *world;
    mffa_rng rng;
    cast_worker worker[CAST_WORKERS];
    cast_scheduler scheduler[CAST_SCHEDULERS];
    int64_t redis_mend_ms; /* 0: it runs */
    int lives, harms;
    cast_blow *blows;
    size_t blow_count;
    bool flushes; /* the functions may be flushed: they come back */
} cast;

void cast_open(cast *c, world *w, uint64_t seed, bool flushes);
void cast_close(cast *c);
void cast_harm(cast *c);         /* somebody, somehow */
void cast_mend(cast *c, bool all); /* what is due; all: everything, now */
bool cast_dismiss(cast *c);      /* SIGTERM to the workers, and waits; false: one did not exit with 0 */
/* The first blow to a worker within a time; 0: none. */
int64_t cast_blow_within(const cast *c, const char *worker, int64_t from_ms, int64_t to_ms);

#endif
