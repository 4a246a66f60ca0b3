/*
 * passage_inside.h - the parts of a passage: its way while the homeserver is there (passage.c), while it
 * may be away (passage_asleep.c), and answers that it gave before (passage_answers.c). For these files
 * only.
 */
#ifndef ROLE_PASSAGE_INSIDE_H
#define ROLE_PASSAGE_INSIDE_H

#include "role/deposit.h"
#include "role/passage.h"
#include "role/path_class.h"
#include "role/relay.h"
#include "role/repeat.h"

/* One request under way. */
struct passage {
	struct passage_ground        *ground;
	struct settings              *settings; /* under which it began */
	const struct domain_settings *domain;
	struct http_request          *request;
	struct relay                 *relay;
	struct upstream              *upstream;
	struct reception             *reception; /* NULL: none */
	struct asleep_match           match;     /* once it is known to be exposed */
	struct lane                   lane;      /* PUT /send: taken while it is live */
	struct gate_visit             visit;
	struct reception_guest        guest; /* while it is relayed */
	struct deadline               doubt; /* is the homeserver still there? */
	msec                          doubt_ms;
	struct deposit               *deposit; /* it is being kept */
	struct vigil                 *vigil;   /* it waits for the homeserver */
	struct verifier_check        *check;   /* whether it may have what is kept */
	struct shelf_item            *kept;    /* held: the answer, if it may have it */
	struct repeat                *repeat;  /* it is being given that */
	struct answers_taking         taking;  /* its answer is being kept */
	struct upstream_wait          wait;
	bool                          waiting; /* for the upstream's address */
	struct limit_wait             turn;    /* for a connection to it */
	struct deadline               turn_limit;
	bool                          has_place;
	bool                          failed_once; /* it was held after a failure: not again */
	bool                          is_local;    /* of a homeserver of ours */
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

/* ---- passage_answers.c ---- */

/* As passage_go(), or an answer that is kept and fresh. */
void passage_answers_go(struct passage *p);

/*
 * Is an answer kept, for a request that was verified as its row demands, with the homeserver away? Then
 * it is in p->kept. passage_answers_give() gives it; false: no memory, the request is still ours.
 */
bool passage_answers_know(struct passage *p, struct str origin, struct str body);
bool passage_answers_give(struct passage *p);

/* False: its answer is not to be kept. */
bool passage_answers_tap(struct passage *p, struct relay_tap *out);
void passage_answers_forget(struct passage *p); /* all of the above, at the end */

#endif
