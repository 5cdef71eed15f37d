#include "worker/meter.h"

#include <string.h>

void mffa_meter_note(mffa_meter *m, const char *phase, int64_t done, int64_t total, int64_t now_ms) {
    bool same = strcmp(m->phase, phase) == 0;
    if (same && m->done == done && m->total == total) return;
    if (!same) {
        snprintf(m->phase, sizeof m->phase, "%s", phase);
        m->began_ms = now_ms, m->began_done = done;
    }
    m->done = done, m->total = total, m->moved_ms = now_ms;
}

mffa_beat mffa_meter_beat(const mffa_meter *m, int64_t now_ms) {
    int64_t ms = now_ms - m->began_ms, did = m->done - m->began_done;
    double rate = ms > 0 && did > 0 ? 1000.0 * (double)did / (double)ms : 0;
    int64_t eta_s = rate > 0 && m->total >= m->done ? (int64_t)((double)(m->total - m->done) / rate + .5) : -1;
    return (mffa_beat){.phase = m->phase, .done = m->done, .total = m->total, .rate = rate, .eta_s = eta_s, .inputs = m->inputs};
}
