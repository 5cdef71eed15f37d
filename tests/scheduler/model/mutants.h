/* The library, each time with one thing wrong in it. */
#ifndef MFFA_TESTS_SCHEDULER_MODEL_MUTANTS_H
#define MFFA_TESTS_SCHEDULER_MODEL_MUTANTS_H

#include <stddef.h>

typedef struct mutant {
    const char *what, *from, *to; /* from stands in the library exactly once */
} mutant;
extern const mutant mutants[];
extern const size_t mutant_count;

char *mutant_source(const mutant *m); /* free it */

#endif
