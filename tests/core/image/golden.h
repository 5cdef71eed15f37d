/* Reading the committed references of this folder's tests (tests/golden/make_image.py). */
#ifndef MFFA_TESTS_CORE_IMAGE_GOLDEN_H
#define MFFA_TESTS_CORE_IMAGE_GOLDEN_H

#include "core/image/image.h"
#include "core/nn/safetensors.h"
#include "tests/support/test.h"

static const mffa_limits plenty = {1 << 28, 1 << 26};

static inline void read_golden(const char *name, mffa_buf *out) {
    char path[512];
    mffa_err err = {0};
    snprintf(path, sizeof path, MFFA_TEST_GOLDEN "/image/%s", name);
    assert_ok(mffa_buf_read_file(out, path, 1 << 20, &err));
}

/* A U8 tensor [h, w] or [h, w, 3] as an image. */
static inline void golden_image(const mffa_st_tensor *t, mffa_image *out) {
    mffa_err err = {0};
    assert_non_null(t);
    assert_int_equal(t->dtype, MFFA_U8);
    assert_ok(mffa_image_init(out, (int)t->shape[1], (int)t->shape[0], t->rank == 3 ? 3 : 1, &err));
    memcpy(out->pixels, t->data, t->bytes);
}

/* The largest difference of two float arrays; a NaN counts as infinite. */
static inline double largest_difference(const float *a, const float *b, size_t n) {
    double most = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - (double)b[i];
        if (!(d >= -most && d <= most)) most = d < 0 ? -d : d > 0 ? d : 1e300;
    }
    return most;
}

#endif
