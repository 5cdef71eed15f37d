#include "tests/scheduler/model/model.h"

#include <string.h>

enum { LOSSES = 3 };

static bool waits(const job *j) {
    for (int i = 0; i < j->parent_count; i++)
        if (j->waits[i]) return true;
    return false;
}

static bool there(const model *m, int number) { return m->jobs[number].state != NONE && !m->jobs[number].removed; }

/* Rules 1, 3 and 4: what may become of a job in one step. */
static const char *changed_wrongly(const job *a, const job *b, int64_t now, bool retried, bool chained) {
    if (b->removed) return is_ended(a->state) && a->until <= now ? NULL : "1: a job vanished before its end and the time after it";
    if (strcmp(a->id, b->id) != 0) return "1: a job has another id";
    if (b->run < a->run || b->run > a->run + 1) return "3: run grows by one with each claim and never shrinks";
    if (b->run != a->run && a->state != QUEUED && !(chained && a->state == BLOCKED)) return "3: only a queued job begins a run";
    if (b->run == a->run && strcmp(a->nonce, b->nonce) != 0) return "3: the nonce changed within a run";
    if (is_held(a->state) && !is_held(b->state) && !b->run_ended) return "3: a run went without an end";
    if (!is_ended(a->state) || a->state == b->state) return NULL;
    return retried && a->state != DONE ? NULL : "4: an ended job changed its state without a retry";
}

/* Rules 5 and 12, of a job as it stands. */
static const char *stands_wrongly(const model *m, const job *j) {
    bool alive = false;
    for (int i = 0; i < j->parent_count; i++) alive |= j->waits[i] && there(m, j->parents[i]) && !is_ended(m->jobs[j->parents[i]].state);
    if (j->state == BLOCKED && !alive) return "5: a job waits for nobody who could end";
    if ((j->state == QUEUED || is_held(j->state) || j->state == DONE) && waits(j)) return "5: a job went on before its parents were done";
    if (j->state == SKIPPED && !j->cause) return "5: a skipped job names no cause";
    if ((j->lost >= LOSSES) != (j->state == DEAD)) return "12: dead is a job that was lost three times, and no other";
    return NULL;
}

/* Rule 10, of a job that was just claimed. */
static const char *overtook(const model *m, const job *taken) {
    int pool = taken->r.pool < 0 ? 0 : taken->r.pool;
    if (m->paused_pool[pool] || m->paused_kind[taken->r.kind]) return "10: a paused job was claimed";
    for (int i = m->first; i <= m->seq; i++) {
        const job *j = &m->jobs[i];
        if (!there(m, i) || j->state != QUEUED || (j->r.pool < 0 ? 0 : j->r.pool) != pool || m->paused_kind[j->r.kind]) continue;
        if (!strstr(worker_kinds[taken->worker], kind_names[j->r.kind])) continue;
        int a = j->r.prio < 0 ? 5 : j->r.prio, b = taken->r.prio < 0 ? 5 : taken->r.prio;
        if (a > b || (a == b && j->seq < taken->seq)) return "10: a job was claimed before one that comes first";
    }
    return NULL;
}

const char *broken_rule(const model *before, const model *after, bool retried, bool chained) {
    const char *wrong = NULL;
    for (int i = before->first; i <= before->seq && !wrong; i++)
        if (there(before, i)) wrong = changed_wrongly(&before->jobs[i], &after->jobs[i], after->now, retried, chained);
    for (int i = after->first; i <= after->seq && !wrong; i++) {
        const job *j = &after->jobs[i];
        if (!there(after, i)) continue;
        wrong = stands_wrongly(after, j);
        if (!wrong && i <= before->seq && before->jobs[i].run < j->run) wrong = overtook(after, j);
    }
    return wrong;
}
