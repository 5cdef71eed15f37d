/* mffactl get: a run folder fetched, or (--presign) URLs with which anybody fetches its objects. */
#include <stdio.h>
#include <string.h>
#include "scheduler/ctl/command.h"
#include "scheduler/ctl/progress_line.h"
#include "worker/manifest.h"

/* The folder that a done job published; freed by the caller. */
static mffa_code result_of(const mffa_command *c, const char *id, char **url, mffa_err *err) {
    MFFA_AUTO(mffa_queue_close_p) mffa_queue *q = NULL;
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *record = NULL;
    mffa_span word = mffa_span_of(id);
    mffa_code rc = mffa_command_queue(c, &q, err);
    if (!rc) rc = mffa_queue_call(q, true, "status", &word, 1, &record, err);
    if (rc) return rc;
    const char *result = mffa_reply_text(mffa_reply_field(record, "result"), "");
    if (!*result)
        return mffa_fail(err, MFFA_EINVAL, "job %s is %s: it has published nothing; mffactl watch %s follows it", id,
                         mffa_reply_text(mffa_reply_field(record, "state"), "unknown"), id);
    *url = strdup(result);
    return *url ? MFFA_OK : mffa_fail(err, MFFA_ENOMEM, "out of memory");
}

enum { SMALL_BYTES = 8 << 20 }; /* such objects need no copy on this disk on their way */

static bool has_it(mffa_store *target, const mffa_manifest_object *o) {
    MFFA_AUTO(mffa_free_p) char *path = NULL;
    char sha256[MFFA_SHA256_HEX];
    int64_t bytes = 0;
    return !mffa_store_head(target, o->key, &bytes, NULL, NULL) && bytes == o->bytes && !mffa_store_local(target, o->key, &path, NULL) &&
           !mffa_sha256_file(path, sha256, NULL) && strcmp(sha256, o->sha256) == 0;
}

static mffa_code check(mffa_store *from, const mffa_manifest_object *o, const char *sha256, mffa_err *err) {
    if (strcmp(sha256, o->sha256) == 0) return MFFA_OK;
    return mffa_fail(err, MFFA_EINVAL,
                     "\"%s/%s\" is not what its manifest says (sha256 %.12s, found %.12s): it was changed after it was made",
                     mffa_store_url(from), o->key, o->sha256, sha256);
}

static mffa_code fetch_small(mffa_store *from, mffa_store *target, const mffa_manifest_object *o, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf bytes = {0};
    char sha256[MFFA_SHA256_HEX];
    mffa_code rc = mffa_store_get(from, o->key, SMALL_BYTES, &bytes, err);
    if (!rc) rc = mffa_sha256_of(mffa_buf_span(&bytes), sha256, err);
    if (!rc) rc = check(from, o, sha256, err);
    return rc ? rc : mffa_store_put(target, o->key, mffa_buf_span(&bytes), MFFA_PUT_REPLACE, err);
}

static mffa_code fetch(mffa_store *from, mffa_store *target, const mffa_manifest_object *o, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) char *path = NULL;
    char sha256[MFFA_SHA256_HEX];
    if (o->bytes <= SMALL_BYTES) return fetch_small(from, target, o, err);
    mffa_code rc = mffa_store_local(from, o->key, &path, err);
    if (!rc) rc = mffa_sha256_file(path, sha256, err);
    if (!rc) rc = check(from, o, sha256, err);
    return rc ? rc : mffa_store_put_file(target, o->key, path, MFFA_PUT_REPLACE, err);
}

/* Several at a time, in the versions that are there now. */
typedef struct listing {
    mffa_object *items;
    size_t count;
} listing;

static mffa_code note(void *ctx, const mffa_object *o, mffa_err *err) {
    listing *l = ctx;
    mffa_object *more = reallocarray(l->items, l->count + 1, sizeof *more);
    if (more) l->items = more, more[l->count++] = (mffa_object){strdup(o->key), o->bytes, strdup(o->etag)};
    return more && more[l->count - 1].key && more[l->count - 1].etag ? MFFA_OK : mffa_fail(err, MFFA_ENOMEM, "out of memory");
}

static mffa_code expect_all(mffa_store *from, mffa_err *err) {
    listing l = {0};
    mffa_code rc = mffa_store_list(from, "", note, &l, err);
    if (rc == MFFA_EDENIED) rc = MFFA_OK; /* whoever may get and not list gets one after the other */
    if (!rc) rc = mffa_store_expect(from, l.items, l.count, err);
    for (size_t i = 0; i < l.count; i++) free((void *)(uintptr_t)l.items[i].key), free((void *)(uintptr_t)l.items[i].etag);
    free(l.items);
    return rc;
}

static mffa_code fetch_all(mffa_store *from, mffa_store *target, const mffa_manifest *m, int64_t *kept, int64_t *bytes, mffa_err *err) {
    mffa_progress_line line;
    mffa_code rc = MFFA_OK;
    mffa_progress_line_init(&line, stdout, "get");
    for (size_t i = 0; !rc && i < m->count; i++) {
        const mffa_manifest_object *o = &m->objects[i];
        rc = mffa_key_check(o->key, err); /* before it is looked for on this disk */
        if (rc) break;
        if (has_it(target, o)) ++*kept;
        else rc = fetch(from, target, o, err);
        *bytes += o->bytes;
        if (!rc) mffa_progress_line_show(&line, "objects", (int64_t)i + 1, (int64_t)m->count);
    }
    mffa_progress_line_end(&line, !rc);
    return rc;
}

/* The folder that a job's id or a URL names. */
static mffa_code open_run(const mffa_command *c, const char *word, mffa_store **out, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) char *url = NULL;
    mffa_code rc = strstr(word, "://") ? MFFA_OK : result_of(c, word, &url, err);
    return rc ? rc : mffa_store_open(url ? url : word, out, err);
}

/* ---- presign ---- */

enum { A_DAY_S = 86400 };

static mffa_code print_url(mffa_store *from, const char *key, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf url = {0};
    mffa_code rc = mffa_store_presign(from, key, A_DAY_S, &url, err);
    if (!rc) puts(mffa_buf_text(&url));
    return rc;
}

static mffa_code presign(const mffa_command *c, mffa_err *err) {
    MFFA_AUTO(mffa_store_close_p) mffa_store *from = NULL;
    MFFA_AUTO(mffa_manifest_done) mffa_manifest m = {0};
    int64_t bytes = 0;
    if (c->count < 2 || c->count > 3) return mffa_fail(err, MFFA_EINVAL, "get --presign needs a job: mffactl get --presign ID|URL [KEY]");
    const char *key = c->count == 3 ? c->words[2] : NULL;
    mffa_code rc = open_run(c, c->words[1], &from, err);
    if (!rc && key) rc = mffa_store_head(from, key, &bytes, NULL, err); /* a URL of what is not there would only disappoint later */
    if (!rc && key) return print_url(from, key, err);
    if (!rc) rc = mffa_manifest_read(from, "", &m, err);
    for (size_t i = 0; !rc && i < m.count; i++) rc = print_url(from, m.objects[i].key, err);
    return rc ? rc : print_url(from, MFFA_MANIFEST_KEY, err);
}

mffa_code mffa_command_get(const mffa_command *c, mffa_err *err) {
    MFFA_AUTO(mffa_store_close_p) mffa_store *from = NULL;
    MFFA_AUTO(mffa_store_close_p) mffa_store *target = NULL;
    MFFA_AUTO(mffa_manifest_done) mffa_manifest m = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    int64_t kept = 0, bytes = 0;
    if (c->count > 0 && strcmp(c->words[0], MFFA_COMMAND_PRESIGN) == 0) return presign(c, err);
    if (c->count != 2) return mffa_fail(err, MFFA_EINVAL, "get needs a job and a folder: mffactl get ID|URL DIR");
    mffa_code rc = open_run(c, c->words[0], &from, err);
    if (!rc) rc = mffa_manifest_read(from, "", &m, err);
    if (!rc) rc = mffa_command_folder(c->words[1], &target, err);
    if (!rc) rc = expect_all(from, err);
    if (!rc) rc = fetch_all(from, target, &m, &kept, &bytes, err);
    if (!rc) rc = mffa_manifest_write(&m, &text, err);
    if (!rc) rc = mffa_store_put(target, MFFA_MANIFEST_KEY, mffa_buf_span(&text), MFFA_PUT_REPLACE, err);
    if (rc) return rc;
    printf("%zu objects, %.1f MB in %s (%lld were there already)\n", m.count, (double)bytes / 1e6, c->words[1], (long long)kept);
    return MFFA_OK;
}
