/* msgpack, over msgpack-c: documents appended to a mffa_buf. Maps and arrays are opened with their number of members, then filled.
 * Running out of memory shows in the buffer (mffa_buf_check at the end). One thread at a time. */
#ifndef MFFA_WORKER_PACK_H
#define MFFA_WORKER_PACK_H

#include "core/base/buf.h"
#include "core/base/json.h"

void mffa_pack_map(mffa_buf *out, size_t members);
void mffa_pack_array(mffa_buf *out, size_t elements);
void mffa_pack_text(mffa_buf *out, const char *text); /* NULL: nil; bytes that are not UTF-8 become U+FFFD */
void mffa_pack_int(mffa_buf *out, int64_t v);
void mffa_pack_num(mffa_buf *out, double v);          /* float 64; NaN and infinities: nil */
void mffa_pack_bool(mffa_buf *out, bool v);
void mffa_pack_nil(mffa_buf *out);
/* A whole JSON value, member for member. */
void mffa_pack_json(mffa_buf *out, const mffa_json *j);

#endif
