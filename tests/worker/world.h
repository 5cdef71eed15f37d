/* The whole service for a test: a private Redis, mffa-scheduler, mffa-worker processes, and a small sample data set with weights, all in
 * one temporary folder that is gone afterwards. Leases, retries and heartbeats are short. */
#ifndef MFFA_TESTS_WORKER_WORLD_H
#define MFFA_TESTS_WORKER_WORLD_H

#include <sys/types.h>
#include "core/base/json.h"
#include "tests/support/redis.h"

enum { WORLD_LEASE_MS = 4000 }; /* short, and longer than a worker of a busy machine waits for its turn */

typedef struct world {
    mffa_test_redis redis;
    char dir[64]; /* dataset/, weights/, out/, worker-<n>.log */
    pid_t scheduler;
    pid_t worker[256]; /* all that were started */
    int workers;
} world;

/* train: normal pictures of side_px to learn from. */
void world_open(world *w, int train, int side_px);
void world_close(world *w);
/* Kills workers that a failed test left behind. */
void world_kill_workers(world *w);

/* Starts a program whose output goes to the log of that name; it ends with this process. */
pid_t world_spawn(const world *w, const char *log, char *const argv[]);
/* Starts a worker; settings: NULL-terminated flags ("--beat-ms", "50") behind the usual ones. Waits until its executor is ready. */
pid_t world_worker(world *w, const char *const *settings);
/* Starts a worker that must refuse to start: asserts a non-zero exit and this text in its log. */
void world_refused(world *w, const char *const *settings, const char *text);
pid_t world_executor(pid_t worker); /* its executor process; 0: none */
/* SIGTERM, then waits; the exit code. */
int world_stop(pid_t worker);
int world_wait_exit(pid_t worker); /* the exit code of one that ends by itself */
void world_kill(pid_t process); /* SIGKILL, and waits if it is ours */
/* Whether a process is gone (or only waits for somebody to ask for its exit code) within this time. */
bool world_gone_within(pid_t process, int64_t ms);

/* mffa_submit of "kind field value ...". Ids are divided by spaces; valid for the
 * next 31 calls. Fails the test when refused. */
const char *world_submit(world *w, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Until the job is in this state; fails the test with its reason when it ends in another, or after 120 s. */
void world_wait(world *w, const char *id, const char *state);
/* Until a running job tells this phase. */
void world_wait_phase(world *w, const char *id, const char *phase);
/* Asserts that the job's result folder holds exactly what its manifest says, byte for byte. */
void world_check_manifest(world *w, const char *id);
/* The same as an answer. */
mffa_code world_manifest_holds(const char *result, const char *id, mffa_err *err);
/* Asserts that a failed job says this. */
void world_assert_reason(world *w, const char *id, const char *part);
/* summary.json of a done job; closed by the caller. */
mffa_json *world_summary(world *w, const char *id);
/* Shell command with printf arguments; fails the test unless it exits 0. */
void world_shell(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
