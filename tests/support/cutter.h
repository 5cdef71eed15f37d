/* A proxy between a client and the private Redis that cuts the connection once, at one chosen command: a client that meets every such cut
 * has met every way in which a call can be lost. Runs as a process of its own, gone with the test program; one client at a time. */
#ifndef MFFA_TESTS_SUPPORT_CUTTER_H
#define MFFA_TESTS_SUPPORT_CUTTER_H

#include "tests/support/redis.h"

typedef enum mffa_cut {
    MFFA_CUT_COMMAND, /* the command never reaches Redis */
    MFFA_CUT_REPLY    /* Redis does it, the answer never comes back */
} mffa_cut;

typedef struct mffa_cutter_state mffa_cutter_state;
typedef struct mffa_cutter {
    char url[112], path[104]; /* connect here */
    pid_t pid;
    mffa_cutter_state *state; /* shared with the proxy */
} mffa_cutter;

void mffa_cutter_start(mffa_cutter *c, const mffa_test_redis *r);
void mffa_cutter_stop(mffa_cutter *c);
void mffa_cutter_restart(mffa_cutter *c, const mffa_test_redis *r); /* at the same place; a stopped one cuts everybody off */
/* The n-th command from now (1: the next) is cut. */
void mffa_cutter_set(mffa_cutter *c, int n, mffa_cut how);
/* False: fewer commands than that have come. */
bool mffa_cutter_has_cut(const mffa_cutter *c);

#endif
