/*
 * relay.h - one request passed on and its answer passed back, both streamed with back-pressure.
 *
 * Room role/: what this box does. inbound terminates and relays to the homeserver; outbound is the
 * homeserver's way to other servers; resolver finds those; status tells. A role knows policy and
 * wiring and must never parse wire bytes or touch a socket.
 *
 * The relay never holds a body whole. It forwards the request target and body bytes unaltered and
 * writes heads anew. An answer that comes before the request body has been sent ends the sending:
 * it is passed on and both connections close. A cut answer looks cut to the peer.
 */
#ifndef ROLE_RELAY_H
#define ROLE_RELAY_H

#include "net/http_client.h"
#include "net/http_server.h"
#include "role/copies.h"

struct relay;

struct relay_result {
	enum err    err;                  /* ERR_OK: the answer was relayed completely */
	const char *fault;                /* short text for the log, "" if none */
	int         status;               /* of the answer passed on, 0 if none was */
	bool        reused;               /* it went over a kept connection */
	uint64_t    up_bytes, down_bytes; /* body bytes */
};

struct relay_owner {
	/*
	 * No answer has begun and none can be had: end the request with one of your own, or go on with it.
	 * copy: the body as far as it was consumed (relay_options.copy_max), NULL if there is none; valid
	 * during the call.
	 */
	void (*failed)(void *arg, struct http_request *r, enum err e, const char *fault,
	               const struct str *copy);
	/* The relay is over and gone; the request was ended, or failed() has it. Called exactly once. */
	void (*ended)(void *arg, const struct relay_result *res);
	void *arg;
};

/* Who looks on while it streams by, and must not keep it up. Each may be NULL. */
struct relay_tap {
	/*
	 * The answer begins, and is passed on.
	 *   sent  the request body; NULL: it was not copied (relay_options.copy_max) to its end
	 */
	void (*begun)(void *arg, const struct head *answer, const struct str *sent);
	void (*got)(void *arg, struct str bytes);  /* of the answer's body */
	void (*sent)(void *arg, struct str bytes); /* of the request's body */
	void *arg;
};

struct relay_options {
	struct http_pool         *pool;
	const struct http_target *target;
	struct str                path;      /* request target to send: origin-form */
	struct str                host;      /* Host to send */
	bool (*keep)(const struct field *f); /* which end-to-end fields of the request go along */
	struct str fields;                   /* finished field lines of ours */
	struct str answer_fields;            /* ditto, added to the answer */
	msec       response_head_ms;
	bool       keep_connection;
	size_t     copy_max;       /* of the request body, kept until the answer begins; 0: none */
	bool (*fails)(int status); /* answers that are as good as none (ERR_RESET); NULL: no such */
	struct copies          *copies; /* where these bytes are counted; NULL: nowhere */
	const struct relay_tap *tap;    /* copied; NULL: nobody */
};

/* Takes the request over. On error nothing has begun and the caller still owns it. */
enum err relay_start(struct http_request *r, const struct relay_options *o,
                     const struct relay_owner *owner, struct relay **out);

/* No answer will come: as if the call had failed with e. Nothing happens once an answer has begun. */
void relay_give_up(struct relay *r, enum err e, const char *fault);

#endif
