/*
 * tls.c - the secure stream and its handshake; the roles are in tls_server.c and tls_client.c.
 *
 * mbedtls works on memory: it takes ciphertext from stream_peek() of the stream below, and what it
 * sends is gathered and given to that stream in one write at the end of the call that caused it. So
 * mbedtls never waits for output; back-pressure is the room of the stream below.
 */
#include "net/tls.h"

#include <stdio.h>
#include <stdlib.h>

#include <psa/crypto.h>

#include "codec/aead.h"
#include "net/tls_inside.h"

enum {
	BLOCK = STREAM_RX_MAX,
	GATHER_FLUSH = 64 * 1024, /* more than this is not held together */
	GATHER_MAX = 96 * 1024,
	ANSWERS_MAX = 1024, /* bytes that mbedtls sends on its own account, in all */
};

struct tls_handshake {
	struct tls_handshake **slot; /* the owner's pointer to us; cleared on the way out */
	struct secure         *secure;
	struct deadline        deadline;
	tls_done_fn           *done;
	void                  *arg;
};

/* The fastest first: AES-256 where records go by the processor (tls_gcm.c), AES-128 where mbedtls at
   least has instructions for single blocks, else ChaCha20. Of TLS 1.2, ECDHE with AEAD only. */
#define SUITE_AES_256                                                                       \
	MBEDTLS_TLS1_3_AES_256_GCM_SHA384, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, \
		MBEDTLS_TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
#define SUITE_AES_128                                                                       \
	MBEDTLS_TLS1_3_AES_128_GCM_SHA256, MBEDTLS_TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, \
		MBEDTLS_TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
#define SUITE_CHACHA                                                   \
	MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,                       \
		MBEDTLS_TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, \
		MBEDTLS_TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256

#if defined(__x86_64__) || defined(__aarch64__)
#define SUITES_PLAIN SUITE_AES_128, SUITE_CHACHA, SUITE_AES_256
#else
#define SUITES_PLAIN SUITE_CHACHA, SUITE_AES_128, SUITE_AES_256
#endif

static const int suites_plain[] = { SUITES_PLAIN, 0 };
static const int suites_fast[] = { SUITE_AES_256, SUITE_AES_128, SUITE_CHACHA, 0 };

static const uint16_t groups[] = {
	MBEDTLS_SSL_IANA_TLS_GROUP_X25519,
	MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1,
	MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1,
	MBEDTLS_SSL_IANA_TLS_GROUP_NONE,
};

/* --- ground --- */

enum err tls_ground_init(struct tls_ground *g, struct loop *l, int endpoint,
                         void (*free_fn)(struct tls_ground *g))
{
	g->loop = l;
	g->refs = 1;
	g->free = free_fn;
	buf_init(&g->gather, GATHER_MAX);
	mbedtls_ssl_config_init(&g->config);
	if (psa_crypto_init() != PSA_SUCCESS) /* does nothing when done before */
		return ERR_NOMEM;
	if (mbedtls_ssl_config_defaults(&g->config, endpoint, MBEDTLS_SSL_TRANSPORT_STREAM,
	                                MBEDTLS_SSL_PRESET_DEFAULT) != 0)
		return ERR_NOMEM;
	mbedtls_ssl_conf_rng(&g->config, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE);
	mbedtls_ssl_conf_min_tls_version(&g->config, MBEDTLS_SSL_VERSION_TLS1_2);
	mbedtls_ssl_conf_ciphersuites(&g->config, aead_is_available() ? suites_fast : suites_plain);
	mbedtls_ssl_conf_groups(&g->config, groups);
	return ERR_OK;
}

void tls_ground_fini(struct tls_ground *g)
{
	mbedtls_ssl_config_free(&g->config);
	buf_fini(&g->gather);
	free(g->spare);
	tls_rest_fini(g);
}

struct tls_ground *tls_ground_keep(struct tls_ground *g)
{
	g->refs++;
	return g;
}

void tls_ground_drop(struct tls_ground *g)
{
	if (g != NULL && --g->refs == 0)
		g->free(g);
}

/* --- bytes below --- */

static int on_bio_recv(void *arg, unsigned char *to, size_t size)
{
	struct secure *s = arg;
	struct str     in = str_head(stream_peek(s->lower), size);

	if (in.len == 0)
		return stream_ended(s->lower) == ERR_OK ? MBEDTLS_ERR_SSL_WANT_READ : 0;
	memcpy(to, in.ptr, in.len);
	stream_consume(s->lower, in.len);
	return (int)in.len;
}

/* Gives what was gathered to the stream below. What that says of its end is seen when it wakes us. */
static enum err flush(struct secure *s)
{
	struct buf *gather = &s->ground->gather;
	enum err    e = ERR_OK;

	if (buf_len(gather) > 0) {
		e = stream_write(s->lower, buf_str(gather));
		buf_take(gather, buf_len(gather));
	}
	return e;
}

static int on_bio_send(void *arg, const unsigned char *bytes, size_t len)
{
	struct secure *s = arg;

	if (buf_len(&s->ground->gather) + len > GATHER_FLUSH)
		(void)flush(s);
	if (len > GATHER_FLUSH)
		len = GATHER_FLUSH;
	if (buf_add(&s->ground->gather, str_span(bytes, len)) != ERR_OK)
		return MBEDTLS_ERR_SSL_ALLOC_FAILED;
	return (int)len;
}

/* --- plaintext --- */

static size_t waiting(const struct secure *s)
{
	return s->end - s->at;
}

static bool block_take(struct secure *s)
{
	if (s->block == NULL) {
		s->block = s->ground->spare;
		s->ground->spare = NULL;
	}
	if (s->block == NULL)
		s->block = malloc(BLOCK);
	return s->block != NULL;
}

static void block_give(struct secure *s)
{
	if (s->block == NULL)
		return;
	if (s->ground->spare == NULL)
		s->ground->spare = s->block;
	else
		free(s->block);
	s->block = NULL;
	s->at = s->end = 0;
}

/* Is there something that mbedtls could turn into plaintext, or the news that there will be none? */
static bool has_input(struct secure *s)
{
	return mbedtls_ssl_check_pending(&s->ssl) != 0 || stream_peek(s->lower).len > 0 ||
		stream_ended(s->lower) != ERR_OK;
}

static enum err end_of(struct secure *s, int r)
{
	enum err lower = stream_ended(s->lower);

	switch (r) {
	case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
		return ERR_EOF;
	case 0:
	case MBEDTLS_ERR_SSL_CONN_EOF:
		return lower == ERR_EOF || lower == ERR_OK ? ERR_TRUNCATED : lower;
	case MBEDTLS_ERR_SSL_ALLOC_FAILED:
		return ERR_NOMEM;
	default:
		return ERR_TLS;
	}
}

/* One call of mbedtls_ssl_read(). False: it wants more than there is, or the stream has ended. */
static bool fill_step(struct secure *s)
{
	size_t before = stream_peek(s->lower).len;
	int    r = mbedtls_ssl_read(&s->ssl, (unsigned char *)s->block + s->end, BLOCK - s->end);

	if (r > 0) {
		s->end += (size_t)r;
		return true;
	}
	switch (r) {
	case MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET:
		tls_session_store(s);
		return true;
	case MBEDTLS_ERR_SSL_WANT_READ:
	case MBEDTLS_ERR_SSL_WANT_WRITE:
		return stream_peek(s->lower).len < before;
	default:
		s->base.end = end_of(s, r);
		return false;
	}
}

/*
 * mbedtls answers some messages by itself, whether there is room below or not: each wish for another
 * handshake of TLS 1.2 gets an alert almost as long. A peer that goes on wishing and reads nothing would
 * fill our memory.
 */
static void count_answers(struct secure *s)
{
	s->answered += buf_len(&s->ground->gather);
	if (s->answered > ANSWERS_MAX && s->base.end == ERR_OK)
		s->base.end = ERR_TLS;
}

/* Opens records until the block is full or the input is used up. */
static void fill(struct secure *s)
{
	enum err lower = stream_ended(s->lower);

	if (s->base.end == ERR_EOF && lower != ERR_OK && lower != ERR_EOF)
		s->base.end = lower; /* our half is broken, too */
	if (s->base.end != ERR_OK || !has_input(s))
		return;
	if (!block_take(s) || !tls_rest_end(s)) {
		block_give(s);
		s->base.end = ERR_NOMEM;
		return;
	}
	if (s->at > 0) {
		memmove(s->block, s->block + s->at, waiting(s));
		s->end -= s->at;
		s->at = 0;
	}
	while (s->end < BLOCK && has_input(s) && fill_step(s)) {
	}
	count_answers(s);
	(void)flush(s);
	tls_rest_begin(s);
	if (waiting(s) == 0)
		block_give(s);
}

/* --- the stream --- */

static struct secure *secure_of(const struct stream *s)
{
	return (struct secure *)(uintptr_t)s;
}

static struct str secure_peek(struct stream *stream)
{
	struct secure *s = secure_of(stream);

	fill(s);
	return s->block == NULL ? (struct str){ "", 0 } : str_span(s->block + s->at, waiting(s));
}

static void secure_consume(struct stream *stream, size_t n)
{
	struct secure *s = secure_of(stream);

	check(n <= waiting(s));
	s->at += n;
	if (waiting(s) == 0)
		block_give(s);
	if (n > 0 && s->base.end == ERR_OK && has_input(s))
		soon_call(&s->look); /* the stream below will not wake us for what it has shown */
}

static size_t secure_room(const struct stream *stream)
{
	const struct secure *s = secure_of(stream);

	/* records add some bytes, which may exceed the room of the stream below */
	return s->ended ? 0 : stream_room(s->lower);
}

static size_t secure_unsent(const struct stream *stream)
{
	return stream_unsent(secure_of(stream)->lower);
}

static enum err secure_write(struct stream *stream, struct str bytes)
{
	struct secure *s = secure_of(stream);
	enum err       e;
	int            n;

	if (s->base.end != ERR_OK && s->base.end != ERR_EOF)
		return s->base.end;
	if (s->ended)
		return ERR_EOF;
	if (!tls_rest_end(s))
		return ERR_NOMEM;
	while (bytes.len > 0) {
		n = mbedtls_ssl_write(&s->ssl, (const unsigned char *)bytes.ptr, bytes.len);
		if (n == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET) {
			tls_session_store(s);
			continue;
		}
		if (n <= 0) {
			s->base.end = end_of(s, n);
			soon_call(&s->look);
			break;
		}
		bytes = str_from(bytes, (size_t)n);
	}
	e = flush(s);
	tls_rest_begin(s);
	if (stream_room(s->lower) == 0)
		s->full = true;
	if (bytes.len > 0)
		return s->base.end;
	return e;
}

static void secure_shutdown(struct stream *stream)
{
	struct secure *s = secure_of(stream);

	if (s->ended)
		return;
	s->ended = true;
	if ((s->base.end == ERR_OK || s->base.end == ERR_EOF) && tls_rest_end(s)) {
		(void)mbedtls_ssl_close_notify(&s->ssl);
		(void)flush(s);
		tls_rest_begin(s);
	}
	stream_shutdown(s->lower);
	s->full = stream_unsent(s->lower) > 0;
}

static void secure_close(struct stream *stream)
{
	struct secure *s = secure_of(stream);

	stream_close(s->lower);
	tls_secure_free(s);
}

static bool secure_quiet(const struct stream *stream)
{
	return stream_is_quiet(secure_of(stream)->lower);
}

static const struct stream_ops secure_ops = {
	.peek = secure_peek,
	.consume = secure_consume,
	.room = secure_room,
	.unsent = secure_unsent,
	.quiet = secure_quiet,
	.write = secure_write,
	.shutdown = secure_shutdown,
	.close = secure_close,
};

static void handshake_step(struct secure *s);

/* Tells the owner if there is anything new for him; may be the end of s. */
static void look(struct secure *s, bool always)
{
	size_t   before = waiting(s);
	enum err end = s->base.end;
	bool     news = always;

	fill(s);
	if (waiting(s) != before || s->base.end != end)
		news = true;
	if (s->full && (s->ended ? stream_unsent(s->lower) == 0 : stream_room(s->lower) > 0)) {
		s->full = false;
		news = true;
	}
	if (news && s->base.wake != NULL)
		s->base.wake(s->base.arg);
}

static void on_lower_wake(void *arg)
{
	struct secure *s = arg;

	if (s->handshake != NULL)
		handshake_step(s);
	else
		look(s, false);
}

static void on_look(void *arg)
{
	struct secure *s = arg;

	if (s->handshake != NULL)
		handshake_step(s);
	else
		look(s, true);
}

struct secure *tls_secure_new(struct tls_ground *g, struct stream *lower)
{
	struct secure *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->base.ops = &secure_ops;
	s->lower = lower;
	s->ground = tls_ground_keep(g);
	soon_init(&s->look, g->loop, on_look, s);
	mbedtls_ssl_init(&s->ssl);
	if (mbedtls_ssl_setup(&s->ssl, &g->config) != 0) {
		tls_secure_free(s);
		return NULL;
	}
	mbedtls_ssl_set_user_data_p(&s->ssl, s);
	mbedtls_ssl_set_bio(&s->ssl, s, on_bio_send, on_bio_recv, NULL);
	return s;
}

void tls_secure_free(struct secure *s)
{
	soon_clear(&s->look);
	block_give(s);
	mbedtls_ssl_free(&s->ssl);
	tls_ground_drop(s->ground);
	free(s->name);
	free(s->session_key);
	free(s);
}

/* --- the handshake --- */

static const struct {
	uint32_t    flag;
	const char *text;
} verdicts[] = {
	{ MBEDTLS_X509_BADCERT_NOT_TRUSTED, "no known authority signed the certificate" },
	{ MBEDTLS_X509_BADCERT_CN_MISMATCH, "the certificate is for another name" },
	{ MBEDTLS_X509_BADCERT_EXPIRED, "the certificate has expired" },
	{ MBEDTLS_X509_BADCERT_FUTURE, "the certificate is not valid yet (is the clock right?)" },
	{ MBEDTLS_X509_BADCERT_KEY_USAGE, "the certificate is not for servers" },
	{ MBEDTLS_X509_BADCERT_EXT_KEY_USAGE, "the certificate is not for servers" },
	{ MBEDTLS_X509_BADCERT_BAD_MD, "the certificate is signed with a weak digest" },
	{ MBEDTLS_X509_BADCERT_BAD_KEY, "the certificate's key is too weak" },
};

static const char *verdict_text(uint32_t flags)
{
	for (size_t i = 0; i < sizeof(verdicts) / sizeof(verdicts[0]); i++) {
		if ((flags & verdicts[i].flag) != 0)
			return verdicts[i].text;
	}
	return "the certificate is not acceptable";
}

static enum err failure_of(struct secure *s, int r, char *text, size_t size)
{
	enum err lower = stream_ended(s->lower);

	switch (r) {
	case MBEDTLS_ERR_X509_CERT_VERIFY_FAILED:
		snprintf(text, size, "%s", verdict_text(mbedtls_ssl_get_verify_result(&s->ssl)));
		return ERR_CERTIFICATE;
	case MBEDTLS_ERR_SSL_CONN_EOF:
	case MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY:
		snprintf(text, size, "the peer ended the handshake");
		return lower == ERR_OK ? ERR_EOF : lower;
	case MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE:
		snprintf(text, size, "the peer sent alert %u",
		         (unsigned)s->ssl.MBEDTLS_PRIVATE(in_msg)[1]);
		return ERR_TLS;
	case MBEDTLS_ERR_SSL_ALLOC_FAILED:
		snprintf(text, size, "no memory");
		return ERR_NOMEM;
	default:
		snprintf(text, size, "mbedtls error -0x%04x", (unsigned)-r);
		return ERR_TLS;
	}
}

/* The only way out. */
static void handshake_finish(struct tls_handshake *h, enum err e, const char *detail)
{
	struct secure *s = h->secure;
	tls_done_fn   *done = h->done;
	void          *arg = h->arg;

	*h->slot = NULL;
	deadline_clear(&h->deadline);
	free(h);
	s->handshake = NULL;
	if (e == ERR_OK) {
		if (has_input(s))
			soon_call(&s->look); /* came with the end of the handshake */
	} else {
		secure_close(&s->base);
		s = NULL;
	}
	if (e != ERR_CANCELLED)
		done(arg, e, s != NULL ? &s->base : NULL, detail);
}

static void handshake_step(struct secure *s)
{
	char     text[96] = "";
	enum err e;
	int      r;

	s->ground->at_work = s;
	do {
		r = mbedtls_ssl_handshake(&s->ssl);
	} while (r == MBEDTLS_ERR_SSL_RECEIVED_NEW_SESSION_TICKET);
	s->ground->at_work = NULL;
	(void)flush(s);
	if (r == MBEDTLS_ERR_SSL_WANT_READ || r == MBEDTLS_ERR_SSL_WANT_WRITE)
		return;
	if (r != 0) {
		e = failure_of(s, r, text, sizeof(text));
		handshake_finish(s->handshake, e, text);
		return;
	}
	tls_session_store(s);
	tls_rest_after_handshake(s);
	handshake_finish(s->handshake, ERR_OK, mbedtls_ssl_get_ciphersuite(&s->ssl));
}

static void on_deadline(void *arg)
{
	handshake_finish(arg, ERR_TIMEOUT, "the handshake took too long");
}

enum err tls_handshake_begin(struct tls_handshake **slot, struct secure *s, msec deadline_ms,
                             tls_done_fn *done, void *arg)
{
	struct tls_handshake *h = malloc(sizeof(*h));

	if (h == NULL)
		return ERR_NOMEM;
	h->slot = slot;
	h->secure = s;
	h->done = done;
	h->arg = arg;
	deadline_init(&h->deadline, s->ground->loop, on_deadline, h);
	deadline_in(&h->deadline, deadline_ms);
	s->handshake = h;
	stream_own(s->lower, on_lower_wake, s);
	soon_call(&s->look); /* the first step */
	*slot = h;
	return ERR_OK;
}

void tls_handshake_cancel(struct tls_handshake **slot)
{
	if (*slot != NULL)
		handshake_finish(*slot, ERR_CANCELLED, "");
}

/* --- information --- */

void tls_stream_info(const struct stream *secure, struct tls_info *out)
{
	const struct secure *s = secure_of(secure);
	bool is_server = mbedtls_ssl_conf_get_endpoint(&s->ground->config) == MBEDTLS_SSL_IS_SERVER;

	*out = (struct tls_info){ .sni = "" };
	out->version = mbedtls_ssl_get_version(&s->ssl);
	out->suite = mbedtls_ssl_get_ciphersuite(&s->ssl);
	out->resumed = is_server ? s->ticket : !s->verified;
	if (is_server && s->name != NULL)
		(void)str_copy(str_of(s->name), out->sni, sizeof(out->sni));
}

void tls_idle(struct stream *secure)
{
	tls_rest_begin(secure_of(secure)); /* nothing to do, mostly: done after every call */
}

const char *tls_library(void)
{
	return MBEDTLS_VERSION_STRING_FULL;
}
