#include "storage/s3_ahead.h"

#include <string.h>

typedef enum state { WAITS, TRAVELS, OVER } state; /* OVER: in the cache, or given up */

typedef struct item {
    const char *key, *etag; /* in texts */
    int64_t bytes;
    state state;
} item;

typedef struct lane {
    mffa_s3_call call; /* first: a finished call is its lane */
    mffa_s3_ahead *a;
    item *item; /* NULL: free */
    char *key;  /* whole */
    mffa_cache_entry entry;
} lane;

struct mffa_s3_ahead {
    mffa_s3 s3;
    const char *prefix;
    mffa_buf texts;
    item *items; /* in the order of reading */
    item **by_key;
    size_t count, next; /* next: from where to look for what waits */
    lane *lanes;
};

static int compare(const void *a, const void *b) { return strcmp((*(item *const *)a)->key, (*(item *const *)b)->key); }

static item *find(const mffa_s3_ahead *a, const char *key) {
    item want = {.key = key}, *at = &want, **found = bsearch(&at, a->by_key, a->count, sizeof *a->by_key, compare);
    return found ? *found : NULL;
}

static mffa_code fill(mffa_s3_ahead *a, const mffa_object *objects, size_t count, mffa_err *err) {
    for (size_t i = 0; i < count; i++) {
        mffa_buf_put(&a->texts, objects[i].key, strlen(objects[i].key) + 1);
        mffa_buf_put(&a->texts, objects[i].etag, strlen(objects[i].etag) + 1);
    }
    a->items = mffa_alloc_array(count, sizeof *a->items);
    a->by_key = mffa_alloc_array(count, sizeof *a->by_key);
    a->lanes = mffa_alloc_array((size_t)a->s3.client->concurrency, sizeof *a->lanes);
    if (!a->items || !a->by_key || !a->lanes) return mffa_fail(err, MFFA_ENOMEM, "out of memory for %zu objects", count);
    mffa_code rc = mffa_buf_check(&a->texts, err);
    if (rc) return rc;
    const char *at = a->texts.ptr;
    for (size_t i = 0; i < count; i++) {
        const char *etag = at + strlen(at) + 1;
        a->items[i] = (item){at, etag, objects[i].bytes, objects[i].bytes > a->s3.client->part_bytes || !*etag ? OVER : WAITS};
        a->by_key[i] = &a->items[i];
        at = etag + strlen(etag) + 1;
    }
    for (int i = 0; i < a->s3.client->concurrency; i++) a->lanes[i] = (lane){.a = a, .entry.fd = -1};
    a->count = count;
    qsort(a->by_key, count, sizeof *a->by_key, compare);
    return MFFA_OK;
}

mffa_code mffa_s3_ahead_open(mffa_s3_client *c, const char *bucket, const char *prefix, const mffa_object *objects, size_t count,
                             mffa_s3_ahead **out, mffa_err *err) {
    mffa_s3_ahead *a = calloc(1, sizeof *a);
    if (!a) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    a->prefix = prefix;
    mffa_code rc = mffa_s3_open(c, bucket, &a->s3, err);
    if (!rc) rc = fill(a, objects, count, err);
    if (rc) mffa_s3_ahead_close(a);
    else *out = a;
    return rc;
}

/* ---- one on its way ---- */

static mffa_code take(void *ctx, const mffa_http_answer *answer, int64_t at, mffa_span piece, mffa_err *err) {
    lane *l = ctx;
    char etag[MFFA_S3_ETAG];
    mffa_s3_etag(answer, etag);
    if (at == 0 && (answer->status != 200 || strcmp(etag, l->item->etag) != 0))
        return mffa_fail(err, MFFA_EIO, "it changed since it was listed");
    if (at + (int64_t)piece.len > l->item->bytes) return mffa_fail(err, MFFA_EIO, "it is longer than was listed");
    return mffa_cache_write(&l->entry, at, piece, err);
}

static void leave(lane *l) {
    mffa_s3_call_done(&l->call);
    free(MFFA_TAKE(l->key));
    if (l->item) l->item->state = OVER;
    l->item = NULL;
}

static void start(lane *l, item *i) {
    mffa_s3_ahead *a = l->a;
    mffa_cache *cache = a->s3.client->cache;
    l->item = i;
    if (asprintf(&l->key, "%s%s", a->prefix, i->key) < 0) l->key = NULL;
    /* a cache that cannot be written is no reason to fail: the reader gets the object by itself */
    if (!l->key || mffa_cache_has(cache, a->s3.bucket, l->key, i->etag) || mffa_cache_begin(cache, &l->entry, NULL)) return leave(l);
    i->state = TRAVELS;
    l->call = (mffa_s3_call){.method = "GET", .key = l->key, .sink = take, .ctx = l, .verify = true};
    mffa_buf_putf(&l->call.headers, "If-Match: \"%s\"\n", i->etag);
    mffa_s3_start(&a->s3, &l->call);
}

static void finish(lane *l) {
    bool whole = !l->call.rc && l->call.answer.got == l->item->bytes;
    if (whole && !mffa_cache_keep(l->a->s3.client->cache, l->a->s3.bucket, l->key, l->item->etag, &l->entry, NULL))
        mffa_cache_release(&l->entry);
    else if (!whole) mffa_cache_drop(&l->entry);
    leave(l);
}

/* Every lane has something to do, as long as there is something. */
static void fill_lanes(mffa_s3_ahead *a) {
    for (int n = 0; n < a->s3.client->concurrency; n++) {
        lane *l = &a->lanes[n];
        while (!l->item && a->next < a->count) {
            item *i = &a->items[a->next++];
            if (i->state == WAITS) start(l, i);
        }
    }
}

static lane *free_lane(mffa_s3_ahead *a) {
    for (int n = 0; n < a->s3.client->concurrency; n++)
        if (!a->lanes[n].item) return &a->lanes[n];
    return NULL;
}

/* What is asked for out of turn goes first, and what is behind it next. */
static void need(mffa_s3_ahead *a, item *i) {
    lane *l = i->state == WAITS ? free_lane(a) : NULL;
    if (i->state != WAITS) return;
    a->next = (size_t)(i - a->items) + 1;
    while (!l) {
        finish((lane *)mffa_s3_wait(&a->s3));
        l = free_lane(a);
    }
    start(l, i);
}

bool mffa_s3_ahead_find(mffa_s3_ahead *a, const char *key, mffa_cache_entry *out) {
    item *i = find(a, key);
    if (!i) return false;
    need(a, i);
    fill_lanes(a);
    for (mffa_s3_call *c; (c = i->state == TRAVELS ? mffa_s3_wait(&a->s3) : mffa_s3_next(&a->s3, 0));) {
        finish((lane *)c);
        fill_lanes(a);
    }
    MFFA_AUTO(mffa_buf_done) mffa_buf whole = {0};
    mffa_buf_putf(&whole, "%s%s", a->prefix, key);
    return !whole.failed && mffa_cache_find(a->s3.client->cache, a->s3.bucket, mffa_buf_text(&whole), i->etag, out);
}

/* The first of them that together have at most max_bytes. */
static size_t within(const mffa_s3_ahead *a, int64_t max_bytes) {
    size_t n = 0;
    for (; n < a->count && a->items[n].bytes <= max_bytes; n++) max_bytes -= a->items[n].bytes;
    return n;
}

void mffa_s3_ahead_run(mffa_s3_ahead *a, int64_t max_bytes, bool (*go_on)(void *ctx), void *ctx) {
    enum { LOOK_MS = 200 };
    size_t all = a->count;
    a->count = within(a, max_bytes);
    fill_lanes(a);
    while (a->s3.running > 0 && go_on(ctx)) {
        mffa_s3_call *c = mffa_s3_next(&a->s3, LOOK_MS);
        if (c) finish((lane *)c), fill_lanes(a);
    }
    a->count = all;
}

void mffa_s3_ahead_close(mffa_s3_ahead *a) {
    if (!a) return;
    if (a->s3.http) mffa_s3_abandon(&a->s3);
    for (int n = 0; a->lanes && a->count && n < a->s3.client->concurrency; n++) {
        if (a->lanes[n].item) mffa_cache_drop(&a->lanes[n].entry);
        leave(&a->lanes[n]);
    }
    mffa_s3_close(&a->s3);
    mffa_buf_done(&a->texts);
    free(a->items);
    free(a->by_key);
    free(a->lanes);
    free(a);
}
