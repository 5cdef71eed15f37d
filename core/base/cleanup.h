/* Scope-bound cleanup.
 * MFFA_AUTO(fn) calls fn(&variable) when the variable leaves its scope, on every return path.
 * MFFA_TAKE(p) hands a pointer on and leaves NULL behind, so the cleanup that follows does nothing.
 * Neither runs on exit, longjmp or thread cancellation: library code uses none of these. */
#ifndef MFFA_CORE_BASE_CLEANUP_H
#define MFFA_CORE_BASE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MFFA_AUTO(fn)  __attribute__((cleanup(fn)))
#define MFFA_MUST_USE  __attribute__((warn_unused_result))
#define MFFA_TAKE(p)   __extension__({ __typeof__(p) taken_ = (p); (p) = NULL; taken_; })
#define MFFA_COUNT(a)  (sizeof(a) / sizeof((a)[0]))

/* For MFFA_AUTO: free memory, close a descriptor (-1: nothing), close a stream. */
static inline void mffa_free_p(void *p) { free(*(void **)p); }
static inline void mffa_close_fd_p(int *fd) { if (*fd >= 0) close(*fd); }
static inline void mffa_fclose_p(FILE **f) { if (*f) fclose(*f); }

#endif
