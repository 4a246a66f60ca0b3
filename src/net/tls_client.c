#include <stdlib.h>

#include "base/list.h"
#include "net/tls_inside.h"

enum { SESSION_LIFE_MS = DAY_MS };

/*
 * A session that a server let us remember. It was made with a certificate that covered `name`, and is
 * offered only where that same name is asked for.
 */
struct session {
	struct link    link;
	char          *key, *name;
	bool           is_address;
	msec           stored_at;
	size_t         len;
	unsigned char *bytes;
};

struct tls_client {
	struct tls_ground ground; /* first */
	mbedtls_x509_crt  authorities;
	struct link       sessions; /* newest first */
	size_t            count, max;
};

static struct tls_client *client_of(struct tls_ground *g)
{
	return (struct tls_client *)(void *)g;
}

/* --- sessions --- */

static void session_free(struct tls_client *t, struct session *one)
{
	list_remove(&one->link);
	t->count--;
	free(one->key);
	free(one->name);
	free(one->bytes);
	free(one);
}

static struct session *session_of(struct link *l)
{
	return LIST_ENTRY(l, struct session, link);
}

static struct session *session_find(struct tls_client *t, const struct secure *s)
{
	struct link *l;

	for (l = t->sessions.next; l != &t->sessions; l = l->next) {
		struct session *one = session_of(l);

		if (strcmp(one->key, s->session_key) == 0 && strcmp(one->name, s->name) == 0 &&
		    one->is_address == s->is_address)
			return one;
	}
	return NULL;
}

/* The serialised session: how mbedtls itself keeps it is several times as large. */
static unsigned char *session_bytes(const mbedtls_ssl_session *session, size_t *len)
{
	unsigned char *bytes;

	if (mbedtls_ssl_session_save(session, NULL, 0, len) != MBEDTLS_ERR_SSL_BUFFER_TOO_SMALL)
		return NULL;
	bytes = malloc(*len);
	if (bytes != NULL && mbedtls_ssl_session_save(session, bytes, *len, len) != 0) {
		free(bytes);
		return NULL;
	}
	return bytes;
}

static void session_add(struct tls_client *t, const struct secure *s,
                        const mbedtls_ssl_session *session)
{
	struct session *one = session_find(t, s);

	if (one != NULL)
		session_free(t, one);
	one = calloc(1, sizeof(*one));
	if (one == NULL)
		return; /* the next connection pays with a full handshake */
	list_push_front(&t->sessions, &one->link);
	t->count++;
	one->key = str_dup(str_of(s->session_key));
	one->name = str_dup(str_of(s->name));
	one->is_address = s->is_address;
	one->stored_at = loop_now(t->ground.loop);
	one->bytes = session_bytes(session, &one->len);
	if (one->key == NULL || one->name == NULL || one->bytes == NULL)
		session_free(t, one);
	else if (t->count > t->max)
		session_free(t, session_of(t->sessions.prev));
}

void tls_session_store(struct secure *s)
{
	mbedtls_ssl_session session;

	if (s->session_key == NULL)
		return;
	mbedtls_ssl_session_init(&session);
	if (mbedtls_ssl_get_session(&s->ssl, &session) == 0)
		session_add(client_of(s->ground), s, &session);
	mbedtls_ssl_session_free(&session);
}

static void session_offer(struct tls_client *t, struct secure *s)
{
	struct session     *one = session_find(t, s);
	mbedtls_ssl_session session;

	if (one == NULL)
		return;
	mbedtls_ssl_session_init(&session);
	if (loop_now(t->ground.loop) - one->stored_at > SESSION_LIFE_MS ||
	    mbedtls_ssl_session_load(&session, one->bytes, one->len) != 0 ||
	    mbedtls_ssl_set_session(&s->ssl, &session) != 0)
		session_free(t, one);
	mbedtls_ssl_session_free(&session);
}

/* --- life --- */

static void client_free(struct tls_ground *g)
{
	struct tls_client *t = client_of(g);

	while (!list_empty(&t->sessions))
		session_free(t, session_of(t->sessions.next));
	tls_ground_fini(g);
	mbedtls_x509_crt_free(&t->authorities);
	free(t);
}

struct tls_client *tls_client_keep(struct tls_client *t)
{
	tls_ground_keep(&t->ground);
	return t;
}

void tls_client_drop(struct tls_client *t)
{
	if (t != NULL)
		tls_ground_drop(&t->ground);
}

enum err tls_client_load(struct loop *l, const char *ca_file, size_t sessions_max,
                         struct tls_client **out, struct tls_fault *fault)
{
	struct tls_client *t = calloc(1, sizeof(*t));
	enum err           e;

	tls_fault_set(fault, "no memory for certificates");
	if (t == NULL)
		return ERR_NOMEM;
	t->max = sessions_max;
	list_init(&t->sessions);
	mbedtls_x509_crt_init(&t->authorities);
	e = tls_ground_init(&t->ground, l, MBEDTLS_SSL_IS_CLIENT, client_free);
	if (e == ERR_OK)
		e = tls_file_certificates(ca_file, false, &t->authorities, fault);
	if (e != ERR_OK) {
		tls_client_drop(t);
		return e;
	}
	mbedtls_ssl_conf_ca_chain(&t->ground.config, &t->authorities, NULL);
	mbedtls_ssl_conf_authmode(&t->ground.config, MBEDTLS_SSL_VERIFY_REQUIRED);
#ifdef MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED /* 3.6.1; before, always so */
	mbedtls_ssl_conf_tls13_enable_signal_new_session_tickets(
		&t->ground.config, MBEDTLS_SSL_TLS1_3_SIGNAL_NEW_SESSION_TICKETS_ENABLED);
#endif
	tls_fault_set(fault, "%s", "");
	*out = t;
	return ERR_OK;
}

/* --- connecting --- */

/*
 * Called for every certificate of the chain, depth 0 being the peer's own. mbedtls would be content
 * with a common name where there is no subjectAltName, and checks nothing for addresses; we are not.
 */
static int on_verify(void *arg, mbedtls_x509_crt *crt, int depth, uint32_t *flags)
{
	struct secure *s = arg;
	struct address a;
	bool           covered;

	if (depth != 0)
		return 0;
	s->verified = true;
	if (s->is_address)
		covered = address_parse_ip(str_of(s->name), &a) == ERR_OK &&
			tls_names_cover_ip(crt, &a);
	else
		covered = tls_names_cover(crt, str_of(s->name));
	if (!covered)
		*flags |= MBEDTLS_X509_BADCERT_CN_MISMATCH;
	return 0;
}

static enum err prepare(struct tls_client *t, struct secure *s, struct str name,
                        struct str session_key)
{
	if (name.len > 1 && name.ptr[name.len - 1] == '.')
		name.len--; /* neither SNI nor certificates have it */
	s->name = str_dup(name);
	if (s->name == NULL)
		return ERR_NOMEM;
	str_lower(s->name); /* means the same, and some servers look their names up as they come */
	mbedtls_ssl_set_verify(&s->ssl, on_verify, s);
	/* for an address an express "no name": no SNI (RFC 6066, section 3) */
	if (mbedtls_ssl_set_hostname(&s->ssl, s->is_address ? NULL : s->name) != 0)
		return ERR_NOMEM;
	if (session_key.len == 0 || t->max == 0)
		return ERR_OK;
	s->session_key = str_dup(session_key);
	if (s->session_key == NULL)
		return ERR_NOMEM;
	session_offer(t, s);
	return ERR_OK;
}

enum err tls_connect_start(struct tls_handshake **slot, struct loop *l, struct tls_client *t,
                           struct stream *lower, struct str name, bool is_address,
                           struct str session_key, msec deadline_ms, tls_done_fn *done, void *arg)
{
	struct secure *s;
	enum err       e;

	(void)l;
	if (name.len == 0 || name.len > MBEDTLS_SSL_MAX_HOST_NAME_LEN ||
	    memchr(name.ptr, '\0', name.len) != NULL)
		return ERR_SYNTAX;
	s = tls_secure_new(&t->ground, lower);
	if (s == NULL)
		return ERR_NOMEM;
	s->is_address = is_address;
	e = prepare(t, s, name, session_key);
	if (e == ERR_OK)
		e = tls_handshake_begin(slot, s, deadline_ms, done, arg);
	if (e != ERR_OK)
		tls_secure_free(s);
	return e;
}
