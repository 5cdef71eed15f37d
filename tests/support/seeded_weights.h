/* Weights and inputs that two programs compute from a formula instead of exchanging files: tests/golden/make_nn.py has it too.
 * Element i of the tensor `name`: s = FNV-1a 64 of name's bytes, z = splitmix64's output for the state s + (i + 1) * 0x9E3779B97F4A7C15,
 * u = (z >> 40) * 2^-24 - 1/2, in [-1/2, 1/2). Value: mid + span * u in float32, span and mid by the kind of tensor (see .c). */
#ifndef MFFA_TESTS_SUPPORT_SEEDED_WEIGHTS_H
#define MFFA_TESTS_SUPPORT_SEEDED_WEIGHTS_H

#include <stdint.h>

typedef struct mffa_test_resnet {
    const char *name; /* as torchvision calls it */
    int depth[4], width_of_first; /* blocks of layer1..4; inner width of layer1, doubled by each layer */
    int bottleneck;
} mffa_test_resnet;

/* count values of the tensor `name` with that mid and span. */
void mffa_test_seeded(const char *name, float mid, float span, float *out, int64_t count);
/* conv1 to layer3, torchvision's names and shapes, as a safetensors file. Fails the test on any error. */
void mffa_test_write_resnet(const mffa_test_resnet *net, const char *path);
/* `blocks` blocks of a CaiT that is `width` wide with 48 columns a head, timm's names and shapes. */
void mffa_test_write_cait(int width, int blocks, const char *path);

#endif
