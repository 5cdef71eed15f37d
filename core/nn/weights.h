/* Weights: tensors of a safetensors file by name, shape-checked, as tensors of a scope.
 * The first missing or wrongly shaped tensor fails the scope with MFFA_EINVAL naming tensor, found shape, expected shape and file, so
 * a network is loaded in straight lines and checked once. Float types are widened to float32. The file may be closed once loaded. */
#ifndef MFFA_CORE_NN_WEIGHTS_H
#define MFFA_CORE_NN_WEIGHTS_H

#include "core/nn/tensor.h"
#include "core/nn/weights_kind.h"

typedef struct mffa_weights mffa_weights;

/* Opens and recognises. Fails as mffa_safetensors_open and mffa_weights_recognise. */
MFFA_MUST_USE mffa_code mffa_weights_open(const char *path, mffa_weights **out, mffa_err *err);
void mffa_weights_close(mffa_weights *w);
static inline void mffa_weights_close_p(mffa_weights **w) { mffa_weights_close(*w); }
const mffa_weights_info *mffa_weights_describe(const mffa_weights *w);
const mffa_safetensors *mffa_weights_file(const mffa_weights *w);
/* MFFA_OK if the file is of that kind, else MFFA_EINVAL saying what it is. */
MFFA_MUST_USE mffa_code mffa_weights_expect(const mffa_weights *w, mffa_weights_kind kind, mffa_err *err);
/* name without the file's prefix. */
mffa_tensor *mffa_weights_get(mffa_scope *s, const mffa_weights *w, const char *name, int rank, const int64_t *shape);

#endif
