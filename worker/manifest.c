#include "worker/manifest.h"

#include <string.h>
#include "core/base/json.h"

enum { VERSION = 1, MANIFEST_MAX_BYTES = 256 << 20 };

void mffa_manifest_done(mffa_manifest *m) {
    if (!m) return;
    for (size_t i = 0; i < m->count; i++) free(m->objects[i].key);
    free(m->objects);
    *m = (mffa_manifest){0};
}

static bool make_room(mffa_manifest *m) {
    if (m->count < m->room) return true;
    size_t room = m->room ? 2 * m->room : 16;
    mffa_manifest_object *more = reallocarray(m->objects, room, sizeof *more);
    if (!more) return false;
    m->objects = more, m->room = room;
    return true;
}

mffa_code mffa_manifest_add(mffa_manifest *m, const char *key, int64_t bytes, const char sha256[MFFA_SHA256_HEX], mffa_err *err) {
    char *copy = strdup(key);
    if (!copy || !make_room(m)) {
        free(copy);
        return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    }
    mffa_manifest_object *o = &m->objects[m->count++];
    *o = (mffa_manifest_object){.key = copy, .bytes = bytes};
    snprintf(o->sha256, sizeof o->sha256, "%s", sha256);
    return MFFA_OK;
}

const mffa_manifest_object *mffa_manifest_find(const mffa_manifest *m, const char *key) {
    for (size_t i = 0; i < m->count; i++)
        if (strcmp(m->objects[i].key, key) == 0) return &m->objects[i];
    return NULL;
}

static mffa_json *objects_json(const mffa_manifest *m) {
    mffa_json *list = mffa_json_array();
    for (size_t i = 0; i < m->count; i++) {
        mffa_json *o = mffa_json_object();
        mffa_json_set(o, "key", mffa_json_of_text(m->objects[i].key));
        mffa_json_set(o, "bytes", mffa_json_of_int(m->objects[i].bytes));
        mffa_json_set(o, "sha256", mffa_json_of_text(m->objects[i].sha256));
        mffa_json_push(list, o);
    }
    return list;
}

mffa_code mffa_manifest_write(const mffa_manifest *m, mffa_buf *out, mffa_err *err) {
    MFFA_AUTO(mffa_json_close_p) mffa_json *j = mffa_json_object();
    mffa_json_set(j, "v", mffa_json_of_int(VERSION));
    mffa_json_set(j, "kind", mffa_json_of_text(m->kind));
    mffa_json_set(j, "job", mffa_json_of_text(m->job));
    mffa_json_set(j, "run", mffa_json_of_int(m->run));
    mffa_json_set(j, "nonce", mffa_json_of_text(m->nonce));
    mffa_json_set(j, "version", mffa_json_of_text(MFFA_VERSION));
    mffa_json_set(j, "created_ms", mffa_json_of_int(m->created_ms));
    if (*m->trace) mffa_json_set(j, "trace", mffa_json_of_text(m->trace));
    mffa_json_set(j, "objects", objects_json(m));
    return mffa_json_write(j, 1, out, err);
}

static mffa_code read_object(mffa_manifest *m, const mffa_json *o, mffa_err *err) {
    const char *key = mffa_json_text(mffa_json_get(o, "key"), ""), *sha256 = mffa_json_text(mffa_json_get(o, "sha256"), "");
    int64_t bytes = mffa_json_int(mffa_json_get(o, "bytes"), -1);
    if (mffa_key_check(key, NULL) || strlen(sha256) != MFFA_SHA256_HEX - 1 || bytes < 0)
        return mffa_fail(err, MFFA_EINVAL, "object \"%.80s\" lacks a key, a size or a sha256", key);
    return mffa_manifest_add(m, key, bytes, sha256, err);
}

static mffa_code read_json(mffa_manifest *m, const mffa_json *j, mffa_err *err) {
    if (mffa_json_int(mffa_json_get(j, "v"), 0) != VERSION) return mffa_fail(err, MFFA_EINVAL, "not a manifest of version %d", VERSION);
    snprintf(m->kind, sizeof m->kind, "%s", mffa_json_text(mffa_json_get(j, "kind"), ""));
    snprintf(m->job, sizeof m->job, "%s", mffa_json_text(mffa_json_get(j, "job"), ""));
    snprintf(m->nonce, sizeof m->nonce, "%s", mffa_json_text(mffa_json_get(j, "nonce"), ""));
    snprintf(m->trace, sizeof m->trace, "%s", mffa_json_text(mffa_json_get(j, "trace"), ""));
    m->run = mffa_json_int(mffa_json_get(j, "run"), 0);
    m->created_ms = mffa_json_int(mffa_json_get(j, "created_ms"), 0);
    const mffa_json *list = mffa_json_get(j, "objects");
    mffa_code rc = MFFA_OK;
    for (size_t i = 0; !rc && i < mffa_json_size(list); i++) rc = read_object(m, mffa_json_at(list, i), err);
    return rc;
}

mffa_code mffa_manifest_read(mffa_store *s, const char *folder, mffa_manifest *out, mffa_err *err) {
    MFFA_AUTO(mffa_manifest_done) mffa_manifest m = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf key = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    MFFA_AUTO(mffa_json_close_p) mffa_json *j = NULL;
    mffa_buf_putf(&key, "%s%s" MFFA_MANIFEST_KEY, folder, *folder ? "/" : "");
    mffa_code rc = mffa_buf_check(&key, err);
    if (!rc) rc = mffa_store_get(s, mffa_buf_text(&key), MANIFEST_MAX_BYTES, &text, err);
    if (rc) return rc;
    rc = mffa_json_parse(mffa_buf_span(&text), &j, err);
    if (!rc) rc = read_json(&m, j, err);
    if (rc) return mffa_wrap(err, rc, "\"%s/%s\"", mffa_store_url(s), mffa_buf_text(&key));
    *out = m;
    m = (mffa_manifest){0};
    return MFFA_OK;
}
