#include "worker/heatmaps.h"

#include <math.h>
#include "core/image/overlay.h"
#include "core/image/png.h"
#include "core/image/resize.h"
#include "worker/pictures.h"

static mffa_code put_overlay(const mffa_heatmaps *h, mffa_job *j, const mffa_scored *item, const mffa_image *photo, const float *map,
                             int side, mffa_err *err) {
    MFFA_AUTO(mffa_image_done) mffa_image drawn = {0};
    MFFA_AUTO(mffa_buf_done) mffa_buf png = {0};
    mffa_code rc = mffa_overlay(photo, map, side, (float)h->range.low, (float)h->range.high, &drawn, err);
    if (!rc) rc = mffa_png_write(&drawn, &png, err);
    return rc ? rc : mffa_results_put(j->results, item->heatmap, mffa_buf_span(&png), err);
}

static mffa_code put_grey(const mffa_heatmaps *h, mffa_job *j, const mffa_scored *item, const mffa_image *photo, const float *map, int side,
                          mffa_err *err) {
    size_t pixels = (size_t)photo->width_px * (size_t)photo->height_px;
    MFFA_AUTO(mffa_free_p) float *large = mffa_alloc_array(pixels, sizeof *large);
    MFFA_AUTO(mffa_free_p) uint16_t *grey = mffa_alloc_array(pixels, sizeof *grey);
    MFFA_AUTO(mffa_buf_done) mffa_buf png = {0};
    if (!large || !grey)
        return mffa_fail(err, MFFA_ENOMEM, "out of memory for a grey map of %d x %d pixels", photo->width_px, photo->height_px);
    mffa_resize_plane(map, side, side, large, photo->height_px, photo->width_px);
    double scale = h->grey_max > 0 ? 65535 / h->grey_max : 0;
    for (size_t i = 0; i < pixels; i++) grey[i] = (uint16_t)lrint(fmin(fmax((double)large[i] * scale, 0), 65535));
    mffa_code rc = mffa_png_write_grey16(grey, photo->width_px, photo->height_px, &png, err);
    return rc ? rc : mffa_results_put(j->results, item->grey, mffa_buf_span(&png), err);
}

static mffa_code draw_one(const mffa_heatmaps *h, mffa_job *j, const mffa_scored *item, const mffa_map_spool *maps, int64_t i, float *map,
                          mffa_err *err) {
    MFFA_AUTO(mffa_image_done) mffa_image photo = {0};
    mffa_code rc = mffa_map_spool_read(maps, i, map, err);
    if (!rc) rc = mffa_picture_read(j, item->key, &photo, err);
    if (!rc && item->heatmap) rc = put_overlay(h, j, item, &photo, map, maps->side, err);
    if (!rc && item->grey) rc = put_grey(h, j, item, &photo, map, maps->side, err);
    return rc;
}

mffa_code mffa_heatmaps_draw(const mffa_heatmaps *h, mffa_job *j, const mffa_scores *scores, const mffa_map_spool *maps, mffa_err *err) {
    if (!h->overlay && !h->grey) return MFFA_OK;
    MFFA_AUTO(mffa_free_p) float *map = mffa_alloc_array((size_t)maps->side * (size_t)maps->side, sizeof *map);
    if (!map) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    mffa_code rc = mffa_tick(&j->progress, "heatmaps", 0, (int64_t)scores->count, err);
    for (size_t i = 0; !rc && i < scores->count; i++) {
        rc = draw_one(h, j, &scores->items[i], maps, (int64_t)i, map, err);
        if (rc == MFFA_ESKIP) /* it could be read when it was scored */
            rc = mffa_fail(err, MFFA_EIO, "\"%s/%s\" changed while the job ran", mffa_store_url(j->dataset), scores->items[i].key);
        if (!rc) rc = mffa_tick(&j->progress, "heatmaps", (int64_t)i + 1, (int64_t)scores->count, err);
    }
    return rc;
}
