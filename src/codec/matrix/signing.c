#include "codec/matrix/signing.h"

#include <sodium.h>

_Static_assert(SIGNING_KEY_BYTES == crypto_sign_PUBLICKEYBYTES, "RFC 8032 5.1.5");
_Static_assert(SIGNING_SEED_BYTES == crypto_sign_SEEDBYTES, "RFC 8032 5.1.5");
_Static_assert(SIGNING_SIG_BYTES == crypto_sign_BYTES, "RFC 8032 5.1.6");
_Static_assert(sizeof(((struct signing_pair *)0)->secret) == crypto_sign_SECRETKEYBYTES,
               "seed and public key");
_Static_assert(SIGNING_SHA256_BYTES == crypto_hash_sha256_BYTES, "FIPS 180-4");
_Static_assert(SIGNING_SALT_BYTES >= crypto_shorthash_KEYBYTES, "SipHash");

/* Public keys that are refused. */
static const char *const known_bad[] = {
	/* a published secret that deployments shared: CVE-2026-24044, Synapse refuses it too */
	"l/O9hxMVKB6Lg+3Hqf0FQQZhVESQcMzbPN1Cz2nM3og",
};

enum err signing_init(void)
{
	return sodium_init() < 0 ? ERR_UNSUPPORTED : ERR_OK;
}

static bool is_known_bad(const struct signing_key *key)
{
	for (size_t i = 0; i < sizeof(known_bad) / sizeof(known_bad[0]); i++) {
		struct signing_key bad;

		check(base64_read_exactly(str_of(known_bad[i]), bad.bytes, sizeof(bad.bytes)) ==
		      ERR_OK);
		if (signing_key_eq(key, &bad))
			return true;
	}
	return false;
}

enum err signing_key_read(struct str base64, struct signing_key *out)
{
	struct signing_key key;

	if (base64_read_exactly(base64, key.bytes, sizeof(key.bytes)) != ERR_OK)
		return ERR_SYNTAX;
	if (is_known_bad(&key))
		return ERR_DENIED;
	*out = key;
	return ERR_OK;
}

enum err signing_sig_read(struct str base64, struct signing_sig *out)
{
	struct signing_sig sig;

	if (base64_read_exactly(base64, sig.bytes, sizeof(sig.bytes)) != ERR_OK)
		return ERR_SYNTAX;
	*out = sig;
	return ERR_OK;
}

void signing_key_write(struct writer *w, const struct signing_key *key)
{
	base64_write(w, str_span(key->bytes, sizeof(key->bytes)));
}

void signing_sig_write(struct writer *w, const struct signing_sig *sig)
{
	base64_write(w, str_span(sig->bytes, sizeof(sig->bytes)));
}

bool signing_key_eq(const struct signing_key *a, const struct signing_key *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

static const unsigned char *bytes_of(struct str s)
{
	return (const unsigned char *)(s.len == 0 ? "" : s.ptr);
}

enum err signing_verify(const struct signing_key *key, const struct signing_sig *sig,
                        struct str message)
{
	int bad =
		crypto_sign_verify_detached(sig->bytes, bytes_of(message), message.len, key->bytes);

	return bad != 0 ? ERR_SIGNATURE : ERR_OK;
}

void signing_pair_from_seed(const uint8_t seed[SIGNING_SEED_BYTES], struct signing_pair *out)
{
	crypto_sign_seed_keypair(out->key.bytes, out->secret, seed);
}

void signing_sign(const struct signing_pair *pair, struct str message, struct signing_sig *out)
{
	crypto_sign_detached(out->bytes, NULL, bytes_of(message), message.len, pair->secret);
}

void signing_sha256(struct str bytes, uint8_t out[SIGNING_SHA256_BYTES])
{
	crypto_hash_sha256(out, bytes_of(bytes), bytes.len);
}

static void bytes_of_length(size_t n, uint8_t out[4])
{
	for (int i = 3; i >= 0; i--, n >>= 8)
		out[i] = (uint8_t)n;
}

void signing_salted_hash(const uint8_t salt[SIGNING_SALT_BYTES], const struct str *texts,
                         size_t count, uint8_t out[SIGNING_SHA256_BYTES])
{
	crypto_hash_sha256_state st;

	crypto_hash_sha256_init(&st);
	crypto_hash_sha256_update(&st, salt, SIGNING_SALT_BYTES);
	for (size_t i = 0; i < count; i++) {
		uint8_t len[4];

		bytes_of_length(texts[i].len, len);
		crypto_hash_sha256_update(&st, len, sizeof(len));
		crypto_hash_sha256_update(&st, bytes_of(texts[i]), texts[i].len);
	}
	crypto_hash_sha256_final(&st, out);
}

uint64_t signing_short_hash(const uint8_t salt[SIGNING_SALT_BYTES], const struct str *texts,
                            size_t count)
{
	uint8_t       hash[SIGNING_SHA256_BYTES];
	struct reader r = reader_over(str_span(hash, sizeof(hash)));
	char          text[512];
	struct writer w = writer_over(text, sizeof(text));

	for (size_t i = 0; i < count; i++) {
		uint8_t len[4];

		bytes_of_length(texts[i].len, len);
		write_bytes(&w, len, sizeof(len));
		write_str(&w, texts[i]);
	}
	if (w.failed)
		signing_salted_hash(salt, texts, count, hash);
	else
		crypto_shorthash(hash, bytes_of(writer_done(&w)), writer_done(&w).len, salt);
	return read_u64(&r);
}

/* Hashes of equal length are compared, so that lengths are not told either. */
bool signing_secret_eq(struct str a, struct str b)
{
	uint8_t ha[SIGNING_SHA256_BYTES], hb[SIGNING_SHA256_BYTES];
	bool    same;

	signing_sha256(a, ha);
	signing_sha256(b, hb);
	same = sodium_memcmp(ha, hb, sizeof(ha)) == 0;
	signing_wipe(ha, sizeof(ha));
	signing_wipe(hb, sizeof(hb));
	return same;
}

void signing_random(void *out, size_t n)
{
	randombytes_buf(out, n);
}

void signing_wipe(void *p, size_t n)
{
	sodium_memzero(p, n);
}
