/* Our S3 client as a program: bench_storage put URL URL | get URL FOLDER | list URL. Settings come from the environment. */
#include <stdio.h>
#include <string.h>
#include "storage/store.h"

typedef struct objects {
    mffa_object *items;
    size_t count, room;
} objects;

static mffa_code note(void *ctx, const mffa_object *o, mffa_err *err) {
    objects *all = ctx;
    if (all->count == all->room) {
        size_t room = all->room ? 2 * all->room : 1024;
        mffa_object *more = reallocarray(all->items, room, sizeof *more);
        if (!more) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
        all->items = more, all->room = room;
    }
    mffa_object *item = &all->items[all->count++];
    *item = (mffa_object){strdup(o->key), o->bytes, strdup(o->etag)};
    return item->key && item->etag ? MFFA_OK : mffa_fail(err, MFFA_ENOMEM, "out of memory");
}

static mffa_code put(mffa_store *from, mffa_store *to, mffa_err *err) {
    objects all = {0};
    mffa_code rc = mffa_store_list(from, "", note, &all, err);
    for (size_t i = 0; !rc && i < all.count; i++) {
        MFFA_AUTO(mffa_free_p) char *path = NULL;
        rc = mffa_store_local(from, all.items[i].key, &path, err);
        if (!rc) rc = mffa_store_put_file_soon(to, all.items[i].key, path, MFFA_PUT_REPLACE, err);
    }
    return rc ? rc : mffa_store_settle(to, err);
}

/* As a worker does it: every object ends as a copy in the local cache. */
static mffa_code get(mffa_store *from, mffa_err *err) {
    objects all = {0};
    mffa_code rc = mffa_store_list(from, "", note, &all, err);
    if (!rc) rc = mffa_store_expect(from, all.items, all.count, err);
    for (size_t i = 0; !rc && i < all.count; i++) {
        MFFA_AUTO(mffa_free_p) char *path = NULL;
        rc = mffa_store_local(from, all.items[i].key, &path, err);
    }
    return rc;
}

static mffa_code list(mffa_store *s, mffa_err *err) {
    objects all = {0};
    mffa_code rc = mffa_store_list(s, "", note, &all, err);
    if (!rc) printf("%zu\n", all.count);
    return rc;
}

static mffa_code run(int argc, char **argv, mffa_err *err) {
    MFFA_AUTO(mffa_store_close_p) mffa_store *first = NULL;
    MFFA_AUTO(mffa_store_close_p) mffa_store *second = NULL;
    mffa_config c = {0};
    bool is_get = argc == 4 && strcmp(argv[1], "get") == 0, is_put = argc == 4 && strcmp(argv[1], "put") == 0;
    if (!is_get && !is_put && (argc != 3 || strcmp(argv[1], "list") != 0))
        return mffa_fail(err, MFFA_EINVAL, "usage: bench_storage put URL URL | get URL FOLDER | list URL");
    mffa_code rc = mffa_config_load_env(&c, MFFA_WORKER, err);
    if (!rc) rc = mffa_store_setup(&c, is_get ? argv[3] : "/nonexistent", err);
    mffa_config_done(&c);
    if (!rc) rc = mffa_store_open(argv[2], &first, err);
    if (!rc && is_put) rc = mffa_store_open(argv[3], &second, err);
    if (rc) return rc;
    return is_put ? put(first, second, err) : is_get ? get(first, err) : list(first, err);
}

int main(int argc, char **argv) {
    mffa_err err = {0};
    mffa_code rc = run(argc, argv, &err);
    if (rc) fprintf(stderr, "bench_storage: %s\n", err.msg);
    mffa_store_teardown();
    return rc != MFFA_OK;
}
