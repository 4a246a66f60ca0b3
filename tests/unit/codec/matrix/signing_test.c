#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "codec/matrix/signing.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Matrix specification, Appendices, "Cryptographic Test Vectors" */
#define SEED "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"
#define KEY  "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI"

static struct signing_pair pair;

static int make_pair(void **state)
{
	uint8_t seed[SIGNING_SEED_BYTES];

	(void)state;
	if (signing_init() != ERR_OK || signing_init() != ERR_OK ||
	    base64_read_exactly(STRL(SEED), seed, sizeof(seed)) != ERR_OK)
		return -1;
	signing_pair_from_seed(seed, &pair);
	return 0;
}

static const struct {
	const char *message, *sig;
} vectors[] = {
	/* ibid.; the event is the minimal one */
	{ "{}",
	  "K8280/U9SSy9IVtjBuVeLr+HpOB4BQFWbg+UZaADMtTdGYI7Geitb76LTrr5QV/7Xg4ahLwYGYZzuHGZKM5ZAQ" },
	{ "{\"one\":1,\"two\":\"Two\"}",
	  "KqmLSbO39/Bzb0QIYE82zqLwsA+PDzYIpIRA2sRQ4sL53+sN6/fpNSoqE7BP7vBZhG6kYdD13EIMJpvhJI+6Bw" },
	{ "{\"auth_events\":[],\"content\":{},\"depth\":3,\"hashes\":{\"sha256\":"
	  "\"5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos\"},\"origin\":\"domain\","
	  "\"origin_server_ts\":1000000,\"prev_events\":[],\"room_id\":\"!x:domain\","
	  "\"sender\":\"@a:domain\",\"type\":\"X\"}",
	  "KxwGjPSDEtvnFgU00fwFz+l6d2pJM6XBIaMEn81SXPTRl16AqLAYqfIReFGZlHi5KLjAWbOoMszkwsQma+lYAg" },
};

static void signs_as_specified(void **state)
{
	char          text[SIGNING_KEY_TEXT];
	struct writer w = writer_over(text, sizeof(text));

	(void)state;
	signing_key_write(&w, &pair.key);
	assert_true(str_is(writer_done(&w), KEY));
	for (size_t i = 0; i < COUNT(vectors); i++) {
		char               sig_text[SIGNING_SIG_TEXT];
		struct signing_sig sig;

		print_message("  %s\n", vectors[i].message);
		w = writer_over(sig_text, sizeof(sig_text));
		signing_sign(&pair, str_of(vectors[i].message), &sig);
		signing_sig_write(&w, &sig);
		assert_true(str_is(writer_done(&w), vectors[i].sig));
	}
}

/* Every single bit of signature, key and message counts. */
static void verifies_and_refuses(void **state)
{
	struct signing_key key;
	struct signing_sig sig;
	char               message[] = "{\"one\":1,\"two\":\"Two\"}";
	struct str         text = { message, sizeof(message) - 1 };

	(void)state;
	assert_int_equal(signing_key_read(STRL(KEY), &key), ERR_OK);
	assert_int_equal(signing_sig_read(str_of(vectors[1].sig), &sig), ERR_OK);
	assert_int_equal(signing_verify(&key, &sig, text), ERR_OK);
	for (size_t bit = 0; bit < sizeof(sig.bytes) * 8; bit++) {
		sig.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(signing_verify(&key, &sig, text), ERR_SIGNATURE);
		sig.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t bit = 0; bit < sizeof(key.bytes) * 8; bit++) {
		key.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(signing_verify(&key, &sig, text), ERR_SIGNATURE);
		key.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (size_t i = 0; i < text.len; i++) {
		message[i] ^= 1;
		assert_int_equal(signing_verify(&key, &sig, text), ERR_SIGNATURE);
		message[i] ^= 1;
	}
	assert_int_equal(signing_verify(&key, &sig, str_head(text, text.len - 1)), ERR_SIGNATURE);
	assert_int_equal(signing_verify(&key, &sig, text), ERR_OK);
}

/* A key of small order would make one signature fit many messages. */
static void refuses_weak_keys(void **state)
{
	static const uint8_t weak[][SIGNING_KEY_BYTES] = {
		{ 0 },    /* order 4 */
		{ 1, 0 }, /* the neutral element */
	};
	struct signing_sig sig = { { 1 } }; /* R neutral, S zero */

	(void)state;
	for (size_t i = 0; i < COUNT(weak); i++) {
		struct signing_key key;

		memcpy(key.bytes, weak[i], sizeof(key.bytes));
		assert_int_equal(signing_verify(&key, &sig, STRL("x")), ERR_SIGNATURE);
	}
}

/* S and S plus the group order would be two signatures of one message. */
static void refuses_a_second_spelling_of_s(void **state)
{
	static const uint8_t order[32] = {
		/* RFC 8032 5.1, L, least significant byte first */
		0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7,
		0xa2, 0xde, 0xf9, 0xde, 0x14, 0,    0,    0,    0,    0,    0,
		0,    0,    0,    0,    0,    0,    0,    0,    0,    0x10,
	};
	struct signing_sig sig;
	unsigned           carry = 0;

	(void)state;
	signing_sign(&pair, STRL("x"), &sig);
	assert_int_equal(signing_verify(&pair.key, &sig, STRL("x")), ERR_OK);
	for (size_t i = 0; i < sizeof(order); i++) {
		carry += sig.bytes[32 + i] + (unsigned)order[i];
		sig.bytes[32 + i] = (uint8_t)carry;
		carry >>= 8;
	}
	assert_int_equal(signing_verify(&pair.key, &sig, STRL("x")), ERR_SIGNATURE);
}

static void reads_keys_and_signatures(void **state)
{
	static const struct {
		const char *text;
		enum err    want;
	} keys[] = {
		{ KEY, ERR_OK },
		{ KEY "=", ERR_OK },
		{ KEY "==", ERR_SYNTAX },
		{ KEY "A", ERR_SYNTAX },
		{ "", ERR_SYNTAX },
		{ "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJN", ERR_SYNTAX },
		{ "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNJ", ERR_OK },
		{ "l/O9hxMVKB6Lg+3Hqf0FQQZhVESQcMzbPN1Cz2nM3og", ERR_DENIED },
		{ "l/O9hxMVKB6Lg+3Hqf0FQQZhVESQcMzbPN1Cz2nM3og=", ERR_DENIED },
	};
	struct signing_key key;
	struct signing_sig sig;

	(void)state;
	for (size_t i = 0; i < COUNT(keys); i++) {
		print_message("  %s\n", keys[i].text);
		assert_int_equal(signing_key_read(str_of(keys[i].text), &key), keys[i].want);
	}
	assert_int_equal(signing_sig_read(STRL(KEY), &sig), ERR_SYNTAX);
	assert_int_equal(signing_sig_read(str_of(vectors[0].sig), &sig), ERR_OK);
	assert_int_equal(signing_sig_read(str_head(str_of(vectors[0].sig), 85), &sig), ERR_SYNTAX);
}

static void hashes(void **state)
{
	/* Matrix specification, Appendices: content hash of the minimal event */
	const struct str event =
		STR("{\"auth_events\":[],\"content\":{},\"depth\":3,\"origin\":\"domain\","
	            "\"origin_server_ts\":1000000,\"prev_events\":[],\"room_id\":"
	            "\"!x:domain\",\"sender\":\"@a:domain\",\"type\":\"X\"}");
	uint8_t       hash[SIGNING_SHA256_BYTES];
	char          text[BASE64_TEXT(SIGNING_SHA256_BYTES)];
	struct writer w = writer_over(text, sizeof(text));

	(void)state;
	signing_sha256(event, hash);
	base64_write(&w, str_span(hash, sizeof(hash)));
	assert_true(str_is(writer_done(&w), "5jM4wQpv6lnBo7CLIghJuHdW+s2CMBJPUOGOC89ncos"));
}

/* The value: SipHash-2-4 under the key 00..0f of 00000001 "a" 00000002 "bc", its bytes in order. */
static void hashes_in_short(void **state)
{
	static char    filler[600];
	uint8_t        salt[SIGNING_SALT_BYTES];
	struct str     texts[] = { STR("a"), STR("bc") }, other[] = { STR("ab"), STR("c") };
	struct str     whole = { filler, sizeof(filler) }, less = { filler, sizeof(filler) - 1 };
	const uint64_t expected = 0xd6c130909ed1d9c9ull;

	(void)state;
	for (size_t i = 0; i < sizeof(salt); i++)
		salt[i] = (uint8_t)i;
	assert_true(signing_short_hash(salt, texts, 2) == expected);
	assert_true(signing_short_hash(salt, other, 2) != expected);
	assert_true(signing_short_hash(salt, &whole, 1) == signing_short_hash(salt, &whole, 1));
	assert_true(signing_short_hash(salt, &whole, 1) != signing_short_hash(salt, &less, 1));
	salt[0]++;
	assert_true(signing_short_hash(salt, texts, 2) != expected);
}

static void compares_secrets(void **state)
{
	(void)state;
	assert_true(signing_secret_eq(STRL("secret"), STRL("secret")));
	assert_true(signing_secret_eq(STRL(""), STRL("")));
	assert_false(signing_secret_eq(STRL("secret"), STRL("secreT")));
	assert_false(signing_secret_eq(STRL("secret"), STRL("secre")));
	assert_false(signing_secret_eq(STRL("secret"), STRL("secret\0")));
	assert_false(signing_secret_eq(STRL(""), STRL("x")));
}

static void random_and_wipe(void **state)
{
	uint8_t a[32] = { 0 }, b[32] = { 0 }, zero[32] = { 0 };

	(void)state;
	signing_random(a, sizeof(a));
	signing_random(b, sizeof(b));
	assert_memory_not_equal(a, b, sizeof(a));
	signing_wipe(a, sizeof(a));
	assert_memory_equal(a, zero, sizeof(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signs_as_specified),
		cmocka_unit_test(verifies_and_refuses),
		cmocka_unit_test(refuses_weak_keys),
		cmocka_unit_test(refuses_a_second_spelling_of_s),
		cmocka_unit_test(reads_keys_and_signatures),
		cmocka_unit_test(hashes),
		cmocka_unit_test(hashes_in_short),
		cmocka_unit_test(compares_secrets),
		cmocka_unit_test(random_and_wipe),
	};

	return cmocka_run_group_tests(tests, make_pair, NULL);
}
