/* Zip archives in memory, read-only: what PyTorch's files need, checked before anything in them is believed.
 * Understood: stored and deflated entries, zip64, entries with data descriptors. Refused by name: encryption, archives in several
 * pieces, two entries of one name, entries that reach outside the archive, a checksum that does not match.
 * Thread rule: one thread at a time. */
#ifndef MFFA_CORE_NN_ZIP_H
#define MFFA_CORE_NN_ZIP_H

#include "core/base/buf.h"

typedef struct mffa_zip mffa_zip;
bool mffa_zip_looks_like(mffa_span bytes); /* starts like an archive */
/* bytes: borrowed until close. what: names them in errors. MFFA_EINVAL says what is wrong. */
MFFA_MUST_USE mffa_code mffa_zip_open(mffa_span bytes, const char *what, mffa_zip **out, mffa_err *err);
void mffa_zip_close(mffa_zip *z);
static inline void mffa_zip_close_p(mffa_zip **z) { mffa_zip_close(*z); }
size_t mffa_zip_count(const mffa_zip *z);
const char *mffa_zip_name(const mffa_zip *z, size_t i); /* sorted by bytes */
/* An entry's content: of a stored one the archive's own bytes, else unpacked once and kept until close. Its CRC-32 is checked.
 * MFFA_ENOTFOUND when absent; MFFA_EINVAL when damaged or larger than max_bytes. */
MFFA_MUST_USE mffa_code mffa_zip_get(mffa_zip *z, const char *name, size_t max_bytes, mffa_span *out, mffa_err *err);

#endif
