/*
 * crc32c.h - the checksum that notices damage: CRC-32C (Castagnoli), RFC 3720 appendix B.4.
 *
 * Against rot and torn writes, not against people.
 */
#ifndef STORE_CRC32C_H
#define STORE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of what was seen so far (0 at first) and n more bytes. */
uint32_t crc32c(uint32_t so_far, const void *bytes, size_t n);

#endif
