#include "worker/heatmaps.h"

#include <string.h>

static size_t stem_length(const char *key) {
    const char *dot = strrchr(key, '.'), *slash = strrchr(key, '/');
    return dot && dot > (slash ? slash + 1 : key) ? (size_t)(dot - key) : strlen(key);
}

typedef struct stem { const char *key; size_t len; } stem;

static int by_stem(const void *a, const void *b) {
    const stem *x = a, *y = b;
    int order = memcmp(x->key, y->key, x->len < y->len ? x->len : y->len);
    return order ? order : (x->len > y->len) - (x->len < y->len);
}

static bool is_shared(const stem *sorted, size_t n, const stem *s) {
    const stem *at = bsearch(s, sorted, n, sizeof *s, by_stem);
    return (at > sorted && by_stem(at - 1, s) == 0) || (at + 1 < sorted + n && by_stem(at + 1, s) == 0);
}

static char *name_of(const char *folder, const char *key, size_t len) {
    char *name = NULL;
    return asprintf(&name, "%s/%.*s.png", folder, (int)len, key) < 0 ? NULL : name;
}

mffa_code mffa_heatmaps_name(const mffa_heatmaps *h, mffa_scores *scores, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) stem *sorted = mffa_alloc_array(scores->count, sizeof *sorted);
    if (!sorted) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    for (size_t i = 0; i < scores->count; i++) sorted[i] = (stem){scores->items[i].key, stem_length(scores->items[i].key)};
    if (scores->count > 1) qsort(sorted, scores->count, sizeof *sorted, by_stem);
    for (size_t i = 0; i < scores->count; i++) {
        mffa_scored *item = &scores->items[i];
        stem s = {item->key, stem_length(item->key)};
        size_t len = is_shared(sorted, scores->count, &s) ? strlen(item->key) : s.len;
        if (h->overlay && !(item->heatmap = name_of("heatmaps", item->key, len))) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
        if (h->grey && !(item->grey = name_of("greymaps", item->key, len))) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    }
    return MFFA_OK;
}
