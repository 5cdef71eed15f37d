/* One private Redis for all tests of a program: `start` and `stop` for its group, `empty` before each test. Included once, by the
 * program. */
#ifndef MFFA_TESTS_SUPPORT_REDIS_GROUP_H
#define MFFA_TESTS_SUPPORT_REDIS_GROUP_H

#include "tests/support/redis.h"
#include "tests/support/test.h"

static mffa_test_redis redis;

static inline int empty(void **state) {
    (void)state;
    mffa_test_ask(&redis, "FLUSHALL");
    return 0;
}

static inline int start(void **state) {
    (void)state;
    mffa_test_redis_start(&redis, false);
    return 0;
}

static inline int stop(void **state) {
    (void)state;
    mffa_test_redis_stop(&redis);
    return 0;
}

#endif
