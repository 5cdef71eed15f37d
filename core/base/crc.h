/* Cyclic redundancy checks of bytes: against accidents, not against anybody. The three that S3 servers keep for objects.
 * Source: the reflected forms of IEEE 802.3 (as zlib's), Castagnoli (RFC 3720, appendix B.4) and NVM Express (base specification 2.0,
 * section 5.2.1.3.4), all of which begin and end with every bit inverted. */
#ifndef MFFA_CORE_BASE_CRC_H
#define MFFA_CORE_BASE_CRC_H

#include <stddef.h>
#include <stdint.h>

typedef enum mffa_crc { MFFA_CRC32, MFFA_CRC32C, MFFA_CRC64NVME, MFFA_CRC_COUNT } mffa_crc;

int mffa_crc_bytes(mffa_crc kind); /* of its value: 4 or 8 */
/* The value after more bytes; so_far: 0 at the start. Any thread. */
uint64_t mffa_crc_add(mffa_crc kind, uint64_t so_far, const void *bytes, size_t len);
/* The value of two pieces one after the other; second_bytes: the length of the later one. */
uint64_t mffa_crc_join(mffa_crc kind, uint64_t first, uint64_t second, int64_t second_bytes);

#endif
