/* Models as files: see model.h for what is in them. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include "core/mffa/coreset.h"
#include "core/mffa/kernels.h"
#include "core/mffa/model_parts.h"

static const char format[] = "mffa-model", version[] = "1",
                  form[] = "whitening W = L^-1 of covariance L L^T, packed lower triangle, int16 with a float32 scale a row";

/* One row a tensor: its shape comes from the metadata, its place in the model from the offset. */
typedef struct entry {
    const char *name;
    mffa_dtype dtype;
    int rank;
    int64_t shape[2];
    void *place; /* of the model's pointer to its array; read and written as bytes, since its type differs */
} entry;
enum { ENTRIES = 9 };

/* The file wants wider types first. Scatter is there with keep_statistics only. */
static size_t entries_of(mffa_model *m, entry e[ENTRIES]) {
    int64_t p = (int64_t)m->profile.grid * m->profile.grid, d = m->profile.gaussian_channels, width = m->c2 + m->c3;
    size_t n = 0;
    e[n++] = (entry){"lgffp.layer3_channels", MFFA_I64, 1, {m->width}, &m->layer3_channels};
    e[n++] = (entry){"gaussian.channels", MFFA_I64, 1, {d}, &m->gaussian_channels};
    e[n++] = (entry){"memory_bank.features", MFFA_F32, 2, {m->bank.rows, width}, &m->bank.features};
    e[n++] = (entry){"memory_bank.origin", MFFA_I32, 2, {m->bank.rows, 2}, &m->bank.origin};
    e[n++] = (entry){"memory_bank.projection", MFFA_F32, 2, {MFFA_CORESET_WIDTH, width}, &m->projection};
    e[n++] = (entry){"gaussian.mean", MFFA_F32, 2, {p, d}, &m->gaussian.mean};
    e[n++] = (entry){"gaussian.scale", MFFA_F32, 2, {p, d}, &m->gaussian.scale};
    if (m->profile.keep_statistics) e[n++] = (entry){"gaussian.scatter", MFFA_F32, 2, {p, mffa_packed(d)}, &m->gaussian.scatter};
    e[n++] = (entry){"gaussian.factor", MFFA_I16, 2, {p, mffa_packed(d)}, &m->gaussian.factor};
    return n;
}

static size_t bytes_of(const entry *e) {
    return (size_t)e->shape[0] * (size_t)(e->rank == 2 ? e->shape[1] : 1) * mffa_dtype_bytes(e->dtype);
}

static const void *data_of(const entry *e) {
    void *data;
    memcpy(&data, e->place, sizeof data);
    return data;
}

/* ---- writing ---- */

static void put_int(mffa_st_writer *w, const char *key, int64_t value) {
    char text[32];
    snprintf(text, sizeof text, "%" PRId64, value);
    mffa_st_writer_meta(w, key, text);
}

static void put_num(mffa_st_writer *w, const char *key, double value) {
    char text[32];
    snprintf(text, sizeof text, "%.17g", value);
    mffa_st_writer_meta(w, key, text);
}

static void put_metadata(mffa_st_writer *w, const mffa_model *m) {
    const mffa_profile *p = &m->profile;
    char seed[32];
    snprintf(seed, sizeof seed, "%" PRIu64, p->seed);
    mffa_st_writer_meta(w, "format", format), mffa_st_writer_meta(w, "format_version", version);
    mffa_st_writer_meta(w, "profile", p->name), mffa_st_writer_meta(w, "seed", seed);
    put_int(w, "side", p->side), put_int(w, "grid", p->grid), put_int(w, "blocks", p->blocks);
    put_int(w, "gaussian_channels", p->gaussian_channels), put_int(w, "keep_statistics", p->keep_statistics);
    put_num(w, "ratio", p->ratio), put_num(w, "lambda", p->lambda), put_num(w, "sigma", p->sigma);
    put_int(w, "train_images", m->train_images);
    put_int(w, "c1", m->c1), put_int(w, "c2", m->c2), put_int(w, "c3", m->c3), put_int(w, "width", m->width);
    mffa_st_writer_meta(w, "backbone_name", m->from.backbone_name), mffa_st_writer_meta(w, "backbone_sha256", m->from.backbone_sha256);
    mffa_st_writer_meta(w, "transformer_name", m->from.transformer_name),
        mffa_st_writer_meta(w, "transformer_sha256", m->from.transformer_sha256);
    mffa_st_writer_meta(w, "dataset", m->from.dataset);
    mffa_st_writer_meta(w, "gaussian_form", form), put_num(w, "gaussian_worst_error", m->gaussian.worst_error);
}

mffa_code mffa_model_save(const mffa_model *m, const char *path, mffa_err *err) {
    MFFA_AUTO(mffa_st_writer_close_p) mffa_st_writer *w = NULL;
    mffa_model view = *m; /* borrows everything: entries point into it */
    entry e[ENTRIES];
    size_t n = entries_of(&view, e);
    if (m->profile.keep_statistics && !m->gaussian.scatter)
        return mffa_fail(err, MFFA_EINVAL, "cannot write \"%s\": the model came from a file and its scatter was left there; copy that file",
                         path);
    mffa_code rc = mffa_st_writer_open(path, &w, err);
    if (rc) return rc;
    put_metadata(w, m);
    for (size_t i = 0; !rc && i < n; i++) rc = mffa_st_writer_declare(w, e[i].name, e[i].dtype, e[i].rank, e[i].shape, err);
    for (size_t i = 0; !rc && i < n; i++) rc = mffa_st_writer_put(w, data_of(&e[i]), bytes_of(&e[i]), err);
    return rc ? rc : mffa_st_writer_finish(w, err);
}

/* ---- reading ---- */

typedef struct reader {
    const mffa_safetensors *f;
    const char *path;
    mffa_code rc; /* sticky */
    mffa_err *err;
} reader;

static const char *get_text(reader *r, const char *key) {
    const char *text = mffa_safetensors_meta(r->f, key);
    if (!text && !r->rc) r->rc = mffa_fail(r->err, MFFA_EINVAL, "\"%s\" is not a model: \"%s\" is missing in its metadata", r->path, key);
    return text ? text : "";
}

static void get_copy(reader *r, const char *key, char *out, size_t size) {
    const char *text = get_text(r, key);
    if (strlen(text) >= size && !r->rc)
        r->rc = mffa_fail(r->err, MFFA_EINVAL, "\"%s\": \"%s\" in its metadata has %zu bytes, expected at most %zu", r->path, key,
                          strlen(text), size - 1);
    else if (!r->rc) strcpy(out, text);
}

static double get_num(reader *r, const char *key) {
    const char *text = get_text(r, key);
    char *end;
    double value = strtod(text, &end);
    if (!r->rc && (end == text || *end || !isfinite(value)))
        r->rc = mffa_fail(r->err, MFFA_EINVAL, "\"%s\": \"%s\" in its metadata is \"%.40s\", expected a number", r->path, key, text);
    return r->rc ? 0 : value;
}

static int64_t get_int(reader *r, const char *key, int64_t low, int64_t high) {
    const char *text = get_text(r, key);
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (!r->rc && (end == text || *end || errno || value < low || value > high))
        r->rc = mffa_fail(r->err, MFFA_EINVAL, "\"%s\": \"%s\" in its metadata is \"%.40s\", expected an integer from %lld to %lld",
                          r->path, key, text, (long long)low, (long long)high);
    return r->rc ? 0 : value;
}

static uint64_t get_seed(reader *r) {
    const char *text = get_text(r, "seed");
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (!r->rc && (end == text || *end || errno || *text == '-'))
        r->rc = mffa_fail(r->err, MFFA_EINVAL, "\"%s\": \"seed\" in its metadata is \"%.40s\", expected an integer that is not negative",
                          r->path, text);
    return value;
}

static mffa_code get_metadata(reader *r, mffa_model *m) {
    mffa_profile *p = &m->profile;
    const char *is = get_text(r, "format"), *of = get_text(r, "format_version");
    if (!r->rc && (strcmp(is, format) || strcmp(of, version) || strcmp(get_text(r, "gaussian_form"), form)))
        r->rc = mffa_fail(r->err, MFFA_EINVAL, "\"%s\" has format \"%.40s\" version \"%.40s\", this program reads \"%s\" version %s",
                          r->path, is, of, format, version);
    get_copy(r, "profile", p->name, sizeof p->name);
    p->side = (int)get_int(r, "side", 64, 1024), p->grid = (int)get_int(r, "grid", 1, 256), p->blocks = (int)get_int(r, "blocks", 0, 11);
    p->gaussian_channels = (int)get_int(r, "gaussian_channels", 1, 4096), p->keep_statistics = get_int(r, "keep_statistics", 0, 1);
    p->ratio = get_num(r, "ratio"), p->lambda = get_num(r, "lambda"), p->sigma = get_num(r, "sigma"), p->seed = get_seed(r);
    m->train_images = m->gaussian.images = get_int(r, "train_images", 2, INT64_C(1) << 32);
    m->c1 = (int)get_int(r, "c1", 1, 1 << 14), m->c2 = (int)get_int(r, "c2", 1, 1 << 14), m->c3 = (int)get_int(r, "c3", 1, 1 << 14);
    m->width = (int)get_int(r, "width", 1, 1 << 15);
    get_copy(r, "backbone_name", m->from.backbone_name, sizeof m->from.backbone_name);
    get_copy(r, "backbone_sha256", m->from.backbone_sha256, sizeof m->from.backbone_sha256);
    get_copy(r, "transformer_name", m->from.transformer_name, sizeof m->from.transformer_name);
    get_copy(r, "transformer_sha256", m->from.transformer_sha256, sizeof m->from.transformer_sha256);
    get_copy(r, "dataset", m->from.dataset, sizeof m->from.dataset);
    m->gaussian.worst_error = get_num(r, "gaussian_worst_error");
    if (!r->rc) r->rc = mffa_profile_check(p, r->err);
    if (!r->rc) r->rc = mffa_model_check_widths(m, r->err);
    return r->rc;
}

static mffa_code check_entry(const reader *r, const entry *e, const mffa_st_tensor *t) {
    char found[MFFA_SHAPE_TEXT], want[MFFA_SHAPE_TEXT];
    mffa_shape_text(e->rank, e->shape, want);
    if (!t) return mffa_fail(r->err, MFFA_EINVAL, "\"%s\" has no tensor \"%s\"", r->path, e->name);
    if (t->dtype == e->dtype && t->rank == e->rank && !memcmp(t->shape, e->shape, (size_t)e->rank * sizeof *e->shape)) return MFFA_OK;
    return mffa_fail(r->err, MFFA_EINVAL, "\"%s\": tensor \"%s\" is %s %s, expected %s %s by its metadata", r->path, e->name,
                     mffa_dtype_name(t->dtype), mffa_shape_text(t->rank, t->shape, found), mffa_dtype_name(e->dtype), want);
}

static mffa_code read_tensors(const reader *r, mffa_model *m) {
    const mffa_st_tensor *features = mffa_safetensors_find(r->f, "memory_bank.features");
    entry e[ENTRIES];
    m->bank.rows = features && features->rank == 2 ? features->shape[0] : 1;
    m->bank.width = m->c2 + m->c3;
    size_t n = entries_of(m, e);
    if (m->bank.rows < 1 || m->bank.rows > INT32_MAX)
        return mffa_fail(r->err, MFFA_EINVAL, "\"%s\": its memory bank has %lld rows, expected 1 to %d", r->path, (long long)m->bank.rows,
                         INT32_MAX);
    for (size_t i = 0; i < n; i++) {
        const mffa_st_tensor *t = mffa_safetensors_find(r->f, e[i].name);
        mffa_code rc = check_entry(r, &e[i], t);
        if (rc) return rc;
        if (e[i].place == (void *)&m->gaussian.scatter) continue; /* scoring has no use for it */
        void *data = mffa_alloc_array(t->bytes, 1);
        if (!data)
            return mffa_fail(r->err, MFFA_ENOMEM, "out of memory for tensor \"%s\" of \"%s\" (%zu bytes)", e[i].name, r->path, t->bytes);
        mffa_safetensors_copy(r->f, t, data);
        memcpy(e[i].place, &data, sizeof data);
    }
    return MFFA_OK;
}

static bool ascending_below(const int64_t *v, int64_t n, int64_t limit) {
    for (int64_t i = 0; i < n; i++)
        if (v[i] < 0 || v[i] >= limit || (i && v[i] <= v[i - 1])) return false;
    return true;
}

static bool finite_all(const float *v, int64_t n) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(v[i])) return false;
    return true;
}

static mffa_code check_values(const reader *r, const mffa_model *m) {
    int64_t p = m->gaussian.positions, d = m->gaussian.channels;
    const char *bad = !ascending_below(m->layer3_channels, m->width, m->c3)    ? "lgffp.layer3_channels"
                      : !ascending_below(m->gaussian_channels, d, m->width)     ? "gaussian.channels"
                      : !finite_all(m->bank.features, m->bank.rows * m->bank.width) ? "memory_bank.features"
                      : !finite_all(m->gaussian.mean, p * d)                    ? "gaussian.mean"
                      : !finite_all(m->gaussian.scale, p * d)                   ? "gaussian.scale"
                                                                                : NULL;
    return bad ? mffa_fail(r->err, MFFA_EINVAL, "\"%s\": tensor \"%s\" holds values that are not possible: fit again", r->path, bad)
               : MFFA_OK;
}

mffa_code mffa_model_open(const char *path, mffa_model **out, mffa_err *err) {
    MFFA_AUTO(mffa_safetensors_close_p) mffa_safetensors *f = NULL;
    MFFA_AUTO(mffa_model_close_p) mffa_model *m = mffa_model_new();
    if (!m) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_code rc = mffa_safetensors_open(path, &f, err);
    if (rc) return rc;
    reader r = {.f = f, .path = path, .err = err};
    rc = get_metadata(&r, m);
    if (rc) return rc;
    m->gaussian.positions = (int64_t)m->profile.grid * m->profile.grid;
    m->gaussian.channels = m->profile.gaussian_channels;
    rc = read_tensors(&r, m);
    if (!rc) {
        m->bank.norms = mffa_alloc_array((size_t)m->bank.rows, sizeof *m->bank.norms);
        if (!m->bank.norms) return mffa_fail(err, MFFA_ENOMEM, "out of memory for \"%s\"", path);
        mffa_bank_seal(&m->bank);
        rc = check_values(&r, m);
    }
    if (rc) return rc;
    *out = MFFA_TAKE(m);
    return MFFA_OK;
}
