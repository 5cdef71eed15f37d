#include "core/mffa/lgffp.h"

/* x [B, C, h, h] -> [B, C, g, g] */
static mffa_tensor *to_grid(mffa_scope *s, mffa_tensor *x, int64_t g) {
    int64_t h = mffa_tensor_size(x, 2);
    if (h == g) return x;
    return h < g ? mffa_upsample(s, x, g, g) : mffa_adaptive_avg_pool(s, x, g, g);
}

/* [B, D, G, G] */
static mffa_tensor *aggregate(mffa_scope *s, const mffa_lgffp *l, const mffa_stages *f) {
    mffa_tensor *local[2] = {to_grid(s, f->stage[0], l->grid), to_grid(s, f->stage[1], l->grid)};
    mffa_tensor *deep = mffa_index_select(s, f->stage[2], 1, l->layer3_channels, l->width);
    return mffa_add_in(s, mffa_cat(s, local, 2, 1), to_grid(s, deep, l->grid));
}

mffa_tensor *mffa_lgffp_forward(mffa_scope *s, const mffa_lgffp *l, const mffa_stages *stages) {
    mffa_scope *in = mffa_scope_nest(s);
    mffa_tensor *x = aggregate(in, l, stages);
    mffa_tensor *flat = mffa_reshape(in, x, 3, (int64_t[]){mffa_tensor_size(x, 0), l->width, (int64_t)l->grid * l->grid});
    mffa_tensor *tokens = mffa_contiguous(in, mffa_permute(in, flat, 3, (int[]){0, 2, 1}));
    if (l->transformer) tokens = mffa_cait_forward(in, l->transformer, tokens);
    mffa_tensor *chosen = mffa_index_select(in, tokens, 2, l->gaussian_channels, l->channels);
    mffa_tensor *out = mffa_scope_keep(s, mffa_cast(in, chosen, MFFA_F32));
    mffa_scope_close(in);
    return out;
}
