#include "core/image/bmp.h"

#include <inttypes.h>

enum { FILE_HEADER = 14, CORE_HEADER = 12, INFO_HEADER = 40, MAX_HEADER = 124, RGB = 0, BITFIELDS = 3, ALPHA_BITFIELDS = 6 };

typedef struct bmp {
    mffa_span file;
    size_t pixels_at, palette_at, stride;
    int64_t width, height;
    bool top_down;
    uint32_t bits, compression, header, colours, colour_bytes;
    int red, green, blue; /* 24 and 32 bit: which byte of the pixel */
} bmp;

static uint32_t u16(const bmp *b, size_t at) {
    const uint8_t *p = (const uint8_t *)b->file.ptr + at;
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t u32(const bmp *b, size_t at) { return u16(b, at) | u16(b, at + 2) << 16; }

static mffa_code cut_short(const bmp *b, const char *what, mffa_err *err) {
    return mffa_fail(err, MFFA_EINVAL, "the BMP is cut short: its %s would end behind its %zu bytes", what, b->file.len);
}

static mffa_code read_header(bmp *b, mffa_err *err) {
    if (b->file.len < FILE_HEADER + 4) return cut_short(b, "header", err);
    b->pixels_at = u32(b, 10);
    b->header = u32(b, 14);
    if (b->header != CORE_HEADER && (b->header < INFO_HEADER || b->header > MAX_HEADER))
        return mffa_fail(err, MFFA_EINVAL, "the BMP has a header of %" PRIu32 " bytes: expected %d, or %d to %d", b->header, CORE_HEADER,
                         INFO_HEADER, MAX_HEADER);
    if (b->file.len < FILE_HEADER + (size_t)b->header) return cut_short(b, "header", err);
    b->colour_bytes = b->header == CORE_HEADER ? 3 : 4;
    b->palette_at = FILE_HEADER + (size_t)b->header;
    if (b->header == CORE_HEADER) {
        b->width = u16(b, 18), b->height = u16(b, 20), b->bits = u16(b, 24);
        return MFFA_OK;
    }
    b->width = (int32_t)u32(b, 18), b->height = (int32_t)u32(b, 22);
    b->top_down = b->height < 0;
    if (b->top_down) b->height = -b->height;
    b->bits = u16(b, 28), b->compression = u32(b, 30), b->colours = u32(b, 46);
    return MFFA_OK;
}

static mffa_code check_kind(const bmp *b, mffa_err *err) {
    static const char *const names[] = {"none", "RLE8", "RLE4", "bit fields", "JPEG", "PNG", "bit fields with alpha"};
    if (b->bits != 1 && b->bits != 4 && b->bits != 8 && b->bits != 24 && b->bits != 32)
        return mffa_fail(err, MFFA_EINVAL,
                         "the BMP has %" PRIu32 " bits per pixel: expected 1, 4, 8, 24 or 32; save it as 24 bit or as PNG", b->bits);
    bool fields = b->compression == BITFIELDS || b->compression == ALPHA_BITFIELDS;
    if (b->compression == RGB || (fields && b->bits == 32)) return MFFA_OK;
    return mffa_fail(err, MFFA_EINVAL, "the BMP is compressed (%s), which is not read here: save it uncompressed or as PNG",
                     b->compression < MFFA_COUNT(names) ? names[b->compression] : "an unknown method");
}

/* 32-bit pixels may say where their colours are; only whole bytes are read. */
static int byte_of(uint32_t mask) {
    for (int i = 0; i < 4; i++)
        if (mask == UINT32_C(0xFF) << (8 * i)) return i;
    return -1;
}

static mffa_code read_fields(bmp *b, mffa_err *err) {
    b->blue = 0, b->green = 1, b->red = 2;
    if (b->compression == RGB) return MFFA_OK;
    size_t at = FILE_HEADER + INFO_HEADER; /* behind a header of 40 bytes, or inside a longer one: the same place */
    if (b->file.len < at + 12) return cut_short(b, "colour masks", err);
    b->red = byte_of(u32(b, at)), b->green = byte_of(u32(b, at + 4)), b->blue = byte_of(u32(b, at + 8));
    if (b->red >= 0 && b->green >= 0 && b->blue >= 0) return MFFA_OK;
    return mffa_fail(err, MFFA_EINVAL,
                     "the BMP has colour masks %08" PRIX32 " %08" PRIX32 " %08" PRIX32
                     ": expected whole bytes; save it as 24 bit or as PNG",
                     u32(b, at), u32(b, at + 4), u32(b, at + 8));
}

static mffa_code check_extent(bmp *b, mffa_err *err) {
    if (b->bits <= 8) {
        uint32_t most = UINT32_C(1) << b->bits;
        if (b->colours == 0 || b->colours > most) b->colours = most;
        if (b->palette_at + (size_t)b->colours * b->colour_bytes > b->file.len) return cut_short(b, "palette", err);
    }
    b->stride = ((size_t)b->width * b->bits + 31) / 32 * 4;
    if (b->pixels_at < FILE_HEADER + (size_t)b->header)
        return mffa_fail(err, MFFA_EINVAL, "the BMP's header lies: its pixels begin at byte %zu, inside the header", b->pixels_at);
    if (b->pixels_at > b->file.len || b->stride * (size_t)b->height > b->file.len - b->pixels_at) return cut_short(b, "pixels", err);
    return MFFA_OK;
}

static mffa_code palette_row(const bmp *b, const uint8_t *row, uint8_t *to, mffa_err *err) {
    const uint8_t *palette = (const uint8_t *)b->file.ptr + b->palette_at;
    uint32_t per_byte = 8 / b->bits, mask = (UINT32_C(1) << b->bits) - 1;
    for (uint32_t x = 0; x < (uint32_t)b->width; x++, to += 3) {
        uint32_t shift = 8 - b->bits * (x % per_byte + 1), colour = row[x / per_byte] >> shift & mask;
        if (colour >= b->colours)
            return mffa_fail(err, MFFA_EINVAL, "the BMP is damaged: a pixel has colour %" PRIu32 " of a palette of %" PRIu32, colour,
                             b->colours);
        const uint8_t *entry = palette + (size_t)colour * b->colour_bytes;
        to[0] = entry[2], to[1] = entry[1], to[2] = entry[0];
    }
    return MFFA_OK;
}

static void colour_row(const bmp *b, const uint8_t *row, uint8_t *to) {
    size_t step = b->bits / 8;
    for (int64_t x = 0; x < b->width; x++, row += step, to += 3) to[0] = row[b->red], to[1] = row[b->green], to[2] = row[b->blue];
}

mffa_code mffa_bmp_read(mffa_span file, const mffa_limits *limits, mffa_image *out, mffa_err *err) {
    MFFA_AUTO(mffa_image_done) mffa_image image = {0};
    bmp b = {.file = file};
    mffa_code rc = read_header(&b, err);
    if (!rc) rc = check_kind(&b, err);
    if (!rc) rc = mffa_image_fits(limits, b.width, b.height, err);
    if (!rc) rc = read_fields(&b, err);
    if (!rc) rc = check_extent(&b, err);
    if (!rc) rc = mffa_image_init(&image, (int)b.width, (int)b.height, 3, err);
    for (int64_t y = 0; y < b.height && !rc; y++) {
        const uint8_t *row = (const uint8_t *)file.ptr + b.pixels_at + b.stride * (size_t)(b.top_down ? y : b.height - 1 - y);
        uint8_t *to = image.pixels + (size_t)y * (size_t)b.width * 3;
        if (b.bits <= 8) rc = palette_row(&b, row, to, err);
        else colour_row(&b, row, to);
    }
    if (rc) return rc;
    *out = image;
    image = (mffa_image){0};
    return MFFA_OK;
}
