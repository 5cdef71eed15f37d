/* LGFFP: local features of three stages on one grid, related globally by a transformer (paper, section on LGFFP; design section 3).
 *   X = concat(to(f1), to(f2)) + to(f3)[layer-3 channels],   to(): bilinear up, adaptive average pooling down to grid x grid
 * X's positions are the tokens: CaiT blocks, no positional embedding, no class token, no final norm; then the Gaussian's channels. */
#ifndef MFFA_CORE_MFFA_LGFFP_H
#define MFFA_CORE_MFFA_LGFFP_H

#include "core/nn/cait.h"
#include "core/nn/resnet.h"

typedef struct mffa_lgffp {
    int grid;                      /* G */
    int64_t width, channels;       /* D, d */
    const int64_t *layer3_channels; /* [D], of C3   borrowed */
    const int64_t *gaussian_channels; /* [d], of D   borrowed */
    const mffa_cait *transformer;  /* NULL: X itself   borrowed */
} mffa_lgffp;

/* -> [B, G * G, d] float32 */
mffa_tensor *mffa_lgffp_forward(mffa_scope *s, const mffa_lgffp *l, const mffa_stages *stages);

#endif
