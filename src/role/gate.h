/*
 * gate.h - limits for strangers: whose requests are dealt with at all, how fast, and which of them are
 * worth something before they were checked.
 *
 * A request meets it twice: after its head (gate_enter), before anything is spent on it; and when it has
 * turned out to be what it said it was (gate_answered, gate_verified).
 *
 * What is believed, and why that is safe:
 *
 * 1. A refusal needs no signature. Who claims to be a denied server, or a stranger who invites, is refused
 *    on the claim: the one who is harmed by a false claim is the one who makes it. So nothing is spent, and
 *    a denied server cannot make us fetch its keys. An acceptance does need one: while the homeserver is
 *    awake it checks, while it sleeps vigil.h and deposit.h do. Who claims another, allowed name passes here
 *    and fails there. Authorization that we cannot read is refused where there is anything to judge by,
 *    because the homeserver might read it otherwise. Requests that need no signature (keys, version)
 *    are for everybody, denied ones too: their events may have to be checked by somebody they may write to.
 *
 * 2. Rates slow down, they do not refuse: what comes too fast waits for its turn in line, its connection
 *    as it is, its body unread. Homeservers treat a 429 as a failure of the whole server and stop
 *    writing to it for minutes. Only who would wait for longer than GATE_PATIENCE_MS, or finds a quarter of
 *    all places taken by such as wait, is told so.
 *
 * 3. Whose bucket? A forger who claims to be X must not slow X down. So the name alone counts for nothing:
 *    - an address (IPv4, or IPv6 /64) from which a signed request of X got a 2xx, or was verified here, is
 *      X's for ten minutes; requests that claim X from there share one bucket of X, wherever X sends from:
 *      who has a valid key cannot go faster by having many addresses;
 *    - everything else is in the bucket of the address it comes from, whatever it claims: a forger has one
 *      bucket, not one for each name that he can think of. None for private addresses and loopback,
 *      where a reverse proxy or the house itself sends from.
 *    Who sits at the very address of X (a neighbour behind the same NAT) could use up X's bucket. He could
 *    also use up the address's, were there no other, so nothing is lost.
 *    Clients with an access token that was good before are in no bucket: they belong to the house.
 *
 * 4. A client may wake the machine with an access token that the homeserver answered 2xx before
 *    (fed/client_token.h says to what). A 401 or a logout ends that. Only salted hashes are kept (ledger.h).
 *
 * 5. Known servers are those that the homeserver itself wrote to through the matrix-federation listener,
 *    and which took it: transactions, joins, knocks, invitations. Not those it asked something (for keys, say):
 *    every stranger can make it do that; and not the leave that turns an invitation down. What
 *    goes through a CONNECT tunnel is not seen. They are who may invite with `invites_from 'known'`, and who
 *    may use the part of the queue that is kept free of strangers.
 *
 * 6. What is not known to be true yet holds little, and not for long: a share of the memory for bodies
 *    (reception_copies), two minutes for the body of a transaction (deposit.h), half a minute for another and few
 *    places (vigil.h), and no lane (passage_asleep.c): a forger who claims to be X, and sends a byte now and
 *    then, keeps neither X nor anybody else from being served.
 *
 * All tables are of fixed size, by memory class.
 */
#ifndef ROLE_GATE_H
#define ROLE_GATE_H

#include "fed/asleep.h"
#include "fed/client_token.h"
#include "net/http_server.h"
#include "role/ledger.h"
#include "role/settings.h"

enum {
	GATE_PATIENCE_MS = 10 * 1000,
	GATE_BURST_S = 10, /* of the rate may come at once */
	GATE_VERIFIED_MS = 10 * 60 * 1000,
};

struct gate;

struct gate_options {
	struct loop  *loop;
	struct cache *cache; /* NULL: nothing outlives the process */
	unsigned      memory_class;
};

enum err gate_new(const struct gate_options *o, struct gate **out);
void     gate_free(struct gate *g); /* before the cache is closed; NULL is fine */

enum gate_word {
	GATE_GO,
	GATE_WAIT,       /* go will be called */
	GATE_DENIED,     /* of the owner's deny_server */
	GATE_UNLISTED,   /* there are allow_server, and it is none of them */
	GATE_UNREADABLE, /* Authorization */
	GATE_UNINVITED,  /* invites are not taken from there */
	GATE_CROWDED,    /* too many wait */
};

struct gate_refusal {
	int         status;
	const char *errcode, *text;
};
const struct gate_refusal *gate_refusal(enum gate_word w); /* of the last five */

/* The owner's word about another server, in either direction: GATE_GO, GATE_DENIED or GATE_UNLISTED. */
enum gate_word gate_policy(const struct settings *s, struct str server);

/* One request at the gate; embedded in its owner. */
struct gate_visit {
	struct gate          *gate; /* NULL: none, all pass */
	struct deadline       turn;
	deadline_fn          *go;
	void                 *arg;
	bool                  waits;
	bool                  proves_claim; /* a 2xx means that the claimed origin sent it */
	uint64_t              claim;        /* origin and address; 0: none */
	uint64_t              network;      /* of a public peer; 0: of another */
	bool                  is_verified;
	bool                  has_token, is_client;
	struct ledger_mark    token;
	enum client_token_use token_use;
};

/* go: from the loop, once, after GATE_WAIT. */
void gate_visit_init(struct gate_visit *v, struct gate *g, struct loop *l, deadline_fn *go,
                     void *arg);
void gate_leave(struct gate_visit *v); /* at any time */

/* After the head, before the body. match: what the request is. */
enum gate_word gate_enter(struct gate_visit *v, const struct settings *s,
                          const struct domain_settings *d, const struct asleep_match *match,
                          struct http_request *r);

/* Does it come from where its origin was verified lately (3. above)? Without a gate: all do. */
bool gate_is_verified(const struct gate_visit *v);

/* The peer's address if its number is to be limited: NULL for loopback and private ones. */
const struct address *gate_public_peer(const struct http_request *r);

/* May it wake the homeserver as a client? */
bool gate_is_client(const struct gate_visit *v);

/* The homeserver answered with this status; the signature was checked here. */
void gate_answered(struct gate_visit *v, int status);
void gate_verified(struct gate_visit *v);

/* ---- known servers ---- */

/* Does a request of this kind, once it is answered 2xx, make the server that it went to a known one? */
bool gate_makes_known(enum asleep_endpoint e);
void gate_wrote_to(struct gate *g, struct str server); /* g may be NULL */

/*
 * Is it known? Where the homeserver was never seen to write to anybody (no such listener, or a new one)
 * all are strangers, and has_known is false. g may be NULL.
 */
bool gate_is_known(const struct gate *g, struct str server);
bool gate_has_known(const struct gate *g);

#endif
