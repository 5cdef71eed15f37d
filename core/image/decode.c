#include "core/image/decode.h"

#include <inttypes.h>
#include <string.h>
#include <strings.h>
#include "core/image/bmp.h"
#include "core/image/jpeg.h"
#include "core/image/png.h"

typedef mffa_code read_fn(mffa_span file, const mffa_limits *limits, mffa_image *out, mffa_err *err);

typedef struct format {
    const char *magic;
    size_t magic_len;
    read_fn *read, *read_mask; /* read_mask NULL: made from what read gives */
} format;

static const format formats[] = {
    {"\x89PNG\r\n\x1a\n", 8, mffa_png_read, mffa_png_read_mask},
    {"\xFF\xD8\xFF", 3, mffa_jpeg_read, NULL},
    {"BM", 2, mffa_bmp_read, NULL},
};

static mffa_code find_format(mffa_span file, const mffa_limits *limits, const format **out, mffa_err *err) {
    if (file.len == 0) return mffa_fail(err, MFFA_EINVAL, "the file is empty");
    if ((uint64_t)file.len > (uint64_t)limits->max_bytes)
        return mffa_fail(err, MFFA_EINVAL, "the file has %zu bytes, at most %" PRId64 " are allowed (MFFA_MAX_IMAGE_BYTES)", file.len,
                         limits->max_bytes);
    for (size_t i = 0; i < MFFA_COUNT(formats); i++)
        if (file.len >= formats[i].magic_len && memcmp(file.ptr, formats[i].magic, formats[i].magic_len) == 0)
            return *out = &formats[i], MFFA_OK;
    char begin[3 * 4 + 1] = "";
    for (size_t i = 0; i < 4 && i < file.len; i++) snprintf(begin + 3 * i, 4, " %02x", ((const uint8_t *)file.ptr)[i]);
    return mffa_fail(err, MFFA_EINVAL, "not a PNG, JPEG or BMP image: it begins with the bytes%s", begin);
}

mffa_code mffa_decode_rgb(mffa_span file, const mffa_limits *limits, mffa_image *out, mffa_err *err) {
    const format *f = NULL;
    mffa_code rc = find_format(file, limits, &f, err);
    return rc ? rc : f->read(file, limits, out, err);
}

mffa_code mffa_decode_mask(mffa_span file, const mffa_limits *limits, mffa_image *out, mffa_err *err) {
    const format *f = NULL;
    mffa_code rc = find_format(file, limits, &f, err);
    if (rc) return rc;
    if (f->read_mask) return f->read_mask(file, limits, out, err);
    MFFA_AUTO(mffa_image_done) mffa_image rgb = {0};
    rc = f->read(file, limits, &rgb, err);
    if (!rc) rc = mffa_image_init(out, rgb.width_px, rgb.height_px, 1, err);
    if (rc) return rc;
    for (size_t i = 0, n = (size_t)rgb.width_px * (size_t)rgb.height_px; i < n; i++)
        out->pixels[i] = rgb.pixels[3 * i] | rgb.pixels[3 * i + 1] | rgb.pixels[3 * i + 2] ? 255 : 0;
    return MFFA_OK;
}

bool mffa_decode_is_image_key(const char *key) {
    static const char *const endings[] = {".png", ".jpg", ".jpeg", ".bmp"};
    const char *slash = strrchr(key, '/'), *name = slash ? slash + 1 : key, *dot = strrchr(name, '.');
    if (!dot || name[0] == '.') return false;
    for (size_t i = 0; i < MFFA_COUNT(endings); i++)
        if (strcasecmp(dot, endings[i]) == 0) return true;
    return false;
}
