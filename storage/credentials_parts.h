/* What the sources of credentials share. Private to storage/credentials*.c. */
#ifndef MFFA_STORAGE_CREDENTIALS_PARTS_H
#define MFFA_STORAGE_CREDENTIALS_PARTS_H

#include "core/base/buf.h"
#include "storage/credentials.h"

typedef struct mffa_grant { /* zero-initialise */
    mffa_credentials who;
    int64_t expires_s; /* Unix time; 0: never */
} mffa_grant;

/* The sources. MFFA_ENOTFOUND: this one is not set up on this machine; anything else is final. */
mffa_code mffa_grant_from_environment(const char *region, mffa_grant *out, mffa_err *err);
mffa_code mffa_grant_from_profile(const char *region, mffa_grant *out, mffa_err *err);
mffa_code mffa_grant_from_web_identity(const char *region, mffa_grant *out, mffa_err *err);
mffa_code mffa_grant_from_container(const char *region, mffa_grant *out, mffa_err *err);
mffa_code mffa_grant_from_instance(const char *region, mffa_grant *out, mffa_err *err);

/* The identity in token_file, shown to STS for the role. session: NULL gives "mffa". */
MFFA_MUST_USE mffa_code mffa_grant_assume(const char *region, const char *token_file, const char *role, const char *session,
                                          mffa_grant *out, mffa_err *err);

/* credentials_http.c. A question to a service of credentials. */
typedef struct mffa_grant_question {
    const char *service; /* for errors: "STS" */
    const char *method, *url;
    const char *headers; /* lines "name: value\n" */
    const char *body;    /* NULL: none */
    bool direct;         /* by no proxy */
    int64_t limit_ms;    /* to connect, without a byte, and for the whole */
    int attempts;        /* while it does not answer, or with 429 or 5xx */
} mffa_grant_question;
/* answer: the body, of a failure too. MFFA_EIO: none came, or it says 429 or 5xx; MFFA_EDENIED: it says anything but 2xx. */
MFFA_MUST_USE mffa_code mffa_grant_ask(const mffa_grant_question *q, mffa_buf *answer, mffa_err *err);
/* The document of containers and instances: AccessKeyId, SecretAccessKey, Token, Expiration. */
MFFA_MUST_USE mffa_code mffa_grant_read_json(const char *service, mffa_span document, mffa_grant *out, mffa_err *err);
/* "2026-01-31T12:00:00Z" as Unix time; 0: it is none. */
int64_t mffa_grant_time_s(const char *text);
/* The first line of a file with a token, without blanks around it; MFFA_EDENIED: it cannot stand in a header. */
MFFA_MUST_USE mffa_code mffa_grant_read_token(const char *path, mffa_buf *out, mffa_err *err);
/* Fit for a header's value: printable ASCII, at least one. */
bool mffa_grant_is_token(const char *text);

MFFA_MUST_USE mffa_code mffa_grant_fill(mffa_grant *out, const char *key_id, const char *secret, const char *token, int64_t expires_s,
                                        mffa_err *err);
void mffa_secret_done(mffa_buf *b); /* wiped, then mffa_buf_done */
const char *mffa_environment(const char *name); /* NULL when not set or empty */

#endif
