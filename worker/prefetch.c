#include "worker/prefetch.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include "core/base/log.h"
#include "storage/store.h"
#include "storage/url.h"

enum { SHARE = 4, URL_BYTES = 1200 }; /* SHARE: of the cache, one in so many */

typedef struct plan { /* of one job; "": nothing there to fetch */
    char job[64], kind[16];
    char dataset[URL_BYTES], weights[URL_BYTES], model[URL_BYTES], backbone[URL_BYTES];
} plan;

struct mffa_prefetch {
    const mffa_config *config;
    pthread_t thread;
    pthread_mutex_t lock; /* guards wanted, closing; held with no other */
    pthread_cond_t changed;
    plan wanted; /* job "": none */
    bool closing;
    atomic_bool rest; /* what goes on shall end */
    char seen[64]; /* of the supervisor's thread */
};

static bool go_on(void *ctx) { return !atomic_load(&((mffa_prefetch *)ctx)->rest); }

/* ---- fetching ---- */

typedef struct listing {
    mffa_object *items;
    size_t count, room;
} listing;

static void listing_done(listing *l) {
    for (size_t i = 0; i < l->count; i++) free((void *)(uintptr_t)l->items[i].key), free((void *)(uintptr_t)l->items[i].etag);
    free(l->items);
}

static mffa_code note(void *ctx, const mffa_object *o, mffa_err *err) {
    listing *l = ctx;
    if (l->count == l->room) {
        size_t room = l->room ? 2 * l->room : 256;
        mffa_object *more = reallocarray(l->items, room, sizeof *more);
        if (!more) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
        l->items = more, l->room = room;
    }
    mffa_object *item = &l->items[l->count++];
    *item = (mffa_object){strdup(o->key), o->bytes, strdup(o->etag)};
    return item->key && item->etag ? MFFA_OK : mffa_fail(err, MFFA_ENOMEM, "out of memory");
}

/* The parts of a data set that a kind of job reads. */
static mffa_code fetch_pictures(mffa_prefetch *p, const plan *w, mffa_err *err) {
    bool trains = strcmp(w->kind, "evaluate") != 0 && strcmp(w->kind, "score") != 0;
    const char *const all[] = {"", NULL}, *const train[] = {"train/", NULL}, *const test[] = {"ground_truth/", "test/", NULL};
    const char *const *under = trains ? train : strcmp(w->kind, "evaluate") == 0 ? test : all;
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = NULL;
    MFFA_AUTO(listing_done) listing l = {0};
    mffa_code rc = mffa_store_open(w->dataset, &s, err);
    for (; !rc && *under; under++) rc = mffa_store_list(s, *under, note, &l, err);
    if (!rc) rc = mffa_store_expect(s, l.items, l.count, err);
    return rc ? rc : mffa_store_warm(s, p->config->cache_bytes / SHARE, go_on, p, err);
}

static mffa_code fetch_whole(void *ctx, const mffa_object *o, mffa_err *err) {
    mffa_store *s = ctx;
    MFFA_AUTO(mffa_free_p) char *path = NULL;
    size_t n = strlen(o->key), end = strlen(".safetensors");
    return n > end && strcmp(o->key + n - end, ".safetensors") == 0 ? mffa_store_local(s, o->key, &path, err) : MFFA_OK;
}

/* Weights, a model, a backbone: what matters of each is safetensors. */
static mffa_code fetch_tensors(mffa_prefetch *p, const char *url, mffa_err *err) {
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = NULL;
    MFFA_AUTO(listing_done) listing l = {0};
    if (!*url || !go_on(p)) return MFFA_OK;
    mffa_code rc = mffa_store_open(url, &s, err);
    if (!rc) rc = mffa_store_list(s, "", note, &l, err);
    for (size_t i = 0; !rc && i < l.count && go_on(p); i++)
        if (l.items[i].bytes <= p->config->cache_bytes / SHARE) rc = fetch_whole(s, &l.items[i], err);
    return rc;
}

static void fetch(mffa_prefetch *p, const plan *w) {
    mffa_err err = {0};
    mffa_code rc = fetch_tensors(p, w->weights, &err);
    if (!rc) rc = fetch_tensors(p, w->model, &err);
    if (!rc) rc = fetch_tensors(p, w->backbone, &err);
    if (!rc && *w->dataset && go_on(p)) rc = fetch_pictures(p, w, &err);
    if (rc) mffa_log(MFFA_DEBUG, "prefetch.left", mffa_str("job", w->job), mffa_str("error", err.msg));
    else mffa_log(MFFA_INFO, "prefetch.done", mffa_str("job", w->job), mffa_str("how", go_on(p) ? "whole" : "claimed"));
}

static void *run(void *ctx) {
    mffa_prefetch *p = ctx;
    for (;;) {
        pthread_mutex_lock(&p->lock);
        while (!*p->wanted.job && !p->closing) pthread_cond_wait(&p->changed, &p->lock);
        plan w = p->wanted;
        p->wanted = (plan){0};
        bool closing = p->closing;
        if (!closing) atomic_store(&p->rest, false);
        pthread_mutex_unlock(&p->lock);
        if (closing) return NULL;
        fetch(p, &w);
    }
}

mffa_code mffa_prefetch_open(const mffa_config *config, mffa_prefetch **out, mffa_err *err) {
    mffa_prefetch *p = calloc(1, sizeof *p);
    if (!p) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    p->config = config;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    if (pthread_create(&p->thread, NULL, run, p) != 0) {
        free(p);
        return mffa_fail(err, MFFA_ENOMEM, "could not start a thread");
    }
    (void)pthread_setname_np(p->thread, "prefetch");
    *out = p;
    return MFFA_OK;
}

static void hand_over(mffa_prefetch *p, const plan *w) {
    pthread_mutex_lock(&p->lock);
    p->wanted = *w;
    atomic_store(&p->rest, true); /* ends what goes on; the thread takes it back for the new one */
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

void mffa_prefetch_rest(mffa_prefetch *p) { hand_over(p, &(plan){0}); }

void mffa_prefetch_close(mffa_prefetch *p) {
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    atomic_store(&p->rest, true);
    pthread_cond_signal(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* ---- looking ---- */

/* Only what the job itself may read, and only what is far away. */
static void take_url(const mffa_config *c, char out[URL_BYTES], const char *url) {
    bool far = strncmp(url, "s3://", 5) == 0 && strlen(url) < URL_BYTES && mffa_url_allowed(url, c->allowed_urls, NULL) == MFFA_OK;
    snprintf(out, URL_BYTES, "%s", far ? url : "");
}

static const char *field(const mffa_reply *r, const char *name) { return mffa_reply_text(mffa_reply_field(r, name), ""); }

void mffa_prefetch_look(mffa_prefetch *p, mffa_queue *q) {
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *r = NULL;
    const char *words[] = {"pool", p->config->pool, "kinds", p->config->kinds};
    mffa_span args[MFFA_COUNT(words)];
    plan w = {0};
    for (size_t i = 0; i < MFFA_COUNT(words); i++) args[i] = mffa_span_of(words[i]);
    if (mffa_queue_call(q, true, "peek", args, MFFA_COUNT(args), &r, NULL) || mffa_reply_is_nil(r)) return;
    snprintf(w.job, sizeof w.job, "%s", field(r, "id"));
    if (!*w.job || strcmp(w.job, p->seen) == 0) return;
    snprintf(p->seen, sizeof p->seen, "%s", w.job);
    snprintf(w.kind, sizeof w.kind, "%s", field(r, "kind"));
    const char *weights = field(r, "weights");
    take_url(p->config, w.dataset, field(r, "dataset"));
    take_url(p->config, w.model, field(r, "model_url"));
    take_url(p->config, w.backbone, field(r, "backbone_url"));
    if (*weights) take_url(p->config, w.weights, weights);
    else if (p->config->weights && strncmp(p->config->weights, "s3://", 5) == 0)
        snprintf(w.weights, sizeof w.weights, "%s", p->config->weights); /* the worker's own need not be allowed to jobs */
    hand_over(p, &w);
}
