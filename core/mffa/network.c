#include "core/mffa/network.h"

#include <string.h>

struct mffa_network {
    mffa_device *device;
    mffa_resnet *backbone;
    mffa_cait *transformer;
    mffa_network_info info;
    bool as_on_gpu;
    uint64_t key; /* of what is attached; 0: nothing */
    void *attached;
    void (*close)(void *what);
};

void mffa_network_close(mffa_network *n) {
    if (!n) return;
    mffa_network_attach(n, 0, NULL, NULL);
    mffa_cait_close(n->transformer);
    mffa_resnet_close(n->backbone);
    mffa_device_close(n->device);
    free(n);
}

static mffa_code open_backbone(mffa_network *n, const char *path, mffa_err *err) {
    MFFA_AUTO(mffa_weights_close_p) mffa_weights *w = NULL;
    mffa_code rc = mffa_weights_open(path, &w, err);
    if (!rc) rc = mffa_weights_expect(w, MFFA_WEIGHTS_BACKBONE, err);
    if (!rc) rc = mffa_resnet_open(n->device, w, MFFA_INFER, 3, &n->backbone, err);
    if (rc) return rc;
    const mffa_weights_info *info = mffa_resnet_describe(n->backbone);
    memcpy(n->info.backbone, info->name, sizeof n->info.backbone);
    n->info.c1 = info->channels[0], n->info.c2 = info->channels[1], n->info.c3 = info->channels[2];
    n->info.width = n->info.c1 + n->info.c2;
    if (n->info.c3 < n->info.width)
        return mffa_fail(err, MFFA_EINVAL,
                         "layer3 of \"%s\" has %d channels: at least %d are needed (layer1's %d and layer2's %d together)", path,
                         n->info.c3, n->info.width, n->info.c1, n->info.c2);
    return MFFA_OK;
}

/* The published pairs are few: say which would fit. */
static const char *partner_of_width(int width) {
    switch (width) {
    case 192:
        return "ResNet 18 or 34";
    case 768:
        return "ResNet 50, 101, wide 50 or wide 101";
    default:
        return "none of torchvision's ResNets";
    }
}

static const char *partner_of_sum(int sum) {
    switch (sum) {
    case 192:
        return "CaiT XXS (192 wide)";
    case 768:
        return "CaiT M (768 wide)";
    default:
        return "none of timm's CaiTs";
    }
}

static mffa_code open_transformer(mffa_network *n, const char *path, int blocks, mffa_err *err) {
    MFFA_AUTO(mffa_weights_close_p) mffa_weights *w = NULL;
    if (!path) return mffa_fail(err, MFFA_EINVAL, "%d transformer blocks but no transformer: give CaiT weights or blocks 0", blocks);
    mffa_code rc = mffa_weights_open(path, &w, err);
    if (!rc) rc = mffa_weights_expect(w, MFFA_WEIGHTS_TRANSFORMER, err);
    if (rc) return rc;
    int width = mffa_weights_describe(w)->width;
    if (width != n->info.width)
        return mffa_fail(
            err, MFFA_EINVAL,
            "%s (%d + %d channels) and a transformer %d wide do not fit: C1 + C2 must equal the width; for this backbone: %s, for this "
            "transformer: %s",
            n->info.backbone, n->info.c1, n->info.c2, width, partner_of_sum(n->info.width), partner_of_width(width));
    rc = mffa_cait_open(n->device, w, blocks, &n->transformer, err);
    if (rc) return rc;
    memcpy(n->info.transformer, mffa_cait_describe(n->transformer)->name, sizeof n->info.transformer);
    n->info.blocks = blocks;
    return MFFA_OK;
}

mffa_code mffa_network_open(const mffa_network_files *files, int blocks, const mffa_network_options *options, mffa_network **out,
                            mffa_err *err) {
    if (options->batch < 1 || options->batch > 1024) return mffa_fail(err, MFFA_EINVAL, "batch is %d: expected 1 to 1024", options->batch);
    if (blocks < 0 || blocks > 11) return mffa_fail(err, MFFA_EINVAL, "blocks is %d: expected 0 to 11", blocks);
    MFFA_AUTO(mffa_network_close_p) mffa_network *n = calloc(1, sizeof *n);
    if (!n) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_code rc = mffa_device_open(options->device, options->precision, options->threads, &n->device, err);
    if (!rc) rc = open_backbone(n, files->backbone, err);
    if (!rc && blocks) rc = open_transformer(n, files->transformer, blocks, err);
    if (rc) return rc;
    snprintf(n->info.device, sizeof n->info.device, "%s", mffa_device_name(n->device));
    snprintf(n->info.precision, sizeof n->info.precision, "%s", mffa_device_precision(n->device));
    n->info.batch = options->batch;
    n->as_on_gpu = options->as_on_gpu;
    *out = MFFA_TAKE(n);
    return MFFA_OK;
}

const mffa_network_info *mffa_network_describe(const mffa_network *n) { return &n->info; }
const mffa_device *mffa_network_device(const mffa_network *n) { return n->device; }
const mffa_cait *mffa_network_transformer(const mffa_network *n) { return n->transformer; }

bool mffa_network_on_device(const mffa_network *n) { return n->as_on_gpu || mffa_device_is_gpu(n->device); }
void mffa_network_shrink(mffa_network *n, int batch) { n->info.batch = batch; }

void mffa_network_attach(mffa_network *n, uint64_t key, void *what, void (*close)(void *what)) {
    if (n->attached) n->close(n->attached);
    n->key = key, n->attached = what, n->close = close;
}

void *mffa_network_attached(const mffa_network *n, uint64_t key) { return key && n->key == key ? n->attached : NULL; }

mffa_tensor *mffa_network_input(mffa_scope *s, const float *images, int64_t count, int side) {
    static const float mean[3] = {0.485f, 0.456f, 0.406f}, deviation[3] = {0.229f, 0.224f, 0.225f};
    int64_t per_channel[4] = {1, 3, 1, 1};
    mffa_tensor *x = mffa_tensor_borrow(s, MFFA_F32, images, 4, (int64_t[]){count, 3, side, side});
    mffa_tensor *centred = mffa_sub(s, x, mffa_tensor_from(s, MFFA_F32, mean, 4, per_channel));
    return mffa_div(s, centred, mffa_tensor_from(s, MFFA_F32, deviation, 4, per_channel));
}

mffa_stages mffa_network_stages(mffa_scope *s, const mffa_network *n, const float *images, int64_t count, int side) {
    return mffa_resnet_forward(s, n->backbone, mffa_network_input(s, images, count, side), false);
}

int64_t mffa_network_weights_bytes(const mffa_network *n) {
    return mffa_resnet_bytes(n->backbone) + (n->transformer ? mffa_cait_bytes(n->transformer) : 0);
}

static int64_t stage_floats(const mffa_network_info *i, int64_t pixels) {
    return (int64_t)i->c1 * (pixels / 16) + (int64_t)i->c2 * (pixels / 64) + (int64_t)i->c3 * (pixels / 256);
}

int64_t mffa_network_stages_bytes(const mffa_network *n, int64_t count, int side) {
    return 4 * count * stage_floats(&n->info, (int64_t)side * side);
}

int64_t mffa_network_bytes(const mffa_network *n, int64_t count, int64_t at_once, int side, int grid) {
    const mffa_network_info *i = &n->info;
    int64_t pixels = (int64_t)side * side, positions = (int64_t)grid * grid;
    int64_t image = 2 * 3 * pixels;                      /* centred, normalised */
    int64_t copies = mffa_device_is_gpu(n->device) ? 2 : 3; /* oneDNN lays its input out anew */
    int64_t first = copies * 64 * (pixels / 4);          /* conv1's output, before and after BatchNorm, ReLU in place */
    int64_t layer1 = 5 * (int64_t)i->c1 * (pixels / 16); /* a block's input and its temporaries */
    int64_t stages = stage_floats(i, pixels);
    int64_t embedding = (3 * (int64_t)(i->c2 + i->c3) + i->c3) * (pixels / 64);
    int64_t temporary = first > layer1 ? first : layer1;
    int64_t backbone = 4 * count * (image + stages + (temporary > embedding ? temporary : embedding));
    int64_t attention = n->transformer ? mffa_cait_peak_bytes(n->transformer, at_once, positions) : 0;
    int64_t transformer = 4 * (count * (image + stages) + at_once * 4 * i->width * positions) + attention;
    return mffa_network_weights_bytes(n) + (backbone > transformer ? backbone : transformer);
}
