#include "core/nn/safetensors.h"

#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include "tests/support/test.h"

static void write_ours(const char *path) {
    mffa_err err = {0};
    MFFA_AUTO(mffa_st_writer_close_p) mffa_st_writer *w = NULL;
    assert_ok(mffa_st_writer_open(path, &w, &err));
    mffa_st_writer_meta(w, "profile", "small");
    mffa_st_writer_meta(w, "note", "ünï \"quoted\"\n");
    assert_ok(mffa_st_writer_declare(w, "wide", MFFA_I64, 1, (int64_t[]){2}, &err));
    assert_ok(mffa_st_writer_declare(w, "f32", MFFA_F32, 2, (int64_t[]){2, 3}, &err));
    assert_ok(mffa_st_writer_declare(w, "scalar", MFFA_F32, 0, NULL, &err));
    assert_ok(mffa_st_writer_declare(w, "empty", MFFA_F32, 2, (int64_t[]){0, 3}, &err));
    assert_ok(mffa_st_writer_declare(w, "u8", MFFA_U8, 1, (int64_t[]){3}, &err));
    struct __attribute__((packed)) {
        int64_t wide[2];
        float f32[6], scalar;
        uint8_t u8[3];
    } all = {{-1, INT64_C(1) << 40}, {0, .5f, 1, 1.5f, 2, 2.5f}, 2.5f, {7, 8, 9}};
    const char *at = (const char *)&all;
    for (size_t done = 0; done < sizeof all; done += 5) { /* pieces that fit no tensor */
        size_t n = sizeof all - done < 5 ? sizeof all - done : 5;
        assert_ok(mffa_st_writer_put(w, at + done, n, &err));
    }
    assert_ok(mffa_st_writer_finish(w, &err));
}

static const char *temp_path(void) {
    static char path[64];
    snprintf(path, sizeof path, "/tmp/mffa-st-%d.safetensors", (int)getpid());
    return path;
}

static void reads_what_it_wrote(void **state) {
    (void)state;
    mffa_err err = {0};
    write_ours(temp_path());
    MFFA_AUTO(mffa_safetensors_close_p) mffa_safetensors *f = NULL;
    assert_ok(mffa_safetensors_open(temp_path(), &f, &err));
    unlink(temp_path());
    assert_int_equal(mffa_safetensors_count(f), 5);
    assert_string_equal(mffa_safetensors_meta(f, "note"), "ünï \"quoted\"\n");
    assert_null(mffa_safetensors_meta(f, "absent"));
    assert_string_equal(mffa_safetensors_at(f, 0)->name, "wide");
    assert_null(mffa_safetensors_at(f, 5));
    const mffa_st_tensor *t = mffa_safetensors_find(f, "f32");
    assert_non_null(t);
    assert_int_equal(t->dtype, MFFA_F32);
    assert_int_equal(t->rank, 2);
    assert_int_equal(t->shape[1], 3);
    assert_int_equal(t->count, 6);
    float v[6];
    assert_ok(mffa_safetensors_floats(t, v, &err));
    for (int i = 0; i < 6; i++) assert_true(v[i] == (float)i / 2);
    assert_int_equal(mffa_safetensors_find(f, "scalar")->count, 1);
    assert_int_equal(mffa_safetensors_find(f, "empty")->count, 0);
    assert_null(mffa_safetensors_find(f, "f3"));
    assert_int_equal(mffa_safetensors_floats(mffa_safetensors_find(f, "u8"), v, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "tensor \"u8\" is U8, expected F32, F16, BF16 or F64");
}

static void conversion_agrees(const mffa_safetensors *f, const char *name, const char *expected) {
    mffa_err err = {0};
    const mffa_st_tensor *t = mffa_safetensors_find(f, name), *e = mffa_safetensors_find(f, expected);
    assert_non_null(t);
    assert_non_null(e);
    assert_int_equal(t->count, e->count);
    MFFA_AUTO(mffa_free_p) float *got = mffa_alloc_array((size_t)t->count, sizeof *got);
    MFFA_AUTO(mffa_free_p) float *want = mffa_alloc_array((size_t)t->count, sizeof *want);
    assert_ok(mffa_safetensors_floats(t, got, &err));
    assert_ok(mffa_safetensors_floats(e, want, &err));
    assert_memory_equal(got, want, (size_t)t->count * sizeof *got); /* bits: -0 is not 0 */
}

static void reads_what_the_python_library_wrote(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_safetensors_close_p) mffa_safetensors *f = NULL;
    assert_ok(mffa_safetensors_open(MFFA_TEST_GOLDEN "/safetensors/python.safetensors", &f, &err));
    assert_int_equal(mffa_safetensors_count(f), 12);
    assert_string_equal(mffa_safetensors_meta(f, "profile"), "small");
    assert_string_equal(mffa_safetensors_meta(f, "note"), "ünï \"quoted\"");
    conversion_agrees(f, "f16", "f16.expected");
    conversion_agrees(f, "bf16", "bf16.expected");
    float v[24];
    assert_ok(mffa_safetensors_floats(mffa_safetensors_find(f, "f32"), v, &err));
    for (int i = 0; i < 24; i++) assert_true(v[i] == (float)i / 7);
    assert_ok(mffa_safetensors_floats(mffa_safetensors_find(f, "f64"), v, &err));
    for (int i = 0; i < 5; i++) assert_true(v[i] == (float)(i / 3.0));
    int64_t wide[4];
    assert_int_equal(mffa_safetensors_find(f, "i64")->bytes, sizeof wide);
    memcpy(wide, mffa_safetensors_find(f, "i64")->data, sizeof wide);
    assert_true(wide[0] == INT64_MIN && wide[3] == INT64_MAX);
    assert_int_equal(mffa_safetensors_find(f, "bool")->dtype, MFFA_BOOL);
    assert_int_equal(mffa_safetensors_find(f, "scalar")->rank, 0);
    assert_int_equal(mffa_safetensors_find(f, "empty")->shape[1], 3);
}

static void converts_every_half_precision_pattern(void **state) {
    (void)state;
    mffa_err err = {0};
    for (uint32_t h = 0; h < 65536; h++) {
        uint16_t bits = (uint16_t)h;
        int sign = h & 0x8000 ? -1 : 1, e16 = h >> 10 & 31, m16 = h & 1023, e8 = h >> 7 & 255, m7 = h & 127;
        double f16 = e16 == 31 ? (m16 ? NAN : INFINITY) : e16 ? ldexp(1024 + m16, e16 - 25) : ldexp(m16, -24);
        double bf16 = e8 == 255 ? (m7 ? NAN : INFINITY) : e8 ? ldexp(128 + m7, e8 - 134) : ldexp(m7, -133);
        float got[2];
        assert_ok(mffa_safetensors_floats(&(mffa_st_tensor){.dtype = MFFA_F16, .count = 1, .data = &bits, .bytes = 2}, &got[0], &err));
        assert_ok(mffa_safetensors_floats(&(mffa_st_tensor){.dtype = MFFA_BF16, .count = 1, .data = &bits, .bytes = 2}, &got[1], &err));
        assert_true(isnan(f16) ? isnan(got[0]) : got[0] == sign * f16);
        assert_true(isnan(bf16) ? isnan(got[1]) : got[1] == sign * bf16);
        assert_true(!signbit(got[0]) == (sign > 0) && !signbit(got[1]) == (sign > 0));
    }
}

/* A file in memory: the header's text and data_bytes zeros; length overrides the header's length when >= 0. */
static mffa_code open_text(const char *header, size_t data_bytes, int64_t length, mffa_err *err) {
    MFFA_AUTO(mffa_buf_done) mffa_buf b = {0};
    uint64_t n = length >= 0 ? (uint64_t)length : strlen(header);
    mffa_buf_put(&b, &n, sizeof n);
    mffa_buf_puts(&b, header);
    void *zeros = mffa_buf_extend(&b, data_bytes);
    memset(zeros, 0, data_bytes);
    MFFA_AUTO(mffa_safetensors_close_p) mffa_safetensors *f = NULL;
    mffa_code rc = mffa_safetensors_open_bytes(mffa_buf_span(&b), "x", &f, err);
    assert_true((rc == MFFA_OK) == (f != NULL));
    return rc;
}

static void refuses_a_header_that_lies(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data_bytes;
        int64_t length;
        const char *says;
    } cases[] = {
        {"{}", 0, 100, "its header claims 100 bytes, the file has 10: cut short, or not a safetensors file"},
        {"{}", 0, INT64_MAX, "its header claims 9223372036854775807 bytes"},
        {"not json", 0, -1, "its header: not valid JSON at line 1"},
        {"[]", 0, -1, "its header is not a JSON object"},
        {"{} {}", 0, -1, "not valid JSON"},
        {"{\"a\":1}", 0, -1, "member \"a\" of the header is not an object"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
         4, -1, "duplicate object key"},
        {"{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, -1, "tensor \"a\" has the unknown type \"F33\""},
        {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, -1, "tensor \"a\" has no shape"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, -1,
         "tensor \"a\": dimension 0 is not a whole number >= 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, -1,
         "tensor \"a\": dimension 0 is not a whole number >= 0"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, -1,
         "tensor \"a\" has 9 dimensions, at most 8 are read"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0, -1,
         "its shape has more bytes than any file"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[99999999999999999999],\"data_offsets\":[0,0]}}", 0, -1, "too big integer"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, -1, "data_offsets is not [begin, end]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, -1, "data_offsets is not [begin, end]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, -1, "data_offsets is not [begin, end]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, -1, "data_offsets is not [begin, end]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 4, -1,
         "tensor \"a\" ends at byte 8 of the data, the file has 4"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, -1,
         "tensor \"a\" takes 4 bytes in the file, its type and shape need 8"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}", 6,
         -1, "tensor \"b\" begins at byte 2 of the data, inside the tensor before it"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]},\"b\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[4,6]}}", 6,
         -1, "tensor \"b\" begins at byte 4 of the data, with unused bytes before it"},
        {"{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 5, -1, "3 bytes behind the last tensor belong to none"},
        {"{\"__metadata__\":{\"k\":1}}", 0, -1, "metadata \"k\" is not a text"},
        {"{\"__metadata__\":[]}", 0, -1, "member \"__metadata__\" of the header is not an object"},
        {"{\"a\\nb\":1}", 0, -1, "member \"a?b\" of the header"},
    };
    for (size_t i = 0; i < MFFA_COUNT(cases); i++) {
        mffa_err err = {0};
        assert_int_equal(open_text(cases[i].header, cases[i].data_bytes, cases[i].length, &err), MFFA_EINVAL);
        if (!strstr(err.msg, cases[i].says)) fail_msg("case %zu: \"%s\" does not say \"%s\"", i, err.msg, cases[i].says);
        assert_ptr_equal(strstr(err.msg, "\"x\": "), err.msg);
    }
    mffa_err err = {0};
    MFFA_AUTO(mffa_safetensors_close_p) mffa_safetensors *f = NULL;
    assert_int_equal(mffa_safetensors_open_bytes((mffa_span){"1234567", 7}, "x", &f, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "\"x\": not a safetensors file: only 7 bytes");
    assert_ok(open_text("{}   ", 0, -1, &err)); /* no tensor at all is a file too */
}

static void refuses_a_header_too_long_to_read(void **state) {
    (void)state;
    const size_t size = (17 << 20) + 8;
    MFFA_AUTO(mffa_free_p) char *bytes = mffa_alloc_array(size, 1);
    uint64_t length = 17 << 20;
    memcpy(bytes, &length, sizeof length);
    memset(bytes + 8, ' ', size - 8);
    mffa_err err = {0};
    mffa_safetensors *f = NULL;
    assert_int_equal(mffa_safetensors_open_bytes((mffa_span){bytes, size}, "x", &f, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "\"x\": its header has 17825792 bytes, at most 16777216 are read");
}

static void names_a_file_that_cannot_be_opened(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_safetensors *f = NULL;
    assert_int_equal(mffa_safetensors_open("/nonexistent/x.safetensors", &f, &err), MFFA_ENOTFOUND);
    assert_string_equal(err.msg, "could not open \"/nonexistent/x.safetensors\": No such file or directory");
    assert_int_equal(mffa_safetensors_open("/tmp", &f, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "\"/tmp\" is not a regular file");
    assert_int_equal(close(creat(temp_path(), 0600)), 0);
    assert_int_equal(mffa_safetensors_open(temp_path(), &f, &err), MFFA_EINVAL);
    assert_non_null(strstr(err.msg, "the file is empty"));
    unlink(temp_path());
    assert_null(f);
}

static void a_writer_refuses_what_would_not_open(void **state) {
    (void)state;
    mffa_err err = {0};
    const int64_t one[] = {1}, three[] = {3}, minus[] = {-1}, huge[] = {INT64_MAX, 2};
    {
        MFFA_AUTO(mffa_st_writer_close_p) mffa_st_writer *w = NULL;
        assert_ok(mffa_st_writer_open(temp_path(), &w, &err));
        assert_ok(mffa_st_writer_declare(w, "a", MFFA_U8, 1, three, &err));
        assert_int_equal(mffa_st_writer_declare(w, "a", MFFA_U8, 1, three, &err), MFFA_EINVAL);
        assert_int_equal(mffa_st_writer_declare(w, "__metadata__", MFFA_U8, 1, three, &err), MFFA_EINVAL);
        assert_int_equal(mffa_st_writer_declare(w, "b", MFFA_U8, 1, minus, &err), MFFA_EINVAL);
        assert_int_equal(mffa_st_writer_declare(w, "b", MFFA_F32, 2, huge, &err), MFFA_EINVAL);
        assert_int_equal(mffa_st_writer_declare(w, "b", MFFA_F32, 1, one, &err), MFFA_EINVAL);
        assert_non_null(strstr(err.msg, "tensor \"b\" would begin at byte 3, no multiple of 4: declare wider types first"));
        assert_int_equal(mffa_st_writer_declare(w, "\xff", MFFA_U8, 1, one, &err), MFFA_EINVAL);
        assert_int_equal(mffa_st_writer_finish(w, &err), MFFA_EBUG); /* 3 bytes missing */
        assert_int_equal(mffa_st_writer_put(w, "1234", 4, &err), MFFA_EBUG);
        assert_int_equal(mffa_st_writer_put(w, "123", 3, &err), MFFA_EBUG); /* sticky */
    }
    MFFA_AUTO(mffa_st_writer_close_p) mffa_st_writer *w = NULL;
    assert_int_equal(mffa_st_writer_open("/nonexistent/x", &w, &err), MFFA_ENOTFOUND);
    unlink(temp_path());
}

static void a_full_disk_is_told(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_st_writer_close_p) mffa_st_writer *w = NULL;
    if (access("/dev/full", W_OK)) skip();
    assert_ok(mffa_st_writer_open("/dev/full", &w, &err));
    assert_ok(mffa_st_writer_declare(w, "a", MFFA_U8, 1, (int64_t[]){1}, &err));
    mffa_code rc = mffa_st_writer_put(w, "1", 1, &err);
    if (!rc) rc = mffa_st_writer_finish(w, &err);
    assert_int_equal(rc, MFFA_ENOSPC);
    assert_string_equal(err.msg, "could not write \"/dev/full\": No space left on device");
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--write") == 0) return write_ours(argv[2]), 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_it_wrote),
        cmocka_unit_test(reads_what_the_python_library_wrote),
        cmocka_unit_test(converts_every_half_precision_pattern),
        cmocka_unit_test(refuses_a_header_that_lies),
        cmocka_unit_test(refuses_a_header_too_long_to_read),
        cmocka_unit_test(names_a_file_that_cannot_be_opened),
        cmocka_unit_test(a_writer_refuses_what_would_not_open),
        cmocka_unit_test(a_full_disk_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
