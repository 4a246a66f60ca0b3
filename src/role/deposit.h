/*
 * deposit.h - a transaction taken in for a homeserver that is away: verified, looked at, made durable,
 * and only then acknowledged.
 *
 * Order of cost: the head first, the key second, the body last. What the homeserver would refuse is
 * refused; what holds nothing but typing and presence is worthless later and acknowledged without being
 * kept; everything else is on stable storage before the sender hears 200.
 */
#ifndef ROLE_DEPOSIT_H
#define ROLE_DEPOSIT_H

#include "net/http_server.h"
#include "role/copies.h"
#include "role/gate.h"
#include "role/verifier.h"
#include "store/queue.h"

enum deposit_result {
	DEPOSIT_KEPT,    /* answer 200: durable */
	DEPOSIT_DROPPED, /* answer 200: fleeting, not kept */
	DEPOSIT_REFUSED, /* answer by err */
	DEPOSIT_GONE,    /* the peer left, or the body is broken: http_request_broken() */
};

enum { DEPOSIT_STRANGER_MS = 2 * 60 * 1000 }; /* patience with who may not be what he claims */

struct deposit_options {
	struct queue      *queue;
	struct verifier   *verifier;
	struct keyring    *keyring;
	struct str         server_name; /* ours; borrowed until the end */
	const struct str  *copy;        /* of the body so far, NULL: nothing was read */
	size_t             body_max;    /* of what may be kept */
	struct copies     *copies;      /* where its bytes are counted */
	msec               patience_ms; /* for the body, in all; 0: as long as something comes */
	const struct gate *gate;        /* tells who is known; NULL: the keyring does */
};

/*
 * wish: parts of the transaction (fed/transaction.h), for waking.  err: with DEPOSIT_REFUSED;
 * see verifier.h and queue.h; ERR_LIMIT and ERR_BUSY are 503.
 */
typedef void deposit_done_fn(void *arg, enum deposit_result r, enum err err, unsigned parts);

/*
 * Operation. Owns the request's wake meanwhile; answering is the owner's, from done on.
 * ERR_LIMIT: the body is larger than body_max, or too many are under way. That is a 503, not a 413: the homeserver may take it when it
 * is back, and the sender gives up after a 413.
 */
struct deposit;

enum err deposit_start(struct deposit **slot, struct loop *l, struct http_request *r,
                       const struct deposit_options *o, deposit_done_fn *done, void *arg);
void     deposit_cancel(struct deposit **slot);

/* The answer to a refusal. */
int deposit_status(enum err e, const char **errcode, const char **text);

#endif
