/* How long each phase of a job took, by the phases that progress names. Plain data. */
#ifndef MFFA_WORKER_TIMINGS_H
#define MFFA_WORKER_TIMINGS_H

#include <stdint.h>

enum { MFFA_PHASES_MAX = 16 };

typedef struct mffa_timings { /* zero-initialise */
    struct { char phase[24]; int64_t ms; } list[MFFA_PHASES_MAX];
    int count;
    int64_t since_ms; /* mffa_now_ms of the phase that runs now; the last of the list */
} mffa_timings;

/* Phase runs now; the same name again goes on with it. Phases beyond the table count into its last one. */
void mffa_timings_enter(mffa_timings *t, const char *phase, int64_t now_ms);
/* Ends the running phase. */
void mffa_timings_end(mffa_timings *t, int64_t now_ms);
int64_t mffa_timings_total_ms(const mffa_timings *t);

#endif
