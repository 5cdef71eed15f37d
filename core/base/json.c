#include "core/base/json.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

/* A document with a member missing is worse than a restart, and these documents are small. */
static void *alloc_or_abort(size_t bytes) {
    void *p = malloc(bytes);
    if (!p) abort();
    return p;
}

__attribute__((constructor)) static void setup_allocation(void) { json_set_alloc_funcs(alloc_or_abort, free); }

static const json_t *in(const mffa_json *j) { return (const json_t *)j; }
static json_t *own(mffa_json *j) { return (json_t *)j; }
static mffa_json *out_of(json_t *j) { return (mffa_json *)j; }

mffa_code mffa_json_parse(mffa_span text, mffa_json **out, mffa_err *err) {
    json_error_t e;
    json_t *j = json_loadb(text.ptr, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &e);
    if (!j) return mffa_fail(err, MFFA_EINVAL, "not valid JSON at line %d, column %d: %s", e.line, e.column, e.text);
    *out = out_of(j);
    return MFFA_OK;
}

void mffa_json_close(mffa_json *j) { json_decref(own(j)); }

const mffa_json *mffa_json_get(const mffa_json *object, const char *name) { return out_of(json_object_get(in(object), name)); }

size_t mffa_json_size(const mffa_json *array) {
    return json_is_array(in(array)) ? json_array_size(in(array)) : json_object_size(in(array));
}

const mffa_json *mffa_json_at(const mffa_json *array, size_t i) { return out_of(json_array_get(in(array), i)); }

bool mffa_json_is_null(const mffa_json *j) { return j && json_is_null(in(j)); }
bool mffa_json_is_object(const mffa_json *j) { return json_is_object(in(j)); }
bool mffa_json_is_array(const mffa_json *j) { return json_is_array(in(j)); }

const char *mffa_json_text(const mffa_json *j, const char *otherwise) {
    return json_is_string(in(j)) ? json_string_value(in(j)) : otherwise;
}

int64_t mffa_json_int(const mffa_json *j, int64_t otherwise) { return json_is_integer(in(j)) ? json_integer_value(in(j)) : otherwise; }

double mffa_json_num(const mffa_json *j, double otherwise) { return json_is_number(in(j)) ? json_number_value(in(j)) : otherwise; }

bool mffa_json_bool(const mffa_json *j, bool otherwise) { return json_is_boolean(in(j)) ? json_is_true(in(j)) : otherwise; }

mffa_code mffa_json_each(const mffa_json *object, mffa_json_member *fn, void *ctx, mffa_err *err) {
    json_t *o = (json_t *)(uintptr_t)object; /* jansson iterates a const object through a plain pointer */
    for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it)) {
        mffa_code rc = fn(ctx, json_object_iter_key(it), out_of(json_object_iter_value(it)), err);
        if (rc) return rc;
    }
    return MFFA_OK;
}

mffa_json *mffa_json_object(void) { return out_of(json_object()); }
mffa_json *mffa_json_array(void) { return out_of(json_array()); }
mffa_json *mffa_json_of_int(int64_t v) { return out_of(json_integer(v)); }
mffa_json *mffa_json_of_num(double v) { return out_of(isfinite(v) ? json_real(v) : json_null()); }
mffa_json *mffa_json_of_bool(bool v) { return out_of(json_boolean(v)); }

/* Length of the valid UTF-8 sequence at s, or 0. */
static size_t utf8_length(const unsigned char *s, size_t left) {
    size_t n = s[0] < 0x80 ? 1 : s[0] >= 0xC2 && s[0] < 0xE0 ? 2 : (s[0] & 0xF0) == 0xE0 ? 3 : s[0] >= 0xF0 && s[0] < 0xF5 ? 4 : 0;
    if (n == 0 || n > left) return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    if (n == 3 && ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F))) return 0; /* overlong, surrogate */
    if (n == 4 && ((s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))) return 0; /* overlong, beyond U+10FFFF */
    return n;
}

/* jansson refuses what is not UTF-8, and file names need not be. */
static const char *as_utf8(const char *text, mffa_buf *clean) {
    for (size_t at = 0, len = strlen(text); at < len;) {
        size_t n = utf8_length((const unsigned char *)text + at, len - at);
        if (n) mffa_buf_put(clean, text + at, n);
        else mffa_buf_puts(clean, "\xEF\xBF\xBD");
        at += n ? n : 1;
    }
    if (clean->failed) abort();
    return mffa_buf_text(clean);
}

mffa_json *mffa_json_of_text(const char *text) {
    MFFA_AUTO(mffa_buf_done) mffa_buf clean = {0};
    return out_of(text ? json_string(as_utf8(text, &clean)) : json_null());
}

void mffa_json_set(mffa_json *object, const char *name, mffa_json *value) {
    MFFA_AUTO(mffa_buf_done) mffa_buf clean = {0};
    (void)json_object_set_new(own(object), as_utf8(name, &clean), own(value));
}

void mffa_json_push(mffa_json *array, mffa_json *value) { (void)json_array_append_new(own(array), own(value)); }

mffa_code mffa_json_write(const mffa_json *j, int indent, mffa_buf *out, mffa_err *err) {
    size_t flags = JSON_ENCODE_ANY | JSON_REAL_PRECISION(17) | (indent ? JSON_INDENT((size_t)indent) : JSON_COMPACT);
    char *text = json_dumps(in(j), flags);
    if (!text) return mffa_fail(err, MFFA_EBUG, "this value cannot be written as JSON");
    mffa_buf_puts(out, text);
    free(text);
    return mffa_buf_check(out, err);
}

void mffa_json_quote(mffa_buf *out, const char *text, size_t len) {
    mffa_buf_puts(out, "\"");
    for (size_t at = 0; at < len;) {
        unsigned char c = (unsigned char)text[at];
        size_t n = utf8_length((const unsigned char *)text + at, len - at);
        if (n == 0) mffa_buf_puts(out, "\\ufffd");
        else if (c == '"' || c == '\\') mffa_buf_putf(out, "\\%c", c);
        else if (c == '\n') mffa_buf_puts(out, "\\n");
        else if (c < 0x20 || c == 0x7F) mffa_buf_putf(out, "\\u%04x", c);
        else mffa_buf_put(out, text + at, n);
        at += n ? n : 1;
    }
    mffa_buf_puts(out, "\"");
}
