/*
 * vigil.h - a request that needs a homeserver which is away: checked, then held while it wakes.
 *
 * Nothing unsigned wakes anybody, but for clients whose access token was good before. What is signed is verified first, body included (up to 64 KiB, which is
 * given back to the request afterwards); then the wish is told to the sleeper, and the request waits as
 * long as its row of fed/asleep.h allows. Few may wait: a quarter of the places in all, four for each origin
 * and each access token. Of who may not be whom he claims to be four for each network, until they are
 * verified, and a quarter of the places is not for such.
 */
#ifndef ROLE_VIGIL_H
#define ROLE_VIGIL_H

#include "fed/asleep.h"
#include "net/http_server.h"
#include "role/ledger.h"
#include "role/sleeper.h"
#include "role/verifier.h"

enum vigil_result {
	VIGIL_RELAY,  /* it is awake: pass the request on */
	VIGIL_ANSWER, /* the owner knows the answer */
	VIGIL_REFUSE, /* by the row's refusal */
	VIGIL_DENY,   /* by err, see verifier.h */
	VIGIL_GONE,   /* the peer left, or the body is broken */
};

enum {
	VIGIL_BODY_MAX = 64 * 1024,
	VIGIL_PER_ORIGIN = 4,
	VIGIL_PER_STRANGER = 4,        /* of one network, until they are verified */
	VIGIL_STRANGER_MS = 30 * 1000, /* for his body, in all */
};

/* Those who wait for one homeserver. */
struct vigils {
	struct link waiting; /* struct vigil */
	size_t      count, max;
};

void vigils_init(struct vigils *v, size_t max);

struct vigil_options {
	struct vigils           *all;
	struct sleeper          *sleeper;
	struct verifier         *verifier;
	struct str               server_name; /* ours */
	const struct asleep_row *row;
	const struct address
		*stranger; /* a public peer who may not be whom he claims; NULL: another */
	const struct ledger_mark *client; /* token of a known client (gate.h); NULL: none. Copied */
	/*
	 * Once it is verified, and the homeserver is away: does the owner know an answer? With arg of
	 * vigil_start(). NULL: no.
	 */
	bool (*knows)(void *arg, struct str origin, struct str body);
};

typedef void vigil_done_fn(void *arg, enum vigil_result r, enum err e);

/* Operation. Owns the request's wake meanwhile. */
struct vigil;

enum err vigil_start(struct vigil **slot, struct loop *l, struct http_request *r,
                     const struct vigil_options *o, vigil_done_fn *done, void *arg);
void     vigil_cancel(struct vigil **slot);

#endif
