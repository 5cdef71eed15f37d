/* Bad input: one sentence that names the thing, the value and the way out, a job that failed for it, and nothing half written. */
#include <sys/mount.h>
#include <sys/stat.h>
#include "core/nn/safetensors.h"
#include "storage/store.h"
#include "tests/support/test.h"
#include "tests/worker/world.h"

static world w;
static char fitted[64];

#define TINY "side 64 blocks 1 ratio 0.1 retries 0"

/* A copy of the data set under a name, to be spoilt. */
static void copy_dataset(const char *name) { world_shell("cp -r '%s/dataset' '%s/%s'", w.dir, w.dir, name); }

static const char *fit(const char *dataset) {
    return world_submit(&w, "fit dataset file://%s/%s output file://%s/out " TINY, w.dir, dataset, w.dir);
}

static const char *evaluate(const char *dataset, const char *more) {
    return world_submit(&w, "evaluate model %s dataset file://%s/%s output file://%s/out retries 0 heatmaps no %s", fitted, w.dir, dataset,
                        w.dir, more);
}

static void assert_failed(const char *id, const char *reason) {
    world_wait(&w, id, "failed");
    world_assert_reason(&w, id, reason);
    assert_string_equal(mffa_test_field(&w.redis, id, "result"), "");
}

static void write_file(const char *name, const void *bytes, size_t len) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", w.dir, name);
    MFFA_AUTO(mffa_fclose_p) FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, len, f), len);
}

static void a_data_set_without_normal_pictures_is_refused(void **state) {
    (void)state;
    copy_dataset("no-train");
    world_shell("rm -r '%s/no-train/train'", w.dir);
    const char *id = fit("no-train");
    assert_failed(id, "/no-train\": the data set has no ");
    world_assert_reason(&w, id, "train/good");
}

static void a_data_set_without_any_picture_is_refused(void **state) {
    (void)state;
    world_shell("mkdir -p '%s/empty' && echo x > '%s/empty/notes.txt'", w.dir, w.dir);
    assert_failed(world_submit(&w, "score model %s dataset file://%s/empty output file://%s/out", fitted, w.dir, w.dir),
                  "/empty\": the data set has no ");
}

static void only_good_test_pictures_end_done_with_null_figures_and_reasons(void **state) {
    (void)state;
    copy_dataset("only-good");
    world_shell("cd '%s/only-good' && rm -r ground_truth && find test -mindepth 1 -maxdepth 1 ! -name good -exec rm -r {} +", w.dir);
    const char *id = evaluate("only-good", "");
    world_wait(&w, id, "done");
    MFFA_AUTO(mffa_json_close_p) mffa_json *j = world_summary(&w, id);
    const char *figures[] = {"image_auroc", "pixel_auroc", "aupro", "f1_max"};
    for (size_t i = 0; i < MFFA_COUNT(figures); i++) {
        assert_true(mffa_json_is_null(mffa_json_get(j, figures[i])));
        assert_non_null(mffa_json_text(mffa_json_get(mffa_json_get(j, "reasons"), figures[i]), NULL));
    }
    assert_int_equal(mffa_json_int(mffa_json_get(j, "images"), 0), 2);
    assert_non_null(strstr(mffa_test_field(&w.redis, id, "image_auroc"), "none ("));
}

static void defects_without_masks_end_done_with_image_figures_only(void **state) {
    (void)state;
    copy_dataset("no-masks");
    world_shell("rm -r '%s/no-masks/ground_truth'", w.dir);
    const char *id = evaluate("no-masks", "");
    world_wait(&w, id, "done");
    MFFA_AUTO(mffa_json_close_p) mffa_json *j = world_summary(&w, id);
    assert_false(mffa_json_is_null(mffa_json_get(j, "image_auroc")));
    assert_true(mffa_json_is_null(mffa_json_get(j, "pixel_auroc")));
    assert_true(mffa_json_is_null(mffa_json_get(j, "aupro")));
    assert_non_null(mffa_json_text(mffa_json_get(mffa_json_get(j, "reasons"), "aupro"), NULL));
}

static void a_truncated_png_fails_by_name_or_is_left_out_and_counted(void **state) {
    (void)state;
    copy_dataset("truncated");
    world_shell("truncate -s 200 '%s/truncated/train/good/001.png'", w.dir);
    assert_failed(fit("truncated"), "/truncated/train/good/001.png\": the PNG cannot be read: ");
    const char *id = world_submit(&w, "fit dataset file://%s/truncated output file://%s/out on_bad_image skip " TINY, w.dir, w.dir);
    world_wait(&w, id, "done");
    assert_string_equal(mffa_test_field(&w.redis, id, "skipped"), "1");
    assert_string_equal(mffa_test_field(&w.redis, id, "train_images"), "5");
    MFFA_AUTO(mffa_json_close_p) mffa_json *j = world_summary(&w, id);
    const mffa_json *first = mffa_json_at(mffa_json_get(mffa_json_get(j, "skipped"), "first"), 0);
    assert_string_equal(mffa_json_text(mffa_json_get(first, "key"), ""), "train/good/001.png");
}

static void an_empty_jpeg_fails_by_name_or_is_left_out(void **state) {
    (void)state;
    copy_dataset("zero");
    write_file("zero/test/good/zero.jpg", "", 0);
    assert_failed(evaluate("zero", ""), "/zero/test/good/zero.jpg\": the file is empty");
    const char *id = evaluate("zero", "on_bad_image skip");
    world_wait(&w, id, "done");
    assert_string_equal(mffa_test_field(&w.redis, id, "skipped"), "1");
    assert_string_equal(mffa_test_field(&w.redis, id, "images"), "7");
}

static uint32_t crc_of(const unsigned char *bytes, size_t len) { /* of PNG, its appendix D */
    uint32_t crc = 0xFFFFFFFF;
    for (size_t i = 0; i < len; i++) {
        crc ^= bytes[i];
        for (int k = 0; k < 8; k++) crc = crc & 1 ? crc >> 1 ^ 0xEDB88320 : crc >> 1;
    }
    return ~crc;
}

static void a_picture_of_100_megapixels_is_refused_from_its_header(void **state) {
    (void)state;
    unsigned char png[45] = {0x89, 'P', 'N', 'G',  '\r', '\n', 0x1A, '\n', 0,    0,   0,   13,   'I',  'H',  'D',
                             'R',  0,   0,   0x27, 0x10, 0,    0,    0x27, 0x10, 8,   2,   0,    0,    0,    0,
                             0,    0,   0,   0,    0,    0,    0,    'I',  'D',  'A', 'T', 0x35, 0xAF, 0x06, 0x1E};
    uint32_t crc = crc_of(png + 12, 17);
    for (int i = 0; i < 4; i++) png[29 + i] = (unsigned char)(crc >> (24 - 8 * i));
    copy_dataset("bomb");
    write_file("bomb/train/good/bomb.png", png, sizeof png);
    const char *id = fit("bomb");
    assert_failed(id, "/bomb/train/good/bomb.png\": ");
    world_assert_reason(&w, id, "10000 x 10000");
    world_assert_reason(&w, id, "MFFA_MAX_IMAGE_PIXELS");
}

static void a_mask_without_its_picture_is_refused_by_name(void **state) {
    (void)state;
    copy_dataset("orphan");
    world_shell(
        "cd '%s/orphan' && f=$(find ground_truth -name '*.png' | sort | head -n 1) && cp \"$f\" \"$(dirname \"$f\")/lonely_mask.png\"",
        w.dir);
    const char *id = evaluate("orphan", "");
    assert_failed(id, "lonely_mask.png\" has no picture");
}

static void a_mask_of_another_size_fails_naming_both(void **state) {
    (void)state;
    copy_dataset("sizes");
    /* a mask of 1 x 1 pixel: a BMP of 1 bit */
    const unsigned char bmp[66] = {'B', 'M', 66, 0, 0, 0, 0, 0, 0, 0, 62, 0, 0, 0, 40,  0,   0,   0, 1,   0, 0, 0,
                                   1,   0,   0,  0, 1, 0, 1, 0, 0, 0, 0,  0, 4, 0, 0,   0,   0,   0, 0,   0, 0, 0,
                                   0,   0,   2,  0, 0, 0, 2, 0, 0, 0, 0,  0, 0, 0, 255, 255, 255, 0, 128, 0, 0, 0};
    write_file("mask.bmp", bmp, sizeof bmp);
    world_shell("cd '%s' && f=$(find sizes/ground_truth -name '*.png' | sort | head -n 1) && mv mask.bmp \"${f%%.png}.bmp\" && rm \"$f\"",
                w.dir);
    const char *id = evaluate("sizes", "");
    assert_failed(id, "/sizes/ground_truth/");
    world_assert_reason(&w, id, "the mask has 1 x 1 pixels, its picture \"test/");
    world_assert_reason(&w, id, "has 96 x 96");
}

/* The weights once more in a folder of their own; a tensor is left out, or gets another last dimension. */
static void copy_weights(const char *folder, const char *file, const char *leave_out, const char *reshape) {
    mffa_err err = {0};
    char from[192], to[192];
    MFFA_AUTO(mffa_safetensors_close_p) mffa_safetensors *f = NULL;
    MFFA_AUTO(mffa_st_writer_close_p) mffa_st_writer *out = NULL;
    world_shell("mkdir -p '%s/%s' && cp '%s'/weights/* '%s/%s/'", w.dir, folder, w.dir, w.dir, folder);
    snprintf(from, sizeof from, "%s/weights/%s", w.dir, file), snprintf(to, sizeof to, "%s/%s/%s", w.dir, folder, file);
    assert_ok(mffa_safetensors_open(from, &f, &err));
    assert_ok(mffa_st_writer_open(to, &out, &err));
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < mffa_safetensors_count(f); i++) {
            const mffa_st_tensor *t = mffa_safetensors_at(f, i);
            int64_t shape[MFFA_ST_MAX_RANK];
            bool odd = reshape && strcmp(t->name, reshape) == 0;
            memcpy(shape, t->shape, sizeof shape);
            if (odd) shape[t->rank - 1]--;
            if (leave_out && strcmp(t->name, leave_out) == 0) continue;
            if (pass == 0) assert_ok(mffa_st_writer_declare(out, t->name, t->dtype, t->rank, shape, &err));
            else
                assert_ok(mffa_st_writer_put(out, t->data,
                                             odd ? t->bytes / (size_t)t->shape[t->rank - 1] * (size_t)shape[t->rank - 1] : t->bytes, &err));
        }
    assert_ok(mffa_st_writer_finish(out, &err));
}

static const char *fit_with(const char *weights) {
    return world_submit(&w, "fit dataset file://%s/dataset output file://%s/out weights file://%s/%s " TINY, w.dir, w.dir, w.dir, weights);
}

static void weights_that_miss_a_tensor_are_refused_by_its_name(void **state) {
    (void)state;
    copy_weights("missing", "backbone.safetensors", "layer2.0.bn1.running_var", NULL);
    assert_failed(fit_with("missing"), "layer2.0.bn1.running_var");
}

static void weights_of_a_wrong_shape_are_refused_by_name_and_shape(void **state) {
    (void)state;
    copy_weights("shape", "transformer.safetensors", NULL, "blocks.0.mlp.fc1.weight");
    const char *id = fit_with("shape");
    assert_failed(id, "blocks.0.mlp.fc1.weight");
    world_assert_reason(&w, id, "[768, 191]");
}

static void a_lying_safetensors_header_is_refused(void **state) {
    (void)state;
    world_shell("mkdir -p '%s/lying' && cp '%s'/weights/* '%s/lying/'", w.dir, w.dir, w.dir);
    write_file("lying/backbone.safetensors", "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F{}", 10);
    const char *id = fit_with("lying");
    assert_failed(id, "/lying/backbone.safetensors");
    world_assert_reason(&w, id, "weights in \"file://");
}

static void two_backbones_in_one_folder_are_refused_naming_both(void **state) {
    (void)state;
    world_shell("mkdir -p '%s/two' && cp '%s'/weights/* '%s/two/' && cp '%s/two/backbone.safetensors' '%s/two/another.safetensors'", w.dir,
                w.dir, w.dir, w.dir, w.dir);
    assert_failed(fit_with("two"), "there are two backbones, \"another.safetensors\" and \"backbone.safetensors\"");
}

static void weights_of_widths_that_do_not_fit_are_refused_with_what_would(void **state) {
    (void)state;
    char path[192];
    mffa_err err = {0};
    MFFA_AUTO(mffa_st_writer_close_p) mffa_st_writer *out = NULL;
    const struct { const char *name; int rank; int64_t shape[2]; } tensors[] = {/* a CaiT block 96 wide with 4 heads */
                   {"blocks.0.norm1.weight", 1, {96}},
                   {"blocks.0.norm1.bias", 1, {96}},
                   {"blocks.0.attn.qkv.weight", 2, {288, 96}},
                   {"blocks.0.attn.qkv.bias", 1, {288}},
                   {"blocks.0.attn.proj_l.weight", 2, {4, 4}},
                   {"blocks.0.attn.proj_l.bias", 1, {4}},
                   {"blocks.0.attn.proj_w.weight", 2, {4, 4}},
                   {"blocks.0.attn.proj_w.bias", 1, {4}},
                   {"blocks.0.attn.proj.weight", 2, {96, 96}},
                   {"blocks.0.attn.proj.bias", 1, {96}},
                   {"blocks.0.norm2.weight", 1, {96}},
                   {"blocks.0.norm2.bias", 1, {96}},
                   {"blocks.0.mlp.fc1.weight", 2, {384, 96}},
                   {"blocks.0.mlp.fc1.bias", 1, {384}},
                   {"blocks.0.mlp.fc2.weight", 2, {96, 384}},
                   {"blocks.0.mlp.fc2.bias", 1, {96}},
                   {"blocks.0.gamma_1", 1, {96}},
                   {"blocks.0.gamma_2", 1, {96}}};
    static const float zeros[384 * 96];
    world_shell("mkdir -p '%s/width' && cp '%s/weights/backbone.safetensors' '%s/width/'", w.dir, w.dir, w.dir);
    snprintf(path, sizeof path, "%s/width/transformer.safetensors", w.dir);
    assert_ok(mffa_st_writer_open(path, &out, &err));
    for (size_t i = 0; i < MFFA_COUNT(tensors); i++)
        assert_ok(mffa_st_writer_declare(out, tensors[i].name, MFFA_F32, tensors[i].rank, tensors[i].shape, &err));
    for (size_t i = 0; i < MFFA_COUNT(tensors); i++) {
        size_t n = (size_t)tensors[i].shape[0] * (size_t)(tensors[i].rank == 2 ? tensors[i].shape[1] : 1);
        assert_ok(mffa_st_writer_put(out, zeros, n * sizeof(float), &err));
    }
    assert_ok(mffa_st_writer_finish(out, &err));
    const char *id = fit_with("width");
    assert_failed(id, "96");
    world_assert_reason(&w, id, "192");
}

static void a_model_of_other_weights_is_refused_by_their_name(void **state) {
    (void)state;
    copy_weights("other", "backbone.safetensors", NULL, NULL);
    world_shell("printf x >> '%s/other/notes.txt' && cp '%s/weights/transformer.safetensors' '%s/other/backbone.safetensors'", w.dir, w.dir,
                w.dir);
    char more[160];
    snprintf(more, sizeof more, "weights file://%s/other", w.dir);
    assert_failed(evaluate("dataset", more), "the model was fitted with the backbone \"backbone.safetensors\" (sha256 ");
}

static void a_model_of_another_profile_is_refused_naming_both(void **state) {
    (void)state;
    assert_failed(evaluate("dataset", "profile paper"), "was fitted with profile \"small\": leave profile out, or name another model");
}

static void a_prefix_without_a_finished_run_is_no_model(void **state) {
    (void)state;
    assert_failed(world_submit(&w, "score model file://%s/dataset dataset file://%s/dataset output file://%s/out", w.dir, w.dir, w.dir),
                  "model: there is no finished fit run at \"file:///tmp/");
}

static void an_output_that_cannot_be_written_is_refused_at_once(void **state) {
    (void)state;
    write_file("occupied", "x", 1);
    assert_failed(world_submit(&w, "fit dataset file://%s/dataset output file://%s/occupied/out " TINY, w.dir, w.dir),
                  "output cannot be used: ");
}

static void a_url_that_is_not_allowed_is_refused_by_its_field(void **state) {
    (void)state;
    assert_failed(world_submit(&w, "fit dataset file:///etc output file://%s/out " TINY, w.dir),
                  "dataset: \"file:///etc\" is not allowed here: the worker's MFFA_ALLOWED_URLS");
}

static void a_disk_that_fills_fails_the_job_and_leaves_nothing_half_written(void **state) {
    (void)state;
    char path[128];
    snprintf(path, sizeof path, "%s/full", w.dir);
    assert_int_equal(mkdir(path, 0777), 0);
    if (geteuid() != 0 || mount("none", path, "tmpfs", 0, "size=64k") != 0) skip(); /* a small disk takes root */
    const char *id = world_submit(&w, "fit dataset file://%s/dataset output file://%s/full " TINY, w.dir, w.dir);
    world_wait(&w, id, "failed");
    world_assert_reason(&w, id, "No space left on device (");
    world_shell("test -z \"$(find '%s' -type f)\"", path);
    assert_int_equal(umount(path), 0);
}

static void a_job_that_cannot_fit_into_memory_is_refused_with_what_would(void **state) {
    (void)state;
    pid_t small = world_worker(&w, (const char *const[]){"--pool", "small", "--memory-bytes", "700000000", NULL});
    const char *id =
        world_submit(&w, "fit dataset file://%s/dataset output file://%s/out pool small side 1024 blocks 1 retries 0", w.dir, w.dir);
    assert_failed(id, "bytes of memory, the worker has 700000000: side=");
    id = world_submit(&w, "finetune dataset file://%s/dataset output file://%s/out pool small batch 6 epochs 1 retries 0", w.dir, w.dir);
    assert_failed(id, "bytes of memory, the worker has 700000000: batch=3 would fit, but BatchNorm then sees fewer pictures");
    assert_int_equal(world_stop(small), 0);
    pid_t smaller = world_worker(&w, (const char *const[]){"--pool", "smaller", "--memory-bytes", "100000000", NULL});
    id = world_submit(&w, "evaluate model %s dataset file://%s/dataset output file://%s/out pool smaller retries 0", fitted, w.dir, w.dir);
    assert_failed(id, "bytes of memory, the worker has 100000000: fit with a smaller grid or ratio");
    assert_int_equal(world_stop(smaller), 0);
}

static void a_worker_refuses_to_start_without_a_fitting_redis(void **state) {
    (void)state;
    world_refused(&w, (const char *const[]){"--redis-url", "unix:///nowhere/redis.sock", NULL}, "/nowhere/redis.sock");
    (void)mffa_test_ask(&w.redis, "CONFIG SET maxmemory 100mb maxmemory-policy allkeys-lru");
    world_refused(&w, NULL, "noeviction");
    (void)mffa_test_ask(&w.redis, "CONFIG SET maxmemory 0 maxmemory-policy noeviction");
}

static void a_worker_refuses_settings_and_arguments_that_it_does_not_know(void **state) {
    (void)state;
    world_refused(&w, (const char *const[]){"--bathc", "4", NULL}, "unknown flag \"--bathc\"");
    world_refused(&w, (const char *const[]){"word", NULL}, "takes no argument \"word\"");
    world_refused(&w, (const char *const[]){"--work-dir", "/proc/nowhere", NULL}, "MFFA_WORK_DIR=");
}

static pid_t worker;

static int start(void **state) {
    (void)state;
    world_open(&w, 6, 96);
    worker = world_worker(&w, NULL);
    const char *id = world_submit(&w, "fit dataset file://%s/dataset output file://%s/out " TINY, w.dir, w.dir);
    world_wait(&w, id, "done");
    snprintf(fitted, sizeof fitted, "%s", id);
    return 0;
}

static int stop(void **state) {
    (void)state;
    int code = world_stop(worker);
    world_close(&w);
    return code;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_data_set_without_normal_pictures_is_refused),
        cmocka_unit_test(a_data_set_without_any_picture_is_refused),
        cmocka_unit_test(only_good_test_pictures_end_done_with_null_figures_and_reasons),
        cmocka_unit_test(defects_without_masks_end_done_with_image_figures_only),
        cmocka_unit_test(a_truncated_png_fails_by_name_or_is_left_out_and_counted),
        cmocka_unit_test(an_empty_jpeg_fails_by_name_or_is_left_out),
        cmocka_unit_test(a_picture_of_100_megapixels_is_refused_from_its_header),
        cmocka_unit_test(a_mask_without_its_picture_is_refused_by_name),
        cmocka_unit_test(a_mask_of_another_size_fails_naming_both),
        cmocka_unit_test(weights_that_miss_a_tensor_are_refused_by_its_name),
        cmocka_unit_test(weights_of_a_wrong_shape_are_refused_by_name_and_shape),
        cmocka_unit_test(a_lying_safetensors_header_is_refused),
        cmocka_unit_test(two_backbones_in_one_folder_are_refused_naming_both),
        cmocka_unit_test(weights_of_widths_that_do_not_fit_are_refused_with_what_would),
        cmocka_unit_test(a_model_of_other_weights_is_refused_by_their_name),
        cmocka_unit_test(a_model_of_another_profile_is_refused_naming_both),
        cmocka_unit_test(a_prefix_without_a_finished_run_is_no_model),
        cmocka_unit_test(an_output_that_cannot_be_written_is_refused_at_once),
        cmocka_unit_test(a_url_that_is_not_allowed_is_refused_by_its_field),
        cmocka_unit_test(a_disk_that_fills_fails_the_job_and_leaves_nothing_half_written),
        cmocka_unit_test(a_worker_refuses_to_start_without_a_fitting_redis),
        cmocka_unit_test(a_worker_refuses_settings_and_arguments_that_it_does_not_know),
        cmocka_unit_test(a_job_that_cannot_fit_into_memory_is_refused_with_what_would),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
