#include "worker/pictures.h"

#include <string.h>
#include "core/image/decode.h"
#include "core/image/resize.h"

/* A picture that is bad stays bad; anything else may be better the next time. */
static mffa_code judge(mffa_job *j, const char *key, mffa_code rc, const mffa_err *why, mffa_err *err) {
    if (rc != MFFA_EINVAL || !j->skip_bad) {
        if (err) *err = *why;
        return mffa_wrap(err, rc, "\"%s/%s\"", mffa_store_url(j->dataset), key);
    }
    mffa_code noted = mffa_skipped_add(&j->skipped, key, why->msg, err);
    return noted ? noted : mffa_fail(err, MFFA_ESKIP, "\"%s\" is left out: %s", key, why->msg);
}

typedef mffa_code decoder(mffa_span file, const mffa_limits *limits, mffa_image *out, mffa_err *err);

static mffa_code fetch(mffa_job *j, const char *key, decoder *decode, mffa_image *out, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf file = {0};
    mffa_limits limits = {.max_bytes = j->config->max_image_bytes, .max_pixels = j->config->max_image_pixels};
    mffa_code rc = mffa_store_get(j->dataset, key, limits.max_bytes, &file, err);
    if (rc == MFFA_EINVAL) return mffa_wrap(err, rc, "cannot be read (MFFA_MAX_IMAGE_BYTES is %lld)", (long long)limits.max_bytes);
    return rc ? rc : decode(mffa_buf_span(&file), &limits, out, err);
}

mffa_code mffa_picture_read(mffa_job *j, const char *key, mffa_image *out, mffa_err *err) {
    mffa_err why = {0};
    mffa_code rc = fetch(j, key, mffa_decode_rgb, out, &why);
    return rc ? judge(j, key, rc, &why, err) : MFFA_OK;
}

mffa_code mffa_picture_mask(mffa_job *j, const mffa_sample *sample, const mffa_image *picture, int side, uint8_t *out, mffa_err *err) {
    MFFA_AUTO(mffa_image_done) mffa_image mask = {0};
    mffa_err why = {0};
    mffa_code rc = fetch(j, sample->mask_key, mffa_decode_mask, &mask, &why);
    if (!rc && (mask.width_px != picture->width_px || mask.height_px != picture->height_px))
        rc = mffa_fail(&why, MFFA_EINVAL, "the mask has %d x %d pixels, its picture \"%s\" has %d x %d: give a mask of the picture's size",
                       mask.width_px, mask.height_px, sample->key, picture->width_px, picture->height_px);
    if (rc) return judge(j, sample->mask_key, rc, &why, err);
    mffa_resize_mask(&mask, side, out);
    return MFFA_OK;
}

static mffa_code load(void *ctx, int64_t i, int side, float *out, mffa_err *err) {
    mffa_training *t = ctx;
    const char *key = mffa_dataset_at(t->set, (size_t)i)->key;
    if (t->bad[i]) return mffa_fail(err, MFFA_ESKIP, "\"%s\" is left out", key);
    MFFA_AUTO(mffa_image_done) mffa_image picture = {0};
    mffa_code rc = mffa_picture_read(t->job, key, &picture, err);
    if (rc == MFFA_ESKIP) t->bad[i] = true;
    return rc ? rc : mffa_resize_rgb(&picture, side, out, err);
}

mffa_code mffa_training_init(mffa_training *t, mffa_job *j, const mffa_dataset *set, mffa_err *err) {
    bool *bad = calloc(mffa_dataset_count(set) + 1, sizeof *bad);
    if (!bad) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    *t = (mffa_training){.job = j, .set = set, .bad = bad};
    return MFFA_OK;
}

void mffa_training_done(mffa_training *t) { free(MFFA_TAKE(t->bad)); }

mffa_source mffa_training_source(mffa_training *t) {
    return (mffa_source){.count = (int64_t)mffa_dataset_count(t->set), .ctx = t, .load = load};
}
