/* Who asks: access key, secret and session token, from where AWS programs keep them. Never from a job.
 * Thread-safe: one source serves every store of the process. */
#ifndef MFFA_STORAGE_CREDENTIALS_H
#define MFFA_STORAGE_CREDENTIALS_H

#include <stdint.h>
#include "core/base/err.h"

typedef struct mffa_credentials { /* zero-initialise */
    char *key_id, *secret;
    char *token; /* of a session; NULL: none */
} mffa_credentials;
void mffa_credentials_done(mffa_credentials *c); /* the secret is wiped */

typedef struct mffa_credentials_source mffa_credentials_source;
MFFA_MUST_USE mffa_code mffa_credentials_open(mffa_credentials_source **out, mffa_err *err);
void mffa_credentials_close(mffa_credentials_source *s);

/* A copy of the current ones. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of the environment.
 * MFFA_EDENIED says what is missing. */
MFFA_MUST_USE mffa_code mffa_credentials_get(mffa_credentials_source *s, mffa_credentials *out, mffa_err *err);
/* The server says that these have ended: the next get fetches new ones where the source can. false: it cannot. */
bool mffa_credentials_expired(mffa_credentials_source *s, const char *key_id);

#endif
