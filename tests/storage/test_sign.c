/* Against the signatures that AWS publishes: the examples of the S3 API reference ("Signature Calculations for the Authorization Header",
 * "Authenticating Requests: Using Query Parameters") and cases of the Signature Version 4 test suite. */
#include "storage/sign.h"

#include "tests/support/test.h"

#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static const mffa_signer s3 = {.key_id = "AKIAIOSFODNN7EXAMPLE",
                               .secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                               .region = "us-east-1",
                               .service = "s3",
                               .time_s = 1369353600};
static const mffa_signer suite = {.key_id = "AKIDEXAMPLE",
                                  .secret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                                  .region = "us-east-1",
                                  .service = "service",
                                  .time_s = 1440938160};

typedef struct vector {
    const char *method, *path, *query, *headers, *payload, *names, *signature;
} vector;

static void expect(const mffa_signer *s, const vector *v) {
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    char want[512], time[MFFA_SIGN_TIME];
    mffa_sign_time(s->time_s, time);
    assert_ok(mffa_sign_headers(s, v->method, v->path, v->query, v->headers, v->payload, &got, &err));
    snprintf(want, sizeof want, "AWS4-HMAC-SHA256 Credential=%s/%.8s/us-east-1/%s/aws4_request, SignedHeaders=%s, Signature=%s", s->key_id,
             time, s->service, v->names, v->signature);
    assert_string_equal(mffa_buf_text(&got), want);
}

static void signs_the_examples_of_the_s3_reference(void **state) {
    (void)state;
#define HOST "host: examplebucket.s3.amazonaws.com\n"
#define REST "x-amz-content-sha256: " EMPTY "\nx-amz-date: 20130524T000000Z\n"
    const vector examples[] = {
        {"GET", "/test.txt", "", HOST "range: bytes=0-9\n" REST, EMPTY, "host;range;x-amz-content-sha256;x-amz-date",
         "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
        {"PUT", "/test%24file.text", "",
         "Date: Fri, 24 May 2013 00:00:00 GMT\n" HOST "x-amz-date: 20130524T000000Z\nx-amz-storage-class: REDUCED_REDUNDANCY\n"
         "x-amz-content-sha256: 44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072\n",
         "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
         "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
         "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
        {"GET", "/", "lifecycle", HOST REST, EMPTY, "host;x-amz-content-sha256;x-amz-date",
         "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
        {"GET", "/", "prefix=J&max-keys=2", HOST REST, EMPTY, "host;x-amz-content-sha256;x-amz-date",
         "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
    };
    for (size_t i = 0; i < MFFA_COUNT(examples); i++) expect(&s3, &examples[i]);
}

static void signs_the_cases_of_the_test_suite(void **state) {
    (void)state;
#define BASE "Host:example.amazonaws.com\nX-Amz-Date:20150830T123600Z\n"
    const vector cases[] = {
        {"GET", "/", "", BASE, EMPTY, "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
        {"POST", "/", "", BASE, EMPTY, "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
        {"GET", "/", "Param2=value2&Param1=value1", BASE, EMPTY, "host;x-amz-date",
         "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
        {"GET", "/", "", "Host:example.amazonaws.com\nMy-Header1: value1\nMy-Header2: \"a   b   c\"\nX-Amz-Date:20150830T123600Z\n", EMPTY,
         "host;my-header1;my-header2;x-amz-date", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
        {"GET", "/\xE1\x88\xB4", "", BASE, EMPTY, "host;x-amz-date", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
        {"GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", "", BASE, EMPTY, "host;x-amz-date",
         "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
    };
    for (size_t i = 0; i < MFFA_COUNT(cases); i++) expect(&suite, &cases[i]);
}

static void presigns_the_example_of_the_s3_reference(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    assert_ok(mffa_sign_url(&s3, "GET", "examplebucket.s3.amazonaws.com", "/test.txt", "", 86400, &got, &err));
    assert_string_equal(mffa_buf_text(&got),
                        "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request"
                        "&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
                        "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404");
    assert_int_equal(mffa_sign_url(&s3, "GET", "h", "/", "", 604801, &got, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "a presigned URL is valid for 1 to 604800 seconds, not 604801");
}

static void a_session_token_stands_in_the_presigned_query(void **state) {
    (void)state;
    mffa_err err = {0};
    mffa_signer s = s3;
    s.token = "a/b+c==";
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    assert_ok(mffa_sign_url(&s, "GET", "h", "/x", "response-content-type=text%2Fplain", 60, &got, &err));
    assert_ptr_equal(strstr(mffa_buf_text(&got), "response-content-type=text%2Fplain&X-Amz-Algorithm="), mffa_buf_text(&got));
    assert_non_null(strstr(mffa_buf_text(&got), "&X-Amz-Security-Token=a%2Fb%2Bc%3D%3D&X-Amz-SignedHeaders=host&X-Amz-Signature="));
}

static void encodes_what_a_key_may_hold(void **state) {
    (void)state;
    const struct { const char *key, *path, *field; } keys[] = {
        {"a b/c+d", "a%20b/c%2Bd", "a%20b%2Fc%2Bd"},
        {"k=v&x?#", "k%3Dv%26x%3F%23", "k%3Dv%26x%3F%23"},
        {"100%(1)'\"*!", "100%25%281%29%27%22%2A%21", "100%25%281%29%27%22%2A%21"},
        {"x//y", "x//y", "x%2F%2Fy"},
        {"\xC3\xA9~_-.", "%C3%A9~_-.", "%C3%A9~_-."},
        {"%2B", "%252B", "%252B"},
    };
    for (size_t i = 0; i < MFFA_COUNT(keys); i++) {
        MFFA_AUTO(mffa_buf_done) mffa_buf path = {0};
        MFFA_AUTO(mffa_buf_done) mffa_buf field = {0};
        mffa_sign_encode(&path, keys[i].key, true);
        mffa_sign_encode(&field, keys[i].key, false);
        assert_string_equal(mffa_buf_text(&path), keys[i].path);
        assert_string_equal(mffa_buf_text(&field), keys[i].field);
    }
}

/* The same request, written in ways that mean the same to a server, has one signature. */
static void the_way_of_writing_does_not_change_the_signature(void **state) {
    (void)state;
    const struct { const char *path, *query, *headers; } ways[] = {
        {"/a%20b%2Bc", "uploads", "host: h\nx-amz-date: 1\n"},
        {"/a%20b%2bc", "uploads=", "Host:h\r\nX-Amz-Date:  1 \n"},
        {"/a b+c", "uploads", "x-amz-date: 1\nhost: h"},
    };
    MFFA_AUTO(mffa_buf_done) mffa_buf first = {0};
    for (size_t i = 0; i < MFFA_COUNT(ways); i++) {
        mffa_err err = {0};
        MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
        assert_ok(mffa_sign_headers(&s3, "POST", ways[i].path, ways[i].query, ways[i].headers, EMPTY, &got, &err));
        if (i == 0) mffa_buf_puts(&first, got.ptr);
        assert_string_equal(mffa_buf_text(&got), first.ptr);
    }
}

static void what_cannot_be_signed_is_refused(void **state) {
    (void)state;
    mffa_err err = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf got = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf query = {0};
    for (int i = 0; i <= MFFA_SIGN_QUERY_MAX; i++) mffa_buf_putf(&query, "&a%d=1" + !i, i);
    assert_int_equal(mffa_sign_headers(&s3, "GET", "/", "", "no colon\n", EMPTY, &got, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "header line 1 has no name and colon");
    assert_int_equal(mffa_sign_headers(&s3, "GET", "/", mffa_buf_text(&query), "host: h\n", EMPTY, &got, &err), MFFA_EINVAL);
    assert_string_equal(err.msg, "cannot sign a query of more than 48 fields");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(signs_the_examples_of_the_s3_reference),
        cmocka_unit_test(signs_the_cases_of_the_test_suite),
        cmocka_unit_test(presigns_the_example_of_the_s3_reference),
        cmocka_unit_test(a_session_token_stands_in_the_presigned_query),
        cmocka_unit_test(encodes_what_a_key_may_hold),
        cmocka_unit_test(the_way_of_writing_does_not_change_the_signature),
        cmocka_unit_test(what_cannot_be_signed_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
