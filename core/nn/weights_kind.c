#include "core/nn/weights_kind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const wrappers[] = {"", "module.", "model.", "module.model.", "model.module."};

static bool begins(const char *name, const char *with) { return strncmp(name, with, strlen(with)) == 0; }

static mffa_weights_kind kind_of_name(const char *name) {
    size_t at = MFFA_COUNT(wrappers);
    while (!begins(name, wrappers[--at])) continue; /* longest first; the empty one always fits */
    name += strlen(wrappers[at]);
    if (begins(name, "layer1.0.")) return MFFA_WEIGHTS_BACKBONE;
    return begins(name, "blocks.") && strstr(name, ".attn.proj_l.") ? MFFA_WEIGHTS_TRANSFORMER : MFFA_WEIGHTS_OTHER;
}

static mffa_weights_kind kind_of(const mffa_safetensors *f, const char **prefix) {
    *prefix = "";
    for (size_t i = 0; i < mffa_safetensors_count(f); i++) {
        const char *name = mffa_safetensors_at(f, i)->name;
        mffa_weights_kind kind = kind_of_name(name);
        if (kind == MFFA_WEIGHTS_OTHER) continue;
        for (size_t w = 0; w < MFFA_COUNT(wrappers); w++)
            if (begins(name, wrappers[w])) *prefix = wrappers[w];
        return kind;
    }
    return MFFA_WEIGHTS_OTHER;
}

mffa_code mffa_weights_kind_of(const char *path, mffa_weights_kind *out, mffa_err *err) {
    MFFA_AUTO(mffa_safetensors_close_p) mffa_safetensors *f = NULL;
    mffa_code rc = mffa_safetensors_open(path, &f, err);
    if (rc) return rc;
    const char *prefix;
    *out = kind_of(f, &prefix);
    return MFFA_OK;
}

const char *mffa_shape_text(int rank, const int64_t *shape, char out[MFFA_SHAPE_TEXT]) {
    size_t at = 1;
    memcpy(out, "[", 2);
    for (int i = 0; i < rank && i < MFFA_ST_MAX_RANK; i++)
        at += (size_t)snprintf(out + at, MFFA_SHAPE_TEXT - at, "%s%lld", i ? ", " : "", (long long)shape[i]);
    snprintf(out + at, MFFA_SHAPE_TEXT - at, "]");
    return out;
}

typedef struct reader { /* one file while it is recognised */
    const mffa_safetensors *f;
    const char *what, *prefix;
} reader;

static const mffa_st_tensor *find(const reader *r, const char *name) {
    char full[160];
    snprintf(full, sizeof full, "%s%s", r->prefix, name);
    return mffa_safetensors_find(r->f, full);
}

/* Size of one axis of a tensor that must exist with that rank; sizes beyond 65536 fit no network of these families. */
static mffa_code size_of(const reader *r, const char *name, int rank, int axis, int *out, mffa_err *err) {
    const mffa_st_tensor *t = find(r, name);
    if (!t) return mffa_fail(err, MFFA_EINVAL, "\"%s\" has no tensor \"%s\"", r->what, name);
    char text[MFFA_SHAPE_TEXT];
    if (t->rank != rank || t->shape[axis] < 1 || t->shape[axis] > 65536)
        return mffa_fail(err, MFFA_EINVAL, "tensor \"%s\" in \"%s\" has shape %s: expected rank %d and sizes from 1 to 65536", name,
                         r->what, mffa_shape_text(t->rank, t->shape, text), rank);
    *out = (int)t->shape[axis];
    return MFFA_OK;
}

/* 1 + the highest N of names "<stem>N.*": a block that lost a tensor still counts, so that the tensor is missed by name. */
static int count_blocks(const reader *r, const char *stem) {
    size_t at = strlen(r->prefix) + strlen(stem);
    int n = 0;
    for (size_t i = 0; i < mffa_safetensors_count(r->f); i++) {
        const char *name = mffa_safetensors_at(r->f, i)->name;
        if (!begins(name, r->prefix) || !begins(name + strlen(r->prefix), stem)) continue;
        char *end;
        long k = name[at] >= '0' && name[at] <= '9' ? strtol(name + at, &end, 10) : -1;
        if (k >= 0 && k < 1000 && *end == '.' && k >= n) n = (int)k + 1;
    }
    return n;
}

static bool is_bottleneck(const reader *r) {
    for (size_t i = 0; i < mffa_safetensors_count(r->f); i++) {
        const char *name = mffa_safetensors_at(r->f, i)->name;
        if (begins(name, r->prefix) && begins(name + strlen(r->prefix), "layer1.") && strstr(name, ".conv3.")) return true;
    }
    return false;
}

static mffa_code stage(const reader *r, int l, mffa_weights_info *info, mffa_err *err) {
    char at[32], name[96];
    snprintf(at, sizeof at, "layer%d.", l + 1);
    info->depth[l] = count_blocks(r, at);
    snprintf(name, sizeof name, "%s0.conv2.weight", at);
    int per_group = 0;
    mffa_code rc = size_of(r, name, 4, 0, &info->inner[l], err);
    if (!rc) rc = size_of(r, name, 4, 1, &per_group, err);
    if (rc) return rc;
    if (per_group != info->inner[l])
        return mffa_fail(err, MFFA_EUNSUPPORTED,
                         "tensor \"%s\" in \"%s\" has grouped convolutions (%d of %d channels): ResNeXt is not supported, "
                         "give a torchvision ResNet 18, 34, 50, 101 or a wide one",
                         name, r->what, per_group, info->inner[l]);
    snprintf(name, sizeof name, "%s0.conv%d.weight", at, info->bottleneck ? 3 : 2);
    return size_of(r, name, 4, 0, &info->channels[l], err);
}

static void name_backbone(mffa_weights_info *info) {
    static const struct { const char *name; bool bottleneck; int inner, depth[4]; } known[] = {
        {"resnet18", false, 64, {2, 2, 2, 2}},         {"resnet34", false, 64, {3, 4, 6, 3}},
        {"resnet50", true, 64, {3, 4, 6, 3}},          {"resnet101", true, 64, {3, 4, 23, 3}},
        {"wide_resnet50_2", true, 128, {3, 4, 6, 3}},  {"wide_resnet101_2", true, 128, {3, 4, 23, 3}},
    };
    const int *d = info->depth;
    for (size_t i = 0; i < MFFA_COUNT(known); i++)
        if (known[i].bottleneck == info->bottleneck && known[i].inner == info->inner[0] &&
            memcmp(known[i].depth, d, (size_t)info->stages * sizeof *d) == 0) {
            snprintf(info->name, sizeof info->name, "%s", known[i].name);
            return;
        }
    snprintf(info->name, sizeof info->name, "%s resnet %d-%d-%d", info->bottleneck ? "bottleneck" : "basic", d[0], d[1], d[2]);
}

static mffa_code recognise_backbone(const reader *r, mffa_weights_info *info, mffa_err *err) {
    info->bottleneck = is_bottleneck(r);
    info->stages = count_blocks(r, "layer4.") ? 4 : 3;
    mffa_code rc = MFFA_OK;
    for (int l = 0; l < info->stages && !rc; l++) rc = stage(r, l, info, err);
    if (!rc) name_backbone(info);
    return rc;
}

static mffa_code recognise_transformer(const reader *r, mffa_weights_info *info, mffa_err *err) {
    mffa_code rc = size_of(r, "blocks.0.attn.proj_l.weight", 2, 0, &info->heads, err);
    if (!rc) rc = size_of(r, "blocks.0.norm1.weight", 1, 0, &info->width, err);
    if (!rc) rc = size_of(r, "blocks.0.mlp.fc1.weight", 2, 0, &info->hidden, err);
    if (rc) return rc;
    if (info->width % info->heads)
        return mffa_fail(err, MFFA_EINVAL, "\"%s\": width %d cannot be divided among %d heads", r->what, info->width, info->heads);
    info->blocks = count_blocks(r, "blocks.");
    info->qkv_bias = find(r, "blocks.0.attn.qkv.bias") != NULL;
    snprintf(info->name, sizeof info->name, "cait %d wide, %d heads", info->width, info->heads);
    return MFFA_OK;
}

mffa_code mffa_weights_recognise(const mffa_safetensors *f, const char *what, mffa_weights_info *out, mffa_err *err) {
    reader r = {.f = f, .what = what};
    mffa_weights_info info = {.kind = kind_of(f, &r.prefix)};
    snprintf(info.prefix, sizeof info.prefix, "%s", r.prefix);
    mffa_code rc = info.kind == MFFA_WEIGHTS_BACKBONE ? recognise_backbone(&r, &info, err)
                   : info.kind == MFFA_WEIGHTS_TRANSFORMER
                       ? recognise_transformer(&r, &info, err)
                       : mffa_fail(err, MFFA_EINVAL,
                                   "\"%s\" is neither a backbone nor a transformer: no tensor \"layer1.0.*\" (torchvision "
                                   "ResNet) or \"blocks.0.attn.proj_l.*\" (timm CaiT) in it",
                                   what);
    if (!rc) *out = info;
    return rc;
}
