#include "storage/xml.h"

#include <expat.h>
#include <limits.h>
#include <string.h>

enum { DEEPEST = 16, PATH_BYTES_MAX = 512, TEXT_BYTES_MAX = 1 << 16 };

typedef struct reader {
    XML_Parser parser;
    mffa_xml_each *fn;
    void *ctx;
    mffa_err *err;
    mffa_code rc;
    mffa_buf path, text;
    size_t depth, ends[DEEPEST]; /* of path before each open element */
} reader;

static void stop(reader *r, mffa_code rc) {
    if (!r->rc) r->rc = rc;
    (void)XML_StopParser(r->parser, XML_FALSE);
}

static void on_start(void *ctx, const XML_Char *name, const XML_Char **attributes) {
    (void)attributes;
    reader *r = ctx;
    if (r->rc) return;
    if (r->depth == DEEPEST || r->path.len + strlen(name) > PATH_BYTES_MAX)
        return stop(r, mffa_fail(r->err, MFFA_EIO, "an XML answer is nested too deep"));
    r->ends[r->depth++] = r->path.len;
    mffa_buf_putf(&r->path, "%s%s", r->path.len ? "/" : "", name);
    mffa_buf_clear(&r->text);
}

static void on_end(void *ctx, const XML_Char *name) {
    (void)name;
    reader *r = ctx;
    if (r->rc) return;
    mffa_code rc = mffa_buf_check(&r->path, r->err);
    if (!rc) rc = mffa_buf_check(&r->text, r->err);
    if (!rc) rc = r->fn(r->ctx, mffa_buf_text(&r->path), mffa_buf_text(&r->text), r->err);
    if (rc) return stop(r, rc);
    r->path.len = r->ends[--r->depth];
    r->path.ptr[r->path.len] = '\0';
    mffa_buf_clear(&r->text);
}

static void on_text(void *ctx, const XML_Char *text, int len) {
    reader *r = ctx;
    if (r->rc) return;
    if (r->text.len + (size_t)len > TEXT_BYTES_MAX) return stop(r, mffa_fail(r->err, MFFA_EIO, "an XML answer has too long a text"));
    mffa_buf_put(&r->text, text, (size_t)len);
}

static void on_doctype(void *ctx, const XML_Char *name, const XML_Char *system, const XML_Char *public, int internal) {
    (void)name, (void)system, (void)public, (void)internal;
    reader *r = ctx;
    stop(r, mffa_fail(r->err, MFFA_EIO, "an XML answer has a document type, which S3 never sends"));
}

static mffa_code parse(reader *r, mffa_span document) {
    XML_SetUserData(r->parser, r);
    XML_SetElementHandler(r->parser, on_start, on_end);
    XML_SetCharacterDataHandler(r->parser, on_text);
    XML_SetStartDoctypeDeclHandler(r->parser, on_doctype);
    if (document.len > INT_MAX) return mffa_fail(r->err, MFFA_EIO, "an XML answer has %zu bytes", document.len);
    if (XML_Parse(r->parser, document.ptr, (int)document.len, XML_TRUE) == XML_STATUS_OK || r->rc) return r->rc;
    return mffa_fail(r->err, MFFA_EIO, "an XML answer is not well-formed: %s", XML_ErrorString(XML_GetErrorCode(r->parser)));
}

mffa_code mffa_xml_read(mffa_span document, mffa_xml_each *fn, void *ctx, mffa_err *err) {
    reader r = {.parser = XML_ParserCreate(NULL), .fn = fn, .ctx = ctx, .err = err};
    if (!r.parser) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_code rc = parse(&r, document);
    XML_ParserFree(r.parser);
    mffa_buf_done(&r.path);
    mffa_buf_done(&r.text);
    return rc;
}

void mffa_xml_quote(mffa_buf *out, const char *text) {
    for (; *text; text++) {
        if (strchr("&<>\"'\r", *text)) mffa_buf_putf(out, "&#%d;", *text);
        else mffa_buf_put(out, text, 1);
    }
}
