#include "core/mffa/psg_checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

typedef struct entry { /* one row of the metadata that must be equal */
    const char *key;
    char value[MFFA_SHA256_HEX];
} entry;
enum { ENTRIES = 9 };

/* Numbers as %.17g: equal texts are equal numbers. */
static void entries_of(const mffa_psg_owner *of, entry e[ENTRIES]) {
    const mffa_psg_params *p = of->params;
    size_t n = 0;
#define ENTRY(name, ...) e[n].key = name, snprintf(e[n].value, sizeof e[n].value, __VA_ARGS__), n++
    ENTRY("format", "mffa-psg-checkpoint 1");
    ENTRY("backbone_sha256", "%s", of->backbone_sha256);
    ENTRY("seed", "%" PRIu64, p->seed);
    ENTRY("side", "%d", p->side);
    ENTRY("batch", "%d", p->batch);
    ENTRY("learning_rate", "%.17g", p->learning_rate);
    ENTRY("momentum", "%.17g", p->momentum);
    ENTRY("weight_decay", "%.17g", p->weight_decay);
    ENTRY("pictures", "%" PRId64, of->pictures);
#undef ENTRY
}

/* ---- writing ---- */

static mffa_code declare(mffa_st_writer *w, const char *prefix, const mffa_resnet_tensor *t, mffa_err *err) {
    char name[64];
    int64_t shape[MFFA_MAX_RANK];
    int rank = mffa_tensor_rank(t->value);
    for (int axis = 0; axis < rank; axis++) shape[axis] = mffa_tensor_size(t->value, axis);
    snprintf(name, sizeof name, "%s%s", prefix, t->name);
    return mffa_st_writer_declare(w, name, MFFA_F32, rank, shape, err);
}

static mffa_code put(mffa_st_writer *w, mffa_scope *s, const mffa_tensor *t, mffa_err *err) {
    int64_t count = mffa_tensor_count(t);
    MFFA_AUTO(mffa_free_p) float *values = mffa_alloc_array((size_t)count, sizeof *values);
    if (!values) return mffa_fail(err, MFFA_ENOMEM, "out of memory for %lld weights", (long long)count);
    mffa_tensor_read(s, t, MFFA_F32, values, count);
    mffa_code rc = mffa_scope_check(s, err);
    return rc ? rc : mffa_st_writer_put(w, values, (size_t)count * sizeof *values, err);
}

static mffa_code write_tensors(mffa_st_writer *w, mffa_classifier *c, mffa_err *err) {
    MFFA_AUTO(mffa_scope_close_p) mffa_scope *s = mffa_scope_open(c->device, MFFA_GRAD);
    mffa_code rc = MFFA_OK;
    for (size_t i = 0; !rc && i < c->count; i++) {
        rc = declare(w, "", c->tensors[i], err);
        if (!rc && c->tensors[i]->trained) rc = declare(w, "momentum.", c->tensors[i], err);
    }
    for (size_t i = 0; !rc && i < c->count; i++) {
        rc = put(w, s, c->tensors[i]->value, err);
        if (!rc && c->tensors[i]->trained) rc = put(w, s, mffa_classifier_momentum(s, c, i), err);
    }
    return rc;
}

static void put_metadata(mffa_st_writer *w, const mffa_psg_owner *of, const mffa_psg_state *at) {
    entry e[ENTRIES];
    char text[32];
    entries_of(of, e);
    for (size_t i = 0; i < ENTRIES; i++) mffa_st_writer_meta(w, e[i].key, e[i].value);
    snprintf(text, sizeof text, "%d", at->epoch), mffa_st_writer_meta(w, "epoch", text);
    snprintf(text, sizeof text, "%.17g", at->loss), mffa_st_writer_meta(w, "loss", text);
    snprintf(text, sizeof text, "%.17g", at->accuracy), mffa_st_writer_meta(w, "accuracy", text);
}

static mffa_code write_file(const char *path, const mffa_psg_owner *of, const mffa_psg_state *at, mffa_classifier *c, mffa_err *err) {
    MFFA_AUTO(mffa_st_writer_close_p) mffa_st_writer *w = NULL;
    mffa_code rc = mffa_st_writer_open(path, &w, err);
    if (rc) return rc;
    put_metadata(w, of, at);
    rc = write_tensors(w, c, err);
    return rc ? rc : mffa_st_writer_finish(w, err);
}

/* Onto the disk and over the file before. */
static mffa_code settle(const char *from, const char *to, mffa_err *err) {
    MFFA_AUTO(mffa_close_fd_p) int fd = open(from, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) || rename(from, to)) return mffa_fail(err, MFFA_EIO, "could not write \"%s\": %s", to, strerror(errno));
    return MFFA_OK;
}

mffa_code mffa_psg_checkpoint_write(const mffa_psg_owner *of, const mffa_psg_state *at, mffa_classifier *c, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf part = {0};
    mffa_buf_putf(&part, "%s.part", of->params->checkpoint);
    mffa_code rc = mffa_buf_check(&part, err);
    if (rc) return rc;
    rc = write_file(mffa_buf_text(&part), of, at, c, err);
    if (!rc) rc = settle(mffa_buf_text(&part), of->params->checkpoint, err);
    if (rc) unlink(mffa_buf_text(&part));
    return rc;
}

/* ---- reading ---- */

static mffa_code get_num(const mffa_safetensors *f, const char *path, const char *key, double low, double high, double *out,
                         mffa_err *err) {
    const char *text = mffa_safetensors_meta(f, key);
    char *end = NULL;
    double value = text ? strtod(text, &end) : NAN;
    if (!(value >= low && value <= high) || *end)
        return mffa_fail(err, MFFA_EINVAL, "\"%s\": \"%s\" in its metadata is \"%.40s\", expected %g to %g", path, key, text ? text : "",
                         low, high);
    *out = value;
    return MFFA_OK;
}

mffa_code mffa_psg_checkpoint_read(const mffa_psg_owner *of, mffa_psg_state *at, mffa_err *err) {
    MFFA_AUTO(mffa_safetensors_close_p) mffa_safetensors *f = NULL;
    const char *path = of->params->checkpoint;
    double epoch = 0;
    mffa_psg_state found = {0};
    entry e[ENTRIES];
    mffa_code rc = mffa_safetensors_open(path, &f, err);
    if (rc) return rc;
    entries_of(of, e);
    for (size_t i = 0; i < ENTRIES; i++) {
        const char *text = mffa_safetensors_meta(f, e[i].key);
        if (!text || strcmp(text, e[i].value))
            return mffa_fail(err, MFFA_EINVAL, "the checkpoint \"%s\" has %s %.70s, this fine-tuning has %s: remove it to begin anew", path,
                             e[i].key, text ? text : "(none)", e[i].value);
    }
    rc = get_num(f, path, "epoch", 1, of->params->epochs, &epoch, err);
    if (!rc) rc = get_num(f, path, "loss", 0, INFINITY, &found.loss, err);
    if (!rc) rc = get_num(f, path, "accuracy", 0, 1, &found.accuracy, err);
    if (rc) return rc;
    found.epoch = (int)epoch;
    *at = found;
    return MFFA_OK;
}
