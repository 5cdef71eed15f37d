#include "core/base/crc.h"

#include "core/base/rng.h"
#include "tests/support/test.h"

static const char *const names[] = {[MFFA_CRC32] = "crc32", [MFFA_CRC32C] = "crc32c", [MFFA_CRC64NVME] = "crc64nvme"};

/* The check values of the catalogue of parametrised CRC algorithms: of the nine digits. */
static void published_values_come_out(void **state) {
    (void)state;
    static const uint64_t want[] = {[MFFA_CRC32] = 0xcbf43926, [MFFA_CRC32C] = 0xe3069283, [MFFA_CRC64NVME] = 0xae8b14860a799888};
    for (int k = 0; k < MFFA_CRC_COUNT; k++) {
        if (mffa_crc_add(k, 0, "123456789", 9) != want[k]) fail_msg("%s of 123456789", names[k]);
        assert_int_equal(mffa_crc_add(k, 0, "", 0), 0);
    }
}

/* One bit after the other, as the definition says. */
static uint64_t by_definition(mffa_crc kind, const unsigned char *at, size_t len) {
    static const uint64_t poly[] = {0xedb88320, 0x82f63b78, 0x9a6c9329ac4bc9b5};
    uint64_t all = mffa_crc_bytes(kind) == 8 ? UINT64_MAX : UINT32_MAX, crc = all;
    for (size_t i = 0; i < 8 * len; i++) {
        uint64_t bit = (crc ^ (uint64_t)(at[i / 8] >> i % 8)) & 1;
        crc = crc >> 1 ^ (bit ? poly[kind] : 0);
    }
    return crc ^ all;
}

static void any_length_at_any_place_is_as_defined(void **state) {
    (void)state;
    static unsigned char bytes[3000];
    assert_int_equal(mffa_random_bytes(bytes, sizeof bytes, NULL), MFFA_OK);
    for (int k = 0; k < MFFA_CRC_COUNT; k++)
        for (size_t len = 0; len < 700; len++) {
            size_t at = len % 17;
            if (mffa_crc_add(k, 0, bytes + at, len) != by_definition(k, bytes + at, len))
                fail_msg("%s of %zu bytes", names[k], len);
        }
}

static void pieces_add_up_and_join(void **state) {
    (void)state;
    static unsigned char bytes[3000];
    assert_int_equal(mffa_random_bytes(bytes, sizeof bytes, NULL), MFFA_OK);
    for (int k = 0; k < MFFA_CRC_COUNT; k++) {
        uint64_t whole = by_definition(k, bytes, sizeof bytes);
        for (size_t cut = 0; cut <= sizeof bytes; cut += 125) {
            uint64_t first = mffa_crc_add(k, 0, bytes, cut), second = mffa_crc_add(k, 0, bytes + cut, sizeof bytes - cut);
            assert_true(mffa_crc_add(k, first, bytes + cut, sizeof bytes - cut) == whole);
            assert_true(mffa_crc_join(k, first, second, (int64_t)(sizeof bytes - cut)) == whole);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values_come_out),
        cmocka_unit_test(any_length_at_any_place_is_as_defined),
        cmocka_unit_test(pieces_add_up_and_join),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
