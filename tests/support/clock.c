/* Preloaded into a redis-server (tests/support/redis.h): the time of day is what a file says, ms since 1970 in 8 bytes. The file is mapped,
 * so a look costs nothing and a test that writes it has moved the clock. Monotonic clocks go on as they do. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static int64_t now_ms(void) {
    static const volatile int64_t *page;
    if (!page) {
        int fd = open(getenv("MFFA_TEST_CLOCK"), O_RDONLY | O_CLOEXEC);
        void *at = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *page, PROT_READ, MAP_SHARED, fd, 0);
        if (at == MAP_FAILED) abort();
        close(fd);
        page = at;
    }
    return *page;
}

int gettimeofday(struct timeval *restrict tv, void *restrict zone) {
    int64_t ms = now_ms();
    (void)zone;
    *tv = (struct timeval){.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    return 0;
}

time_t time(time_t *out) {
    time_t s = now_ms() / 1000;
    if (out) *out = s;
    return s;
}

int clock_gettime(clockid_t id, struct timespec *ts) {
    if (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE) return (int)syscall(SYS_clock_gettime, id, ts);
    int64_t ms = now_ms();
    *ts = (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    return 0;
}
