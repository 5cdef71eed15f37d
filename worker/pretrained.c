#include "worker/pretrained.h"

#include <string.h>
#include <strings.h>
#include "core/nn/weights_kind.h"

void mffa_pretrained_file_done(mffa_pretrained_file *f) { free(MFFA_TAKE(f->path)); }

void mffa_pretrained_done(mffa_pretrained *w) {
    mffa_pretrained_file_done(&w->backbone);
    mffa_pretrained_file_done(&w->transformer);
    mffa_store_close(w->store);
    *w = (mffa_pretrained){0};
}

typedef struct key_list {
    mffa_buf text; /* NUL-terminated, one after the other */
} key_list;

static mffa_code note_file(void *ctx, const mffa_object *o, mffa_err *err) {
    static const char ending[] = ".safetensors";
    key_list *l = ctx;
    size_t n = strlen(o->key), e = strlen(ending);
    if (n <= e || strcasecmp(o->key + n - e, ending) != 0 || strchr(o->key, '/')) return MFFA_OK;
    mffa_buf_put(&l->text, o->key, n + 1);
    return mffa_buf_check(&l->text, err);
}

static mffa_code open_folder(const mffa_job *j, mffa_pretrained *w, key_list *l, mffa_err *err) {
    const char *url = mffa_job_text(j, "weights", NULL);
    mffa_code rc = url ? mffa_job_allows(j, "weights", url, err) : MFFA_OK;
    if (rc) return rc;
    if (!url) url = j->config->weights;
    if (!url)
        return mffa_fail(err, MFFA_EINVAL,
                         "weights is missing and the worker has no MFFA_WEIGHTS: give weights s3://bucket/prefix or file:///path");
    rc = mffa_store_open(url, &w->store, err);
    return rc ? rc : mffa_store_list(w->store, "", note_file, l, err);
}

mffa_code mffa_pretrained_take(mffa_engine *e, mffa_store *s, const char *key, mffa_pretrained_file *file, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) char *etag = NULL;
    const char *name = strrchr(key, '/') ? strrchr(key, '/') + 1 : key;
    int64_t bytes = 0;
    mffa_code rc = mffa_store_head(s, key, &bytes, &etag, err);
    if (!rc) rc = mffa_store_local(s, key, &file->path, err);
    if (!rc) rc = mffa_engine_sha256(e, file->path, etag, file->sha256, err);
    snprintf(file->name, sizeof file->name, "%s", name);
    return rc;
}

static mffa_code kind_of(mffa_store *s, const char *key, mffa_weights_kind *kind, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) char *path = NULL;
    mffa_code rc = mffa_store_local(s, key, &path, err);
    return rc ? rc : mffa_weights_kind_of(path, kind, err);
}

typedef struct choice { const char *backbone, *transformer; } choice;

static mffa_code choose(mffa_store *s, const key_list *l, choice *c, mffa_err *err) {
    for (size_t at = 0; at < l->text.len; at += strlen(l->text.ptr + at) + 1) {
        const char *key = l->text.ptr + at;
        mffa_weights_kind kind = MFFA_WEIGHTS_OTHER;
        mffa_code rc = kind_of(s, key, &kind, err);
        if (rc) return rc;
        const char **slot = kind == MFFA_WEIGHTS_BACKBONE ? &c->backbone : kind == MFFA_WEIGHTS_TRANSFORMER ? &c->transformer : NULL;
        if (slot && *slot)
            return mffa_fail(err, MFFA_EINVAL, "there are two %ss, \"%s\" and \"%s\": leave one, or give each its own folder",
                             slot == &c->backbone ? "backbone" : "transformer", *slot, key);
        if (slot) *slot = key;
    }
    return MFFA_OK;
}

static mffa_code take_chosen(const mffa_job *j, const choice *c, int need, mffa_pretrained *out, mffa_err *err) {
    if ((need & MFFA_NEED_BACKBONE) && !c->backbone)
        return mffa_fail(err, MFFA_ENOTFOUND, "there is no backbone: put a safetensors file with torchvision's ResNet names there");
    if ((need & MFFA_NEED_TRANSFORMER) && !c->transformer)
        return mffa_fail(err, MFFA_ENOTFOUND,
                         "there is no transformer: put a safetensors file with timm's CaiT names there, or set blocks=0");
    mffa_code rc = need & MFFA_NEED_BACKBONE ? mffa_pretrained_take(j->engine, out->store, c->backbone, &out->backbone, err) : MFFA_OK;
    if (!rc && (need & MFFA_NEED_TRANSFORMER)) rc = mffa_pretrained_take(j->engine, out->store, c->transformer, &out->transformer, err);
    return rc;
}

static mffa_code in_folder(const mffa_pretrained *w, mffa_code rc, mffa_err *err) {
    return rc && w->store ? mffa_wrap(err, rc, "weights in \"%s\"", mffa_store_url(w->store)) : rc;
}

mffa_code mffa_pretrained_recognised(const mffa_job *j, int need, mffa_pretrained *out, mffa_err *err) {
    if (need == 0) return MFFA_OK;
    key_list l = {0};
    choice c = {0};
    mffa_code rc = open_folder(j, out, &l, err);
    if (!rc) rc = choose(out->store, &l, &c, err);
    if (!rc) rc = take_chosen(j, &c, need, out, err);
    mffa_buf_done(&l.text);
    return in_folder(out, rc, err);
}

static mffa_code find_recorded(const mffa_job *j, const key_list *l, const char *what, const char *name, const char *sha256,
                               mffa_pretrained *w, mffa_pretrained_file *out, mffa_err *err) {
    if (!*sha256 || out->path) return MFFA_OK;
    MFFA_AUTO(mffa_buf_done) mffa_buf others = {0};
    for (size_t at = 0; at < l->text.len; at += strlen(l->text.ptr + at) + 1) {
        mffa_pretrained_file file = {0};
        mffa_code rc = mffa_pretrained_take(j->engine, w->store, l->text.ptr + at, &file, err);
        if (!rc && strcmp(file.sha256, sha256) == 0) return *out = file, MFFA_OK;
        mffa_buf_putf(&others, "%s\"%s\" (%.12s)", others.len ? ", " : "", file.name, file.sha256);
        mffa_pretrained_file_done(&file);
        if (rc) return rc;
    }
    return mffa_fail(err, MFFA_EINVAL, "the model was fitted with the %s \"%s\" (sha256 %.12s): found %.240s instead", what, name, sha256,
                     others.len ? mffa_buf_text(&others) : "no safetensors file");
}

mffa_code mffa_pretrained_recorded(const mffa_job *j, const mffa_provenance *from, mffa_pretrained *out, mffa_err *err) {
    if (out->backbone.path && !*from->transformer_sha256) return MFFA_OK;
    key_list l = {0};
    mffa_code rc = open_folder(j, out, &l, err);
    if (!rc) rc = find_recorded(j, &l, "backbone", from->backbone_name, from->backbone_sha256, out, &out->backbone, err);
    if (!rc) rc = find_recorded(j, &l, "transformer", from->transformer_name, from->transformer_sha256, out, &out->transformer, err);
    mffa_buf_done(&l.text);
    return in_folder(out, rc, err);
}
