#include "worker/scores.h"

#include <string.h>
#include "worker/pack.h"

enum { VERSION = 1 };

static void item_done(mffa_scored *i) {
    free(i->key);
    free(i->type);
    free(i->mask);
    free(i->heatmap);
    free(i->grey);
}

void mffa_scores_done(mffa_scores *s) {
    for (size_t i = 0; i < s->count; i++) item_done(&s->items[i]);
    free(s->items);
    *s = (mffa_scores){0};
}

static bool make_room(mffa_scores *s) {
    if (s->count < s->room) return true;
    size_t room = s->room ? 2 * s->room : 64;
    mffa_scored *more = reallocarray(s->items, room, sizeof *more);
    if (!more) return false;
    s->items = more, s->room = room;
    return true;
}

mffa_code mffa_scores_add(mffa_scores *s, const char *key, const char *type, const char *mask, int label, const mffa_score *score,
                          mffa_err *err) {
    mffa_scored item = {.key = strdup(key), .type = strdup(type), .mask = mask ? strdup(mask) : NULL, .label = label, .score = *score};
    if (!item.key || !item.type || (mask && !item.mask) || !make_room(s)) {
        item_done(&item);
        return mffa_fail(err, MFFA_ENOMEM, "out of memory for the scores of %zu pictures", s->count + 1);
    }
    s->items[s->count++] = item;
    return MFFA_OK;
}

static void text(mffa_buf *out, const char *name, const char *value) { mffa_pack_text(out, name), mffa_pack_text(out, value); }
static void num(mffa_buf *out, const char *name, double value) { mffa_pack_text(out, name), mffa_pack_num(out, value); }
static void integer(mffa_buf *out, const char *name, int64_t value) { mffa_pack_text(out, name), mffa_pack_int(out, value); }
static void nil(mffa_buf *out, const char *name) { mffa_pack_text(out, name), mffa_pack_nil(out); }

static void pack_decision(const mffa_figure *threshold, double score, mffa_buf *out) {
    if (!threshold->known) {
        nil(out, "normalised"), nil(out, "decision");
        return;
    }
    if (threshold->value > 0) num(out, "normalised", score / threshold->value);
    else nil(out, "normalised");
    mffa_pack_text(out, "decision"), mffa_pack_bool(out, score >= threshold->value);
}

static void pack_item(const mffa_scores *s, const mffa_scored *i, mffa_buf *out) {
    mffa_pack_map(out, 14);
    text(out, "key", i->key);
    text(out, "type", i->type);
    if (i->label >= 0) integer(out, "label", i->label);
    else nil(out, "label");
    num(out, "score", (double)i->score.score);
    pack_decision(&s->threshold, (double)i->score.score, out);
    text(out, "mask", i->mask);
    text(out, "heatmap", i->heatmap);
    text(out, "grey", i->grey);
    num(out, "nns_max", (double)i->score.nns_max);
    num(out, "nns_mean", (double)i->score.nns_mean);
    num(out, "gaussian_max", (double)i->score.gaussian_max);
    num(out, "gaussian_mean", (double)i->score.gaussian_mean);
    mffa_pack_text(out, "peak"), mffa_pack_array(out, 2);
    mffa_pack_int(out, i->score.peak_x), mffa_pack_int(out, i->score.peak_y);
}

mffa_code mffa_scores_pack(const mffa_scores *s, mffa_buf *out, mffa_err *err) {
    mffa_pack_map(out, 10);
    integer(out, "v", VERSION);
    text(out, "job", s->job);
    text(out, "kind", s->kind);
    text(out, "model", s->model_url);
    text(out, "model_sha256", s->model_sha256);
    integer(out, "side", s->side);
    if (s->threshold.known) num(out, "threshold", s->threshold.value);
    else nil(out, "threshold");
    text(out, "threshold_from", s->threshold_from);
    text(out, "threshold_reason", s->threshold.known ? NULL : s->threshold.reason);
    mffa_pack_text(out, "images"), mffa_pack_array(out, s->count);
    for (size_t i = 0; i < s->count; i++) pack_item(s, &s->items[i], out);
    return mffa_buf_check(out, err);
}
