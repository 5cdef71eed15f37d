#include "storage/xml.h"

#include "tests/support/test.h"

static mffa_code write_down(void *ctx, const char *path, const char *text, mffa_err *err) {
    mffa_buf_putf(ctx, "%s=%s;", path, text);
    return mffa_buf_check(ctx, err);
}

static void elements_come_with_their_path_and_text(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    const char *document = "<?xml version=\"1.0\"?>\n<a xmlns=\"http://x/\"><b><c>1 &lt;&#65;&gt;</c><c/></b><d>\xC3\xA9</d></a>";
    assert_ok(mffa_xml_read(mffa_span_of(document), write_down, &got, &err));
    assert_string_equal(mffa_buf_text(&got), "a/b/c=1 <A>;a/b/c=;a/b=;a/d=\xC3\xA9;a=;");
}

static void refuse(const char *document, const char *text) {
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    assert_int_equal(mffa_xml_read(mffa_span_of(document), write_down, &got, &err), MFFA_EIO);
    assert_non_null(strstr(err.msg, text));
}

static void what_s3_never_sends_is_refused(void **state) {
    (void)state;
    MFFA_AUTO(mffa_buf_done) mffa_buf deep = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf lengthy = {0};
    for (int i = 0; i < 100; i++) mffa_buf_puts(&deep, "<a>");
    mffa_buf_puts(&lengthy, "<a>");
    for (int i = 0; i < 70000; i++) mffa_buf_puts(&lengthy, "x");
    refuse("", "is not well-formed: no element found");
    refuse("<a><b></a>", "is not well-formed: mismatched tag");
    refuse("<html><br></html>", "is not well-formed");
    refuse("<!DOCTYPE a [<!ENTITY b \"bbbb\"><!ENTITY c \"&b;&b;\">]><a>&c;</a>", "has a document type, which S3 never sends");
    refuse(mffa_buf_text(&deep), "is nested too deep");
    refuse(mffa_buf_text(&lengthy), "has too long a text");
}

static mffa_code fail_at_c(void *ctx, const char *path, const char *text, mffa_err *err) {
    (void)ctx, (void)text;
    return strcmp(path, "a/c") == 0 ? mffa_fail(err, MFFA_ECANCELLED, "enough") : MFFA_OK;
}

static void the_callbacks_failure_ends_the_reading(void **state) {
    (void)state;
    mffa_err err = {0};
    assert_int_equal(mffa_xml_read(mffa_span_of("<a><b/><c/><d></a>"), fail_at_c, NULL, &err), MFFA_ECANCELLED);
    assert_string_equal(err.msg, "enough");
}

static void quoted_text_is_read_back(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf document = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    mffa_buf_puts(&document, "<a>");
    mffa_xml_quote(&document, "<&>\"'\r\n]]>");
    mffa_buf_puts(&document, "</a>");
    assert_ok(mffa_xml_read(mffa_buf_span(&document), write_down, &got, &err));
    assert_string_equal(mffa_buf_text(&got), "a=<&>\"'\r\n]]>;");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(elements_come_with_their_path_and_text),
        cmocka_unit_test(what_s3_never_sends_is_refused),
        cmocka_unit_test(the_callbacks_failure_ends_the_reading),
        cmocka_unit_test(quoted_text_is_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
