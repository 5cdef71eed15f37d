/* The whole pipeline against an independent one: tests/golden/make_mffa.py writes down what PyTorch, timm, numpy and scipy make of the
 * same pictures and weights, with the same random numbers computed anew. */
#include "core/mffa/model_difference.h"

#include <math.h>
#include <sys/resource.h>
#include <unistd.h>
#include "core/mffa/model_parts.h"
#include "core/nn/safetensors.h"
#include "tests/support/test.h"

enum { SIDE = 64, GRID = 12, TRAIN = 4, TEST = 3, PIXELS = SIDE * SIDE, PICTURE = 3 * PIXELS };

static mffa_safetensors *golden;
static float pictures[(TRAIN + TEST) * PICTURE];

static const mffa_st_tensor *golden_tensor(const char *name) {
    const mffa_st_tensor *t = mffa_safetensors_find(golden, name);
    if (!t) fail_msg("golden file lacks \"%s\"", name);
    return t;
}

static int read_golden(void **state) {
    (void)state;
    mffa_err err = {0};
    if (mffa_safetensors_open(MFFA_TEST_GOLDEN "/mffa/model.safetensors", &golden, &err)) return print_error("%s\n", err.msg), -1;
    const uint8_t *bytes = golden_tensor("pictures")->data;
    for (int i = 0; i < (TRAIN + TEST) * PICTURE; i++) pictures[i] = (float)bytes[i] / 255.0f;
    return 0;
}

static int close_golden(void **state) {
    (void)state;
    mffa_safetensors_close(golden);
    return 0;
}

/* Pictures 0..3 of the golden file; `skip` (-1: none) is left out, as an unreadable one is. */
typedef struct list {
    int64_t skip;
    int loads;
} list;

static mffa_code load(void *ctx, int64_t i, int side, float *out, mffa_err *err) {
    list *l = ctx;
    assert_int_equal(side, SIDE);
    l->loads++;
    if (i == l->skip) return mffa_fail(err, MFFA_ESKIP, "picture %d", (int)i);
    memcpy(out, pictures + (i - (l->skip >= 0 && i > l->skip)) * PICTURE, PICTURE * sizeof *out);
    return MFFA_OK;
}

static bool as_on_gpu; /* the next network computes everything as tensor operations */

static mffa_network *network(int blocks, int batch) {
    mffa_err err = {0};
    mffa_network *n = NULL;
    mffa_network_files files = {MFFA_TEST_GOLDEN "/mffa/tiny_backbone.safetensors", MFFA_TEST_GOLDEN "/mffa/tiny_transformer.safetensors"};
    assert_ok(mffa_network_open(&files, blocks, &(mffa_network_options){"cpu", "fp32", 2, batch, as_on_gpu}, &n, &err));
    return n;
}

static mffa_profile profile(void) {
    return (mffa_profile){.name = "small",
                          .side = SIDE,
                          .grid = GRID,
                          .blocks = 2,
                          .gaussian_channels = 10,
                          .ratio = 0.1,
                          .lambda = 0.01,
                          .sigma = 4,
                          .seed = (UINT64_C(1) << 40) + 17};
}

static mffa_model *fitted(mffa_network *net, const mffa_profile *p, list *l, int64_t count) {
    mffa_err err = {0};
    mffa_model *m = NULL;
    mffa_source source = {.count = count, .ctx = l, .load = load};
    mffa_provenance from = {.backbone_name = "tiny_backbone.safetensors", .backbone_sha256 = "ab", .dataset = "file:///x"};
    assert_ok(mffa_model_fit(net, p, &from, &source, NULL, &m, &err));
    return m;
}

/* max |a - b| <= bound max |b| */
static void near(const char *what, const float *got, const char *name, double bound) {
    mffa_err err = {0};
    const mffa_st_tensor *t = golden_tensor(name);
    float *want = malloc((size_t)t->count * sizeof *want);
    assert_ok(mffa_safetensors_floats(t, want, &err));
    double difference = 0, most = 0;
    for (int64_t i = 0; i < t->count; i++) {
        difference = fmax(difference, fabs((double)got[i] - want[i]));
        most = fmax(most, fabs((double)want[i]));
    }
    if (!(difference <= bound * most)) fail_msg("%s is off by %g of its maximum, at most %g is allowed", what, difference / most, bound);
    free(want);
}

static void same_integers(const char *what, const void *got, const char *name) {
    const mffa_st_tensor *t = golden_tensor(name);
    if (memcmp(got, t->data, t->bytes)) fail_msg("%s is not what the script drew or chose", what);
}

static void fits_what_independent_code_fits(void **state) {
    (void)state;
    for (int batch = 1; batch <= 5; batch += 2) {
        mffa_network *net = network(2, batch);
        mffa_profile p = profile();
        list l = {.skip = -1};
        mffa_model *m = fitted(net, &p, &l, TRAIN);
        same_integers("choice of layer-3 channels", m->layer3_channels, "layer3_channels");
        same_integers("choice of Gaussian channels", m->gaussian_channels, "gaussian_channels");
        near("projection", m->projection, "projection", 1e-6);
        same_integers("coreset", m->bank.origin, "origin");
        near("memory bank", m->bank.features, "bank", 1e-5);
        near("mean", m->gaussian.mean, "mean", 1e-5);
        assert_int_equal(mffa_model_train_images(m), TRAIN);
        assert_int_equal(mffa_model_bank_rows(m), 25);
        mffa_model_close(m);
        mffa_network_close(net);
    }
}

static void scores_what_independent_code_scores(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_network *net = network(2, 2);
    mffa_profile p = profile();
    list l = {.skip = -1};
    mffa_model *m = fitted(net, &p, &l, TRAIN);
    static float maps[TEST * PIXELS];
    mffa_score scores[TEST];
    assert_ok(mffa_model_score(m, net, MFFA_MAPS_PRODUCT, pictures + TRAIN * PICTURE, TEST, maps, scores, &err));
    near("fused map", maps, "fused", 1e-4);
    for (int i = 0; i < TEST; i++) {
        float most = maps[i * PIXELS];
        for (int k = 0; k < PIXELS; k++) most = fmaxf(most, maps[i * PIXELS + k]);
        assert_float_equal(scores[i].score, most, 0);
        assert_float_equal(maps[i * PIXELS + scores[i].peak_y * SIDE + scores[i].peak_x], most, 0);
    }
    /* without blur the single maps are the script's */
    m->profile.sigma = 0;
    assert_ok(mffa_model_score(m, net, MFFA_MAPS_NNS, pictures + TRAIN * PICTURE, TEST, maps, scores, &err));
    near("nearest-neighbour map", maps, "nns", 1e-5);
    assert_float_equal(scores[2].nns_max, scores[2].score, 0);
    assert_ok(mffa_model_score(m, net, MFFA_MAPS_GAUSSIAN, pictures + TRAIN * PICTURE, TEST, maps, scores, &err));
    near("Gaussian map", maps, "gaussian", 1e-4);
    assert_float_equal(scores[1].gaussian_max, scores[1].score, 0);
    mffa_model_close(m);
    mffa_network_close(net);
}

static int on_device(void **state) {
    (void)state;
    as_on_gpu = true;
    return 0;
}

static int on_host(void **state) {
    (void)state;
    as_on_gpu = false;
    return 0;
}

static void one_network_scores_with_several_models_in_turn(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_network *net = network(2, 2);
    mffa_profile p = profile(), q = profile();
    q.seed++;
    list l = {.skip = -1};
    mffa_model *a = fitted(net, &p, &l, TRAIN), *b = fitted(net, &q, &l, TRAIN);
    static float first[TEST * PIXELS], other[TEST * PIXELS], again[TEST * PIXELS];
    mffa_score scores[TEST];
    assert_ok(mffa_model_score(a, net, MFFA_MAPS_PRODUCT, pictures + TRAIN * PICTURE, TEST, first, scores, &err));
    assert_ok(mffa_model_score(b, net, MFFA_MAPS_PRODUCT, pictures + TRAIN * PICTURE, TEST, other, scores, &err));
    assert_ok(mffa_model_score(a, net, MFFA_MAPS_PRODUCT, pictures + TRAIN * PICTURE, TEST, again, scores, &err));
    assert_memory_equal(again, first, sizeof first);
    assert_memory_not_equal(other, first, sizeof first);
    mffa_model_close(a), mffa_model_close(b);
    mffa_network_close(net);
}

/* Lets this process have `more` bytes of address space beyond what it has; returns what it was allowed before. */
static struct rlimit limit_memory(rlim_t more) {
    struct rlimit before, now;
    unsigned long long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%llu", &pages), 1);
    fclose(f);
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    now = before;
    now.rlim_cur = (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + more;
    assert_int_equal(setrlimit(RLIMIT_AS, &now), 0);
    return before;
}

static void when_memory_runs_out_half_as_many_pass_at_once(void **state) {
    (void)state;
    enum { MANY = 256 };
    mffa_err err = {0};
    mffa_network *net = network(2, MANY);
    mffa_profile p = profile();
    list l = {.skip = -1};
    mffa_model *m = fitted(net, &p, &l, TRAIN);
    static float images[MANY * PICTURE], want[MANY * PIXELS], got[MANY * PIXELS];
    static mffa_score scores[MANY];
    for (int i = 0; i < MANY; i++) memcpy(images + i * PICTURE, pictures + i % (TRAIN + TEST) * PICTURE, PICTURE * sizeof *images);
    assert_ok(mffa_model_score(m, net, MFFA_MAPS_PRODUCT, images, MANY, want, scores, &err));
    assert_int_equal(mffa_network_describe(net)->batch, MANY);
    struct rlimit before = limit_memory(20 << 20); /* the first convolution's output alone has 64 MiB, BatchNorm's as much again */
    mffa_code rc = mffa_model_score(m, net, MFFA_MAPS_PRODUCT, images, MANY, got, scores, &err);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    if (rc) fail_msg("%s", err.msg);
    assert_in_range(mffa_network_describe(net)->batch, 1, MANY / 2);
    for (int i = 0; i < MANY * PIXELS; i++)
        if (fabsf(got[i] - want[i]) > 1e-4f * (1 + want[i])) fail_msg("pixel %d is %g, expected %g", i, (double)got[i], (double)want[i]);
    mffa_model_close(m);
    mffa_network_close(net);
}

static char *temporary(char path[64]) {
    strcpy(path, "/tmp/mffa-model-XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    return path;
}

static void a_comparison_names_the_part_that_differs(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_network *net = network(2, 2);
    mffa_profile p = profile();
    list l = {.skip = -1};
    mffa_model *a = fitted(net, &p, &l, TRAIN), *b = fitted(net, &p, &l, TRAIN);
    mffa_model_difference d;
    assert_ok(mffa_model_compare(a, b, &d, &err));
    assert_int_equal(d.differing, 0);
    assert_float_equal(d.largest, 0, 0);
    assert_null(d.where);
    float scale = b->gaussian.scale[7];
    b->gaussian.scale[7] *= 2;
    assert_ok(mffa_model_compare(a, b, &d, &err));
    assert_string_equal(d.where, "gaussian.factor");
    assert_true(d.differing > 0 && d.differing <= p.gaussian_channels);
    b->gaussian.scale[7] = scale;
    b->bank.features[3] = NAN;
    assert_ok(mffa_model_compare(a, b, &d, &err));
    assert_string_equal(d.where, "memory_bank.features");
    assert_true(d.largest > 1e30);
    b->bank.features[3] = a->bank.features[3];
    b->gaussian_channels[0]++;
    assert_ok(mffa_model_compare(a, b, &d, &err));
    assert_string_equal(d.where, "gaussian.channels");
    assert_int_equal(d.differing, 1);
    b->train_images--;
    assert_int_equal(mffa_model_compare(a, b, &d, &err), MFFA_EINVAL);
    mffa_model_close(a), mffa_model_close(b);
    mffa_network_close(net);
}

static void a_model_read_back_scores_bit_for_bit_the_same(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_network *net = network(2, 2);
    for (int keep = 0; keep < 2; keep++) {
        mffa_profile p = profile();
        p.keep_statistics = keep;
        list l = {.skip = -1};
        mffa_model *m = fitted(net, &p, &l, TRAIN), *again = NULL;
        static float a[TEST * PIXELS], b[TEST * PIXELS];
        mffa_score sa[TEST], sb[TEST];
        char path[64];
        assert_ok(mffa_model_save(m, temporary(path), &err));
        assert_ok(mffa_model_open(path, &again, &err));
        assert_ok(mffa_model_score(m, net, MFFA_MAPS_PRODUCT, pictures + TRAIN * PICTURE, TEST, a, sa, &err));
        assert_ok(mffa_model_score(again, net, MFFA_MAPS_PRODUCT, pictures + TRAIN * PICTURE, TEST, b, sb, &err));
        assert_memory_equal(a, b, sizeof a);
        assert_memory_equal(mffa_model_profile(again), &p, sizeof p);
        assert_string_equal(mffa_model_provenance(again)->backbone_name, "tiny_backbone.safetensors");
        assert_string_equal(mffa_model_provenance(again)->transformer_name, "");
        assert_float_equal(again->gaussian.worst_error, m->gaussian.worst_error, 0);
        assert_int_equal(mffa_model_save(again, path, &err), keep ? MFFA_EINVAL : MFFA_OK); /* the scatter stays in the file */
        mffa_model_close(m), mffa_model_close(again);
        unlink(path);
    }
    mffa_network_close(net);
}

static void pictures_left_out_change_nothing_but_their_index(void **state) {
    (void)state;
    mffa_network *net = network(2, 3);
    mffa_profile p = profile();
    list whole = {.skip = -1}, holed = {.skip = 1};
    mffa_model *a = fitted(net, &p, &whole, TRAIN), *b = fitted(net, &p, &holed, TRAIN + 1);
    assert_int_equal(mffa_model_train_images(b), TRAIN);
    assert_memory_equal(a->bank.features, b->bank.features, (size_t)(a->bank.rows * a->bank.width) * sizeof(float));
    assert_memory_equal(a->gaussian.mean, b->gaussian.mean, (size_t)(GRID * GRID * 10) * sizeof(float));
    for (int64_t i = 0; i < a->bank.rows; i++)
        assert_int_equal(b->bank.origin[2 * i], a->bank.origin[2 * i] + (a->bank.origin[2 * i] >= 1)); /* picture 1 is the hole */
    mffa_model_close(a), mffa_model_close(b);
    mffa_network_close(net);
}

typedef struct told { /* what progress heard */
    char phases[64];
    int64_t last, stop_after, ticks;
} told;

static bool listen(void *ctx, const char *phase, int64_t done, int64_t total) {
    told *t = ctx;
    size_t len = strlen(t->phases), n = strlen(phase);
    if (len < n || strcmp(t->phases + len - n, phase)) {
        snprintf(t->phases + len, sizeof t->phases - len, "%s%s", len ? " " : "", phase);
        t->last = 0;
    }
    assert_true(done >= t->last && done <= total);
    t->last = done;
    return ++t->ticks != t->stop_after;
}

static void fit_tells_its_phases_in_order_and_stops_when_told(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_network *net = network(2, 2);
    mffa_profile p = profile();
    mffa_model *m = NULL;
    list l = {.skip = -1};
    mffa_source source = {.count = TRAIN, .ctx = &l, .load = load};
    told all = {0};
    assert_ok(mffa_model_fit(net, &p, &(mffa_provenance){0}, &source, &(mffa_progress){&all, listen}, &m, &err));
    assert_string_equal(all.phases, "features coreset bank gaussian");
    mffa_model_close(m);
    for (int64_t stop = 1; stop < all.ticks; stop += 3) {
        told t = {.stop_after = stop};
        assert_int_equal(mffa_model_fit(net, &p, &(mffa_provenance){0}, &source, &(mffa_progress){&t, listen}, &m, &err), MFFA_ECANCELLED);
        assert_int_equal(t.ticks, stop);
    }
    mffa_network_close(net);
}

static void refuses_what_does_not_fit_together(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_network *net = network(2, 2), *plain = network(0, 2);
    mffa_profile p = profile();
    mffa_model *m = NULL;
    list l = {.skip = 0};
    mffa_source source = {.count = 1, .ctx = &l, .load = load};
    assert_int_equal(mffa_model_fit(net, &p, &(mffa_provenance){0}, &source, NULL, &m, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "1 training pictures: at least 2 are needed");
    source.count = 2; /* one of which is left out */
    assert_int_equal(mffa_model_fit(net, &p, &(mffa_provenance){0}, &source, NULL, &m, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "1 of 2 training pictures could be used: at least 2 are needed");
    assert_int_equal(mffa_model_fit(plain, &p, &(mffa_provenance){0}, &source, NULL, &m, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "the network was opened with 0 transformer blocks, the profile says 2");
    p.gaussian_channels = 25;
    assert_int_equal(mffa_model_fit(net, &p, &(mffa_provenance){0}, &source, NULL, &m, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "gaussian channels is 25: expected 1 to 24 with these weights");
    p = profile();
    l.skip = -1;
    m = fitted(net, &p, &l, TRAIN);
    static float maps[PIXELS];
    mffa_score score;
    assert_int_equal(mffa_model_score(m, plain, MFFA_MAPS_PRODUCT, pictures, 1, maps, &score, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "the model was fitted with 2 transformer blocks, the network has 0");
    mffa_model_close(m);
    mffa_network_close(net), mffa_network_close(plain);
}

static void replace_in_file(const char *path, const char *old, const char *new) {
    mffa_err err = {0};
    mffa_buf b = {0};
    assert_ok(mffa_buf_read_file(&b, path, 1 << 24, &err));
    char *at = memmem(b.ptr, b.len, old, strlen(old));
    assert_non_null(at);
    memcpy(at, new, strlen(new));
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(b.ptr, 1, b.len, f), b.len);
    fclose(f);
    mffa_buf_done(&b);
}

static void refuses_files_that_are_no_model_or_were_tampered_with(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_network *net = network(2, 2);
    mffa_profile p = profile();
    list l = {.skip = -1};
    mffa_model *m = fitted(net, &p, &l, TRAIN), *got = NULL;
    char path[64];
    assert_int_equal(mffa_model_open(MFFA_TEST_GOLDEN "/mffa/amc.safetensors", &got, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "is not a model: \"format\" is missing in its metadata"));
    m->layer3_channels[3] = 32; /* one behind the last */
    assert_ok(mffa_model_save(m, temporary(path), &err));
    assert_int_equal(mffa_model_open(path, &got, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "tensor \"lgffp.layer3_channels\" holds values that are not possible: fit again"));
    m->layer3_channels[3] = m->layer3_channels[2] + 1;
    m->bank.features[7] = NAN;
    assert_ok(mffa_model_save(m, path, &err));
    assert_int_equal(mffa_model_open(path, &got, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "memory_bank.features"));
    m->bank.features[7] = 0;
    assert_ok(mffa_model_save(m, path, &err));
    replace_in_file(path, "\"c3\":\"32\"", "\"c3\":\"31\"");
    assert_int_equal(mffa_model_open(path, &got, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "tensor \"memory_bank.features\" is F32 [25, 48], expected F32 [25, 47] by its metadata"));
    m->profile.side = 100;
    assert_ok(mffa_model_save(m, path, &err));
    assert_int_equal(mffa_model_open(path, &got, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "side is 100: expected a multiple of 32 from 64 to 1024");
    assert_null(got);
    unlink(path);
    mffa_model_close(m);
    mffa_network_close(net);
}

static void a_pair_that_does_not_fit_is_refused_with_what_would(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_network *n = NULL;
    mffa_network_files wrong = {MFFA_TEST_GOLDEN "/mffa/tiny_transformer.safetensors", NULL};
    assert_int_equal(mffa_network_open(&wrong, 0, &(mffa_network_options){"cpu", "fp32", 1, 1, false}, &n, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "a backbone is wanted"));
    mffa_network_files missing = {MFFA_TEST_GOLDEN "/mffa/tiny_backbone.safetensors", NULL};
    assert_int_equal(mffa_network_open(&missing, 3, &(mffa_network_options){"cpu", "fp32", 1, 1, false}, &n, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "3 transformer blocks but no transformer: give CaiT weights or blocks 0");
    assert_int_equal(mffa_network_open(&missing, 0, &(mffa_network_options){"cpu", "fp32", 1, 0, false}, &n, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "batch is 0: expected 1 to 1024");
    static const float zeros[64];
    MFFA_AUTO(mffa_st_writer_close_p) mffa_st_writer *w = NULL;
    char path[64];
    assert_ok(mffa_st_writer_open(temporary(path), &w, &err)); /* as much of a transformer 768 wide as is looked at */
    assert_ok(mffa_st_writer_declare(w, "blocks.0.attn.proj_l.weight", MFFA_F32, 2, (int64_t[]){4, 4}, &err));
    assert_ok(mffa_st_writer_declare(w, "blocks.0.norm1.weight", MFFA_F32, 1, (int64_t[]){768}, &err));
    assert_ok(mffa_st_writer_declare(w, "blocks.0.mlp.fc1.weight", MFFA_F32, 2, (int64_t[]){8, 1}, &err));
    for (int i = 0; i < (16 + 768 + 8) / 8; i++) assert_ok(mffa_st_writer_put(w, zeros, 8 * sizeof *zeros, &err));
    assert_ok(mffa_st_writer_finish(w, &err));
    mffa_network_files pair = {MFFA_TEST_GOLDEN "/mffa/tiny_backbone.safetensors", path};
    assert_int_equal(mffa_network_open(&pair, 1, &(mffa_network_options){"cpu", "fp32", 1, 1, false}, &n, &err), MFFA_EINVAL);
    assert_string_equal(err.msg,
                        "basic resnet 1-1-1 (8 + 16 channels) and a transformer 768 wide do not fit: C1 + C2 must equal the width; for "
                        "this backbone: none of timm's CaiTs, for this transformer: ResNet 50, 101, wide 50 or wide 101");
    unlink(path);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fits_what_independent_code_fits),
        cmocka_unit_test(scores_what_independent_code_scores),
        cmocka_unit_test(when_memory_runs_out_half_as_many_pass_at_once),
        cmocka_unit_test_setup_teardown(fits_what_independent_code_fits, on_device, on_host),
        cmocka_unit_test_setup_teardown(scores_what_independent_code_scores, on_device, on_host),
        cmocka_unit_test_setup_teardown(one_network_scores_with_several_models_in_turn, on_device, on_host),
        cmocka_unit_test(a_comparison_names_the_part_that_differs),
        cmocka_unit_test(a_model_read_back_scores_bit_for_bit_the_same),
        cmocka_unit_test(pictures_left_out_change_nothing_but_their_index),
        cmocka_unit_test(fit_tells_its_phases_in_order_and_stops_when_told),
        cmocka_unit_test(refuses_what_does_not_fit_together),
        cmocka_unit_test(refuses_files_that_are_no_model_or_were_tampered_with),
        cmocka_unit_test(a_pair_that_does_not_fit_is_refused_with_what_would),
    };
    return cmocka_run_group_tests(tests, read_golden, close_golden);
}
