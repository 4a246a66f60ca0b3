/*
 * passage_inside.h - the parts of a passage: its way while the homeserver is there (passage.c), and while
 * it may be away (passage_asleep.c). For these files only.
 */
#ifndef ROLE_PASSAGE_INSIDE_H
#define ROLE_PASSAGE_INSIDE_H

#include "role/deposit.h"
#include "role/passage.h"
#include "role/path_class.h"
#include "role/relay.h"

/* One request under way. */
struct passage {
	struct passage_ground        *ground;
	struct settings              *settings; /* under which it began */
	const struct domain_settings *domain;
	struct http_request          *request;
	struct relay                 *relay;
	struct upstream              *upstream;
	struct reception             *reception; /* NULL: none */
	struct asleep_match           match;     /* with reception */
	struct lane                   lane;      /* PUT /send: taken while it is live */
	struct gate_visit             visit;
	struct reception_guest        guest; /* while it is relayed */
	struct deadline               doubt; /* is the homeserver still there? */
	msec                          doubt_ms;
	struct deposit               *deposit; /* it is being kept */
	struct vigil                 *vigil;   /* it waits for the homeserver */
	struct upstream_wait          wait;
	bool                          waiting; /* for the upstream's address */
	struct limit_wait             turn;    /* for a connection to it */
	bool                          has_place;
	bool                          failed_once; /* it was held after a failure: not again */
	enum path_class class;
	msec began_at;
	int  status;                /* of our own answer; 0: none */
	char method[16], path[208]; /* for the log; cut to fit */
	char peer[ADDRESS_TEXT_SIZE];
};

/* ---- passage.c ---- */

bool passage_wants_cors(enum path_class c);

/* To the homeserver, as soon as there is a connection for it. */
void passage_go(struct passage *p);

/* An answer of our own, and the end of the passage. */
void passage_answer(struct passage *p, int status, const char *errcode, const char *text);

/* The answer has been given: its line in the log, and the end. */
void passage_end(struct passage *p, int status);

/* ---- passage_asleep.c ---- */

/* A request for a homeserver that may be away; p->reception is set. */
void passage_asleep_receive(struct passage *p);

/*
 * The homeserver was found to be away only now. True: the request goes on without it.
 *   copy  the request body, NULL if it is not held any more
 */
bool passage_asleep_failed(struct passage *p, enum err e, const struct str *copy);

#endif
