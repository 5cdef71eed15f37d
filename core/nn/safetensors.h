/* safetensors files: 8 bytes little-endian header length, JSON header, tensor bytes.
 * Reading maps the file read-only; the header is checked before anything in it is believed: length against the file and 16 MiB (a
 * network's is under 100 KB; reading one costs some 30 times its length in memory), JSON, known types, shapes whose product does not
 * overflow and equals the byte range, ranges that cover the data exactly without overlap or hole. The file must not be shortened
 * while it is open. Thread rule: an open file may be read by several threads. */
#ifndef MFFA_CORE_NN_SAFETENSORS_H
#define MFFA_CORE_NN_SAFETENSORS_H

#include <stdint.h>
#include "core/base/buf.h"

enum { MFFA_ST_MAX_RANK = 8 };

#define MFFA_DTYPES(X) /* X(NAME, bytes): safetensors names */                                                                       \
    X(BOOL, 1) X(U8, 1) X(I8, 1) X(I16, 2) X(U16, 2) X(F16, 2) X(BF16, 2) X(I32, 4) X(U32, 4) X(F32, 4) X(F64, 8) X(I64, 8) X(U64, 8)
typedef enum mffa_dtype {
#define X(name, bytes) MFFA_##name,
    MFFA_DTYPES(X)
#undef X
    MFFA_DTYPE_COUNT
} mffa_dtype;

typedef struct mffa_st_tensor { /* borrowed from the file */
    const char *name;
    mffa_dtype dtype;
    int rank;
    int64_t shape[MFFA_ST_MAX_RANK];
    int64_t count;    /* elements */
    const void *data; /* little-endian, row-major; may be unaligned */
    size_t bytes;
} mffa_st_tensor;

typedef struct mffa_safetensors mffa_safetensors;
/* MFFA_EINVAL names path and what lies; MFFA_ENOTFOUND, MFFA_EIO. */
MFFA_MUST_USE mffa_code mffa_safetensors_open(const char *path, mffa_safetensors **out, mffa_err *err);
/* The same over bytes in memory, borrowed until close (tests, fuzzing). what names them in errors. */
MFFA_MUST_USE mffa_code mffa_safetensors_open_bytes(mffa_span bytes, const char *what, mffa_safetensors **out, mffa_err *err);
void mffa_safetensors_close(mffa_safetensors *f);
static inline void mffa_safetensors_close_p(mffa_safetensors **f) { mffa_safetensors_close(*f); }
size_t mffa_safetensors_count(const mffa_safetensors *f);
const mffa_st_tensor *mffa_safetensors_at(const mffa_safetensors *f, size_t i); /* in file order */
const mffa_st_tensor *mffa_safetensors_find(const mffa_safetensors *f, const char *name); /* NULL if absent */
const char *mffa_safetensors_meta(const mffa_safetensors *f, const char *key);  /* __metadata__ text; NULL if absent */
/* Copy t->bytes bytes to out. Pieces that are copied leave memory (they come back from the file when asked for), so a large tensor is not
 * there twice. */
void mffa_safetensors_copy(const mffa_safetensors *f, const mffa_st_tensor *t, void *out);
/* The same for a tensor that was read otherwise. */
void mffa_safetensors_release(const mffa_safetensors *f, const mffa_st_tensor *t);
/* Copy as float32, from F32, F16, BF16 or F64; out has t->count elements. MFFA_EINVAL names tensor and type otherwise. */
MFFA_MUST_USE mffa_code mffa_safetensors_floats(const mffa_st_tensor *t, float *out, mffa_err *err);

/* Writing: declare everything, then the bytes in the order declared (any piece sizes), then finish. Writes to path directly: the
 * caller chooses a temporary name, and removes it if the writing fails. A tensor must begin at a multiple of its element size (PyTorch
 * reads no other): declare wider types first. One thread at a time. */
typedef struct mffa_st_writer mffa_st_writer;
MFFA_MUST_USE mffa_code mffa_st_writer_open(const char *path, mffa_st_writer **out, mffa_err *err);
void mffa_st_writer_meta(mffa_st_writer *w, const char *key, const char *value);
MFFA_MUST_USE mffa_code mffa_st_writer_declare(mffa_st_writer *w, const char *name, mffa_dtype dtype, int rank, const int64_t *shape,
                                               mffa_err *err);
MFFA_MUST_USE mffa_code mffa_st_writer_put(mffa_st_writer *w, const void *data, size_t bytes, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_st_writer_finish(mffa_st_writer *w, mffa_err *err); /* checks that all bytes came; flushes */
void mffa_st_writer_close(mffa_st_writer *w);
static inline void mffa_st_writer_close_p(mffa_st_writer **w) { mffa_st_writer_close(*w); }

const char *mffa_dtype_name(mffa_dtype t);
size_t mffa_dtype_bytes(mffa_dtype t);

#endif
