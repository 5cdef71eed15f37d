/* storage/xml.h: any document is read or refused; what was quoted is read as it was. */
#include <string.h>
#include "storage/xml.h"
#include "tests/fuzz/fuzz.h"

static mffa_code look(void *ctx, const char *path, const char *text, mffa_err *err) {
    int *left = ctx;
    FUZZ_RULE(*path && path[0] != '/' && strlen(path) <= 600);
    FUZZ_RULE(strlen(text) <= 1 << 16);
    return --*left > 0 ? MFFA_OK : mffa_fail(err, MFFA_ECANCELLED, "enough");
}

static mffa_code compare(void *ctx, const char *path, const char *text, mffa_err *err) {
    (void)err;
    FUZZ_RULE(strcmp(path, "a") == 0 && strcmp(text, ctx) == 0);
    return MFFA_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    MFFA_AUTO(mffa_buf_done) mffa_buf quoted = {0};
    mffa_err err = {0};
    int left = len > 0 ? bytes[len - 1] + 1 : 1;
    mffa_code rc = mffa_xml_read((mffa_span){bytes, len}, look, &left, &err);
    FUZZ_RULE(rc == MFFA_OK || rc == MFFA_EIO || rc == MFFA_ECANCELLED);
    FUZZ_RULE(rc == MFFA_OK || *err.msg);
    MFFA_AUTO(mffa_free_p) char *text = fuzz_text(bytes, len);
    mffa_buf_puts(&quoted, "<a>");
    mffa_xml_quote(&quoted, text);
    mffa_buf_puts(&quoted, "</a>");
    rc = mffa_xml_read(mffa_buf_span(&quoted), compare, text, &err);
    FUZZ_RULE(rc == MFFA_OK || rc == MFFA_EIO); /* EIO: bytes that XML has no way to say */
    return 0;
}
