/*
 * tls_gcm.c - records in AES-256-GCM by many blocks at a time, where the processor can.
 *
 * The linker leads mbedtls's own calls of its one-shot GCM functions here (--wrap, see
 * net/CMakeLists.txt); that works where mbedtls is linked statically, which is how we build it. With
 * a system's shared library, another key length, nonce or tag, or a processor without the instructions,
 * everything goes on to mbedtls's functions as if this file were not there.
 *
 * The key is read back from the expanded key of the cipher context, whose first words it is; the first
 * use proves on a sample that both ways agree, and if they do not this way is never taken.
 */
#include <string.h>

#include <mbedtls/aes.h>
#include <mbedtls/cipher.h>
#include <mbedtls/gcm.h>

#include "codec/aead.h"

#if defined(__GNUC__) && !defined(MBEDTLS_GCM_ALT) && !defined(MBEDTLS_AES_ALT) && \
	!defined(MBEDTLS_BLOCK_CIPHER_C)
#define KEY_IS_IN_REACH 1
#else
#define KEY_IS_IN_REACH 0
#endif

int __real_mbedtls_gcm_crypt_and_tag(mbedtls_gcm_context *ctx, int mode, size_t length,
                                     const unsigned char *iv, size_t iv_len,
                                     const unsigned char *add, size_t add_len,
                                     const unsigned char *input, unsigned char *output,
                                     size_t tag_len, unsigned char *tag);
int __real_mbedtls_gcm_auth_decrypt(mbedtls_gcm_context *ctx, size_t length,
                                    const unsigned char *iv, size_t iv_len,
                                    const unsigned char *add, size_t add_len,
                                    const unsigned char *tag, size_t tag_len,
                                    const unsigned char *input, unsigned char *output);
int __wrap_mbedtls_gcm_crypt_and_tag(mbedtls_gcm_context *ctx, int mode, size_t length,
                                     const unsigned char *iv, size_t iv_len,
                                     const unsigned char *add, size_t add_len,
                                     const unsigned char *input, unsigned char *output,
                                     size_t tag_len, unsigned char *tag);
int __wrap_mbedtls_gcm_auth_decrypt(mbedtls_gcm_context *ctx, size_t length,
                                    const unsigned char *iv, size_t iv_len,
                                    const unsigned char *add, size_t add_len,
                                    const unsigned char *tag, size_t tag_len,
                                    const unsigned char *input, unsigned char *output);

#if KEY_IS_IN_REACH
/* The raw key of a 256-bit AES context, or NULL. */
static const uint8_t *key_of(mbedtls_gcm_context *ctx)
{
	mbedtls_cipher_context_t  *cipher = &ctx->MBEDTLS_PRIVATE(cipher_ctx);
	const mbedtls_aes_context *aes = cipher->MBEDTLS_PRIVATE(cipher_ctx);

	if (mbedtls_cipher_get_type(cipher) != MBEDTLS_CIPHER_AES_256_ECB || aes == NULL)
		return NULL;
	return (const uint8_t *)(aes->MBEDTLS_PRIVATE(buf) + aes->MBEDTLS_PRIVATE(rk_offset));
}
#else
static const uint8_t *key_of(mbedtls_gcm_context *ctx)
{
	(void)ctx;
	return NULL;
}
#endif

/* Both ways over one sample: is the key where we think it is? */
static bool ways_agree(mbedtls_gcm_context *ctx, const uint8_t *key)
{
	static const uint8_t nonce[AEAD_NONCE_BYTES] = { 1 }, in[40] = { 2 };
	uint8_t              a[sizeof(in) + AEAD_TAG_BYTES], b[sizeof(a)];

	if (__real_mbedtls_gcm_crypt_and_tag(ctx, MBEDTLS_GCM_ENCRYPT, sizeof(in), nonce,
	                                     sizeof(nonce), in, 5, in, a, AEAD_TAG_BYTES,
	                                     a + sizeof(in)) != 0)
		return false;
	aead_seal(key, nonce, in, 5, in, sizeof(in), b, b + sizeof(in));
	return memcmp(a, b, sizeof(a)) == 0;
}

/* The key, if this record may go the fast way. */
static const uint8_t *fast_key(mbedtls_gcm_context *ctx, size_t iv_len, size_t tag_len)
{
	static enum { UNKNOWN, GOOD, BAD } proven = UNKNOWN;
	const uint8_t *key;

	if (proven == BAD || iv_len != AEAD_NONCE_BYTES || tag_len != AEAD_TAG_BYTES)
		return NULL;
	key = key_of(ctx);
	if (key == NULL)
		return NULL;
	if (proven == UNKNOWN)
		proven = aead_is_available() && ways_agree(ctx, key) ? GOOD : BAD;
	return proven == GOOD ? key : NULL;
}

int __wrap_mbedtls_gcm_crypt_and_tag(mbedtls_gcm_context *ctx, int mode, size_t length,
                                     const unsigned char *iv, size_t iv_len,
                                     const unsigned char *add, size_t add_len,
                                     const unsigned char *input, unsigned char *output,
                                     size_t tag_len, unsigned char *tag)
{
	const uint8_t *key = mode == MBEDTLS_GCM_ENCRYPT ? fast_key(ctx, iv_len, tag_len) : NULL;

	if (key == NULL)
		return __real_mbedtls_gcm_crypt_and_tag(ctx, mode, length, iv, iv_len, add, add_len,
		                                        input, output, tag_len, tag);
	aead_seal(key, iv, add, add_len, input, length, output, tag);
	return 0;
}

int __wrap_mbedtls_gcm_auth_decrypt(mbedtls_gcm_context *ctx, size_t length,
                                    const unsigned char *iv, size_t iv_len,
                                    const unsigned char *add, size_t add_len,
                                    const unsigned char *tag, size_t tag_len,
                                    const unsigned char *input, unsigned char *output)
{
	const uint8_t *key = fast_key(ctx, iv_len, tag_len);

	if (key == NULL)
		return __real_mbedtls_gcm_auth_decrypt(ctx, length, iv, iv_len, add, add_len, tag,
		                                       tag_len, input, output);
	return aead_open(key, iv, add, add_len, input, length, output, tag)
		? 0
		: MBEDTLS_ERR_GCM_AUTH_FAILED;
}
