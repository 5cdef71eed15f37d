#include "storage/store.h"

#include <string.h>
#include "storage/store_ops.h"

static mffa_code open_kind(const mffa_url *url, mffa_store **out, mffa_err *err) {
    if (url->scheme == MFFA_FILE) return mffa_file_store_open(url, out, err);
    return mffa_s3_store_open(url, out, err);
}

static char *without_trailing_slash(const char *url) {
    size_t n = strlen(url);
    while (n > strlen("file:///") && url[n - 1] == '/') n--;
    return strndup(url, n);
}

mffa_code mffa_store_open(const char *url, mffa_store **out, mffa_err *err) {
    mffa_url parsed = {0};
    mffa_code rc = mffa_url_parse(url, &parsed, err);
    if (rc) return rc;
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = NULL;
    rc = open_kind(&parsed, &s, err);
    mffa_url_done(&parsed);
    if (rc) return rc;
    s->url = without_trailing_slash(url);
    if (!s->url) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    *out = MFFA_TAKE(s);
    return MFFA_OK;
}

void mffa_store_close(mffa_store *s) {
    if (!s) return;
    free(s->url);
    s->ops->close(s);
}

const char *mffa_store_url(const mffa_store *s) { return s->url; }

static mffa_code check_key(const mffa_store *s, const char *key, mffa_err *err) {
    mffa_code rc = mffa_key_check(key, err);
    return rc ? mffa_wrap(err, rc, "\"%s\"", s->url) : MFFA_OK;
}

/* A prefix is "" or a key that may end in one slash. */
static mffa_code check_under(const mffa_store *s, const char *under, mffa_err *err) {
    size_t n = strlen(under);
    if (n == 0) return MFFA_OK;
    MFFA_AUTO(mffa_free_p) char *key = strndup(under, under[n - 1] == '/' ? n - 1 : n);
    return key ? check_key(s, key, err) : mffa_fail(err, MFFA_ENOMEM, "out of memory");
}

mffa_code mffa_store_list(mffa_store *s, const char *under, mffa_store_each *fn, void *ctx, mffa_err *err) {
    mffa_code rc = check_under(s, under, err);
    return rc ? rc : s->ops->list(s, under, fn, ctx, err);
}

mffa_code mffa_store_head(mffa_store *s, const char *key, int64_t *bytes, char **etag, mffa_err *err) {
    mffa_code rc = check_key(s, key, err);
    return rc ? rc : s->ops->head(s, key, bytes, etag, err);
}

mffa_code mffa_store_get(mffa_store *s, const char *key, int64_t max_bytes, mffa_buf *out, mffa_err *err) {
    mffa_code rc = check_key(s, key, err);
    return rc ? rc : s->ops->get(s, key, max_bytes, out, err);
}

mffa_code mffa_store_local(mffa_store *s, const char *key, char **path, mffa_err *err) {
    mffa_code rc = check_key(s, key, err);
    return rc ? rc : s->ops->local(s, key, path, err);
}

mffa_code mffa_store_put(mffa_store *s, const char *key, mffa_span bytes, mffa_put how, mffa_err *err) {
    mffa_code rc = check_key(s, key, err);
    return rc ? rc : s->ops->put(s, key, bytes, how, err);
}

mffa_code mffa_store_put_file(mffa_store *s, const char *key, const char *path, mffa_put how, mffa_err *err) {
    mffa_code rc = check_key(s, key, err);
    return rc ? rc : s->ops->put_file(s, key, path, how, err);
}

mffa_code mffa_store_expect(mffa_store *s, const mffa_object *objects, size_t count, mffa_err *err) {
    mffa_code rc = MFFA_OK;
    for (size_t i = 0; !rc && i < count; i++) rc = check_key(s, objects[i].key, err);
    return rc || !s->ops->expect ? rc : s->ops->expect(s, objects, count, err);
}

mffa_code mffa_store_warm(mffa_store *s, int64_t max_bytes, bool (*go_on)(void *ctx), void *ctx, mffa_err *err) {
    return s->ops->warm ? s->ops->warm(s, max_bytes, go_on, ctx, err) : MFFA_OK;
}

mffa_code mffa_store_put_soon(mffa_store *s, const char *key, mffa_span bytes, mffa_put how, mffa_err *err) {
    mffa_code rc = check_key(s, key, err);
    return rc ? rc : (s->ops->put_soon ? s->ops->put_soon : s->ops->put)(s, key, bytes, how, err);
}

mffa_code mffa_store_put_file_soon(mffa_store *s, const char *key, const char *path, mffa_put how, mffa_err *err) {
    mffa_code rc = check_key(s, key, err);
    return rc ? rc : (s->ops->put_file_soon ? s->ops->put_file_soon : s->ops->put_file)(s, key, path, how, err);
}

mffa_code mffa_store_settle(mffa_store *s, mffa_err *err) { return s->ops->settle ? s->ops->settle(s, err) : MFFA_OK; }

mffa_code mffa_store_delete(mffa_store *s, const char *key, mffa_err *err) {
    mffa_code rc = check_key(s, key, err);
    return rc ? rc : s->ops->remove(s, key, err);
}

mffa_code mffa_store_delete_all(mffa_store *s, const char *under, mffa_err *err) {
    if (!*under) return mffa_fail(err, MFFA_EINVAL, "\"%s\": deleting everything needs a prefix", s->url);
    mffa_code rc = check_under(s, under, err);
    return rc ? rc : s->ops->remove_all(s, under, err);
}

mffa_code mffa_store_end_uploads(mffa_store *s, const char *under, mffa_store_dead *dead, void *ctx, mffa_err *err) {
    if (!*under) return mffa_fail(err, MFFA_EINVAL, "\"%s\": ending uploads needs a prefix", s->url);
    mffa_code rc = check_under(s, under, err);
    return rc ? rc : s->ops->end_uploads(s, under, dead, ctx, err);
}

mffa_code mffa_store_presign(mffa_store *s, const char *key, int64_t expires_s, mffa_buf *out, mffa_err *err) {
    mffa_code rc = check_key(s, key, err);
    return rc ? rc : s->ops->presign(s, key, expires_s, out, err);
}
