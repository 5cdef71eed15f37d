#include "tests/scheduler/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DAY_MS = 86400000, LOSSES = 3, BACKOFF_MOST_MS = 600000, WORKER_LIST_MS = 3600000, WORKER_RENEW_MS = 20000 };

const char *const kind_names[] = {"finetune", "fit", "evaluate", "score", "verify", "pipeline"};
const char *const state_names[] = {"none",      "blocked", "queued", "delayed", "running", "cancelling",
                                   "done",      "failed",  "dead",   "cancelled", "skipped"};
const char *const pool_names[POOLS] = {"default", "gpu"};
const char *const worker_kinds[WORKERS] = {"finetune,fit,evaluate,score,verify", "fit", "finetune,fit,evaluate,score,verify",
                                             "score,evaluate", "fit,finetune"};
const int worker_pool[WORKERS] = {0, 0, 1, 0, 1};

void model_begin(model *m, int64_t now) {
    job *jobs = m->jobs ? m->jobs : malloc(JOBS_MAX * sizeof *jobs);
    memset(m, 0, sizeof *m);
    memset(jobs, 0, JOBS_MAX * sizeof *jobs);
    m->jobs = jobs, m->now = now, m->first = 1;
    m->max_queued = 12, m->lease_ms = 30000;
    m->new_process = m->grace_due = true;
}

bool is_held(job_state s) { return s == RUNNING || s == CANCELLING; }
bool is_ended(job_state s) { return s >= DONE; }

job *find_job(model *m, int number) {
    return number > 0 && number < JOBS_MAX && m->jobs[number].state != NONE && !m->jobs[number].removed ? &m->jobs[number] : NULL;
}
static int number_of(const model *m, const job *j) { return (int)(j - m->jobs); }
static int pool_of(const job *j) { return j->r.pool < 0 ? 0 : j->r.pool; }
int64_t ready_place(const job *j) { return (9 - (j->r.prio < 0 ? 5 : j->r.prio)) * (INT64_C(1) << 48) + j->seq; }

int open_jobs(const model *m, int pool) {
    int n = 0;
    for (int i = m->first; i <= m->seq; i++)
        if (m->jobs[i].state != NONE && !is_ended(m->jobs[i].state) && pool_of(&m->jobs[i]) == pool) n++;
    return n;
}

bool names_model(job_kind kind) { return kind == EVALUATE || kind == SCORE || kind == VERIFY; }

static void tally(model *m, const char *what, const char *which, const char *how) {
    char name[32];
    int at = 0;
    snprintf(name, sizeof name, "%s:%s%s%s", what, which, *how ? ":" : "", how);
    while (at < m->count_count && strcmp(m->counts[at].name, name) != 0) at++;
    if (at == m->count_count) {
        if (at == COUNTS_MAX) abort();
        memcpy(m->counts[m->count_count++].name, name, sizeof name);
    }
    m->counts[at].n++;
}

static bool still_waits(const job *j) {
    for (int i = 0; i < j->parent_count; i++)
        if (j->waits[i]) return true;
    return false;
}
static bool waits_for(const job *j, int number) {
    for (int i = 0; i < j->parent_count; i++)
        if (j->waits[i] && j->parents[i] == number) return true;
    return false;
}

/* ---- states ---- */

static void enqueue(model *m, job *j) {
    j->state = QUEUED, j->open_since = j->queued = m->now;
}

static void start(model *m, job *j) {
    if (j->due > m->now) j->state = DELAYED;
    else enqueue(m, j);
    j->until = j->due;
}

static void settle(model *m, job *j, job_state s) {
    int64_t keep = j->r.keep_s >= 0 ? j->r.keep_s : s == DEAD ? DEAD_RETENTION_S : RETENTION_S;
    j->state = s, j->ended = m->now, j->until = m->now + keep * 1000;
    j->reason = s != DONE;
    tally(m, "ended", kind_names[j->r.kind], state_names[s]);
    if (j->run) j->ev_until = m->now + DAY_MS;
}

/* Those that wait for a job that ended badly, and those that wait for them. */
static void skip_dependents(model *m, int root, int of) {
    for (int i = m->first; i <= m->seq; i++) {
        job *k = find_job(m, i);
        if (!k || k->state != BLOCKED || !waits_for(k, of)) continue;
        settle(m, k, SKIPPED);
        k->cause = root;
        skip_dependents(m, root, i);
    }
}

static void url_of(const job *j, char *out, size_t size) { snprintf(out, size, "s3://plant/%s/%lld", j->id, (long long)j->result); }

static void release_dependents(model *m, job *j) {
    int number = number_of(m, j);
    for (int i = m->first; i <= m->seq; i++) {
        job *k = find_job(m, i);
        if (!k || !waits_for(k, number)) continue;
        for (int p = 0; p < k->parent_count; p++)
            if (k->parents[p] == number) k->waits[p] = false;
        if (k->r.reference == number) url_of(j, k->reference_url, sizeof k->reference_url);
        if (k->state == BLOCKED && !still_waits(k)) start(m, k);
    }
}

static void end_as(model *m, job *j, job_state s) {
    settle(m, j, s);
    if (s == DONE) release_dependents(m, j);
    else skip_dependents(m, number_of(m, j), number_of(m, j));
}

static void close_run(job *j, const char *how) {
    j->run_ended = how;
    j->progress = j->timed_out = false, j->ev_at = 0;
}

static void run_failed(model *m, job *j, bool again) {
    int64_t wait = BACKOFF_MS;
    j->failures++;
    tally(m, "failures", kind_names[j->r.kind], "");
    if (!again || j->failures > (j->r.retries < 0 ? 2 : j->r.retries)) {
        end_as(m, j, FAILED);
        return;
    }
    for (int64_t i = 1; i < j->failures && wait < BACKOFF_MOST_MS; i++) wait *= 2;
    j->state = DELAYED, j->reason = true;
    j->until = m->now + (wait < BACKOFF_MOST_MS ? wait : BACKOFF_MOST_MS);
}

static void run_stopped(model *m, job *j) {
    bool timed_out = j->timed_out;
    close_run(j, timed_out ? "failed" : "cancelled");
    if (timed_out) run_failed(m, j, true);
    else end_as(m, j, CANCELLED);
}

static void run_lost(model *m, job *j) {
    if (j->state == CANCELLING) {
        run_stopped(m, j);
        return;
    }
    close_run(j, "lost");
    tally(m, "lost", kind_names[j->r.kind], "");
    if (++j->lost >= LOSSES) end_as(m, j, DEAD);
    else enqueue(m, j);
}

/* ---- submitting ---- */

static bool ended_badly(const job *parent) { return !parent || (is_ended(parent->state) && parent->state != DONE); }

static const char *look_at_parent(model *m, int number, int kind, job *out) {
    job *p = find_job(m, number);
    if (!p) return "NOPARENT";
    if (kind >= 0 && p->r.kind != (job_kind)kind) return "BADFIELD";
    if (ended_badly(p)) return "PARENTENDED";
    if (p->state == DONE) {
        if (kind >= 0) url_of(p, out->reference_url, sizeof out->reference_url);
        return NULL;
    }
    for (int i = 0; i < out->parent_count; i++)
        if (out->parents[i] == number) return NULL;
    out->waits[out->parent_count] = true;
    out->parents[out->parent_count++] = number;
    return NULL;
}

static void add_job(model *m, const job *j) {
    job *new = &m->jobs[++m->seq];
    *new = *j;
    new->seq = m->seq, new->ev_until = -1;
    m->pool_seen[pool_of(j)] = true;
    if (still_waits(new)) new->state = BLOCKED;
    else start(m, new);
    new->queued = 0;
}

static bool alive(int64_t until, int64_t now) { return until >= now; } /* a key that expires is there until its ms is over */
bool model_is_there(const model *m, int64_t until) { return alive(until, m->now); }

static bool same_fields(const submission *a, const submission *b) { return memcmp(a, b, sizeof *a) == 0; }

static int parts_of(const submission *r) { return r->kind != PIPELINE ? 1 : r->psg_off ? 2 : 3; }

static void add_pipeline(model *m, const submission *r, job *first) {
    static const job_kind chain[] = {FINETUNE, FIT, EVALUATE};
    job j = *first;
    for (int i = r->psg_off ? 1 : 0; i < 3; i++) {
        j.r.kind = chain[i];
        add_job(m, &j);
        j = (job){.r = *r, .parents = {(int)m->seq}, .parent_count = 1, .waits = {true}};
        j.r.delay_s = j.r.after[0] = j.r.after[1] = j.r.idem = -1, j.r.reference = (int)m->seq;
    }
}

const char *model_submit(model *m, const submission *r, bool store) {
    job j = {.r = *r};
    const char *refused = NULL;
    if (r->idem >= 0 && alive(m->keys[r->idem].until, m->now))
        return same_fields(&m->keys[r->idem].r, r) ? m->keys[r->idem].ids : "BADFIELD";
    for (int i = 0; i < 2 && !refused; i++)
        if (r->after[i] >= 0) refused = look_at_parent(m, r->after[i], -1, &j);
    if (!refused && r->reference >= 0) refused = look_at_parent(m, r->reference, r->kind == FIT ? FINETUNE : FIT, &j);
    if (refused) return refused;
    if (open_jobs(m, pool_of(&j)) + parts_of(r) > m->max_queued) return "FULL";
    if (!store) return "";
    if (r->delay_s >= 0) j.due = m->now + r->delay_s * INT64_C(1000);
    if (r->kind == PIPELINE) add_pipeline(m, r, &j);
    else add_job(m, &j);
    if (r->idem >= 0) m->keys[r->idem].until = m->now + DAY_MS, m->keys[r->idem].r = *r, m->keys[r->idem].ids[0] = '\0';
    return "";
}

static bool new_epoch(model *m, const char *epoch) {
    bool fits = m->new_process ? strcmp(epoch, m->epoch) != 0 : strcmp(epoch, m->epoch) == 0;
    snprintf(m->epoch, sizeof m->epoch, "%s", epoch);
    m->new_process = false;
    return fits;
}

bool name_jobs(model *m, const char *ids) {
    int64_t first = m->seq;
    while (first > 0 && m->jobs[first].state != NONE && !*m->jobs[first].id) first--;
    for (int64_t i = first + 1; i <= m->seq; i++) {
        char epoch[8];
        long long number = 0;
        int used = 0;
        if (sscanf(ids, " %4[a-z0-9]-%lld%n", epoch, &number, &used) != 2 || number != i || !new_epoch(m, epoch)) return false;
        snprintf(m->jobs[i].id, sizeof m->jobs[i].id, "%s-%lld", epoch, number);
        ids += used;
    }
    return *ids == '\0';
}

/* ---- working ---- */

static worker_record *seen(model *m, int number) {
    worker_record *w = &m->workers[number];
    int64_t keep = 3 * m->lease_ms > 60000 ? 3 * m->lease_ms : 60000;
    bool lives = alive(w->until, m->now);
    if (!lives) *w = (worker_record){.listed = w->listed};
    w->seen = m->now;
    if (!lives || m->now - w->listed >= WORKER_RENEW_MS) w->listed = m->now, w->until = m->now + keep;
    return w;
}

static bool takes(const model *m, int worker, const job *j) {
    return j->state == QUEUED && pool_of(j) == worker_pool[worker] && strstr(worker_kinds[worker], kind_names[j->r.kind]) != NULL &&
           !m->paused_pool[pool_of(j)] && !m->paused_kind[j->r.kind];
}

static void pin_reference(model *m, job *j) {
    job_kind of = j->r.kind == FIT ? FINETUNE : FIT;
    if (j->r.reference != OUTPUT || *j->reference_url || !alive(m->newest[of].until, m->now)) return;
    memcpy(j->reference_url, m->newest[of].url, sizeof j->reference_url);
}

int model_claim(model *m, int number, const char *request, bool *drain, int64_t *waited_ms) {
    worker_record *w = &m->workers[number];
    bool known = alive(w->until, m->now);
    job *j = known && strcmp(w->request, request) == 0 ? find_job(m, w->job) : NULL;
    *drain = false, *waited_ms = -1;
    if (j && is_held(j->state) && strcmp(j->nonce, request) == 0) return w->job;
    if (known && w->drain) return *drain = true, 0;
    job *best = NULL;
    for (int i = m->first; i <= m->seq; i++)
        if (find_job(m, i) && takes(m, number, &m->jobs[i]) && (!best || ready_place(&m->jobs[i]) < ready_place(best))) best = &m->jobs[i];
    w = seen(m, number);
    w->introduced = true, w->job = best ? number_of(m, best) : 0;
    snprintf(w->request, sizeof w->request, "%s", best ? request : "");
    if (!best) return 0;
    best->state = RUNNING, best->run++, best->started = m->now, best->worker = number, best->run_ended = NULL;
    best->until = m->now + m->lease_ms;
    *waited_ms = m->now - best->open_since;
    snprintf(best->nonce, sizeof best->nonce, "%s", request);
    pin_reference(m, best);
    return w->job;
}

bool model_knows(const model *m, int worker) { return alive(m->workers[worker].until, m->now) && m->workers[worker].introduced; }
bool model_drained(const model *m, int worker) { return alive(m->workers[worker].until, m->now) && m->workers[worker].drain; }

/* The job of a fence; *again when its run has ended in one of these ways. NULL: fenced. */
static job *fenced(model *m, const fence *f, const char *how, bool *again) {
    job *j = find_job(m, f->job);
    *again = false;
    if (!j || j->run != f->run || strcmp(j->nonce, f->nonce) != 0) return NULL;
    if (is_held(j->state)) return j;
    *again = j->run_ended && strstr(how, j->run_ended);
    return *again ? j : NULL;
}

static void free_worker(model *m, const job *j) {
    worker_record *w = &m->workers[j->worker];
    if (alive(w->until, m->now) && w->job == number_of(m, j)) w->job = 0, w->request[0] = '\0';
}

const char *model_beat(model *m, const fence *f, bool progress, int inputs) {
    bool again;
    job *j = fenced(m, f, "", &again);
    if (!j) return "FENCED";
    worker_record *w = seen(m, j->worker);
    w->job = f->job;
    if (progress) {
        j->progress = true;
        if (m->now - j->ev_at >= 1000) j->ev_at = m->now;
    }
    if (inputs) j->inputs = inputs;
    bool too_long = j->r.timeout_s > 0 && m->now - j->started > j->r.timeout_s * INT64_C(1000);
    if (j->state == RUNNING && too_long) j->state = CANCELLING, j->timed_out = true;
    if (j->state == RUNNING) j->until = m->now + m->lease_ms;
    return j->state == CANCELLING ? "cancel" : w->drain ? "drain" : "go";
}

const char *model_finish(model *m, const fence *f) {
    bool again;
    job *j = fenced(m, f, "done", &again);
    if (!j) return "FENCED";
    if (again) return "done";
    close_run(j, "done");
    free_worker(m, j);
    j->result = j->run;
    end_as(m, j, DONE);
    if (j->r.kind == FIT || j->r.kind == FINETUNE) {
        m->newest[j->r.kind].until = j->until;
        url_of(j, m->newest[j->r.kind].url, sizeof m->newest[0].url);
    }
    return "done";
}

const char *model_fail(model *m, const fence *f, bool retryable) {
    bool again;
    job *j = fenced(m, f, "failed cancelled", &again);
    if (!j) return "FENCED";
    if (again) return state_names[j->state];
    free_worker(m, j);
    if (j->state == CANCELLING) run_stopped(m, j);
    else close_run(j, "failed"), run_failed(m, j, retryable);
    return state_names[j->state];
}

const char *model_release(model *m, const fence *f, bool preempted) {
    bool again;
    job *j = fenced(m, f, "preempted cancelled failed", &again);
    if (!j) return "FENCED";
    if (again) return state_names[j->state];
    if (j->state == RUNNING && !preempted) return "BADSTATE";
    free_worker(m, j);
    if (j->state == CANCELLING) run_stopped(m, j);
    else close_run(j, "preempted"), j->preempted++, tally(m, "preempted", kind_names[j->r.kind], ""), enqueue(m, j);
    return state_names[j->state];
}

/* ---- steering ---- */

const char *model_cancel(model *m, int number) {
    job *j = find_job(m, number);
    if (!j) return "NOTFOUND";
    if (j->state == CANCELLED || (j->state == CANCELLING && !j->timed_out)) return state_names[j->state];
    if (is_ended(j->state)) return "BADSTATE";
    if (is_held(j->state)) j->state = CANCELLING, j->timed_out = false;
    else end_as(m, j, CANCELLED);
    return state_names[j->state];
}

static int by_id(const void *a, const void *b) { return strcmp((*(job *const *)a)->id, (*(job *const *)b)->id); }

/* The first parent, by the text of its id, that keeps a skipped job from waiting again; kept: dependents that stay skipped. */
static int obstacle(model *m, const job *k, int root, const bool *found) {
    int at = 0;
    for (int i = 0; i < k->parent_count; i++) {
        int p = k->parents[i];
        if (!k->waits[i] || p == root || found[p] || !ended_badly(find_job(m, p))) continue;
        if (!at || strcmp(m->jobs[p].id, m->jobs[at].id) < 0) at = p;
    }
    return at;
}

static void revive_dependents(model *m, int root) {
    static bool found[JOBS_MAX];
    job *list[JOBS_MAX];
    int n = 0;
    memset(found, 0, sizeof found);
    for (bool more = true; more;) {
        more = false;
        for (int i = m->first; i <= m->seq; i++) {
            job *k = find_job(m, i);
            if (!k || found[i] || k->state != SKIPPED || k->cause != root) continue;
            for (int p = 0; p < k->parent_count && !found[i]; p++)
                found[i] = k->waits[p] && (k->parents[p] == root || found[k->parents[p]]);
            if (found[i]) list[n++] = k, more = true;
        }
    }
    qsort(list, (size_t)n, sizeof list[0], by_id);
    for (bool changed = true; changed;) {
        changed = false;
        for (int i = 0; i < n; i++) {
            int at = found[number_of(m, list[i])] ? obstacle(m, list[i], root, found) : 0;
            if (!at) continue;
            job *p = find_job(m, at);
            list[i]->cause = p && p->state == SKIPPED ? p->cause : at;
            found[number_of(m, list[i])] = false, changed = true;
        }
    }
    for (int i = 0; i < n; i++)
        if (found[number_of(m, list[i])]) list[i]->state = BLOCKED, list[i]->cause = 0, list[i]->reason = false, list[i]->ended = 0;
}

const char *model_retry(model *m, int number) {
    job *j = find_job(m, number);
    if (!j) return "NOTFOUND";
    if (j->state != FAILED && j->state != DEAD && j->state != CANCELLED) return "BADSTATE";
    for (int i = 0; i < j->parent_count; i++)
        if (j->waits[i] && ended_badly(find_job(m, j->parents[i]))) return "PARENTENDED";
    if (open_jobs(m, pool_of(j)) + 1 > m->max_queued) return "FULL";
    j->failures = j->lost = j->due = j->ended = 0, j->reason = false;
    j->seq = ++m->seq, j->has_seq = true;
    j->ev_until = -1;
    if (still_waits(j)) j->state = BLOCKED;
    else start(m, j);
    revive_dependents(m, number);
    return state_names[j->state];
}

const char *model_setprio(model *m, int number, int prio) {
    job *j = find_job(m, number);
    if (!j) return "NOTFOUND";
    if (is_ended(j->state)) return "BADSTATE";
    j->r.prio = prio;
    return state_names[j->state];
}

const char *model_drain(model *m, int number) {
    if (!alive(m->workers[number].until, m->now)) return "NOTFOUND";
    m->workers[number].drain = true;
    return "draining";
}

/* ---- reaping ---- */

static bool is_refusal_word(const char *answer) { return *answer >= 'A' && *answer <= 'Z'; }

static bool answer_messages(model *m, reaped *out, bool (*name)(model *m, message *msg, void *ctx), void *ctx) {
    bool full[POOLS] = {false};
    for (int i = 0; i < m->message_count; i++) {
        message *msg = &m->messages[i];
        int pool = msg->r.pool < 0 ? 0 : msg->r.pool;
        if (!msg->waiting || (!msg->broken && full[pool])) continue;
        const char *answer = msg->broken ? "BADFIELD" : model_submit(m, &msg->r, true);
        if (strcmp(answer, "FULL") == 0) {
            full[pool] = true;
            continue;
        }
        msg->waiting = false, msg->created = m->now, msg->until = m->now + RETENTION_S * INT64_C(1000);
        if (is_refusal_word(answer)) tally(m, "refused", answer, "");
        msg->accepted = *answer == '\0' || strchr(answer, '-');
        snprintf(msg->ids, sizeof msg->ids, "%s", strchr(answer, '-') ? answer : "");
        out->answered++;
        if (!name(m, msg, ctx)) return false;
    }
    return true;
}

static void remove_old(model *m, reaped *out) {
    for (int i = m->first; i <= m->seq; i++) {
        job *j = find_job(m, i);
        if (j && is_ended(j->state) && j->until <= m->now) j->removed = true, out->removed++;
    }
    for (int i = 0; i < m->message_count; i++) {
        message *msg = &m->messages[i];
        if (!msg->waiting && !msg->removed && msg->until <= m->now) msg->removed = true, out->removed++;
    }
    while (m->first <= m->seq && !find_job(m, m->first)) m->first++;
    for (int i = 0; i < WORKERS; i++)
        if (m->workers[i].listed && m->workers[i].listed <= m->now - WORKER_LIST_MS) m->workers[i].listed = 0;
}

static int by_lease(const void *a, const void *b) {
    const job *x = *(job *const *)a, *y = *(job *const *)b;
    return x->until != y->until ? (x->until < y->until ? -1 : 1) : strcmp(x->id, y->id);
}

/* In the order of their ends: it decides which of two parents is the cause. */
static void lose_runs(model *m, reaped *out) {
    job *list[JOBS_MAX];
    size_t n = 0;
    for (int i = m->first; i <= m->seq; i++) {
        job *j = find_job(m, i);
        if (!j || !is_held(j->state)) continue;
        if (m->grace_due) j->until = m->now + m->lease_ms;
        else if (j->until <= m->now) list[n++] = j;
    }
    if (n) qsort(list, n, sizeof list[0], by_lease);
    for (size_t i = 0; i < n; i++) run_lost(m, list[i]), out->lost++;
    m->grace_due = false;
}

bool model_reap(model *m, reaped *out, bool (*name)(model *m, message *msg, void *ctx), void *ctx) {
    *out = (reaped){0};
    lose_runs(m, out);
    for (int i = m->first; i <= m->seq; i++) {
        job *j = find_job(m, i);
        if (j && j->state == DELAYED && j->until <= m->now) enqueue(m, j), j->due = 0, out->promoted++;
    }
    if (!answer_messages(m, out, name, ctx)) return false;
    remove_old(m, out);
    return true;
}
