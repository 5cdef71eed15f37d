/* Walking the tree in the order of whole keys, as an object store lists them: "a-b" < "a/x" < "a0", so a folder sorts as its name
 * with "/" behind it. Held at a time: for each level one open descriptor and the names of its folder; a key's length bounds the levels. */
#include "storage/file_store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

typedef struct walk {
    const mffa_file_store *s;
    const char *under;
    char *real_root;
    mffa_buf key; /* of the entry being visited */
    bool drafts;  /* visit unfinished objects too */
    mffa_code (*file)(struct walk *w, int folder, const char *name, const struct stat *st, mffa_err *err);
    mffa_code (*left)(struct walk *w, int parent, const char *name, mffa_err *err); /* after a folder's content; NULL: nobody */
    mffa_store_each *fn;
    mffa_store_dead *dead;
    void *ctx;
} walk;

typedef struct names { /* offsets into bytes; a folder's name ends with "/" */
    mffa_buf bytes;
    size_t *at, count, room;
} names;

static void names_done(names *n) {
    mffa_buf_done(&n->bytes);
    free(n->at);
}

static bool add_name(names *n, const char *name, bool folder) {
    if (n->count == n->room) {
        size_t room = n->room ? 2 * n->room : 64;
        size_t *at = realloc(n->at, room * sizeof *at);
        if (!at) return false;
        n->at = at, n->room = room;
    }
    n->at[n->count++] = n->bytes.len;
    mffa_buf_put(&n->bytes, name, strlen(name));
    mffa_buf_put(&n->bytes, "/", folder ? 2 : 0);
    if (!folder) mffa_buf_put(&n->bytes, "", 1);
    return !n->bytes.failed;
}

static int by_bytes(const void *a, const void *b, void *bytes) {
    return strcmp((const char *)bytes + *(const size_t *)a, (const char *)bytes + *(const size_t *)b);
}

static bool is_folder(int folder, const struct dirent *e) {
    struct stat st;
    if (e->d_type != DT_UNKNOWN) return e->d_type == DT_DIR;
    return fstatat(folder, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static void closedir_p(DIR **d) {
    if (*d) closedir(*d);
}

static mffa_code read_names(walk *w, int folder, names *out, mffa_err *err) {
    int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    MFFA_AUTO(closedir_p) DIR *dir = copy < 0 ? NULL : fdopendir(copy);
    if (!dir) return mffa_file_fail(w->s, mffa_buf_text(&w->key), "cannot list", errno, err);
    for (;;) {
        errno = 0;
        const struct dirent *e = readdir(dir);
        if (!e && errno) return mffa_file_fail(w->s, mffa_buf_text(&w->key), "could not list", errno, err);
        if (!e) break;
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
        if (!w->drafts && strncmp(e->d_name, MFFA_TEMP_PREFIX, strlen(MFFA_TEMP_PREFIX)) == 0) continue;
        if (!add_name(out, e->d_name, is_folder(folder, e))) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    }
    if (out->count > 1) qsort_r(out->at, out->count, sizeof *out->at, by_bytes, out->bytes.ptr);
    return MFFA_OK;
}

static bool starts_with(const char *text, const char *start) { return strncmp(text, start, strlen(start)) == 0; }

/* A link may name a file below the prefix. Anything else is an error and not left out: a silently smaller data set is worse. */
static mffa_code check_link(walk *w, int folder, const char *name, mffa_err *err) {
    struct stat st;
    const char *key = mffa_buf_text(&w->key);
    MFFA_AUTO(mffa_close_fd_p) int fd = openat(folder, name, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) return mffa_file_fail(w->s, key, "cannot follow the link", errno, err);
    mffa_code rc = mffa_file_check_inside(w->s, w->real_root, key, fd, err);
    if (rc) return rc;
    if (S_ISDIR(st.st_mode))
        return mffa_fail(err, MFFA_EDENIED, "\"%s/%s\" is a link to a folder: only links to files are followed", w->s->base.url, key);
    return MFFA_OK;
}

static mffa_code visit_file(walk *w, int folder, const char *name, mffa_err *err) {
    struct stat st;
    if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0) /* deleted since the folder was read */
        return errno == ENOENT ? MFFA_OK : mffa_file_fail(w->s, mffa_buf_text(&w->key), "could not read", errno, err);
    return w->file(w, folder, name, &st, err);
}

static mffa_code walk_folder(walk *w, int folder, mffa_err *err);

static mffa_code visit_folder(walk *w, int parent, const char *name, mffa_err *err) {
    enum { DEEPEST_BYTES = 1024 };
    if (w->key.len > DEEPEST_BYTES)
        return mffa_fail(err, MFFA_EINVAL, "\"%s/%.80s...\" is too deep to list: keys have at most 1024 bytes", w->s->base.url,
                         mffa_buf_text(&w->key));
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? MFFA_OK : mffa_file_fail(w->s, mffa_buf_text(&w->key), "cannot list", errno, err);
    mffa_code rc = walk_folder(w, fd, err);
    close(fd);
    return rc || !w->left ? rc : w->left(w, parent, name, err);
}

static mffa_code visit(walk *w, int folder, const char *name, mffa_err *err) {
    size_t before = w->key.len;
    mffa_buf_puts(&w->key, name);
    mffa_code rc = mffa_buf_check(&w->key, err);
    if (rc) return rc;
    const char *key = mffa_buf_text(&w->key);
    bool is_dir = key[w->key.len - 1] == '/', inside = starts_with(key, w->under);
    if (is_dir && (inside || starts_with(w->under, key))) rc = visit_folder(w, folder, name, err);
    else if (!is_dir && inside) rc = visit_file(w, folder, name, err);
    w->key.len = before;
    w->key.ptr[before] = '\0';
    return rc;
}

static mffa_code walk_folder(walk *w, int folder, mffa_err *err) {
    MFFA_AUTO(names_done) names n = {0};
    mffa_code rc = read_names(w, folder, &n, err);
    for (size_t i = 0; !rc && i < n.count; i++) rc = visit(w, folder, n.bytes.ptr + n.at[i], err);
    return rc;
}

static mffa_code walk_root(walk *w, mffa_err *err) {
    MFFA_AUTO(mffa_close_fd_p) int root = open(w->s->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 && errno == ENOENT) return MFFA_OK;
    if (root < 0) return mffa_file_fail(w->s, "", "cannot list", errno, err);
    mffa_code rc = mffa_file_real_root(w->s, &w->real_root, err);
    if (!rc) rc = walk_folder(w, root, err);
    free(w->real_root);
    mffa_buf_done(&w->key);
    return rc;
}

static mffa_code list_file(walk *w, int folder, const char *name, const struct stat *st, mffa_err *err) {
    const char *key = mffa_buf_text(&w->key);
    struct stat target = *st;
    mffa_code rc = mffa_key_check(key, err);
    if (rc) return mffa_wrap(err, rc, "cannot list \"%s\"", w->s->base.url);
    if (S_ISLNK(st->st_mode)) {
        rc = check_link(w, folder, name, err);
        if (rc) return rc;
        if (fstatat(folder, name, &target, 0) != 0) return mffa_file_fail(w->s, key, "could not read", errno, err);
    }
    if (!S_ISREG(target.st_mode)) return MFFA_OK; /* sockets, pipes and devices are no objects */
    MFFA_AUTO(mffa_free_p) char *etag = mffa_file_etag(&target);
    if (!etag) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    return w->fn(w->ctx, &(mffa_object){key, target.st_size, etag}, err);
}

mffa_code mffa_file_list(mffa_store *s, const char *under, mffa_store_each *fn, void *ctx, mffa_err *err) {
    return walk_root(&(walk){.s = mffa_file_store_of(s), .under = under, .file = list_file, .fn = fn, .ctx = ctx}, err);
}

static mffa_code remove_file(walk *w, int folder, const char *name, const struct stat *st, mffa_err *err) {
    (void)st;
    if (unlinkat(folder, name, 0) == 0 || errno == ENOENT) return MFFA_OK;
    return mffa_file_fail(w->s, mffa_buf_text(&w->key), "cannot delete", errno, err);
}

static mffa_code remove_dead_draft(walk *w, int folder, const char *name, const struct stat *st, mffa_err *err) {
    bool draft = starts_with(name, MFFA_TEMP_PREFIX);
    return draft && w->dead(w->ctx, mffa_buf_text(&w->key)) ? remove_file(w, folder, name, st, err) : MFFA_OK;
}

static mffa_code remove_folder(walk *w, int parent, const char *name, mffa_err *err) {
    if (!starts_with(mffa_buf_text(&w->key), w->under)) return MFFA_OK;
    if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT || errno == ENOTEMPTY || errno == EEXIST) return MFFA_OK;
    return mffa_file_fail(w->s, mffa_buf_text(&w->key), "cannot delete", errno, err);
}

mffa_code mffa_file_remove_all(mffa_store *s, const char *under, mffa_err *err) {
    return walk_root(&(walk){.s = mffa_file_store_of(s), .under = under, .drafts = true, .file = remove_file, .left = remove_folder}, err);
}

mffa_code mffa_file_end_uploads(mffa_store *s, const char *under, mffa_store_dead *dead, void *ctx, mffa_err *err) {
    walk w = {.s = mffa_file_store_of(s), .under = under, .drafts = true, .file = remove_dead_draft, .left = remove_folder, .dead = dead};
    w.ctx = ctx;
    return walk_root(&w, err);
}
