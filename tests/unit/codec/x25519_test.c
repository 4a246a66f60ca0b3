#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "codec/x25519.h"

static void unhex(const char *hex, uint8_t out[X25519_BYTES])
{
	for (size_t i = 0; i < X25519_BYTES; i++) {
		unsigned byte;

		assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
		out[i] = (uint8_t)byte;
	}
}

/* RFC 7748 section 5.2 */
static const struct {
	const char *scalar, *u, *out;
} vectors[] = {
	{ "a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4",
	  "e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c",
	  "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552" },
	{ "4b66e9d4d1b4673c5ad22691957d6af5c11b6421e0ea01d42ca4169e7918ba0d",
	  "e5210f12786811d3f4b7959d0538ae2c31dbe7106fc03c3efc4cd549c715a493",
	  "95cbde9476e8907d7aade45cb4b873f88b595a68799fa152e6f8f7647aac7957" },
};

static void test_vectors(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		uint8_t scalar[X25519_BYTES], u[X25519_BYTES], want[X25519_BYTES],
			got[X25519_BYTES];

		unhex(vectors[i].scalar, scalar);
		unhex(vectors[i].u, u);
		unhex(vectors[i].out, want);
		assert_true(x25519(got, scalar, u));
		assert_memory_equal(got, want, sizeof(got));
	}
}

/* RFC 7748 section 5.2: after one turn, and after a thousand. */
static void test_turns(void **state)
{
	uint8_t k[X25519_BYTES] = { 9 }, u[X25519_BYTES] = { 9 }, out[X25519_BYTES],
		want[X25519_BYTES];

	(void)state;
	for (int i = 1; i <= 1000; i++) {
		assert_true(x25519(out, k, u));
		memcpy(u, k, sizeof(u));
		memcpy(k, out, sizeof(k));
		if (i == 1) {
			unhex("422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079",
			      want);
			assert_memory_equal(k, want, sizeof(k));
		}
	}
	unhex("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51", want);
	assert_memory_equal(k, want, sizeof(k));
}

static void test_base(void **state)
{
	static const uint8_t nine[X25519_BYTES] = { 9 };

	(void)state;
	for (unsigned i = 0; i < 100; i++) {
		uint8_t scalar[X25519_BYTES], a[X25519_BYTES], b[X25519_BYTES];

		for (size_t j = 0; j < sizeof(scalar); j++)
			scalar[j] = (uint8_t)(i * 37 + j * 101 + 5);
		x25519_base(a, scalar);
		assert_true(x25519(b, scalar, nine));
		assert_memory_equal(a, b, sizeof(a));
	}
}

static void test_small_order(void **state)
{
	static const uint8_t zero[X25519_BYTES], one[X25519_BYTES] = { 1 };
	uint8_t              scalar[X25519_BYTES] = { 8 }, out[X25519_BYTES];

	(void)state;
	scalar[31] = 0x40;
	assert_false(x25519(out, scalar, zero));
	assert_false(x25519(out, scalar, one));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_turns),
		cmocka_unit_test(test_base),
		cmocka_unit_test(test_small_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
