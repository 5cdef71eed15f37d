/* The sample job through an installed service: what a person would do to see that everything works, in one command. */
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "core/base/clock.h"
#include "core/base/json.h"
#include "core/base/rng.h"
#include "scheduler/ctl/command.h"
#include "scheduler/ctl/sample.h"
#include "storage/store.h"

enum { JOBS = 3, SUMMARY_MAX_BYTES = 1 << 20 };
static const double least_auroc = 0.9; /* of 12 pictures whose defects are plain to see; a service that works has 1 */

typedef struct selftest {
    const mffa_command *command;
    char name[32];           /* of the folder below the URL, gone afterwards */
    char folder[PATH_MAX];   /* on this machine, gone afterwards */
    mffa_store *local, *far; /* that folder; the URL */
    char ids[JOBS][64];
    int jobs;
} selftest;

static void remove_below(mffa_store *s, const char *folder) {
    char under[48];
    snprintf(under, sizeof under, "%s/", folder);
    if (s && *folder && mffa_store_delete_all(s, under, NULL)) printf("%s/%s could not be removed\n", mffa_store_url(s), folder);
}

static void selftest_done(selftest *t) {
    remove_below(t->far, t->name);
    remove_below(t->local, "sample");
    remove_below(t->local, "got");
    if (*t->folder) rmdir(t->folder);
    mffa_store_close(t->far);
    mffa_store_close(t->local);
}

static mffa_code open_both(selftest *t, const char *url, mffa_err *err) {
    char hex[17], local_url[PATH_MAX + 8];
    const char *tmp = getenv("TMPDIR");
    mffa_code rc = mffa_random_hex(hex, 8, err);
    if (rc) return rc;
    snprintf(t->folder, sizeof t->folder, "%.*s/mffa-selftest-XXXXXX", PATH_MAX - 64, tmp && *tmp == '/' ? tmp : "/tmp");
    if (!mkdtemp(t->folder)) return t->folder[0] = '\0', mffa_fail(err, MFFA_EIO, "could not make a folder in TMPDIR (or /tmp)");
    snprintf(local_url, sizeof local_url, "file://%s", t->folder);
    rc = mffa_store_open(local_url, &t->local, err);
    if (!rc) rc = mffa_store_open(url, &t->far, err);
    if (!rc) snprintf(t->name, sizeof t->name, "selftest-%s", hex);
    return rc;
}

static mffa_code upload_one(void *ctx, const mffa_object *o, mffa_err *err) {
    selftest *t = ctx;
    MFFA_AUTO(mffa_free_p) char *path = NULL;
    char key[PATH_MAX];
    snprintf(key, sizeof key, "%s/%s", t->name, o->key);
    mffa_code rc = mffa_store_local(t->local, o->key, &path, err);
    return rc ? rc : mffa_store_put_file(t->far, key, path, MFFA_PUT_NEW, err);
}

static mffa_code upload(selftest *t, mffa_err *err) {
    mffa_sample_options o = mffa_sample_defaults();
    char dir[PATH_MAX + 16];
    o.train = 8, o.good = 2, o.defects_per_kind = 2, o.side_px = 128;
    snprintf(dir, sizeof dir, "%s/sample", t->folder);
    mffa_code rc = mffa_sample_write(dir, &o, NULL, err);
    if (!rc) rc = mffa_store_list(t->local, "sample/", upload_one, t, err);
    return rc ? mffa_wrap(err, rc, "the sample could not be put below \"%s\"", mffa_store_url(t->far)) : rc;
}

static mffa_code submit(selftest *t, mffa_err *err) {
    const mffa_command *c = t->command;
    MFFA_AUTO(mffa_queue_close_p) mffa_queue *q = NULL;
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *ids = NULL;
    MFFA_AUTO(mffa_free_p) mffa_span *words = mffa_alloc_array((size_t)c->count + 16, sizeof *words);
    char urls[JOBS][PATH_MAX];
    static const char *const what[JOBS][2] = {{"dataset", "sample/dataset"}, {"weights", "sample/weights"}, {"output", "out"}};
    size_t n = 0;
    if (!words) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    words[n++] = mffa_span_of("pipeline");
    for (int i = 0; i < JOBS; i++) {
        snprintf(urls[i], sizeof urls[i], "%s/%s/%s", mffa_store_url(t->far), t->name, what[i][1]);
        words[n++] = mffa_span_of(what[i][0]), words[n++] = mffa_span_of(urls[i]);
    }
    words[n++] = mffa_span_of("psg"), words[n++] = mffa_span_of("off");
    words[n++] = mffa_span_of("side"), words[n++] = mffa_span_of("128");
    for (int i = 1; i < c->count; i++) words[n++] = mffa_span_of(c->words[i]);
    mffa_code rc = mffa_command_queue(c, &q, err);
    if (!rc) rc = mffa_queue_call(q, false, "submit", words, n, &ids, err);
    if (rc) return rc;
    for (size_t i = 0; i < mffa_reply_size(ids) && t->jobs < JOBS; i++)
        snprintf(t->ids[t->jobs++], sizeof t->ids[0], "%s", mffa_reply_text(mffa_reply_at(ids, i), ""));
    return MFFA_OK;
}

static mffa_code watch(selftest *t, mffa_err *err) {
    char *words[JOBS];
    for (int i = 0; i < t->jobs; i++) words[i] = t->ids[i];
    return mffa_command_watch(&(mffa_command){t->command->config, t->jobs, words}, err);
}

static mffa_code judge(selftest *t, double *auroc, mffa_err *err) {
    char got[PATH_MAX + 16];
    char *words[2] = {t->ids[t->jobs - 1], got};
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    MFFA_AUTO(mffa_json_close_p) mffa_json *summary = NULL;
    snprintf(got, sizeof got, "%s/got", t->folder);
    mffa_code rc = mffa_command_get(&(mffa_command){t->command->config, 2, words}, err);
    if (!rc) rc = mffa_store_get(t->local, "got/summary.json", SUMMARY_MAX_BYTES, &text, err);
    if (!rc) rc = mffa_json_parse(mffa_buf_span(&text), &summary, err);
    if (rc) return rc;
    *auroc = mffa_json_num(mffa_json_get(summary, "image_auroc"), -1);
    if (*auroc >= least_auroc) return MFFA_OK;
    return mffa_fail(err, MFFA_EINVAL, "image_auroc is %.4f: expected at least %.1f", *auroc, least_auroc);
}

mffa_code mffa_command_selftest(const mffa_command *c, mffa_err *err) {
    MFFA_AUTO(selftest_done) selftest t = {.command = c};
    double auroc = 0;
    int64_t began_ms = mffa_now_ms();
    if (c->count < 1) return mffa_fail(err, MFFA_EINVAL, "selftest needs a URL that workers may use: mffactl selftest s3://bucket/prefix");
    mffa_code rc = open_both(&t, c->words[0], err);
    if (!rc) rc = upload(&t, err);
    if (!rc) rc = submit(&t, err);
    if (!rc) rc = watch(&t, err);
    if (!rc) rc = judge(&t, &auroc, err);
    if (!rc) printf("selftest passed: image_auroc=%.4f in %.1f s\n", auroc, (double)(mffa_now_ms() - began_ms) / 1e3);
    return rc;
}
