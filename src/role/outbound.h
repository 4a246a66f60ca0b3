/*
 * outbound.h - the homeserver's way to other servers.
 *
 * Two kinds of listener. matrix-federation: plain HTTP with absolute-form targets
 * matrix-federation://NAME/path and a Bearer secret, as Synapse sends with
 * outbound_federation_restricted_to; doorstep finds NAME, does TLS, keeps connections. connect: an
 * HTTP CONNECT proxy for the other homeservers, which do discovery and TLS themselves.
 *
 * On the matrix-federation listener the homeserver (option homeserver of its section) also says when it
 * sleeps, with the same secret and in origin-form, where nothing else is taken:
 *    POST /_doorstep/sleep           200 {"done":true,"state":...}, or 409 {"done":false,"reason":...,
 *                                    "wait_ms":n}: not yet, see sleeper_must_stay()
 *    POST /_doorstep/sleep?force=1   200
 *    POST /_doorstep/wake            200: it is back
 * Whatever it sends to other servers says that it is awake, and which questions will follow.
 *
 * Errors are chosen by what they do inside the homeserver: one that makes it suspend a destination is
 * given only when the destination failed. A name served by this same doorstep goes straight to its
 * homeserver, under the policy of the public door.
 */
#ifndef ROLE_OUTBOUND_H
#define ROLE_OUTBOUND_H

#include "config.h"

#include "role/answers.h"
#include "role/gate.h"
#include "role/reception.h"
#include "role/resolver.h"
#include "role/servers.h"
#include "role/settings.h"
#include "role/upstream.h"

struct outbound;

struct outbound_options {
	struct loop                    *loop;
	struct settings                *settings; /* kept */
	const struct outbound_settings *section;  /* of these settings */
	struct resolver                *resolver;
	struct http_pool               *pool;    /* connections to other servers */
	struct servers                 *servers; /* places for them */
	struct tls_client              *tls;     /* kept */
	/* A request for a name that is served here: it belongs to the public door now. name: the request's. */
	void (*local)(void *arg, struct http_request *r, struct str name);
	/* NULL: it does not sleep */
	struct reception *(*reception)(void *arg, const struct homeserver_settings *hs);
	struct answers
		*answers; /* borrowed: what a homeserver sends may make some wrong. May be NULL */
	void    *arg;
	struct gate *gate; /* NULL: nobody becomes known */
};

typedef void outbound_full_fn(void *arg, bool full);

#ifdef CONFIG_DOORSTEP_OUTBOUND

enum err outbound_new(const struct outbound_options *o, struct outbound **out);

void outbound_accept(void *outbound, struct stream *s, const struct address *peer);
void outbound_on_full(struct outbound *ob, outbound_full_fn *fn, void *arg);

/* Will others come back with questions about such a request? Pure, for its test. */
enum awake_sent outbound_sent_kind(struct str method, struct str path);

/* section: of the new settings. */
void outbound_reload(struct outbound *ob, struct settings *s,
                     const struct outbound_settings *section, struct tls_client *tls);
void outbound_drain(struct outbound *ob);
bool outbound_is_empty(const struct outbound *ob);
void outbound_free(struct outbound *ob);

#else /* built without: an outbound section is refused with ERR_UNSUPPORTED */

static inline enum err outbound_new(const struct outbound_options *o, struct outbound **out)
{
	(void)o;
	(void)out;
	return ERR_UNSUPPORTED;
}

static inline void outbound_accept(void *outbound, struct stream *s, const struct address *peer)
{
	(void)outbound;
	(void)peer;
	stream_close(s);
}

static inline void outbound_on_full(struct outbound *ob, outbound_full_fn *fn, void *arg)
{
	(void)ob;
	(void)fn;
	(void)arg;
}

static inline void outbound_reload(struct outbound *ob, struct settings *s,
                                   const struct outbound_settings *section, struct tls_client *tls)
{
	(void)ob;
	(void)s;
	(void)section;
	(void)tls;
}

static inline void outbound_drain(struct outbound *ob)
{
	(void)ob;
}

static inline bool outbound_is_empty(const struct outbound *ob)
{
	(void)ob;
	return true;
}

static inline void outbound_free(struct outbound *ob)
{
	(void)ob;
}

#endif

#endif
