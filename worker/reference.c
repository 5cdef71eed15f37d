#include "worker/reference.h"

#include <string.h>
#include "storage/url.h"
#include "worker/pretrained.h"

void mffa_reference_done(mffa_reference *r) {
    mffa_manifest_done(&r->manifest);
    mffa_store_close(r->store);
    *r = (mffa_reference){0};
}

/* The newest run folder below a prefix. */
typedef struct search {
    mffa_store *store;
    const char *kind;
    char *folder; /* NULL: none yet */
    int64_t created_ms;
} search;

static bool starts(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

/* "<kind>-<job>/run-.../manifest.json", or "run-.../manifest.json" when the prefix is the job's folder: the length of the folder, or 0. */
static size_t run_folder_length(const char *key, const char *kind) {
    const char *at = key, *slash = strchr(key, '/');
    if (!slash) return 0;
    if (starts(at, kind) && at[strlen(kind)] == '-') at = slash + 1, slash = strchr(at, '/');
    return slash && starts(at, "run-") && strcmp(slash, "/" MFFA_MANIFEST_KEY) == 0 ? (size_t)(slash - key) : 0;
}

static mffa_code consider(void *ctx, const mffa_object *o, mffa_err *err) {
    search *s = ctx;
    size_t n = run_folder_length(o->key, s->kind);
    if (n == 0) return MFFA_OK;
    MFFA_AUTO(mffa_free_p) char *folder = strndup(o->key, n);
    MFFA_AUTO(mffa_manifest_done) mffa_manifest m = {0};
    if (!folder) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_code rc = mffa_manifest_read(s->store, folder, &m, err);
    if (rc || strcmp(m.kind, s->kind) != 0 || (s->folder && m.created_ms < s->created_ms)) return rc;
    free(s->folder);
    s->folder = MFFA_TAKE(folder);
    s->created_ms = m.created_ms;
    return MFFA_OK;
}

static mffa_code newest_below(mffa_store *store, const char *kind, char **folder, mffa_err *err) {
    search s = {.store = store, .kind = kind};
    char under[24];
    snprintf(under, sizeof under, "%s-", kind);
    mffa_code rc = mffa_store_list(store, under, consider, &s, err);
    if (!rc) rc = mffa_store_list(store, "run-", consider, &s, err);
    if (!rc && !s.folder)
        rc = mffa_fail(err, MFFA_ENOTFOUND, "there is no finished %s run at \"%s\": give the id of a done %s job, or the output it went to",
                       kind, mffa_store_url(store), kind);
    if (rc) free(s.folder);
    else *folder = s.folder;
    return rc;
}

static mffa_code resolve(mffa_job *j, const char *field, const char *url, const char *kind, mffa_reference *r, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) char *folder = NULL;
    mffa_code rc = newest_below(r->store, kind, &folder, err);
    if (rc) return rc;
    MFFA_AUTO(mffa_free_p) char *full = mffa_url_join(url, folder);
    if (!full) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_buf_putf(&j->note, "%s%s is the newest run below \"%s\": %s", j->note.len ? "; " : "", field, url, folder);
    mffa_store_close(MFFA_TAKE(r->store));
    rc = mffa_store_open(full, &r->store, err);
    return rc ? rc : mffa_manifest_read(r->store, "", &r->manifest, err);
}

static mffa_code open_url(mffa_job *j, const char *field, const char *url, const char *kind, const char *object, mffa_reference *r,
                          mffa_err *err) {
    mffa_err why = {0};
    mffa_code rc = mffa_store_open(url, &r->store, err);
    if (rc) return rc;
    rc = mffa_manifest_read(r->store, "", &r->manifest, &why);
    if (rc == MFFA_ENOTFOUND) rc = resolve(j, field, url, kind, r, err);
    else if (rc && err) *err = why;
    if (!rc && !mffa_manifest_find(&r->manifest, object))
        rc = mffa_fail(err, MFFA_EINVAL, "\"%s\" is a %s run without \"%s\": name a %s run", mffa_store_url(r->store), r->manifest.kind,
                       object, kind);
    return rc;
}

mffa_code mffa_reference_open(mffa_job *j, const char *field, const char *kind, const char *object, mffa_reference *out, mffa_err *err) {
    char pinned[32];
    snprintf(pinned, sizeof pinned, "%s_url", field);
    const char *url = mffa_job_text(j, pinned, mffa_job_text(j, field, NULL));
    if (!url) return mffa_fail(err, MFFA_EINVAL, "%s is missing: give the id of a %s job or the URL of its result", field, kind);
    mffa_code rc = mffa_job_allows(j, field, url, err);
    if (rc) return rc;
    rc = open_url(j, field, url, kind, object, out, err);
    return rc ? mffa_wrap(err, rc, "%s", field) : MFFA_OK;
}

mffa_code mffa_reference_take(mffa_job *j, mffa_reference *r, const char *object, mffa_pretrained_file *out, mffa_err *err) {
    const mffa_manifest_object *o = mffa_manifest_find(&r->manifest, object);
    mffa_pretrained_file file = {0};
    mffa_code rc = mffa_pretrained_take(j->engine, r->store, object, &file, err);
    if (!rc && (!o || strcmp(o->sha256, file.sha256) != 0))
        rc = mffa_fail(err, MFFA_EINVAL,
                       "\"%s/%s\" is not what its manifest says (sha256 %.12s, found %.12s): it was changed after it was made",
                       mffa_store_url(r->store), object, o ? o->sha256 : "none", file.sha256);
    if (rc) mffa_pretrained_file_done(&file);
    else *out = file;
    return rc;
}
