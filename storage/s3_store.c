#include "storage/s3_store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include "core/base/clock.h"
#include "storage/s3_ahead.h"
#include "storage/s3_later.h"
#include "storage/sign.h"

static char *whole_key(const mffa_s3_store *s, const char *key) {
    char *whole = NULL;
    return asprintf(&whole, "%s%s", s->prefix, key) < 0 ? NULL : whole;
}

static mffa_code no_memory(mffa_err *err) { return mffa_fail(err, MFFA_ENOMEM, "out of memory"); }

/* ---- list, head ---- */

typedef struct relay {
    const mffa_s3_store *store;
    mffa_store_each *fn;
    void *ctx;
} relay;

static mffa_code pass_on(void *ctx, const char *key, int64_t bytes, const char *etag, mffa_err *err) {
    relay *r = ctx;
    size_t n = strlen(key);
    const char *rest = key + strlen(r->store->prefix);
    if (bytes == 0 && n > 0 && key[n - 1] == '/') return MFFA_OK; /* a folder, as consoles make them: no object of ours */
    mffa_code rc = mffa_key_check(rest, err);
    return rc ? mffa_wrap(err, rc, "cannot list \"%s\"", r->store->base.url) : r->fn(r->ctx, &(mffa_object){rest, bytes, etag}, err);
}

static mffa_code s3_list(mffa_store *store, const char *under, mffa_store_each *fn, void *ctx, mffa_err *err) {
    mffa_s3_store *s = mffa_s3_store_of(store);
    MFFA_AUTO(mffa_free_p) char *whole = whole_key(s, under);
    return whole ? mffa_s3_list(s, whole, pass_on, &(relay){s, fn, ctx}, err) : no_memory(err);
}

static mffa_code s3_head(mffa_store *store, const char *key, int64_t *bytes, char **etag, mffa_err *err) {
    mffa_s3_store *s = mffa_s3_store_of(store);
    MFFA_AUTO(mffa_free_p) char *whole = whole_key(s, key);
    mffa_s3_facts facts;
    if (!whole) return no_memory(err);
    mffa_code rc = mffa_s3_head(s, whole, &facts, err);
    if (rc) return rc;
    if (etag && !(*etag = strdup(facts.etag))) return no_memory(err);
    *bytes = facts.bytes;
    return MFFA_OK;
}

/* ---- get ---- */

typedef struct memory {
    mffa_buf *out;
    size_t start;
} memory;

static mffa_code write_memory(void *ctx, int64_t at, mffa_span piece, mffa_err *err) {
    memory *m = ctx;
    size_t end = m->start + (size_t)at + piece.len;
    if (at == 0 && m->out->len > m->start) m->out->len = m->start; /* another attempt: perhaps of another, shorter version */
    if (end > m->out->len && !mffa_buf_extend(m->out, end - m->out->len)) return mffa_buf_check(m->out, err);
    memcpy(m->out->ptr + m->start + at, piece.ptr, piece.len);
    return MFFA_OK;
}

/* false: there is none, or it cannot be read whole */
static bool read_copy(mffa_s3_store *s, const char *key, int64_t max_bytes, mffa_buf *out) {
    mffa_cache_entry e = {.fd = -1};
    struct stat st;
    if (!s->ahead || !mffa_s3_ahead_find(s->ahead, key, &e)) return false;
    size_t before = out->len, len = fstat(e.fd, &st) == 0 && st.st_size <= max_bytes ? (size_t)st.st_size : SIZE_MAX, done = 0;
    char *to = len != SIZE_MAX ? mffa_buf_extend(out, len) : NULL;
    for (ssize_t n; to && done < len; done += (size_t)n)
        if ((n = pread(e.fd, to + done, len - done, (off_t)done)) <= 0) break;
    if (to && done < len) out->len = before, out->ptr[before] = '\0';
    mffa_cache_release(&e);
    return to && done == len;
}

static mffa_code s3_get(mffa_store *store, const char *key, int64_t max_bytes, mffa_buf *out, mffa_err *err) {
    mffa_s3_store *s = mffa_s3_store_of(store);
    if (read_copy(s, key, max_bytes, out)) return MFFA_OK;
    MFFA_AUTO(mffa_free_p) char *whole = whole_key(s, key);
    memory m = {out, out->len};
    mffa_s3_facts facts = {.bytes = -1};
    mffa_code rc = whole ? mffa_s3_fetch(s, whole, max_bytes, write_memory, &m, &facts, err) : no_memory(err);
    if (rc && out->ptr) out->len = m.start, out->ptr[m.start] = '\0';
    return rc;
}

/* ---- local ---- */

static mffa_code write_file(void *ctx, int64_t at, mffa_span piece, mffa_err *err) { return mffa_cache_write(ctx, at, piece, err); }

static mffa_code hold(mffa_s3_store *s, mffa_cache_entry *e, char **path, mffa_err *err) {
    char *copy = strdup(e->path);
    mffa_cache_entry *more = reallocarray(s->held, s->held_count + 1, sizeof *more);
    if (more) s->held = more;
    if (!more || !copy) {
        free(copy);
        mffa_cache_release(e);
        return no_memory(err);
    }
    s->held[s->held_count++] = *e;
    *path = copy;
    return MFFA_OK;
}

static mffa_code fetch_entry(mffa_s3_store *s, const char *key, mffa_s3_facts *facts, mffa_cache_entry *e, mffa_err *err) {
    mffa_cache *cache = s->s3.client->cache;
    mffa_code rc = mffa_cache_begin(cache, e, err);
    if (rc) return rc;
    rc = mffa_s3_fetch(s, key, INT64_MAX, write_file, e, facts, err);
    if (!rc) return mffa_cache_keep(cache, s->bucket, key, facts->etag, e, err);
    mffa_cache_drop(e);
    return rc;
}

static mffa_code s3_local(mffa_store *store, const char *key, char **path, mffa_err *err) {
    mffa_s3_store *s = mffa_s3_store_of(store);
    MFFA_AUTO(mffa_free_p) char *whole = whole_key(s, key);
    mffa_cache_entry e = {.fd = -1};
    mffa_s3_facts facts;
    if (s->ahead && mffa_s3_ahead_find(s->ahead, key, &e)) return hold(s, &e, path, err);
    if (!whole) return no_memory(err);
    mffa_code rc = mffa_s3_head(s, whole, &facts, err);
    if (rc) return rc;
    if (!mffa_cache_find(s->s3.client->cache, s->bucket, whole, facts.etag, &e)) rc = fetch_entry(s, whole, &facts, &e, err);
    return rc ? rc : hold(s, &e, path, err);
}

static mffa_code s3_expect(mffa_store *store, const mffa_object *objects, size_t count, mffa_err *err) {
    mffa_s3_store *s = mffa_s3_store_of(store);
    mffa_s3_ahead_close(MFFA_TAKE(s->ahead));
    return mffa_s3_ahead_open(s->s3.client, s->bucket, s->prefix, objects, count, &s->ahead, err);
}

static mffa_code s3_warm(mffa_store *store, int64_t max_bytes, bool (*go_on)(void *ctx), void *ctx, mffa_err *err) {
    mffa_s3_store *s = mffa_s3_store_of(store);
    (void)err;
    if (s->ahead) mffa_s3_ahead_run(s->ahead, max_bytes, go_on, ctx);
    return MFFA_OK;
}

/* ---- put, delete ---- */

static mffa_code s3_put(mffa_store *store, const char *key, mffa_span bytes, mffa_put how, mffa_err *err) {
    mffa_s3_store *s = mffa_s3_store_of(store);
    MFFA_AUTO(mffa_free_p) char *whole = whole_key(s, key);
    return whole ? mffa_s3_put(s, whole, &(mffa_http_body){bytes.ptr, -1, 0, (int64_t)bytes.len}, how, err) : no_memory(err);
}

/* The caller closes out->fd. */
static mffa_code open_body(const char *path, mffa_http_body *out, mffa_err *err) {
    struct stat st;
    MFFA_AUTO(mffa_close_fd_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return mffa_fail(err, errno == ENOENT ? MFFA_ENOTFOUND : MFFA_EIO, "cannot open \"%s\": %s", path, strerror(errno));
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return mffa_fail(err, MFFA_EINVAL, "\"%s\" is not a regular file", path);
    *out = (mffa_http_body){NULL, fd, 0, st.st_size};
    fd = -1;
    return MFFA_OK;
}

static mffa_code s3_put_file(mffa_store *store, const char *key, const char *path, mffa_put how, mffa_err *err) {
    mffa_s3_store *s = mffa_s3_store_of(store);
    MFFA_AUTO(mffa_free_p) char *whole = whole_key(s, key);
    mffa_http_body body = {.fd = -1};
    if (!whole) return no_memory(err);
    mffa_code rc = open_body(path, &body, err);
    if (rc) return rc;
    rc = mffa_s3_put(s, whole, &body, how, err);
    close(body.fd);
    return rc;
}

static mffa_code open_later(mffa_s3_store *s, mffa_err *err) { return s->later ? MFFA_OK : mffa_s3_later_open(s, &s->later, err); }

static mffa_code s3_put_soon(mffa_store *store, const char *key, mffa_span bytes, mffa_put how, mffa_err *err) {
    mffa_s3_store *s = mffa_s3_store_of(store);
    MFFA_AUTO(mffa_free_p) char *whole = whole_key(s, key);
    mffa_code rc = whole ? open_later(s, err) : no_memory(err);
    return rc ? rc : mffa_s3_later_put(s->later, whole, &(mffa_http_body){bytes.ptr, -1, 0, (int64_t)bytes.len}, how, err);
}

static mffa_code s3_put_file_soon(mffa_store *store, const char *key, const char *path, mffa_put how, mffa_err *err) {
    mffa_s3_store *s = mffa_s3_store_of(store);
    MFFA_AUTO(mffa_free_p) char *whole = whole_key(s, key);
    mffa_http_body body = {.fd = -1};
    mffa_code rc = whole ? open_later(s, err) : no_memory(err);
    if (!rc) rc = open_body(path, &body, err);
    return rc ? rc : mffa_s3_later_put(s->later, whole, &body, how, err);
}

static mffa_code s3_settle(mffa_store *store, mffa_err *err) {
    mffa_s3_store *s = mffa_s3_store_of(store);
    return s->later ? mffa_s3_later_settle(s->later, err) : MFFA_OK;
}

static mffa_code s3_remove(mffa_store *store, const char *key, mffa_err *err) {
    mffa_s3_store *s = mffa_s3_store_of(store);
    MFFA_AUTO(mffa_free_p) char *whole = whole_key(s, key);
    return whole ? mffa_s3_remove(s, whole, err) : no_memory(err);
}

static mffa_code s3_remove_all(mffa_store *store, const char *under, mffa_err *err) {
    mffa_s3_store *s = mffa_s3_store_of(store);
    MFFA_AUTO(mffa_free_p) char *whole = whole_key(s, under);
    return whole ? mffa_s3_remove_all(s, whole, err) : no_memory(err);
}

typedef struct dead_relay {
    const mffa_s3_store *store;
    mffa_store_dead *dead;
    void *ctx;
} dead_relay;

static bool ask_if_dead(void *ctx, const char *key) {
    const dead_relay *r = ctx;
    return r->dead(r->ctx, key + strlen(r->store->prefix));
}

static mffa_code s3_end_uploads(mffa_store *store, const char *under, mffa_store_dead *dead, void *ctx, mffa_err *err) {
    mffa_s3_store *s = mffa_s3_store_of(store);
    MFFA_AUTO(mffa_free_p) char *whole = whole_key(s, under);
    return whole ? mffa_s3_end_uploads(s, whole, ask_if_dead, &(dead_relay){s, dead, ctx}, err) : no_memory(err);
}

static mffa_code s3_presign(mffa_store *store, const char *key, int64_t expires_s, mffa_buf *out, mffa_err *err) {
    mffa_s3_store *s = mffa_s3_store_of(store);
    const mffa_s3_client *client = s->s3.client;
    MFFA_AUTO(mffa_free_p) char *whole = whole_key(s, key);
    MFFA_AUTO(mffa_buf_done) mffa_buf host = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf path = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf query = {0};
    MFFA_AUTO(mffa_credentials_done) mffa_credentials who = {0};
    mffa_code rc = whole ? mffa_credentials_get(client->credentials, &who, err) : no_memory(err);
    if (rc) return rc;
    mffa_signer signer = {.key_id = who.key_id, .secret = who.secret, .token = who.token, .region = client->region, .service = "s3",
                          .time_s = mffa_wall_ms() / 1000 + atomic_load(&client->skew_s)};
    mffa_s3_place(client, s->bucket, &host, &path);
    mffa_buf_puts(&path, "/");
    mffa_sign_encode(&path, whole, true);
    rc = mffa_buf_check(&path, err);
    if (!rc) rc = mffa_sign_url(&signer, "GET", mffa_buf_text(&host), mffa_buf_text(&path), "", expires_s, &query, err);
    if (rc) return rc;
    mffa_buf_putf(out, "%s://%s%s?%s", client->scheme, mffa_buf_text(&host), mffa_buf_text(&path), mffa_buf_text(&query));
    return mffa_buf_check(out, err);
}

static void s3_close(mffa_store *store) {
    mffa_s3_store *s = mffa_s3_store_of(store);
    mffa_s3_ahead_close(s->ahead);
    mffa_s3_later_close(s->later);
    mffa_s3_close(&s->s3);
    for (size_t i = 0; i < s->held_count; i++) mffa_cache_release(&s->held[i]);
    free(s->held);
    free(s->bucket);
    free(s->prefix);
    free(s);
}

mffa_code mffa_s3_store_open(const mffa_url *url, mffa_store **out, mffa_err *err) {
    static const mffa_store_ops ops = {.list = s3_list,
                                       .head = s3_head,
                                       .get = s3_get,
                                       .local = s3_local,
                                       .put = s3_put,
                                       .put_file = s3_put_file,
                                       .expect = s3_expect,
                                       .warm = s3_warm,
                                       .put_soon = s3_put_soon,
                                       .put_file_soon = s3_put_file_soon,
                                       .settle = s3_settle,
                                       .remove = s3_remove,
                                       .remove_all = s3_remove_all,
                                       .end_uploads = s3_end_uploads,
                                       .presign = s3_presign,
                                       .close = s3_close};
    mffa_s3_client *client = mffa_s3_shared();
    if (!client) return mffa_fail(err, MFFA_EBUG, "\"s3://%s/%s\": opened before mffa_store_setup", url->bucket, url->path);
    mffa_s3_store *s = calloc(1, sizeof *s);
    if (!s) return no_memory(err);
    s->base.ops = &ops;
    s->bucket = strdup(url->bucket);
    if (asprintf(&s->prefix, "%s%s", url->path, *url->path ? "/" : "") < 0) s->prefix = NULL;
    mffa_code rc = s->bucket && s->prefix ? mffa_s3_open(client, s->bucket, &s->s3, err) : no_memory(err);
    if (rc) s3_close(&s->base);
    else *out = &s->base;
    return rc;
}
