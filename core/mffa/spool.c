#include "core/mffa/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/statvfs.h>

enum { LEAST_MEMORY = 64 << 10, LEAST_READ = 256 /* records of a run that are read at once */ };

typedef struct run { /* a sorted part of the file, and the piece of it that is in memory */
    int64_t left, offset; /* records not yet read, where they start */
    uint64_t *piece;
    size_t at, len;
} run;

struct mffa_spool {
    int fd;
    char dir[PATH_MAX];
    uint64_t *memory;    /* [2 * room]: records, and as much to sort them with; when merging, the runs' pieces */
    size_t room, used, at;
    uint64_t *sorted;    /* within memory, when nothing was spilled */
    run *runs, **heap;   /* heap: runs that have records, the smallest record first */
    size_t run_count, run_cap, heap_len;
    int64_t bytes;       /* of the file */
};

void mffa_spool_close(mffa_spool *s) {
    if (!s) return;
    if (s->fd >= 0) close(s->fd);
    free(s->memory);
    free(s->runs);
    free(s->heap);
    free(s);
}

int64_t mffa_spool_runs(const mffa_spool *s) { return (int64_t)s->run_count; }

mffa_code mffa_spool_open(const char *dir, int64_t memory_bytes, mffa_spool **out, mffa_err *err) {
    if (memory_bytes < LEAST_MEMORY)
        return mffa_fail(err, MFFA_EINVAL, "memory for sorting is %lld bytes, expected at least %d", (long long)memory_bytes, LEAST_MEMORY);
    MFFA_AUTO(mffa_spool_close_p) mffa_spool *s = calloc(1, sizeof *s);
    if (!s) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    s->fd = -1;
    s->room = (size_t)memory_bytes / (2 * sizeof *s->memory);
    s->memory = mffa_alloc_array(2 * s->room, sizeof *s->memory);
    if (!s->memory) return mffa_fail(err, MFFA_ENOMEM, "out of memory for sorting in %lld bytes", (long long)memory_bytes);
    if (strlen(dir) >= sizeof s->dir)
        return mffa_fail(err, MFFA_EINVAL, "the spill folder's name is longer than %zu bytes", sizeof s->dir - 1);
    strcpy(s->dir, dir);
    char path[PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/mffa-spool-XXXXXX", dir);
    s->fd = mkostemp(path, O_CLOEXEC);
    if (s->fd < 0)
        return mffa_fail(err, errno == EACCES || errno == EROFS ? MFFA_EDENIED : MFFA_EIO, "could not make a spill file in \"%s\": %s", dir,
                         strerror(errno));
    unlink(path);
    *out = MFFA_TAKE(s);
    return MFFA_OK;
}

/* Radix sort by bytes from the lowest; a byte that all records share costs its count only. Returns where the result is: a or b. */
static uint64_t *sort(uint64_t *a, uint64_t *b, size_t n) {
    for (int shift = 0; shift < 64; shift += 8) {
        size_t start[256] = {0}, sum = 0;
        for (size_t i = 0; i < n; i++) start[a[i] >> shift & 255]++;
        if (n && start[a[0] >> shift & 255] == n) continue;
        for (int d = 0; d < 256; d++) {
            size_t count = start[d];
            start[d] = sum;
            sum += count;
        }
        for (size_t i = 0; i < n; i++) b[start[a[i] >> shift & 255]++] = a[i];
        uint64_t *t = a;
        a = b;
        b = t;
    }
    return a;
}

static mffa_code check_space(const mffa_spool *s, int64_t need, mffa_err *err) {
    struct statvfs v;
    if (fstatvfs(s->fd, &v)) return mffa_fail(err, MFFA_EIO, "could not ask for the space left in \"%s\": %s", s->dir, strerror(errno));
    int64_t have;
    if (__builtin_mul_overflow(v.f_bavail, v.f_frsize, &have)) have = INT64_MAX;
    if (have >= need) return MFFA_OK;
    return mffa_fail(err, MFFA_ENOSPC,
                     "sorting pixels needs %lld more bytes in \"%s\", which has %lld left beside the %lld in use: free %lld bytes, name "
                     "another folder, or give more memory",
                     (long long)need, s->dir, (long long)have, (long long)s->bytes, (long long)(need - have));
}

static mffa_code write_run(mffa_spool *s, const uint64_t *records, mffa_err *err) {
    int64_t bytes = (int64_t)(s->used * sizeof *records);
    mffa_code rc = check_space(s, bytes, err);
    if (rc) return rc;
    for (int64_t done = 0; done < bytes;) {
        ssize_t n = pwrite(s->fd, (const char *)records + done, (size_t)(bytes - done), s->bytes + done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0)
            return mffa_fail(err, errno == ENOSPC || errno == EDQUOT ? MFFA_ENOSPC : MFFA_EIO, "could not write %lld bytes in \"%s\": %s",
                             (long long)(bytes - done), s->dir, strerror(errno));
        done += n;
    }
    if (s->run_count == s->run_cap) {
        size_t cap = s->run_cap ? 2 * s->run_cap : 16;
        run *more = reallocarray(s->runs, cap, sizeof *more);
        if (!more) return mffa_fail(err, MFFA_ENOMEM, "out of memory for %zu sorted runs", cap);
        s->runs = more;
        s->run_cap = cap;
    }
    s->runs[s->run_count++] = (run){.left = (int64_t)s->used, .offset = s->bytes};
    s->bytes += bytes;
    s->used = 0;
    return MFFA_OK;
}

static mffa_code spill(mffa_spool *s, mffa_err *err) { return write_run(s, sort(s->memory, s->memory + s->room, s->used), err); }

mffa_code mffa_spool_put(mffa_spool *s, uint64_t record, mffa_err *err) {
    if (s->used == s->room) {
        mffa_code rc = spill(s, err);
        if (rc) return rc;
    }
    s->memory[s->used++] = record;
    return MFFA_OK;
}

/* The next piece of a run; len stays 0 at its end. */
static mffa_code read_piece(mffa_spool *s, run *r, size_t most, mffa_err *err) {
    size_t n = (int64_t)most < r->left ? most : (size_t)r->left, bytes = n * sizeof *r->piece;
    for (size_t done = 0; done < bytes;) {
        ssize_t got = pread(s->fd, (char *)r->piece + done, bytes - done, r->offset + (int64_t)done);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0)
            return mffa_fail(err, MFFA_EIO, "could not read the spill file in \"%s\" back: %s", s->dir,
                             got ? strerror(errno) : "it is cut short");
        done += (size_t)got;
    }
    r->at = 0;
    r->len = n;
    r->left -= (int64_t)n;
    r->offset += (int64_t)bytes;
    return MFFA_OK;
}

static void sink(mffa_spool *s, size_t at) {
    for (run **h = s->heap;;) {
        size_t least = at, child = 2 * at + 1;
        for (size_t c = child; c < child + 2 && c < s->heap_len; c++)
            if (h[c]->piece[h[c]->at] < h[least]->piece[h[least]->at]) least = c;
        if (least == at) return;
        run *t = h[at];
        h[at] = h[least];
        h[least] = t;
        at = least;
    }
}

static size_t piece_room(const mffa_spool *s) { return 2 * s->room / s->run_count; }

mffa_code mffa_spool_sort(mffa_spool *s, mffa_err *err) {
    s->at = 0;
    if (!s->run_count) {
        s->sorted = sort(s->memory, s->memory + s->room, s->used);
        return MFFA_OK;
    }
    mffa_code rc = s->used ? spill(s, err) : MFFA_OK;
    if (rc) return rc;
    if (piece_room(s) < LEAST_READ)
        return mffa_fail(err, MFFA_EINVAL, "%zu sorted runs are too many to merge in %zu bytes: give at least %zu", s->run_count,
                         2 * s->room * sizeof *s->memory, s->run_count * LEAST_READ * sizeof *s->memory);
    s->heap = mffa_alloc_array(s->run_count, sizeof(run *));
    if (!s->heap) return mffa_fail(err, MFFA_ENOMEM, "out of memory for %zu sorted runs", s->run_count);
    for (size_t i = 0; i < s->run_count; i++) {
        s->runs[i].piece = s->memory + i * piece_room(s);
        rc = read_piece(s, &s->runs[i], piece_room(s), err);
        if (rc) return rc;
        s->heap[s->heap_len++] = &s->runs[i]; /* a run has at least one record */
    }
    for (size_t i = s->heap_len / 2; i-- > 0;) sink(s, i);
    return MFFA_OK;
}

mffa_code mffa_spool_read(mffa_spool *s, uint64_t *out, size_t max, size_t *got, mffa_err *err) {
    size_t n = 0;
    if (s->sorted) {
        n = s->used - s->at < max ? s->used - s->at : max;
        memcpy(out, s->sorted + s->at, n * sizeof *out);
        s->at += n;
    }
    for (; s->heap_len && n < max; n++) {
        run *r = s->heap[0];
        out[n] = r->piece[r->at++];
        if (r->at == r->len) {
            mffa_code rc = read_piece(s, r, piece_room(s), err);
            if (rc) return rc;
            if (!r->len) s->heap[0] = s->heap[--s->heap_len];
        }
        sink(s, 0);
    }
    *got = n;
    return MFFA_OK;
}
