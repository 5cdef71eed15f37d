#include "core/base/digest.h"

#include <errno.h>
#include <openssl/evp.h>
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
