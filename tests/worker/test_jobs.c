/* Jobs from end to end: what a person submits, what lies in storage, what the record says. */
#include <sys/stat.h>
#include "core/image/decode.h"
#include "core/nn/safetensors.h"
#include "core/mffa/model_difference.h"
#include "storage/store.h"
#include "tests/support/test.h"
#include "tests/worker/world.h"

static world w;
static pid_t worker;
static char fitted[64], evaluated[64], tuned[64]; /* the jobs whose results the tests share */

#define TINY "side 64 blocks 1 ratio 0.1"

static bool has_object(const char *id, const char *key) {
    mffa_store *s = NULL;
    int64_t bytes = 0;
    mffa_code rc = mffa_store_open(mffa_test_field(&w.redis, id, "result"), &s, NULL);
    if (!rc) rc = mffa_store_head(s, key, &bytes, NULL, NULL);
    mffa_store_close(s);
    return rc == MFFA_OK;
}

static void a_pipeline_without_fine_tuning_fits_and_evaluates(void **state) {
    (void)state;
    char fit[64], evaluate[64];
    const char *ids =
        world_submit(&w, "pipeline dataset file://%s/dataset output file://%s/out psg off heatmaps both save_maps yes " TINY, w.dir, w.dir);
    assert_int_equal(sscanf(ids, "%63s %63s", fit, evaluate), 2);
    world_wait(&w, evaluate, "done");
    world_check_manifest(&w, fit);
    world_check_manifest(&w, evaluate);
    memcpy(fitted, fit, sizeof fitted);
    memcpy(evaluated, evaluate, sizeof evaluated);
    assert_string_equal(mffa_test_field(&w.redis, fit, "train_images"), "6");
    assert_string_equal(mffa_test_field(&w.redis, evaluate, "images"), "7");
    assert_true(strtod(mffa_test_field(&w.redis, evaluate, "image_auroc"), NULL) >= .5);
    const char *names[] = {"scores.msgpack", "summary.json", "summary.msgpack", "report.html", "maps.safetensors"};
    for (size_t i = 0; i < MFFA_COUNT(names); i++) assert_true(has_object(evaluate, names[i]));
    assert_true(has_object(fit, "model.safetensors"));
    const char *both[] = {fit, evaluate};
    for (size_t i = 0; i < 2; i++) { /* announced before the work; how near it is at real sizes stands in tests/bench/README.md */
        MFFA_AUTO(mffa_json_close_p) mffa_json *s = world_summary(&w, both[i]);
        assert_true(mffa_json_int(mffa_json_get(s, "planned_memory_bytes"), 0) > 100 << 20);
    }
    assert_false(has_object(fit, "backbone.safetensors"));
}

static void the_record_holds_the_summary_as_it_lies_in_storage(void **state) {
    (void)state;
    mffa_err err = {0};
    char key[96], path[512];
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    MFFA_AUTO(mffa_buf_done) mffa_buf file = {0};
    snprintf(key, sizeof key, "mffa:{main}:job:%s", fitted);
    snprintf(path, sizeof path, "%s/summary.msgpack", mffa_test_field(&w.redis, fitted, "result") + strlen("file://"));
    const mffa_span words[] = {mffa_span_of("HGET"), mffa_span_of(key), mffa_span_of("summary")};
    assert_ok(mffa_queue_command(w.redis.queue, words, MFFA_COUNT(words), &reply, &err));
    assert_ok(mffa_buf_read_file(&file, path, 1 << 20, &err));
    assert_int_equal(mffa_reply_bytes(reply).len, file.len);
    assert_memory_equal(mffa_reply_bytes(reply).ptr, file.ptr, file.len);
}

static void python_opens_the_results_and_computes_the_same_figures(void **state) {
    (void)state;
    char fit[512];
    if (system("python3 -c 'import msgpack, safetensors, sklearn' 2>/dev/null") != 0) {
        print_message("skipped: python3 with msgpack, safetensors and scikit-learn is not installed (./run test brings them)\n");
        skip();
    }
    snprintf(fit, sizeof fit, "%s", mffa_test_field(&w.redis, fitted, "result") + strlen("file://"));
    world_shell("python3 '" MFFA_TEST_SCRIPTS "/check_results.py' '%s' '%s' '%s/dataset'", fit,
                mffa_test_field(&w.redis, evaluated, "result") + strlen("file://"), w.dir);
}

static void heat_maps_have_the_pictures_own_size_and_lie_in_its_tree(void **state) {
    (void)state;
    mffa_err err = {0};
    const char *id =
        world_submit(&w, "evaluate model %s dataset file://%s/dataset output file://%s/out heatmaps both", fitted, w.dir, w.dir);
    MFFA_AUTO(mffa_store_close_p) mffa_store *s = NULL;
    MFFA_AUTO(mffa_buf_done) mffa_buf file = {0};
    MFFA_AUTO(mffa_image_done) mffa_image im = {0};
    world_wait(&w, id, "done");
    assert_ok(mffa_store_open(mffa_test_field(&w.redis, id, "result"), &s, &err));
    assert_true(has_object(id, "greymaps/test/good/000.png"));
    assert_ok(mffa_store_get(s, "heatmaps/test/good/000.png", 1 << 20, &file, &err));
    assert_ok(mffa_decode_rgb(mffa_buf_span(&file), &(mffa_limits){1 << 20, 1 << 20}, &im, &err));
    assert_int_equal(im.width_px, 96);
    assert_int_equal(im.height_px, 96);
}

static void a_model_is_found_by_its_run_folder_or_the_newest_below_a_prefix(void **state) {
    (void)state;
    char result[512];
    snprintf(result, sizeof result, "%s", mffa_test_field(&w.redis, fitted, "result"));
    world_shell("cp -r '%s/out' '%s/moved'", w.dir, w.dir); /* before anything runs that writes there */
    const char *exact = world_submit(&w, "score model %s dataset file://%s/dataset/test/good output file://%s/out heatmaps no threshold 1",
                                     result, w.dir, w.dir);
    const char *newest = world_submit(&w, "score model file://%s/out dataset file://%s/dataset/test/good output file://%s/out heatmaps no",
                                      w.dir, w.dir, w.dir);
    const char *moved = world_submit(&w, "score model file://%s/moved dataset file://%s/dataset/test/good output file://%s/out heatmaps no",
                                     w.dir, w.dir, w.dir);
    world_wait(&w, exact, "done");
    world_wait(&w, newest, "done");
    world_wait(&w, moved, "done");
    world_shell("rm -r '%s/moved'", w.dir);
    assert_string_equal(mffa_test_field(&w.redis, newest, "model_url"), result);
    assert_non_null(strstr(mffa_test_field(&w.redis, moved, "note"), "model is the newest run below")); /* unknown to the queue */
    MFFA_AUTO(mffa_json_close_p) mffa_json *a = world_summary(&w, exact);
    MFFA_AUTO(mffa_json_close_p) mffa_json *b = world_summary(&w, newest);
    assert_string_equal(mffa_json_text(mffa_json_get(a, "model"), ""), result);
    assert_string_equal(mffa_json_text(mffa_json_get(b, "model"), ""), result);
    assert_null(mffa_json_get(a, "note"));
    assert_null(mffa_json_get(b, "note"));
    assert_string_equal(mffa_json_text(mffa_json_get(a, "threshold_from"), ""), "field");
    assert_string_equal(mffa_json_text(mffa_json_get(b, "threshold_reason"), ""), "the job gave no threshold");
    assert_false(has_object(exact, "heatmaps/000.png"));
}

static void scoring_again_gives_the_same_bytes(void **state) {
    (void)state;
    const char *id[2];
    for (int i = 0; i < 2; i++)
        id[i] = world_submit(&w, "score model %s dataset file://%s/dataset/test output file://%s/out heatmaps no save_maps yes", fitted,
                             w.dir, w.dir);
    const char *a = id[0], *b = id[1];
    world_wait(&w, a, "done"), world_wait(&w, b, "done");
    mffa_err err = {0};
    MFFA_AUTO(mffa_safetensors_close_p) mffa_safetensors *x = NULL;
    MFFA_AUTO(mffa_safetensors_close_p) mffa_safetensors *y = NULL;
    char path[512];
    snprintf(path, sizeof path, "%s/maps.safetensors", mffa_test_field(&w.redis, a, "result") + strlen("file://"));
    assert_ok(mffa_safetensors_open(path, &x, &err));
    snprintf(path, sizeof path, "%s/maps.safetensors", mffa_test_field(&w.redis, b, "result") + strlen("file://"));
    assert_ok(mffa_safetensors_open(path, &y, &err));
    const mffa_st_tensor *m = mffa_safetensors_find(x, "maps"), *n = mffa_safetensors_find(y, "maps");
    assert_int_equal(m->shape[0], 7);
    assert_int_equal(m->shape[1], 64);
    assert_int_equal(m->bytes, n->bytes);
    assert_memory_equal(m->data, n->data, m->bytes);
}

static void a_pipeline_with_fine_tuning_carries_its_backbone_along(void **state) {
    (void)state;
    char tune[64], fit[64], evaluate[64];
    const char *ids =
        world_submit(&w, "pipeline dataset file://%s/dataset output file://%s/tuned epochs 2 batch 4 heatmaps no " TINY, w.dir, w.dir);
    assert_int_equal(sscanf(ids, "%63s %63s %63s", tune, fit, evaluate), 3);
    world_wait(&w, evaluate, "done");
    world_check_manifest(&w, tune), world_check_manifest(&w, fit), world_check_manifest(&w, evaluate);
    assert_true(has_object(tune, "backbone.safetensors"));
    assert_true(has_object(fit, "backbone.safetensors"));
    assert_string_not_equal(mffa_test_field(&w.redis, tune, "loss"), "");
    memcpy(tuned, fit, sizeof tuned);
    world_shell("test ! -e '%s'/tuned/finetune-%s/checkpoint/checkpoint.safetensors", w.dir, tune);
}

static int64_t differing(const char *id) {
    MFFA_AUTO(mffa_json_close_p) mffa_json *s = world_summary(&w, id);
    return mffa_json_int(mffa_json_get(s, "differing"), -1);
}

static void a_model_computed_again_is_the_same_bit_for_bit(void **state) {
    (void)state;
    const char *plain = world_submit(&w, "verify model %s dataset file://%s/dataset output file://%s/out", fitted, w.dir, w.dir);
    const char *with_backbone = world_submit(&w, "verify model %s dataset file://%s/dataset output file://%s/out", tuned, w.dir, w.dir);
    world_wait(&w, plain, "done"), world_wait(&w, with_backbone, "done");
    world_check_manifest(&w, plain);
    assert_int_equal(differing(plain), 0);
    assert_int_equal(differing(with_backbone), 0);
    assert_string_equal(mffa_test_field(&w.redis, plain, "largest_difference"), "0");
    MFFA_AUTO(mffa_json_close_p) mffa_json *s = world_summary(&w, plain);
    assert_int_equal(mffa_json_int(mffa_json_get(s, "train_images"), 0), 6);
    assert_int_equal(mffa_json_size(mffa_json_get(s, "differences")), MFFA_MODEL_PARTS);
}

static void a_model_of_other_pictures_is_found_out(void **state) {
    (void)state;
    world_shell("cp -r '%s/dataset' '%s/other' && cp '%s/other/train/good/000.png' '%s/other/train/good/003.png'", w.dir, w.dir, w.dir,
                w.dir);
    const char *id = world_submit(&w, "verify model %s dataset file://%s/other output file://%s/out", fitted, w.dir, w.dir);
    world_wait(&w, id, "done");
    assert_true(differing(id) > 0);
    assert_true(strtod(mffa_test_field(&w.redis, id, "largest_difference"), NULL) > 1e-3);
    world_shell("rm '%s/other/train/good/003.png'", w.dir);
    id = world_submit(&w, "verify model %s dataset file://%s/other output file://%s/out", fitted, w.dir, w.dir);
    world_wait(&w, id, "failed");
    world_assert_reason(&w, id, "the model was fitted with 6 pictures, this data set gives 5");
}

static void mffactl_verify_takes_folders_and_exits_by_what_was_found(void **state) {
    (void)state;
    const char *result = mffa_test_field(&w.redis, fitted, "result") + strlen("file://");
    world_shell("MFFA_REDIS_URL=%s '%s' verify '%s' --data '%s/dataset' --weights '%s/weights' > '%s/said'", w.redis.url, MFFA_TEST_CTL,
                result, w.dir, w.dir, w.dir);
    world_shell("grep -q 'largest difference 0: computed again, the model is the same bit for bit' '%s/said'", w.dir);
    world_shell("grep -q '^  file://%s/out/verify-' '%s/said'", w.dir, w.dir); /* beside the model's own folder */
    world_shell("cp '%s/dataset/train/good/001.png' '%s/other/train/good/003.png'", w.dir, w.dir);
    world_shell("! MFFA_REDIS_URL=%s '%s' verify %s --data '%s/other' > '%s/said' 2> '%s/why'", w.redis.url, MFFA_TEST_CTL, fitted, w.dir,
                w.dir, w.dir);
    world_shell("grep -q 'memory_bank.features .* differ, at most by' '%s/said'", w.dir);
    world_shell("grep -q 'the model is not what these pictures and weights give' '%s/why'", w.dir);
}

static int start(void **state) {
    (void)state;
    world_open(&w, 6, 96);
    worker = world_worker(&w, NULL);
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
        cmocka_unit_test(a_pipeline_without_fine_tuning_fits_and_evaluates),
        cmocka_unit_test(the_record_holds_the_summary_as_it_lies_in_storage),
        cmocka_unit_test(python_opens_the_results_and_computes_the_same_figures),
        cmocka_unit_test(heat_maps_have_the_pictures_own_size_and_lie_in_its_tree),
        cmocka_unit_test(a_model_is_found_by_its_run_folder_or_the_newest_below_a_prefix),
        cmocka_unit_test(scoring_again_gives_the_same_bytes),
        cmocka_unit_test(a_pipeline_with_fine_tuning_carries_its_backbone_along),
        cmocka_unit_test(a_model_computed_again_is_the_same_bit_for_bit),
        cmocka_unit_test(a_model_of_other_pictures_is_found_out),
        cmocka_unit_test(mffactl_verify_takes_folders_and_exits_by_what_was_found),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
