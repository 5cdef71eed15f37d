/* JSON, over jansson.
 * A mffa_json is a value with one owner: what parse, object and array return must be closed once; values got from inside another
 * are borrowed and live as long as it. Setters take over the value they are given.
 * Running out of memory in here ends the process: documents are small, and one with a member missing would be worse.
 * Sizes are bounded by the caller: parse what was read with a limit. Depth is bounded by jansson (2048). One thread at a time. */
#ifndef MFFA_CORE_BASE_JSON_H
#define MFFA_CORE_BASE_JSON_H

#include <stdint.h>
#include "core/base/buf.h"

typedef struct mffa_json mffa_json;

/* Refuses duplicate keys, trailing bytes and \u0000 (texts end at a NUL here); the error says line, column and what was expected. */
MFFA_MUST_USE mffa_code mffa_json_parse(mffa_span text, mffa_json **out, mffa_err *err);
void mffa_json_close(mffa_json *j);
static inline void mffa_json_close_p(mffa_json **j) { mffa_json_close(*j); }

/* Reading. A NULL value, a wrong type or a missing member gives the default, so chains need no checks in between. */
const mffa_json *mffa_json_get(const mffa_json *object, const char *name); /* borrowed; NULL if absent */
size_t mffa_json_size(const mffa_json *array);                             /* members or elements; 0 for other types */
const mffa_json *mffa_json_at(const mffa_json *array, size_t i);           /* borrowed; NULL out of range */
bool mffa_json_is_null(const mffa_json *j);
bool mffa_json_is_object(const mffa_json *j);
bool mffa_json_is_array(const mffa_json *j);
const char *mffa_json_text(const mffa_json *j, const char *otherwise); /* a string's text, borrowed */
int64_t mffa_json_int(const mffa_json *j, int64_t otherwise);          /* integers only */
double mffa_json_num(const mffa_json *j, double otherwise);            /* integers and reals */
bool mffa_json_bool(const mffa_json *j, bool otherwise);
/* Calls fn for each member in order of insertion (for parsed text: of the text); stops at the first code that is not MFFA_OK. */
typedef mffa_code mffa_json_member(void *ctx, const char *name, const mffa_json *value, mffa_err *err);
MFFA_MUST_USE mffa_code mffa_json_each(const mffa_json *object, mffa_json_member *fn, void *ctx, mffa_err *err);

/* Building. */
mffa_json *mffa_json_object(void);
mffa_json *mffa_json_array(void);
mffa_json *mffa_json_of_text(const char *text); /* invalid UTF-8 becomes U+FFFD; NULL gives null */
mffa_json *mffa_json_of_int(int64_t v);
mffa_json *mffa_json_of_num(double v); /* NaN and infinities give null */
mffa_json *mffa_json_of_bool(bool v);
void mffa_json_set(mffa_json *object, const char *name, mffa_json *value); /* name: like of_text */
void mffa_json_push(mffa_json *array, mffa_json *value);
/* Append the text to out; indent 0 writes one line. */
MFFA_MUST_USE mffa_code mffa_json_write(const mffa_json *j, int indent, mffa_buf *out, mffa_err *err);
/* Append text as a JSON string with quotes; invalid UTF-8 becomes U+FFFD. */
void mffa_json_quote(mffa_buf *out, const char *text, size_t len);

#endif
