/* What every test program includes: cmocka with the headers it wants before it. */
#ifndef MFFA_TESTS_SUPPORT_TEST_H
#define MFFA_TESTS_SUPPORT_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MFFA_TEST_SKIP = 77 }; /* exit code: say why on stdout first */

/* Asserts that a call succeeded, printing the error's text if not. */
#define assert_ok(call)                                                                                                              \
    do {                                                                                                                             \
        mffa_code assert_ok_rc = (call);                                                                                             \
        if (assert_ok_rc) fail_msg("%s: %s (%s)", #call, err.msg, mffa_code_name(assert_ok_rc));                                       \
    } while (0)

#endif
