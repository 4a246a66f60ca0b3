#include <stdlib.h>

#include <mbedtls/ssl_ticket.h>

#include "net/tls_inside.h"

enum { TICKET_LIFE_MAX_S = 24 * 3600 }; /* keys rotate with the life of the tickets */

/* A certificate chain and its key. */
struct pair {
	mbedtls_x509_crt   chain;
	mbedtls_pk_context key;
	bool               has_key;
};

struct tls_server {
	struct tls_ground          ground; /* first */
	mbedtls_ssl_ticket_context tickets;
	size_t                     count;
	struct pair               *pairs;
};

static struct tls_server *server_of(struct tls_ground *g)
{
	return (struct tls_server *)(void *)g;
}

static void server_free(struct tls_ground *g)
{
	struct tls_server *t = server_of(g);

	tls_ground_fini(g);
	mbedtls_ssl_ticket_free(&t->tickets);
	for (size_t i = 0; i < t->count; i++) {
		mbedtls_x509_crt_free(&t->pairs[i].chain);
		mbedtls_pk_free(&t->pairs[i].key);
	}
	free(t->pairs);
	free(t);
}

struct tls_server *tls_server_keep(struct tls_server *t)
{
	tls_ground_keep(&t->ground);
	return t;
}

void tls_server_drop(struct tls_server *t)
{
	if (t != NULL)
		tls_ground_drop(&t->ground);
}

bool tls_server_covers(const struct tls_server *t, struct str name)
{
	for (size_t i = 0; i < t->count; i++) {
		if (tls_names_cover(&t->pairs[i].chain, name))
			return true;
	}
	return false;
}

/* Days since 1970 of a date of the Gregorian calendar, years counted from March. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
	int64_t y = month <= 2 ? year - 1 : year, m = month <= 2 ? month + 9 : month - 3;

	return 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719468;
}

static int64_t unix_of(const mbedtls_x509_time *t)
{
	return days_of(t->year, t->mon, t->day) * 86400 + t->hour * 3600 + t->min * 60 + t->sec;
}

bool tls_server_until(const struct tls_server *t, struct str name, int64_t *unix_s)
{
	bool any = false;

	for (size_t i = 0; i < t->count; i++) {
		int64_t until = unix_of(&t->pairs[i].chain.valid_to);

		if (!tls_names_cover(&t->pairs[i].chain, name) || (any && until <= *unix_s))
			continue;
		*unix_s = until;
		any = true;
	}
	return any;
}

/* --- choosing --- */

typedef bool covers_fn(const mbedtls_x509_crt *crt, struct str name);

/* Offers all that cover the name (they may differ in the kind of key); whether there was any. */
static bool offer(struct tls_server *t, mbedtls_ssl_context *ssl, covers_fn *covers,
                  struct str name)
{
	bool any = false;

	for (size_t i = 0; i < t->count; i++) {
		struct pair *p = &t->pairs[i];

		if (covers(&p->chain, name) &&
		    mbedtls_ssl_set_hs_own_cert(ssl, &p->chain, &p->key) == 0)
			any = true;
	}
	return any;
}

/* For the log; what cannot be a host name is not repeated there. */
static void remember_sni(struct secure *s, struct str name)
{
	static const char allowed[] =
		"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._";

	if (name.len == 0 || name.len >= sizeof(((struct tls_info *)NULL)->sni))
		return;
	for (size_t i = 0; i < name.len; i++) {
		if (memchr(allowed, name.ptr[i], sizeof(allowed) - 1) == NULL)
			return;
	}
	free(s->name);
	s->name = str_dup(name);
}

static int on_hello(mbedtls_ssl_context *ssl)
{
	struct secure       *s = mbedtls_ssl_get_user_data_p(ssl);
	struct tls_server   *t = server_of(s->ground);
	size_t               len = 0;
	const unsigned char *sni = mbedtls_ssl_get_hs_sni(ssl, &len);
	struct str           name = { "", 0 }, usual;

	if (sni != NULL)
		name = str_span(sni, len);
	remember_sni(s, name);
	if (name.len > 0 &&
	    (offer(t, ssl, tls_names_cover_exactly, name) || offer(t, ssl, tls_names_cover, name)))
		return 0;
	if (tls_names_first(&t->pairs[0].chain, &usual) &&
	    offer(t, ssl, tls_names_cover_exactly, usual))
		return 0;
	return mbedtls_ssl_set_hs_own_cert(ssl, &t->pairs[0].chain, &t->pairs[0].key);
}

/* --- tickets --- */

static int on_ticket_parse(void *arg, mbedtls_ssl_session *session, unsigned char *bytes,
                           size_t len)
{
	struct tls_server *t = arg;
	int                r = mbedtls_ssl_ticket_parse(&t->tickets, session, bytes, len);

	if (r == 0 && t->ground.at_work != NULL)
		t->ground.at_work->ticket = true;
	return r;
}

static int on_ticket_write(void *arg, const mbedtls_ssl_session *session, unsigned char *start,
                           const unsigned char *end, size_t *len, uint32_t *life_s)
{
	struct tls_server *t = arg;

	return mbedtls_ssl_ticket_write(&t->tickets, session, start, end, len, life_s);
}

static enum err use_tickets(struct tls_server *t, msec life_ms)
{
	msec life_s = life_ms / SECOND_MS;

	if (life_ms == 0)
		return ERR_OK;
	if (life_s > TICKET_LIFE_MAX_S)
		life_s = TICKET_LIFE_MAX_S;
	if (life_s == 0)
		life_s = 1;
	if (mbedtls_ssl_ticket_setup(&t->tickets, mbedtls_psa_get_random, MBEDTLS_PSA_RANDOM_STATE,
	                             MBEDTLS_CIPHER_AES_256_GCM, (uint32_t)life_s) != 0)
		return ERR_NOMEM;
	mbedtls_ssl_conf_session_tickets_cb(&t->ground.config, on_ticket_write, on_ticket_parse, t);
	return ERR_OK;
}

/* --- loading --- */

static enum err load_certificates(struct tls_server *t, const struct tls_server_files *f,
                                  struct tls_fault *fault)
{
	if (f->certificate_count == 0) {
		tls_fault_set(fault, "no certificate is configured");
		return ERR_CERTIFICATE;
	}
	t->pairs = calloc(f->certificate_count, sizeof(*t->pairs));
	if (t->pairs == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < f->certificate_count; i++) {
		struct pair *p = &t->pairs[t->count++];
		enum err     e;

		mbedtls_pk_init(&p->key);
		e = tls_file_certificates(f->certificates[i], true, &p->chain, fault);
		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

static bool is_pair(const struct pair *p, const mbedtls_pk_context *key)
{
	return mbedtls_pk_check_pair(&p->chain.pk, key, mbedtls_psa_get_random,
	                             MBEDTLS_PSA_RANDOM_STATE) == 0;
}

/* Gives the key of this file to every certificate that it fits. */
static enum err load_key(struct tls_server *t, const char *path, struct tls_fault *fault)
{
	bool               used = false;
	mbedtls_pk_context key;
	enum err           e = tls_file_key(path, &key, fault);

	for (size_t i = 0; e == ERR_OK && i < t->count; i++) {
		struct pair *p = &t->pairs[i];

		if (!is_pair(p, &key))
			continue;
		used = true;
		if (p->has_key)
			continue;
		e = tls_file_key(path, &p->key, fault);
		p->has_key = e == ERR_OK;
	}
	mbedtls_pk_free(&key);
	if (e == ERR_OK && !used) {
		tls_fault_set(fault,
		              "the key %s fits none of the certificates: configure the pair that "
		              "was issued together",
		              path);
		return ERR_CERTIFICATE;
	}
	return e;
}

static enum err load_keys(struct tls_server *t, const struct tls_server_files *f,
                          struct tls_fault *fault)
{
	for (size_t i = 0; i < f->key_count; i++) {
		enum err e = load_key(t, f->keys[i], fault);

		if (e != ERR_OK)
			return e;
	}
	for (size_t i = 0; i < t->count; i++) {
		if (t->pairs[i].has_key)
			continue;
		tls_fault_set(fault,
		              "no key fits the certificate %s: configure the key it was issued for "
		              "(the leaf must come first in the file)",
		              f->certificates[i]);
		return ERR_CERTIFICATE;
	}
	return ERR_OK;
}

static void warn_of_dates(const struct tls_server *t, const struct tls_server_files *f,
                          struct tls_fault *warning)
{
	tls_fault_set(warning, "%s", "");
	for (size_t i = t->count; i-- > 0;) {
		const mbedtls_x509_crt *leaf = &t->pairs[i].chain;

		if (mbedtls_x509_time_is_past(&leaf->valid_to))
			tls_fault_set(warning, "the certificate %s has expired: renew it",
			              f->certificates[i]);
		else if (mbedtls_x509_time_is_future(&leaf->valid_from))
			tls_fault_set(warning,
			              "the certificate %s is not valid yet: is the clock right?",
			              f->certificates[i]);
		else if (!mbedtls_x509_crt_has_ext_type(leaf, MBEDTLS_X509_EXT_SUBJECT_ALT_NAME))
			tls_fault_set(warning,
			              "the certificate %s has no subjectAltName: peers will not "
			              "accept it",
			              f->certificates[i]);
	}
}

enum err tls_server_load(struct loop *l, const struct tls_server_files *f, struct tls_server **out,
                         struct tls_fault *fault, struct tls_fault *warning)
{
	struct tls_server *t = calloc(1, sizeof(*t));
	enum err           e = ERR_NOMEM;

	tls_fault_set(fault, "no memory for certificates");
	if (t == NULL)
		return e;
	mbedtls_ssl_ticket_init(&t->tickets);
	e = tls_ground_init(&t->ground, l, MBEDTLS_SSL_IS_SERVER, server_free);
	if (e == ERR_OK)
		e = load_certificates(t, f, fault);
	if (e == ERR_OK)
		e = load_keys(t, f, fault);
	if (e == ERR_OK)
		e = use_tickets(t, f->ticket_life_ms);
	if (e == ERR_OK &&
	    mbedtls_ssl_conf_own_cert(&t->ground.config, &t->pairs[0].chain, &t->pairs[0].key) != 0)
		e = ERR_NOMEM;
	if (e != ERR_OK) {
		tls_server_drop(t);
		return e;
	}
	mbedtls_ssl_conf_authmode(&t->ground.config, MBEDTLS_SSL_VERIFY_NONE);
	mbedtls_ssl_conf_cert_cb(&t->ground.config, on_hello);
	tls_fault_set(fault, "%s", "");
	warn_of_dates(t, f, warning);
	*out = t;
	return ERR_OK;
}

enum err tls_accept_start(struct tls_handshake **slot, struct loop *l, struct tls_server *t,
                          struct stream *lower, msec deadline_ms, tls_done_fn *done, void *arg)
{
	struct secure *s = tls_secure_new(&t->ground, lower);
	enum err       e;

	(void)l;
	if (s == NULL)
		return ERR_NOMEM;
	e = tls_handshake_begin(slot, s, deadline_ms, done, arg);
	if (e != ERR_OK)
		tls_secure_free(s);
	return e;
}
