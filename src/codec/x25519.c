#include "codec/x25519.h"

#include <sodium.h>

bool x25519(uint8_t out[X25519_BYTES], const uint8_t scalar[X25519_BYTES],
            const uint8_t u[X25519_BYTES])
{
	return crypto_scalarmult_curve25519(out, scalar, u) == 0;
}

void x25519_base(uint8_t out[X25519_BYTES], const uint8_t scalar[X25519_BYTES])
{
	(void)crypto_scalarmult_curve25519_base(out, scalar);
}
