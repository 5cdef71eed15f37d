#include "worker/timings.h"

#include <stdio.h>
#include <string.h>

void mffa_timings_end(mffa_timings *t, int64_t now_ms) {
    if (t->count > 0) t->list[t->count - 1].ms += now_ms - t->since_ms;
    t->since_ms = now_ms;
}

void mffa_timings_enter(mffa_timings *t, const char *phase, int64_t now_ms) {
    if (t->count > 0 && strcmp(t->list[t->count - 1].phase, phase) == 0) return;
    mffa_timings_end(t, now_ms);
    if (t->count == MFFA_PHASES_MAX) return;
    snprintf(t->list[t->count].phase, sizeof t->list[0].phase, "%s", phase);
    t->list[t->count++].ms = 0;
}

int64_t mffa_timings_total_ms(const mffa_timings *t) {
    int64_t sum = 0;
    for (int i = 0; i < t->count; i++) sum += t->list[i].ms;
    return sum;
}
