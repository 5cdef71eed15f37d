#include "worker/summary.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>
#include "core/base/clock.h"

enum { VERSION = 1 };

static void text(mffa_json *o, const char *name, const char *value) { mffa_json_set(o, name, mffa_json_of_text(value)); }
static void num(mffa_json *o, const char *name, double value) { mffa_json_set(o, name, mffa_json_of_num(value)); }
static void integer(mffa_json *o, const char *name, int64_t value) { mffa_json_set(o, name, mffa_json_of_int(value)); }

/* A figure is a number, or null with its reason under "reasons". */
static void figure(mffa_json *o, mffa_json *reasons, const char *name, const mffa_figure *f) {
    num(o, name, f->known ? f->value : NAN);
    if (!f->known) text(reasons, name, f->reason);
}

static mffa_json *types_json(const mffa_figures *f) {
    mffa_json *list = mffa_json_array();
    for (size_t i = 0; i < f->type_count; i++) {
        const mffa_type_figures *t = &f->types[i];
        mffa_json *o = mffa_json_object(), *reasons = mffa_json_object();
        text(o, "type", t->type);
        integer(o, "images", t->images);
        figure(o, reasons, "image_auroc", &t->image_auroc);
        figure(o, reasons, "pixel_auroc", &t->pixel_auroc);
        figure(o, reasons, "aupro", &t->aupro);
        mffa_json_set(o, "reasons", reasons);
        mffa_json_push(list, o);
    }
    return list;
}

static void put_figures(mffa_json *o, const mffa_figures *f) {
    mffa_json *reasons = mffa_json_object();
    integer(o, "normal", f->normal), integer(o, "defect", f->defect), integer(o, "masks", f->masks);
    figure(o, reasons, "image_auroc", &f->image_auroc);
    figure(o, reasons, "image_auprc", &f->image_auprc);
    figure(o, reasons, "f1_max", &f->f1_max);
    figure(o, reasons, "f1_threshold", &f->f1_threshold);
    figure(o, reasons, "pixel_auroc", &f->pixel_auroc);
    figure(o, reasons, "pixel_auprc", &f->pixel_auprc);
    figure(o, reasons, "pixel_f1_max", &f->pixel_f1_max);
    figure(o, reasons, "pixel_f1_threshold", &f->pixel_f1_threshold);
    figure(o, reasons, "aupro", &f->aupro);
    mffa_json_set(o, "reasons", reasons);
    mffa_json_set(o, "types", types_json(f));
}

static void put_scoring(mffa_json *o, const mffa_summary_scoring *s) {
    integer(o, "images", s->images);
    text(o, "model", s->model_url);
    text(o, "model_sha256", s->model_sha256);
    text(o, "maps", s->maps);
    num(o, "threshold", s->threshold->known ? s->threshold->value : NAN);
    text(o, "threshold_from", s->threshold_from);
    text(o, "threshold_reason", s->threshold->known ? NULL : s->threshold->reason);
    num(o, "heatmap_low", s->heat_low);
    num(o, "heatmap_high", s->heat_high);
    num(o, "grey_max", s->grey_max);
    if (s->figures) put_figures(o, s->figures);
}

static mffa_json *profile_json(const mffa_profile *p) {
    mffa_json *o = mffa_json_object();
    text(o, "name", p->name);
    integer(o, "side", p->side), integer(o, "grid", p->grid), integer(o, "blocks", p->blocks);
    integer(o, "gaussian_channels", p->gaussian_channels);
    num(o, "ratio", p->ratio), num(o, "lambda", p->lambda), num(o, "sigma", p->sigma);
    integer(o, "seed", (int64_t)p->seed);
    return o;
}

static mffa_json *weights_json(const mffa_provenance *p) {
    mffa_json *o = mffa_json_object();
    text(o, "backbone", p->backbone_name), text(o, "backbone_sha256", p->backbone_sha256);
    text(o, "transformer", *p->transformer_name ? p->transformer_name : NULL);
    text(o, "transformer_sha256", *p->transformer_sha256 ? p->transformer_sha256 : NULL);
    return o;
}

static mffa_json *skipped_json(const mffa_skipped *s) {
    mffa_json *o = mffa_json_object(), *list = mffa_json_array();
    integer(o, "count", s->count);
    for (int64_t i = 0; i < s->count && i < MFFA_SKIPPED_KEPT; i++) {
        mffa_json *item = mffa_json_object();
        text(item, "key", s->list[i].key), text(item, "reason", s->list[i].reason);
        mffa_json_push(list, item);
    }
    mffa_json_set(o, "first", list);
    return o;
}

static mffa_json *timings_json(const mffa_timings *t) {
    mffa_json *list = mffa_json_array();
    for (int i = 0; i < t->count; i++) {
        mffa_json *o = mffa_json_object();
        text(o, "phase", t->list[i].phase), num(o, "seconds", (double)t->list[i].ms / 1000);
        mffa_json_push(list, o);
    }
    return list;
}

static void put_finetune(mffa_json *o, const mffa_summary_finetune *f) {
    integer(o, "epochs", f->params->epochs), integer(o, "batch", f->params->batch), integer(o, "side", f->params->side);
    integer(o, "seed", (int64_t)f->params->seed);
    num(o, "learning_rate", f->params->learning_rate);
    integer(o, "steps", f->result->steps), integer(o, "resumed_epoch", f->result->resumed_epoch);
    num(o, "loss", f->result->loss), num(o, "accuracy", f->result->accuracy);
}

static void put_verify(mffa_json *o, const mffa_summary_verify *v) {
    const mffa_model_difference *d = v->difference;
    mffa_json *list = mffa_json_array();
    text(o, "model", v->model_url), text(o, "model_sha256", v->model_sha256);
    integer(o, "train_images", v->train_images);
    num(o, "largest_difference", d->largest);
    text(o, "largest_in", d->where);
    integer(o, "differing", d->differing);
    for (int i = 0; i < MFFA_MODEL_PARTS; i++) {
        mffa_json *part = mffa_json_object();
        text(part, "part", d->parts[i].name);
        mffa_json_set(part, "chosen", mffa_json_of_bool(d->parts[i].chosen));
        integer(part, "differing", d->parts[i].differing);
        num(part, "largest", d->parts[i].largest);
        mffa_json_push(list, part);
    }
    mffa_json_set(o, "differences", list);
}

static void put_memory(mffa_json *o, const char *host, const char *device, mffa_need bytes) {
    if (bytes.host) integer(o, host, bytes.host);
    if (bytes.device) integer(o, device, bytes.device);
}

mffa_json *mffa_summary_document(const mffa_summary *s) {
    mffa_json *o = mffa_json_object();
    char created[25];
    mffa_wall_text(s->created_ms, created);
    integer(o, "v", VERSION);
    text(o, "kind", s->kind), text(o, "job", s->job);
    integer(o, "run", s->run);
    text(o, "nonce", s->nonce), text(o, "result", s->result), text(o, "created", created), text(o, "version", MFFA_VERSION);
    text(o, "dataset", s->dataset), text(o, "dataset_sha256", s->dataset_sha256);
    integer(o, "ignored", s->ignored);
    if (s->note) text(o, "note", s->note);
    if (s->profile) mffa_json_set(o, "profile", profile_json(s->profile));
    mffa_json_set(o, "weights", weights_json(s->from));
    text(o, "device", s->device), text(o, "precision", s->precision);
    if (s->finetune) put_finetune(o, s->finetune);
    if (s->fit) integer(o, "train_images", s->fit->train_images), integer(o, "bank_rows", s->fit->bank_rows);
    if (s->verify) put_verify(o, s->verify);
    if (s->scoring) put_scoring(o, s->scoring);
    mffa_json_set(o, "skipped", skipped_json(s->skipped));
    mffa_json_set(o, "timings", timings_json(s->timings));
    num(o, "seconds", (double)mffa_timings_total_ms(s->timings) / 1000);
    put_memory(o, "planned_memory_bytes", "planned_device_memory_bytes", s->planned_memory);
    put_memory(o, "peak_memory_bytes", "peak_device_memory_bytes", s->peak_memory);
    return o;
}

void mffa_facts_done(mffa_facts *f) {
    mffa_buf_done(&f->texts);
    mffa_buf_done(&f->summary);
}

static void fact(mffa_facts *f, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void fact(mffa_facts *f, const char *name, const char *fmt, ...) {
    char value[64];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(value, sizeof value, fmt, ap);
    va_end(ap);
    mffa_buf_put(&f->texts, name, strlen(name) + 1);
    mffa_buf_put(&f->texts, value, strlen(value) + 1);
}

static void text_fact(mffa_facts *f, const char *name, const char *value) {
    enum { MOST = 1000 }; /* the record takes 1024 bytes a fact; the whole text is in the summary */
    mffa_buf_put(&f->texts, name, strlen(name) + 1);
    mffa_buf_put(&f->texts, value, strnlen(value, MOST));
    mffa_buf_put(&f->texts, "", 1);
}

static void figure_fact(mffa_facts *f, const char *name, const mffa_figure *v) {
    if (v->known) fact(f, name, "%.6f", v->value);
    else fact(f, name, "none (%.50s)", v->reason);
}

static void memory_facts(mffa_facts *f, const char *host, const char *device, mffa_need bytes) {
    if (bytes.host) fact(f, host, "%lld", (long long)bytes.host);
    if (bytes.device) fact(f, device, "%lld", (long long)bytes.device);
}

mffa_code mffa_summary_facts(const mffa_summary *s, mffa_span packed, mffa_facts *out, mffa_err *err) {
    if (s->finetune) {
        fact(out, "steps", "%lld", (long long)s->finetune->result->steps);
        fact(out, "loss", "%.6f", s->finetune->result->loss);
        fact(out, "accuracy", "%.6f", s->finetune->result->accuracy);
    }
    if (s->fit) {
        fact(out, "train_images", "%lld", (long long)s->fit->train_images);
        fact(out, "bank_rows", "%lld", (long long)s->fit->bank_rows);
    }
    if (s->verify) {
        fact(out, "largest_difference", "%.3g", s->verify->difference->largest);
        fact(out, "differing", "%lld", (long long)s->verify->difference->differing);
    }
    if (s->scoring) fact(out, "images", "%lld", (long long)s->scoring->images);
    if (s->scoring && s->scoring->figures) {
        figure_fact(out, "image_auroc", &s->scoring->figures->image_auroc);
        figure_fact(out, "pixel_auroc", &s->scoring->figures->pixel_auroc);
        figure_fact(out, "aupro", &s->scoring->figures->aupro);
        figure_fact(out, "f1_max", &s->scoring->figures->f1_max);
    }
    if (s->note) text_fact(out, "note", s->note);
    if (s->skipped->count) fact(out, "skipped", "%lld", (long long)s->skipped->count);
    fact(out, "seconds", "%.3f", (double)mffa_timings_total_ms(s->timings) / 1000);
    memory_facts(out, "planned_memory_bytes", "planned_device_memory_bytes", s->planned_memory);
    memory_facts(out, "peak_memory_bytes", "peak_device_memory_bytes", s->peak_memory);
    if (packed.len <= MFFA_RECORD_SUMMARY_BYTES) mffa_buf_put(&out->summary, packed.ptr, packed.len);
    mffa_code rc = mffa_buf_check(&out->texts, err);
    return rc ? rc : mffa_buf_check(&out->summary, err);
}
