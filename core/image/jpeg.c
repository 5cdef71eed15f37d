#include "core/image/jpeg.h"

#include <setjmp.h>
#include <jpeglib.h>
#include <jerror.h>

/* A progressive file may come in a few dozen scans; thousands of them are an attack on our time. */
enum { MAX_SCANS = 200 };

/* libjpeg reports errors by a call that must not return. As in png.c: each step into it owns nothing, the struct's owner frees. */
typedef struct reader {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr mgr;
    struct jpeg_progress_mgr progress;
    mffa_span in;
    uint8_t *pixels;
    jmp_buf env;
    bool no_memory;
    char text[JMSG_LENGTH_MAX]; /* the error */
} reader;

static bool guarded(reader *r, void (*step)(reader *)) {
    if (setjmp(r->env)) return false;
    step(r);
    return true;
}

static _Noreturn void on_error(j_common_ptr jpeg) {
    reader *r = jpeg->client_data;
    r->no_memory = jpeg->err->msg_code == JERR_OUT_OF_MEMORY;
    jpeg->err->format_message(jpeg, r->text);
    longjmp(r->env, 1);
}

/* Warnings about the pixel data are errors here; a wrong version number, an odd Adobe marker, or bytes between segments are not. */
static void on_message(j_common_ptr jpeg, int level) {
    int code = jpeg->err->msg_code;
    if (level < 0 && code != JWRN_EXTRANEOUS_DATA && code != JWRN_JFIF_MAJOR && code != JWRN_ADOBE_XFORM) on_error(jpeg);
}

static void on_progress(j_common_ptr jpeg) {
    reader *r = jpeg->client_data;
    if (r->jpeg.input_scan_number <= MAX_SCANS) return;
    snprintf(r->text, sizeof r->text, "it has more than %d scans", MAX_SCANS);
    longjmp(r->env, 1);
}

static void reader_done(reader *r) { jpeg_destroy_decompress(&r->jpeg); }

static void read_header(reader *r) {
    jpeg_create_decompress(&r->jpeg);
    r->jpeg.client_data = r;
    r->progress.progress_monitor = on_progress;
    r->jpeg.progress = &r->progress;
    jpeg_mem_src(&r->jpeg, r->in.ptr, r->in.len);
    (void)jpeg_read_header(&r->jpeg, TRUE);
}

static void read_pixels(reader *r) {
    r->jpeg.out_color_space = JCS_RGB;
    (void)jpeg_start_decompress(&r->jpeg);
    size_t stride = (size_t)r->jpeg.output_width * 3;
    while (r->jpeg.output_scanline < r->jpeg.output_height) {
        JSAMPROW row = r->pixels + r->jpeg.output_scanline * stride;
        (void)jpeg_read_scanlines(&r->jpeg, &row, 1);
    }
    (void)jpeg_finish_decompress(&r->jpeg);
}

static mffa_code read_failed(const reader *r, mffa_err *err) {
    if (r->no_memory) return mffa_fail(err, MFFA_ENOMEM, "out of memory for a JPEG reader");
    return mffa_fail(err, MFFA_EINVAL, "the JPEG cannot be read: %s", r->text);
}

static mffa_code read_rgb(reader *r, const mffa_limits *limits, mffa_image *image, mffa_err *err) {
    r->jpeg.err = jpeg_std_error(&r->mgr);
    r->mgr.error_exit = on_error;
    r->mgr.emit_message = on_message;
    r->jpeg.client_data = r; /* jpeg_create_decompress keeps both, and may fail itself */
    if (!guarded(r, read_header)) return read_failed(r, err);
    J_COLOR_SPACE space = r->jpeg.jpeg_color_space;
    if (space == JCS_CMYK || space == JCS_YCCK)
        return mffa_fail(err, MFFA_EINVAL, "the JPEG has the four print colours (%s), which depend on a printer: convert it to RGB",
                         space == JCS_CMYK ? "CMYK" : "YCCK");
    if (space != JCS_GRAYSCALE && space != JCS_YCbCr && space != JCS_RGB)
        return mffa_fail(err, MFFA_EINVAL, "the JPEG has %d components of an unknown meaning: expected grey, RGB or YCbCr",
                         r->jpeg.num_components);
    mffa_code rc = mffa_image_fits(limits, r->jpeg.image_width, r->jpeg.image_height, err);
    if (!rc) rc = mffa_image_init(image, (int)r->jpeg.image_width, (int)r->jpeg.image_height, 3, err);
    if (rc) return rc;
    r->pixels = image->pixels;
    return guarded(r, read_pixels) ? MFFA_OK : read_failed(r, err);
}

mffa_code mffa_jpeg_read(mffa_span file, const mffa_limits *limits, mffa_image *out, mffa_err *err) {
    MFFA_AUTO(mffa_image_done) mffa_image image = {0};
    MFFA_AUTO(reader_done) reader r = {.in = file};
    mffa_code rc = read_rgb(&r, limits, &image, err);
    if (rc) return rc;
    *out = image;
    image = (mffa_image){0};
    return MFFA_OK;
}
