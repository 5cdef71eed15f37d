/* Python pickles read as data. Nothing is executed and no module is looked up: a stack machine with the instructions that Python's
 * pickler writes for plain values builds a tree. A global is a name, a call is a callee with its arguments, a persistent id is a
 * value; what they mean is the caller's business. `collections.OrderedDict` alone is understood, as a dictionary.
 * Every global must be on the caller's list: another one is refused by its name, and so is every other instruction.
 * The tree lives until the pickle is closed. Its size is bounded by the input's. */
#ifndef MFFA_CORE_NN_PICKLE_H
#define MFFA_CORE_NN_PICKLE_H

#include "core/base/buf.h"

typedef enum mffa_pickle_kind {
    MFFA_PICKLE_NONE,
    MFFA_PICKLE_BOOL,
    MFFA_PICKLE_INT,
    MFFA_PICKLE_REAL,
    MFFA_PICKLE_TEXT,  /* text: str and bytes alike; points into the input */
    MFFA_PICKLE_TUPLE, /* items, as LIST */
    MFFA_PICKLE_LIST,
    MFFA_PICKLE_DICT,       /* items: key, value, key, value... in order of insertion; a key may come twice */
    MFFA_PICKLE_GLOBAL,     /* text: "module.name" */
    MFFA_PICKLE_CALL,       /* items: callee (a GLOBAL), arguments (a TUPLE) */
    MFFA_PICKLE_PERSISTENT, /* items: the id */
} mffa_pickle_kind;

typedef struct mffa_pickle_value {
    mffa_pickle_kind kind;
    int64_t num;    /* INT, BOOL */
    double real;    /* REAL */
    mffa_span text; /* TEXT, GLOBAL */
    const struct mffa_pickle_value **items;
    size_t n, cap;
} mffa_pickle_value;

typedef struct mffa_pickle mffa_pickle;
/* One pickle from the front of bytes (borrowed until close); *used, which may be NULL: its length. globals: NULL-terminated
 * "module.name"s. what names the bytes in errors. MFFA_EINVAL says what was met and at which byte. */
MFFA_MUST_USE mffa_code mffa_pickle_read(mffa_span bytes, const char *const *globals, const char *what, size_t *used, mffa_pickle **out,
                                         mffa_err *err);
void mffa_pickle_close(mffa_pickle *p);
static inline void mffa_pickle_close_p(mffa_pickle **p) { mffa_pickle_close(*p); }
const mffa_pickle_value *mffa_pickle_root(const mffa_pickle *p);

/* Small readers: NULL values and other kinds give NULL, false or the default. */
const mffa_pickle_value *mffa_pickle_item(const mffa_pickle_value *v, size_t i);         /* of a LIST or TUPLE */
const mffa_pickle_value *mffa_pickle_find(const mffa_pickle_value *dict, const char *key); /* the last one of that text */
bool mffa_pickle_calls(const mffa_pickle_value *v, const char *global);                  /* a CALL of it */
bool mffa_pickle_is_text(const mffa_pickle_value *v, const char *text);
int64_t mffa_pickle_int(const mffa_pickle_value *v, int64_t otherwise);

#endif
