/* What the preloaded library (crash.c) and the test that steers it share: a mapped file. */
#ifndef MFFA_TESTS_SUPPORT_CRASH_PAGE_H
#define MFFA_TESTS_SUPPORT_CRASH_PAGE_H

#include <stdatomic.h>

enum { CRASH_POINT_BYTES = 128, CRASH_POINTS = 1000 };

struct crash_page {
    atomic_int on;                                   /* 0: nothing is noted and nobody is killed */
    atomic_int noted;                                /* points that were come to since it was switched on */
    char point[CRASH_POINTS][CRASH_POINT_BYTES];     /* "sent mffa_claim", "named run-1-*_manifest.json" */
    char target[CRASH_POINT_BYTES];                  /* "": nobody is killed */
    int nth;                                         /* at which time of coming to the target, 1: the first */
    atomic_int seen;                                 /* how often it was come to */
    atomic_int killed;                               /* the process that was killed for it */
};

#endif
