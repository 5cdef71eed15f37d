/* A job's life as its event stream tells it. */
#ifndef MFFA_TESTS_CHAOS_HISTORY_H
#define MFFA_TESTS_CHAOS_HISTORY_H

#include "tests/chaos/cast.h"

typedef struct history {
    int events, runs, ends;
    bool doubled;
    const char *what; /* why it is */
    int64_t worst_rerun_ms; /* from the blow that cost a run to the start of the next one */
    /* while it is read */
    bool held;
    char worker[32];
    int64_t started_ms, struck_ms;
} history;

void history_read(history *h, const cast *c, const char *id);

#endif
