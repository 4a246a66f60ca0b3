/*
 * verifier.h - who sent this request? The signature checked in two steps, so that nothing is spent on
 * a body before there is a key to check it with.
 *
 * Source: Matrix specification, Server-Server API, "Request Authentication"; Appendices, "Checking for
 * a Signature".
 *
 *	verifier_check_start	looks at the head alone: is it signed at all, for us, by a name that
 *				could be a server's; then gets that server's keys
 *	  ready(ERR_OK)		now read the body, in whatever time it takes
 *	verifier_check_body	checks it, a large one in the thread pool
 *	  done(ERR_OK, origin)	it is so
 *
 * Every line whose key is known must verify, and at least one; lines with other keys are passed over,
 * as homeservers do it. A request that was verified vouches for its origin (keyring.h).
 *
 * How an answer is to be read, and answered:
 *	ERR_NOT_FOUND	no X-Matrix signature						401
 *	ERR_SYNTAX	Authorization cannot be read, or the body is no JSON object	400
 *	ERR_DENIED	signed for another server					401
 *	ERR_SIGNATURE	wrong, or no key that may be used				401
 *	ERR_BUSY	keys cannot be had now						503
 *	ERR_TOO_LARGE, ERR_RANGE, ERR_LIMIT, ERR_NOMEM: of the body, see codec/json/canon.h
 */
#ifndef ROLE_VERIFIER_H
#define ROLE_VERIFIER_H

#include "base/buf.h"
#include "codec/http/head.h"
#include "codec/matrix/xmatrix.h"
#include "role/keyring.h"

enum {
	VERIFIER_INLINE_MAX = 64 *
		1024,          /* bytes of body checked on the loop; larger: in the pool */
	VERIFIER_JOBS_MAX = 1, /* in the pool at once; the other worker is the queue's */
};

struct verifier;

enum err verifier_new(struct loop *l, struct keyring *k, struct verifier **out);
void     verifier_free(struct verifier *v); /* checks must have been cancelled; NULL is fine */

struct verifier_request {
	const struct head    *head;        /* for its Authorization fields */
	struct str            method;      /* as sent */
	struct str            target;      /* as sent, in origin-form */
	struct str            server_name; /* ours, whom it must be for */
	const struct address *client;      /* see key_lookup_start */
};

/* Operation in two steps. The slot stays set from the start until the end or an error. */
struct verifier_check;

/*
 * First step done. ERR_OK: a key is there; verifier_check_body must follow, or the cancel. Otherwise it
 * is over, as above. origin: the name claimed, for the log; empty if it could not be read.
 */
typedef void verifier_ready_fn(void *arg, enum err e, struct str origin);

/*
 * Second step done, and it is over. origin is valid during the call. body is what was handed over: its
 * bytes are the owner's again if he moves them out, and freed otherwise.
 */
typedef void verifier_done_fn(void *arg, enum err e, struct str origin, struct buf *body);

/* ERR_NOMEM. Everything in r is copied. */
enum err verifier_check_start(struct verifier_check **slot, struct verifier *v,
                              const struct verifier_request *r, verifier_ready_fn *ready,
                              void *arg);

/*
 * body: all of it, empty when there is none; its storage is taken over and *body left empty.
 * done is called from the loop. Memory meanwhile: the body twice, and what canon.h says.
 */
void verifier_check_body(struct verifier_check **slot, struct buf *body, verifier_done_fn *done,
                         void *arg);

/* At any time; a body that is in the pool is freed later. */
void verifier_check_cancel(struct verifier_check **slot);

#endif
