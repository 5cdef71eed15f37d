#include "core/base/digest.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

struct mffa_sha256 {
    EVP_MD_CTX *ctx;
};

mffa_code mffa_sha256_open(mffa_sha256 **out, mffa_err *err) {
    MFFA_AUTO(mffa_sha256_close_p) mffa_sha256 *h = calloc(1, sizeof *h);
    if (h) h->ctx = EVP_MD_CTX_new();
    if (!h || !h->ctx || EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) != 1) return mffa_fail(err, MFFA_ENOMEM, "out of memory for a hash");
    *out = MFFA_TAKE(h);
    return MFFA_OK;
}

void mffa_sha256_add(mffa_sha256 *h, const void *bytes, size_t len) { EVP_DigestUpdate(h->ctx, bytes, len); }

void mffa_sha256_hex(mffa_sha256 *h, char out[MFFA_SHA256_HEX]) {
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    EVP_DigestFinal_ex(h->ctx, md, &n);
    for (unsigned int i = 0; i < n; i++) snprintf(out + (size_t)2 * i, 3, "%02x", md[i]);
}

void mffa_sha256_close(mffa_sha256 *h) {
    if (!h) return;
    EVP_MD_CTX_free(h->ctx);
    free(h);
}

mffa_code mffa_sha256_of(mffa_span bytes, char out[MFFA_SHA256_HEX], mffa_err *err) {
    MFFA_AUTO(mffa_sha256_close_p) mffa_sha256 *h = NULL;
    mffa_code rc = mffa_sha256_open(&h, err);
    if (rc) return rc;
    mffa_sha256_add(h, bytes.ptr, bytes.len);
    mffa_sha256_hex(h, out);
    return MFFA_OK;
}

mffa_code mffa_sha256_file(const char *path, char out[MFFA_SHA256_HEX], mffa_err *err) {
    MFFA_AUTO(mffa_fclose_p) FILE *f = fopen(path, "rbe");
    if (!f) return mffa_fail(err, errno == ENOENT ? MFFA_ENOTFOUND : MFFA_EIO, "cannot open \"%s\": %s", path, strerror(errno));
    MFFA_AUTO(mffa_sha256_close_p) mffa_sha256 *h = NULL;
    mffa_code rc = mffa_sha256_open(&h, err);
    if (rc) return rc;
    char piece[1 << 16];
    size_t n;
    while ((n = fread(piece, 1, sizeof piece, f)) > 0) mffa_sha256_add(h, piece, n);
    if (ferror(f)) return mffa_fail(err, MFFA_EIO, "could not read \"%s\": %s", path, strerror(errno));
    mffa_sha256_hex(h, out);
    return MFFA_OK;
}

mffa_code mffa_hmac_sha256(mffa_span key, mffa_span text, unsigned char out[MFFA_SHA256_BYTES], mffa_err *err) {
    unsigned int n = 0;
    if (key.len > INT_MAX || !HMAC(EVP_sha256(), key.ptr, (int)key.len, text.ptr, text.len, out, &n) || n != MFFA_SHA256_BYTES)
        return mffa_fail(err, MFFA_ENOMEM, "out of memory for a hash");
    return MFFA_OK;
}

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

void mffa_base64(mffa_span bytes, char *out) {
    EVP_EncodeBlock((unsigned char *)out, (const unsigned char *)bytes.ptr, (int)bytes.len);
}

mffa_code mffa_sha256_base64(const char hex[MFFA_SHA256_HEX], char out[MFFA_SHA256_BASE64], mffa_err *err) {
    unsigned char bytes[MFFA_SHA256_BYTES];
    for (size_t i = 0; i < sizeof bytes; i++) {
        int high = hex_digit(hex[2 * i]), low = high < 0 ? -1 : hex_digit(hex[2 * i + 1]);
        if (low < 0) return mffa_fail(err, MFFA_EINVAL, "\"%.64s\" is not a SHA-256 in hex", hex);
        bytes[i] = (unsigned char)(high << 4 | low);
    }
    mffa_base64((mffa_span){(const char *)bytes, sizeof bytes}, out);
    return MFFA_OK;
}

mffa_code mffa_md5_base64(mffa_span bytes, char out[MFFA_MD5_BASE64], mffa_err *err) {
    unsigned char md[EVP_MAX_MD_SIZE];
    unsigned int n = 0;
    if (EVP_Digest(bytes.ptr, bytes.len, md, &n, EVP_md5(), NULL) != 1)
        return mffa_fail(err, MFFA_EUNSUPPORTED, "this system's libcrypto has no MD5");
    EVP_EncodeBlock((unsigned char *)out, md, (int)n);
    return MFFA_OK;
}
