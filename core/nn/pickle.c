#include "core/nn/pickle.h"

#include <stdarg.h>
#include <string.h>

typedef mffa_pickle_value value;

enum { CHUNK = 256 };
typedef struct chunk {
    struct chunk *next;
    value values[CHUNK];
} chunk;

typedef struct list { /* of borrowed values */
    const value **at;
    size_t n, cap;
} list;

struct mffa_pickle {
    chunk *chunks;
    size_t used_in_chunk, items;
    const value *root;
    mffa_buf *names; /* texts of globals, "module.name" */
    size_t names_n, names_cap;
    /* the machine */
    const unsigned char *base;
    size_t len, at;
    const char *what;
    const char *const *globals;
    list stack, memo;
    size_t *marks;
    size_t marks_n, marks_cap;
    mffa_err *err;
    mffa_code failed;
};

/* The first failure is the one reported; after it the machine stops. */
__attribute__((format(printf, 2, 3))) static void stop(mffa_pickle *m, const char *fmt, ...) {
    if (m->failed) return;
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    m->failed = mffa_fail(m->err, MFFA_EINVAL, "\"%s\": pickle, byte %zu: %s", m->what, m->at, text);
}

static void out_of_memory(mffa_pickle *m) {
    if (!m->failed) m->failed = mffa_fail(m->err, MFFA_ENOMEM, "out of memory for the pickle in \"%s\"", m->what);
}

static bool reserve(void *array, size_t n, size_t *cap, size_t size) {
    if (n < *cap) return true;
    size_t more = *cap ? *cap * 2 : 8;
    void *old, *grown;
    memcpy(&old, array, sizeof old);
    if (!(grown = reallocarray(old, more, size))) return false;
    memcpy(array, &grown, sizeof grown);
    *cap = more;
    return true;
}

static value *make(mffa_pickle *m, mffa_pickle_kind kind) {
    if (!m->chunks || m->used_in_chunk == CHUNK) {
        chunk *c = calloc(1, sizeof *c);
        if (!c) return out_of_memory(m), NULL;
        c->next = m->chunks;
        m->chunks = c;
        m->used_in_chunk = 0;
    }
    value *v = &m->chunks->values[m->used_in_chunk++];
    v->kind = kind;
    return v;
}

static void add_item(mffa_pickle *m, value *to, const value *item) {
    if (m->failed || !to || !item) return;
    /* Each value costs a byte or more of input and goes into one container, or two as one of an OrderedDict's pairs. A pickle that
     * copies one list again and again ends here, not when memory does. */
    if (++m->items > 2 * m->len) { stop(m, "it holds more values than its size allows"); return; }
    if (!reserve(&to->items, to->n, &to->cap, sizeof *to->items)) { out_of_memory(m); return; }
    to->items[to->n++] = item;
}

static void push(mffa_pickle *m, const value *v) {
    if (m->failed || !v) return;
    if (!reserve(&m->stack.at, m->stack.n, &m->stack.cap, sizeof *m->stack.at)) { out_of_memory(m); return; }
    m->stack.at[m->stack.n++] = v;
}

static size_t floor_of_stack(const mffa_pickle *m) { return m->marks_n ? m->marks[m->marks_n - 1] : 0; }

/* The value on top; NULL (and stopped) when the stack, or its part above the last mark, is empty. */
static const value *top(mffa_pickle *m) {
    if (m->stack.n == floor_of_stack(m)) return stop(m, "the stack is empty"), NULL;
    return m->stack.at[m->stack.n - 1];
}

static const value *pop(mffa_pickle *m) {
    const value *v = top(m);
    if (v) m->stack.n--;
    return v;
}

/* Values are const to everyone but the machine that is building them. */
static value *building(const value *v) {
    union {
        const value *in;
        value *out;
    } u = {v};
    return u.out;
}

static void mark(mffa_pickle *m) {
    if (!reserve(&m->marks, m->marks_n, &m->marks_cap, sizeof *m->marks)) { out_of_memory(m); return; }
    m->marks[m->marks_n++] = m->stack.n;
}

/* Everything above the last mark, which goes: *n values, borrowed until the next push. */
static const value **since_mark(mffa_pickle *m, size_t *n) {
    *n = 0;
    if (!m->marks_n) return stop(m, "there is no mark"), NULL;
    size_t from = m->marks[--m->marks_n];
    *n = m->stack.n - from;
    m->stack.n = from;
    return m->stack.at + from;
}

static const unsigned char *take(mffa_pickle *m, uint64_t n) {
    if (m->failed) return NULL;
    if (n > m->len - m->at) return stop(m, "it ends in the middle, as in a download that was cut off"), NULL;
    const unsigned char *p = m->base + m->at;
    m->at += n;
    return p;
}

static uint64_t number(mffa_pickle *m, int bytes) {
    const unsigned char *p = take(m, (uint64_t)bytes);
    uint64_t v = 0;
    for (int i = 0; p && i < bytes; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

static value *push_new(mffa_pickle *m, mffa_pickle_kind kind) {
    value *v = make(m, kind);
    push(m, v);
    return v;
}

static void push_int(mffa_pickle *m, mffa_pickle_kind kind, int64_t num) {
    value *v = m->failed ? NULL : push_new(m, kind);
    if (v) v->num = num;
}

static void push_text(mffa_pickle *m, uint64_t len) {
    const unsigned char *p = take(m, len);
    value *v = p ? push_new(m, MFFA_PICKLE_TEXT) : NULL;
    if (v) v->text = (mffa_span){p, len};
}

static void push_long(mffa_pickle *m, uint64_t len) {
    if (len > 8) { stop(m, "an integer of %llu bytes", (unsigned long long)len); return; }
    const unsigned char *p = take(m, len);
    uint64_t v = p && len && p[len - 1] & 0x80 ? UINT64_MAX : 0;
    for (uint64_t i = 0; p && i < len; i++) v = (v & ~(UINT64_C(0xFF) << (8 * i))) | (uint64_t)p[i] << (8 * i);
    push_int(m, MFFA_PICKLE_INT, (int64_t)v);
}

static void push_real(mffa_pickle *m) {
    const unsigned char *p = take(m, 8); /* big-endian, unlike everything else */
    value *v = p ? push_new(m, MFFA_PICKLE_REAL) : NULL;
    if (!v) return;
    uint64_t bits = 0;
    for (int i = 0; i < 8; i++) bits = bits << 8 | p[i];
    memcpy(&v->real, &bits, sizeof bits);
}

static void push_global(mffa_pickle *m, mffa_span module, mffa_span name) {
    if (m->failed) return;
    if (!reserve(&m->names, m->names_n, &m->names_cap, sizeof *m->names)) { out_of_memory(m); return; }
    mffa_buf *full = &m->names[m->names_n++];
    *full = (mffa_buf){0};
    mffa_buf_put(full, module.ptr, module.len);
    mffa_buf_puts(full, ".");
    mffa_buf_put(full, name.ptr, name.len);
    if (full->failed) { out_of_memory(m); return; }
    bool known = mffa_span_is(mffa_buf_span(full), "collections.OrderedDict");
    for (const char *const *g = m->globals; !known && *g; g++) known = mffa_span_is(mffa_buf_span(full), *g);
    if (!known) { stop(m, "\"%.100s\" is refused: a file of tensors does not need it (nothing was executed)", full->ptr); return; }
    value *v = push_new(m, MFFA_PICKLE_GLOBAL);
    if (v) v->text = mffa_buf_span(full);
}

static mffa_span line(mffa_pickle *m) {
    const unsigned char *from = m->base + m->at, *end = memchr(from, '\n', m->len - m->at);
    if (m->failed || !end) return stop(m, "a name does not end"), (mffa_span){"", 0};
    m->at += (size_t)(end - from) + 1;
    return (mffa_span){from, (size_t)(end - from)};
}

static void global(mffa_pickle *m) {
    mffa_span module = line(m), name = line(m);
    push_global(m, module, name);
}

static void stack_global(mffa_pickle *m) {
    const value *name = pop(m), *module = pop(m);
    if (!name || !module) return;
    if (name->kind != MFFA_PICKLE_TEXT || module->kind != MFFA_PICKLE_TEXT) stop(m, "a global's name is not a text");
    else push_global(m, module->text, name->text);
}

static void tuple_of_top(mffa_pickle *m, size_t n) {
    if (m->stack.n - floor_of_stack(m) < n) { stop(m, "the stack is empty"); return; }
    value *t = make(m, MFFA_PICKLE_TUPLE);
    for (size_t i = 0; i < n; i++) add_item(m, t, m->stack.at[m->stack.n - n + i]);
    m->stack.n -= n;
    push(m, t);
}

static void gather(mffa_pickle *m, mffa_pickle_kind kind) {
    size_t n;
    const value **items = since_mark(m, &n);
    if (kind == MFFA_PICKLE_DICT && n % 2) { stop(m, "a dictionary has a key without a value"); return; }
    value *v = items ? make(m, kind) : NULL;
    for (size_t i = 0; v && i < n; i++) add_item(m, v, items[i]);
    push(m, v);
}

static void append_items(mffa_pickle *m, mffa_pickle_kind to, const value **items, size_t n) {
    const value *target = items ? top(m) : NULL;
    if (!target) return;
    if (target->kind != to || (to == MFFA_PICKLE_DICT && n % 2)) {
        stop(m, "items for what is no %s", to == MFFA_PICKLE_DICT ? "dictionary" : "list");
        return;
    }
    for (size_t i = 0; i < n; i++) add_item(m, building(target), items[i]);
}

static void append_one(mffa_pickle *m, mffa_pickle_kind to, size_t n) {
    if (m->stack.n - floor_of_stack(m) < n) { stop(m, "the stack is empty"); return; }
    m->stack.n -= n;
    append_items(m, to, m->stack.at + m->stack.n, n); /* pushes nothing, so they stay where they are */
}

static void append_since_mark(mffa_pickle *m, mffa_pickle_kind to) {
    size_t n;
    const value **items = since_mark(m, &n);
    append_items(m, to, items, n);
}

/* OrderedDict() and, from Python 2, OrderedDict([[key, value], ...]). */
static void ordered_dict(mffa_pickle *m, const value *args) {
    value *dict = make(m, MFFA_PICKLE_DICT);
    const value *pairs = mffa_pickle_item(args, 0);
    for (size_t i = 0; pairs && i < pairs->n; i++) {
        const value *key = mffa_pickle_item(mffa_pickle_item(pairs, i), 0), *item = mffa_pickle_item(mffa_pickle_item(pairs, i), 1);
        if (!key || !item) { stop(m, "an OrderedDict is made of something other than pairs"); return; }
        add_item(m, dict, key);
        add_item(m, dict, item);
    }
    push(m, dict);
}

static void reduce(mffa_pickle *m) {
    const value *args = pop(m), *callee = args ? pop(m) : NULL;
    if (!callee) return;
    if (callee->kind != MFFA_PICKLE_GLOBAL || args->kind != MFFA_PICKLE_TUPLE) {
        stop(m, "a call of something that is no function");
        return;
    }
    if (mffa_span_is(callee->text, "collections.OrderedDict")) { ordered_dict(m, args); return; }
    value *call = make(m, MFFA_PICKLE_CALL);
    add_item(m, call, callee);
    add_item(m, call, args);
    push(m, call);
}

/* A state dictionary carries attributes (its _metadata); they say nothing about tensors. On anything else they could mean a lot. */
static void build(mffa_pickle *m) {
    const value *attributes = pop(m), *object = attributes ? top(m) : NULL;
    if (object && object->kind != MFFA_PICKLE_DICT) stop(m, "attributes for what is no dictionary");
}

static void persistent(mffa_pickle *m) {
    const value *id = pop(m);
    value *v = id ? make(m, MFFA_PICKLE_PERSISTENT) : NULL;
    add_item(m, v, id);
    push(m, v);
}

static void put_memo(mffa_pickle *m, uint64_t index) {
    const value *v = top(m);
    if (!v) return;
    if (index > m->len) { stop(m, "memo %llu is beyond what this pickle can hold", (unsigned long long)index); return; }
    while (m->memo.n <= index) {
        if (!reserve(&m->memo.at, m->memo.n, &m->memo.cap, sizeof *m->memo.at)) { out_of_memory(m); return; }
        m->memo.at[m->memo.n++] = NULL;
    }
    m->memo.at[index] = v;
}

static void get_memo(mffa_pickle *m, uint64_t index) {
    if (m->failed) return;
    if (index >= m->memo.n || !m->memo.at[index]) stop(m, "memo %llu was never written", (unsigned long long)index);
    else push(m, m->memo.at[index]);
}

/* One instruction; false at STOP. Python's Lib/pickletools.py describes them all; these are what its pickler writes in protocols
 * 2 to 5 for dictionaries, lists, tuples, texts, numbers, and objects that reduce to a call. */
static bool step(mffa_pickle *m) {
    int op = (int)number(m, 1);
    switch (m->failed ? '.' : op) {
    case '.': return false;
    case 0x80: if (number(m, 1) > 5) stop(m, "a newer protocol than 5"); break;
    case 0x95: (void)take(m, 8); break; /* FRAME: a hint about lengths */
    case '(': mark(m); break;
    case 'N': push_int(m, MFFA_PICKLE_NONE, 0); break;
    case 0x88: push_int(m, MFFA_PICKLE_BOOL, 1); break;
    case 0x89: push_int(m, MFFA_PICKLE_BOOL, 0); break;
    case 'K': push_int(m, MFFA_PICKLE_INT, (int64_t)number(m, 1)); break;
    case 'M': push_int(m, MFFA_PICKLE_INT, (int64_t)number(m, 2)); break;
    case 'J': push_int(m, MFFA_PICKLE_INT, (int32_t)number(m, 4)); break;
    case 0x8a: push_long(m, number(m, 1)); break;
    case 'G': push_real(m); break;
    case 'X': case 'T': case 'B': push_text(m, number(m, 4)); break;
    case 0x8c: case 'U': case 'C': push_text(m, number(m, 1)); break;
    case 0x8d: case 0x8e: push_text(m, number(m, 8)); break;
    case ')': push_new(m, MFFA_PICKLE_TUPLE); break;
    case ']': push_new(m, MFFA_PICKLE_LIST); break;
    case '}': push_new(m, MFFA_PICKLE_DICT); break;
    case 0x85: case 0x86: case 0x87: tuple_of_top(m, (size_t)(op - 0x84)); break;
    case 't': gather(m, MFFA_PICKLE_TUPLE); break;
    case 'l': gather(m, MFFA_PICKLE_LIST); break;
    case 'd': gather(m, MFFA_PICKLE_DICT); break;
    case 'a': append_one(m, MFFA_PICKLE_LIST, 1); break;
    case 's': append_one(m, MFFA_PICKLE_DICT, 2); break;
    case 'e': append_since_mark(m, MFFA_PICKLE_LIST); break;
    case 'u': append_since_mark(m, MFFA_PICKLE_DICT); break;
    case 'q': put_memo(m, number(m, 1)); break;
    case 'r': put_memo(m, number(m, 4)); break;
    case 0x94: put_memo(m, m->memo.n); break;
    case 'h': get_memo(m, number(m, 1)); break;
    case 'j': get_memo(m, number(m, 4)); break;
    case 'c': global(m); break;
    case 0x93: stack_global(m); break;
    case 'R': reduce(m); break;
    case 'b': build(m); break;
    case 'Q': persistent(m); break;
    default: stop(m, "instruction 0x%02x is refused: a file of tensors does not need it (nothing was executed)", op);
    }
    return !m->failed;
}

mffa_code mffa_pickle_read(mffa_span bytes, const char *const *globals, const char *what, size_t *used, mffa_pickle **out, mffa_err *err) {
    MFFA_AUTO(mffa_pickle_close_p) mffa_pickle *m = calloc(1, sizeof *m);
    if (!m) return mffa_fail(err, MFFA_ENOMEM, "out of memory");
    m->base = bytes.ptr, m->len = bytes.len, m->what = what, m->globals = globals, m->err = err;
    if (!reserve(&m->stack.at, 0, &m->stack.cap, sizeof *m->stack.at)) out_of_memory(m);
    while (step(m)) {}
    if (!m->failed && (m->stack.n != 1 || m->marks_n)) stop(m, "%zu values are left at its end, not one", m->stack.n);
    if (m->failed) return m->failed;
    m->root = m->stack.at[0];
    if (used) *used = m->at;
    *out = MFFA_TAKE(m);
    return MFFA_OK;
}

void mffa_pickle_close(mffa_pickle *p) {
    if (!p) return;
    for (chunk *c = p->chunks, *next; c; c = next) {
        next = c->next;
        for (size_t i = 0; i < CHUNK; i++) free(c->values[i].items);
        free(c);
    }
    for (size_t i = 0; i < p->names_n; i++) mffa_buf_done(&p->names[i]);
    free(p->names);
    free(p->stack.at);
    free(p->memo.at);
    free(p->marks);
    free(p);
}

const mffa_pickle_value *mffa_pickle_root(const mffa_pickle *p) { return p->root; }

const mffa_pickle_value *mffa_pickle_item(const mffa_pickle_value *v, size_t i) {
    return v && (v->kind == MFFA_PICKLE_LIST || v->kind == MFFA_PICKLE_TUPLE) && i < v->n ? v->items[i] : NULL;
}

const mffa_pickle_value *mffa_pickle_find(const mffa_pickle_value *dict, const char *key) {
    for (size_t i = dict && dict->kind == MFFA_PICKLE_DICT ? dict->n : 0; i >= 2; i -= 2)
        if (mffa_pickle_is_text(dict->items[i - 2], key)) return dict->items[i - 1];
    return NULL;
}

bool mffa_pickle_calls(const mffa_pickle_value *v, const char *global_name) {
    return v && v->kind == MFFA_PICKLE_CALL && mffa_span_is(v->items[0]->text, global_name);
}

bool mffa_pickle_is_text(const mffa_pickle_value *v, const char *text) {
    return v && v->kind == MFFA_PICKLE_TEXT && mffa_span_is(v->text, text);
}

int64_t mffa_pickle_int(const mffa_pickle_value *v, int64_t otherwise) { return v && v->kind == MFFA_PICKLE_INT ? v->num : otherwise; }
