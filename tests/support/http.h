/* A plain HTTP/1.0 question to a port of this machine. */
#ifndef MFFA_TESTS_SUPPORT_HTTP_H
#define MFFA_TESTS_SUPPORT_HTTP_H

#include "core/base/buf.h"

/* The status; head and body go into out. 0: nothing answers. */
int mffa_test_http(int port, const char *method, const char *path, mffa_buf *out);
/* The port that the line "endpoint.started" of this log names; 0: not there yet. */
int mffa_test_http_port(const char *log);
/* The value of a sample such as a_total{kind="fit"} in a page; -1: it is not there. */
double mffa_test_sample(const mffa_buf *page, const char *series);
/* The page's metrics pass promtool's check, where there is one; says so where there is none. */
void mffa_test_promtool(const mffa_buf *page);

#endif
