#include "core/mffa/parallel.h"

#include "core/base/cleanup.h"
#include "tests/support/test.h"

enum { MOST = 1000 };

static void count_visits(void *ctx, int64_t from, int64_t to) {
    unsigned char *visits = ctx;
    for (int64_t i = from; i < to; i++) visits[i]++;
}

static void every_index_is_visited_once(void **state) {
    (void)state;
    static const int threads[] = {-1, 0, 1, 2, 3, 7, 300};
    static const int64_t sizes[] = {0, 1, 2, 3, 64, MOST};
    for (size_t t = 0; t < MFFA_COUNT(threads); t++)
        for (size_t s = 0; s < MFFA_COUNT(sizes); s++) {
            unsigned char visits[MOST] = {0};
            mffa_parallel(threads[t], sizes[s], count_visits, visits);
            for (int64_t i = 0; i < MOST; i++) assert_int_equal(visits[i], i < sizes[s]);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_index_is_visited_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
