/*
 * passage.h - one request on its way from the public door to the homeserver.
 *
 * Host names the domain, the path its class; what is ours to answer is answered, what is not exposed is
 * 404, the rest is relayed; or kept or held, where the homeserver sleeps (reception.h).
 */
#ifndef ROLE_PASSAGE_H
#define ROLE_PASSAGE_H

#include "net/http_server.h"
#include "role/answers.h"
#include "role/gate.h"
#include "role/reception.h"
#include "role/settings.h"
#include "role/upstream.h"

/* Which upstream serves a homeserver of the settings; owned by whoever built them. */
typedef struct upstream *inbound_upstream_fn(void *arg, const struct homeserver_settings *hs);

/* What stands before a homeserver that sleeps; NULL: it is relayed to, or refused, and nothing else. */
typedef struct reception *inbound_reception_fn(void *arg, const struct homeserver_settings *hs);

/* What all requests of a door share; outlives them. */
struct passage_ground {
	struct loop          *loop;
	struct settings      *settings; /* for new requests; each keeps those it began under */
	inbound_upstream_fn  *upstream;
	inbound_reception_fn *reception; /* may be NULL: none has one */
	void                 *arg;
	struct gate          *gate;     /* may be NULL: all pass */
	struct answers       *answers;  /* borrowed; NULL: nothing is kept to be given again */
	struct verifier      *verifier; /* borrowed; NULL: ditto, where a signature is needed */
};

/* Takes the request over; it ends by itself. */
void passage_begin(struct passage_ground *g, struct http_request *r);

/*
 * ditto, of a homeserver behind this door, for server_name, which is served here too: the same rules, since the
 * other one may sleep as well. Only for paths of federation and media. Of its fields only those go
 * further that go to other servers.
 */
void passage_begin_local(struct passage_ground *g, struct http_request *r, struct str server_name);

#endif
