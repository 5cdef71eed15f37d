/* What was promised: every job that was acknowledged, and in the end the verdict on each. */
#ifndef MFFA_TESTS_CHAOS_LEDGER_H
#define MFFA_TESTS_CHAOS_LEDGER_H

#include "tests/chaos/cast.h"

typedef struct ledger_job {
    char id[32], kind[8];
    int key;            /* its idempotency key is chaos-<key> */
    bool cancelled;     /* somebody asked for that */
    bool judged;
    int64_t ended_ms;   /* when its end was seen; 0: not yet */
    char state[16];     /* the end that was seen */
} ledger_job;

typedef struct ledger {
    cast *cast;
    ledger_job *jobs;
    size_t count, first_open; /* all before first_open are judged */
    int keys;
    char pending[320];        /* a submission that was not answered yet: it is said again with the same key */
    char pending_kind[8];
    char model[32];           /* a job to score with */
    int done, failed, dead, cancelled, lost, doubled, unexpected, recovered;
    int64_t worst_rerun_ms;
} ledger;

/* Submits a model and waits for it: before anybody is harmed. */
void ledger_open(ledger *l, cast *c);
void ledger_close(ledger *l);
void ledger_submit(ledger *l);        /* or say again what was not answered */
bool ledger_settled(const ledger *l); /* nothing waits for an answer */
void ledger_cancel(ledger *l);        /* one of those that have not ended */
void ledger_look(ledger *l);          /* who has ended; what has ended long ago is judged */
int ledger_open_jobs(const ledger *l);
void ledger_judge(ledger *l);         /* everybody, when all is over */
bool ledger_print(const ledger *l);   /* the line; false: a promise was broken */

#endif
