#include <stdio.h>
#include <string.h>
#include "scheduler/ctl/command.h"
#include "scheduler/ctl/progress_line.h"

typedef struct keys {
    mffa_buf text; /* NUL-terminated, one after the other */
    int64_t count, bytes;
} keys;

static mffa_code note(void *ctx, const mffa_object *o, mffa_err *err) {
    keys *k = ctx;
    mffa_buf_put(&k->text, o->key, strlen(o->key) + 1);
    k->count++, k->bytes += o->bytes;
    return mffa_buf_check(&k->text, err);
}

static mffa_code put_all(mffa_store *from, mffa_store *target, const keys *k, mffa_err *err) {
    mffa_progress_line line;
    mffa_code rc = MFFA_OK;
    int64_t done = 0;
    mffa_progress_line_init(&line, stdout, "put");
    for (size_t at = 0; !rc && at < k->text.len; at += strlen(k->text.ptr + at) + 1) {
        MFFA_AUTO(mffa_free_p) char *path = NULL;
        rc = mffa_store_local(from, k->text.ptr + at, &path, err);
        if (!rc) rc = mffa_store_put_file_soon(target, k->text.ptr + at, path, MFFA_PUT_REPLACE, err);
        if (!rc) mffa_progress_line_show(&line, "objects", ++done, k->count);
    }
    mffa_code settled = mffa_store_settle(target, rc ? NULL : err);
    if (!rc) rc = settled;
    mffa_progress_line_end(&line, !rc);
    return rc;
}

mffa_code mffa_command_put(const mffa_command *c, mffa_err *err) {
    MFFA_AUTO(mffa_store_close_p) mffa_store *from = NULL;
    MFFA_AUTO(mffa_store_close_p) mffa_store *target = NULL;
    keys k = {0};
    if (c->count != 2) return mffa_fail(err, MFFA_EINVAL, "put needs a folder and a URL: mffactl put DIR URL");
    mffa_code rc = mffa_command_folder(c->words[0], &from, err);
    if (!rc) rc = mffa_store_open(c->words[1], &target, err);
    if (!rc) rc = mffa_store_list(from, "", note, &k, err);
    if (!rc && k.count == 0) rc = mffa_fail(err, MFFA_ENOTFOUND, "there are no files in \"%s\"", c->words[0]);
    if (!rc) rc = put_all(from, target, &k, err);
    if (!rc) printf("%lld objects, %.1f MB at %s\n", (long long)k.count, (double)k.bytes / 1e6, mffa_store_url(target));
    mffa_buf_done(&k.text);
    return rc;
}
