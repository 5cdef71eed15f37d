/* What a weights file holds, told by its tensors' names and shapes (design section 4). Torch-free.
 * Names are torchvision's for ResNets and timm's for CaiT; a prefix that training wrappers leave ("module.", "model.", or both) is
 * stripped. Extra tensors (fc, patch_embed, later blocks) do not matter. */
#ifndef MFFA_CORE_NN_WEIGHTS_KIND_H
#define MFFA_CORE_NN_WEIGHTS_KIND_H

#include "core/nn/safetensors.h"

typedef enum mffa_weights_kind { MFFA_WEIGHTS_OTHER, MFFA_WEIGHTS_BACKBONE, MFFA_WEIGHTS_TRANSFORMER } mffa_weights_kind;

/* By names alone, to find the pair in a folder. Fails only if the file cannot be read or lies. */
MFFA_MUST_USE mffa_code mffa_weights_kind_of(const char *path, mffa_weights_kind *out, mffa_err *err);

typedef struct mffa_weights_info {
    mffa_weights_kind kind;
    char name[64];   /* "resnet18", "wide_resnet50_2"; "cait 192 wide, 4 heads" */
    char prefix[16]; /* in front of every name in this file: "", "module.", ... */
    /* backbone */
    bool bottleneck;
    int stages;      /* 3 (no layer4) or 4 */
    int depth[4];    /* residual blocks of layer1..4 */
    int channels[4]; /* C1..C4, outputs of layer1..4 */
    int inner[4];    /* width of the 3x3 convolutions */
    /* transformer */
    int width, heads, hidden; /* D; rows of proj_l; of the MLP */
    int blocks;               /* in the file */
    bool qkv_bias;
} mffa_weights_info;

/* what names the file in errors. MFFA_EINVAL: neither kind, or a tensor that decides is missing or has another rank. */
MFFA_MUST_USE mffa_code mffa_weights_recognise(const mffa_safetensors *f, const char *what, mffa_weights_info *out, mffa_err *err);

/* "[64, 3, 7, 7]" into out; returns out. */
enum { MFFA_SHAPE_TEXT = 200 };
const char *mffa_shape_text(int rank, const int64_t *shape, char out[MFFA_SHAPE_TEXT]);

#endif
