#include "core/nn/pth.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include "core/nn/pickle.h"
#include "core/nn/zip.h"

enum { MAX_PICKLE_BYTES = 16 << 20, MAX_NAME = 512 };

/* Source of both layouts: torch/serialization.py (_save, _legacy_save), torch/_utils.py (the rebuild functions). */
static const char *const tensor_globals[] = {
    "torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor", "torch._utils._rebuild_parameter", "torch.FloatStorage",
    "torch.HalfStorage", "torch.BFloat16Storage", "torch.DoubleStorage", "torch.LongStorage", "torch.IntStorage", "torch.ShortStorage",
    "torch.CharStorage", "torch.ByteStorage", "torch.BoolStorage", NULL};

static const struct {
    const char *global;
    mffa_dtype dtype;
} storage_types[] = {{"torch.FloatStorage", MFFA_F32},  {"torch.HalfStorage", MFFA_F16}, {"torch.BFloat16Storage", MFFA_BF16},
                     {"torch.DoubleStorage", MFFA_F64}, {"torch.LongStorage", MFFA_I64}, {"torch.IntStorage", MFFA_I32},
                     {"torch.ShortStorage", MFFA_I16},  {"torch.CharStorage", MFFA_I8},  {"torch.ByteStorage", MFFA_U8},
                     {"torch.BoolStorage", MFFA_BOOL}};

typedef struct storage { /* of the plain format: in the order of the file */
    mffa_span key;
    mffa_dtype dtype;
    int64_t count;
    const unsigned char *data;
} storage;

struct mffa_pth {
    void *map; /* NULL: the bytes are the caller's */
    size_t map_bytes;
    char *what;
    mffa_span bytes;
    mffa_zip *zip;      /* NULL: the plain format */
    char *folder;       /* of the zip's entries, with its slash */
    mffa_pickle *object;
    storage *storages;
    size_t storages_n;
    mffa_pth_tensor *tensors;
    char **names;
    size_t count;
};

static mffa_code bad(const mffa_pth *f, mffa_err *err, const char *reason) {
    return mffa_fail(err, MFFA_EINVAL, "\"%s\": %s", f->what, reason);
}

/* ---- storages: the bytes behind tensors ---- */

static bool storage_type(const mffa_pickle_value *v, mffa_dtype *out) {
    for (size_t i = 0; v && v->kind == MFFA_PICKLE_GLOBAL && i < MFFA_COUNT(storage_types); i++)
        if (mffa_span_is(v->text, storage_types[i].global)) return *out = storage_types[i].dtype, true;
    return false;
}

/* A persistent id: ("storage", type, key, device, number of elements), in the plain format with a view behind it. */
static mffa_code read_storage_id(const mffa_pth *f, const mffa_pickle_value *v, storage *out, mffa_err *err) {
    const mffa_pickle_value *id = v && v->kind == MFFA_PICKLE_PERSISTENT ? v->items[0] : NULL, *key = mffa_pickle_item(id, 2);
    const mffa_pickle_value *view = mffa_pickle_item(id, 5);
    out->count = mffa_pickle_int(mffa_pickle_item(id, 4), -1);
    if (!mffa_pickle_is_text(mffa_pickle_item(id, 0), "storage") || !storage_type(mffa_pickle_item(id, 1), &out->dtype) || !key ||
        key->kind != MFFA_PICKLE_TEXT || out->count < 0 || (size_t)out->count > SIZE_MAX / 16)
        return bad(f, err, "a tensor's storage is not described as torch.save does it");
    if (view && view->kind != MFFA_PICKLE_NONE)
        return bad(f, err, "a storage is a view of another: save the file again with a current PyTorch");
    out->key = key->text;
    return MFFA_OK;
}

static mffa_code find_in_zip(const mffa_pth *f, storage *s, mffa_err *err) {
    char name[MAX_NAME];
    int n = snprintf(name, sizeof name, "%sdata/%.*s", f->folder, (int)(s->key.len < MAX_NAME ? s->key.len : MAX_NAME),
                     (const char *)s->key.ptr);
    if (n < 0 || n >= (int)sizeof name) return bad(f, err, "a storage's name is too long");
    mffa_span content;
    mffa_code rc = mffa_zip_get(f->zip, name, SIZE_MAX, &content, err);
    if (rc) return rc == MFFA_ENOTFOUND ? mffa_fail(err, MFFA_EINVAL, "\"%s\" lacks its entry \"%s\"", f->what, name) : rc;
    if (content.len != (size_t)s->count * mffa_dtype_bytes(s->dtype))
        return mffa_fail(err, MFFA_EINVAL, "\"%s\": entry \"%s\" has %zu bytes, but %lld elements of %s were announced", f->what, name,
                         content.len, (long long)s->count, mffa_dtype_name(s->dtype));
    s->data = content.ptr;
    return MFFA_OK;
}

static int by_key(const void *a, const void *b) {
    const storage *x = a, *y = b;
    int order = memcmp(x->key.ptr, y->key.ptr, x->key.len < y->key.len ? x->key.len : y->key.len);
    return order ? order : (x->key.len > y->key.len) - (x->key.len < y->key.len);
}

static mffa_code find_in_plain(const mffa_pth *f, storage *s, mffa_err *err) {
    const storage *found = f->storages_n ? bsearch(s, f->storages, f->storages_n, sizeof *s, by_key) : NULL;
    if (!found) return bad(f, err, "a tensor's storage is missing");
    if (found->dtype != s->dtype || found->count != s->count) return bad(f, err, "two tensors disagree about the storage they share");
    s->data = found->data;
    return MFFA_OK;
}

/* ---- tensors ---- */

static mffa_code read_dimensions(const mffa_pth *f, const char *name, const mffa_pickle_value *size, const mffa_pickle_value *stride,
                                 mffa_pth_tensor *t, mffa_err *err) {
    if (!size || !stride || size->kind != MFFA_PICKLE_TUPLE || stride->kind != MFFA_PICKLE_TUPLE || size->n != stride->n ||
        size->n > MFFA_ST_MAX_RANK)
        return mffa_fail(err, MFFA_EINVAL, "\"%s\": tensor \"%s\" has no shape of at most %d dimensions", f->what, name, MFFA_ST_MAX_RANK);
    t->rank = (int)size->n;
    t->count = 1;
    for (int i = 0; i < t->rank; i++) {
        t->shape[i] = mffa_pickle_int(size->items[i], -1), t->stride[i] = mffa_pickle_int(stride->items[i], -1);
        if (t->shape[i] < 0 || t->stride[i] < 0 || __builtin_mul_overflow(t->count, t->shape[i], &t->count))
            return mffa_fail(err, MFFA_EINVAL, "\"%s\": tensor \"%s\" has an impossible shape", f->what, name);
    }
    return MFFA_OK;
}

/* The last element that the strides reach must lie in the storage; nor may a tensor have more elements than its storage, which
 * bounds what a small file can blow up to. */
static bool fits(const mffa_pth_tensor *t, int64_t offset, int64_t available) {
    int64_t last = offset, reach;
    if (offset < 0 || offset > available || t->count > available) return false;
    if (t->count == 0) return true;
    for (int i = 0; i < t->rank; i++)
        if (__builtin_mul_overflow(t->shape[i] - 1, t->stride[i], &reach) || __builtin_add_overflow(last, reach, &last)) return false;
    return last < available;
}

/* v: _rebuild_tensor_v2(storage, offset, size, stride, ...), possibly inside _rebuild_parameter(tensor, ...). */
static mffa_code read_tensor(const mffa_pth *f, const char *name, const mffa_pickle_value *v, mffa_pth_tensor *t, mffa_err *err) {
    if (mffa_pickle_calls(v, "torch._utils._rebuild_parameter")) v = mffa_pickle_item(v->items[1], 0);
    if (!mffa_pickle_calls(v, "torch._utils._rebuild_tensor_v2") && !mffa_pickle_calls(v, "torch._utils._rebuild_tensor"))
        return mffa_fail(err, MFFA_EINVAL, "\"%s\": \"%s\" is made by a call, but is no tensor", f->what, name);
    const mffa_pickle_value *args = v->items[1];
    storage s = {0};
    mffa_code rc = read_storage_id(f, mffa_pickle_item(args, 0), &s, err);
    if (!rc) rc = f->zip ? find_in_zip(f, &s, err) : find_in_plain(f, &s, err);
    if (!rc) rc = read_dimensions(f, name, mffa_pickle_item(args, 2), mffa_pickle_item(args, 3), t, err);
    int64_t offset = mffa_pickle_int(mffa_pickle_item(args, 1), -1);
    if (!rc && !fits(t, offset, s.count))
        return mffa_fail(err, MFFA_EINVAL, "\"%s\": tensor \"%s\" reaches beyond its storage", f->what, name);
    if (rc) return rc;
    t->dtype = s.dtype;
    t->data = s.data + (size_t)offset * mffa_dtype_bytes(s.dtype);
    return MFFA_OK;
}

/* A name as the caller will see it, NULL when it cannot be one. */
static char *tensor_name(mffa_span key) {
    static const char prefix[] = "module.";
    const char *text = key.ptr;
    if (key.len > sizeof prefix - 1 && memcmp(text, prefix, sizeof prefix - 1) == 0)
        text += sizeof prefix - 1, key.len -= sizeof prefix - 1;
    return key.len && key.len < MAX_NAME && !memchr(text, '\0', key.len) ? strndup(text, key.len) : NULL;
}

static mffa_code add_tensor(mffa_pth *f, const mffa_pickle_value *key, const mffa_pickle_value *v, mffa_err *err) {
    if (v->kind != MFFA_PICKLE_CALL) return MFFA_OK; /* epochs and other numbers */
    if (key->kind != MFFA_PICKLE_TEXT) return bad(f, err, "a tensor's name is not a text");
    char *name = tensor_name(key->text);
    if (!name)
        return mffa_fail(err, MFFA_EINVAL, "\"%s\": a tensor's name is empty, has a NUL or more than %d bytes", f->what, MAX_NAME - 1);
    f->names[f->count] = name;
    f->tensors[f->count].name = name;
    mffa_code rc = read_tensor(f, name, v, &f->tensors[f->count], err);
    f->count++; /* the name is released with the file in any case */
    return rc;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static mffa_code check_names(mffa_pth *f, mffa_err *err) {
    if (!f->count) return bad(f, err, "there are no tensors in it");
    qsort(f->names, f->count, sizeof *f->names, by_text);
    for (size_t i = 1; i < f->count; i++)
        if (strcmp(f->names[i - 1], f->names[i]) == 0)
            return mffa_fail(err, MFFA_EINVAL, "\"%s\" holds \"%s\" twice", f->what, f->names[i]);
    return MFFA_OK;
}

/* Tensors may share a storage, and a small file of many that share one would fill the disk when it is converted. */
static mffa_code check_total(const mffa_pth *f, mffa_err *err) {
    enum { MOST_TIMES = 64, SLACK = 1 << 20 };
    size_t total = 0, limit = f->bytes.len > SIZE_MAX / MOST_TIMES - SLACK ? SIZE_MAX : f->bytes.len * MOST_TIMES + SLACK;
    for (size_t i = 0; i < f->count; i++) { /* no product overflows: a tensor is not larger than its storage */
        size_t bytes = (size_t)f->tensors[i].count * mffa_dtype_bytes(f->tensors[i].dtype);
        if (bytes > limit - total)
            return mffa_fail(err, MFFA_EINVAL, "\"%s\": its tensors have more than %d times the file's size", f->what, MOST_TIMES);
        total += bytes;
    }
    return MFFA_OK;
}

static mffa_code read_tensors(mffa_pth *f, mffa_err *err) {
    const mffa_pickle_value *dict = mffa_pickle_root(f->object), *inner = mffa_pickle_find(dict, "state_dict");
    if (!inner) inner = mffa_pickle_find(dict, "model");
    if (inner && inner->kind == MFFA_PICKLE_DICT) dict = inner;
    if (dict->kind != MFFA_PICKLE_DICT) return bad(f, err, "it holds something other than a dictionary of tensors");
    f->tensors = mffa_alloc_array(dict->n / 2, sizeof *f->tensors);
    f->names = mffa_alloc_array(dict->n / 2, sizeof *f->names);
    if (!f->tensors || !f->names) return mffa_fail(err, MFFA_ENOMEM, "out of memory for %zu tensors", dict->n / 2);
    mffa_code rc = MFFA_OK;
    for (size_t i = 0; !rc && i + 1 < dict->n; i += 2) rc = add_tensor(f, dict->items[i], dict->items[i + 1], err);
    if (!rc) rc = check_total(f, err);
    return rc ? rc : check_names(f, err);
}

/* ---- the two formats ---- */

static mffa_code open_zip(mffa_pth *f, mffa_err *err) {
    static const char tail[] = "/data.pkl";
    mffa_span content;
    mffa_code rc = mffa_zip_open(f->bytes, f->what, &f->zip, err);
    if (rc) return rc;
    for (size_t i = 0; i < mffa_zip_count(f->zip) && !f->folder; i++) {
        const char *name = mffa_zip_name(f->zip, i);
        size_t len = strlen(name);
        if (len < sizeof tail || strcmp(name + len - (sizeof tail - 1), tail) != 0) continue;
        if (!(f->folder = strndup(name, len - strlen("data.pkl")))) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    }
    if (!f->folder) return bad(f, err, "a zip archive, but not one of PyTorch's: it has no data.pkl");
    char name[MAX_NAME];
    snprintf(name, sizeof name, "%sbyteorder", f->folder);
    rc = mffa_zip_get(f->zip, name, 16, &content, err);
    if (rc && rc != MFFA_ENOTFOUND) return rc;
    if (!rc && !mffa_span_is(content, "little")) return bad(f, err, "its numbers are big-endian: save it on a little-endian machine");
    snprintf(name, sizeof name, "%sdata.pkl", f->folder);
    rc = mffa_zip_get(f->zip, name, MAX_PICKLE_BYTES, &content, err);
    return rc ? rc : mffa_pickle_read(content, tensor_globals, f->what, NULL, &f->object, err);
}

/* The plain format: pickles of a magic number, a version, the system's properties, the object, the storages' keys; then for each
 * key the number of elements (8 bytes) and the elements. */
static const unsigned char plain_magic[] = {0x80, 0x02, 0x8a, 0x0a, 'l', 0xfc, 0x9c, 'F', 0xf9, ' ', 'j', 0xa8, 'P', 0x19, '.'};

static mffa_code next_pickle(const mffa_pth *f, size_t *at, mffa_pickle **out, mffa_err *err) {
    size_t used = 0, left = f->bytes.len - *at;
    mffa_span rest = {(const char *)f->bytes.ptr + *at, left < MAX_PICKLE_BYTES ? left : MAX_PICKLE_BYTES};
    mffa_code rc = mffa_pickle_read(rest, tensor_globals, f->what, &used, out, err);
    *at += used;
    return rc;
}

static mffa_code check_system(const mffa_pth *f, size_t *at, mffa_err *err) {
    MFFA_AUTO(mffa_pickle_close_p) mffa_pickle *version = NULL;
    MFFA_AUTO(mffa_pickle_close_p) mffa_pickle *system = NULL;
    mffa_code rc = next_pickle(f, at, &version, err);
    if (!rc) rc = next_pickle(f, at, &system, err);
    if (rc) return rc;
    if (mffa_pickle_int(mffa_pickle_root(version), 0) != 1001) return bad(f, err, "its format has a version other than 1001");
    const mffa_pickle_value *little = mffa_pickle_find(mffa_pickle_root(system), "little_endian");
    if (!little || little->kind != MFFA_PICKLE_BOOL || !little->num)
        return bad(f, err, "its numbers are big-endian: save it on a little-endian machine");
    return MFFA_OK;
}

/* The types of storages stand only in the object, their order only in the list of keys. */
static mffa_code note_storage(mffa_pth *f, const mffa_pickle_value *v, mffa_err *err) {
    if (mffa_pickle_calls(v, "torch._utils._rebuild_parameter")) v = mffa_pickle_item(v->items[1], 0);
    const mffa_pickle_value *id = v && v->kind == MFFA_PICKLE_CALL ? mffa_pickle_item(v->items[1], 0) : NULL;
    if (!id || id->kind != MFFA_PICKLE_PERSISTENT) return MFFA_OK;
    return read_storage_id(f, id, &f->storages[f->storages_n++], err);
}

static mffa_code note_storages(mffa_pth *f, const mffa_pickle_value *dict, mffa_err *err) {
    mffa_code rc = MFFA_OK;
    for (size_t i = 0; !rc && dict && dict->kind == MFFA_PICKLE_DICT && i + 1 < dict->n; i += 2)
        rc = note_storage(f, dict->items[i + 1], err);
    return rc;
}

static size_t members(const mffa_pickle_value *v) { return v && v->kind == MFFA_PICKLE_DICT ? v->n / 2 : 0; }

static mffa_code list_storages(mffa_pth *f, mffa_err *err) {
    const mffa_pickle_value *root = mffa_pickle_root(f->object), *state = mffa_pickle_find(root, "state_dict"),
                            *model = mffa_pickle_find(root, "model");
    f->storages = mffa_alloc_array(members(root) + members(state) + members(model), sizeof *f->storages);
    if (!f->storages) return mffa_fail(err, MFFA_ENOMEM, "out of memory for storages");
    mffa_code rc = note_storages(f, root, err);
    if (!rc) rc = note_storages(f, state, err);
    if (!rc) rc = note_storages(f, model, err);
    if (rc) return rc;
    size_t kept = 0;
    qsort(f->storages, f->storages_n, sizeof *f->storages, by_key);
    for (size_t i = 0; i < f->storages_n; i++)
        if (!i || by_key(&f->storages[i], &f->storages[i - 1]) != 0) f->storages[kept++] = f->storages[i];
    f->storages_n = kept;
    return MFFA_OK;
}

static mffa_code place_storages(mffa_pth *f, const mffa_pickle_value *keys, size_t at, mffa_err *err) {
    const unsigned char *base = f->bytes.ptr;
    size_t placed = 0;
    for (size_t i = 0; i < keys->n; i++) {
        uint64_t count = 0;
        const mffa_pickle_value *key = keys->items[i];
        storage *s = key->kind == MFFA_PICKLE_TEXT && f->storages_n
                         ? bsearch(&(storage){.key = key->text}, f->storages, f->storages_n, sizeof *s, by_key)
                         : NULL;
        if (!s || s->data) return bad(f, err, "its list of storages does not match its tensors");
        if (f->bytes.len - at < sizeof count) return bad(f, err, "it ends before its last tensor, as in a download that was cut off");
        memcpy(&count, base + at, sizeof count);
        at += sizeof count;
        if (count != (uint64_t)s->count) return bad(f, err, "a storage has another number of elements than was announced");
        size_t bytes = (size_t)count * mffa_dtype_bytes(s->dtype);
        if (bytes > f->bytes.len - at) return bad(f, err, "it ends before its last tensor, as in a download that was cut off");
        s->data = base + at;
        at += bytes, placed++;
    }
    return placed == f->storages_n ? MFFA_OK : bad(f, err, "its list of storages does not match its tensors");
}

static mffa_code open_plain(mffa_pth *f, mffa_err *err) {
    size_t at = sizeof plain_magic;
    MFFA_AUTO(mffa_pickle_close_p) mffa_pickle *keys = NULL;
    mffa_code rc = check_system(f, &at, err);
    if (!rc) rc = next_pickle(f, &at, &f->object, err);
    if (!rc) rc = next_pickle(f, &at, &keys, err);
    if (!rc && mffa_pickle_root(keys)->kind != MFFA_PICKLE_LIST) rc = bad(f, err, "its list of storages is missing");
    if (!rc) rc = list_storages(f, err);
    return rc ? rc : place_storages(f, mffa_pickle_root(keys), at, err);
}

static mffa_code open_any(mffa_pth *f, mffa_err *err) {
    mffa_code rc;
    if (mffa_zip_looks_like(f->bytes)) rc = open_zip(f, err);
    else if (f->bytes.len > sizeof plain_magic && memcmp(f->bytes.ptr, plain_magic, sizeof plain_magic) == 0) rc = open_plain(f, err);
    else return bad(f, err, "not a PyTorch checkpoint: it starts neither as a zip archive nor as torch.save's older format");
    return rc ? rc : read_tensors(f, err);
}

mffa_code mffa_pth_open_bytes(mffa_span bytes, const char *what, mffa_pth **out, mffa_err *err) {
    MFFA_AUTO(mffa_pth_close_p) mffa_pth *f = calloc(1, sizeof *f);
    if (!f || !(f->what = strdup(what))) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    f->bytes = bytes;
    mffa_code rc = open_any(f, err);
    if (!rc) *out = MFFA_TAKE(f);
    return rc;
}

mffa_code mffa_pth_open(const char *path, mffa_pth **out, mffa_err *err) {
    MFFA_AUTO(mffa_close_fd_p) int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0) return mffa_fail(err, errno == ENOENT ? MFFA_ENOTFOUND : MFFA_EIO, "cannot open \"%s\": %s", path, strerror(errno));
    if (fstat(fd, &st) != 0) return mffa_fail(err, MFFA_EIO, "could not read \"%s\": %s", path, strerror(errno));
    if (!S_ISREG(st.st_mode) || st.st_size == 0) return mffa_fail(err, MFFA_EINVAL, "\"%s\" is empty or not a file", path);
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) return mffa_fail(err, MFFA_EIO, "could not map \"%s\": %s", path, strerror(errno));
    mffa_code rc = mffa_pth_open_bytes((mffa_span){map, (size_t)st.st_size}, path, out, err);
    if (rc) munmap(map, (size_t)st.st_size);
    else (*out)->map = map, (*out)->map_bytes = (size_t)st.st_size;
    return rc;
}

void mffa_pth_close(mffa_pth *f) {
    if (!f) return;
    for (size_t i = 0; i < f->count; i++) free(f->names[i]);
    free(f->names);
    free(f->tensors);
    free(f->storages);
    free(f->folder);
    free(f->what);
    mffa_pickle_close(f->object);
    mffa_zip_close(f->zip);
    if (f->map) munmap(f->map, f->map_bytes);
    free(f);
}

size_t mffa_pth_count(const mffa_pth *f) { return f->count; }

const mffa_pth_tensor *mffa_pth_at(const mffa_pth *f, size_t i) { return i < f->count ? &f->tensors[i] : NULL; }

const mffa_pth_tensor *mffa_pth_find(const mffa_pth *f, const char *name) {
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->tensors[i].name, name) == 0) return &f->tensors[i];
    return NULL;
}

static bool is_row_major(const mffa_pth_tensor *t) {
    int64_t step = 1;
    for (int i = t->rank; i-- > 0; step *= t->shape[i])
        if (t->shape[i] != 1 && t->stride[i] != step) return false;
    return true;
}

void mffa_pth_read(const mffa_pth_tensor *t, int64_t first, int64_t n, void *out) {
    size_t size = mffa_dtype_bytes(t->dtype);
    if (n <= 0) return;
    if (is_row_major(t)) {
        memcpy(out, t->data + (size_t)first * size, (size_t)n * size);
        return;
    }
    unsigned char *to = out;
    for (int64_t i = first; i < first + n; i++, to += size) {
        int64_t at = 0, rest = i;
        for (int d = t->rank; d-- > 0; rest /= t->shape[d]) at += rest % t->shape[d] * t->stride[d];
        memcpy(to, t->data + (size_t)at * size, size);
    }
}

static mffa_code write_tensor(mffa_st_writer *w, const mffa_pth_tensor *t, mffa_err *err) {
    enum { PIECE = 1 << 13 };
    uint64_t piece[PIECE]; /* elements of up to 8 bytes */
    mffa_code rc = MFFA_OK;
    for (int64_t at = 0; !rc && at < t->count; at += PIECE) {
        int64_t n = t->count - at < PIECE ? t->count - at : PIECE;
        mffa_pth_read(t, at, n, piece);
        rc = mffa_st_writer_put(w, piece, (size_t)n * mffa_dtype_bytes(t->dtype), err);
    }
    return rc;
}

mffa_code mffa_pth_convert(const mffa_pth *f, const char *path, mffa_err *err) {
    MFFA_AUTO(mffa_st_writer_close_p) mffa_st_writer *w = NULL;
    mffa_code rc = mffa_st_writer_open(path, &w, err);
    if (rc) return rc;
    mffa_st_writer_meta(w, "format", "pt");
    static const size_t widths[] = {8, 4, 2, 1}; /* wide types first: every tensor then begins at a multiple of its width */
    for (size_t k = 0; k < 2 * MFFA_COUNT(widths); k++) {
        bool declare = k < MFFA_COUNT(widths);
        for (size_t i = 0; !rc && i < f->count; i++) {
            const mffa_pth_tensor *t = &f->tensors[i];
            if (mffa_dtype_bytes(t->dtype) != widths[k % MFFA_COUNT(widths)]) continue;
            rc = declare ? mffa_st_writer_declare(w, t->name, t->dtype, t->rank, t->shape, err) : write_tensor(w, t, err);
        }
    }
    return rc ? rc : mffa_st_writer_finish(w, err);
}
