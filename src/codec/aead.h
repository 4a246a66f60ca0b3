/*
 * aead.h - AES-256-GCM by the processor's own instructions, where there are any.
 *
 * For net/: the TLS library's portable code goes through a record block by block; libsodium's uses
 * what the processor has, many blocks at a time. Nothing here is available elsewhere, so
 * callers keep their other way. Pure but for looking at the processor once.
 */
#ifndef CODEC_AEAD_H
#define CODEC_AEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { AEAD_KEY_BYTES = 32, AEAD_NONCE_BYTES = 12, AEAD_TAG_BYTES = 16 };

bool aead_is_available(void);

/* out: as long as in, may be in itself. Only when aead_is_available(). */
void aead_seal(const uint8_t *key, const uint8_t *nonce, const uint8_t *ad, size_t ad_len,
               const uint8_t *in, size_t len, uint8_t *out, uint8_t *tag);

/* False: not authentic; out is then cleared. */
bool aead_open(const uint8_t *key, const uint8_t *nonce, const uint8_t *ad, size_t ad_len,
               const uint8_t *in, size_t len, uint8_t *out, const uint8_t *tag);

#endif
