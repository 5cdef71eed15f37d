#include "storage/credentials.h"

#include <pthread.h>
#include <string.h>

struct mffa_credentials_source {
    pthread_mutex_t lock; /* guards current; held with no other */
    mffa_credentials current;
};

static void wipe(char *text) {
    if (text) explicit_bzero(text, strlen(text));
    free(text);
}

void mffa_credentials_done(mffa_credentials *c) {
    free(c->key_id);
    wipe(c->secret);
    wipe(c->token);
    *c = (mffa_credentials){0};
}

mffa_code mffa_credentials_open(mffa_credentials_source **out, mffa_err *err) {
    mffa_credentials_source *s = calloc(1, sizeof *s);
    if (!s) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    pthread_mutex_init(&s->lock, NULL);
    *out = s;
    return MFFA_OK;
}

void mffa_credentials_close(mffa_credentials_source *s) {
    if (!s) return;
    mffa_credentials_done(&s->current);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static const char *set_text(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static mffa_code copy(const char *key_id, const char *secret, const char *token, mffa_credentials *out, mffa_err *err) {
    mffa_credentials c = {.key_id = strdup(key_id), .secret = strdup(secret), .token = token ? strdup(token) : NULL};
    if (c.key_id && c.secret && (c.token || !token)) return *out = c, MFFA_OK;
    mffa_credentials_done(&c);
    return mffa_fail(err, MFFA_ENOMEM, "out of memory");
}

static mffa_code from_environment(mffa_credentials *out, mffa_err *err) {
    const char *key_id = set_text("AWS_ACCESS_KEY_ID"), *secret = set_text("AWS_SECRET_ACCESS_KEY");
    if (key_id && secret) return copy(key_id, secret, set_text("AWS_SESSION_TOKEN"), out, err);
    if (key_id || secret)
        return mffa_fail(err, MFFA_EDENIED, "%s is set and %s is not: set both", key_id ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
                         key_id ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
    return mffa_fail(err, MFFA_EDENIED, "there are no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
}

mffa_code mffa_credentials_get(mffa_credentials_source *s, mffa_credentials *out, mffa_err *err) {
    pthread_mutex_lock(&s->lock);
    mffa_code rc = s->current.key_id ? MFFA_OK : from_environment(&s->current, err);
    if (!rc) rc = copy(s->current.key_id, s->current.secret, s->current.token, out, err);
    pthread_mutex_unlock(&s->lock);
    return rc;
}

bool mffa_credentials_expired(mffa_credentials_source *s, const char *key_id) {
    (void)s, (void)key_id;
    return false; /* the environment of a process does not change */
}
