/* A key as a list of objects encodes it: decoded in place, held against a decoder that is written in another way. */
#include "storage/s3_store.h"
#include "storage/sign.h"
#include "tests/fuzz/fuzz.h"

static bool decode_again(const char *text, mffa_buf *out) {
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    for (; *text; text++) {
        const char *high = *text == '%' && text[1] ? strchr(digits, text[1]) : NULL;
        const char *low = high && text[2] ? strchr(digits, text[2]) : NULL;
        char byte = *text == '+' ? ' ' : low ? (char)((high - digits) % 16 * 16 + (low - digits) % 16) : *text;
        if (low) text += 2;
        if (!byte) return false;
        mffa_buf_put(out, &byte, 1);
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    MFFA_AUTO(mffa_free_p) char *text = fuzz_text(bytes, len);
    MFFA_AUTO(mffa_free_p) char *copy = fuzz_text(bytes, len);
    MFFA_AUTO(mffa_buf_done) mffa_buf want = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf encoded = {0};
    bool fine = mffa_s3_decode_key(text);
    FUZZ_RULE(fine == decode_again(copy, &want));
    if (!fine) return 0;
    FUZZ_RULE(strcmp(text, mffa_buf_text(&want)) == 0);
    mffa_sign_encode(&encoded, text, false); /* what we encode comes back */
    FUZZ_RULE(mffa_s3_decode_key(encoded.ptr ? encoded.ptr : text) && strcmp(mffa_buf_text(&encoded), text) == 0);
    return 0;
}
