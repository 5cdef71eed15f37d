#include "core/nn/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/base/json.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "tensor bytes are used as they lie in the file");

enum { LENGTH_BYTES = 8, MAX_HEADER_BYTES = 16 << 20, SHOWN = 96 };
static const char metadata_name[] = "__metadata__";

struct mffa_safetensors {
    void *map; /* NULL: the bytes are the caller's */
    size_t map_bytes;
    char *what; /* path, or the caller's name of the bytes */
    mffa_json *doc;
    const char *data;
    size_t data_bytes;
    mffa_st_tensor *tensors;       /* in file order */
    const mffa_st_tensor **sorted; /* by name */
    size_t count;
};

const char *mffa_dtype_name(mffa_dtype t) {
    static const char *const names[] = {
#define X(name, bytes) #name,
        MFFA_DTYPES(X)
#undef X
    };
    return (size_t)t < MFFA_COUNT(names) ? names[t] : "?";
}

size_t mffa_dtype_bytes(mffa_dtype t) {
    static const size_t sizes[] = {
#define X(name, bytes) bytes,
        MFFA_DTYPES(X)
#undef X
    };
    return (size_t)t < MFFA_COUNT(sizes) ? sizes[t] : 0;
}

/* A name from the file, short and on one line, for error texts. */
static const char *shown(const char *name, char out[SHOWN]) {
    snprintf(out, SHOWN, "%s", name);
    for (char *c = out; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7F) *c = '?';
    return out;
}

static bool find_dtype(const char *name, mffa_dtype *out) {
    for (int t = 0; t < MFFA_DTYPE_COUNT; t++)
        if (strcmp(name, mffa_dtype_name((mffa_dtype)t)) == 0) return *out = (mffa_dtype)t, true;
    return false;
}

static mffa_code read_dtype(const mffa_json *j, const char *name, mffa_st_tensor *t, mffa_err *err) {
    char type[SHOWN];
    const char *text = mffa_json_text(mffa_json_get(j, "dtype"), "");
    if (find_dtype(text, &t->dtype)) return MFFA_OK;
    return mffa_fail(err, MFFA_EINVAL,
                     "tensor \"%s\" has the unknown type \"%s\": expected F32, F16, BF16, I64 or another safetensors type", name,
                     shown(text, type));
}

static mffa_code read_shape(const mffa_json *j, const char *name, mffa_st_tensor *t, mffa_err *err) {
    const mffa_json *shape = mffa_json_get(j, "shape");
    if (!mffa_json_is_array(shape)) return mffa_fail(err, MFFA_EINVAL, "tensor \"%s\" has no shape", name);
    size_t rank = mffa_json_size(shape), bytes = mffa_dtype_bytes(t->dtype);
    if (rank > MFFA_ST_MAX_RANK)
        return mffa_fail(err, MFFA_EINVAL, "tensor \"%s\" has %zu dimensions, at most %d are read", name, rank, MFFA_ST_MAX_RANK);
    int64_t total = (int64_t)bytes;
    for (size_t i = 0; i < rank; i++) {
        t->shape[i] = mffa_json_int(mffa_json_at(shape, i), -1);
        if (t->shape[i] < 0) return mffa_fail(err, MFFA_EINVAL, "tensor \"%s\": dimension %zu is not a whole number >= 0", name, i);
        if (__builtin_mul_overflow(total, t->shape[i], &total))
            return mffa_fail(err, MFFA_EINVAL, "tensor \"%s\": its shape has more bytes than any file", name);
    }
    t->rank = (int)rank;
    t->bytes = (size_t)total;
    t->count = total / (int64_t)bytes;
    return MFFA_OK;
}

static mffa_code read_range(const mffa_safetensors *f, const mffa_json *j, const char *name, mffa_st_tensor *t, mffa_err *err) {
    const mffa_json *range = mffa_json_get(j, "data_offsets");
    int64_t begin = mffa_json_int(mffa_json_at(range, 0), -1), end = mffa_json_int(mffa_json_at(range, 1), -1);
    if (!mffa_json_is_array(range) || mffa_json_size(range) != 2 || begin < 0 || end < begin)
        return mffa_fail(err, MFFA_EINVAL, "tensor \"%s\": data_offsets is not [begin, end] with 0 <= begin <= end", name);
    if ((uint64_t)end > f->data_bytes)
        return mffa_fail(err, MFFA_EINVAL,
                         "tensor \"%s\" ends at byte %" PRId64 " of the data, the file has %zu: it is cut short or its header lies", name,
                         end, f->data_bytes);
    if ((size_t)(end - begin) != t->bytes)
        return mffa_fail(err, MFFA_EINVAL, "tensor \"%s\" takes %" PRId64 " bytes in the file, its type and shape need %zu", name,
                         end - begin, t->bytes);
    t->data = f->data + begin;
    return MFFA_OK;
}

static mffa_code check_metadata(void *ctx, const char *key, const mffa_json *value, mffa_err *err) {
    (void)ctx;
    char name[SHOWN];
    if (mffa_json_text(value, NULL)) return MFFA_OK;
    return mffa_fail(err, MFFA_EINVAL, "metadata \"%s\" is not a text", shown(key, name));
}

static mffa_code read_member(void *ctx, const char *name, const mffa_json *value, mffa_err *err) {
    mffa_safetensors *f = ctx;
    char text[SHOWN];
    if (!mffa_json_is_object(value)) return mffa_fail(err, MFFA_EINVAL, "member \"%s\" of the header is not an object", shown(name, text));
    if (strcmp(name, metadata_name) == 0) return mffa_json_each(value, check_metadata, NULL, err);
    mffa_st_tensor *t = &f->tensors[f->count];
    t->name = name;
    mffa_code rc = read_dtype(value, shown(name, text), t, err);
    if (!rc) rc = read_shape(value, text, t, err);
    if (!rc) rc = read_range(f, value, text, t, err);
    if (!rc) f->count++;
    return rc;
}

static int by_place(const void *a, const void *b) {
    const mffa_st_tensor *x = a, *y = b;
    if (x->data != y->data) return (uintptr_t)x->data < (uintptr_t)y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const mffa_st_tensor *const *)a)->name, (*(const mffa_st_tensor *const *)b)->name);
}

/* The ranges must tile the data: then no two tensors share bytes and no byte is hidden. */
static mffa_code check_tiling(mffa_safetensors *f, mffa_err *err) {
    char name[SHOWN];
    qsort(f->tensors, f->count, sizeof *f->tensors, by_place);
    size_t end = 0;
    for (size_t i = 0; i < f->count; i++) {
        size_t begin = (size_t)((const char *)f->tensors[i].data - f->data);
        if (begin != end)
            return mffa_fail(err, MFFA_EINVAL, "tensor \"%s\" begins at byte %zu of the data, %s", shown(f->tensors[i].name, name), begin,
                             begin < end ? "inside the tensor before it" : "with unused bytes before it");
        end += f->tensors[i].bytes;
    }
    if (end == f->data_bytes) return MFFA_OK;
    return mffa_fail(err, MFFA_EINVAL, "%zu bytes behind the last tensor belong to none", f->data_bytes - end);
}

static mffa_code read_header(mffa_safetensors *f, mffa_span bytes, mffa_err *err) {
    uint64_t length = 0;
    if (bytes.len < LENGTH_BYTES) return mffa_fail(err, MFFA_EINVAL, "not a safetensors file: only %zu bytes", bytes.len);
    memcpy(&length, bytes.ptr, sizeof length);
    if (length > bytes.len - LENGTH_BYTES)
        return mffa_fail(err, MFFA_EINVAL, "its header claims %" PRIu64 " bytes, the file has %zu: cut short, or not a safetensors file",
                         length, bytes.len);
    if (length > MAX_HEADER_BYTES)
        return mffa_fail(err, MFFA_EINVAL, "its header has %" PRIu64 " bytes, at most %d are read", length, MAX_HEADER_BYTES);
    const char *text = (const char *)bytes.ptr + LENGTH_BYTES;
    mffa_code rc = mffa_json_parse((mffa_span){text, (size_t)length}, &f->doc, err);
    if (rc) return mffa_wrap(err, rc, "its header");
    if (!mffa_json_is_object(f->doc)) return mffa_fail(err, MFFA_EINVAL, "its header is not a JSON object");
    f->data = text + length;
    f->data_bytes = bytes.len - LENGTH_BYTES - (size_t)length;
    size_t members = mffa_json_size(f->doc);
    f->tensors = mffa_alloc_array(members, sizeof *f->tensors);
    f->sorted = mffa_alloc_array(members, sizeof *f->sorted);
    if (!f->tensors || !f->sorted) return mffa_fail(err, MFFA_ENOMEM, "out of memory for %zu tensors", members);
    rc = mffa_json_each(f->doc, read_member, f, err);
    if (!rc) rc = check_tiling(f, err);
    if (rc) return rc;
    for (size_t i = 0; i < f->count; i++) f->sorted[i] = &f->tensors[i];
    qsort(f->sorted, f->count, sizeof(const mffa_st_tensor *), by_name);
    return MFFA_OK;
}

static mffa_code open_named(const char *what, mffa_safetensors **out, mffa_err *err) {
    MFFA_AUTO(mffa_safetensors_close_p) mffa_safetensors *f = calloc(1, sizeof *f);
    if (f) f->what = strdup(what);
    if (!f || !f->what) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    *out = MFFA_TAKE(f);
    return MFFA_OK;
}

mffa_code mffa_safetensors_open_bytes(mffa_span bytes, const char *what, mffa_safetensors **out, mffa_err *err) {
    MFFA_AUTO(mffa_safetensors_close_p) mffa_safetensors *f = NULL;
    mffa_code rc = open_named(what, &f, err);
    if (rc) return rc;
    rc = read_header(f, bytes, err);
    if (rc) return mffa_wrap(err, rc, "\"%s\"", what);
    *out = MFFA_TAKE(f);
    return MFFA_OK;
}

static mffa_code open_failed(const char *path, mffa_err *err) {
    mffa_code code = errno == ENOENT || errno == ENOTDIR ? MFFA_ENOTFOUND : errno == EACCES ? MFFA_EDENIED : MFFA_EIO;
    return mffa_fail(err, code, "could not open \"%s\": %s", path, strerror(errno));
}

static mffa_code map_file(mffa_safetensors *f, mffa_err *err) {
    MFFA_AUTO(mffa_close_fd_p) int fd = open(f->what, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st)) return open_failed(f->what, err);
    if (!S_ISREG(st.st_mode)) return mffa_fail(err, MFFA_EINVAL, "\"%s\" is not a regular file", f->what);
    if (st.st_size == 0) return mffa_fail(err, MFFA_EINVAL, "\"%s\": the file is empty", f->what);
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return mffa_fail(err, errno == ENOMEM ? MFFA_ENOMEM : MFFA_EIO, "could not map \"%s\": %s", f->what, strerror(errno));
    f->map = map;
    f->map_bytes = (size_t)st.st_size;
    return MFFA_OK;
}

mffa_code mffa_safetensors_open(const char *path, mffa_safetensors **out, mffa_err *err) {
    MFFA_AUTO(mffa_safetensors_close_p) mffa_safetensors *f = NULL;
    mffa_code rc = open_named(path, &f, err);
    if (!rc) rc = map_file(f, err);
    if (rc) return rc;
    rc = read_header(f, (mffa_span){f->map, f->map_bytes}, err);
    if (rc) return mffa_wrap(err, rc, "\"%s\"", path);
    *out = MFFA_TAKE(f);
    return MFFA_OK;
}

void mffa_safetensors_close(mffa_safetensors *f) {
    if (!f) return;
    if (f->map) munmap(f->map, f->map_bytes);
    mffa_json_close(f->doc);
    free(f->tensors);
    free(f->sorted);
    free(f->what);
    free(f);
}

/* Whole pages inside these bytes of the mapped file. */
static void release(const mffa_safetensors *f, const char *at, size_t bytes) {
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = ((uintptr_t)at + page - 1) / page * page,
              to = ((uintptr_t)at + bytes) / page * page;
    if (f->map && to > from) (void)madvise((char *)f->map + (from - (uintptr_t)f->map), to - from, MADV_DONTNEED);
}

void mffa_safetensors_release(const mffa_safetensors *f, const mffa_st_tensor *t) { release(f, t->data, t->bytes); }

void mffa_safetensors_copy(const mffa_safetensors *f, const mffa_st_tensor *t, void *out) {
    enum { PIECE = 16 << 20 };
    for (size_t at = 0; at < t->bytes; at += PIECE) {
        size_t n = t->bytes - at < PIECE ? t->bytes - at : PIECE;
        memcpy((char *)out + at, (const char *)t->data + at, n);
        release(f, (const char *)t->data + at, n);
    }
}

size_t mffa_safetensors_count(const mffa_safetensors *f) { return f->count; }

const mffa_st_tensor *mffa_safetensors_at(const mffa_safetensors *f, size_t i) { return i < f->count ? &f->tensors[i] : NULL; }

const mffa_st_tensor *mffa_safetensors_find(const mffa_safetensors *f, const char *name) {
    const mffa_st_tensor wanted = {.name = name}, *key = &wanted;
    const mffa_st_tensor **at = bsearch(&key, f->sorted, f->count, sizeof(const mffa_st_tensor *), by_name);
    return at ? *at : NULL;
}

const char *mffa_safetensors_meta(const mffa_safetensors *f, const char *key) {
    return mffa_json_text(mffa_json_get(mffa_json_get(f->doc, metadata_name), key), NULL);
}

static float of_bits(uint32_t bits) {
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

static float of_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = h >> 10 & 31, fraction = h & 0x3FF;
    if (exponent == 31) return of_bits(sign | 0x7F800000 | fraction << 13); /* infinity, NaN with its payload */
    if (exponent) return of_bits(sign | (exponent + 112) << 23 | fraction << 13);
    float small = (float)fraction * 0x1p-24f; /* zero and subnormals: exact in float32 */
    return sign ? -small : small;
}

mffa_code mffa_safetensors_floats(const mffa_st_tensor *t, float *out, mffa_err *err) {
    const char *at = t->data;
    uint16_t half;
    double wide;
    switch (t->dtype) {
    case MFFA_F32:
        if (t->bytes) memcpy(out, at, t->bytes);
        return MFFA_OK;
    case MFFA_F16:
        for (int64_t i = 0; i < t->count; i++) out[i] = (memcpy(&half, at + 2 * i, sizeof half), of_f16(half));
        return MFFA_OK;
    case MFFA_BF16:
        for (int64_t i = 0; i < t->count; i++) out[i] = (memcpy(&half, at + 2 * i, sizeof half), of_bits((uint32_t)half << 16));
        return MFFA_OK;
    case MFFA_F64:
        for (int64_t i = 0; i < t->count; i++) out[i] = (memcpy(&wide, at + 8 * i, sizeof wide), (float)wide);
        return MFFA_OK;
    default: break;
    }
    char name[SHOWN];
    return mffa_fail(err, MFFA_EINVAL, "tensor \"%s\" is %s, expected F32, F16, BF16 or F64", shown(t->name, name),
                     mffa_dtype_name(t->dtype));
}

struct mffa_st_writer {
    FILE *file;
    char *path;
    mffa_json *header, *meta; /* meta: until the header is written, then the header's */
    int64_t declared, written; /* bytes of tensors */
    bool started;              /* the header is in the file */
    mffa_err failed;           /* sticky: a file with a gap must not be finished */
};

mffa_code mffa_st_writer_open(const char *path, mffa_st_writer **out, mffa_err *err) {
    MFFA_AUTO(mffa_st_writer_close_p) mffa_st_writer *w = calloc(1, sizeof *w);
    if (w) w->path = strdup(path);
    if (!w || !w->path) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    w->header = mffa_json_object();
    w->file = fopen(path, "wbe");
    if (!w->file) return open_failed(path, err);
    *out = MFFA_TAKE(w);
    return MFFA_OK;
}

static mffa_code sticky(mffa_st_writer *w, mffa_err *err) {
    if (!w->failed.code) return MFFA_OK;
    return mffa_fail(err, w->failed.code, "%s", w->failed.msg);
}

void mffa_st_writer_meta(mffa_st_writer *w, const char *key, const char *value) {
    if (w->started) {
        (void)mffa_fail(&w->failed, MFFA_EBUG, "\"%s\": metadata \"%s\" came behind the first bytes", w->path, key);
        return;
    }
    if (!w->meta) w->meta = mffa_json_object();
    mffa_json_set(w->meta, key, mffa_json_of_text(value ? value : ""));
}

mffa_code mffa_st_writer_declare(mffa_st_writer *w, const char *name, mffa_dtype dtype, int rank, const int64_t *shape, mffa_err *err) {
    if (w->started) return mffa_fail(err, MFFA_EBUG, "\"%s\": tensor \"%s\" was declared behind the first bytes", w->path, name);
    if (rank < 0 || rank > MFFA_ST_MAX_RANK || dtype >= MFFA_DTYPE_COUNT || strcmp(name, metadata_name) == 0 ||
        mffa_json_get(w->header, name))
        return mffa_fail(err, MFFA_EINVAL, "\"%s\": tensor \"%s\" of rank %d is there already, or its name, type or rank cannot be written",
                         w->path, name, rank);
    int64_t size = (int64_t)mffa_dtype_bytes(dtype), bytes = size, end;
    for (int i = 0; i < rank; i++)
        if (shape[i] < 0 || __builtin_mul_overflow(bytes, shape[i], &bytes))
            return mffa_fail(err, MFFA_EINVAL, "\"%s\": tensor \"%s\": dimension %d is %" PRId64, w->path, name, i, shape[i]);
    if (__builtin_add_overflow(w->declared, bytes, &end))
        return mffa_fail(err, MFFA_EINVAL, "\"%s\": tensor \"%s\" is too large", w->path, name);
    if (w->declared % size)
        return mffa_fail(err, MFFA_EINVAL,
                         "\"%s\": tensor \"%s\" would begin at byte %" PRId64 ", no multiple of %" PRId64 ": declare wider types first",
                         w->path, name, w->declared, size);
    mffa_json *entry = mffa_json_object(), *dims = mffa_json_array(), *range = mffa_json_array();
    for (int i = 0; i < rank; i++) mffa_json_push(dims, mffa_json_of_int(shape[i]));
    mffa_json_push(range, mffa_json_of_int(w->declared));
    mffa_json_push(range, mffa_json_of_int(end));
    mffa_json_set(entry, "dtype", mffa_json_of_text(mffa_dtype_name(dtype)));
    mffa_json_set(entry, "shape", dims);
    mffa_json_set(entry, "data_offsets", range);
    mffa_json_set(w->header, name, entry);
    if (!mffa_json_get(w->header, name)) return mffa_fail(err, MFFA_EINVAL, "\"%s\": a tensor's name is not UTF-8", w->path);
    w->declared = end;
    return MFFA_OK;
}

static mffa_code write_bytes(mffa_st_writer *w, const void *data, size_t bytes) {
    if (bytes == 0 || fwrite(data, 1, bytes, w->file) == bytes) return MFFA_OK;
    mffa_code code = errno == ENOSPC || errno == EDQUOT ? MFFA_ENOSPC : MFFA_EIO;
    return mffa_fail(&w->failed, code, "could not write \"%s\": %s", w->path, strerror(errno));
}

/* Padded with blanks, as the reference writer does, so that the data begins at a multiple of 8. */
static mffa_code write_header(mffa_st_writer *w) {
    if (w->started) return w->failed.code;
    w->started = true;
    if (w->meta) mffa_json_set(w->header, metadata_name, MFFA_TAKE(w->meta));
    MFFA_AUTO(mffa_buf_done) mffa_buf text = {0};
    mffa_code rc = mffa_json_write(w->header, 0, &text, &w->failed);
    while (!rc && text.len % LENGTH_BYTES && !text.failed) mffa_buf_puts(&text, " ");
    if (!rc) rc = mffa_buf_check(&text, &w->failed);
    uint64_t length = text.len;
    if (!rc) rc = write_bytes(w, &length, sizeof length);
    if (!rc) rc = write_bytes(w, text.ptr, text.len);
    return rc;
}

mffa_code mffa_st_writer_put(mffa_st_writer *w, const void *data, size_t bytes, mffa_err *err) {
    if (w->failed.code || write_header(w)) return sticky(w, err);
    if (bytes > (uint64_t)(w->declared - w->written))
        (void)mffa_fail(&w->failed, MFFA_EBUG, "\"%s\": %zu bytes came, %" PRId64 " are left of what was declared", w->path, bytes,
                        w->declared - w->written);
    else if (!write_bytes(w, data, bytes)) w->written += (int64_t)bytes;
    return sticky(w, err);
}

mffa_code mffa_st_writer_finish(mffa_st_writer *w, mffa_err *err) {
    if (w->failed.code || write_header(w)) return sticky(w, err);
    if (w->written != w->declared)
        return mffa_fail(err, MFFA_EBUG, "\"%s\": %" PRId64 " bytes came, %" PRId64 " were declared", w->path, w->written, w->declared);
    FILE *f = MFFA_TAKE(w->file);
    if (!f) return mffa_fail(err, MFFA_EBUG, "\"%s\" was finished twice", w->path);
    if (fclose(f) == 0) return MFFA_OK;
    mffa_code code = errno == ENOSPC || errno == EDQUOT ? MFFA_ENOSPC : MFFA_EIO;
    return mffa_fail(err, code, "could not write \"%s\": %s", w->path, strerror(errno));
}

void mffa_st_writer_close(mffa_st_writer *w) {
    if (!w) return;
    if (w->file) fclose(w->file);
    mffa_json_close(w->header);
    mffa_json_close(w->meta);
    free(w->path);
    free(w);
}
