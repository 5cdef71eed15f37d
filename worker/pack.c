#include "worker/pack.h"

#include <math.h>
#include <msgpack.h>
#include <string.h>

static int append(void *out, const char *bytes, size_t len) {
    mffa_buf_put(out, bytes, len);
    return 0;
}

static msgpack_packer packer(mffa_buf *out) {
    msgpack_packer p;
    msgpack_packer_init(&p, out, append);
    return p;
}

void mffa_pack_map(mffa_buf *out, size_t members) {
    msgpack_packer p = packer(out);
    msgpack_pack_map(&p, members);
}

void mffa_pack_array(mffa_buf *out, size_t elements) {
    msgpack_packer p = packer(out);
    msgpack_pack_array(&p, elements);
}

static void pack_clean(mffa_buf *out, const char *text) {
    msgpack_packer p = packer(out);
    msgpack_pack_str(&p, strlen(text));
    msgpack_pack_str_body(&p, text, strlen(text));
}

void mffa_pack_text(mffa_buf *out, const char *text) {
    MFFA_AUTO(mffa_json_close_p) mffa_json *clean = mffa_json_of_text(text); /* repairs what is not UTF-8 */
    if (text) pack_clean(out, mffa_json_text(clean, ""));
    else mffa_pack_nil(out);
}

void mffa_pack_int(mffa_buf *out, int64_t v) {
    msgpack_packer p = packer(out);
    msgpack_pack_int64(&p, v);
}

void mffa_pack_num(mffa_buf *out, double v) {
    msgpack_packer p = packer(out);
    if (isfinite(v)) msgpack_pack_double(&p, v);
    else msgpack_pack_nil(&p);
}

void mffa_pack_bool(mffa_buf *out, bool v) {
    msgpack_packer p = packer(out);
    if (v) msgpack_pack_true(&p);
    else msgpack_pack_false(&p);
}

void mffa_pack_nil(mffa_buf *out) {
    msgpack_packer p = packer(out);
    msgpack_pack_nil(&p);
}

static mffa_code pack_member(void *out, const char *name, const mffa_json *value, mffa_err *err) {
    (void)err;
    pack_clean(out, name);
    mffa_pack_json(out, value);
    return MFFA_OK;
}

/* A value has a type when two different defaults give the same answer. */
static bool is_int(const mffa_json *j) { return mffa_json_int(j, 0) == mffa_json_int(j, 1); }
static bool is_bool(const mffa_json *j) { return mffa_json_bool(j, false) == mffa_json_bool(j, true); }

void mffa_pack_json(mffa_buf *out, const mffa_json *j) {
    if (mffa_json_is_object(j)) {
        mffa_pack_map(out, mffa_json_size(j));
        if (mffa_json_each(j, pack_member, out, NULL)) out->failed = true;
    } else if (mffa_json_is_array(j)) {
        mffa_pack_array(out, mffa_json_size(j));
        for (size_t i = 0; i < mffa_json_size(j); i++) mffa_pack_json(out, mffa_json_at(j, i));
    } else if (mffa_json_text(j, NULL)) {
        pack_clean(out, mffa_json_text(j, ""));
    } else if (is_int(j)) {
        mffa_pack_int(out, mffa_json_int(j, 0));
    } else if (is_bool(j)) {
        mffa_pack_bool(out, mffa_json_bool(j, false));
    } else {
        mffa_pack_num(out, mffa_json_num(j, NAN)); /* null comes out as nil */
    }
}
