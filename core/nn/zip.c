#include "core/nn/zip.h"

#include <string.h>
#include <zlib.h>

/* Source of the layout: PKWARE APPNOTE 6.3.9, sections 4.3.7 (local header), 4.3.12 (central directory), 4.3.14-16 (its end). */
enum {
    LOCAL_BYTES = 30,
    CENTRAL_BYTES = 46,
    END_BYTES = 22,
    END64_BYTES = 56,
    LOCATOR64_BYTES = 20,
    MAX_COMMENT = 65535,
    STORED = 0,
    DEFLATED = 8,
    MAX_ENTRIES = 1 << 20
};

typedef struct entry {
    char *name;
    int method, flags;
    uint32_t crc;
    uint64_t packed, bytes, at; /* at: the local header */
    void *unpacked;             /* deflated entries, after the first get */
    bool checked;
} entry;

struct mffa_zip {
    const unsigned char *base;
    size_t len;
    char *what;
    entry *entries;
    size_t count;
    uint64_t packed_read; /* by unpack, over all entries */
};

static uint64_t le(const unsigned char *p, int bytes) {
    uint64_t v = 0;
    for (int i = 0; i < bytes; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

/* len bytes at `at`, NULL when they are not all in the archive. */
static const unsigned char *within(const mffa_zip *z, uint64_t at, uint64_t len) {
    return at <= z->len && len <= z->len - at ? z->base + at : NULL;
}

static mffa_code damaged(const mffa_zip *z, const char *reason, mffa_err *err) {
    return mffa_fail(err, MFFA_EINVAL, "\"%s\" is not a whole zip archive: %s", z->what, reason);
}

bool mffa_zip_looks_like(mffa_span bytes) { return bytes.len >= 4 && memcmp(bytes.ptr, "PK\3\4", 4) == 0; }

typedef struct directory {
    uint64_t at, bytes, count;
} directory;

static mffa_code read_end64(const mffa_zip *z, uint64_t end_at, directory *d, mffa_err *err) {
    const unsigned char *locator = end_at >= LOCATOR64_BYTES ? within(z, end_at - LOCATOR64_BYTES, LOCATOR64_BYTES) : NULL;
    if (!locator || memcmp(locator, "PK\6\7", 4) != 0) return MFFA_OK; /* no zip64 record: the short one holds */
    const unsigned char *end = within(z, le(locator + 8, 8), END64_BYTES);
    if (!end || memcmp(end, "PK\6\6", 4) != 0) return damaged(z, "its zip64 record is missing", err);
    *d = (directory){.count = le(end + 32, 8), .bytes = le(end + 40, 8), .at = le(end + 48, 8)};
    return MFFA_OK;
}

static mffa_code find_directory(const mffa_zip *z, directory *d, mffa_err *err) {
    if (z->len < END_BYTES) return damaged(z, "it ends too early", err);
    size_t last = z->len - END_BYTES, first = last > MAX_COMMENT ? last - MAX_COMMENT : 0;
    for (size_t at = last + 1; at-- > first;) {
        const unsigned char *end = z->base + at;
        if (memcmp(end, "PK\5\6", 4) != 0 || at + END_BYTES + le(end + 20, 2) != z->len) continue;
        if (le(end + 4, 2) != 0 && le(end + 4, 2) != 0xFFFF) return damaged(z, "it is one piece of several", err);
        *d = (directory){.count = le(end + 10, 2), .bytes = le(end + 12, 4), .at = le(end + 16, 4)};
        return read_end64(z, at, d, err);
    }
    return damaged(z, "its directory is missing, as in a download that was cut off", err);
}

/* The zip64 extra field replaces, in this order, those of the three numbers that are all ones. */
static bool read_extra64(entry *e, const unsigned char *p, size_t len) {
    uint64_t *const numbers[] = {&e->bytes, &e->packed, &e->at};
    while (len >= 4) {
        size_t id = le(p, 2), n = le(p + 2, 2);
        if (n > len - 4) return false;
        const unsigned char *q = p + 4, *end = q + n;
        for (size_t i = 0; id == 1 && i < MFFA_COUNT(numbers); i++) {
            if (*numbers[i] != 0xFFFFFFFF) continue;
            if (end - q < 8) return false;
            *numbers[i] = le(q, 8);
            q += 8;
        }
        p = end, len -= n + 4;
    }
    return true;
}

static mffa_code read_entry(mffa_zip *z, uint64_t *at, mffa_err *err) {
    const unsigned char *p = within(z, *at, CENTRAL_BYTES);
    if (!p || memcmp(p, "PK\1\2", 4) != 0) return damaged(z, "its directory is broken", err);
    size_t name = le(p + 28, 2), extra = le(p + 30, 2), comment = le(p + 32, 2), whole = CENTRAL_BYTES + name + extra + comment;
    if (!within(z, *at, whole)) return damaged(z, "its directory is broken", err);
    const char *text = (const char *)p + CENTRAL_BYTES;
    if (memchr(text, '\0', name)) return damaged(z, "a name in it holds a NUL", err);
    entry *e = &z->entries[z->count];
    *e = (entry){.flags = (int)le(p + 8, 2), .method = (int)le(p + 10, 2), .crc = (uint32_t)le(p + 16, 4)};
    e->packed = le(p + 20, 4), e->bytes = le(p + 24, 4), e->at = le(p + 42, 4);
    if (!read_extra64(e, p + CENTRAL_BYTES + name, extra)) return damaged(z, "its directory is broken", err);
    if (!(e->name = strndup(text, name))) return mffa_fail(err, MFFA_ENOMEM, "out of memory for a name");
    z->count++;
    *at += whole;
    return MFFA_OK;
}

static int by_name(const void *a, const void *b) { return strcmp(((const entry *)a)->name, ((const entry *)b)->name); }

static mffa_code read_directory(mffa_zip *z, mffa_err *err) {
    directory d = {0}; /* filled by find_directory; gcc 12 cannot see it */
    mffa_code rc = find_directory(z, &d, err);
    if (rc) return rc;
    if (d.count > MAX_ENTRIES || d.count > z->len / CENTRAL_BYTES || !within(z, d.at, d.bytes))
        return damaged(z, "its directory is broken", err);
    z->entries = mffa_alloc_array(d.count, sizeof *z->entries);
    if (!z->entries) return mffa_fail(err, MFFA_ENOMEM, "out of memory for %llu names", (unsigned long long)d.count);
    for (uint64_t i = 0, at = d.at; !rc && i < d.count; i++) rc = read_entry(z, &at, err);
    if (rc) return rc;
    qsort(z->entries, z->count, sizeof *z->entries, by_name);
    for (size_t i = 1; i < z->count; i++)
        if (strcmp(z->entries[i - 1].name, z->entries[i].name) == 0)
            return mffa_fail(err, MFFA_EINVAL, "\"%s\" holds two entries named \"%s\"", z->what, z->entries[i].name);
    return MFFA_OK;
}

mffa_code mffa_zip_open(mffa_span bytes, const char *what, mffa_zip **out, mffa_err *err) {
    MFFA_AUTO(mffa_zip_close_p) mffa_zip *z = calloc(1, sizeof *z);
    if (!z || !(z->what = strdup(what))) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    z->base = bytes.ptr, z->len = bytes.len;
    mffa_code rc = read_directory(z, err);
    if (!rc) *out = MFFA_TAKE(z);
    return rc;
}

void mffa_zip_close(mffa_zip *z) {
    if (!z) return;
    for (size_t i = 0; i < z->count; i++) free(z->entries[i].name), free(z->entries[i].unpacked);
    free(z->entries);
    free(z->what);
    free(z);
}

size_t mffa_zip_count(const mffa_zip *z) { return z->count; }

const char *mffa_zip_name(const mffa_zip *z, size_t i) { return i < z->count ? z->entries[i].name : NULL; }

static mffa_code bad_entry(const mffa_zip *z, const entry *e, const char *reason, mffa_err *err) {
    return mffa_fail(err, MFFA_EINVAL, "\"%s\": entry \"%s\" %s", z->what, e->name, reason);
}

/* The packed bytes: behind the local header, whose name and extra field have lengths of their own. */
static mffa_code find_packed(const mffa_zip *z, const entry *e, const unsigned char **out, mffa_err *err) {
    const unsigned char *local = within(z, e->at, LOCAL_BYTES);
    if (!local || memcmp(local, "PK\3\4", 4) != 0) return bad_entry(z, e, "is not where the directory says", err);
    *out = within(z, e->at + LOCAL_BYTES + le(local + 26, 2) + le(local + 28, 2), e->packed);
    return *out ? MFFA_OK : bad_entry(z, e, "reaches beyond the end of the file", err);
}

static mffa_code unpack(mffa_zip *z, entry *e, const unsigned char *packed, mffa_err *err) {
    enum { MOST_PER_BYTE = 1032 }; /* what deflate can reach: anything beyond is a lie, found before memory is taken for it */
    if (e->packed > UINT32_MAX || e->bytes > UINT32_MAX || e->bytes / MOST_PER_BYTE > e->packed)
        return bad_entry(z, e, "claims an impossible size", err);
    /* Entries that share packed bytes are the other way to blow up: together they cannot have more than the archive. */
    if ((z->packed_read += e->packed) > z->len) return bad_entry(z, e, "shares its bytes with others", err);
    MFFA_AUTO(mffa_free_p) unsigned char *bytes = mffa_alloc_array(e->bytes, 1);
    if (!bytes) return mffa_fail(err, MFFA_ENOMEM, "out of memory for %llu bytes of \"%s\"", (unsigned long long)e->bytes, e->name);
    z_stream s = {.avail_in = (uInt)e->packed, .avail_out = (uInt)e->bytes, .next_out = bytes};
    s.next_in = (z_const Bytef *)(uintptr_t)packed; /* zlib reads only, but says so only with ZLIB_CONST */
    if (inflateInit2(&s, -MAX_WBITS) != Z_OK) return mffa_fail(err, MFFA_ENOMEM, "out of memory to unpack \"%s\"", e->name);
    int end = inflate(&s, Z_FINISH);
    uint64_t made = s.total_out;
    inflateEnd(&s);
    if (end != Z_STREAM_END || made != e->bytes) return bad_entry(z, e, "is damaged: it cannot be unpacked", err);
    e->unpacked = MFFA_TAKE(bytes);
    return MFFA_OK;
}

static uint32_t crc_of(const unsigned char *p, uint64_t len) {
    uLong crc = crc32(0, NULL, 0);
    for (uInt n; len; p += n, len -= n) crc = crc32(crc, p, n = len < (1u << 30) ? (uInt)len : 1u << 30);
    return (uint32_t)crc;
}

mffa_code mffa_zip_get(mffa_zip *z, const char *name, size_t max_bytes, mffa_span *out, mffa_err *err) {
    union {
        const char *in;
        char *key;
    } text = {name}; /* bsearch compares entries; the name is only read */
    entry *e = z->count ? bsearch(&(entry){.name = text.key}, z->entries, z->count, sizeof *z->entries, by_name) : NULL;
    if (!e) return mffa_fail(err, MFFA_ENOTFOUND, "\"%s\" has no entry \"%s\"", z->what, name);
    if (e->flags & 1) return bad_entry(z, e, "is encrypted", err);
    if (e->method != STORED && e->method != DEFLATED) return bad_entry(z, e, "is packed in a way other than deflate", err);
    if (e->method == STORED && e->packed != e->bytes) return bad_entry(z, e, "claims two sizes", err);
    if (e->bytes > max_bytes)
        return mffa_fail(err, MFFA_EINVAL, "\"%s\": entry \"%s\" has %llu bytes, the limit is %zu", z->what, name,
                         (unsigned long long)e->bytes, max_bytes);
    const unsigned char *packed = NULL;
    mffa_code rc = find_packed(z, e, &packed, err);
    if (!rc && e->method == DEFLATED && !e->unpacked) rc = unpack(z, e, packed, err);
    if (rc) return rc;
    const unsigned char *bytes = e->method == DEFLATED ? e->unpacked : packed;
    if (!e->checked && crc_of(bytes, e->bytes) != e->crc) return bad_entry(z, e, "is damaged: its checksum does not match", err);
    e->checked = true;
    *out = (mffa_span){bytes, e->bytes};
    return MFFA_OK;
}
