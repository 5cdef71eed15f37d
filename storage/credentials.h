/* Who asks: access key, secret and session token, from where AWS programs keep them. Never from a job.
 * The first that is set up on this machine counts, in the order of the AWS SDKs:
 *   1. AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN of the environment
 *   2. the profile AWS_PROFILE (else "default") of the files AWS_SHARED_CREDENTIALS_FILE (else ~/.aws/credentials) and AWS_CONFIG_FILE
 *      (else ~/.aws/config): keys, or a role with a web identity
 *   3. a web identity: AWS_WEB_IDENTITY_TOKEN_FILE and AWS_ROLE_ARN, shown to STS at AWS_ENDPOINT_URL_STS (else AWS' of the region)
 *   4. a container's or pod's identity: AWS_CONTAINER_CREDENTIALS_FULL_URI or _RELATIVE_URI, with AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE
 *   5. the instance's metadata (IMDSv2) at AWS_EC2_METADATA_SERVICE_ENDPOINT, unless AWS_EC2_METADATA_DISABLED=true
 * No secret is in an error's text, nor are the answers of these services.
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
/* region: whose STS is asked; copied. */
MFFA_MUST_USE mffa_code mffa_credentials_open(const char *region, mffa_credentials_source **out, mffa_err *err);
void mffa_credentials_close(mffa_credentials_source *s);

/* A copy of the current ones. Those that end are renewed 5 minutes before (half their life before, when that is less); while that
 * fails they are used on. MFFA_EDENIED says what is missing; MFFA_EIO: a service that gives them did not answer. */
MFFA_MUST_USE mffa_code mffa_credentials_get(mffa_credentials_source *s, mffa_credentials *out, mffa_err *err);
/* The server says that these have ended: the next get fetches new ones where the source can. false: it cannot. */
bool mffa_credentials_expired(mffa_credentials_source *s, const char *key_id);

#endif
