#include "core/base/crc.h"

#include <pthread.h>
#include <string.h>

/* A register holds a polynomial over GF(2) of less than `width` terms, the constant one in its highest bit: the next power is a shift to
 * the right. */
typedef struct row {
    uint64_t poly;
    int width;
    uint64_t table[8][256]; /* [k][b]: byte b with k bytes of zero behind it */
    uint64_t by_512[2], by_128[2]; /* x^(n+63), x^(n-1): what moves 16 bytes over n bits (below) */
} row;

static row rows[MFFA_CRC_COUNT] = {
    [MFFA_CRC32] = {.poly = 0xedb88320, .width = 32},
    [MFFA_CRC32C] = {.poly = 0x82f63b78, .width = 32},
    [MFFA_CRC64NVME] = {.poly = 0x9a6c9329ac4bc9b5, .width = 64},
};

int mffa_crc_bytes(mffa_crc kind) { return rows[kind].width / 8; }

static uint64_t times_x(const row *r, uint64_t a) { return a >> 1 ^ (a & 1 ? r->poly : 0); }

static uint64_t one(const row *r) { return 1ULL << (r->width - 1); }

static uint64_t multiply(const row *r, uint64_t a, uint64_t b) {
    uint64_t product = 0;
    for (uint64_t term = one(r); term; term >>= 1, b = times_x(r, b))
        if (a & term) product ^= b;
    return product;
}

static uint64_t power_of_x(const row *r, uint64_t n) {
    uint64_t power = one(r), square = times_x(r, one(r));
    for (; n; n >>= 1, square = multiply(r, square, square))
        if (n & 1) power = multiply(r, power, square);
    return power;
}

static void fill(row *r) {
    for (int b = 0; b < 256; b++) {
        uint64_t value = (uint64_t)b;
        for (int i = 0; i < 8; i++) value = times_x(r, value);
        r->table[0][b] = value;
    }
    for (int k = 1; k < 8; k++)
        for (int b = 0; b < 256; b++) r->table[k][b] = r->table[k - 1][b] >> 8 ^ r->table[0][r->table[k - 1][b] & 0xff];
    int up = 64 - r->width; /* to the highest bit of 64 */
    r->by_512[0] = power_of_x(r, 512 + 63) << up, r->by_512[1] = power_of_x(r, 512 - 1) << up;
    r->by_128[0] = power_of_x(r, 128 + 63) << up, r->by_128[1] = power_of_x(r, 128 - 1) << up;
}

static void fill_all(void) {
    for (int i = 0; i < MFFA_CRC_COUNT; i++) fill(&rows[i]);
}

/* Eight bytes a step, each looked up in a table of its own. */
static uint64_t by_tables(const row *r, uint64_t crc, const unsigned char *at, size_t len) {
    for (; len >= 8; at += 8, len -= 8) {
        uint64_t word;
        memcpy(&word, at, 8); /* little endian, as x86-64 is */
        crc ^= word;
        word = crc, crc = 0;
        for (int k = 7; k >= 0; k--, word >>= 8) crc ^= r->table[k][word & 0xff];
    }
    for (; len; at++, len--) crc = crc >> 8 ^ r->table[0][(crc ^ *at) & 0xff];
    return crc;
}

#ifdef __x86_64__
#include <immintrin.h>

/* 16 bytes, moved over the bits that `by` is for, on top of those that lie there. A product of two reflected words comes out one bit too
 * high, hence the powers' odd numbers. */
__attribute__((target("pclmul,sse2"))) static __m128i move(__m128i a, __m128i by, __m128i onto) {
    return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(a, by, 0x00), _mm_clmulepi64_si128(a, by, 0x11)), onto);
}

/* 64 bytes a step in four lanes, by carry-less multiplication; what is left of it, 16 bytes of the same remainder, ends in the tables.
 * Source: Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction", Intel 2009. */
__attribute__((target("pclmul,sse2"))) static uint64_t by_folding(const row *r, uint64_t crc, const unsigned char *at, size_t len) {
    const __m128i far = _mm_loadu_si128((const __m128i *)r->by_512), near = _mm_loadu_si128((const __m128i *)r->by_128);
    const __m128i *in = (const __m128i *)at;
    __m128i lane[4];
    unsigned char rest[16];
    for (int i = 0; i < 4; i++) lane[i] = _mm_loadu_si128(in + i);
    lane[0] = _mm_xor_si128(lane[0], _mm_cvtsi64_si128((long long)crc));
    for (in += 4, len -= 64; len >= 64; in += 4, len -= 64)
        for (int i = 0; i < 4; i++) lane[i] = move(lane[i], far, _mm_loadu_si128(in + i));
    for (int i = 1; i < 4; i++) lane[i] = move(lane[i - 1], near, lane[i]);
    _mm_storeu_si128((__m128i *)rest, lane[3]);
    return by_tables(r, by_tables(r, 0, rest, sizeof rest), (const unsigned char *)in, len);
}

static uint64_t fastest(const row *r, uint64_t crc, const unsigned char *at, size_t len) {
    return len >= 128 && __builtin_cpu_supports("pclmul") ? by_folding(r, crc, at, len) : by_tables(r, crc, at, len);
}
#else
static uint64_t fastest(const row *r, uint64_t crc, const unsigned char *at, size_t len) { return by_tables(r, crc, at, len); }
#endif

static const row *ready(mffa_crc kind) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, fill_all);
    return &rows[kind];
}

uint64_t mffa_crc_add(mffa_crc kind, uint64_t so_far, const void *bytes, size_t len) {
    const row *r = ready(kind);
    uint64_t all = one(r) | (one(r) - 1);
    return fastest(r, so_far ^ all, bytes, len) ^ all;
}

uint64_t mffa_crc_join(mffa_crc kind, uint64_t first, uint64_t second, int64_t second_bytes) {
    const row *r = ready(kind);
    return multiply(r, first, power_of_x(r, 8 * (uint64_t)second_bytes)) ^ second;
}
