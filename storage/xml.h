/* The XML that S3 answers with, read from memory over expat. A document type is refused (that is where entity bombs live), nesting and
 * the length of a text are bounded. */
#ifndef MFFA_STORAGE_XML_H
#define MFFA_STORAGE_XML_H

#include "core/base/buf.h"

/* Called at the end of every element. path: the names from the root, such as "ListBucketResult/Contents/Key". text: what stood in the
 * element itself, "" for one that holds elements. Both borrowed during the call. */
typedef mffa_code mffa_xml_each(void *ctx, const char *path, const char *text, mffa_err *err);

/* MFFA_EIO: not well-formed, or past a bound; else what fn failed with first. */
MFFA_MUST_USE mffa_code mffa_xml_read(mffa_span document, mffa_xml_each *fn, void *ctx, mffa_err *err);
/* text with &, <, >, quotes and carriage returns as entities, appended to out. */
void mffa_xml_quote(mffa_buf *out, const char *text);

#endif
