#include "codec/aead.h"

#include <sodium.h>

bool aead_is_available(void)
{
	static int known = -1; /* of the processor: never changes */

	if (known < 0)
		known = sodium_init() >= 0 && crypto_aead_aes256gcm_is_available() == 1;
	return known == 1;
}

void aead_seal(const uint8_t *key, const uint8_t *nonce, const uint8_t *ad, size_t ad_len,
               const uint8_t *in, size_t len, uint8_t *out, uint8_t *tag)
{
	crypto_aead_aes256gcm_encrypt_detached(out, tag, NULL, in, len, ad, ad_len, NULL, nonce,
	                                       key);
}

bool aead_open(const uint8_t *key, const uint8_t *nonce, const uint8_t *ad, size_t ad_len,
               const uint8_t *in, size_t len, uint8_t *out, const uint8_t *tag)
{
	return crypto_aead_aes256gcm_decrypt_detached(out, NULL, in, len, tag, ad, ad_len, nonce,
	                                              key) == 0;
}
