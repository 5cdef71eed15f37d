/* Text and addresses in HTML, made harmless. */
#ifndef MFFA_WORKER_HTML_H
#define MFFA_WORKER_HTML_H

#include "core/base/buf.h"

void mffa_html_text(mffa_buf *out, const char *text); /* & < > " ' as entities; NULL: nothing */
void mffa_html_href(mffa_buf *out, const char *path); /* a relative path, percent-encoded but for letters, digits and - . _ ~ / */

#endif
