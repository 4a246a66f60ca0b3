/*
 * inbound.h - the door: requests of other servers and clients, relayed to the homeservers behind.
 *
 * One request: a connection is accepted (ceilings), made secure (certificate by SNI), its heads are
 * read; Host names the domain, the path its class; /.well-known is answered here; what is exposed is
 * relayed; the rest is 404. Administrative paths never pass, whatever the configuration says.
 *
 * It receives streams and peers, never sockets, so that connections may come from elsewhere (a link).
 */
#ifndef ROLE_INBOUND_H
#define ROLE_INBOUND_H

#include "net/tls.h"
#include "role/passage.h"
#include "role/settings.h"
#include "role/upstream.h"

struct inbound;

struct inbound_options {
	struct loop          *loop;
	struct settings      *settings; /* kept */
	struct tls_server    *tls;      /* kept; NULL when nothing listens */
	inbound_upstream_fn  *upstream;
	inbound_reception_fn *reception; /* may be NULL: none has one */
	void                 *arg;
	struct gate          *gate;     /* may be NULL: all pass */
	struct answers       *answers;  /* borrowed; both may be NULL, see passage.h */
	struct verifier      *verifier; /* borrowed */
};

enum err inbound_new(const struct inbound_options *o, struct inbound **out);

/* A connection as it was accepted, before TLS. */
void inbound_accept(void *inbound, struct stream *s, const struct address *peer);

/*
 * A request of one of our homeservers for a name that is served here, see passage_begin_local(). It counts
 * against its own connection's ceilings, not ours.
 */
void inbound_take_local(struct inbound *in, struct http_request *r, struct str name);

/* Called with true when the ceiling is reached and accepting should pause, false when it may resume. */
typedef void inbound_full_fn(void *arg, bool full);
void         inbound_on_full(struct inbound *in, inbound_full_fn *fn, void *arg);

/* Takes over a new configuration; what is under way ends under the old one. */
void inbound_reload(struct inbound *in, struct settings *s, struct tls_server *tls);

void inbound_drain(struct inbound *in); /* no new requests; see inbound_is_empty */
bool inbound_is_empty(const struct inbound *in);
void inbound_free(struct inbound *in);

#endif
