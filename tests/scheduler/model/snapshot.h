/* One atomic look at every key of the queue, held against the model. */
#ifndef MFFA_TESTS_SCHEDULER_MODEL_SNAPSHOT_H
#define MFFA_TESTS_SCHEDULER_MODEL_SNAPSHOT_H

#include "tests/scheduler/model/model.h"
#include "tests/support/redis.h"

/* Loads the function that reads all keys in one call; again after FUNCTION FLUSH and into every new server. */
void snapshot_load(mffa_test_redis *r);
/* True when Redis holds what the model says, key by key; else *why (at most size bytes) shows the first difference. *writes: Redis' own
 * count of what was ever written, for calls that must change nothing. */
bool snapshot_agrees(mffa_test_redis *r, model *m, int64_t *writes, char *why, size_t size);

#endif
