/* Progress as a heartbeat tells it: rate and time left, from when the phase began. Plain data. */
#ifndef MFFA_WORKER_METER_H
#define MFFA_WORKER_METER_H

#include "core/base/digest.h"
#include "scheduler/queue.h"

typedef struct mffa_meter { /* zero-initialise */
    char phase[32];
    int64_t done, total;
    int64_t began_ms, began_done; /* of the phase */
    int64_t moved_ms;             /* when anything last changed */
    char inputs[MFFA_SHA256_HEX]; /* hash of the data set's listing, "" until it is known */
} mffa_meter;

void mffa_meter_note(mffa_meter *m, const char *phase, int64_t done, int64_t total, int64_t now_ms);
/* Its texts are borrowed from m. */
mffa_beat mffa_meter_beat(const mffa_meter *m, int64_t now_ms);

#endif
