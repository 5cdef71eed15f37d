#include "storage/credentials.h"

#include <pthread.h>
#include <string.h>
#include "core/base/clock.h"
#include "storage/credentials_parts.h"

enum { EARLY_S = 300, AGAIN_S = 10 };

struct mffa_credentials_source {
    char *region;
    pthread_mutex_t lock; /* guards what follows, and is held while new ones are fetched; held with no other */
    mffa_grant current;   /* key_id NULL: none */
    bool fixed;           /* current is of the environment, which does not change */
    int64_t renew_s;      /* Unix time from when new ones are fetched; INT64_MAX: never */
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

void mffa_secret_done(mffa_buf *b) {
    if (b->ptr) explicit_bzero(b->ptr, b->len);
    mffa_buf_done(b);
}

const char *mffa_environment(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

mffa_code mffa_credentials_open(const char *region, mffa_credentials_source **out, mffa_err *err) {
    mffa_credentials_source *s = calloc(1, sizeof *s);
    if (s) s->region = strdup(region);
    if (!s || !s->region) return free(s), mffa_fail(err, MFFA_ENOMEM, "out of memory");
    pthread_mutex_init(&s->lock, NULL);
    *out = s;
    return MFFA_OK;
}

void mffa_credentials_close(mffa_credentials_source *s) {
    if (!s) return;
    mffa_credentials_done(&s->current.who);
    pthread_mutex_destroy(&s->lock);
    free(s->region);
    free(s);
}

mffa_code mffa_grant_fill(mffa_grant *out, const char *key_id, const char *secret, const char *token, int64_t expires_s, mffa_err *err) {
    mffa_credentials c = {.key_id = strdup(key_id), .secret = strdup(secret), .token = token ? strdup(token) : NULL};
    if (c.key_id && c.secret && (c.token || !token)) return *out = (mffa_grant){c, expires_s}, MFFA_OK;
    mffa_credentials_done(&c);
    return mffa_fail(err, MFFA_ENOMEM, "out of memory");
}

mffa_code mffa_grant_from_environment(const char *region, mffa_grant *out, mffa_err *err) {
    (void)region;
    const char *key_id = mffa_environment("AWS_ACCESS_KEY_ID"), *secret = mffa_environment("AWS_SECRET_ACCESS_KEY");
    if (key_id && secret) return mffa_grant_fill(out, key_id, secret, mffa_environment("AWS_SESSION_TOKEN"), 0, err);
    if (key_id || secret)
        return mffa_fail(err, MFFA_EDENIED, "%s is set and %s is not: set both", key_id ? "AWS_ACCESS_KEY_ID" : "AWS_SECRET_ACCESS_KEY",
                         key_id ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
    return mffa_fail(err, MFFA_ENOTFOUND, "the environment has none");
}

static mffa_code fetch(const char *region, mffa_grant *out, bool *fixed, mffa_err *err) {
    static mffa_code (*const sources[])(const char *, mffa_grant *, mffa_err *) = {
        mffa_grant_from_environment, mffa_grant_from_profile, mffa_grant_from_web_identity, mffa_grant_from_container,
        mffa_grant_from_instance};
    mffa_err why = {0};
    for (size_t i = 0; i < MFFA_COUNT(sources); i++) {
        mffa_code rc = sources[i](region, out, &why);
        *fixed = i == 0;
        if (rc == MFFA_ENOTFOUND) continue;
        if (rc && err) *err = why;
        return rc;
    }
    return mffa_fail(err, MFFA_EDENIED, "there are no credentials for S3: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or "
                     "what gives this machine an identity (%s)", why.msg);
}

static int64_t renewal_s(const mffa_grant *g, int64_t now_s) {
    int64_t life_s = g->expires_s - now_s;
    if (g->expires_s == 0) return INT64_MAX;
    return g->expires_s - (life_s / 2 < EARLY_S ? life_s / 2 : EARLY_S);
}

static mffa_code renew(mffa_credentials_source *s, mffa_err *err) {
    int64_t now_s = mffa_wall_ms() / 1000;
    mffa_grant fresh = {0};
    bool fixed = false;
    if (s->current.who.key_id && now_s < s->renew_s) return MFFA_OK;
    mffa_code rc = fetch(s->region, &fresh, &fixed, err);
    if (rc && s->current.who.key_id) return s->renew_s = now_s + AGAIN_S, MFFA_OK; /* the server decides whether they have ended */
    if (rc) return rc;
    mffa_credentials_done(&s->current.who);
    s->current = fresh, s->fixed = fixed;
    s->renew_s = renewal_s(&fresh, now_s);
    return MFFA_OK;
}

mffa_code mffa_credentials_get(mffa_credentials_source *s, mffa_credentials *out, mffa_err *err) {
    mffa_grant copy = {0};
    pthread_mutex_lock(&s->lock);
    const mffa_credentials *who = &s->current.who;
    mffa_code rc = renew(s, err);
    if (!rc) rc = mffa_grant_fill(&copy, who->key_id, who->secret, who->token, 0, err);
    pthread_mutex_unlock(&s->lock);
    if (!rc) *out = copy.who;
    return rc;
}

bool mffa_credentials_expired(mffa_credentials_source *s, const char *key_id) {
    pthread_mutex_lock(&s->lock);
    bool same = s->current.who.key_id && strcmp(s->current.who.key_id, key_id) == 0; /* else another thread was faster */
    bool renewable = !s->fixed;
    if (same && renewable) mffa_credentials_done(&s->current.who);
    pthread_mutex_unlock(&s->lock);
    return renewable;
}
