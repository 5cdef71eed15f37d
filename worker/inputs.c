#include "worker/inputs.h"

#include <string.h>

typedef struct listing {
    mffa_buf text; /* keys, NUL-terminated, one after the other */
    size_t count;
    mffa_sha256 *hash;
} listing;

static mffa_code note_key(void *ctx, const mffa_object *o, mffa_err *err) {
    listing *l = ctx;
    char size[32];
    mffa_buf_put(&l->text, o->key, strlen(o->key) + 1);
    l->count++;
    mffa_sha256_add(l->hash, o->key, strlen(o->key) + 1);
    mffa_sha256_add(l->hash, size, (size_t)snprintf(size, sizeof size, "%lld ", (long long)o->bytes));
    mffa_sha256_add(l->hash, o->etag, strlen(o->etag) + 1);
    return mffa_buf_check(&l->text, err);
}

static mffa_code sort_out(const listing *l, mffa_dataset_use use, mffa_dataset **out, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) const char **keys = mffa_alloc_array(l->count, sizeof *keys);
    if (!keys) return mffa_fail(err, MFFA_ENOMEM, "out of memory for a listing of %zu keys", l->count);
    const char *at = l->text.ptr;
    for (size_t i = 0; i < l->count; i++, at += strlen(at) + 1) keys[i] = at;
    return mffa_dataset_open(keys, l->count, use, out, err);
}

mffa_code mffa_inputs_open(mffa_store *s, mffa_dataset_use use, mffa_inputs *out, mffa_err *err) {
    listing l = {0};
    mffa_code rc = mffa_sha256_open(&l.hash, err);
    if (rc) return rc;
    rc = mffa_store_list(s, "", note_key, &l, err);
    if (!rc) mffa_sha256_hex(l.hash, out->sha256);
    if (!rc) rc = sort_out(&l, use, &out->set, err);
    mffa_sha256_close(l.hash);
    mffa_buf_done(&l.text);
    return rc ? mffa_wrap(err, rc, "data set \"%s\"", mffa_store_url(s)) : MFFA_OK;
}

void mffa_inputs_done(mffa_inputs *in) {
    mffa_dataset_close(in->set);
    *in = (mffa_inputs){0};
}
