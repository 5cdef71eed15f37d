#include "storage/file_store.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include "core/base/rng.h"

typedef struct content {
    const char *at; /* in memory; unused with fd */
    int fd;         /* -1: none */
    int64_t bytes;
} content;

/* A half-written object: removed with its descriptor unless it was published. */
typedef struct draft {
    int folder, fd;
    char name[64];
    bool published;
} draft;

static void draft_done(draft *d) {
    if (d->fd >= 0 && !d->published) (void)unlinkat(d->folder, d->name, 0);
    if (d->fd >= 0) close(d->fd);
    if (d->folder >= 0) close(d->folder);
}

static int write_all(int fd, const char *at, size_t len) {
    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return errno;
        at += n, len -= (size_t)n;
    }
    return 0;
}

static mffa_code failed_write(const mffa_file_store *s, const char *key, int error, int64_t bytes, mffa_err *err) {
    mffa_err why = {0};
    mffa_code rc = mffa_file_fail(s, key, "cannot write", error, &why);
    return mffa_fail(err, rc, "%s (%lld bytes)", why.msg, (long long)bytes);
}

static mffa_code copy_descriptor(const mffa_file_store *s, const char *key, const content *c, int to, mffa_err *err) {
    enum { PIECE = 1 << 20 };
    MFFA_AUTO(mffa_free_p) char *piece = malloc(PIECE);
    if (!piece) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    for (;;) {
        ssize_t n = read(c->fd, piece, PIECE);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return mffa_file_fail(s, key, "could not read the source of", errno, err);
        if (n == 0) return MFFA_OK;
        int error = write_all(to, piece, (size_t)n);
        if (error) return failed_write(s, key, error, c->bytes, err);
    }
}

static mffa_code fill(const mffa_file_store *s, const char *key, const content *c, int to, mffa_err *err) {
    if (c->fd >= 0) {
        mffa_code rc = copy_descriptor(s, key, c, to, err);
        if (rc) return rc;
    }
    int error = c->fd >= 0 ? 0 : write_all(to, c->at, (size_t)c->bytes);
    if (!error && fsync(to) != 0) error = errno;
    return error ? failed_write(s, key, error, c->bytes, err) : MFFA_OK;
}

/* The name appears in one step. NOREPLACE is not known to every file system; a hard link refuses a taken name everywhere else. */
static int move_new(const draft *d, const char *name) {
    if (renameat2(d->folder, d->name, d->folder, name, RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS) return errno;
    if (linkat(d->folder, d->name, d->folder, name, 0) != 0) return errno;
    (void)unlinkat(d->folder, d->name, 0);
    return 0;
}

static mffa_code publish(const mffa_file_store *s, const char *key, draft *d, const char *name, mffa_put how, mffa_err *err) {
    int error = how == MFFA_PUT_NEW ? move_new(d, name) : renameat(d->folder, d->name, d->folder, name) == 0 ? 0 : errno;
    if (error) return mffa_file_fail(s, key, "cannot write", error, err);
    d->published = true;
    if (fsync(d->folder) != 0 && errno != EINVAL) return mffa_file_fail(s, key, "could not make durable", errno, err);
    return MFFA_OK;
}

static mffa_code start_draft(const mffa_file_store *s, const char *key, draft *d, const char **name, mffa_err *err) {
    char chance[17];
    mffa_code rc = mffa_file_open_folder(s, key, true, &d->folder, name, err);
    if (!rc) rc = mffa_random_hex(chance, 8, err);
    if (rc) return rc;
    snprintf(d->name, sizeof d->name, MFFA_TEMP_PREFIX "%s", chance);
    d->fd = openat(d->folder, d->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    return d->fd >= 0 ? MFFA_OK : mffa_file_fail(s, key, "cannot write", errno, err);
}

static mffa_code put_once(const mffa_file_store *s, const char *key, const content *c, mffa_put how, mffa_err *err) {
    MFFA_AUTO(draft_done) draft d = {.folder = -1, .fd = -1};
    const char *name = NULL;
    mffa_code rc = start_draft(s, key, &d, &name, err);
    if (!rc) rc = fill(s, key, c, d.fd, err);
    return rc ? rc : publish(s, key, &d, name, how, err);
}

static mffa_code put(mffa_store *store, const char *key, const content *c, mffa_put how, mffa_err *err) {
    mffa_file_store *s = mffa_file_store_of(store);
    if (strncmp(strrchr(key, '/') ? strrchr(key, '/') + 1 : key, MFFA_TEMP_PREFIX, strlen(MFFA_TEMP_PREFIX)) == 0)
        return mffa_fail(err, MFFA_EDENIED, "\"%s/%s\": names that start with \"" MFFA_TEMP_PREFIX "\" are for unfinished objects",
                         s->base.url, key);
    mffa_code rc = put_once(s, key, c, how, err);
    /* a delete_all at the same time may have removed the empty folder between its making and its use */
    for (int again = 0; rc == MFFA_ENOTFOUND && again < 3; again++) {
        if (c->fd >= 0 && lseek(c->fd, 0, SEEK_SET) < 0) return rc;
        rc = put_once(s, key, c, how, err);
    }
    return rc;
}

mffa_code mffa_file_put(mffa_store *s, const char *key, mffa_span bytes, mffa_put how, mffa_err *err) {
    return put(s, key, &(content){bytes.ptr, -1, (int64_t)bytes.len}, how, err);
}

mffa_code mffa_file_put_file(mffa_store *s, const char *key, const char *path, mffa_put how, mffa_err *err) {
    MFFA_AUTO(mffa_close_fd_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return mffa_fail(err, errno == ENOENT ? MFFA_ENOTFOUND : MFFA_EIO, "cannot open \"%s\": %s", path, strerror(errno));
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return mffa_fail(err, MFFA_EINVAL, "\"%s\" is not a regular file", path);
    return put(s, key, &(content){NULL, fd, st.st_size}, how, err);
}
