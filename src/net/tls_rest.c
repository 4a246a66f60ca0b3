/*
 * tls_rest.c - what an established connection need not hold between records.
 *
 * mbedtls keeps two record buffers of about 17 KB for every connection as long as it lives, what TLS
 * 1.3 needed for its handshake, and in a client the parsed certificate of the peer. Between two
 * records nothing of the buffers matters but the count of records in the first eight bytes of the
 * incoming one. So the buffers are lent by the ground for the length of a call, and each goes back when
 * no record of its direction is under way; the rest is dropped after the handshake.
 *
 * This knows the inside of mbedtls 3.6, whose structures are fixed for the life of that branch; with
 * another branch, or if anything looks unlike what is known, connections simply keep what they have.
 */
#include <stdlib.h>

#include <mbedtls/platform.h>

#include "net/tls_inside.h"

#if MBEDTLS_VERSION_NUMBER < 0x03070000 && !defined(MBEDTLS_SSL_VARIABLE_BUFFER_LENGTH)
#define CAN_REST 1
#else
#define CAN_REST 0
#endif

#if CAN_REST

enum {
	COUNT_BYTES = 8,
	/* more than mbedtls takes: header, IV, MAC, padding are below 400 bytes */
	IN_BYTES = MBEDTLS_SSL_IN_CONTENT_LEN + 1024,
	OUT_BYTES = MBEDTLS_SSL_OUT_CONTENT_LEN + 1024,
};

#define M(field) MBEDTLS_PRIVATE(field)

/* No record is under way in that direction, and its buffer looks as we know it. */
static bool in_is_at_rest(const mbedtls_ssl_context *c)
{
	return c->M(in_left) == 0 && c->M(badmac_seen_or_in_hsfraglen) == 0 &&
		mbedtls_ssl_check_pending(c) == 0 && c->M(in_buf) != NULL &&
		c->M(in_ctr) == c->M(in_buf) && c->M(in_hdr) == c->M(in_buf) + COUNT_BYTES;
}

static bool out_is_at_rest(const mbedtls_ssl_context *c)
{
	return c->M(out_left) == 0 && c->M(send_alert) == 0 && c->M(out_buf) != NULL &&
		c->M(out_ctr) == c->M(out_buf) && c->M(out_hdr) == c->M(out_buf) + COUNT_BYTES;
}

static void move(unsigned char **place, uintptr_t from, unsigned char *to)
{
	*place = to + ((uintptr_t)*place - from);
}

static void move_in(mbedtls_ssl_context *c, uintptr_t was)
{
	unsigned char *in = c->M(in_buf);

	c->M(in_ctr) = in;
	move(&c->M(in_hdr), was, in);
	move(&c->M(in_len), was, in);
	move(&c->M(in_iv), was, in);
	move(&c->M(in_msg), was, in);
#if defined(MBEDTLS_SSL_DTLS_CONNECTION_ID)
	move(&c->M(in_cid), was, in);
#endif
}

static void move_out(mbedtls_ssl_context *c, uintptr_t was)
{
	unsigned char *out = c->M(out_buf);

	c->M(out_ctr) = out;
	move(&c->M(out_hdr), was, out);
	move(&c->M(out_len), was, out);
	move(&c->M(out_iv), was, out);
	move(&c->M(out_msg), was, out);
#if defined(MBEDTLS_SSL_DTLS_CONNECTION_ID)
	move(&c->M(out_cid), was, out);
#endif
}

static unsigned char *borrow(unsigned char **spare, size_t size)
{
	unsigned char *bytes = *spare;

	*spare = NULL;
	return bytes != NULL ? bytes : mbedtls_calloc(1, size);
}

static void give_back(unsigned char **spare, unsigned char *bytes)
{
	if (*spare == NULL)
		*spare = bytes;
	else
		mbedtls_free(bytes);
}

bool tls_rest_end(struct secure *s)
{
	mbedtls_ssl_context *c = &s->ssl;
	struct tls_rest     *r = &s->rest;

	if (r->in_rests) {
		c->M(in_buf) = borrow(&s->ground->spare_in, IN_BYTES);
		if (c->M(in_buf) == NULL)
			return false;
		move_in(c, r->in_was);
		memcpy(c->M(in_ctr), r->count, COUNT_BYTES);
		r->in_rests = false;
	}
	if (r->out_rests) {
		c->M(out_buf) = borrow(&s->ground->spare_out, OUT_BYTES);
		if (c->M(out_buf) == NULL)
			return false;
		move_out(c, r->out_was);
		r->out_rests = false;
	}
	return true;
}

void tls_rest_begin(struct secure *s)
{
	mbedtls_ssl_context *c = &s->ssl;
	struct tls_rest     *r = &s->rest;

	if (c->M(state) != MBEDTLS_SSL_HANDSHAKE_OVER)
		return;
	if (!r->in_rests && in_is_at_rest(c)) {
		memcpy(r->count, c->M(in_ctr), COUNT_BYTES);
		r->in_was = (uintptr_t)c->M(in_buf);
		give_back(&s->ground->spare_in, c->M(in_buf));
		c->M(in_buf) = NULL;
		r->in_rests = true;
	}
	if (!r->out_rests && out_is_at_rest(c)) {
		r->out_was = (uintptr_t)c->M(out_buf);
		give_back(&s->ground->spare_out, c->M(out_buf));
		c->M(out_buf) = NULL;
		r->out_rests = true;
	}
}

void tls_rest_fini(struct tls_ground *g)
{
	mbedtls_free(g->spare_in);
	mbedtls_free(g->spare_out);
}

#else

bool tls_rest_end(struct secure *s)
{
	(void)s;
	return true;
}

void tls_rest_begin(struct secure *s)
{
	(void)s;
}

void tls_rest_fini(struct tls_ground *g)
{
	(void)g;
}

#endif

/* Internal to mbedtls; NULL when it is not to be had. */
extern void mbedtls_ssl_handshake_free(mbedtls_ssl_context *ssl) __attribute__((weak));

/*
 * mbedtls 3.6 keeps what it needed for a handshake of TLS 1.3 as long as the connection lives. A
 * server has no use for it; a client needs the empty structure when tickets come later.
 */
static void forget_handshake(struct secure *s)
{
#if CAN_REST
	mbedtls_ssl_context *c = &s->ssl;

	if (c->M(handshake) == NULL || c->M(state) != MBEDTLS_SSL_HANDSHAKE_OVER ||
	    mbedtls_ssl_handshake_free == NULL)
		return;
	mbedtls_ssl_handshake_free(c); /* empties it, may be repeated */
#if defined(MBEDTLS_SSL_PROTO_TLS1_2)
	mbedtls_free(
		c->M(transform_negotiate)); /* never filled, or there would be no handshake left */
	c->M(transform_negotiate) = NULL;
#endif
	if (mbedtls_ssl_conf_get_endpoint(&s->ground->config) != MBEDTLS_SSL_IS_SERVER)
		return;
	mbedtls_free(c->M(handshake));
	c->M(handshake) = NULL;
#else
	(void)s;
#endif
}

static void forget_peer(struct secure *s)
{
#if CAN_REST && defined(MBEDTLS_SSL_KEEP_PEER_CERTIFICATE)
	mbedtls_ssl_session *session = s->ssl.M(session);

	if (session == NULL || session->M(peer_cert) == NULL)
		return;
	mbedtls_x509_crt_free(session->M(peer_cert));
	mbedtls_free(session->M(peer_cert));
	session->M(peer_cert) = NULL;
#else
	(void)s;
#endif
}

void tls_rest_after_handshake(struct secure *s)
{
	forget_peer(s);
	forget_handshake(s);
	tls_rest_begin(s);
}
