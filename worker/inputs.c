#include "worker/inputs.h"

#include <string.h>

typedef struct listing {
    mffa_buf text;  /* keys, NUL-terminated, one after the other */
    mffa_buf etags; /* theirs, the same way */
    mffa_buf sizes; /* int64_t */
    size_t count;
    mffa_sha256 *hash;
} listing;

static mffa_code note_key(void *ctx, const mffa_object *o, mffa_err *err) {
    listing *l = ctx;
    char size[32];
    mffa_buf_put(&l->text, o->key, strlen(o->key) + 1);
    mffa_buf_put(&l->etags, o->etag, strlen(o->etag) + 1);
    mffa_buf_put(&l->sizes, &o->bytes, sizeof o->bytes);
    l->count++;
    mffa_sha256_add(l->hash, o->key, strlen(o->key) + 1);
    mffa_sha256_add(l->hash, size, (size_t)snprintf(size, sizeof size, "%lld ", (long long)o->bytes));
    mffa_sha256_add(l->hash, o->etag, strlen(o->etag) + 1);
    mffa_code rc = mffa_buf_check(&l->text, err);
    if (!rc) rc = mffa_buf_check(&l->etags, err);
    return rc ? rc : mffa_buf_check(&l->sizes, err);
}

static mffa_code sort_out(const listing *l, mffa_dataset_use use, mffa_dataset **out, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) const char **keys = mffa_alloc_array(l->count, sizeof *keys);
    if (!keys) return mffa_fail(err, MFFA_ENOMEM, "out of memory for a listing of %zu keys", l->count);
    const char *at = l->text.ptr;
    for (size_t i = 0; i < l->count; i++, at += strlen(at) + 1) keys[i] = at;
    return mffa_dataset_open(keys, l->count, use, out, err);
}

static void listing_done(listing *l) {
    mffa_sha256_close(l->hash);
    mffa_buf_done(&l->text);
    mffa_buf_done(&l->etags);
    mffa_buf_done(&l->sizes);
}

static int by_key(const void *a, const void *b) { return strcmp(((const mffa_object *)a)->key, ((const mffa_object *)b)->key); }

/* The pictures and masks as they will be read, each in the version that was listed. */
static mffa_code expect(mffa_store *s, const listing *l, const mffa_dataset *set, mffa_err *err) {
    size_t count = mffa_dataset_count(set), n = 0;
    MFFA_AUTO(mffa_free_p) mffa_object *all = mffa_alloc_array(l->count, sizeof *all);
    MFFA_AUTO(mffa_free_p) mffa_object *read = mffa_alloc_array(2 * count, sizeof *read);
    if (!all || !read) return mffa_fail(err, MFFA_ENOMEM, "out of memory for a listing of %zu keys", l->count);
    const char *key = l->text.ptr, *etag = l->etags.ptr;
    for (size_t i = 0; i < l->count; i++, key += strlen(key) + 1, etag += strlen(etag) + 1) {
        all[i] = (mffa_object){.key = key, .etag = etag};
        memcpy(&all[i].bytes, l->sizes.ptr + i * sizeof all[i].bytes, sizeof all[i].bytes);
    }
    for (size_t i = 0; i < count; i++) {
        const mffa_sample *sample = mffa_dataset_at(set, i);
        const char *keys[] = {sample->key, sample->mask_key};
        for (size_t k = 0; k < MFFA_COUNT(keys); k++) {
            mffa_object want = {.key = keys[k]}, *found = want.key ? bsearch(&want, all, l->count, sizeof *all, by_key) : NULL;
            if (found) read[n++] = *found;
        }
    }
    return mffa_store_expect(s, read, n, err);
}

mffa_code mffa_inputs_open(mffa_store *s, mffa_dataset_use use, mffa_inputs *out, mffa_err *err) {
    listing l = {0};
    mffa_code rc = mffa_sha256_open(&l.hash, err);
    if (rc) return rc;
    rc = mffa_store_list(s, "", note_key, &l, err);
    if (!rc) mffa_sha256_hex(l.hash, out->sha256);
    if (!rc) rc = sort_out(&l, use, &out->set, err);
    if (!rc) rc = expect(s, &l, out->set, err);
    listing_done(&l);
    return rc ? mffa_wrap(err, rc, "data set \"%s\"", mffa_store_url(s)) : MFFA_OK;
}

void mffa_inputs_done(mffa_inputs *in) {
    mffa_dataset_close(in->set);
    *in = (mffa_inputs){0};
}
