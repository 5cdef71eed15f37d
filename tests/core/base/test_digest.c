#include "core/base/digest.h"

#include "tests/support/test.h"

/* FIPS 180-2, appendix B, and NIST's published values for the empty message and a million times "a". */
#define EMPTY   "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define ABC     "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define TWO     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
#define MILLION "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"

static void published_values_come_out(void **state) {
    (void)state;
    char hex[MFFA_SHA256_HEX];
    mffa_err err = {0};
    assert_ok(mffa_sha256_of(mffa_span_of(""), hex, &err));
    assert_string_equal(hex, EMPTY);
    assert_ok(mffa_sha256_of(mffa_span_of("abc"), hex, &err));
    assert_string_equal(hex, ABC);
    assert_ok(mffa_sha256_of(mffa_span_of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"), hex, &err));
    assert_string_equal(hex, TWO);
}

static void pieces_of_any_size_give_the_same_hash(void **state) {
    (void)state;
    MFFA_AUTO(mffa_sha256_close_p) mffa_sha256 *h = NULL;
    mffa_err err = {0};
    char hex[MFFA_SHA256_HEX], piece[997];
    assert_ok(mffa_sha256_open(&h, &err));
    memset(piece, 'a', sizeof piece);
    size_t left = 1000000;
    for (size_t n = 1; left; n = n % sizeof piece + 1) {
        size_t now = n < left ? n : left;
        mffa_sha256_add(h, piece, now);
        left -= now;
    }
    mffa_sha256_hex(h, hex);
    assert_string_equal(hex, MILLION);
}

static void a_file_is_hashed_in_pieces(void **state) {
    (void)state;
    char path[] = "/tmp/mffa-digest-XXXXXX", block[10000], hex[MFFA_SHA256_HEX];
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    memset(block, 'a', sizeof block);
    for (int i = 0; i < 100; i++) assert_int_equal(write(fd, block, sizeof block), sizeof block);
    close(fd);
    mffa_err err = {0};
    assert_ok(mffa_sha256_file(path, hex, &err));
    assert_string_equal(hex, MILLION);
    unlink(path);
}

static void a_file_that_cannot_be_read_is_named(void **state) {
    (void)state;
    char hex[MFFA_SHA256_HEX];
    mffa_err err = {0};
    assert_int_equal(mffa_sha256_file("/nowhere", hex, &err), MFFA_ENOTFOUND);
    assert_string_equal(err.msg, "cannot open \"/nowhere\": No such file or directory");
    assert_int_equal(mffa_sha256_file("/tmp", hex, &err), MFFA_EIO);
    assert_string_equal(err.msg, "could not read \"/tmp\": Is a directory");
    mffa_sha256_close(NULL);
}

static void keyed_hashes_and_base64_are_the_published_ones(void **state) {
    (void)state;
    mffa_err err = {0};
    unsigned char mac[MFFA_SHA256_BYTES];
    char base64[MFFA_SHA256_BASE64], md5[MFFA_MD5_BASE64], hex[MFFA_SHA256_HEX];
    const unsigned char want[] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e}; /* RFC 4231, case 2 */
    assert_ok(mffa_hmac_sha256(mffa_span_of("Jefe"), mffa_span_of("what do ya want for nothing?"), mac, &err));
    assert_memory_equal(mac, want, sizeof want);
    assert_ok(mffa_sha256_of(mffa_span_of(""), hex, &err));
    assert_ok(mffa_sha256_base64(hex, base64, &err));
    assert_string_equal(base64, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    hex[63] = 'g';
    assert_int_equal(mffa_sha256_base64(hex, base64, &err), MFFA_EINVAL);
    assert_ok(mffa_md5_base64(mffa_span_of(""), md5, &err));
    assert_string_equal(md5, "1B2M2Y8AsgTpgAmY7PhCfg==");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values_come_out),
        cmocka_unit_test(pieces_of_any_size_give_the_same_hash),
        cmocka_unit_test(a_file_is_hashed_in_pieces),
        cmocka_unit_test(a_file_that_cannot_be_read_is_named),
        cmocka_unit_test(keyed_hashes_and_base64_are_the_published_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
