/* PyTorch checkpoints (.pth, .pt), read without executing anything in them: only tensors are understood, and whatever else a pickle
 * can name is refused by that name (core/nn/pickle.h). Both of torch.save's formats: the zip archive (since 1.6) and the plain
 * one before it; the tar of 2016 is refused. The tensors are those of the outermost dictionary or, when it has a member
 * "state_dict" or "model", of that one; a prefix "module." of their names is dropped, other members are ignored.
 * Sizes, strides and offsets are checked against the bytes that are there before any of them is used. Little-endian files only.
 * Thread rule: an open file may be read by several threads. */
#ifndef MFFA_CORE_NN_PTH_H
#define MFFA_CORE_NN_PTH_H

#include "core/nn/safetensors.h"

typedef struct mffa_pth_tensor { /* borrowed from the file */
    const char *name;
    mffa_dtype dtype;
    int rank;
    int64_t shape[MFFA_ST_MAX_RANK], stride[MFFA_ST_MAX_RANK]; /* in elements */
    int64_t count;
    const unsigned char *data; /* of the first element */
} mffa_pth_tensor;

typedef struct mffa_pth mffa_pth;
/* MFFA_EINVAL names path and what is wrong; MFFA_ENOTFOUND, MFFA_EIO. */
MFFA_MUST_USE mffa_code mffa_pth_open(const char *path, mffa_pth **out, mffa_err *err);
/* The same over bytes in memory, borrowed until close. what names them in errors. */
MFFA_MUST_USE mffa_code mffa_pth_open_bytes(mffa_span bytes, const char *what, mffa_pth **out, mffa_err *err);
void mffa_pth_close(mffa_pth *f);
static inline void mffa_pth_close_p(mffa_pth **f) { mffa_pth_close(*f); }
size_t mffa_pth_count(const mffa_pth *f);
const mffa_pth_tensor *mffa_pth_at(const mffa_pth *f, size_t i); /* in the dictionary's order */
const mffa_pth_tensor *mffa_pth_find(const mffa_pth *f, const char *name); /* NULL if absent */
/* n elements from the first-th, row-major, into out (n * mffa_dtype_bytes bytes). */
void mffa_pth_read(const mffa_pth_tensor *t, int64_t first, int64_t n, void *out);

/* All tensors as a safetensors file at `path`, written directly (the caller chooses a temporary name). */
MFFA_MUST_USE mffa_code mffa_pth_convert(const mffa_pth *f, const char *path, mffa_err *err);

#endif
