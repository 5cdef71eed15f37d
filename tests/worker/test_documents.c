/* scores.msgpack, summary and report, read back with msgpack-c itself. */
#include <msgpack.h>
#include "tests/support/test.h"
#include "worker/pack.h"
#include "worker/report.h"

typedef struct document {
    msgpack_unpacked u;
} document;

static void read_document(document *d, const mffa_buf *bytes) {
    size_t at = 0;
    msgpack_unpacked_init(&d->u);
    assert_int_equal(msgpack_unpack_next(&d->u, bytes->ptr, bytes->len, &at), MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(at, bytes->len);
}

static const msgpack_object *member(const msgpack_object *map, const char *name) {
    assert_int_equal(map->type, MSGPACK_OBJECT_MAP);
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_kv *kv = &map->via.map.ptr[i];
        if (kv->key.via.str.size == strlen(name) && memcmp(kv->key.via.str.ptr, name, strlen(name)) == 0) return &kv->val;
    }
    fail_msg("no member \"%s\"", name);
    return NULL;
}

static void assert_text(const msgpack_object *map, const char *name, const char *text) {
    const msgpack_object *v = member(map, name);
    assert_int_equal(v->type, MSGPACK_OBJECT_STR);
    assert_int_equal(v->via.str.size, strlen(text));
    assert_memory_equal(v->via.str.ptr, text, strlen(text));
}

static void assert_nil(const msgpack_object *map, const char *name) { assert_int_equal(member(map, name)->type, MSGPACK_OBJECT_NIL); }

static void assert_num(const msgpack_object *map, const char *name, double value) {
    const msgpack_object *v = member(map, name);
    assert_true(v->type == MSGPACK_OBJECT_FLOAT64);
    assert_float_equal(v->via.f64, value, 0);
}

static mffa_scores two_pictures(void) {
    mffa_err err = {0};
    mffa_scores s = {.job = "k4-1", .kind = "evaluate", .model_url = "s3://m/x", .model_sha256 = "ab", .side = 64};
    assert_ok(mffa_scores_add(&s, "test/crack/<b>.png", "crack", "ground_truth/crack/<b>_mask.png", 1,
                              &(mffa_score){.score = 3, .nns_max = 1.5f, .peak_x = 7, .peak_y = 9}, &err));
    assert_ok(mffa_scores_add(&s, "test/good/a b#1.png", "good", NULL, 0, &(mffa_score){.score = 1}, &err));
    return s;
}

static void scores_hold_every_field_of_every_picture(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_scores_done) mffa_scores s = two_pictures();
    MFFA_AUTO(mffa_buf_done) mffa_buf b = {0};
    document d;
    s.threshold = (mffa_figure){.known = true, .value = 2};
    s.threshold_from = "f1_max";
    assert_ok(mffa_scores_pack(&s, &b, &err));
    read_document(&d, &b);
    const msgpack_object *o = &d.u.data, *images = member(o, "images");
    assert_int_equal(member(o, "v")->via.u64, 1);
    assert_text(o, "job", "k4-1"), assert_text(o, "model", "s3://m/x"), assert_text(o, "threshold_from", "f1_max");
    assert_num(o, "threshold", 2);
    assert_nil(o, "threshold_reason");
    assert_int_equal(images->via.array.size, 2);
    const msgpack_object *first = &images->via.array.ptr[0], *second = &images->via.array.ptr[1];
    assert_text(first, "key", "test/crack/<b>.png"), assert_text(first, "mask", "ground_truth/crack/<b>_mask.png");
    assert_num(first, "score", 3), assert_num(first, "normalised", 1.5), assert_num(first, "nns_max", 1.5);
    assert_true(member(first, "decision")->via.boolean);
    assert_int_equal(member(first, "label")->via.u64, 1);
    assert_int_equal(member(first, "peak")->via.array.ptr[1].via.u64, 9);
    assert_false(member(second, "decision")->via.boolean);
    assert_nil(second, "mask"), assert_nil(second, "heatmap");
    msgpack_unpacked_destroy(&d.u);
}

static void without_a_threshold_decisions_are_nil_with_the_reason(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_scores_done) mffa_scores s = two_pictures();
    MFFA_AUTO(mffa_buf_done) mffa_buf b = {0};
    document d;
    s.threshold.reason = "only normal pictures";
    assert_ok(mffa_scores_pack(&s, &b, &err));
    read_document(&d, &b);
    const msgpack_object *first = &member(&d.u.data, "images")->via.array.ptr[0];
    assert_nil(&d.u.data, "threshold");
    assert_text(&d.u.data, "threshold_reason", "only normal pictures");
    assert_nil(first, "normalised"), assert_nil(first, "decision");
    assert_num(first, "score", 3);
    msgpack_unpacked_destroy(&d.u);
}

static void json_packs_to_the_same_values(void **state) {
    (void)state;
    mffa_err err = {0};
    const char *text = "{\"i\":-5,\"one\":1,\"f\":1.0,\"t\":true,\"n\":null,\"s\":\"x\",\"a\":[0,{}]}";
    MFFA_AUTO(mffa_json_close_p) mffa_json *j = NULL;
    MFFA_AUTO(mffa_buf_done) mffa_buf b = {0};
    document d;
    assert_ok(mffa_json_parse(mffa_span_of(text), &j, &err));
    mffa_pack_json(&b, j);
    read_document(&d, &b);
    const msgpack_object *o = &d.u.data;
    assert_int_equal(member(o, "i")->via.i64, -5);
    assert_int_equal(member(o, "one")->type, MSGPACK_OBJECT_POSITIVE_INTEGER);
    assert_num(o, "f", 1);
    assert_int_equal(member(o, "t")->type, MSGPACK_OBJECT_BOOLEAN);
    assert_nil(o, "n");
    assert_int_equal(member(o, "a")->via.array.size, 2);
    msgpack_unpacked_destroy(&d.u);
}

/* A summary of an evaluate run with one known and one unknown figure. */
typedef struct example {
    mffa_figures figures;
    mffa_figure threshold;
    mffa_skipped skipped;
    mffa_timings timings;
    mffa_profile profile;
    mffa_provenance from;
    mffa_summary_scoring scoring;
    mffa_summary summary;
} example;

static void fill(example *e) {
    mffa_figure none = {.reason = "no defect has a mask"};
    *e = (example){.figures = {.images = 2,
                               .image_auroc = {true, .875, NULL},
                               .pixel_auroc = none,
                               .aupro = none,
                               .f1_max = {true, 1, NULL},
                               .f1_threshold = {true, 2, NULL},
                               .image_auprc = none,
                               .pixel_auprc = none,
                               .pixel_f1_max = none,
                               .pixel_f1_threshold = none},
                   .threshold = {true, 2, NULL},
                   .profile = {.name = "small", .side = 64}};
    e->scoring = (mffa_summary_scoring){.figures = &e->figures,
                                        .threshold = &e->threshold,
                                        .threshold_from = "f1_max",
                                        .model_url = "s3://m/x",
                                        .model_sha256 = "ab",
                                        .maps = "product",
                                        .images = 2,
                                        .heat_low = 1,
                                        .heat_high = 3};
    e->summary = (mffa_summary){.kind = "evaluate",
                                .job = "k4-1",
                                .nonce = "n",
                                .result = "s3://o/r",
                                .dataset = "s3://plant/<script>",
                                .dataset_sha256 = "cd",
                                .profile = &e->profile,
                                .from = &e->from,
                                .device = "cpu",
                                .precision = "fp32",
                                .skipped = &e->skipped,
                                .timings = &e->timings,
                                .scoring = &e->scoring};
}

static void an_unknown_figure_is_null_with_its_reason_in_the_summary(void **state) {
    (void)state;
    example e;
    fill(&e);
    MFFA_AUTO(mffa_json_close_p) mffa_json *j = mffa_summary_document(&e.summary);
    assert_float_equal(mffa_json_num(mffa_json_get(j, "image_auroc"), 0), .875, 0);
    assert_true(mffa_json_is_null(mffa_json_get(j, "pixel_auroc")));
    assert_string_equal(mffa_json_text(mffa_json_get(mffa_json_get(j, "reasons"), "pixel_auroc"), ""), "no defect has a mask");
    assert_null(mffa_json_get(mffa_json_get(j, "reasons"), "image_auroc"));
}

static void facts_are_the_headline_figures_and_the_packed_summary(void **state) {
    (void)state;
    mffa_err err = {0};
    example e;
    fill(&e);
    mffa_facts f = {0};
    assert_ok(mffa_summary_facts(&e.summary, mffa_span_of("packed"), &f, &err));
    MFFA_AUTO(mffa_buf_done) mffa_buf line = {0};
    for (size_t i = 0; i < f.texts.len; i++) mffa_buf_putf(&line, "%c", f.texts.ptr[i] ? f.texts.ptr[i] : ' ');
    assert_string_equal(mffa_buf_text(&line),
                        "images 2 image_auroc 0.875000 pixel_auroc none (no defect has a mask) aupro none (no defect has a mask) "
                        "f1_max 1.000000 seconds 0.000 ");
    assert_string_equal(mffa_buf_text(&f.summary), "packed");
    mffa_facts_done(&f);
    static char large[MFFA_RECORD_SUMMARY_BYTES + 1];
    mffa_facts g = {0};
    assert_ok(mffa_summary_facts(&e.summary, (mffa_span){large, sizeof large}, &g, &err));
    assert_int_equal(g.summary.len, 0);
    mffa_facts_done(&g);
}

static void the_report_escapes_what_people_named_and_sorts_by_score(void **state) {
    (void)state;
    mffa_err err = {0};
    example e;
    fill(&e);
    MFFA_AUTO(mffa_scores_done) mffa_scores s = two_pictures();
    MFFA_AUTO(mffa_buf_done) mffa_buf html = {0};
    s.threshold = e.threshold;
    s.items[1].heatmap = strdup("heatmaps/test/good/a b#1.png");
    assert_ok(mffa_skipped_add(&e.skipped, "test/good/\"bad\".png", "the file is empty", &err));
    assert_ok(mffa_report_write(&e.summary, &s, &html, &err));
    const char *page = mffa_buf_text(&html);
    assert_non_null(strstr(page, "s3://plant/&lt;script&gt;"));
    assert_null(strstr(page, "<script"));
    assert_null(strstr(page, "http"));
    assert_non_null(strstr(page, "src=\"heatmaps/test/good/a%20b%231.png\""));
    assert_non_null(strstr(page, "test/good/&quot;bad&quot;.png"));
    assert_non_null(strstr(page, "<b>0.8750</b>"));
    assert_non_null(strstr(page, "no defect has a mask"));
    const char *high = strstr(page, "test/crack/&lt;b&gt;.png"), *low = strstr(page, "test/good/a b#1.png</span>");
    assert_true(high && low && high < low);
    mffa_skipped_done(&e.skipped);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_hold_every_field_of_every_picture),
        cmocka_unit_test(without_a_threshold_decisions_are_nil_with_the_reason),
        cmocka_unit_test(json_packs_to_the_same_values),
        cmocka_unit_test(an_unknown_figure_is_null_with_its_reason_in_the_summary),
        cmocka_unit_test(facts_are_the_headline_figures_and_the_packed_summary),
        cmocka_unit_test(the_report_escapes_what_people_named_and_sorts_by_score),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
