#include "storage/cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include "core/base/digest.h"
#include "core/base/rng.h"
#include "core/base/stats.h"

#define DRAFT ".part-"

struct mffa_cache {
    char *folder;
    int64_t max_bytes;
    atomic_llong unlooked_bytes; /* that may be added before the folder is looked at again */
};

mffa_code mffa_cache_open(const char *folder, int64_t max_bytes, mffa_cache **out, mffa_err *err) {
    mffa_cache *c = calloc(1, sizeof *c);
    char *copy = strdup(folder);
    if (!c || !copy) {
        free(c);
        free(copy);
        return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    }
    c->folder = copy, c->max_bytes = max_bytes;
    *out = c;
    return MFFA_OK;
}

void mffa_cache_close(mffa_cache *c) {
    if (!c) return;
    free(c->folder);
    free(c);
}

void mffa_cache_release(mffa_cache_entry *e) {
    if (e->fd >= 0) close(e->fd); /* and with it the lock */
    free(e->path);
    *e = (mffa_cache_entry){.fd = -1};
}

static char *name_of(const mffa_cache *c, const char *bucket, const char *key, const char *etag) {
    MFFA_AUTO(mffa_buf_done) mffa_buf what = {0};
    char hash[MFFA_SHA256_HEX], *path = NULL;
    mffa_buf_putf(&what, "%s\n%s\n%s", bucket, key, etag); /* none of them holds a line end */
    if (what.failed || mffa_sha256_of(mffa_buf_span(&what), hash, NULL)) return NULL;
    return asprintf(&path, "%s/%s", c->folder, hash) < 0 ? NULL : path;
}

static bool still_named(int fd, const char *path) {
    struct stat open_one, named;
    return fstat(fd, &open_one) == 0 && stat(path, &named) == 0 && open_one.st_dev == named.st_dev && open_one.st_ino == named.st_ino;
}

bool mffa_cache_has(mffa_cache *c, const char *bucket, const char *key, const char *etag) {
    MFFA_AUTO(mffa_free_p) char *path = name_of(c, bucket, key, etag);
    return path && access(path, R_OK) == 0;
}

static int64_t size_of(int fd) {
    struct stat st;
    return fstat(fd, &st) == 0 ? st.st_size : 0;
}

static bool find(const mffa_cache *c, const char *bucket, const char *key, const char *etag, mffa_cache_entry *out) {
    MFFA_AUTO(mffa_free_p) char *path = name_of(c, bucket, key, etag);
    MFFA_AUTO(mffa_close_fd_p) int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    /* between the opening and the lock it may have been evicted */
    if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) != 0 || !still_named(fd, path)) return false;
    (void)futimens(fd, NULL); /* used now; a read-only folder keeps its order */
    *out = (mffa_cache_entry){MFFA_TAKE(path), fd};
    fd = -1;
    return true;
}

bool mffa_cache_find(mffa_cache *c, const char *bucket, const char *key, const char *etag, mffa_cache_entry *out) {
    bool found = find(c, bucket, key, etag, out);
    mffa_stat_add(MFFA_STAT_CACHE_LOOKUPS, found ? "hit" : "miss", NULL, 1);
    if (found) mffa_stat_add(MFFA_STAT_CACHE_BYTES, "hit", NULL, (double)size_of(out->fd));
    return found;
}

static mffa_code make_folder(const mffa_cache *c, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) char *path = strdup(c->folder);
    if (!path) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    for (char *at = path + 1;; at++) {
        at += strcspn(at, "/");
        char end = *at;
        *at = '\0';
        if (mkdir(path, end ? 0777 : 0700) != 0 && errno != EEXIST)
            return mffa_fail(err, MFFA_EDENIED, "cannot make the cache folder \"%s\": %s", c->folder, strerror(errno));
        if (!end) return MFFA_OK;
        *at = end;
    }
}

mffa_code mffa_cache_begin(mffa_cache *c, mffa_cache_entry *out, mffa_err *err) {
    char chance[17], *path = NULL;
    mffa_code rc = make_folder(c, err);
    if (!rc) rc = mffa_random_hex(chance, 8, err);
    if (rc) return rc;
    if (asprintf(&path, "%s/" DRAFT "%s", c->folder, chance) < 0) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) != 0) {
        rc = mffa_fail(err, errno == ENOSPC ? MFFA_ENOSPC : MFFA_EDENIED, "cannot write into the cache folder \"%s\": %s", c->folder,
                       strerror(errno));
        if (fd >= 0) close(fd), unlink(path);
        free(path);
        return rc;
    }
    *out = (mffa_cache_entry){path, fd};
    return MFFA_OK;
}

mffa_code mffa_cache_write(const mffa_cache_entry *e, int64_t at, mffa_span piece, mffa_err *err) {
    for (size_t done = 0; done < piece.len;) {
        ssize_t n = pwrite(e->fd, (const char *)piece.ptr + done, piece.len - done, at + (int64_t)done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return mffa_fail(err, errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? MFFA_ENOSPC : MFFA_EIO, "cannot write \"%s\": %s",
                             e->path, strerror(errno));
        done += (size_t)n;
    }
    return MFFA_OK;
}

void mffa_cache_drop(mffa_cache_entry *e) {
    (void)unlink(e->path);
    mffa_cache_release(e);
}

/* ---- making room ---- */

typedef struct old {
    char name[80];
    int64_t bytes;
    struct timespec used;
} old;

typedef struct entries {
    old *items;
    size_t count, room;
    int64_t bytes;
} entries;

static bool add(entries *e, const char *name, const struct stat *st) {
    if (e->count == e->room) {
        size_t room = e->room ? 2 * e->room : 64;
        old *more = reallocarray(e->items, room, sizeof *more);
        if (!more) return false;
        e->items = more, e->room = room;
    }
    old *o = &e->items[e->count++];
    snprintf(o->name, sizeof o->name, "%s", name);
    o->bytes = st->st_size, o->used = st->st_mtim;
    e->bytes += st->st_size;
    return true;
}

static int oldest_first(const void *a, const void *b) {
    const old *x = a, *y = b;
    if (x->used.tv_sec != y->used.tv_sec) return x->used.tv_sec < y->used.tv_sec ? -1 : 1;
    return (x->used.tv_nsec > y->used.tv_nsec) - (x->used.tv_nsec < y->used.tv_nsec);
}

/* Drafts of others count and can be removed too: those of the living are locked. */
static void read_entries(const mffa_cache *c, entries *e) {
    DIR *dir = opendir(c->folder);
    if (!dir) return;
    bool fine = true;
    for (const struct dirent *d; fine && (d = readdir(dir));) {
        struct stat st;
        bool ours = strlen(d->d_name) == MFFA_SHA256_HEX - 1 || strncmp(d->d_name, DRAFT, strlen(DRAFT)) == 0;
        if (ours && fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode)) fine = add(e, d->d_name, &st);
    }
    closedir(dir);
}

/* true: it was in nobody's use and is gone. */
static bool evict(const mffa_cache *c, const char *name) {
    MFFA_AUTO(mffa_free_p) char *path = NULL;
    if (asprintf(&path, "%s/%s", c->folder, name) < 0) return path = NULL, false;
    MFFA_AUTO(mffa_close_fd_p) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && still_named(fd, path) && unlink(path) == 0;
}

static void make_room(mffa_cache *c) {
    entries e = {0};
    int64_t evicted = 0;
    read_entries(c, &e);
    if (e.count > 1) qsort(e.items, e.count, sizeof *e.items, oldest_first);
    for (size_t i = 0; i < e.count && e.bytes > c->max_bytes; i++)
        if (evict(c, e.items[i].name)) e.bytes -= e.items[i].bytes, evicted += e.items[i].bytes;
    mffa_stat_add(MFFA_STAT_CACHE_BYTES, "evicted", NULL, (double)evicted);
    free(e.items);
    int64_t free_bytes = c->max_bytes - e.bytes;
    atomic_store(&c->unlooked_bytes, free_bytes > 0 ? free_bytes / 8 : 0); /* other processes fill the same folder */
}

/* Looking at the whole folder for each of many small objects would cost more than they do. */
static void note_more(mffa_cache *c, const mffa_cache_entry *e) {
    int64_t bytes = size_of(e->fd);
    mffa_stat_add(MFFA_STAT_CACHE_BYTES, "added", NULL, (double)bytes);
    if (atomic_fetch_sub(&c->unlooked_bytes, bytes) < bytes) make_room(c);
}

mffa_code mffa_cache_keep(mffa_cache *c, const char *bucket, const char *key, const char *etag, mffa_cache_entry *e, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) char *path = name_of(c, bucket, key, etag);
    if (!path || rename(e->path, path) != 0) {
        mffa_code rc = path ? mffa_fail(err, MFFA_EIO, "cannot write into the cache folder \"%s\": %s", c->folder, strerror(errno))
                            : mffa_fail(err, MFFA_ENOMEM, "out of memory");
        mffa_cache_drop(e);
        return rc;
    }
    free(e->path);
    e->path = MFFA_TAKE(path);
    note_more(c, e);
    return MFFA_OK;
}
