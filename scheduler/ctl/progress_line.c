#include "scheduler/ctl/progress_line.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "core/base/clock.h"

enum { LIVE_MS = 100, PLAIN_MS = 5000 };

void mffa_progress_line_init(mffa_progress_line *l, FILE *out, const char *label) {
    const char *terminal = getenv("TERM");
    *l = (mffa_progress_line){.out = out, .live = isatty(fileno(out)) && terminal && strcmp(terminal, "dumb") != 0};
    snprintf(l->label, sizeof l->label, "%s", label);
}

static void print_line(const mffa_progress_line *l, int64_t now, bool last) {
    double seconds = (double)(now - l->began_ms) / 1000, did = (double)(l->done - l->first);
    fprintf(l->out, "%s%s%s%s", l->live ? "\r\x1b[K" : "", l->label, *l->label ? "  " : "", l->phase);
    if (l->total > 1) fprintf(l->out, "  %lld of %lld", (long long)l->done, (long long)l->total);
    if (l->total > 1 && did > 0 && seconds > .05) fprintf(l->out, "  %.*f/s", did < 10 * seconds ? 1 : 0, did / seconds);
    if (last) fprintf(l->out, "  in %.1f s", seconds);
    else if (did > 0 && l->total > l->done) fprintf(l->out, "  %.0f s left", (double)(l->total - l->done) * seconds / did + .5);
    if (last || !l->live) fputc('\n', l->out);
    fflush(l->out);
}

void mffa_progress_line_end(mffa_progress_line *l, bool complete) {
    if (complete) l->done = l->total;
    if (l->open) print_line(l, mffa_now_ms(), true);
    l->open = false;
}

void mffa_progress_line_show(mffa_progress_line *l, const char *phase, int64_t done, int64_t total) {
    int64_t now = mffa_now_ms();
    bool begins = !l->open || strcmp(phase, l->phase) != 0;
    if (begins) {
        mffa_progress_line_end(l, true);
        snprintf(l->phase, sizeof l->phase, "%s", phase);
        l->open = true, l->began_ms = now, l->first = done;
    }
    l->done = done, l->total = total;
    if (!begins && now - l->shown_ms < (l->live ? LIVE_MS : PLAIN_MS)) return;
    l->shown_ms = now;
    print_line(l, now, false);
}

static bool tick(void *ctx, const char *phase, int64_t done, int64_t total) {
    mffa_progress_line_show(ctx, phase, done, total);
    return true;
}

mffa_progress mffa_progress_line_watch(mffa_progress_line *l) { return (mffa_progress){l, tick}; }
