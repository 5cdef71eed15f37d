#include "tests/scheduler/model/schedule.h"

#include <ctype.h>
#include "core/base/rng.h"
#include "tests/scheduler/model/snapshot.h"
#include "tests/support/test.h"

typedef enum op_verb {
    SUBMIT,
    CHECK,
    CLAIM,
    CLAIM_AGAIN,
    BEAT,
    FINISH,
    FINISH_NEXT,
    FAIL,
    RELEASE,
    CANCEL,
    RETRY,
    SETPRIO,
    PAUSE,
    RESUME,
    DRAIN,
    STEP,
    REAP,
    RESTART,
    RELOAD,
    INBOX,
    CONFIGURE,
    READ,
    PEEK,
    WRONG,
    SETTLE,
    VERBS
} op_verb;
static const int weights[VERBS] = {16, 2, 15, 2, 7, 6, 4, 6, 5, 6, 8, 3, 1, 2, 1, 9, 8, 0, 1, 3, 1, 2, 2, 2, 0};

/* ---- one call ---- */

static bool wrong(bench *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool wrong(bench *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(b->why, sizeof b->why, fmt, ap);
    va_end(ap);
    return false;
}

static bool is_refusal(const char *answer) {
    return strcspn(answer, " ") > 2 && isupper((unsigned char)answer[0]) && isupper((unsigned char)answer[1]);
}

static const char *call(bench *b, const char *line) {
    const char *answer = mffa_test_fcall(&b->redis, "%s", line);
    snprintf(b->said, sizeof b->said, "%s", line);
    if (b->tell) printf("  %s\n    -> %s\n", line, answer);
    return answer;
}

/* want: the whole answer, or the code word of a refusal that must change nothing. */
static bool expect(bench *b, const char *want, const char *line) {
    bool refused = is_refusal(want);
    const char *answer = call(b, line);
    size_t len = strlen(want);
    if (refused ? strncmp(answer, want, len) != 0 || answer[len] != ' ' : strcmp(answer, want) != 0)
        return wrong(b, "%s\n  answered %s\n  expected %s", line, answer, want);
    b->wrote_nothing = refused;
    return true;
}

/* ---- submissions ---- */

static int one_of(mffa_rng *g, int n) { return (int)mffa_rng_below(g, (uint64_t)n); }
static bool chance(mffa_rng *g, int percent) { return one_of(g, 100) < percent; }
static int pick(mffa_rng *g, int percent, int a, int c, int d) {
    const int choice[] = {a, c, d};
    return chance(g, percent) ? choice[one_of(g, 3)] : -1;
}

static int some_job(const bench *b, mffa_rng *g) {
    int number = b->slots[one_of(g, SLOTS)];
    return number ? number : -1;
}

/* Most often one that has not ended: a refusal is soon tested. */
static int some_parent(const bench *b, mffa_rng *g) {
    int number = some_job(b, g);
    for (int i = 0; i < 3 && number > 0 && is_ended(b->m.jobs[number].state); i++) number = some_job(b, g);
    return number;
}

static void make_request(const bench *b, uint32_t r, submission *out) {
    static const job_kind often[] = {FIT, FIT, SCORE, EVALUATE, VERIFY, FINETUNE, PIPELINE};
    mffa_rng g;
    mffa_rng_init(&g, r, 1);
    memset(out, 0, sizeof *out); /* also the padding: requests are compared as bytes */
    out->prio = pick(&g, 30, 2, 5, 8), out->pool = chance(&g, 25) ? 1 : -1;
    out->delay_s = out->retries = out->timeout_s = out->keep_s = -1, out->trace = pick(&g, 15, 1, 2, 3);
    out->idem = out->after[0] = out->after[1] = out->reference = -1;
    if (out->prio == 5) out->prio = 9;
    if (chance(&g, 8)) { /* few different ones, so that keys meet again */
        out->kind = FIT, out->idem = one_of(&g, KEYS), out->prio = chance(&g, 20) ? 2 : -1, out->pool = -1;
        return;
    }
    out->kind = often[one_of(&g, 7)], out->psg_off = out->kind == PIPELINE && chance(&g, 50);
    out->delay_s = pick(&g, 15, 1, 5, 40), out->retries = pick(&g, 30, 0, 1, 4), out->timeout_s = pick(&g, 15, 3, 10, 20);
    out->keep_s = pick(&g, 20, 1, 10, 60);
    if (chance(&g, 35)) out->after[0] = some_parent(b, &g);
    if (chance(&g, out->after[0] > 0 ? 60 : 5)) out->after[1] = some_parent(b, &g);
    if (names_model(out->kind)) out->reference = chance(&g, 60) ? some_job(b, &g) : chance(&g, 50) ? OUTPUT : -1;
    if (out->kind == FIT && chance(&g, 40)) out->reference = chance(&g, 75) ? some_job(b, &g) : OUTPUT;
}

static void put_number(mffa_buf *out, const char *name, int n) {
    if (n >= 0) mffa_buf_putf(out, " %s %d", name, n);
}

/* "kind field value ..." */
static void put_request(const bench *b, const submission *r, const char *before_kind, mffa_buf *out) {
    mffa_buf_putf(out, "%s%s dataset s3://plant/data output s3://plant/out", before_kind, kind_names[r->kind]);
    put_number(out, "prio", r->prio), put_number(out, "delay", r->delay_s), put_number(out, "retries", r->retries);
    put_number(out, "timeout", r->timeout_s), put_number(out, "keep", r->keep_s);
    if (r->pool >= 0) mffa_buf_putf(out, " pool %s", pool_names[r->pool]);
    if (r->psg_off) mffa_buf_puts(out, " psg off");
    if (r->trace >= 0) mffa_buf_putf(out, " trace " TRACE, r->trace);
    if (r->idem >= 0) mffa_buf_putf(out, " idem k%d", r->idem);
    const char *first = r->after[0] >= 0 ? b->m.jobs[r->after[0]].id : "", *second = r->after[1] >= 0 ? b->m.jobs[r->after[1]].id : "";
    if (*first || *second) mffa_buf_putf(out, " after %s%s%s", first, *first && *second ? "," : "", second);
    const char *named = r->reference >= 0 ? b->m.jobs[r->reference].id : r->reference == OUTPUT ? "s3://plant/out" : "s3://plant/model";
    if (names_model(r->kind)) mffa_buf_putf(out, " model %s", named);
    if (r->kind == FIT && r->reference != -1) mffa_buf_putf(out, " backbone %s", named);
}

static bool take_names(bench *b, const submission *r, const char *ids) {
    if (!name_jobs(&b->m, ids)) return wrong(b, "the new ids \"%s\" do not follow the last ones (job %lld)", ids, (long long)b->m.seq);
    if (r->idem >= 0) snprintf(b->m.keys[r->idem].ids, sizeof b->m.keys[r->idem].ids, "%s", ids);
    return true;
}

static bool submit(bench *b, const op *o) {
    MFFA_AUTO(mffa_buf_done) mffa_buf line = {0};
    submission r;
    make_request(b, o->r, &r);
    put_request(b, &r, "submit ", &line);
    int64_t first = b->m.seq + 1;
    const char *want = model_submit(&b->m, &r, true);
    if (*want) return expect(b, want, mffa_buf_text(&line));
    for (int64_t i = first; i <= b->m.seq; i++) b->slots[(o->slot + i - first) % SLOTS] = (int)i;
    const char *answer = call(b, mffa_buf_text(&line));
    if (is_refusal(answer)) return wrong(b, "%s\n  answered %s\n  expected ids", mffa_buf_text(&line), answer);
    return take_names(b, &r, answer);
}

static bool check(bench *b, const op *o) {
    MFFA_AUTO(mffa_buf_done) mffa_buf line = {0};
    submission r;
    make_request(b, o->r, &r);
    put_request(b, &r, "check ", &line);
    const char *want = model_submit(&b->m, &r, false);
    if (is_refusal(want)) return expect(b, want, mffa_buf_text(&line));
    const char *answer = call(b, mffa_buf_text(&line));
    b->wrote_nothing = true;
    return strncmp(answer, *want ? "[made " : "[kind ", 6) == 0 || wrong(b, "%s\n  answered %s", mffa_buf_text(&line), answer);
}

static bool add_message(bench *b, const op *o) {
    MFFA_AUTO(mffa_buf_done) mffa_buf line = {0};
    assert_true(b->m.message_count < MESSAGES_MAX);
    message *msg = &b->m.messages[b->m.message_count++];
    make_request(b, o->r, &msg->r);
    msg->waiting = true, msg->broken = o->slot == 0;
    put_request(b, &msg->r, "XADD mffa:{main}:inbox * kind ", &line);
    if (msg->broken) mffa_buf_puts(&line, " epoch 3");
    snprintf(msg->id, sizeof msg->id, "%s", mffa_test_ask(&b->redis, "%s", mffa_buf_text(&line)));
    if (b->tell) printf("  %s\n    -> %s\n", mffa_buf_text(&line), msg->id);
    return true;
}

static bool name_message(model *m, message *msg, void *ctx) {
    bench *b = ctx;
    const char *ids = mffa_test_field(&b->redis, msg->id, "ids");
    (void)m;
    if (!msg->accepted) return true; /* the snapshot shows it */
    if (*msg->ids) return strcmp(ids, msg->ids) == 0 || wrong(b, "message %s was answered with %s, not %s", msg->id, ids, msg->ids);
    snprintf(msg->ids, sizeof msg->ids, "%s", ids);
    return take_names(b, &msg->r, ids);
}

/* ---- runs ---- */

static bool ends_with(const char *text, const char *end) {
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

/* line: the call that claims. */
static bool claim_by(bench *b, const char *line, int worker, const char *request, int lease) {
    char want[160], end[80];
    bool drain;
    int64_t waited;
    int number = model_claim(&b->m, worker, request, &drain, &waited);
    const job *j = &b->m.jobs[number];
    snprintf(want, sizeof want, "id %s run %lld nonce %s lease_ms %lld kind ", j->id, (long long)j->run, request, (long long)b->m.lease_ms);
    if (!number) return expect(b, drain ? "drain 1" : "(nil)", line);
    b->leases[lease] = (fence){.job = number, .worker = worker, .run = j->run};
    snprintf(b->leases[lease].nonce, sizeof b->leases[lease].nonce, "%s", request);
    const char *answer = call(b, line);
    int n = 0;
    if (j->inputs) n = snprintf(end, sizeof end, " inputs in%d", j->inputs);
    n += snprintf(end + n, sizeof end - (size_t)n, waited < 0 ? "" : " waited_ms %lld", (long long)waited);
    bool right = strncmp(answer, want, strlen(want)) == 0 && ends_with(answer, end) && !j->inputs == !strstr(answer, " inputs ");
    return right || wrong(b, "%s\n  answered %s\n  expected %s...%s", line, answer, want, end);
}
static bool claim_as(bench *b, int worker, const char *request, int lease) {
    char line[160];
    snprintf(line, sizeof line, "claim w%d %s pool %s kinds %s", worker, request, pool_names[worker_pool[worker]], worker_kinds[worker]);
    return claim_by(b, line, worker, request, lease);
}
static void make_nonce(const op *o, char request[33]) { snprintf(request, 33, "%08x%024x", o->r, o->lease); }
static bool claim(bench *b, const op *o) {
    char request[33];
    make_nonce(o, request);
    return claim_as(b, (int)(o->r % WORKERS), request, o->lease);
}
static bool claim_again(bench *b, const op *o) {
    fence f = b->leases[o->lease];
    return f.job ? claim_as(b, f.worker, f.nonce, o->slot % LEASES) : true;
}

/* A remembered claim, most often as it is; now and then with another nonce. */
static fence fence_of(const bench *b, const op *o) {
    fence f = b->leases[o->lease];
    if (!f.job) snprintf(f.nonce, sizeof f.nonce, "%032d", 1);
    if (o->r % 16 == 0) f.nonce[5] = f.nonce[5] == '0' ? '1' : '0';
    return f;
}
static const char *words_of(const bench *b, const fence *f) {
    static char text[128];
    snprintf(text, sizeof text, "%s %lld %s", f->job ? b->m.jobs[f->job].id : "kx-1", (long long)f->run, f->nonce);
    return text;
}
static bool say(bench *b, const fence *f, const char *verb, const char *rest, const char *want) {
    char line[256];
    snprintf(line, sizeof line, "%s %s%s", verb, words_of(b, f), rest);
    return expect(b, want, line);
}
static bool beat(bench *b, const op *o) {
    fence f = fence_of(b, o);
    bool progress = o->r % 2;
    int inputs = o->r % 5 ? 0 : 1 + (int)(o->r / 5 % 2);
    char rest[64];
    snprintf(rest, sizeof rest, inputs ? "%s inputs in%d" : "%s", progress ? " phase features done 3 total 9" : "", inputs);
    return say(b, &f, "beat", rest, model_beat(&b->m, &f, progress, inputs));
}
static bool finish(bench *b, const op *o) {
    char rest[96];
    fence f = fence_of(b, o);
    snprintf(rest, sizeof rest, " s3://plant/%s/%lld image_auroc 0.5", f.job ? b->m.jobs[f.job].id : "x", (long long)f.run);
    return say(b, &f, "finish", rest, model_finish(&b->m, &f));
}
/* The end of one run and the claim of the next in one call. */
static bool finish_next(bench *b, const op *o) {
    char line[320], request[33];
    fence f = fence_of(b, o);
    make_nonce(o, request);
    snprintf(line, sizeof line, "finish %s s3://plant/%s/%lld next %s", words_of(b, &f), f.job ? b->m.jobs[f.job].id : "x",
             (long long)f.run, request);
    const char *end = model_finish(&b->m, &f);
    if (is_refusal(end)) return expect(b, end, line);
    int worker = b->m.jobs[f.job].worker;
    if (model_drained(&b->m, worker)) return expect(b, "drain 1", line);
    if (!model_knows(&b->m, worker)) return expect(b, "(nil)", line);
    return claim_by(b, line, worker, request, o->lease);
}
static bool fail_run(bench *b, const op *o) {
    fence f = fence_of(b, o);
    bool again = o->r % 3 != 0;
    return say(b, &f, "fail", again ? " yes broken" : " no broken", model_fail(&b->m, &f, again));
}
static bool release(bench *b, const op *o) {
    fence f = fence_of(b, o);
    bool preempted = o->r % 3 != 0;
    return say(b, &f, "release", preempted ? " preempted" : " cancelled", model_release(&b->m, &f, preempted));
}

/* ---- steering ---- */

static bool of_job(bench *b, int number, const char *verb, const char *rest, const char *want) {
    char line[64];
    snprintf(line, sizeof line, "%s %s%s", verb, number ? b->m.jobs[number].id : "kx-1", rest);
    return expect(b, want, line);
}
static bool can_cancel(const job *j) { return !is_ended(j->state); }
static bool can_retry(const job *j) { return j->state == FAILED || j->state == DEAD || j->state == CANCELLED; }

/* The job in the op's slot, or most often the next one there that the call fits. */
static int job_for(const bench *b, const op *o, bool (*fits)(const job *j)) {
    for (int i = 0; i < SLOTS && o->r % 4; i++) {
        int number = b->slots[(o->slot + i) % SLOTS];
        if (number && !b->m.jobs[number].removed && fits(&b->m.jobs[number])) return number;
    }
    return b->slots[o->slot];
}
static bool cancel(bench *b, const op *o) {
    int number = job_for(b, o, can_cancel);
    return of_job(b, number, "cancel", "", model_cancel(&b->m, number));
}
static bool retry(bench *b, const op *o) {
    int number = job_for(b, o, can_retry);
    return of_job(b, number, "retry", "", model_retry(&b->m, number));
}
static bool setprio(bench *b, const op *o) {
    char rest[16];
    snprintf(rest, sizeof rest, " %u", o->r % 10);
    return of_job(b, b->slots[o->slot], "setprio", rest, model_setprio(&b->m, b->slots[o->slot], (int)(o->r % 10)));
}
static bool set_pause(bench *b, const op *o, bool paused) {
    char line[64];
    int at = (int)(o->r % (KINDS + POOLS));
    if (at < KINDS) b->m.paused_kind[at] = paused;
    else b->m.paused_pool[at - KINDS] = paused;
    const char *name = at < KINDS ? kind_names[at] : pool_names[at - KINDS];
    snprintf(line, sizeof line, "%s %s %s", paused ? "pause" : "resume", at < KINDS ? "kind" : "pool", name);
    return expect(b, paused ? "paused" : "resumed", line);
}
static bool pause_some(bench *b, const op *o) { return set_pause(b, o, true); }
static bool resume(bench *b, const op *o) { return set_pause(b, o, false); }
static bool drain(bench *b, const op *o) {
    char line[32];
    snprintf(line, sizeof line, "drain w%u", o->r % WORKERS);
    return expect(b, model_drain(&b->m, (int)(o->r % WORKERS)), line);
}
static bool configure(bench *b, const op *o) {
    static const int64_t queued[] = {5, 12, 20}, lease[] = {5000, 30000, 30000};
    char line[96];
    b->m.max_queued = queued[o->r % 3], b->m.lease_ms = lease[o->slot % 3];
    snprintf(line, sizeof line, "configure max_queued %lld lease_ms %lld", (long long)b->m.max_queued, (long long)b->m.lease_ms);
    return expect(b, "OK", line);
}

/* ---- time, and what it brings ---- */

static void pass(bench *b, int64_t ms) {
    b->now += ms, b->m.now = b->now;
    mffa_test_redis_set_time(&b->redis, b->now);
    if (b->tell) printf("  %lld ms later\n", (long long)ms);
}
static bool step(bench *b, const op *o) {
    static const int64_t sizes[] = {1, 400, 1000, 1000, 3000, 6000, 11000, 31000, 31000, 130000};
    pass(b, o->r % 50 == 0 ? INT64_C(90000000) : sizes[o->r % 10]);
    return true;
}
static bool reap(bench *b, const op *o) {
    char want[128];
    reaped n;
    const char *answer = call(b, "reap");
    (void)o;
    if (!model_reap(&b->m, &n, name_message, b)) return false;
    snprintf(want, sizeof want, "lost %d promoted %d answered %d removed %d more 0 ", n.lost, n.promoted, n.answered, n.removed);
    return strncmp(answer, want, strlen(want)) == 0 || wrong(b, "reap\n  answered %s\n  expected %s...", answer, want);
}

static void load(bench *b) {
    mffa_err err = {0};
    MFFA_AUTO(mffa_reply_close_p) mffa_reply *reply = NULL;
    const mffa_span words[] = {mffa_span_of("FUNCTION"), mffa_span_of("LOAD"), mffa_span_of("REPLACE"), mffa_span_of(b->source)};
    assert_ok(mffa_queue_command(b->redis.queue, words, MFFA_COUNT(words), &reply, &err));
    b->m.new_process = b->m.grace_due = true;
}
static bool reload(bench *b, const op *o) {
    (void)o;
    pass(b, 1); /* no two processes begin at the same moment */
    load(b);
    if (b->tell) printf("  FUNCTION LOAD REPLACE\n");
    return true;
}
static bool restart(bench *b, const op *o) {
    (void)o;
    mffa_test_redis_restart(&b->redis); /* the library comes back with the data */
    b->m.new_process = b->m.grace_due = true;
    if (b->tell) printf("  redis-server killed and started again\n");
    return true;
}

/* ---- calls that change nothing ---- */

static bool read_some(bench *b, const op *o) {
    static const char *const calls[] = {"status %s", "explain %s",        "list limit 5",
                                        "stats",     "list state queued", "list state failed cursor 1:1"};
    char line[64];
    int number = b->slots[o->slot];
    const char *form = calls[o->r % 6];
    bool named_job = strchr(form, '%') != NULL;
    snprintf(line, sizeof line, "%.*s%s", (int)strcspn(form, "%"), form, named_job ? (number ? b->m.jobs[number].id : "kx-1") : "");
    const char *answer = call(b, line), *want = named_job && !find_job(&b->m, number) ? "NOTFOUND " : "";
    bool right = is_refusal(answer) == (*want != '\0') && strncmp(answer, want, strlen(want)) == 0;
    b->wrote_nothing = true;
    return right || wrong(b, "%s\n  answered %s", line, answer);
}
static bool peek(bench *b, const op *o) {
    static model copy;
    static job jobs[JOBS_MAX];
    char line[96], want[64] = "(nil)";
    int worker = (int)(o->r % WORKERS);
    bool drained;
    int64_t waited;
    copy = b->m, copy.jobs = jobs;
    memcpy(jobs, b->m.jobs, (size_t)(b->m.seq + 1) * sizeof *jobs);
    copy.workers[worker] = (worker_record){0};
    int number = model_claim(&copy, worker, "peek", &drained, &waited);
    if (number) snprintf(want, sizeof want, "id %s ", b->m.jobs[number].id);
    snprintf(line, sizeof line, "peek pool %s kinds %s", pool_names[worker_pool[worker]], worker_kinds[worker]);
    const char *answer = call(b, line);
    return strncmp(answer, want, strlen(want)) == 0 || wrong(b, "%s\n  answered %s\n  expected %s", line, answer, want);
}
static bool wrong_call(bench *b, const op *o) {
    static const char *const calls[][2] = {
        {"submit fit dataset s3://plant/d", "BADFIELD"},
        {"submit fot dataset s3://plant/d output s3://plant/o", "BADKIND"},
        {"submit fit dataset s3://plant/d output s3://plant/o prio 12", "BADFIELD"},
        {"submit score dataset s3://plant/d output s3://plant/o model kx-99", "NOPARENT"},
        {"submit fit dataset s3://plant/d output s3://plant/o after kx-99", "NOPARENT"},
        {"claim w0 12", "BADFIELD"},
        {"claim w0 00000000000000000000000000000009 lib 999", "OLDLIB"},
        {"cancel kx-1", "NOTFOUND"},
        {"retry kx-1", "NOTFOUND"},
        {"pause kind pipeline", "BADFIELD"},
        {"drain nobody", "NOTFOUND"},
        {"configure lease_ms 1", "BADFIELD"},
    };
    const char *const *c = calls[o->r % MFFA_COUNT(calls)];
    return expect(b, c[1], c[0]);
}

/* ---- steps ---- */

static bool settle(bench *b, const op *o);
static bool (*const verbs[VERBS])(bench *b, const op *o) = {
    submit, check, claim, claim_again, beat,    finish, finish_next, fail_run,  release,   cancel, retry,      setprio, pause_some,
    resume, drain, step,  reap,        restart, reload, add_message, configure, read_some, peek,   wrong_call, settle};

static void remember(bench *b) {
    job *jobs = b->before.jobs;
    size_t from = (size_t)b->m.first, n = (size_t)(b->m.seq + 1) - from;
    b->before = b->m, b->before.jobs = jobs;
    memcpy(jobs + from, b->m.jobs + from, n * sizeof *jobs);
}

/* One call, and everything is looked at afterwards. */
static bool checked(bench *b, const op *o) {
    int64_t writes = b->writes;
    b->steps++, b->wrote_nothing = false;
    remember(b);
    if (!verbs[o->verb](b, o)) return false;
    if (!snapshot_agrees(&b->redis, &b->m, &b->writes, b->why, sizeof b->why)) return false;
    if (b->wrote_nothing && b->writes != writes) return wrong(b, "rule 11: %s\n  was refused, or only read, and wrote something", b->said);
    const char *rule = broken_rule(&b->before, &b->m, o->verb == RETRY, o->verb == FINISH_NEXT);
    return !rule || wrong(b, "rule %s", rule);
}

static bool at_rest(const bench *b) {
    for (int i = 0; i < b->m.message_count; i++)
        if (b->m.messages[i].waiting) return false;
    return open_jobs(&b->m, 0) + open_jobs(&b->m, 1) == 0;
}

/* Rule 1 to its end: left alone with working workers every job ends, and after its time nothing is left of it. */
static bool settle(bench *b, const op *o) {
    for (uint32_t i = 0; i < KINDS + POOLS; i++)
        if (!checked(b, &(op){.verb = RESUME, .r = i})) return false;
    if (!checked(b, &(op){.verb = CONFIGURE, .r = 2})) return false;
    for (uint32_t round = 0; round < 400 && !at_rest(b); round++) {
        uint32_t r = o->r + round * 1000003;
        if (!checked(b, &(op){.verb = CLAIM, .r = r}) || !checked(b, &(op){.verb = FINISH, .r = r | 1})) return false;
        if (round % WORKERS == 0) pass(b, 601000);
        if (round % WORKERS == 0 && !checked(b, &(op){.verb = REAP})) return false;
    }
    if (!at_rest(b)) return wrong(b, "rule 1: a job never ended although every worker finished whatever it got");
    pass(b, INT64_C(2) * 86400000);
    if (!checked(b, &(op){.verb = REAP})) return false;
    return b->m.first > b->m.seq || wrong(b, "rule 12: records are left after their time");
}

/* ---- schedules ---- */

void bench_open(bench *b) {
    static job jobs[JOBS_MAX];
    b->now = INT64_C(1893456000000); /* 2030 */
    mffa_test_redis_start_at(&b->redis, false, b->now);
    b->before.jobs = jobs;
}
void bench_close(bench *b) {
    mffa_test_redis_stop(&b->redis);
    free(b->m.jobs);
}

void schedule_make(schedule *s, uint64_t seed, uint64_t number) {
    mffa_rng g;
    int sum = 0;
    mffa_rng_init(&g, seed, number);
    for (int v = 0; v < VERBS; v++) sum += weights[v];
    s->count = STEPS_MAX, s->restarts = number % 8 == 7;
    for (int i = 0; i < STEPS_MAX; i++) {
        int at = one_of(&g, sum), v = 0;
        while (at >= weights[v]) at -= weights[v++];
        if (s->restarts && one_of(&g, 150) == 0) v = RESTART;
        uint8_t slot = (uint8_t)one_of(&g, SLOTS), lease = (uint8_t)one_of(&g, LEASES);
        s->ops[i] = (op){.verb = (uint8_t)v, .slot = slot, .lease = lease, .r = mffa_rng_u32(&g)};
    }
    s->ops[STEPS_MAX - 1].verb = SETTLE;
}

static void begin(bench *b, const schedule *s) {
    char settings[128];
    if (s->restarts || b->redis.keeps) mffa_test_redis_renew(&b->redis, s->restarts);
    else mffa_test_ask(&b->redis, "FLUSHALL");
    pass(b, 1);
    model_begin(&b->m, b->now);
    memset(b->slots, 0, sizeof b->slots), memset(b->leases, 0, sizeof b->leases);
    load(b);
    snapshot_load(&b->redis);
    snprintf(settings, sizeof settings, "configure retention_s %d dead_retention_s %d backoff_ms %d max_queued %d lease_ms %d", RETENTION_S,
             DEAD_RETENTION_S, BACKOFF_MS, (int)b->m.max_queued, (int)b->m.lease_ms);
    assert_string_equal(mffa_test_fcall(&b->redis, "%s", settings), "OK");
    if (!snapshot_agrees(&b->redis, &b->m, &b->writes, b->why, sizeof b->why)) fail_msg("an empty queue: %s", b->why);
}

bool schedule_run(bench *b, const schedule *s, int *at) {
    begin(b, s);
    for (*at = 0; *at < s->count;)
        if (!checked(b, &s->ops[(*at)++])) return false;
    return true;
}

void schedule_shrink(bench *b, schedule *s, long steps) {
    long until = b->steps + steps;
    for (int part = s->count / 2; part >= 1 && b->steps < until;) {
        bool less = false;
        for (int from = 0; from + part <= s->count && b->steps < until;) {
            schedule shorter = *s;
            int at;
            memmove(shorter.ops + from, shorter.ops + from + part, (size_t)(s->count - from - part) * sizeof(op));
            shorter.count -= part;
            if (schedule_run(b, &shorter, &at)) from += part;
            else *s = shorter, s->count = at, less = true;
        }
        if (!less || part > s->count) part /= 2;
    }
}
