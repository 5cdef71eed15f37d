#include "core/nn/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct mffa_weights {
    char *path;
    mffa_safetensors *file;
    mffa_weights_info info;
};

mffa_code mffa_weights_open(const char *path, mffa_weights **out, mffa_err *err) {
    MFFA_AUTO(mffa_weights_close_p) mffa_weights *w = calloc(1, sizeof *w);
    if (w) w->path = strdup(path);
    if (!w || !w->path) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_code rc = mffa_safetensors_open(path, &w->file, err);
    if (!rc) rc = mffa_weights_recognise(w->file, path, &w->info, err);
    if (rc) return rc;
    *out = MFFA_TAKE(w);
    return MFFA_OK;
}

void mffa_weights_close(mffa_weights *w) {
    if (!w) return;
    mffa_safetensors_close(w->file);
    free(w->path);
    free(w);
}

const mffa_weights_info *mffa_weights_describe(const mffa_weights *w) { return &w->info; }
const mffa_safetensors *mffa_weights_file(const mffa_weights *w) { return w->file; }

mffa_code mffa_weights_expect(const mffa_weights *w, mffa_weights_kind kind, mffa_err *err) {
    if (w->info.kind == kind) return MFFA_OK;
    return mffa_fail(err, MFFA_EINVAL, "\"%s\" holds a %s (%s), a %s is wanted", w->path,
                     w->info.kind == MFFA_WEIGHTS_BACKBONE ? "backbone" : "transformer", w->info.name,
                     kind == MFFA_WEIGHTS_BACKBONE ? "backbone" : "transformer");
}

mffa_tensor *mffa_weights_get(mffa_scope *s, const mffa_weights *w, const char *name, int rank, const int64_t *shape) {
    if (!mffa_scope_ok(s)) return NULL;
    char full[160], found[MFFA_SHAPE_TEXT], expected[MFFA_SHAPE_TEXT];
    snprintf(full, sizeof full, "%s%s", w->info.prefix, name);
    const mffa_st_tensor *t = mffa_safetensors_find(w->file, full);
    mffa_shape_text(rank, shape, expected);
    if (!t) {
        mffa_scope_fail(s, MFFA_EINVAL, "\"%s\" has no tensor \"%s\" (expected with shape %s)", w->path, full, expected);
        return NULL;
    }
    if (t->rank != rank || memcmp(t->shape, shape, (size_t)rank * sizeof *shape) != 0) {
        mffa_scope_fail(s, MFFA_EINVAL, "tensor \"%s\" in \"%s\" has shape %s, expected %s", full, w->path,
                        mffa_shape_text(t->rank, t->shape, found), expected);
        return NULL;
    }
    if (t->dtype != MFFA_F32 && t->dtype != MFFA_F16 && t->dtype != MFFA_BF16 && t->dtype != MFFA_F64) {
        mffa_scope_fail(s, MFFA_EINVAL, "tensor \"%s\" in \"%s\" has type %s: expected F32, F16, BF16 or F64", full, w->path,
                        mffa_dtype_name(t->dtype));
        return NULL;
    }
    mffa_tensor *raw = mffa_tensor_from(s, t->dtype, t->data, rank, shape);
    mffa_safetensors_release(w->file, t);
    if (t->dtype == MFFA_F32) return raw;
    mffa_tensor *wide = mffa_cast(s, raw, MFFA_F32);
    mffa_drop(raw);
    return wide;
}
