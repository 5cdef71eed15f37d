#include "storage/s3_later.h"

#include <string.h>
#include "core/base/rng.h"

typedef struct lane {
    mffa_s3_call call; /* first: a finished call is its lane */
    char *key;         /* NULL: free */
    char mark[MFFA_S3_MARK];
    char *bytes;
    int fd;
} lane;

struct mffa_s3_later {
    mffa_s3_store *store;
    mffa_s3 s3;
    int count;
    mffa_code rc; /* the first failure that nobody was told */
    mffa_err err;
    lane lanes[];
};

mffa_code mffa_s3_later_open(mffa_s3_store *store, mffa_s3_later **out, mffa_err *err) {
    int count = store->s3.client->concurrency;
    mffa_s3_later *l = calloc(1, sizeof *l + (size_t)count * sizeof *l->lanes);
    if (!l) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    l->store = store, l->count = count;
    for (int i = 0; i < count; i++) l->lanes[i].fd = -1;
    mffa_code rc = mffa_s3_open(store->s3.client, store->bucket, &l->s3, err);
    if (rc) free(l);
    else *out = l;
    return rc;
}

static void leave(lane *n) {
    mffa_s3_call_done(&n->call);
    free(MFFA_TAKE(n->key));
    free(MFFA_TAKE(n->bytes));
    if (n->fd >= 0) close(n->fd);
    n->fd = -1;
}

void mffa_s3_later_close(mffa_s3_later *l) {
    if (!l) return;
    mffa_s3_abandon(&l->s3);
    for (int i = 0; i < l->count; i++) leave(&l->lanes[i]);
    mffa_s3_close(&l->s3);
    free(l);
}

static void finish(mffa_s3_later *l, lane *n) {
    mffa_err err = n->call.err;
    mffa_code rc = n->call.rc;
    /* as in s3_put.c: what took the key may be an attempt of ours whose answer was lost */
    if (rc == MFFA_EEXISTS) rc = mffa_s3_is_ours(l->store, n->key, n->mark) ? MFFA_OK : mffa_s3_taken(l->store, n->key, &err);
    if (rc && !l->rc) l->rc = rc, l->err = err;
    leave(n);
}

static mffa_code tell(mffa_s3_later *l, mffa_err *err) {
    mffa_code rc = l->rc;
    if (rc && err) *err = l->err;
    l->rc = MFFA_OK;
    return rc;
}

/* One that is free, waited for if need be; the others get on. */
static lane *free_lane(mffa_s3_later *l) {
    for (mffa_s3_call *c; (c = mffa_s3_next(&l->s3, 0));) finish(l, (lane *)c);
    for (;;) {
        for (int i = 0; i < l->count; i++)
            if (!l->lanes[i].key) return &l->lanes[i];
        finish(l, (lane *)mffa_s3_wait(&l->s3));
    }
}

/* In one request, refused by the server itself when the key is taken. */
static bool is_simple(const mffa_s3_client *c, const mffa_http_body *body, mffa_put how) {
    return body->length <= c->part_bytes && (how == MFFA_PUT_REPLACE || (c->conditional && atomic_load(&c->conditional_proven)));
}

static mffa_code start(mffa_s3_later *l, lane *n, const char *key, const mffa_http_body *body, mffa_put how, mffa_err *err) {
    mffa_http_body own = *body;
    n->fd = body->fd;
    if (body->fd < 0) own.bytes = n->bytes = malloc((size_t)body->length + 1);
    n->key = strdup(key);
    *n->mark = '\0';
    mffa_code rc = n->key && (n->bytes || n->fd >= 0) ? MFFA_OK : mffa_fail(err, MFFA_ENOMEM, "out of memory");
    if (!rc && how == MFFA_PUT_NEW) rc = mffa_random_hex(n->mark, 16, err);
    if (rc) return leave(n), rc;
    if (n->bytes && body->length) memcpy(n->bytes, body->bytes, (size_t)body->length);
    n->call = (mffa_s3_call){.method = "PUT", .key = n->key, .body = own, .text_max = 1 << 16};
    mffa_s3_put_object_headers(l->store, key, n->mark, &n->call.headers);
    if (how == MFFA_PUT_NEW) mffa_buf_puts(&n->call.headers, "If-None-Match: *\n");
    mffa_s3_start(&l->s3, &n->call);
    return MFFA_OK;
}

mffa_code mffa_s3_later_put(mffa_s3_later *l, const char *key, const mffa_http_body *body, mffa_put how, mffa_err *err) {
    lane *n = free_lane(l);
    mffa_code rc = tell(l, err);
    if (!rc && is_simple(l->store->s3.client, body, how)) return start(l, n, key, body, how, err);
    if (!rc) rc = mffa_s3_put(l->store, key, body, how, err);
    if (body->fd >= 0) close(body->fd);
    return rc;
}

mffa_code mffa_s3_later_settle(mffa_s3_later *l, mffa_err *err) {
    for (mffa_s3_call *c; (c = mffa_s3_wait(&l->s3));) finish(l, (lane *)c);
    return tell(l, err);
}
