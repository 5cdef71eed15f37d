#include "core/mffa/model_difference.h"

#include <math.h>
#include "core/mffa/coreset.h"
#include "core/mffa/kernels.h"
#include "core/mffa/model_parts.h"

typedef struct extent { /* of a part, while it is gone through */
    int64_t differing;
    double difference, most;
} extent;

static void compare(extent *e, double stored, double again) {
    if (stored != again) {
        e->differing++;
        e->difference = isfinite(stored) && isfinite(again) ? fmax(e->difference, fabs(again - stored)) : INFINITY;
    }
    e->most = fmax(e->most, fabs(stored));
}

static mffa_model_part part_of(const char *name, bool chosen, const extent *e) {
    double relative = e->difference > 0 && e->most > 0 ? e->difference / e->most : e->difference > 0 ? INFINITY : 0;
    return (mffa_model_part){.name = name, .chosen = chosen, .differing = e->differing, .largest = chosen ? e->differing > 0 : relative};
}

static mffa_model_part chosen_i64(const char *name, const int64_t *stored, const int64_t *again, int64_t n) {
    extent e = {0};
    for (int64_t i = 0; i < n; i++) e.differing += stored[i] != again[i];
    return part_of(name, true, &e);
}

static mffa_model_part chosen_i32(const char *name, const int32_t *stored, const int32_t *again, int64_t n) {
    extent e = {0};
    for (int64_t i = 0; i < n; i++) e.differing += stored[i] != again[i];
    return part_of(name, true, &e);
}

static mffa_model_part floats(const char *name, const float *stored, const float *again, int64_t n) {
    extent e = {0};
    for (int64_t i = 0; i < n; i++) compare(&e, (double)stored[i], (double)again[i]);
    return part_of(name, false, &e);
}

static mffa_model_part factors(const mffa_gaussian *stored, const mffa_gaussian *again) {
    extent e = {0};
    const int16_t *a = stored->factor, *b = again->factor;
    for (int64_t p = 0; p < stored->positions; p++)
        for (int64_t i = 0; i < stored->channels; i++) {
            double x = (double)stored->scale[p * stored->channels + i], y = (double)again->scale[p * stored->channels + i];
            for (int64_t j = 0; j <= i; j++) compare(&e, x * *a++, y * *b++);
        }
    return part_of("gaussian.factor", false, &e);
}

static mffa_code check(const mffa_model *a, const mffa_model *b, mffa_err *err) {
    if (a->train_images != b->train_images)
        return mffa_fail(err, MFFA_EINVAL,
                         "the model was fitted with %lld pictures, this data set gives %lld: name the one that it was fitted with",
                         (long long)a->train_images, (long long)b->train_images);
    if (a->bank.rows != b->bank.rows)
        return mffa_fail(err, MFFA_EINVAL, "the model's memory bank has %lld rows, computed again it has %lld", (long long)a->bank.rows,
                         (long long)b->bank.rows);
    if (a->c2 != b->c2 || a->c3 != b->c3 || a->width != b->width || a->gaussian.channels != b->gaussian.channels ||
        a->gaussian.positions != b->gaussian.positions)
        return mffa_fail(err, MFFA_EINVAL, "the two models do not have the same channels");
    return MFFA_OK;
}

mffa_code mffa_model_compare(const mffa_model *stored, const mffa_model *again, mffa_model_difference *out, mffa_err *err) {
    const mffa_model *a = stored, *b = again;
    mffa_code rc = check(a, b, err);
    if (rc) return rc;
    int64_t width = a->c2 + a->c3, features = a->gaussian.positions * a->gaussian.channels;
    *out = (mffa_model_difference){.parts = {
                                       chosen_i64("lgffp.layer3_channels", a->layer3_channels, b->layer3_channels, a->width),
                                       chosen_i64("gaussian.channels", a->gaussian_channels, b->gaussian_channels, a->gaussian.channels),
                                       chosen_i32("memory_bank.origin", a->bank.origin, b->bank.origin, 2 * a->bank.rows),
                                       floats("memory_bank.projection", a->projection, b->projection, MFFA_CORESET_WIDTH * width),
                                       floats("memory_bank.features", a->bank.features, b->bank.features, a->bank.rows * width),
                                       floats("gaussian.mean", a->gaussian.mean, b->gaussian.mean, features),
                                       factors(&a->gaussian, &b->gaussian),
                                   }};
    for (int i = 0; i < MFFA_MODEL_PARTS; i++) {
        out->differing += out->parts[i].differing;
        if (!(out->parts[i].largest > out->largest)) continue;
        out->largest = out->parts[i].largest;
        out->where = out->parts[i].name;
    }
    return MFFA_OK;
}
