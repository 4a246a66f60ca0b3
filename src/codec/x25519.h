/*
 * x25519.h - Diffie-Hellman over Curve25519 (RFC 7748 section 5), by libsodium.
 *
 * For net/: the TLS library does it with the same general big numbers as every other curve, more than ten times
 * slower, and twice for each handshake. Pure; in constant time, as libsodium promises.
 */
#ifndef CODEC_X25519_H
#define CODEC_X25519_H

#include <stdbool.h>
#include <stdint.h>

enum { X25519_BYTES = 32 };

/* scalar times u, each little-endian. False: the result is zero, u has a small order; out is void. */
bool x25519(uint8_t out[X25519_BYTES], const uint8_t scalar[X25519_BYTES],
            const uint8_t u[X25519_BYTES]);

/* Ditto with u = 9, the base point: the public key that belongs to a scalar. */
void x25519_base(uint8_t out[X25519_BYTES], const uint8_t scalar[X25519_BYTES]);

#endif
