#include "storage/checksum.h"

#include <string.h>
#include <strings.h>

static const struct { const char *name, *algorithm, *header; bool is_crc; mffa_crc crc; } kinds[MFFA_SUM_COUNT] = {
    [MFFA_SUM_NONE] = {"none", "", "", false, 0},
    [MFFA_SUM_CRC64NVME] = {"crc64nvme", "CRC64NVME", "x-amz-checksum-crc64nvme", true, MFFA_CRC64NVME},
    [MFFA_SUM_CRC32C] = {"crc32c", "CRC32C", "x-amz-checksum-crc32c", true, MFFA_CRC32C},
    [MFFA_SUM_CRC32] = {"crc32", "CRC32", "x-amz-checksum-crc32", true, MFFA_CRC32},
    [MFFA_SUM_SHA256] = {"sha256", "SHA256", "x-amz-checksum-sha256", false, 0},
};

const char *mffa_sum_name(mffa_sum s) { return kinds[s].name; }
const char *mffa_sum_algorithm(mffa_sum s) { return kinds[s].algorithm; }

bool mffa_sum_is_crc(mffa_sum s, mffa_crc *kind) {
    if (kinds[s].is_crc) *kind = kinds[s].crc;
    return kinds[s].is_crc;
}

void mffa_crc_text(mffa_crc kind, uint64_t value, char out[MFFA_CRC_TEXT]) {
    unsigned char bytes[8];
    int n = mffa_crc_bytes(kind);
    for (int i = 0; i < n; i++) bytes[i] = (unsigned char)(value >> 8 * (n - 1 - i));
    mffa_base64((mffa_span){(const char *)bytes, (size_t)n}, out);
}

void mffa_checksum_done(mffa_checksum *c) {
    mffa_sha256_close(c->sha256);
    *c = (mffa_checksum){0};
}

void mffa_checksum_read(const mffa_http_answer *a, mffa_checksum *out) {
    char type[16];
    mffa_checksum_done(out);
    if (strcasecmp(mffa_http_header(a, "x-amz-checksum-type", type, sizeof type), "COMPOSITE") == 0) return;
    for (int k = MFFA_SUM_NONE + 1; k < MFFA_SUM_COUNT; k++) {
        (void)mffa_http_header(a, kinds[k].header, out->want, sizeof out->want);
        if (!*out->want || strchr(out->want, '-')) continue;
        out->kind = (mffa_sum)k;
        return;
    }
}

mffa_code mffa_checksum_add(mffa_checksum *c, mffa_span piece, mffa_err *err) {
    if (c->kind == MFFA_SUM_NONE) return MFFA_OK;
    if (kinds[c->kind].is_crc) {
        c->crc = mffa_crc_add(kinds[c->kind].crc, c->crc, piece.ptr, piece.len);
        return MFFA_OK;
    }
    mffa_code rc = c->sha256 ? MFFA_OK : mffa_sha256_open(&c->sha256, err);
    if (!rc) mffa_sha256_add(c->sha256, piece.ptr, piece.len);
    return rc;
}

bool mffa_checksum_matches(mffa_checksum *c) {
    char hex[MFFA_SHA256_HEX], got[MFFA_SHA256_BASE64];
    if (kinds[c->kind].is_crc) return mffa_checksum_is(c, c->crc);
    if (!c->sha256) return true;
    mffa_sha256_hex(c->sha256, hex);
    return mffa_sha256_base64(hex, got, NULL) == MFFA_OK && strcmp(got, c->want) == 0;
}

bool mffa_checksum_is(const mffa_checksum *c, uint64_t crc) {
    char got[MFFA_CRC_TEXT];
    mffa_crc_text(kinds[c->kind].crc, crc, got);
    return strcmp(got, c->want) == 0;
}
