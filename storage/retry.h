/* When a request to S3 is tried again, after how long, and when no more.
 * The classes are those of the AWS SDKs' standard mode; the delay is drawn uniformly from 0 to a limit that doubles ("full jitter",
 * Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015); a bucket of tokens that all requests of the process share
 * keeps a server that is down from being asked many times over by everyone. */
#ifndef MFFA_STORAGE_RETRY_H
#define MFFA_STORAGE_RETRY_H

#include <pthread.h>
#include <stdint.h>
#include "core/base/err.h"

typedef enum mffa_retry {
    MFFA_RETRY_NEVER,
    MFFA_RETRY_SOON,       /* 5xx, InternalError, RequestTimeout, a conflict, a lost connection */
    MFFA_RETRY_LATER,      /* SlowDown and its kin: the server asks for less */
    MFFA_RETRY_CLOCK,      /* at once with the server's time, once */
    MFFA_RETRY_CREDENTIALS /* at once with fresh credentials, once */
} mffa_retry;

enum { MFFA_RETRY_ATTEMPTS = 10 }; /* of one request, the first one counted */

/* status 0: no answer came. code: S3's word for it, "" when it gave none. */
mffa_retry mffa_retry_class(int status, const char *code);
/* The wait before the attempt after `attempts` failed ones; unit: a random number in [0, 1). after_ms: the server's Retry-After, which is
 * the least that is waited; 0: it gave none. */
int64_t mffa_retry_delay_ms(mffa_retry class, int attempts, int64_t after_ms, double unit);
/* "120" (seconds) as milliseconds, at most a minute; 0 for anything else. */
int64_t mffa_retry_after_ms(const char *header);

typedef struct mffa_retry_budget { /* MFFA_RETRY_BUDGET */
    pthread_mutex_t lock; /* guards tokens; held with no other */
    int tokens;
} mffa_retry_budget;
enum { MFFA_RETRY_TOKENS = 500, MFFA_RETRY_COST = 5 };
#define MFFA_RETRY_BUDGET {PTHREAD_MUTEX_INITIALIZER, MFFA_RETRY_TOKENS}

bool mffa_retry_take(mffa_retry_budget *b); /* false: spent; give up now */
void mffa_retry_give(mffa_retry_budget *b, bool retried); /* a request succeeded */

#endif
