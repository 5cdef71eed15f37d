#include "worker/report.h"

#include <string.h>
#include "core/base/clock.h"
#include "worker/html.h"

static const char head[] =
    "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
    "content=\"width=device-width,initial-scale=1\">\n<style>\n"
    ":root{color-scheme:light dark;--line:#8884;--dim:#777;--bad:#c0392b;--good:#1e8449;--card:#8881}\n"
    "body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;padding:0 1rem;max-width:78rem}\n"
    "h1{font-size:1.5rem;margin:0}h2{font-size:1.1rem;margin:2rem 0 .6rem}p,.dim{color:var(--dim);overflow-wrap:anywhere}\n"
    ".figures{display:flex;flex-wrap:wrap;gap:.8rem;margin:1.2rem 0}.figures div{background:var(--card);border-radius:.6rem;padding:.7rem "
    "1rem;min-width:8rem}\n"
    ".figures b{display:block;font-size:1.5rem}.figures .why{font-size:.8rem;max-width:12rem;color:var(--dim)}\n"
    "table{border-collapse:collapse}td,th{padding:.3rem .9rem .3rem 0;border-bottom:1px solid "
    "var(--line);text-align:left;vertical-align:top}td.n,th.n{text-align:right}\n"
    ".gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(13rem,1fr));gap:1rem}\n"
    "figure{margin:0;background:var(--card);border-radius:.6rem;overflow:hidden}figure "
    "img{width:100%;height:11rem;object-fit:contain;display:block;background:#0003}\n"
    "figcaption{padding:.5rem "
    ".7rem;font-size:.85rem;overflow-wrap:anywhere}.bad{color:var(--bad);font-weight:600}.good{color:var(--good)}\n"
    "</style>\n";

static void tile(mffa_buf *out, const char *name, const mffa_figure *f) {
    mffa_buf_putf(out, "<div>%s", name);
    if (f->known) mffa_buf_putf(out, "<b>%.4f</b></div>\n", f->value);
    else mffa_buf_puts(out, "<b>&ndash;</b><span class=\"why\">"), mffa_html_text(out, f->reason), mffa_buf_puts(out, "</span></div>\n");
}

static void cell(mffa_buf *out, const mffa_figure *f) {
    if (f->known) mffa_buf_putf(out, "<td class=\"n\">%.4f</td>", f->value);
    else mffa_buf_puts(out, "<td class=\"n\" title=\""), mffa_html_text(out, f->reason), mffa_buf_puts(out, "\">&ndash;</td>");
}

static void put_tiles(mffa_buf *out, const mffa_summary_scoring *s) {
    mffa_buf_puts(out, "<div class=\"figures\">\n");
    if (s->figures) {
        tile(out, "Image AUROC", &s->figures->image_auroc);
        tile(out, "Pixel AUROC", &s->figures->pixel_auroc);
        tile(out, "AUPRO", &s->figures->aupro);
        tile(out, "F1 max", &s->figures->f1_max);
    }
    tile(out, "Threshold", s->threshold);
    mffa_buf_putf(out, "<div>Pictures<b>%lld</b></div>\n</div>\n", (long long)s->images);
}

static void put_types(mffa_buf *out, const mffa_figures *f) {
    if (!f || f->type_count == 0) return;
    mffa_buf_puts(out, "<h2>Defect types</h2>\n<table><tr><th>Type</th><th class=\"n\">Pictures</th><th class=\"n\">Image AUROC</th>"
                       "<th class=\"n\">Pixel AUROC</th><th class=\"n\">AUPRO</th></tr>\n");
    for (size_t i = 0; i < f->type_count; i++) {
        const mffa_type_figures *t = &f->types[i];
        mffa_buf_puts(out, "<tr><td>"), mffa_html_text(out, t->type);
        mffa_buf_putf(out, "</td><td class=\"n\">%lld</td>", (long long)t->images);
        cell(out, &t->image_auroc), cell(out, &t->pixel_auroc), cell(out, &t->aupro);
        mffa_buf_puts(out, "</tr>\n");
    }
    mffa_buf_puts(out, "</table>\n");
}

static void put_skipped(mffa_buf *out, const mffa_skipped *s) {
    if (s->count == 0) return;
    mffa_buf_putf(out, "<h2>Left out: %lld</h2>\n<table><tr><th>Picture</th><th>Reason</th></tr>\n", (long long)s->count);
    for (int64_t i = 0; i < s->count && i < MFFA_SKIPPED_KEPT; i++) {
        mffa_buf_puts(out, "<tr><td>"), mffa_html_text(out, s->list[i].key);
        mffa_buf_puts(out, "</td><td>"), mffa_html_text(out, s->list[i].reason), mffa_buf_puts(out, "</td></tr>\n");
    }
    mffa_buf_puts(out, "</table>\n");
}

static void put_verdict(mffa_buf *out, const mffa_scored *i, const mffa_figure *threshold) {
    if (!threshold->known) return;
    bool found = (double)i->score.score >= threshold->value, wrong = i->label >= 0 && found != (i->label == 1);
    const char *word = !wrong ? (found ? "defect" : "normal") : found ? "false alarm" : "missed";
    mffa_buf_putf(out, " &middot; <span class=\"%s\">%s</span>", wrong ? "bad" : "good", word);
}

static void put_picture(mffa_buf *out, const mffa_scored *i, const mffa_figure *threshold) {
    mffa_buf_puts(out, "<figure>");
    if (i->heatmap) {
        mffa_buf_puts(out, "<a href=\""), mffa_html_href(out, i->heatmap), mffa_buf_puts(out, "\"><img loading=\"lazy\" alt=\"\" src=\"");
        mffa_html_href(out, i->heatmap), mffa_buf_puts(out, "\"></a>");
    }
    mffa_buf_putf(out, "<figcaption><b>%.6g</b>", (double)i->score.score);
    put_verdict(out, i, threshold);
    mffa_buf_puts(out, "<br><span class=\"dim\">"), mffa_html_text(out, i->key), mffa_buf_puts(out, "</span></figcaption></figure>\n");
}

static int by_score(const void *a, const void *b) { /* highest first, then by key: the same page from the same run */
    const mffa_scored *x = *(const mffa_scored *const *)a, *y = *(const mffa_scored *const *)b;
    if (x->score.score != y->score.score) return x->score.score < y->score.score ? 1 : -1;
    return strcmp(x->key, y->key);
}

static mffa_code put_gallery(mffa_buf *out, const mffa_scores *s, mffa_err *err) {
    MFFA_AUTO(mffa_free_p) const mffa_scored **order = mffa_alloc_array(s->count, sizeof *order);
    if (!order) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    for (size_t i = 0; i < s->count; i++) order[i] = &s->items[i];
    if (s->count > 1) qsort(order, s->count, sizeof *order, by_score);
    size_t shown = s->count < MFFA_REPORT_PICTURES ? s->count : MFFA_REPORT_PICTURES;
    mffa_buf_puts(out, "<h2>Pictures, highest score first</h2>\n");
    if (shown < s->count) mffa_buf_putf(out, "<p>The %zu highest of %zu; scores.msgpack has all.</p>\n", shown, s->count);
    mffa_buf_puts(out, "<div class=\"gallery\">\n");
    for (size_t i = 0; i < shown; i++) put_picture(out, order[i], &s->threshold);
    mffa_buf_puts(out, "</div>\n");
    return MFFA_OK;
}

static void put_row(mffa_buf *out, const char *name, const char *value) {
    if (!value || !*value) return;
    mffa_buf_putf(out, "<tr><td>%s</td><td>", name), mffa_html_text(out, value), mffa_buf_puts(out, "</td></tr>\n");
}

static void put_origin(mffa_buf *out, const mffa_summary *s) {
    char created[25];
    mffa_wall_text(s->created_ms, created);
    mffa_buf_puts(out, "<h2>How it was made</h2>\n<table>\n");
    put_row(out, "Job", s->job), put_row(out, "Data set", s->dataset), put_row(out, "Model", s->scoring->model_url);
    put_row(out, "Profile", s->profile->name), put_row(out, "Maps", s->scoring->maps);
    put_row(out, "Backbone", s->from->backbone_name), put_row(out, "Transformer", s->from->transformer_name);
    put_row(out, "Device", s->device), put_row(out, "Precision", s->precision), put_row(out, "Note", s->note);
    put_row(out, "Written", created), put_row(out, "Version", MFFA_VERSION);
    mffa_buf_putf(out, "<tr><td>Seconds</td><td>%.1f</td></tr>\n</table>\n", (double)mffa_timings_total_ms(s->timings) / 1000);
}

mffa_code mffa_report_write(const mffa_summary *s, const mffa_scores *scores, mffa_buf *out, mffa_err *err) {
    mffa_buf_puts(out, head);
    mffa_buf_puts(out, "<title>"), mffa_html_text(out, s->dataset),
        mffa_buf_puts(out, "</title></head><body>\n<h1>Anomaly report</h1>\n<p>");
    mffa_html_text(out, s->dataset), mffa_buf_puts(out, "</p>\n");
    put_tiles(out, s->scoring);
    put_types(out, s->scoring->figures);
    put_skipped(out, s->skipped);
    mffa_code rc = put_gallery(out, scores, err);
    if (rc) return rc;
    put_origin(out, s);
    mffa_buf_puts(out, "</body></html>\n");
    return mffa_buf_check(out, err);
}
