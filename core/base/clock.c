#include "core/base/clock.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

static int64_t read_ms(clockid_t id) {
    struct timespec t;
    clock_gettime(id, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t mffa_now_ms(void) { return read_ms(CLOCK_MONOTONIC); }
int64_t mffa_wall_ms(void) { return read_ms(CLOCK_REALTIME); }

void mffa_wall_text(int64_t wall_ms, char out[25]) {
    int64_t ms = (wall_ms % 1000 + 1000) % 1000; /* before 1970 as well */
    time_t s = (time_t)((wall_ms - ms) / 1000);
    struct tm tm;
    gmtime_r(&s, &tm);
    char text[64];
    snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
             tm.tm_sec, (int)ms);
    snprintf(out, 25, "%.24s", text);
}

void mffa_sleep_ms(int64_t ms) {
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    while (clock_nanosleep(CLOCK_MONOTONIC, 0, &t, &t) == EINTR) {}
}
