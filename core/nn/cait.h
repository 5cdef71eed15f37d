/* CaiT blocks with timm's names and mathematics: pre-norm talking-heads attention and MLP, each behind a LayerScale (Touvron et al.,
 * "Going deeper with image transformers", ICCV 2021; timm/models/cait.py). Width, heads, hidden size and the qkv bias come from the
 * weights. LayerNorm eps 1e-6, exact GELU. No positional embedding, no class token, no final norm: blocks alone. One thread. */
#ifndef MFFA_CORE_NN_CAIT_H
#define MFFA_CORE_NN_CAIT_H

#include "core/nn/weights.h"

typedef struct mffa_cait mffa_cait;

/* The first `blocks` of the file, for inference. d is borrowed as long as the network lives, w only for this call. MFFA_EINVAL: fewer
 * blocks in the file, or as mffa_weights_get. */
MFFA_MUST_USE mffa_code mffa_cait_open(const mffa_device *d, const mffa_weights *w, int blocks, mffa_cait **out, mffa_err *err);
void mffa_cait_close(mffa_cait *c);
static inline void mffa_cait_close_p(mffa_cait **c) { mffa_cait_close(*c); }
const mffa_weights_info *mffa_cait_describe(const mffa_cait *c);
int mffa_cait_blocks(const mffa_cait *c);
int64_t mffa_cait_bytes(const mffa_cait *c); /* of its weights, as float32 */

/* x [B, T, D] (borrowed) -> [B, T, D]. As many images pass together as have attention weights (heads x T x T) that fit a chunk of a
 * fixed size; where one image's do not fit they exist for some query rows at a time (talking heads mix all heads of a row, not rows).
 * Beyond x and the result B images need at most mffa_cait_peak_bytes. */
mffa_tensor *mffa_cait_forward(mffa_scope *s, const mffa_cait *c, mffa_tensor *x);
int64_t mffa_cait_peak_bytes(const mffa_cait *c, int64_t images, int64_t tokens);

#endif
