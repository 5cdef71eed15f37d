/* mffa_psg_need: see psg.h. What autograd keeps of a forward pass: of every convolution its output (BatchNorm wants it back) and what
 * BatchNorm makes of it (ReLU works in place on it, and the next convolution wants it back). */
#include "core/mffa/psg_classifier.h"
#include "core/mffa/psg.h"

enum { STEM = 64, KEPT = 2 /* of a convolution's output */ };
/* libtorch with its backward pass and optimiser, with a GPU CUDA's libraries too; measured. */
static const int64_t libraries_bytes = INT64_C(180) << 20, libraries_gpu_bytes = INT64_C(1050) << 20;

typedef struct account {            /* floats */
    int64_t kept, largest, weights; /* kept, largest: of one sample */
} account;

static void convolution(account *a, int64_t in, int64_t out, int64_t size, int64_t pixels) {
    a->weights += in * out * size * size + 4 * out;
    a->kept += KEPT * out * pixels;
    if (out * pixels > a->largest) a->largest = out * pixels;
}

static void residual(account *a, const mffa_weights_info *w, int stage, int64_t in, bool first, int64_t pixels) {
    int64_t inner = w->inner[stage], out = w->channels[stage];
    if (w->bottleneck) convolution(a, in, inner, 1, first && stage ? 4 * pixels : pixels);
    convolution(a, w->bottleneck ? inner : in, w->bottleneck ? inner : out, 3, pixels);
    convolution(a, w->bottleneck ? inner : out, out, w->bottleneck ? 1 : 3, pixels);
    if (first && (stage || in != out)) convolution(a, in, out, 1, pixels);
}

static account count(const mffa_weights_info *w, int side) {
    int64_t pixels = (int64_t)side * side, in = STEM;
    account a = {.kept = 3 * pixels + 3 * STEM * pixels / 16}; /* the normalised picture; max pool's result and its indices */
    convolution(&a, 3, STEM, 7, pixels / 4);
    for (int stage = 0; stage < w->stages; stage++)
        for (int i = 0; i < w->depth[stage]; i++, in = w->channels[stage]) residual(&a, w, stage, in, i == 0, pixels >> (4 + 2 * stage));
    return a;
}

mffa_code mffa_psg_need(const char *backbone, const mffa_psg_params *p, int64_t pictures, bool gpu, mffa_need *out, mffa_err *err) {
    MFFA_AUTO(mffa_weights_close_p) mffa_weights *w = NULL;
    mffa_code rc = mffa_weights_open(backbone, &w, err);
    if (!rc) rc = mffa_weights_expect(w, MFFA_WEIGHTS_BACKBONE, err);
    if (rc) return rc;
    account a = count(mffa_weights_describe(w), p->side);
    int64_t steps = (pictures + p->batch - 1) / p->batch, samples = MFFA_PSG_CLASSES * (steps ? (pictures + steps - 1) / steps : 0);
    int64_t picture = 3 * (int64_t)p->side * p->side;
    int64_t training = 4 * (samples * (picture + a.kept + a.largest) + 3 * a.weights); /* weights, gradients, momentum */
    int64_t with_workspace = training + training / 8; /* cuDNN's, in the backward pass: measured */
    *out = gpu ? (mffa_need){libraries_gpu_bytes + 4 * (samples * picture + a.weights), with_workspace}
               : (mffa_need){libraries_bytes + training, 0};
    return MFFA_OK;
}
