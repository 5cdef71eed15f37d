#include "worker/html.h"

#include <ctype.h>
#include <string.h>

void mffa_html_text(mffa_buf *out, const char *text) {
    static const char special[] = "&<>\"'";
    static const char *const entities[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
    while (text && *text) {
        size_t n = strcspn(text, special);
        mffa_buf_put(out, text, n);
        text += n;
        if (*text) mffa_buf_puts(out, entities[strchr(special, *text++) - special]);
    }
}

void mffa_html_href(mffa_buf *out, const char *path) {
    for (; *path; path++) {
        unsigned char c = (unsigned char)*path;
        if (c < 0x80 && (isalnum(c) || strchr("-._~/", c))) mffa_buf_put(out, path, 1);
        else mffa_buf_putf(out, "%%%02X", c);
    }
}
