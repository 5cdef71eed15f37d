#include "core/mffa/gaussian_device.h"

#include "core/base/buf.h"
#include "core/mffa/kernels.h"

static const int64_t unpacked_bytes = INT64_C(256) << 20;

static int64_t positions_at_once(int64_t channels) {
    int64_t n = unpacked_bytes / (4 * channels * channels);
    return n < 1 ? 1 : n;
}

/* I64 [d d], places of a packed lower triangle's entries; above the diagonal the place of the mirrored entry. */
static mffa_tensor *places(mffa_scope *s, int64_t d) {
    MFFA_AUTO(mffa_free_p) int64_t *place = mffa_alloc_array((size_t)(d * d), sizeof *place);
    if (!place) return mffa_scope_fail(s, MFFA_ENOMEM, "out of memory for %lld channels", (long long)d), NULL;
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++) place[i * d + j] = place[j * d + i] = mffa_packed(i) + j;
    int64_t count = d * d;
    return mffa_tensor_from(s, MFFA_I64, place, 1, &count);
}

static mffa_tensor *lower_ones(mffa_scope *s, int64_t d) {
    MFFA_AUTO(mffa_free_p) float *one = calloc((size_t)(d * d), sizeof *one);
    if (!one) return mffa_scope_fail(s, MFFA_ENOMEM, "out of memory for %lld channels", (long long)d), NULL;
    for (int64_t i = 0; i < d; i++)
        for (int64_t j = 0; j <= i; j++) one[i * d + j] = 1;
    return mffa_tensor_from(s, MFFA_F32, one, 2, (int64_t[]){d, d});
}

mffa_gaussian_places mffa_gaussian_places_of(mffa_scope *s, int64_t channels) {
    return (mffa_gaussian_places){.place = places(s, channels), .lower = lower_ones(s, channels)};
}

mffa_gaussian_tensors mffa_gaussian_upload(mffa_scope *s, const mffa_gaussian *g) {
    int64_t p = g->positions, d = g->channels;
    return (mffa_gaussian_tensors){.mean = mffa_tensor_from(s, MFFA_F32, g->mean, 2, (int64_t[]){p, d}),
                                   .scale = mffa_tensor_from(s, MFFA_F32, g->scale, 3, (int64_t[]){p, d, 1}),
                                   .factor = mffa_tensor_from(s, MFFA_I16, g->factor, 2, (int64_t[]){p, mffa_packed(d)}),
                                   .places = mffa_gaussian_places_of(s, d)};
}

static int64_t places_bytes(int64_t d) { return d * d * 12; }

int64_t mffa_gaussian_tensors_bytes(int64_t positions, int64_t channels) {
    return positions * (8 * channels + 2 * mffa_packed(channels)) + places_bytes(channels);
}

int64_t mffa_gaussian_distance_on_bytes(int64_t n, int64_t positions, int64_t channels) {
    int64_t d = channels, step = positions_at_once(d) < positions ? positions_at_once(d) : positions;
    return 4 * n * positions + step * (6 * d * d + 4 * 4 * n * d); /* W's integers and W; z twice, y and its square's sum */
}

/* W of positions from..from + count - 1: [count, d, d]. */
static mffa_tensor *unpack(mffa_scope *s, const mffa_gaussian_tensors *g, int64_t from, int64_t count) {
    int64_t d = mffa_tensor_size(g->places.lower, 0);
    mffa_tensor *packed = mffa_take(s, mffa_narrow(s, g->factor, 0, from, count), 1, g->places.place);
    mffa_tensor *w = mffa_reshape(s, mffa_cast(s, packed, MFFA_F32), 3, (int64_t[]){count, d, d});
    mffa_drop(packed);
    return mffa_mul_in(s, mffa_mul_in(s, w, g->places.lower), mffa_narrow(s, g->scale, 0, from, count));
}

mffa_tensor *mffa_gaussian_distance_on(mffa_scope *s, const mffa_gaussian_tensors *g, mffa_tensor *x) {
    int64_t n = mffa_tensor_size(x, 0), p = mffa_tensor_size(x, 1), d = mffa_tensor_size(x, 2), step = positions_at_once(d ? d : 1);
    mffa_tensor *out = mffa_tensor_from(s, MFFA_F32, NULL, 2, (int64_t[]){n, p});
    for (int64_t from = 0; from < p && mffa_scope_ok(s); from += step) {
        int64_t count = p - from < step ? p - from : step;
        mffa_scope *in = mffa_scope_nest(s);
        mffa_tensor *z = mffa_sub(in, mffa_narrow(in, x, 1, from, count), mffa_narrow(in, g->mean, 0, from, count));
        z = mffa_contiguous(in, mffa_permute(in, z, 3, (int[]){1, 0, 2})); /* [count, n, d] */
        mffa_tensor *y = mffa_tensor_from(in, MFFA_F32, NULL, 3, (int64_t[]){count, n, d});
        mffa_gemm(in, y, z, unpack(in, g, from, count), (mffa_gemm_how){.transpose_b = true, .alpha = 1});
        mffa_tensor *length = mffa_sqrt(in, mffa_sum(in, mffa_mul_in(in, y, y), 2));
        mffa_copy_into(in, out, 1, from, mffa_permute(in, length, 2, (int[]){1, 0}));
        mffa_scope_close(in);
    }
    return out;
}
