/* verify: a job that computes a model again, followed to its end, and what it found. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "core/base/json.h"
#include "scheduler/ctl/command.h"
#include "storage/store.h"
#include "storage/url.h"

static const double tolerance = 1e-3; /* another device or thread count rounds otherwise; the same one gives the same bits */

typedef struct request {
    const char *model;                     /* as the job's field takes it */
    char *dataset, *weights, *output, *at; /* URLs; at: the model's, when it was given as a folder */
} request;

static void request_done(request *r) {
    free(r->dataset);
    free(r->weights);
    free(r->output);
    free(r->at);
}

/* A URL as it is; a folder as the URL of its absolute path. */
static mffa_code url_of(const char *name, const char *text, char **out, mffa_err *err) {
    char path[PATH_MAX];
    MFFA_AUTO(mffa_buf_done) mffa_buf url = {0};
    if (!strstr(text, "://") && !realpath(text, path)) return mffa_fail(err, MFFA_ENOTFOUND, "%s: there is no folder \"%s\"", name, text);
    mffa_buf_putf(&url, strstr(text, "://") ? "%s" : "file://%s", strstr(text, "://") ? text : path);
    free(*out);
    *out = strdup(mffa_buf_text(&url));
    return *out ? mffa_buf_check(&url, err) : mffa_fail(err, MFFA_ENOMEM, "out of memory");
}

/* The output that the model was published under: of <output>/fit-<id>/run-<n>-<nonce> the part before, else the URL itself. */
static void cut_run_folder(char *url) {
    char *run = strrchr(url, '/');
    if (!run || strncmp(run, "/run-", 5) != 0) return;
    *run = '\0';
    char *job = strrchr(url, '/');
    if (job && strncmp(job, "/fit-", 5) == 0) *job = '\0';
}

static mffa_code output_of_job(mffa_queue *q, const char *id, char **out, mffa_err *err) {
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *record = NULL;
    mffa_span word = mffa_span_of(id);
    mffa_code rc = mffa_queue_call(q, true, "status", &word, 1, &record, err);
    if (rc) return rc;
    const char *output = mffa_reply_text(mffa_reply_field(record, "output"), "");
    if (!*output) return mffa_fail(err, MFFA_EINVAL, "job %s has no output: give --output", id);
    *out = strdup(output);
    return *out ? MFFA_OK : mffa_fail(err, MFFA_ENOMEM, "out of memory");
}

static mffa_code read_words(const mffa_command *c, request *r, mffa_err *err) {
    if (c->count < 1)
        return mffa_fail(err, MFFA_EINVAL, "verify needs a model: mffactl verify MODEL --data DIR [--weights DIR] [--output DIR]");
    r->model = c->words[0];
    const struct {
        const char *name;
        char **at;
    } options[] = {{"data", &r->dataset}, {"weights", &r->weights}, {"output", &r->output}};
    for (int i = 1; i < c->count; i += 2) {
        size_t k = 0;
        while (k < MFFA_COUNT(options) && strcmp(options[k].name, c->words[i]) != 0) k++;
        if (k == MFFA_COUNT(options))
            return mffa_fail(err, MFFA_EINVAL, "verify does not know \"%s\": it knows --data, --weights and --output", c->words[i]);
        if (i + 1 == c->count) return mffa_fail(err, MFFA_EINVAL, "--%s needs a folder or a URL", c->words[i]);
        mffa_code rc = url_of(c->words[i], c->words[i + 1], options[k].at, err);
        if (rc) return rc;
    }
    return r->dataset ? MFFA_OK : mffa_fail(err, MFFA_EINVAL, "verify needs the data set that the model was fitted with: --data DIR");
}

/* MODEL is a job's id, a URL or a folder. */
static mffa_code complete(mffa_queue *q, request *r, mffa_err *err) {
    bool is_url = strstr(r->model, "://"), is_folder = !is_url && access(r->model, F_OK) == 0;
    mffa_code rc = is_folder ? url_of("model", r->model, &r->at, err) : MFFA_OK;
    if (rc) return rc;
    if (is_folder) r->model = r->at;
    if (r->output) return MFFA_OK;
    if (!is_url && !is_folder) return output_of_job(q, r->model, &r->output, err);
    r->output = strdup(r->model);
    if (!r->output) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    cut_run_folder(r->output);
    return MFFA_OK;
}

static mffa_code submit(mffa_queue *q, const request *r, char id[64], mffa_err *err) {
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *ids = NULL;
    const char *texts[] = {"verify", "dataset", r->dataset, "model", r->model, "output", r->output, "weights", r->weights};
    mffa_span words[MFFA_COUNT(texts)];
    size_t n = r->weights ? MFFA_COUNT(texts) : MFFA_COUNT(texts) - 2;
    for (size_t i = 0; i < n; i++) words[i] = mffa_span_of(texts[i]);
    mffa_code rc = mffa_queue_call(q, false, "submit", words, n, &ids, err);
    if (!rc) snprintf(id, 64, "%s", mffa_reply_text(mffa_reply_at(ids, 0), ""));
    return rc;
}

static mffa_code read_summary(mffa_queue *q, const char *id, mffa_json **out, mffa_err *err) {
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *record = NULL;
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = NULL;
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    mffa_span word = mffa_span_of(id);
    mffa_code rc = mffa_queue_call(q, true, "status", &word, 1, &record, err);
    if (!rc) rc = mffa_store_open(mffa_reply_text(mffa_reply_field(record, "result"), ""), &s, err);
    if (!rc) rc = mffa_store_get(s, "summary.json", 1 << 20, &text, err);
    return rc ? rc : mffa_json_parse(mffa_buf_span(&text), out, err);
}

static mffa_code report(const mffa_json *summary, mffa_err *err) {
    const mffa_json *list = mffa_json_get(summary, "differences");
    int64_t differing = mffa_json_int(mffa_json_get(summary, "differing"), -1);
    double largest = mffa_json_num(mffa_json_get(summary, "largest_difference"), INFINITY);
    for (size_t i = 0; i < mffa_json_size(list); i++) {
        const mffa_json *part = mffa_json_at(list, i);
        printf("%-24s  %10lld values differ", mffa_json_text(mffa_json_get(part, "part"), ""),
               (long long)mffa_json_int(mffa_json_get(part, "differing"), -1));
        if (!mffa_json_bool(mffa_json_get(part, "chosen"), false))
            printf(", at most by %.3g of the largest value", mffa_json_num(mffa_json_get(part, "largest"), INFINITY));
        puts("");
    }
    if (differing == 0) return puts("largest difference 0: computed again, the model is the same bit for bit"), MFFA_OK;
    printf("largest difference %.3g, in %s\n", largest, mffa_json_text(mffa_json_get(summary, "largest_in"), "?"));
    if (largest <= tolerance) return MFFA_OK;
    return mffa_fail(err, MFFA_EINVAL, "the model is not what these pictures and weights give: at most %g is rounding", tolerance);
}

mffa_code mffa_command_verify(const mffa_command *c, mffa_err *err) {
    MFFA_AUTO(mffa_queue_close_p) mffa_queue *q = NULL;
    MFFA_AUTO(mffa_json_close_p) mffa_json *summary = NULL;
    MFFA_AUTO(request_done) request r = {0};
    char id[64] = "";
    mffa_code rc = read_words(c, &r, err);
    if (!rc) rc = mffa_command_queue(c, &q, err);
    if (!rc) rc = complete(q, &r, err);
    if (!rc) rc = submit(q, &r, id, err);
    if (!rc) rc = mffa_command_watch(&(mffa_command){.config = c->config, .count = 1, .words = (char *[]){id}}, err);
    if (!rc) rc = read_summary(q, id, &summary, err);
    return rc ? rc : report(summary, err);
}
