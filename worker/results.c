#include "worker/results.h"

#include <string.h>
#include <sys/stat.h>
#include "core/base/clock.h"

struct mffa_results {
    mffa_store *output;
    char *job_folder, *folder, *url; /* keys in output, and the run folder's URL */
    mffa_manifest manifest;
};

void mffa_results_close(mffa_results *r) {
    if (!r) return;
    free(r->job_folder);
    free(r->folder);
    free(r->url);
    mffa_manifest_done(&r->manifest);
    free(r);
}

const char *mffa_results_url(const mffa_results *r) { return r->url; }

static char *key_of(const mffa_results *r, const char *name) { return mffa_url_join(r->folder, name); }

/* What earlier runs left: whole objects, and on files also half-written ones and empty folders, which no listing shows. Runs only ever
 * grow: a folder with a later number belongs to whoever holds the job now. */
static mffa_code remove_leftovers(const mffa_results *r, mffa_err *err) {
    mffa_code rc = MFFA_OK;
    for (int64_t run = 1; !rc && run < r->manifest.run; run++) {
        MFFA_AUTO(mffa_buf_done) mffa_buf under = {0};
        mffa_buf_putf(&under, "%s/run-%lld-", r->job_folder, (long long)run);
        rc = mffa_buf_check(&under, err);
        if (!rc) rc = mffa_store_delete_all(r->output, mffa_buf_text(&under), err);
    }
    return rc;
}

/* Everything below the job's folder is written by the run that holds the job, but for the folders of later runs. */
static bool nobody_writes(void *ctx, const char *key) {
    const mffa_results *r = ctx;
    const char *name = key + strlen(r->job_folder) + 1;
    return strncmp(name, "run-", 4) != 0 || strtoll(name + 4, NULL, 10) < r->manifest.run;
}

/* What a killed run had begun to write appears in no list. */
static mffa_code end_uploads(mffa_results *r, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) char *under = mffa_url_join(r->job_folder, "");
    if (!under) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    return mffa_store_end_uploads(r->output, under, nobody_writes, r, err);
}

/* An output that cannot be written is found out now, not after hours of work. */
static mffa_code prove_writable(mffa_results *r, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) char *key = key_of(r, "started");
    if (!key) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_code rc = mffa_store_put(r->output, key, mffa_span_of(r->manifest.job), MFFA_PUT_REPLACE, err);
    if (!rc) rc = mffa_store_delete(r->output, key, err);
    return rc ? mffa_wrap(err, rc, "output cannot be used") : MFFA_OK;
}

static bool name_folders(mffa_results *r) {
    const mffa_manifest *m = &r->manifest;
    if (asprintf(&r->job_folder, "%s-%s", m->kind, m->job) < 0) return r->job_folder = NULL, false;
    if (asprintf(&r->folder, "%s/run-%lld-%s", r->job_folder, (long long)m->run, m->nonce) < 0) return r->folder = NULL, false;
    r->url = mffa_url_join(mffa_store_url(r->output), r->folder);
    return r->url;
}

/* Nothing is read or written yet. */
static mffa_code name_results(mffa_store *output, const char *kind, const char *job, int64_t run, const char *nonce, mffa_results **out,
                              mffa_err *err) {
    MFFA_AUTO(mffa_results_close_p) mffa_results *r = calloc(1, sizeof *r);
    if (!r) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    r->output = output;
    r->manifest.run = run;
    snprintf(r->manifest.kind, sizeof r->manifest.kind, "%s", kind);
    snprintf(r->manifest.job, sizeof r->manifest.job, "%s", job);
    snprintf(r->manifest.nonce, sizeof r->manifest.nonce, "%s", nonce);
    if (!name_folders(r)) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    *out = MFFA_TAKE(r);
    return MFFA_OK;
}

mffa_code mffa_results_open(mffa_store *output, const char *kind, const char *job, int64_t run, const char *nonce, mffa_results **out,
                            mffa_err *err) {
    MFFA_AUTO(mffa_results_close_p) mffa_results *r = NULL;
    mffa_code rc = name_results(output, kind, job, run, nonce, &r, err);
    if (!rc) rc = prove_writable(r, err);
    if (!rc) rc = remove_leftovers(r, err);
    if (!rc) rc = end_uploads(r, err);
    if (!rc) *out = MFFA_TAKE(r);
    return rc;
}

mffa_code mffa_results_forget(const char *output, const char *kind, const char *job, int64_t run, const char *nonce, mffa_err *err) {
    MFFA_AUTO(mffa_store_close_p) mffa_store *store = NULL;
    MFFA_AUTO(mffa_results_close_p) mffa_results *r = NULL;
    mffa_code rc = mffa_store_open(output, &store, err);
    if (!rc) rc = name_results(store, kind, job, run, nonce, &r, err);
    return rc ? rc : mffa_results_discard(r, err);
}

void mffa_results_trace(mffa_results *r, const char *trace) { snprintf(r->manifest.trace, sizeof r->manifest.trace, "%s", trace); }

mffa_code mffa_results_put(mffa_results *r, const char *name, mffa_span bytes, mffa_err *err) {
    char sha256[MFFA_SHA256_HEX];
    MFFA_AUTO(mffa_free_p) char *key = key_of(r, name);
    if (!key) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_code rc = mffa_sha256_of(bytes, sha256, err);
    if (!rc) rc = mffa_store_put_soon(r->output, key, bytes, MFFA_PUT_NEW, err);
    return rc ? rc : mffa_manifest_add(&r->manifest, name, (int64_t)bytes.len, sha256, err);
}

mffa_code mffa_results_put_file(mffa_results *r, const char *name, const char *path, mffa_err *err) {
    char sha256[MFFA_SHA256_HEX];
    struct stat st;
    MFFA_AUTO(mffa_free_p) char *key = key_of(r, name);
    if (!key) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_code rc = mffa_sha256_file(path, sha256, err);
    if (!rc) rc = mffa_store_put_file(r->output, key, path, MFFA_PUT_NEW, err);
    if (!rc && stat(path, &st) != 0) rc = mffa_fail(err, MFFA_EIO, "could not read \"%s\"", path);
    return rc ? rc : mffa_manifest_add(&r->manifest, name, st.st_size, sha256, err);
}

mffa_code mffa_results_finish(mffa_results *r, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    MFFA_AUTO(mffa_free_p) char *key = key_of(r, MFFA_MANIFEST_KEY);
    if (!key) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    r->manifest.created_ms = mffa_wall_ms();
    mffa_code rc = mffa_manifest_write(&r->manifest, &text, err);
    if (!rc) rc = mffa_store_settle(r->output, err); /* the manifest is the last object */
    return rc ? rc : mffa_store_put(r->output, key, mffa_buf_span(&text), MFFA_PUT_NEW, err);
}

mffa_code mffa_results_discard(mffa_results *r, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf under = {0};
    mffa_buf_putf(&under, "%s/", r->folder);
    mffa_code rc = mffa_buf_check(&under, err);
    (void)!mffa_store_settle(r->output, NULL); /* nothing arrives behind the deletion */
    return rc ? rc : mffa_store_delete_all(r->output, mffa_buf_text(&under), err);
}
