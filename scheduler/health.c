#include "scheduler/health.h"

#include <pthread.h>
#include <stdio.h>
#include "core/base/clock.h"

enum { ALIVE_MS = 180000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards all below */
static int64_t pulse_ms, ready_until_ms;                 /* 0: not yet, not now */
static char reason[256] = "it is starting";

void mffa_health_pulse(void) {
    pthread_mutex_lock(&lock);
    pulse_ms = mffa_now_ms();
    pthread_mutex_unlock(&lock);
}

void mffa_health_ready(int64_t ms) {
    pthread_mutex_lock(&lock);
    pulse_ms = mffa_now_ms();
    ready_until_ms = pulse_ms + ms;
    snprintf(reason, sizeof reason, "nothing was heard since it was last ready");
    pthread_mutex_unlock(&lock);
}

void mffa_health_not_ready(const char *why) {
    pthread_mutex_lock(&lock);
    pulse_ms = mffa_now_ms();
    ready_until_ms = 0;
    snprintf(reason, sizeof reason, "%s", why);
    pthread_mutex_unlock(&lock);
}

bool mffa_health_is_alive(char *why, size_t room) {
    pthread_mutex_lock(&lock);
    int64_t still_ms = pulse_ms ? mffa_now_ms() - pulse_ms : 0;
    pthread_mutex_unlock(&lock);
    if (still_ms < ALIVE_MS) return snprintf(why, room, "alive"), true;
    snprintf(why, room, "the main loop has not come round for %lld s", (long long)(still_ms / 1000));
    return false;
}

bool mffa_health_is_ready(char *why, size_t room) {
    if (!mffa_health_is_alive(why, room)) return false;
    pthread_mutex_lock(&lock);
    bool ready = mffa_now_ms() < ready_until_ms;
    snprintf(why, room, "%s", ready ? "ready" : reason);
    pthread_mutex_unlock(&lock);
    return ready;
}
