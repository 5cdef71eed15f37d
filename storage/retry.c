#include "storage/retry.h"

#include <errno.h>
#include <string.h>

enum { SOON_MS = 200, LATER_MS = 1000, LONGEST_MS = 20000, LONGEST_AFTER_MS = 60000 };

static const struct { const char *code; mffa_retry class; } codes[] = {
    {"InternalError", MFFA_RETRY_SOON},
    {"RequestTimeout", MFFA_RETRY_SOON},
    {"IncompleteBody", MFFA_RETRY_SOON},
    {"OperationAborted", MFFA_RETRY_SOON},
    {"ConditionalRequestConflict", MFFA_RETRY_SOON},
    {"PriorRequestNotComplete", MFFA_RETRY_SOON},
    {"SlowDown", MFFA_RETRY_LATER},
    {"ServiceUnavailable", MFFA_RETRY_LATER},
    {"Throttling", MFFA_RETRY_LATER},
    {"ThrottlingException", MFFA_RETRY_LATER},
    {"RequestThrottled", MFFA_RETRY_LATER},
    {"RequestLimitExceeded", MFFA_RETRY_LATER},
    {"BandwidthLimitExceeded", MFFA_RETRY_LATER},
    {"TooManyRequests", MFFA_RETRY_LATER},
    {"RequestTimeTooSkewed", MFFA_RETRY_CLOCK},
    {"RequestExpired", MFFA_RETRY_CLOCK},
    {"RequestInTheFuture", MFFA_RETRY_CLOCK},
    {"ExpiredToken", MFFA_RETRY_CREDENTIALS},
    {"ExpiredTokenException", MFFA_RETRY_CREDENTIALS},
    {"TokenRefreshRequired", MFFA_RETRY_CREDENTIALS},
};

mffa_retry mffa_retry_class(int status, const char *code) {
    for (size_t i = 0; i < MFFA_COUNT(codes); i++)
        if (strcmp(codes[i].code, code) == 0) return codes[i].class;
    switch (status) {
    case 0: case 408: case 500: case 502: case 504: return MFFA_RETRY_SOON;
    case 429: case 503: return MFFA_RETRY_LATER;
    default: return MFFA_RETRY_NEVER;
    }
}

int64_t mffa_retry_delay_ms(mffa_retry class, int attempts, int64_t after_ms, double unit) {
    if (class == MFFA_RETRY_CLOCK || class == MFFA_RETRY_CREDENTIALS) return 0;
    int64_t limit = class == MFFA_RETRY_LATER ? LATER_MS : SOON_MS;
    for (int i = 1; i < attempts && limit < LONGEST_MS; i++) limit *= 2;
    if (limit > LONGEST_MS) limit = LONGEST_MS;
    return after_ms + (int64_t)(unit * (double)limit);
}

int64_t mffa_retry_after_ms(const char *header) {
    char *end = NULL;
    errno = 0;
    long long s = strtoll(header, &end, 10);
    if (errno || end == header || *end || s < 0) return 0;
    return s < LONGEST_AFTER_MS / 1000 ? s * 1000 : LONGEST_AFTER_MS;
}

bool mffa_retry_take(mffa_retry_budget *b) {
    pthread_mutex_lock(&b->lock);
    bool enough = b->tokens >= MFFA_RETRY_COST;
    if (enough) b->tokens -= MFFA_RETRY_COST;
    pthread_mutex_unlock(&b->lock);
    return enough;
}

void mffa_retry_give(mffa_retry_budget *b, bool retried) {
    pthread_mutex_lock(&b->lock);
    b->tokens += retried ? MFFA_RETRY_COST : 1;
    if (b->tokens > MFFA_RETRY_TOKENS) b->tokens = MFFA_RETRY_TOKENS;
    pthread_mutex_unlock(&b->lock);
}
