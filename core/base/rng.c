#include "core/base/rng.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include "core/base/buf.h"

static void philox(uint32_t c[4], uint64_t seed) {
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t n0 = (uint32_t)(b >> 32) ^ c[1] ^ k0, n2 = (uint32_t)(a >> 32) ^ c[3] ^ k1;
        c[1] = (uint32_t)b, c[3] = (uint32_t)a, c[0] = n0, c[2] = n2;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
}

void mffa_rng_init(mffa_rng *r, uint64_t seed, uint64_t stream) { *r = (mffa_rng){.seed = seed, .stream = stream, .used = 4}; }

uint32_t mffa_rng_u32(mffa_rng *r) {
    if (r->used == 4) {
        uint32_t c[4] = {(uint32_t)r->index, (uint32_t)(r->index >> 32), (uint32_t)r->stream, (uint32_t)(r->stream >> 32)};
        philox(c, r->seed);
        memcpy(r->word, c, sizeof c);
        r->index++;
        r->used = 0;
    }
    return r->word[r->used++];
}

uint64_t mffa_rng_below(mffa_rng *r, uint64_t n) {
    const uint64_t whole = UINT64_C(1) << 32;
    uint64_t limit = whole - whole % n, x;
    do x = mffa_rng_u32(r);
    while (x >= limit);
    return x % n;
}

double mffa_rng_unit(mffa_rng *r) {
    uint64_t low = mffa_rng_u32(r), high = mffa_rng_u32(r);
    return (double)((high << 32 | low) >> 11) * 0x1p-53;
}

double mffa_rng_uniform(mffa_rng *r, double low, double high) { return low + (high - low) * mffa_rng_unit(r); }

double mffa_rng_normal(mffa_rng *r) {
    double u1 = mffa_rng_unit(r), u2 = mffa_rng_unit(r);
    return sqrt(-2.0 * log(1.0 - u1)) * cos(6.283185307179586476925 * u2);
}

void mffa_rng_shuffle(mffa_rng *r, int64_t *items, size_t n) {
    for (size_t i = n; i-- > 1;) {
        size_t j = (size_t)mffa_rng_below(r, i + 1);
        int64_t t = items[i];
        items[i] = items[j];
        items[j] = t;
    }
}

static int ascending(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

mffa_code mffa_rng_choose(mffa_rng *r, int64_t n, int64_t k, int64_t *out, mffa_err *err) {
    if (n < 1 || k < 0 || k > n || n > INT64_C(1) << 32)
        return mffa_fail(err, MFFA_EINVAL, "cannot choose %lld of %lld without replacement", (long long)k, (long long)n);
    MFFA_AUTO(mffa_free_p) int64_t *all = mffa_alloc_array((size_t)n, sizeof *all);
    if (!all) return mffa_fail(err, MFFA_ENOMEM, "out of memory for %lld indices", (long long)n);
    for (int64_t i = 0; i < n; i++) all[i] = i;
    mffa_rng_shuffle(r, all, (size_t)n);
    memcpy(out, all, (size_t)k * sizeof *out);
    qsort(out, (size_t)k, sizeof *out, ascending);
    return MFFA_OK;
}

mffa_code mffa_random_bytes(void *out, size_t len, mffa_err *err) {
    for (size_t at = 0; at < len;) {
        ssize_t n = getrandom((char *)out + at, len - at, 0);
        if (n < 0 && errno != EINTR) return mffa_fail(err, MFFA_EIO, "could not read random bytes: %s", strerror(errno));
        if (n > 0) at += (size_t)n;
    }
    return MFFA_OK;
}

mffa_code mffa_random_hex(char *out, size_t bytes, mffa_err *err) {
    out[0] = '\0';
    for (size_t i = 0; i < bytes; i++) {
        unsigned char b;
        mffa_code rc = mffa_random_bytes(&b, 1, err);
        if (rc) return rc;
        snprintf(out + 2 * i, 3, "%02x", b);
    }
    return MFFA_OK;
}
