/*
 * tls_x25519.c - key exchange over Curve25519 by libsodium instead of mbedtls's big numbers.
 *
 * The linker leads mbedtls's own calls of its multiplication here (--wrap, see net/CMakeLists.txt); that
 * works where mbedtls is linked statically, which is how we build it. Other curves, and whatever mbedtls
 * would refuse, go on to mbedtls's function as if this file were not there: its checks and its
 * errors stay. The first use proves on a sample that both ways agree; if they do not, this way is never
 * taken.
 */
#include <stdbool.h>

#include <mbedtls/ecp.h>
#include <mbedtls/platform_util.h>

#include "codec/x25519.h"

typedef int rng_fn(void *arg, unsigned char *out, size_t len);

int __real_mbedtls_ecp_mul(mbedtls_ecp_group *grp, mbedtls_ecp_point *R, const mbedtls_mpi *m,
                           const mbedtls_ecp_point *P, rng_fn *rng, void *arg);
int __real_mbedtls_ecp_mul_restartable(mbedtls_ecp_group *grp, mbedtls_ecp_point *R,
                                       const mbedtls_mpi *m, const mbedtls_ecp_point *P,
                                       rng_fn *rng, void *arg, mbedtls_ecp_restart_ctx *rs);
int __wrap_mbedtls_ecp_mul(mbedtls_ecp_group *grp, mbedtls_ecp_point *R, const mbedtls_mpi *m,
                           const mbedtls_ecp_point *P, rng_fn *rng, void *arg);
int __wrap_mbedtls_ecp_mul_restartable(mbedtls_ecp_group *grp, mbedtls_ecp_point *R,
                                       const mbedtls_mpi *m, const mbedtls_ecp_point *P,
                                       rng_fn *rng, void *arg, mbedtls_ecp_restart_ctx *rs);

/* R becomes the point with that u, normalised as mbedtls does it: Z is 1 and Y is not there. */
static int point_set(mbedtls_ecp_point *R, const uint8_t u[X25519_BYTES])
{
	int ret = mbedtls_mpi_read_binary_le(&R->MBEDTLS_PRIVATE(X), u, X25519_BYTES);

	if (ret == 0)
		ret = mbedtls_mpi_lset(&R->MBEDTLS_PRIVATE(Z), 1);
	mbedtls_mpi_free(&R->MBEDTLS_PRIVATE(Y));
	return ret;
}

/* False: not done, mbedtls shall say why. R may be P. */
static bool multiply(mbedtls_ecp_point *R, const mbedtls_mpi *m, const mbedtls_ecp_point *P,
                     int *ret)
{
	uint8_t scalar[X25519_BYTES], u[X25519_BYTES], out[X25519_BYTES];
	bool    done = mbedtls_mpi_write_binary_le(m, scalar, sizeof(scalar)) == 0 &&
		mbedtls_mpi_write_binary_le(&P->MBEDTLS_PRIVATE(X), u, sizeof(u)) == 0;

	if (done && mbedtls_mpi_cmp_int(&P->MBEDTLS_PRIVATE(X), 9) == 0)
		x25519_base(out, scalar);
	else if (done)
		done = x25519(out, scalar, u);
	if (done)
		*ret = point_set(R, out);
	mbedtls_platform_zeroize(scalar, sizeof(scalar));
	mbedtls_platform_zeroize(out, sizeof(out));
	return done;
}

/* Both ways over the base point and over what comes of it. */
static bool ways_agree(mbedtls_ecp_group *grp, const mbedtls_mpi *m, rng_fn *rng, void *arg)
{
	mbedtls_ecp_point a, b;
	int               ret;
	bool              agree;

	mbedtls_ecp_point_init(&a);
	mbedtls_ecp_point_init(&b);
	agree = __real_mbedtls_ecp_mul(grp, &a, m, &grp->G, rng, arg) == 0 &&
		multiply(&b, m, &grp->G, &ret) && ret == 0 && mbedtls_ecp_point_cmp(&a, &b) == 0 &&
		__real_mbedtls_ecp_mul(grp, &a, m, &b, rng, arg) == 0 &&
		multiply(&b, m, &b, &ret) && ret == 0 && mbedtls_ecp_point_cmp(&a, &b) == 0;
	mbedtls_ecp_point_free(&a);
	mbedtls_ecp_point_free(&b);
	return agree;
}

/* A clamped scalar, as mbedtls demands of a private key, and a curve that is ours. */
static bool is_ours(mbedtls_ecp_group *grp, const mbedtls_mpi *m, const mbedtls_ecp_point *P,
                    rng_fn *rng, void *arg)
{
	static enum { UNKNOWN, GOOD, BAD } proven = UNKNOWN;

	if (proven == BAD || rng == NULL || grp->id != MBEDTLS_ECP_DP_CURVE25519 ||
	    mbedtls_ecp_check_privkey(grp, m) != 0 || mbedtls_ecp_check_pubkey(grp, P) != 0 ||
	    mbedtls_mpi_bitlen(&P->MBEDTLS_PRIVATE(X)) > 255)
		return false;
	if (proven == UNKNOWN)
		proven = ways_agree(grp, m, rng, arg) ? GOOD : BAD;
	return proven == GOOD;
}

int __wrap_mbedtls_ecp_mul(mbedtls_ecp_group *grp, mbedtls_ecp_point *R, const mbedtls_mpi *m,
                           const mbedtls_ecp_point *P, rng_fn *rng, void *arg)
{
	int ret;

	if (is_ours(grp, m, P, rng, arg) && multiply(R, m, P, &ret))
		return ret;
	return __real_mbedtls_ecp_mul(grp, R, m, P, rng, arg);
}

int __wrap_mbedtls_ecp_mul_restartable(mbedtls_ecp_group *grp, mbedtls_ecp_point *R,
                                       const mbedtls_mpi *m, const mbedtls_ecp_point *P,
                                       rng_fn *rng, void *arg, mbedtls_ecp_restart_ctx *rs)
{
	int ret;

	if (is_ours(grp, m, P, rng, arg) && multiply(R, m, P, &ret))
		return ret;
	return __real_mbedtls_ecp_mul_restartable(grp, R, m, P, rng, arg, rs);
}
