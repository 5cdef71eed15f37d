#include "core/image/dataset.h"

#include <string.h>
#include <strings.h>
#include "core/image/decode.h"

struct mffa_dataset {
    mffa_sample *items;
    size_t count, ignored;
};

/* The keys while they are sorted out. */
typedef struct listing {
    const char *const *keys;
    size_t n;
    bool *used; /* masks that found their picture */
    mffa_dataset *out;
} listing;

static bool starts(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

/* First key that is not less than text. */
static size_t lower_bound(const listing *l, const char *text) {
    size_t low = 0, high = l->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(l->keys[mid], text) < 0) low = mid + 1;
        else high = mid;
    }
    return low;
}

static void sample_done(mffa_sample *s) {
    free((char *)(uintptr_t)s->key);
    free((char *)(uintptr_t)s->mask_key);
    free((char *)(uintptr_t)s->type);
}

void mffa_dataset_close(mffa_dataset *d) {
    if (!d) return;
    for (size_t i = 0; i < d->count; i++) sample_done(&d->items[i]);
    free(d->items);
    free(d);
}

static mffa_code add(listing *l, const char *key, const char *type, size_t type_len, int label, const char *mask, mffa_err *err) {
    mffa_sample *s = &l->out->items[l->out->count++];
    *s = (mffa_sample){.key = strdup(key), .mask_key = mask ? strdup(mask) : NULL, .type = strndup(type, type_len), .label = label};
    if (!s->key || !s->type || (mask && !s->mask_key))
        return mffa_fail(err, MFFA_ENOMEM, "out of memory after %zu pictures", l->out->count);
    return MFFA_OK;
}

/* What lies at the top of the tree instead of what was expected: the first folders, or files, of two levels. */
static const char *found(const listing *l, mffa_buf *text) {
    size_t last = 0, shown = 0;
    for (size_t i = 0; i < l->n && shown < 8; i++) {
        const char *slash = strchr(l->keys[i], '/'), *second = slash ? strchr(slash + 1, '/') : NULL;
        size_t len = second ? (size_t)(second - l->keys[i]) + 1 : slash ? (size_t)(slash - l->keys[i]) + 1 : strlen(l->keys[i]);
        if (shown && strncmp(l->keys[last], l->keys[i], len) == 0) continue;
        mffa_buf_putf(text, "%s\"%.*s\"", shown ? ", " : "", len > 60 ? 60 : (int)len, l->keys[i]);
        last = i;
        shown++;
    }
    if (!shown) mffa_buf_puts(text, "nothing at all");
    return mffa_buf_text(text);
}

static mffa_code nothing(const listing *l, const char *wanted, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    return mffa_fail(err, MFFA_EINVAL, "the data set has no %s (PNG, JPEG or BMP): found %s", wanted, found(l, &text));
}

static mffa_code add_train(listing *l, mffa_err *err) {
    static const char *const folders[] = {"train/good/", "train/ok/"};
    for (size_t f = 0; f < MFFA_COUNT(folders); f++)
        for (size_t i = lower_bound(l, folders[f]); i < l->n && starts(l->keys[i], folders[f]); i++) {
            if (!mffa_decode_is_image_key(l->keys[i])) continue;
            mffa_code rc = add(l, l->keys[i], "good", 4, 0, NULL, err);
            if (rc) return rc;
        }
    return l->out->count ? MFFA_OK : nothing(l, "picture in train/good/ or train/ok/", err);
}

static bool is_mask_ending(const char *ending) { return strcasecmp(ending, ".png") == 0 || strcasecmp(ending, ".bmp") == 0; }

/* The key of ground_truth/<stem><suffix>.png or .bmp; n if there is none. */
static size_t find_mask(const listing *l, const char *stem, size_t stem_len, const char *suffix, mffa_buf *text) {
    mffa_buf_clear(text);
    mffa_buf_putf(text, "ground_truth/%.*s%s.", (int)stem_len, stem, suffix);
    const char *begin = mffa_buf_text(text);
    for (size_t i = lower_bound(l, begin); i < l->n && starts(l->keys[i], begin); i++)
        if (is_mask_ending(l->keys[i] + text->len - 1)) return i;
    return l->n;
}

static mffa_code add_test_picture(listing *l, const char *key, mffa_buf *text, mffa_err *err) {
    const char *stem = key + strlen("test/"), *slash = strchr(stem, '/');
    if (!slash) return MFFA_OK; /* directly in test/: of no type, so neither normal nor defect */
    size_t stem_len = (size_t)(strrchr(key, '.') - stem), type_len = (size_t)(slash - stem);
    size_t long_name = find_mask(l, stem, stem_len, "_mask", text), short_name = find_mask(l, stem, stem_len, "", text);
    mffa_code rc = mffa_buf_check(text, err);
    if (rc) return rc;
    if (long_name < l->n && short_name < l->n)
        return mffa_fail(err, MFFA_EINVAL, "picture \"%s\" has two masks, \"%s\" and \"%s\": remove one", key, l->keys[long_name],
                         l->keys[short_name]);
    size_t mask = long_name < l->n ? long_name : short_name;
    if (mask < l->n) l->used[mask] = true;
    bool normal = (type_len == 4 && starts(stem, "good")) || (type_len == 2 && starts(stem, "ok"));
    return add(l, key, normal ? "good" : stem, normal ? 4 : type_len, !normal, mask < l->n ? l->keys[mask] : NULL, err);
}

static mffa_code check_masks(const listing *l, mffa_err *err) {
    static const char folder[] = "ground_truth/";
    for (size_t i = lower_bound(l, folder); i < l->n && starts(l->keys[i], folder); i++) {
        const char *key = l->keys[i];
        if (l->used[i] || !mffa_decode_is_image_key(key)) continue;
        if (!is_mask_ending(strrchr(key, '.')))
            return mffa_fail(err, MFFA_EINVAL, "mask \"%s\" is a JPEG, which cannot hold exact edges: masks are PNG or BMP", key);
        const char *stem = key + sizeof folder - 1;
        return mffa_fail(
            err, MFFA_EINVAL,
            "mask \"%s\" has no picture: expected a picture \"test/%.*s\" (less \"_mask\" at its end, with any picture's ending)", key,
            (int)(strrchr(stem, '.') - stem), stem);
    }
    return MFFA_OK;
}

static mffa_code add_test(listing *l, mffa_err *err) {
    static const char folder[] = "test/";
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    for (size_t i = lower_bound(l, folder); i < l->n && starts(l->keys[i], folder); i++) {
        mffa_code rc = mffa_decode_is_image_key(l->keys[i]) ? add_test_picture(l, l->keys[i], &text, err) : MFFA_OK;
        if (rc) return rc;
    }
    return l->out->count ? check_masks(l, err) : nothing(l, "picture in test/good/, test/ok/ or test/<type of defect>/", err);
}

static mffa_code add_all(listing *l, mffa_err *err) {
    for (size_t i = 0; i < l->n; i++) {
        mffa_code rc = mffa_decode_is_image_key(l->keys[i]) ? add(l, l->keys[i], "", 0, -1, NULL, err) : MFFA_OK;
        if (rc) return rc;
    }
    return l->out->count ? MFFA_OK : nothing(l, "picture", err);
}

mffa_code mffa_dataset_open(const char *const *keys, size_t n, mffa_dataset_use use, mffa_dataset **out, mffa_err *err) {
    MFFA_AUTO(mffa_dataset_close_p) mffa_dataset *d = calloc(1, sizeof *d);
    MFFA_AUTO(mffa_free_p) bool *used = mffa_alloc_array(n, sizeof *used);
    if (d) d->items = mffa_alloc_array(n, sizeof *d->items);
    if (!d || !used || !d->items) return mffa_fail(err, MFFA_ENOMEM, "out of memory for a data set of %zu keys", n);
    for (size_t i = 0; i < n; i++) {
        if (i && strcmp(keys[i - 1], keys[i]) >= 0)
            return mffa_fail(err, MFFA_EBUG, "the keys of a data set must be sorted: \"%s\" came behind \"%s\"", keys[i], keys[i - 1]);
        d->ignored += !mffa_decode_is_image_key(keys[i]);
    }
    listing l = {keys, n, used, d};
    mffa_code rc = use == MFFA_USE_TRAIN ? add_train(&l, err) : use == MFFA_USE_TEST ? add_test(&l, err) : add_all(&l, err);
    if (rc) return rc;
    *out = MFFA_TAKE(d);
    return MFFA_OK;
}

size_t mffa_dataset_count(const mffa_dataset *d) { return d->count; }
const mffa_sample *mffa_dataset_at(const mffa_dataset *d, size_t i) { return i < d->count ? &d->items[i] : NULL; }
size_t mffa_dataset_ignored(const mffa_dataset *d) { return d->ignored; }
