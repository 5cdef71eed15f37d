#include "storage/file_store.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

static mffa_code code_of(int error) {
    switch (error) {
    case ENOENT: return MFFA_ENOTFOUND;
    case EACCES: case EPERM: case EROFS: case ELOOP: return MFFA_EDENIED;
    case ENOSPC: case EDQUOT: case EFBIG: return MFFA_ENOSPC;
    case EEXIST: return MFFA_EEXISTS;
    case EISDIR: case ENOTDIR: case ENAMETOOLONG: case ENOTEMPTY: return MFFA_EINVAL;
    case ENOMEM: return MFFA_ENOMEM;
    default: return MFFA_EIO;
    }
}

mffa_code mffa_file_fail(const mffa_file_store *s, const char *key, const char *doing, int error, mffa_err *err) {
    return mffa_fail(err, code_of(error), "%s \"%s/%s\": %s", doing, s->base.url, key, strerror(error));
}

mffa_code mffa_file_real_root(const mffa_file_store *s, char **out, mffa_err *err) {
    char *real = realpath(s->root, NULL);
    if (!real) return mffa_file_fail(s, "", "cannot open", errno, err);
    *out = real;
    return MFFA_OK;
}

mffa_code mffa_file_check_inside(const mffa_file_store *s, const char *real_root, const char *key, int fd, mffa_err *err) {
    char link[64], where[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, where, sizeof where - 1);
    if (n < 0) return mffa_file_fail(s, key, "cannot tell the place of", errno, err);
    where[n] = '\0';
    size_t len = strlen(real_root);
    if (strcmp(real_root, "/") == 0 || (strncmp(where, real_root, len) == 0 && (where[len] == '/' || where[len] == '\0'))) return MFFA_OK;
    return mffa_fail(err, MFFA_EDENIED, "\"%s/%s\" is a link to \"%s\", outside of the prefix", s->base.url, key, where);
}

static char *path_of(const mffa_file_store *s, const char *key) {
    char *path = NULL;
    return asprintf(&path, "%s/%s", strcmp(s->root, "/") == 0 ? "" : s->root, key) < 0 ? NULL : path;
}

mffa_code mffa_file_open(const mffa_file_store *s, const char *key, int *out, struct stat *st, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) char *path = path_of(s, key);
    if (!path) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    /* O_NONBLOCK: a FIFO in the folder must not hold the caller up; it has no effect on regular files */
    MFFA_AUTO(mffa_close_fd_p) int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0) return mffa_file_fail(s, key, "cannot open", errno == ENOTDIR ? ENOENT : errno, err);
    if (fstat(fd, st) != 0) return mffa_file_fail(s, key, "could not read", errno, err);
    if (!S_ISREG(st->st_mode)) return mffa_file_fail(s, key, "cannot open", ENOENT, err);
    MFFA_AUTO(mffa_free_p) char *real_root = NULL;
    mffa_code rc = mffa_file_real_root(s, &real_root, err);
    if (!rc) rc = mffa_file_check_inside(s, real_root, key, fd, err);
    if (rc) return rc;
    *out = fd;
    fd = -1;
    return MFFA_OK;
}

char *mffa_file_etag(const struct stat *st) {
    char *etag = NULL;
    int n = asprintf(&etag, "%llx-%llx%08lx-%llx", (unsigned long long)st->st_size, (unsigned long long)st->st_mtim.tv_sec,
                     (unsigned long)st->st_mtim.tv_nsec, (unsigned long long)st->st_ino);
    return n < 0 ? NULL : etag;
}

static mffa_code file_head(mffa_store *store, const char *key, int64_t *bytes, char **etag, mffa_err *err) {
    mffa_file_store *s = mffa_file_store_of(store);
    MFFA_AUTO(mffa_close_fd_p) int fd = -1;
    struct stat st;
    mffa_code rc = mffa_file_open(s, key, &fd, &st, err);
    if (rc) return rc;
    char *text = etag ? mffa_file_etag(&st) : NULL;
    if (etag && !text) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    *bytes = st.st_size;
    if (etag) *etag = text;
    return MFFA_OK;
}

static mffa_code read_all(const mffa_file_store *s, const char *key, int fd, int64_t max_bytes, mffa_buf *out, mffa_err *err) {
    enum { PIECE = 1 << 16 };
    for (int64_t got = 0;;) {
        char *at = mffa_buf_extend(out, PIECE);
        if (!at) return mffa_buf_check(out, err);
        ssize_t n = read(fd, at, PIECE);
        out->len -= PIECE - (size_t)(n > 0 ? n : 0);
        if (n < 0) return mffa_file_fail(s, key, "could not read", errno, err);
        if (n == 0) break;
        got += n; /* a file that grows while it is read does not pass the limit either */
        if (got > max_bytes)
            return mffa_fail(err, MFFA_EINVAL, "\"%s/%s\" has more than %lld bytes", s->base.url, key, (long long)max_bytes);
    }
    if (out->ptr) out->ptr[out->len] = '\0';
    return mffa_buf_check(out, err);
}

static mffa_code file_get(mffa_store *store, const char *key, int64_t max_bytes, mffa_buf *out, mffa_err *err) {
    mffa_file_store *s = mffa_file_store_of(store);
    MFFA_AUTO(mffa_close_fd_p) int fd = -1;
    struct stat st;
    mffa_code rc = mffa_file_open(s, key, &fd, &st, err);
    if (rc) return rc;
    if (st.st_size > max_bytes)
        return mffa_fail(err, MFFA_EINVAL, "\"%s/%s\" has %lld bytes: at most %lld are read", s->base.url, key, (long long)st.st_size,
                         (long long)max_bytes);
    size_t before = out->len;
    rc = read_all(s, key, fd, max_bytes, out, err);
    if (rc) out->len = before;
    return rc;
}

static mffa_code file_local(mffa_store *store, const char *key, char **out, mffa_err *err) {
    mffa_file_store *s = mffa_file_store_of(store);
    MFFA_AUTO(mffa_close_fd_p) int fd = -1;
    struct stat st;
    mffa_code rc = mffa_file_open(s, key, &fd, &st, err);
    if (rc) return rc;
    char *path = path_of(s, key);
    if (!path) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    *out = path;
    return MFFA_OK;
}

/* Folders are no objects: one that holds nothing any more goes too, up to the prefix. Somebody may put into it right now: then it stays,
 * or the put makes it again. */
static void remove_empty_folders(const mffa_file_store *s, const char *key) {
    MFFA_AUTO(mffa_free_p) char *path = strdup(key);
    for (char *slash; path && (slash = strrchr(path, '/')); *slash = '\0') {
        MFFA_AUTO(mffa_close_fd_p) int folder = -1;
        const char *name = NULL;
        *slash = '\0';
        if (mffa_file_open_folder(s, path, false, &folder, &name, NULL) || unlinkat(folder, name, AT_REMOVEDIR) != 0) return;
    }
}

static mffa_code file_remove(mffa_store *store, const char *key, mffa_err *err) {
    mffa_file_store *s = mffa_file_store_of(store);
    MFFA_AUTO(mffa_close_fd_p) int folder = -1;
    const char *name = NULL;
    mffa_err why = {0};
    mffa_code rc = mffa_file_open_folder(s, key, false, &folder, &name, &why);
    if (rc == MFFA_ENOTFOUND) return MFFA_OK;
    if (rc) return mffa_fail(err, rc, "%s", why.msg);
    if (unlinkat(folder, name, 0) != 0 && errno != ENOENT && errno != EISDIR) return mffa_file_fail(s, key, "cannot delete", errno, err);
    remove_empty_folders(s, key);
    return MFFA_OK;
}

static mffa_code file_presign(mffa_store *s, const char *key, int64_t expires_s, mffa_buf *out, mffa_err *err) {
    (void)expires_s, (void)out;
    return mffa_fail(err, MFFA_EUNSUPPORTED, "\"%s/%s\" cannot be presigned: only s3:// can", s->url, key);
}

static void file_close(mffa_store *store) {
    mffa_file_store *s = mffa_file_store_of(store);
    free(s->root);
    free(s);
}

mffa_code mffa_file_store_open(const mffa_url *url, mffa_store **out, mffa_err *err) {
    static const mffa_store_ops ops = {.list = mffa_file_list,
                                       .head = file_head,
                                       .get = file_get,
                                       .local = file_local,
                                       .put = mffa_file_put,
                                       .put_file = mffa_file_put_file,
                                       .remove = file_remove,
                                       .remove_all = mffa_file_remove_all,
                                       .end_uploads = mffa_file_end_uploads,
                                       .presign = file_presign,
                                       .close = file_close};
    mffa_file_store *s = calloc(1, sizeof *s);
    char *root = strdup(url->path);
    if (!s || !root) {
        free(s);
        free(root);
        return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    }
    s->base.ops = &ops;
    s->root = root;
    *out = &s->base;
    return MFFA_OK;
}
