/* Fine-tuning: one step against PyTorch (tests/golden/make_psg.py), the same bits with and without interruption, what is refused, and that
 * it learns. */
#include "core/mffa/psg.h"

#include <math.h>
#include <unistd.h>
#include "core/mffa/cutpaste.h"
#include "core/mffa/psg_classifier.h"
#include "tests/support/test.h"

enum { SIDE = 64, PICTURES = 7, BATCH = 3 };
#define THREE MFFA_TEST_GOLDEN "/mffa/tiny_backbone.safetensors" /* stops after layer3 */
#define FOUR MFFA_TEST_GOLDEN "/mffa/psg_backbone.safetensors"   /* layer4, prefix, classifier, counters */

static mffa_network_options options = {"cpu", "fp32", 1, 1, false}; /* one thread: networks this small gain nothing from more */
static char folder[] = "/tmp/mffa-psg-XXXXXX", checkpoint[64], tuned[64], again[64];

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(checkpoint, sizeof checkpoint, "%s/checkpoint", folder);
    snprintf(tuned, sizeof tuned, "%s/tuned", folder);
    snprintf(again, sizeof again, "%s/again", folder);
    return 0;
}

static int clear_folder(void **state) {
    (void)state;
    unlink(checkpoint), unlink(tuned), unlink(again);
    return 0;
}

static int remove_folder(void **state) {
    clear_folder(state);
    return rmdir(folder); /* fails if anything else was left behind */
}

/* ---- one step ---- */

static mffa_safetensors *golden;

static const mffa_st_tensor *golden_tensor(const char *net, const char *kind, const char *name) {
    char full[96];
    snprintf(full, sizeof full, "%s.%s%s", net, kind, name);
    const mffa_st_tensor *t = mffa_safetensors_find(golden, full);
    if (!t) fail_msg("golden file lacks \"%s\"", full);
    return t;
}

/* values [count] at the places that the script kept; bound is absolute. */
static void near(const mffa_st_tensor *want, const float *values, int64_t count, double bound) {
    int64_t stride = (count + 63) / 64;
    double most = 0;
    for (int64_t i = 0; i * stride < count; i++) {
        float w;
        memcpy(&w, (const char *)want->data + (size_t)i * sizeof w, sizeof w);
        most = fmax(most, fabs((double)values[i * stride] - w));
    }
    if (!(most <= bound)) fail_msg("\"%s\" is off by %g, at most %g is allowed", want->name, most, bound);
}

static void read_all(mffa_scope *s, const mffa_tensor *t, float *out) {
    mffa_err err = {0};
    mffa_tensor_read(s, t, MFFA_F32, out, mffa_tensor_count(t));
    assert_ok(mffa_scope_check(s, &err));
}

static void same_tensors(mffa_classifier *c, const char *net) {
    mffa_scope *s = mffa_scope_open(c->device, MFFA_GRAD);
    static float values[1 << 16];
    for (size_t i = 0; i < c->count; i++) {
        const mffa_resnet_tensor *t = c->tensors[i];
        int64_t count = mffa_tensor_count(t->value);
        float change;
        memcpy(&change, golden_tensor(net, "change.", t->name)->data, sizeof change);
        assert_true(change > 0);
        read_all(s, t->value, values);
        near(golden_tensor(net, "after.", t->name), values, count, 1e-3 * (double)change + 1e-7);
        if (!t->trained) continue;
        read_all(s, mffa_classifier_momentum(s, c, i), values);
        near(golden_tensor(net, "momentum.", t->name), values, count, 2e-2 * (double)change + 1e-7);
    }
    mffa_scope_close(s);
}

/* Losses before and after a step, and all weights, running statistics and momenta after two. */
static void steps_as_pytorch(const char *net, const char *path) {
    enum { SAMPLES = 6 };
    const uint64_t seed = (UINT64_C(1) << 33) + 5;
    mffa_err err = {0};
    MFFA_AUTO(mffa_classifier_done) mffa_classifier c = {0};
    static float images[SAMPLES * 3 * SIDE * SIDE];
    static const int64_t labels[SAMPLES] = {0, 0, 1, 1, 2, 2};
    mffa_rng r;
    mffa_rng_init(&r, seed, 1);
    for (size_t i = 0; i < MFFA_COUNT(images); i++) images[i] = (float)mffa_rng_unit(&r) * (i < MFFA_COUNT(images) / 3 ? 1 : .5f);
    assert_ok(mffa_safetensors_open(MFFA_TEST_GOLDEN "/mffa/psg.safetensors", &golden, &err));
    assert_ok(mffa_classifier_open(path, &options, (mffa_sgd_rates){.05, .9, .01}, seed, &c, &err));
    for (size_t step = 0; step < 2; step++) {
        double loss = 0, want;
        int64_t right = 0, want_right;
        memcpy(&want, (const char *)golden_tensor(net, "losses", "")->data + step * sizeof want, sizeof want);
        memcpy(&want_right, (const char *)golden_tensor(net, "right", "")->data + step * sizeof want_right, sizeof want_right);
        assert_ok(mffa_classifier_step(&c, images, labels, SAMPLES, SIDE, &loss, &right, &err));
        if (!(fabs(loss - want) <= 1e-5)) fail_msg("loss %zu is %.7f, PyTorch has %.7f", step, loss, want);
        assert_int_equal(right, want_right);
    }
    same_tensors(&c, net);
    mffa_safetensors_close(golden);
}

static void steps_as_pytorch_on_layer4(void **state) {
    (void)state;
    steps_as_pytorch("four", FOUR);
}

static void steps_as_pytorch_where_the_weights_stop_at_layer3(void **state) {
    (void)state;
    steps_as_pytorch("three", THREE);
}

/* ---- whole runs ---- */

/* A smooth texture: waves whose directions are the product's, whose phases and colours are the picture's. */
static mffa_code texture(void *ctx, int64_t i, int side, float *out, mffa_err *err) {
    const bool *left_out = ctx;
    if (left_out && left_out[i]) return mffa_fail(err, MFFA_ESKIP, "picture %d", (int)i);
    mffa_rng r;
    mffa_rng_init(&r, 8, (uint64_t)i);
    double phase[4], tint[3];
    for (int k = 0; k < 4; k++) phase[k] = mffa_rng_uniform(&r, 0, 2 * M_PI);
    for (int p = 0; p < 3; p++) tint[p] = mffa_rng_uniform(&r, .9, 1.1);
    for (int p = 0; p < 3; p++)
        for (int y = 0; y < side; y++)
            for (int x = 0; x < side; x++, out++) {
                double wave = sin(.11 * x + .05 * y + phase[0]) + sin(.21 * y - .08 * x + phase[1]) + .5 * sin(.33 * x + phase[2] + p) +
                              .5 * sin(.29 * y + phase[3]);
                *out = (float)fmin(fmax((.5 + .12 * wave) * tint[p] + .01 * mffa_rng_normal(&r), 0), 1);
            }
    return MFFA_OK;
}

static mffa_psg_params few(void) {
    mffa_psg_params p;
    mffa_psg_defaults(&p);
    p.side = SIDE, p.epochs = 3, p.batch = BATCH, p.learning_rate = .01, p.seed = 77;
    return p;
}

static mffa_source textures(int64_t count) { return (mffa_source){.count = count, .load = texture}; }

static mffa_code run(const mffa_psg_params *p, const char *out, const mffa_psg_hooks *hooks, const mffa_progress *progress,
                     mffa_psg_result *result, mffa_err *err) {
    mffa_source train = textures(PICTURES);
    return mffa_psg_finetune(FOUR, &options, p, &train, out, hooks, progress, result, err);
}

static void same_files(const char *a, const char *b, bool same) {
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf x = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf y = {0};
    assert_ok(mffa_buf_read_file(&x, a, 1 << 24, &err));
    assert_ok(mffa_buf_read_file(&y, b, 1 << 24, &err));
    assert_int_equal(x.len == y.len && !memcmp(x.ptr, y.ptr, x.len), same);
}

static void the_same_seed_gives_the_same_bits(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_psg_params p = few();
    mffa_psg_result first, second;
    for (options.threads = 2; options.threads >= 1; options.threads--) {
        assert_ok(run(&p, tuned, NULL, NULL, &first, &err));
        assert_ok(run(&p, again, NULL, NULL, &second, &err));
        same_files(tuned, again, true);
    }
    options.threads = 1;
    assert_true(first.loss == second.loss && first.accuracy == second.accuracy);
    assert_int_equal(first.steps, 9);
    assert_int_equal(first.resumed_epoch, 0);
    p.seed++;
    assert_ok(run(&p, again, NULL, NULL, &second, &err));
    same_files(tuned, again, false);
}

typedef struct watch { /* counts what is told, and ends the run at an epoch or at a tick of a step */
    int stop_epoch, epochs;
    int64_t stop_step, last, total;
    bool backwards;
} watch;

static mffa_code after_epoch(void *ctx, int epoch, double loss, double accuracy, mffa_err *err) {
    watch *w = ctx;
    w->epochs++;
    assert_true(loss > 0 && accuracy >= 0 && accuracy <= 1);
    assert_int_equal(access(checkpoint, F_OK), 0);
    return epoch == w->stop_epoch ? mffa_fail(err, MFFA_EIO, "could not put it away") : MFFA_OK;
}

static bool tick(void *ctx, const char *phase, int64_t done, int64_t total) {
    watch *w = ctx;
    assert_string_equal(phase, "finetune");
    w->backwards |= done < w->last;
    w->last = done, w->total = total;
    return !w->stop_step || done < w->stop_step;
}

static void resumed_is_as_uninterrupted(void **state) {
    (void)state;
    mffa_psg_params p = few();
    mffa_psg_result whole, rest;
    mffa_err err = {0};
    assert_ok(run(&p, tuned, NULL, NULL, &whole, &err));
    p.checkpoint = checkpoint;
    for (int k = 1; k <= 3; k++) {
        watch w = {.stop_epoch = k};
        mffa_psg_hooks hooks = {&w, after_epoch};
        assert_int_equal(run(&p, again, &hooks, NULL, &rest, &err), MFFA_EIO);
        assert_string_equal(err.msg, "could not put it away");
        assert_int_equal(access(again, F_OK), -1);
        w = (watch){0};
        assert_ok(run(&p, again, &hooks, NULL, &rest, &err));
        same_files(tuned, again, true);
        assert_int_equal(rest.resumed_epoch, k);
        assert_int_equal(w.epochs, 3 - k);
        assert_int_equal(rest.steps, whole.steps);
        assert_true(rest.loss == whole.loss && rest.accuracy == whole.accuracy);
        unlink(checkpoint), unlink(again);
    }
}

static void stopped_within_an_epoch_goes_on_from_the_last(void **state) {
    (void)state;
    mffa_psg_params p = few();
    mffa_psg_result whole, rest;
    mffa_err err = {0};
    assert_ok(run(&p, tuned, NULL, NULL, &whole, &err));
    p.checkpoint = checkpoint;
    watch w = {.stop_step = 7};
    assert_int_equal(run(&p, again, NULL, &(mffa_progress){&w, tick}, &rest, &err), MFFA_ECANCELLED);
    assert_string_equal(err.msg, "stopped in \"finetune\" at 7 of 9");
    w = (watch){.last = 0};
    assert_ok(run(&p, again, NULL, &(mffa_progress){&w, tick}, &rest, &err));
    same_files(tuned, again, true);
    assert_int_equal(rest.resumed_epoch, 2);
    assert_false(w.backwards);
    assert_true(w.last == 9 && w.total == 9);
}

static void another_ones_checkpoint_is_refused(void **state) {
    (void)state;
    mffa_psg_params p = few(), other;
    mffa_psg_result result;
    mffa_err err = {0};
    char text[256];
    p.epochs = 2, p.checkpoint = checkpoint;
    assert_ok(run(&p, tuned, NULL, NULL, &result, &err));
    static const char *const what[] = {"seed 77", "learning_rate 0.01", "batch 3", "side 64", "weight_decay", "momentum"};
    for (size_t k = 0; k < MFFA_COUNT(what); k++) {
        other = p;
        if (k == 0) other.seed++;
        if (k == 1) other.learning_rate = .02;
        if (k == 2) other.batch = 4;
        if (k == 3) other.side = 96;
        if (k == 4) other.weight_decay = 0;
        if (k == 5) other.momentum = .5;
        assert_int_equal(run(&other, again, NULL, NULL, &result, &err), MFFA_EINVAL);
        snprintf(text, sizeof text, "the checkpoint \"%s\" has %s", checkpoint, what[k]);
        if (strncmp(err.msg, text, strlen(text)) || !strstr(err.msg, "remove it to begin anew")) fail_msg("%s", err.msg);
    }
    mffa_source train = textures(PICTURES);
    assert_int_equal(mffa_psg_finetune(THREE, &options, &p, &train, again, NULL, NULL, &result, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "backbone_sha256"));
    train.count--;
    assert_int_equal(mffa_psg_finetune(FOUR, &options, &p, &train, again, NULL, NULL, &result, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "has pictures 7, this fine-tuning has 6"));
    p.epochs = 1;
    assert_int_equal(run(&p, again, NULL, NULL, &result, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "\"epoch\" in its metadata is \"2\", expected 1 to 1"));
    assert_int_equal(access(again, F_OK), -1);
}

static void a_file_that_is_no_checkpoint_is_refused(void **state) {
    (void)state;
    mffa_psg_params p = few();
    mffa_psg_result result;
    mffa_err err = {0};
    p.epochs = 1;
    assert_ok(run(&p, checkpoint, NULL, NULL, &result, &err)); /* a backbone lies there */
    p.checkpoint = checkpoint;
    assert_int_equal(run(&p, again, NULL, NULL, &result, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "has format (none)"));
    assert_int_equal(truncate(checkpoint, 1000), 0);
    assert_int_equal(run(&p, again, NULL, NULL, &result, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, checkpoint));
}

static void more_epochs_go_on_from_a_checkpoint(void **state) {
    (void)state;
    mffa_psg_params p = few();
    mffa_psg_result result;
    mffa_err err = {0};
    assert_ok(run(&p, tuned, NULL, NULL, &result, &err));
    p.epochs = 1, p.checkpoint = checkpoint;
    assert_ok(run(&p, again, NULL, NULL, &result, &err));
    p.epochs = 3;
    assert_ok(run(&p, again, NULL, NULL, &result, &err));
    assert_int_equal(result.resumed_epoch, 1);
    same_files(tuned, again, true);
}

static void the_tuned_file_has_the_tensors_of_the_other(void **state) {
    (void)state;
    mffa_psg_params p = few();
    mffa_psg_result result;
    mffa_err err = {0};
    mffa_safetensors *was = NULL, *now = NULL;
    mffa_weights *w = NULL;
    static float a[1 << 16], b[1 << 16];
    assert_ok(run(&p, tuned, NULL, NULL, &result, &err));
    assert_ok(mffa_safetensors_open(FOUR, &was, &err));
    assert_ok(mffa_safetensors_open(tuned, &now, &err));
    assert_int_equal(mffa_safetensors_count(was), mffa_safetensors_count(now));
    for (size_t i = 0; i < mffa_safetensors_count(was); i++) {
        const mffa_st_tensor *x = mffa_safetensors_at(was, i), *y = mffa_safetensors_find(now, x->name);
        if (!y || x->rank != y->rank || memcmp(x->shape, y->shape, (size_t)x->rank * sizeof *x->shape)) fail_msg("\"%s\" is gone", x->name);
        if (strstr(x->name, ".fc.") || strstr(x->name, "num_batches")) {
            assert_int_equal(x->dtype, y->dtype);
            assert_memory_equal(x->data, y->data, x->bytes);
            continue;
        }
        assert_int_equal(y->dtype, MFFA_F32);
        assert_ok(mffa_safetensors_floats(x, a, &err));
        assert_ok(mffa_safetensors_floats(y, b, &err));
        if (!memcmp(a, b, (size_t)x->count * sizeof *a)) fail_msg("\"%s\" was not tuned", x->name);
    }
    assert_ok(mffa_weights_open(tuned, &w, &err));
    assert_string_equal(mffa_weights_describe(w)->prefix, "module.");
    mffa_weights_close(w);
    mffa_safetensors_close(was);
    mffa_safetensors_close(now);
}

static void pictures_may_be_left_out(void **state) {
    (void)state;
    mffa_psg_params p = few();
    mffa_psg_result result;
    mffa_err err = {0};
    bool left_out[PICTURES] = {[0] = true, [1] = true, [4] = true, [5] = true, [6] = true}; /* fewer than a batch are there */
    mffa_source train = {.count = PICTURES, .ctx = left_out, .load = texture};
    assert_ok(mffa_psg_finetune(FOUR, &options, &p, &train, tuned, NULL, NULL, &result, &err));
    assert_int_equal(result.steps, 3);
    memset(left_out, true, sizeof left_out);
    assert_int_equal(mffa_psg_finetune(FOUR, &options, &p, &train, again, NULL, NULL, &result, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "none of 7 training pictures could be used: 1 is needed");
    train.count = 0;
    assert_int_equal(mffa_psg_finetune(FOUR, &options, &p, &train, again, NULL, NULL, &result, &err), MFFA_EINVAL);
    assert_int_equal(access(again, F_OK), -1);
}

static void a_loss_that_runs_away_ends_it(void **state) {
    (void)state;
    mffa_psg_params p = few();
    mffa_psg_result result;
    mffa_err err = {0};
    p.learning_rate = 1e30;
    assert_int_equal(run(&p, tuned, NULL, NULL, &result, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "learning_rate 1e+30 is too much"));
    assert_int_equal(access(tuned, F_OK), -1);
}

static void parameters_out_of_range_are_refused(void **state) {
    (void)state;
    mffa_psg_result result;
    mffa_err err = {0};
    static const char *const what[] = {"side is 100",          "epochs is 0",   "batch is 0",
                                       "learning_rate is nan", "momentum is 1", "weight_decay is -1"};
    for (size_t k = 0; k < MFFA_COUNT(what); k++) {
        mffa_psg_params p = few();
        if (k == 0) p.side = 100;
        if (k == 1) p.epochs = 0;
        if (k == 2) p.batch = 0;
        if (k == 3) p.learning_rate = NAN;
        if (k == 4) p.momentum = 1;
        if (k == 5) p.weight_decay = -1;
        assert_int_equal(run(&p, tuned, NULL, NULL, &result, &err), MFFA_EINVAL);
        if (strncmp(err.msg, what[k], strlen(what[k]))) fail_msg("%s", err.msg);
    }
}

/* ---- learning ---- */

enum { TRAIN = 32, KEPT = 40, TOGETHER = 8 };

/* Of the 3 * TOGETHER samples made of pictures kept aside from number `first` on, how many the network tells rightly. BatchNorm goes by
 * their own statistics, as in training: the running ones lag behind weights that move this fast. */
static int told_rightly(const mffa_device *d, const mffa_resnet *net, const float *weight, const float *bias, int64_t first) {
    enum { FLOATS = 3 * SIDE * SIDE, SAMPLES = 3 * TOGETHER };
    static float images[SAMPLES * FLOATS];
    mffa_err err = {0};
    for (int i = 0; i < TOGETHER; i++) {
        float *normal = images + (size_t)i * FLOATS;
        mffa_rng r;
        mffa_rng_init(&r, 4321, (uint64_t)(first + i));
        mffa_cutpaste patch = mffa_cutpaste_draw(&r, SIDE), scar = mffa_scar_draw(&r, SIDE);
        assert_ok(texture(NULL, TRAIN + first + i, SIDE, normal, &err));
        assert_ok(mffa_cutpaste_apply(&patch, normal, SIDE, normal + TOGETHER * FLOATS, &err));
        assert_ok(mffa_cutpaste_apply(&scar, normal, SIDE, normal + 2 * TOGETHER * FLOATS, &err));
    }
    MFFA_AUTO(mffa_scope_close_p) mffa_scope *s = mffa_scope_open(d, MFFA_INFER);
    mffa_stages stages = mffa_resnet_forward(s, net, mffa_network_input(s, images, SAMPLES, SIDE), true);
    mffa_tensor *pooled = mffa_mean(s, mffa_mean(s, stages.stage[mffa_resnet_stages(net) - 1], 3), 2); /* [SAMPLES, C] */
    int64_t shape[2] = {3, mffa_tensor_size(pooled, 1)}, said[SAMPLES];
    mffa_tensor *w = mffa_tensor_from(s, MFFA_F32, weight, 2, shape), *b = mffa_tensor_from(s, MFFA_F32, bias, 1, shape);
    mffa_tensor_read(s, mffa_argmax(s, mffa_linear(s, pooled, w, b), 1), MFFA_I64, said, SAMPLES);
    assert_ok(mffa_scope_check(s, &err));
    int right = 0;
    for (int i = 0; i < SAMPLES; i++) right += said[i] == i / TOGETHER;
    return right;
}

static double accuracy_on_kept_pictures(void) {
    mffa_err err = {0};
    MFFA_AUTO(mffa_device_close_p) mffa_device *d = NULL;
    MFFA_AUTO(mffa_weights_close_p) mffa_weights *w = NULL;
    MFFA_AUTO(mffa_resnet_close_p) mffa_resnet *net = NULL;
    float weight[3 * 64], bias[3];
    assert_ok(mffa_device_open("cpu", "fp32", 1, &d, &err));
    assert_ok(mffa_weights_open(checkpoint, &w, &err));
    assert_ok(mffa_resnet_open(d, w, MFFA_INFER, 0, &net, &err));
    assert_ok(mffa_safetensors_floats(mffa_safetensors_find(mffa_weights_file(w), "head.weight"), weight, &err));
    assert_ok(mffa_safetensors_floats(mffa_safetensors_find(mffa_weights_file(w), "head.bias"), bias, &err));
    int right = 0;
    for (int64_t i = 0; i < KEPT; i += TOGETHER) right += told_rightly(d, net, weight, bias, i);
    return right / (3.0 * KEPT);
}

/* Five standard deviations of guessing on 120 samples above chance. */
static void it_learns_to_tell_the_three_classes(void **state) {
    (void)state;
    mffa_psg_params p = few();
    mffa_psg_result result;
    mffa_err err = {0};
    mffa_source train = textures(TRAIN);
    p.epochs = 40, p.batch = 8, p.checkpoint = checkpoint;
    assert_ok(mffa_psg_finetune(THREE, &options, &p, &train, tuned, NULL, NULL, &result, &err));
    double kept = accuracy_on_kept_pictures();
    print_message("accuracy %.3f in training, %.3f on pictures kept aside; chance is .333\n", result.accuracy, kept);
    if (kept < .55) fail_msg("accuracy on pictures kept aside is %.3f, at least .55 is expected", kept);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_as_pytorch_on_layer4),
        cmocka_unit_test(steps_as_pytorch_where_the_weights_stop_at_layer3),
        cmocka_unit_test_teardown(the_same_seed_gives_the_same_bits, clear_folder),
        cmocka_unit_test_teardown(resumed_is_as_uninterrupted, clear_folder),
        cmocka_unit_test_teardown(stopped_within_an_epoch_goes_on_from_the_last, clear_folder),
        cmocka_unit_test_teardown(another_ones_checkpoint_is_refused, clear_folder),
        cmocka_unit_test_teardown(a_file_that_is_no_checkpoint_is_refused, clear_folder),
        cmocka_unit_test_teardown(more_epochs_go_on_from_a_checkpoint, clear_folder),
        cmocka_unit_test_teardown(the_tuned_file_has_the_tensors_of_the_other, clear_folder),
        cmocka_unit_test_teardown(pictures_may_be_left_out, clear_folder),
        cmocka_unit_test_teardown(a_loss_that_runs_away_ends_it, clear_folder),
        cmocka_unit_test_teardown(parameters_out_of_range_are_refused, clear_folder),
        cmocka_unit_test_teardown(it_learns_to_tell_the_three_classes, clear_folder),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
