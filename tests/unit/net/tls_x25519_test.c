/*
 * Two ways to one result: mbedtls's own multiplication and the one that stands before it. Where
 * mbedtls is a shared library the linker cannot lead its calls, and both are the same.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdint.h>
#include <string.h>

#include <mbedtls/ecdh.h>
#include <mbedtls/ecp.h>

typedef int rng_fn(void *arg, unsigned char *out, size_t len);

int __real_mbedtls_ecp_mul(mbedtls_ecp_group *grp, mbedtls_ecp_point *R, const mbedtls_mpi *m,
                           const mbedtls_ecp_point *P, rng_fn *rng, void *arg);

static int calls;

/* Reproducible; never for keys. */
static int dice(void *arg, unsigned char *out, size_t len)
{
	uint32_t *x = arg;

	calls++;
	for (size_t i = 0; i < len; i++) {
		*x = *x * 1664525 + 1013904223;
		out[i] = (unsigned char)(*x >> 24);
	}
	return 0;
}

struct ground {
	mbedtls_ecp_group grp;
	mbedtls_mpi       d;
	mbedtls_ecp_point q, a, b;
	uint32_t          seed;
};

static void ground_init(struct ground *g, mbedtls_ecp_group_id id)
{
	mbedtls_ecp_group_init(&g->grp);
	mbedtls_mpi_init(&g->d);
	mbedtls_ecp_point_init(&g->q);
	mbedtls_ecp_point_init(&g->a);
	mbedtls_ecp_point_init(&g->b);
	g->seed = 1;
	assert_int_equal(mbedtls_ecp_group_load(&g->grp, id), 0);
}

static void ground_free(struct ground *g)
{
	mbedtls_ecp_group_free(&g->grp);
	mbedtls_mpi_free(&g->d);
	mbedtls_ecp_point_free(&g->q);
	mbedtls_ecp_point_free(&g->a);
	mbedtls_ecp_point_free(&g->b);
}

static void check_agreement(mbedtls_ecp_group_id id, int turns)
{
	struct ground g;

	ground_init(&g, id);
	assert_int_equal(mbedtls_ecp_copy(&g.q, &g.grp.G), 0);
	for (int i = 0; i < turns; i++) {
		assert_int_equal(mbedtls_ecp_gen_privkey(&g.grp, &g.d, dice, &g.seed), 0);
		assert_int_equal(__real_mbedtls_ecp_mul(&g.grp, &g.a, &g.d, &g.q, dice, &g.seed),
		                 0);
		assert_int_equal(mbedtls_ecp_mul(&g.grp, &g.b, &g.d, &g.q, dice, &g.seed), 0);
		assert_int_equal(mbedtls_ecp_point_cmp(&g.a, &g.b), 0);
		assert_int_equal(mbedtls_ecp_copy(&g.q, i % 3 == 2 ? &g.grp.G : &g.b), 0);
	}
	ground_free(&g);
}

static void test_agreement(void **state)
{
	(void)state;
	check_agreement(MBEDTLS_ECP_DP_CURVE25519, 100);
	check_agreement(MBEDTLS_ECP_DP_SECP256R1, 5);
}

/* The result may take the place of the point, as mbedtls allows. */
static void test_in_place(void **state)
{
	struct ground g;

	(void)state;
	ground_init(&g, MBEDTLS_ECP_DP_CURVE25519);
	assert_int_equal(mbedtls_ecp_gen_privkey(&g.grp, &g.d, dice, &g.seed), 0);
	assert_int_equal(mbedtls_ecp_copy(&g.a, &g.grp.G), 0);
	assert_int_equal(mbedtls_ecp_mul(&g.grp, &g.b, &g.d, &g.a, dice, &g.seed), 0);
	assert_int_equal(mbedtls_ecp_mul(&g.grp, &g.a, &g.d, &g.a, dice, &g.seed), 0);
	assert_int_equal(mbedtls_ecp_point_cmp(&g.a, &g.b), 0);
	ground_free(&g);
}

/* What mbedtls refuses is refused with its errors: no private key, u of small order. */
static void test_refusals(void **state)
{
	static const unsigned char minus_one[32] = {
		0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f
	};
	static const unsigned char bad[][32] = { { 0 }, { 1 } };
	struct ground              g;

	(void)state;
	ground_init(&g, MBEDTLS_ECP_DP_CURVE25519);
	assert_int_equal(mbedtls_mpi_lset(&g.d, 12), 0);
	assert_int_equal(mbedtls_ecp_mul(&g.grp, &g.a, &g.d, &g.grp.G, dice, &g.seed),
	                 MBEDTLS_ERR_ECP_INVALID_KEY);
	assert_int_equal(mbedtls_ecp_gen_privkey(&g.grp, &g.d, dice, &g.seed), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]) + 1; i++) {
		const unsigned char *u = i < 2 ? bad[i] : minus_one;

		if (mbedtls_ecp_point_read_binary(&g.grp, &g.q, u, 32) != 0)
			continue;
		assert_int_not_equal(mbedtls_ecp_mul(&g.grp, &g.a, &g.d, &g.q, dice, &g.seed), 0);
	}
	assert_int_equal(mbedtls_ecp_mul(&g.grp, &g.a, &g.d, &g.grp.G, NULL, NULL),
	                 MBEDTLS_ERR_ECP_BAD_INPUT_DATA);
	ground_free(&g);
}

/* As the library calls it: mbedtls's way needs random numbers to blind itself, ours needs none. */
static void test_calls_are_led_here(void **state)
{
	struct ground g;
	mbedtls_mpi   z;

	(void)state;
	ground_init(&g, MBEDTLS_ECP_DP_CURVE25519);
	mbedtls_mpi_init(&z);
	assert_int_equal(mbedtls_ecdh_gen_public(&g.grp, &g.d, &g.q, dice, &g.seed), 0);
	calls = 0;
	assert_int_equal(mbedtls_ecdh_compute_shared(&g.grp, &z, &g.q, &g.d, dice, &g.seed), 0);
#ifdef DOORSTEP_MBEDTLS_IS_STATIC
	assert_int_equal(calls, 0);
#endif
	mbedtls_mpi_free(&z);
	ground_free(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_agreement),
		cmocka_unit_test(test_in_place),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_calls_are_led_here),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
