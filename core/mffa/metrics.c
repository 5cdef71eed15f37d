#include "core/mffa/metrics.h"

#include <math.h>
#include <string.h>
#include "core/mffa/curve.h"
#include "core/mffa/regions.h"
#include "core/mffa/spool.h"

/* A pixel is one integer that sorts from the highest map value to the lowest: 32 bits of value, turned round; 11 bits of type (0: of
 * a normal picture); 21 bits of its region's size (0: a normal pixel). */
enum { SIZE_BITS = 21, TYPE_BITS = 11, MOST_TYPES = (1 << TYPE_BITS) - 1, MOST_SIDE = 1024, SHARE = 4096 /* records read at once */ };

typedef struct picture {
    double score;
    uint32_t type; /* 0: normal */
} picture;

typedef struct type_counts {
    char name[128];
    int64_t images, masks, positives, negatives, regions; /* positives, negatives: pixels */
} type_counts;

struct mffa_metrics {
    int side;
    mffa_spool *pixels;
    int32_t *sizes, *work; /* [side, side] */
    picture *pictures;
    size_t picture_count, picture_cap;
    type_counts *types; /* [0]: normal */
    size_t type_count, type_cap;
};

void mffa_figures_done(mffa_figures *f) {
    if (!f) return;
    free(f->types);
    *f = (mffa_figures){0};
}

void mffa_metrics_close(mffa_metrics *m) {
    if (!m) return;
    mffa_spool_close(m->pixels);
    free(m->sizes);
    free(m->work);
    free(m->pictures);
    free(m->types);
    free(m);
}

mffa_code mffa_metrics_open(const char *spill_dir, int64_t memory_bytes, int side, mffa_metrics **out, mffa_err *err) {
    if (side < 1 || side > MOST_SIDE) return mffa_fail(err, MFFA_EINVAL, "maps are %d wide, expected 1 to %d", side, MOST_SIDE);
    MFFA_AUTO(mffa_metrics_close_p) mffa_metrics *m = calloc(1, sizeof *m);
    if (!m) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    m->side = side;
    m->sizes = mffa_alloc_array((size_t)side * (size_t)side, sizeof *m->sizes);
    m->work = mffa_alloc_array((size_t)side * (size_t)side, sizeof *m->work);
    m->types = calloc(1, sizeof *m->types);
    if (!m->sizes || !m->work || !m->types) return mffa_fail(err, MFFA_ENOMEM, "out of memory for maps %d wide", side);
    m->type_count = m->type_cap = 1;
    mffa_code rc = mffa_spool_open(spill_dir, memory_bytes, &m->pixels, err);
    if (rc) return rc;
    *out = MFFA_TAKE(m);
    return MFFA_OK;
}

static mffa_code type_index(mffa_metrics *m, const char *name, size_t *out, mffa_err *err) {
    for (size_t i = 1; i < m->type_count; i++)
        if (!strcmp(m->types[i].name, name)) return *out = i, MFFA_OK;
    if (strlen(name) >= sizeof m->types->name)
        return mffa_fail(err, MFFA_EINVAL, "defect type \"%.40s...\" has %zu bytes, expected at most %zu", name, strlen(name),
                         sizeof m->types->name - 1);
    if (m->type_count > MOST_TYPES)
        return mffa_fail(err, MFFA_EINVAL, "defect type \"%s\" is one more than the %d that are possible", name, MOST_TYPES);
    if (m->type_count == m->type_cap) {
        type_counts *more = reallocarray(m->types, 2 * m->type_cap, sizeof *more);
        if (!more) return mffa_fail(err, MFFA_ENOMEM, "out of memory for %zu defect types", m->type_cap);
        m->types = more;
        m->type_cap *= 2;
    }
    m->types[m->type_count] = (type_counts){0};
    strcpy(m->types[m->type_count].name, name);
    *out = m->type_count++;
    return MFFA_OK;
}

static mffa_code room_for_picture(mffa_metrics *m, mffa_err *err) {
    if (m->picture_count < m->picture_cap) return MFFA_OK;
    size_t cap = m->picture_cap ? 2 * m->picture_cap : 256;
    picture *more = reallocarray(m->pictures, cap, sizeof *more);
    if (!more) return mffa_fail(err, MFFA_ENOMEM, "out of memory for the scores of %zu pictures", cap);
    m->pictures = more;
    m->picture_cap = cap;
    return MFFA_OK;
}

static uint64_t pixel_pack(float value, size_t type, int32_t region_size) {
    uint32_t bits;
    value += 0.0f; /* -0 becomes 0: they are equal */
    memcpy(&bits, &value, sizeof bits);
    uint32_t ascending = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return (uint64_t)~ascending << 32 | (uint64_t)type << SIZE_BITS | (uint32_t)region_size;
}

static float pixel_value(uint64_t record) {
    uint32_t ascending = ~(uint32_t)(record >> 32), bits = ascending & 0x80000000u ? ascending & 0x7fffffffu : ~ascending;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static mffa_code add_pixels(mffa_metrics *m, size_t type, const float *map, const int32_t *sizes, mffa_err *err) {
    int64_t n = (int64_t)m->side * m->side, positives = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t size = sizes ? sizes[i] : 0;
        positives += size > 0;
        mffa_code rc = mffa_spool_put(m->pixels, pixel_pack(map[i], type, size), err);
        if (rc) return rc;
    }
    m->types[type].positives += positives;
    m->types[type].negatives += n - positives;
    return MFFA_OK;
}

static mffa_code check_picture(const mffa_metrics *m, int label, double score, const float *map, const uint8_t *mask, mffa_err *err) {
    if (label != 0 && label != 1) return mffa_fail(err, MFFA_EINVAL, "label is %d, expected 0 (normal) or 1 (defect)", label);
    if (!isfinite(score)) return mffa_fail(err, MFFA_EINVAL, "score is %g: figures need finite scores", score);
    for (int64_t i = 0; i < (int64_t)m->side * m->side; i++) {
        if (!isfinite(map[i]))
            return mffa_fail(err, MFFA_EINVAL, "map is %g at (%d, %d): figures need finite maps", (double)map[i], (int)(i % m->side),
                             (int)(i / m->side));
        if (!label && mask && mask[i])
            return mffa_fail(err, MFFA_EINVAL, "a normal picture's mask marks a defect at (%d, %d)", (int)(i % m->side),
                             (int)(i / m->side));
    }
    return MFFA_OK;
}

mffa_code mffa_metrics_add(mffa_metrics *m, const char *type, int label, double score, const float *map, const uint8_t *mask,
                           mffa_err *err) {
    size_t t = 0;
    mffa_code rc = check_picture(m, label, score, map, mask, err);
    if (!rc && label) rc = type_index(m, type, &t, err);
    if (!rc) rc = room_for_picture(m, err);
    if (!rc && label && mask) {
        m->types[t].regions += mffa_regions(mask, m->side, m->side, m->sizes, m->work);
        m->types[t].masks++;
    }
    if (!rc && (!label || mask)) rc = add_pixels(m, t, map, label ? m->sizes : NULL, err);
    if (rc) return rc;
    m->pictures[m->picture_count++] = (picture){.score = score, .type = (uint32_t)t};
    m->types[t].images++;
    return MFFA_OK;
}

static int by_score_descending(const void *a, const void *b) {
    double x = ((const picture *)a)->score, y = ((const picture *)b)->score;
    return (x < y) - (x > y);
}

static void sweep_pictures(mffa_metrics *m, mffa_sweep *s) {
    for (size_t t = 1; t < m->type_count; t++) {
        s->types[t].curve.positives = m->types[t].images;
        s->types[t].curve.negatives = m->types[0].images;
        s->all.positives += m->types[t].images;
    }
    s->all.negatives = m->types[0].images;
    if (m->picture_count) qsort(m->pictures, m->picture_count, sizeof *m->pictures, by_score_descending);
    for (size_t i = 0; i < m->picture_count; i++) mffa_sweep_add(s, m->pictures[i].score, m->pictures[i].type, m->pictures[i].type != 0);
    mffa_sweep_end(s);
}

static mffa_code sweep_pixels(mffa_metrics *m, mffa_sweep *s, mffa_err *err) {
    s->all.negatives = m->types[0].negatives;
    for (size_t t = 1; t < m->type_count; t++) {
        mffa_curve *c = &s->types[t].curve;
        *c = (mffa_curve){
            .positives = m->types[t].positives, .negatives = m->types[t].negatives + m->types[0].negatives, .regions = m->types[t].regions};
        s->all.positives += c->positives;
        s->all.negatives += m->types[t].negatives;
        s->all.regions += c->regions;
    }
    mffa_code rc = mffa_spool_sort(m->pixels, err);
    uint64_t records[SHARE];
    for (size_t got = 1; !rc && got;) {
        rc = mffa_spool_read(m->pixels, records, SHARE, &got, err);
        for (size_t i = 0; !rc && i < got; i++)
            mffa_sweep_add(s, (double)pixel_value(records[i]), records[i] >> SIZE_BITS & MOST_TYPES,
                           (int64_t)(records[i] & ((1u << SIZE_BITS) - 1)));
    }
    mffa_sweep_end(s);
    return rc;
}

static mffa_figure known(double value) { return (mffa_figure){.known = true, .value = value}; }
static mffa_figure unknown(const char *reason) { return (mffa_figure){.reason = reason}; }

static const char *image_reason(int64_t normal, int64_t defect) {
    if (!normal && !defect) return "no picture";
    if (!defect) return "only normal pictures";
    return normal ? NULL : "only defective pictures";
}

static const char *pixel_reason(const mffa_curve *c, int64_t defect, int64_t masks) {
    if (!defect) return "only normal pictures";
    if (!masks) return "no masks";
    if (!c->positives) return "the masks are empty";
    return c->negatives ? NULL : "every pixel is defective";
}

static mffa_figure figure(const char *reason, double (*of)(const mffa_curve *), const mffa_curve *c) {
    return reason ? unknown(reason) : known(of(c));
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const mffa_type_figures *)a)->type, ((const mffa_type_figures *)b)->type);
}

static mffa_code fill_types(const mffa_metrics *m, const mffa_sweep *images, const mffa_sweep *pixels, mffa_figures *f, mffa_err *err) {
    f->types = calloc(m->type_count, sizeof *f->types);
    if (!f->types) return mffa_fail(err, MFFA_ENOMEM, "out of memory for the figures of %zu defect types", m->type_count - 1);
    for (size_t t = 1; t < m->type_count; t++) {
        mffa_type_figures *to = &f->types[f->type_count++];
        const mffa_curve *curve = &pixels->types[t].curve;
        const char *image = image_reason(m->types[0].images, m->types[t].images),
                   *pixel = pixel_reason(curve, m->types[t].images, m->types[t].masks);
        memcpy(to->type, m->types[t].name, sizeof to->type);
        to->images = m->types[t].images;
        to->image_auroc = figure(image, mffa_curve_auroc, &images->types[t].curve);
        to->pixel_auroc = figure(pixel, mffa_curve_auroc, curve);
        to->aupro = figure(pixel, mffa_curve_aupro, curve);
    }
    qsort(f->types, f->type_count, sizeof *f->types, by_name);
    return MFFA_OK;
}

static mffa_code fill(const mffa_metrics *m, const mffa_sweep *images, const mffa_sweep *pixels, mffa_figures *out, mffa_err *err) {
    mffa_figures f = {.images = (int64_t)m->picture_count, .normal = m->types[0].images};
    f.defect = f.images - f.normal;
    for (size_t t = 1; t < m->type_count; t++) f.masks += m->types[t].masks;
    const char *image = image_reason(f.normal, f.defect), *pixel = pixel_reason(&pixels->all, f.defect, f.masks);
    f.image_auroc = figure(image, mffa_curve_auroc, &images->all);
    f.image_auprc = figure(image, mffa_curve_auprc, &images->all);
    f.f1_max = figure(image, mffa_curve_f1_max, &images->all);
    f.f1_threshold = image ? unknown(image) : known(images->all.best_threshold);
    f.pixel_auroc = figure(pixel, mffa_curve_auroc, &pixels->all);
    f.pixel_auprc = figure(pixel, mffa_curve_auprc, &pixels->all);
    f.pixel_f1_max = figure(pixel, mffa_curve_f1_max, &pixels->all);
    f.pixel_f1_threshold = pixel ? unknown(pixel) : known(pixels->all.best_threshold);
    f.aupro = figure(pixel, mffa_curve_aupro, &pixels->all);
    mffa_code rc = fill_types(m, images, pixels, &f, err);
    if (!rc) *out = f;
    return rc;
}

mffa_code mffa_metrics_finish(mffa_metrics *m, mffa_figures *out, mffa_err *err) {
    MFFA_AUTO(mffa_sweep_done) mffa_sweep images = {0}, pixels = {0};
    mffa_code rc = mffa_sweep_init(&images, m->type_count, err);
    if (!rc) rc = mffa_sweep_init(&pixels, m->type_count, err);
    if (rc) return rc;
    sweep_pictures(m, &images);
    rc = sweep_pixels(m, &pixels, err);
    return rc ? rc : fill(m, &images, &pixels, out, err);
}

mffa_code mffa_auroc(const double *scores, const uint8_t *labels, size_t n, double *out, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) picture *sorted = mffa_alloc_array(n, sizeof *sorted);
    MFFA_AUTO(mffa_sweep_done) mffa_sweep s = {0};
    if (!sorted) return mffa_fail(err, MFFA_ENOMEM, "out of memory for %zu scores", n);
    mffa_code rc = mffa_sweep_init(&s, 2, err);
    if (rc) return rc;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(scores[i])) return mffa_fail(err, MFFA_EINVAL, "score %zu is %g: figures need finite scores", i, scores[i]);
        sorted[i] = (picture){.score = scores[i], .type = labels[i] != 0};
        if (labels[i]) s.all.positives++;
        else s.all.negatives++;
    }
    const char *reason = image_reason(s.all.negatives, s.all.positives);
    if (reason) return mffa_fail(err, MFFA_EINVAL, "AUROC needs both classes: %s", reason);
    qsort(sorted, n, sizeof *sorted, by_score_descending);
    for (size_t i = 0; i < n; i++) mffa_sweep_add(&s, sorted[i].score, sorted[i].type, sorted[i].type);
    mffa_sweep_end(&s);
    *out = mffa_curve_auroc(&s.all);
    return MFFA_OK;
}
