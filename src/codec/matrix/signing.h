/*
 * signing.h - Ed25519 keys and signatures, hashes and secrets: the one place that uses libsodium.
 *
 * Source: Matrix specification, Appendices, "Signing JSON"; RFC 8032. A signature is refused where
 * libsodium refuses it: S not below the group order, points of small order, encodings that are not
 * canonical. That is what homeservers built on it refuse too.
 *
 * Pure but for signing_init. What is signed inside JSON is the business of signed_json.h and
 * xmatrix.h; here a message is bytes.
 */
#ifndef CODEC_MATRIX_SIGNING_H
#define CODEC_MATRIX_SIGNING_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cursor.h"
#include "base/err.h"
#include "base/str.h"
#include "codec/matrix/base64.h"

enum {
	SIGNING_KEY_BYTES = 32,
	SIGNING_SEED_BYTES = 32,
	SIGNING_SIG_BYTES = 64,
	SIGNING_SHA256_BYTES = 32,
	SIGNING_SALT_BYTES = 32,
	SIGNING_KEY_TEXT = BASE64_TEXT(SIGNING_KEY_BYTES), /* 43 characters */
	SIGNING_SIG_TEXT = BASE64_TEXT(SIGNING_SIG_BYTES), /* 86 characters */
};

struct signing_key { /* of another server, public */
	uint8_t bytes[SIGNING_KEY_BYTES];
};

struct signing_sig {
	uint8_t bytes[SIGNING_SIG_BYTES];
};

struct signing_pair { /* ours; clear with signing_wipe */
	uint8_t            secret[SIGNING_SEED_BYTES + SIGNING_KEY_BYTES];
	struct signing_key key;
};

/* Before anything else here; more calls do no harm. ERR_UNSUPPORTED: no source of randomness. */
enum err signing_init(void);

/*
 * A public key from its base64 text.
 * ERR_SYNTAX: not 32 bytes. ERR_DENIED: a key whose secret half is public knowledge, so that a
 * signature with it proves nothing.
 */
enum err signing_key_read(struct str base64, struct signing_key *out);

/* ERR_SYNTAX: not 64 bytes. */
enum err signing_sig_read(struct str base64, struct signing_sig *out);

void signing_key_write(struct writer *w, const struct signing_key *key);
void signing_sig_write(struct writer *w, const struct signing_sig *sig);

bool signing_key_eq(const struct signing_key *a, const struct signing_key *b);

/* ERR_OK or ERR_SIGNATURE. */
enum err signing_verify(const struct signing_key *key, const struct signing_sig *sig,
                        struct str message);

void signing_pair_from_seed(const uint8_t seed[SIGNING_SEED_BYTES], struct signing_pair *out);
void signing_sign(const struct signing_pair *pair, struct str message, struct signing_sig *out);

void signing_sha256(struct str bytes, uint8_t out[SIGNING_SHA256_BYTES]);

/*
 * The hash of a salt and some texts, each with its length in front so that none can pass for two. Who
 * does not know the salt can neither tell what was hashed nor look for texts with equal hashes.
 */
void signing_salted_hash(const uint8_t salt[SIGNING_SALT_BYTES], const struct str *texts,
                         size_t count, uint8_t out[SIGNING_SHA256_BYTES]);

/*
 * Ditto in 64 bits (SipHash-2-4), for tables in memory: many times as fast. A salt of its own: half of it
 * is the key.
 */
uint64_t signing_short_hash(const uint8_t salt[SIGNING_SALT_BYTES], const struct str *texts,
                            size_t count);

/* Are two secrets equal? The time taken tells nothing about where they differ. */
bool signing_secret_eq(struct str a, struct str b);

/* Unpredictable bytes, for secrets and salts. */
void signing_random(void *out, size_t n);

/* Clears memory that held a secret; not optimised away. */
void signing_wipe(void *p, size_t n);

#endif
