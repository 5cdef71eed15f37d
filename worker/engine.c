#include "worker/engine.h"

#include <string.h>
#include "worker/memory.h"

enum { HASHES = 32 };
typedef struct known_hash {
    char *path, *etag;
    char sha256[MFFA_SHA256_HEX];
} known_hash;

struct mffa_engine {
    const mffa_config *config;
    mffa_device *device; /* NULL until it is asked about */
    mffa_network *network;
    char network_key[2 * MFFA_SHA256_HEX + 16];
    mffa_model *model;
    char model_sha256[MFFA_SHA256_HEX];
    known_hash hashes[HASHES]; /* overwritten in turn */
    unsigned next_hash;
};

mffa_code mffa_engine_open(const mffa_config *config, mffa_engine **out, mffa_err *err) {
    mffa_engine *e = calloc(1, sizeof *e);
    if (!e) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    e->config = config;
    *out = e;
    return MFFA_OK;
}

bool mffa_engine_device_works(const mffa_engine *e) {
    MFFA_AUTO(mffa_device_close_p) mffa_device *d = NULL;
    const mffa_config *c = e->config;
    return !mffa_device_open(c->device, c->precision, (int)c->threads, &d, NULL) && mffa_device_works(d);
}

static const mffa_device *device_of(mffa_engine *e) { /* NULL: not there */
    const mffa_config *c = e->config;
    if (!e->device && mffa_device_open(c->device, c->precision, (int)c->threads, &e->device, NULL)) e->device = NULL;
    return e->device;
}

mffa_device_memory mffa_engine_device_memory(mffa_engine *e) {
    const mffa_device *d = device_of(e);
    return d ? mffa_device_memory_of(d) : (mffa_device_memory){0};
}

void mffa_engine_device_memory_reset(mffa_engine *e) {
    const mffa_device *d = device_of(e);
    if (d) mffa_device_memory_reset(d);
}

void mffa_engine_forget_model(mffa_engine *e) {
    mffa_model_close(MFFA_TAKE(e->model));
    e->model_sha256[0] = '\0';
}

void mffa_engine_cool(mffa_engine *e) {
    mffa_network_close(MFFA_TAKE(e->network));
    e->network_key[0] = '\0';
    mffa_engine_forget_model(e);
}

void mffa_engine_close(mffa_engine *e) {
    if (!e) return;
    mffa_engine_cool(e);
    mffa_device_close(e->device);
    for (int i = 0; i < HASHES; i++) {
        free(e->hashes[i].path);
        free(e->hashes[i].etag);
    }
    free(e);
}

const mffa_config *mffa_engine_config(const mffa_engine *e) { return e->config; }

mffa_network_options mffa_engine_options(const mffa_engine *e) {
    const mffa_config *c = e->config;
    return (mffa_network_options){.device = c->device, .precision = c->precision, .threads = (int)c->threads, .batch = (int)c->batch};
}

mffa_code mffa_engine_network(mffa_engine *e, const mffa_pretrained_file *backbone, const mffa_pretrained_file *transformer, int blocks,
                              mffa_network **out, mffa_err *err) {
    char key[sizeof e->network_key];
    bool with = transformer && blocks > 0;
    snprintf(key, sizeof key, "%s %s %d", backbone->sha256, with ? transformer->sha256 : "", blocks);
    if (e->network && strcmp(key, e->network_key) == 0) return *out = e->network, MFFA_OK;
    mffa_network_close(MFFA_TAKE(e->network)); /* two at once may not fit */
    mffa_network_options options = mffa_engine_options(e);
    mffa_network_files files = {.backbone = backbone->path, .transformer = with ? transformer->path : NULL};
    mffa_code rc = mffa_network_open(&files, blocks, &options, &e->network, err);
    if (rc) return rc;
    memcpy(e->network_key, key, sizeof key);
    *out = e->network;
    return MFFA_OK;
}

mffa_code mffa_engine_model(mffa_engine *e, const char *path, const char *sha256, const mffa_model **out, mffa_err *err) {
    if (e->model && strcmp(sha256, e->model_sha256) == 0) return *out = e->model, MFFA_OK;
    mffa_model_close(MFFA_TAKE(e->model));
    mffa_code rc = mffa_model_open(path, &e->model, err);
    if (rc) return rc;
    snprintf(e->model_sha256, sizeof e->model_sha256, "%s", sha256);
    *out = e->model;
    return MFFA_OK;
}

mffa_code mffa_engine_sha256(mffa_engine *e, const char *path, const char *etag, char out[MFFA_SHA256_HEX], mffa_err *err) {
    for (int i = 0; i < HASHES; i++) {
        const known_hash *h = &e->hashes[i];
        if (h->path && strcmp(h->path, path) == 0 && strcmp(h->etag, etag) == 0) return memcpy(out, h->sha256, MFFA_SHA256_HEX), MFFA_OK;
    }
    mffa_code rc = mffa_sha256_file(path, out, err);
    if (rc) return rc;
    known_hash *h = &e->hashes[e->next_hash++ % HASHES];
    free(h->path);
    free(h->etag);
    h->path = strdup(path), h->etag = strdup(etag);
    memcpy(h->sha256, out, MFFA_SHA256_HEX);
    if (h->path && h->etag) return MFFA_OK;
    free(MFFA_TAKE(h->path));
    free(MFFA_TAKE(h->etag));
    return mffa_fail(err, MFFA_ENOMEM, "out of memory");
}

int64_t mffa_engine_memory_bytes(const mffa_engine *e) {
    return e->config->memory_bytes ? e->config->memory_bytes : mffa_memory_limit_bytes();
}
