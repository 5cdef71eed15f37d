/* A private redis-server for tests: on a socket in a temporary folder, nothing else of the machine touched, gone with the test program
 * (also when that is killed). And short ways to talk to it: commands as one line of text, answers as one line of text. */
#ifndef MFFA_TESTS_SUPPORT_REDIS_H
#define MFFA_TESTS_SUPPORT_REDIS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include "scheduler/queue.h"

typedef struct mffa_test_redis {
    char dir[64], socket[96], url[112];
    pid_t pid;
    mffa_queue *queue; /* "main", for the calls below */
    bool keeps;        /* appendonly, so that a restart finds everything again */
    char clock[96];    /* a file with the time that the server believes in; "": the machine's clock */
} mffa_test_redis;

/* Starts the server and waits until it answers; ends the program with 77 (skip) and a sentence where there is no redis-server. */
void mffa_test_redis_start(mffa_test_redis *r, bool keeps);
/* The same with a clock that stands still unless the test moves it, for TIME and the expiry of keys alike. */
void mffa_test_redis_start_at(mffa_test_redis *r, bool keeps, int64_t ms);
void mffa_test_redis_set_time(mffa_test_redis *r, int64_t ms);
/* An empty server in place of this one, without our functions. */
void mffa_test_redis_renew(mffa_test_redis *r, bool keeps);
void mffa_test_redis_kill(mffa_test_redis *r);    /* SIGKILL, as a crash does */
void mffa_test_redis_restart(mffa_test_redis *r); /* on the same socket and folder */
void mffa_test_redis_stop(mffa_test_redis *r);    /* and remove the folder */

/* One command; words are divided by spaces, 'quoted words' may hold spaces. The answer as text, valid for the next 31 calls: strings and
 * numbers as they are, (nil), elements of an array with a space between, inner arrays in [], an error its text. */
const char *mffa_test_ask(mffa_test_redis *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* FCALL mffa_<verb> 0 <rest>, given as "verb rest". */
const char *mffa_test_fcall(mffa_test_redis *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* One field of a job's record; "" if it is not there. */
const char *mffa_test_field(mffa_test_redis *r, const char *id, const char *name);
/* Asserts that the call is answered with exactly this error and that no key changed. */
void mffa_test_refused(mffa_test_redis *r, const char *error, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Asserts rule 2 of every record and index: each job is in exactly the index of its state. Returns the number of jobs. */
int mffa_test_check_rules(mffa_test_redis *r);

#endif
