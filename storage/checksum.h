/* The checksum that an S3 server keeps of a whole object and sends with it ("x-amz-checksum-crc64nvme: ..."), compared with what came.
 * A composite one (of the parts' checksums, "...-3") says nothing about the bytes without the parts' ends and counts as none. */
#ifndef MFFA_STORAGE_CHECKSUM_H
#define MFFA_STORAGE_CHECKSUM_H

#include "core/base/crc.h"
#include "core/base/digest.h"
#include "storage/http.h"

typedef enum mffa_sum { MFFA_SUM_NONE, MFFA_SUM_CRC64NVME, MFFA_SUM_CRC32C, MFFA_SUM_CRC32, MFFA_SUM_SHA256, MFFA_SUM_COUNT } mffa_sum;
const char *mffa_sum_name(mffa_sum s);      /* "crc64nvme", as in the header's name */
const char *mffa_sum_algorithm(mffa_sum s); /* "CRC64NVME", as its value and in XML */
/* true, and which: a whole object's can be put together from its pieces' own, in whatever order they come. */
bool mffa_sum_is_crc(mffa_sum s, mffa_crc *kind);

enum { MFFA_SUM_TEXT = MFFA_SHA256_BASE64, MFFA_CRC_TEXT = 13 }; /* base64 with NUL */
void mffa_crc_text(mffa_crc kind, uint64_t value, char out[MFFA_CRC_TEXT]);

typedef struct mffa_checksum { /* zero-initialise: no checksum, which everything matches */
    mffa_sum kind;
    char want[MFFA_SUM_TEXT];
    uint64_t crc; /* of what was added */
    mffa_sha256 *sha256;
} mffa_checksum;
void mffa_checksum_done(mffa_checksum *c);

/* What an answer says of the whole object: the cheapest to compute of those that it gives. */
void mffa_checksum_read(const mffa_http_answer *a, mffa_checksum *out);
MFFA_MUST_USE mffa_code mffa_checksum_add(mffa_checksum *c, mffa_span piece, mffa_err *err);
/* After the last piece. */
bool mffa_checksum_matches(mffa_checksum *c);

/* The same for a CRC that was put together from pieces. */
bool mffa_checksum_is(const mffa_checksum *c, uint64_t crc);

#endif
