#include "core/nn/pth.h"

#include "core/nn/pickle.h"
#include "core/nn/zip.h"
#include "tests/support/test.h"

/* Files and expected.safetensors: tests/golden/make_pth.py, with PyTorch and Hugging Face's safetensors. */
static void golden(char out[512], const char *name) { snprintf(out, 512, "%s/pth/%s", MFFA_TEST_GOLDEN, name); }

static void read_golden(const char *name, mffa_buf *out) {
    char path[512];
    mffa_err err = {0};
    golden(path, name);
    assert_ok(mffa_buf_read_file(out, path, 1 << 20, &err));
}

static mffa_safetensors *expected(void) {
    char path[512];
    mffa_safetensors *f = NULL;
    mffa_err err = {0};
    golden(path, "expected.safetensors");
    assert_ok(mffa_safetensors_open(path, &f, &err));
    return f;
}

static void assert_same_tensor(const mffa_pth_tensor *t, const mffa_st_tensor *want) {
    assert_non_null(t);
    if (t->dtype != want->dtype || t->rank != want->rank || t->count != want->count)
        fail_msg("\"%s\": %s, %d dimensions, expected %s, %d", t->name, mffa_dtype_name(t->dtype), t->rank, mffa_dtype_name(want->dtype),
                 want->rank);
    for (int i = 0; i < t->rank; i++) assert_int_equal(t->shape[i], want->shape[i]);
    char got[4096];
    assert_true(want->bytes <= sizeof got);
    mffa_pth_read(t, 0, t->count, got);
    if (want->bytes) assert_memory_equal(got, want->data, want->bytes);
}

static void every_format_gives_the_tensors_that_torch_saved(void **state) {
    (void)state;
    static const char *const files[] = {"zip.pth", "plain.pth", "nested.pth", "nested_plain.pth", "protocol4.pth", "deflated.pth"};
    MFFA_AUTO(mffa_safetensors_close_p) mffa_safetensors *want = expected();
    for (size_t k = 0; k < MFFA_COUNT(files); k++) {
        char path[512];
        MFFA_AUTO(mffa_pth_close_p) mffa_pth *f = NULL;
        mffa_err err = {0};
        golden(path, files[k]);
        assert_ok(mffa_pth_open(path, &f, &err));
        assert_int_equal(mffa_pth_count(f), mffa_safetensors_count(want));
        for (size_t i = 0; i < mffa_safetensors_count(want); i++) {
            const mffa_st_tensor *t = mffa_safetensors_at(want, i);
            assert_same_tensor(mffa_pth_find(f, t->name), t);
        }
        assert_string_equal(mffa_pth_at(f, 0)->name, "conv1.weight"); /* the dictionary's order */
        assert_null(mffa_pth_at(f, mffa_pth_count(f)));
        assert_null(mffa_pth_find(f, "absent"));
    }
}

static void a_part_of_a_strided_tensor_can_be_read(void **state) {
    (void)state;
    char path[512];
    MFFA_AUTO(mffa_pth_close_p) mffa_pth *f = NULL;
    mffa_err err = {0};
    golden(path, "zip.pth");
    assert_ok(mffa_pth_open(path, &f, &err));
    const mffa_pth_tensor *base = mffa_pth_find(f, "shared"), *turned = mffa_pth_find(f, "transposed"); /* [4, 6] and [6, 4] */
    float all[24], part[5];
    mffa_pth_read(base, 0, 24, all);
    mffa_pth_read(turned, 7, 5, part); /* row-major elements 7..11 of the transposed: (1,3), (2,0)...(2,3) */
    static const int at[5] = {3 * 6 + 1, 0 * 6 + 2, 1 * 6 + 2, 2 * 6 + 2, 3 * 6 + 2};
    for (int i = 0; i < 5; i++) assert_true(part[i] == all[at[i]]);
}

static void conversion_keeps_names_types_shapes_and_bytes(void **state) {
    (void)state;
    char path[512], out[] = "/tmp/mffa-pth-XXXXXX";
    int fd = mkstemp(out);
    assert_true(fd >= 0);
    close(fd);
    MFFA_AUTO(mffa_pth_close_p) mffa_pth *f = NULL;
    MFFA_AUTO(mffa_safetensors_close_p) mffa_safetensors *made = NULL;
    MFFA_AUTO(mffa_safetensors_close_p) mffa_safetensors *want = expected();
    mffa_err err = {0};
    golden(path, "plain.pth");
    assert_ok(mffa_pth_open(path, &f, &err));
    assert_ok(mffa_pth_convert(f, out, &err));
    assert_ok(mffa_safetensors_open(out, &made, &err));
    assert_int_equal(mffa_safetensors_count(made), mffa_safetensors_count(want));
    for (size_t i = 0; i < mffa_safetensors_count(want); i++) {
        const mffa_st_tensor *a = mffa_safetensors_at(want, i), *b = mffa_safetensors_find(made, a->name);
        assert_non_null(b);
        assert_int_equal(a->dtype, b->dtype);
        assert_int_equal(a->rank, b->rank);
        assert_memory_equal(a->shape, b->shape, (size_t)a->rank * sizeof a->shape[0]);
        assert_int_equal(a->bytes, b->bytes);
        if (a->bytes) assert_memory_equal(a->data, b->data, a->bytes);
    }
    unlink(out);
}

static void refused(const char *name, const char *reason) {
    char path[512];
    MFFA_AUTO(mffa_pth_close_p) mffa_pth *f = NULL;
    mffa_err err = {0};
    golden(path, name);
    assert_int_equal(mffa_pth_open(path, &f, &err), MFFA_EINVAL);
    assert_null(f);
    if (!strstr(err.msg, reason) || !strstr(err.msg, name)) fail_msg("\"%s\" does not say \"%s\" about \"%s\"", err.msg, reason, name);
}

static void code_in_a_pickle_is_refused_by_name_and_not_run(void **state) {
    (void)state;
    refused("hostile.pth", "\"posix.system\" is refused: a file of tensors does not need it (nothing was executed)");
    refused("hostile_plain.pth", "\"posix.system\" is refused");
    refused("hostile_text.pth", "\"os.system\" is refused");
    refused("instance.pth", "instruction 0x53 is refused");
    assert_int_not_equal(access("was-executed", F_OK), 0);
}

static void files_without_the_expected_content_say_what_is_wrong(void **state) {
    (void)state;
    refused("lacks_storage.pth", "lacks its entry \"archive/data/0\"");
    refused("list.pth", "it holds something other than a dictionary of tensors");
    refused("none.pth", "there are no tensors in it");
    refused("expected.safetensors", "not a PyTorch checkpoint");
    MFFA_AUTO(mffa_pth_close_p) mffa_pth *f = NULL;
    mffa_err err = {0};
    assert_int_equal(mffa_pth_open("/nowhere.pth", &f, &err), MFFA_ENOTFOUND);
    assert_string_equal(err.msg, "cannot open \"/nowhere.pth\": No such file or directory");
    assert_int_equal(mffa_pth_open("/tmp", &f, &err), MFFA_EINVAL);
}

static void a_file_cut_anywhere_is_refused(void **state) {
    (void)state;
    static const char *const files[] = {"zip.pth", "plain.pth", "deflated.pth"};
    for (size_t k = 0; k < MFFA_COUNT(files); k++) {
        MFFA_AUTO(mffa_buf_done) mffa_buf whole = {0};
        read_golden(files[k], &whole);
        for (size_t n = 0; n < whole.len; n++) {
            MFFA_AUTO(mffa_free_p) void *cut = mffa_alloc_array(n, 1); /* of that size, so that a read beyond is seen */
            assert_non_null(cut);
            memcpy(cut, whole.ptr, n);
            mffa_pth *f = NULL;
            mffa_err err = {0};
            assert_int_equal(mffa_pth_open_bytes((mffa_span){cut, n}, files[k], &f, &err), MFFA_EINVAL);
        }
    }
}

/* Whatever one changed byte does, the file is refused or holds tensors that can be read. */
static void a_changed_byte_never_leads_outside_the_file(void **state) {
    (void)state;
    static const char *const files[] = {"zip.pth", "plain.pth", "deflated.pth", "protocol4.pth"};
    static const unsigned char masks[] = {0x01, 0x80, 0xFF};
    int accepted = 0, dropped = 0;
    for (size_t k = 0; k < MFFA_COUNT(files); k++) {
        MFFA_AUTO(mffa_buf_done) mffa_buf b = {0};
        read_golden(files[k], &b);
        for (size_t i = 0; i < 3 * b.len; i++) {
            b.ptr[i / 3] = (char)(b.ptr[i / 3] ^ masks[i % 3]);
            MFFA_AUTO(mffa_pth_close_p) mffa_pth *f = NULL;
            mffa_err err = {0};
            if (mffa_pth_open_bytes(mffa_buf_span(&b), files[k], &f, &err)) dropped++;
            for (size_t t = 0; f && t < mffa_pth_count(f); t++) {
                char out[8192];
                const mffa_pth_tensor *one = mffa_pth_at(f, t);
                assert_true(one->count <= 1000);
                mffa_pth_read(one, 0, one->count, out);
                accepted++;
            }
            b.ptr[i / 3] = (char)(b.ptr[i / 3] ^ masks[i % 3]);
        }
    }
    assert_true(accepted > 0 && dropped > 0);
}

/* ---- the pickle machine alone ---- */

static mffa_code read_pickle(const char *bytes, size_t len, mffa_pickle **out, mffa_err *err) {
    static const char *const globals[] = {"torch.FloatStorage", NULL};
    return mffa_pickle_read((mffa_span){bytes, len}, globals, "p", NULL, out, err);
}
#define PICKLE(text, out, err) read_pickle(text, sizeof text - 1, out, err)

static void values_come_out_as_python_wrote_them(void **state) {
    (void)state;
    MFFA_AUTO(mffa_pickle_close_p) mffa_pickle *p = NULL;
    mffa_err err = {0};
    assert_ok(PICKLE("\x80\x02]q\x00(K\xffM\x00\x80J\xfe\xff\xff\xff\x8a\x01\xff\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80\x8a\x00"
                     "G?\xe0\x00\x00\x00\x00\x00\x00\x88NX\x02\x00\x00\x00xyh\x00)e.",
                     &p, &err));
    const mffa_pickle_value *list = mffa_pickle_root(p);
    assert_int_equal(list->n, 12);
    static const int64_t numbers[] = {255, 32768, -2, -1, INT64_MIN, 0};
    for (size_t i = 0; i < MFFA_COUNT(numbers); i++) assert_true(mffa_pickle_int(mffa_pickle_item(list, i), 42) == numbers[i]);
    assert_true(list->items[6]->kind == MFFA_PICKLE_REAL && list->items[6]->real == 0.5);
    assert_true(list->items[7]->kind == MFFA_PICKLE_BOOL && list->items[7]->num == 1);
    assert_int_equal(list->items[8]->kind, MFFA_PICKLE_NONE);

    assert_true(mffa_pickle_is_text(list->items[9], "xy"));
    assert_ptr_equal(list->items[10], list);
    assert_true(list->items[11]->kind == MFFA_PICKLE_TUPLE && list->items[11]->n == 0);
}

static void refuses(const char *bytes, size_t len, const char *reason) {
    MFFA_AUTO(mffa_pickle_close_p) mffa_pickle *p = NULL;
    mffa_err err = {0};
    assert_int_equal(read_pickle(bytes, len, &p, &err), MFFA_EINVAL);
    assert_null(p);
    if (!strstr(err.msg, reason)) fail_msg("\"%s\" does not say \"%s\"", err.msg, reason);
}
#define REFUSES(text, reason) refuses(text, sizeof text - 1, reason)

static void malformed_pickles_are_refused(void **state) {
    (void)state;
    REFUSES("", "it ends in the middle");
    REFUSES("\x80\x06N.", "a newer protocol than 5");
    REFUSES(".", "0 values are left at its end, not one");
    REFUSES("NN.", "2 values are left at its end, not one");
    REFUSES("(N.", "at its end");
    REFUSES("t.", "there is no mark");
    REFUSES("N\x86.", "the stack is empty");
    REFUSES("N(\x85.", "the stack is empty"); /* not from below a mark */
    REFUSES("(Nd.", "a dictionary has a key without a value");
    REFUSES("NNa.", "items for what is no list");
    REFUSES("NNNs.", "items for what is no dictionary");
    REFUSES("h\x05.", "memo 5 was never written");
    REFUSES("Nr\xff\xff\xff\x7f.", "memo 2147483647 is beyond what this pickle can hold");
    REFUSES("X\xff\xff\xff\xff.", "it ends in the middle");
    REFUSES("\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "it ends in the middle");
    REFUSES("\x8a\x09" "123456789.", "an integer of 9 bytes");
    REFUSES("ctorch\nFloatStorage", "a name does not end");
    REFUSES("ctorch\nFloatStorage\nNb.", "attributes for what is no dictionary");
    REFUSES("N)R.", "a call of something that is no function");
    REFUSES("cbuiltins\neval\n.", "\"builtins.eval\" is refused");
    REFUSES("\x8c\x08" "builtins\x8c\x04" "eval\x93.", "\"builtins.eval\" is refused");
    REFUSES("NN\x93.", "a global's name is not a text");
    REFUSES("ccollections\nOrderedDict\n(]Natq\x00" "\x85R.", "is made of something other than pairs");
    REFUSES("N0.", "instruction 0x30 is refused");
}

static void a_list_copied_again_and_again_ends_early(void **state) {
    (void)state;
    /* pairs of 1000 entries, made into a dictionary 1000 times */
    MFFA_AUTO(mffa_buf_done) mffa_buf b = {0};
    mffa_buf_puts(&b, "](");
    for (int i = 0; i < 1000; i++) mffa_buf_puts(&b, "NN\x86");
    mffa_buf_put(&b, "eq\0", 3);
    for (int i = 0; i < 1000; i++) mffa_buf_put(&b, "ccollections\nOrderedDict\nh\0\x85R", 29);
    refuses(b.ptr, b.len, "it holds more values than its size allows");
}

static void a_list_may_hold_itself(void **state) {
    (void)state;
    MFFA_AUTO(mffa_pickle_close_p) mffa_pickle *p = NULL;
    mffa_err err = {0};
    assert_ok(PICKLE("]q\x00h\x00" "a.", &p, &err));
    assert_ptr_equal(mffa_pickle_item(mffa_pickle_root(p), 0), mffa_pickle_root(p));
}

static void pairs_of_python_2_make_a_dictionary(void **state) {
    (void)state;
    MFFA_AUTO(mffa_pickle_close_p) mffa_pickle *p = NULL;
    mffa_err err = {0};
    assert_ok(PICKLE("ccollections\nOrderedDict\n](](U\x01" "aK\x01" "e](U\x01" "bK\x02" "ee\x85R.", &p, &err));
    assert_int_equal(mffa_pickle_int(mffa_pickle_find(mffa_pickle_root(p), "b"), 0), 2);
    assert_null(mffa_pickle_find(mffa_pickle_root(p), "c"));
    assert_null(mffa_pickle_find(NULL, "c"));
}

/* ---- the zip reader alone ---- */

static void zip_entries_are_listed_and_read(void **state) {
    (void)state;
    MFFA_AUTO(mffa_buf_done) mffa_buf b = {0};
    read_golden("deflated.pth", &b);
    MFFA_AUTO(mffa_zip_close_p) mffa_zip *z = NULL;
    mffa_err err = {0};
    assert_ok(mffa_zip_open(mffa_buf_span(&b), "d", &z, &err));
    mffa_span content, again;
    assert_ok(mffa_zip_get(z, "archive/version", 16, &content, &err));
    assert_true(mffa_span_is(content, "3\n"));
    assert_ok(mffa_zip_get(z, "archive/version", 16, &again, &err));
    assert_ptr_equal(content.ptr, again.ptr); /* unpacked once */
    assert_int_equal(mffa_zip_get(z, "archive/version", 1, &content, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "\"d\": entry \"archive/version\" has 2 bytes, the limit is 1");
    assert_int_equal(mffa_zip_get(z, "archive/none", 16, &content, &err), MFFA_ENOTFOUND);
    assert_true(mffa_zip_count(z) > 3);
    for (size_t i = 1; i < mffa_zip_count(z); i++) assert_true(strcmp(mffa_zip_name(z, i - 1), mffa_zip_name(z, i)) < 0);
    assert_null(mffa_zip_name(z, mffa_zip_count(z)));
}

static void a_damaged_entry_is_named(void **state) {
    (void)state;
    MFFA_AUTO(mffa_buf_done) mffa_buf b = {0};
    read_golden("zip.pth", &b);
    char *version = memmem(b.ptr, b.len, "3\n", 2);
    assert_non_null(version);
    *version = '4';
    MFFA_AUTO(mffa_zip_close_p) mffa_zip *z = NULL;
    mffa_err err = {0};
    assert_ok(mffa_zip_open(mffa_buf_span(&b), "d", &z, &err));
    mffa_span content;
    int bad = 0;
    for (size_t i = 0; i < mffa_zip_count(z); i++) bad += mffa_zip_get(z, mffa_zip_name(z, i), 1 << 20, &content, &err) == MFFA_EINVAL;
    assert_int_equal(bad, 1);
    assert_non_null(strstr(err.msg, "is damaged: its checksum does not match"));
}

/* For tests/golden/check_checkpoints.py. */
static int convert(const char *from, const char *to) {
    MFFA_AUTO(mffa_pth_close_p) mffa_pth *f = NULL;
    mffa_err err = {0};
    mffa_code rc = mffa_pth_open(from, &f, &err);
    if (!rc) rc = mffa_pth_convert(f, to, &err);
    if (rc) fprintf(stderr, "%s\n", err.msg);
    return rc ? 1 : 0;
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "--convert") == 0) return convert(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_gives_the_tensors_that_torch_saved),
        cmocka_unit_test(a_part_of_a_strided_tensor_can_be_read),
        cmocka_unit_test(conversion_keeps_names_types_shapes_and_bytes),
        cmocka_unit_test(code_in_a_pickle_is_refused_by_name_and_not_run),
        cmocka_unit_test(files_without_the_expected_content_say_what_is_wrong),
        cmocka_unit_test(a_file_cut_anywhere_is_refused),
        cmocka_unit_test(a_changed_byte_never_leads_outside_the_file),
        cmocka_unit_test(values_come_out_as_python_wrote_them),
        cmocka_unit_test(malformed_pickles_are_refused),
        cmocka_unit_test(a_list_copied_again_and_again_ends_early),
        cmocka_unit_test(a_list_may_hold_itself),
        cmocka_unit_test(pairs_of_python_2_make_a_dictionary),
        cmocka_unit_test(zip_entries_are_listed_and_read),
        cmocka_unit_test(a_damaged_entry_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
