#include "tests/support/seeded_weights.h"

#include <math.h>
#include "core/nn/safetensors.h"
#include "tests/support/test.h"

void mffa_test_seeded(const char *name, float mid, float span, float *out, int64_t count) {
    uint64_t s = UINT64_C(0xCBF29CE484222325);
    for (const char *c = name; *c; c++) s = (s ^ (unsigned char)*c) * UINT64_C(0x100000001B3);
    for (int64_t i = 0; i < count; i++) {
        uint64_t z = s += UINT64_C(0x9E3779B97F4A7C15);
        z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
        z ^= z >> 31;
        out[i] = mid + span * ((float)(z >> 40) * 0x1p-24f - 0.5f);
    }
}

typedef struct tensor {
    char name[96];
    int rank;
    int64_t shape[4];
} tensor;

typedef struct list {
    tensor *items;
    size_t n, cap;
} list;

static void add(list *l, const char *at, const char *name, int rank, const int64_t *shape) {
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 256;
        l->items = realloc(l->items, l->cap * sizeof *l->items);
        assert_non_null(l->items);
    }
    tensor *t = &l->items[l->n++];
    snprintf(t->name, sizeof t->name, "%s%s", at, name);
    t->rank = rank;
    memcpy(t->shape, shape, (size_t)rank * sizeof *shape);
}

static int ends_with(const char *text, const char *end) {
    size_t n = strlen(text), m = strlen(end);
    return n >= m && strcmp(text + n - m, end) == 0;
}

/* Spans keep activations of order one in depth: uniform numbers with the deviation that the layer's initialisation has. */
static void values(const tensor *t, float *out, int64_t count) {
    float mid = 0, span = 0.2f;
    int64_t fan_in = 1;
    for (int i = 1; i < t->rank; i++) fan_in *= t->shape[i];
    if (t->rank == 4) span = (float)sqrt(24.0 / (double)fan_in);
    else if (t->rank == 2) span = (float)sqrt(12.0 / (double)fan_in);
    else if (ends_with(t->name, "running_var")) mid = 1, span = 0.5f;
    else if (strstr(t->name, "gamma_")) mid = 0.3f;
    else if (ends_with(t->name, "weight")) mid = 1; /* of a BatchNorm or a LayerNorm */
    mffa_test_seeded(t->name, mid, span, out, count);
}

static int64_t elements(const tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->shape[i];
    return n;
}

static void write_all(list *l, const char *path) {
    mffa_err err = {0};
    mffa_st_writer *w = NULL;
    assert_ok(mffa_st_writer_open(path, &w, &err));
    for (size_t i = 0; i < l->n; i++)
        assert_ok(mffa_st_writer_declare(w, l->items[i].name, MFFA_F32, l->items[i].rank, l->items[i].shape, &err));
    for (size_t i = 0; i < l->n; i++) {
        int64_t count = elements(&l->items[i]);
        float *v = malloc((size_t)count * sizeof *v);
        assert_non_null(v);
        values(&l->items[i], v, count);
        assert_ok(mffa_st_writer_put(w, v, (size_t)count * sizeof *v, &err));
        free(v);
    }
    assert_ok(mffa_st_writer_finish(w, &err));
    mffa_st_writer_close(w);
    free(l->items);
}

static void add_conv(list *l, const char *at, const char *conv, const char *bn, int64_t in, int64_t out, int64_t size) {
    static const char *const parts[] = {"weight", "bias", "running_mean", "running_var"};
    char name[64];
    snprintf(name, sizeof name, "%s.weight", conv);
    add(l, at, name, 4, (int64_t[]){out, in, size, size});
    for (size_t i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s.%s", bn, parts[i]);
        add(l, at, name, 1, &out);
    }
}

void mffa_test_write_resnet(const mffa_test_resnet *net, const char *path) {
    list l = {0};
    int in = 64;
    add_conv(&l, "", "conv1", "bn1", 3, 64, 7);
    for (int layer = 1; layer <= 3; layer++) {
        int inner = net->width_of_first << (layer - 1), out = net->bottleneck ? 256 << (layer - 1) : inner;
        for (int i = 0; i < net->depth[layer - 1]; i++) {
            char at[32];
            snprintf(at, sizeof at, "layer%d.%d.", layer, i);
            add_conv(&l, at, "conv1", "bn1", in, inner, net->bottleneck ? 1 : 3);
            add_conv(&l, at, "conv2", "bn2", inner, net->bottleneck ? inner : out, 3);
            if (net->bottleneck) add_conv(&l, at, "conv3", "bn3", inner, out, 1);
            if (i == 0 && (layer > 1 || in != out)) add_conv(&l, at, "downsample.0", "downsample.1", in, out, 1);
            in = out;
        }
    }
    write_all(&l, path);
}

static void add_linear(list *l, const char *at, const char *name, int64_t in, int64_t out) {
    char full[64];
    snprintf(full, sizeof full, "%s.weight", name);
    add(l, at, full, 2, (int64_t[]){out, in});
    snprintf(full, sizeof full, "%s.bias", name);
    add(l, at, full, 1, &out);
}

static void add_norm(list *l, const char *at, const char *name, int64_t width) {
    char full[64];
    snprintf(full, sizeof full, "%s.weight", name);
    add(l, at, full, 1, &width);
    snprintf(full, sizeof full, "%s.bias", name);
    add(l, at, full, 1, &width);
}

void mffa_test_write_cait(int width, int blocks, const char *path) {
    list l = {0};
    int64_t d = width, heads = width / 48;
    for (int i = 0; i < blocks; i++) {
        char at[32];
        snprintf(at, sizeof at, "blocks.%d.", i);
        add(&l, at, "gamma_1", 1, &d), add(&l, at, "gamma_2", 1, &d);
        add_norm(&l, at, "norm1", d), add_norm(&l, at, "norm2", d);
        add_linear(&l, at, "attn.qkv", d, 3 * d), add_linear(&l, at, "attn.proj", d, d);
        add_linear(&l, at, "attn.proj_l", heads, heads), add_linear(&l, at, "attn.proj_w", heads, heads);
        add_linear(&l, at, "mlp.fc1", d, 4 * d), add_linear(&l, at, "mlp.fc2", 4 * d, d);
    }
    write_all(&l, path);
}
