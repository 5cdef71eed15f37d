/* Puts that are not waited for, several at a time: what fails is said at the next one, or at the end. Nothing runs in the background:
 * whoever puts the next object moves the others along. Private to storage/s3_*.c; of one thread. */
#ifndef MFFA_STORAGE_S3_LATER_H
#define MFFA_STORAGE_S3_LATER_H

#include "storage/s3_store.h"

/* store stays with the caller, and is used by what is not simple: large objects, the first conditional put. */
MFFA_MUST_USE mffa_code mffa_s3_later_open(mffa_s3_store *store, mffa_s3_later **out, mffa_err *err);
void mffa_s3_later_close(mffa_s3_later *l); /* what was not settled may or may not have arrived */

/* key: whole. body: taken over; in memory it is copied, a descriptor is closed when it is sent. Fails with what an earlier one failed
 * with. */
MFFA_MUST_USE mffa_code mffa_s3_later_put(mffa_s3_later *l, const char *key, const mffa_http_body *body, mffa_put how, mffa_err *err);
/* Waits for all; the first failure since the last call. */
MFFA_MUST_USE mffa_code mffa_s3_later_settle(mffa_s3_later *l, mffa_err *err);

#endif
