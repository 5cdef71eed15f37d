/* The function library of scheduler/functions, joined at build time (functions.cmake). */
#ifndef MFFA_SCHEDULER_FUNCTIONS_H
#define MFFA_SCHEDULER_FUNCTIONS_H

#include <stddef.h>

extern const char mffa_functions_source[]; /* the Lua text, NUL-terminated */
extern const size_t mffa_functions_len;
extern const int mffa_functions_version; /* its VERSION */

#endif
