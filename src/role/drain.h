/*
 * drain.h - hands what the queue holds to the homeserver, once it answers again.
 *
 * One request at a time per lane, few lanes in parallel, paced, each byte as it was received: method,
 * target, Authorization lines, body; X-Forwarded-For is the peer of then. What the homeserver says
 * decides: 2xx, it is gone; trouble of its own (429, 5xx, no answer), the same again after a growing pause;
 * 401, again for hours, because the origin's keys may become fetchable, then parked; another refusal, parked
 * with the reason. What makes it fail or hang up again and again is parked too, sooner if it takes others
 * meanwhile: see drain_verdict(). Parked items stay for the operator: nothing acknowledged is thrown away.
 */
#ifndef ROLE_DRAIN_H
#define ROLE_DRAIN_H

#include "role/lanes.h"
#include "role/upstream.h"
#include "store/queue.h"

struct drain;

struct drain_options {
	struct loop        *loop;
	struct queue       *queue;
	struct upstream    *upstream; /* kept */
	const struct lanes *lanes;    /* live ones are left alone */
	unsigned            parallel; /* lanes at once */
	size_t in_hand_max;           /* bytes of what is under way, but always one; 0: no bound */
	msec   pace_ms;               /* between two deliveries */
	msec   answer_ms;             /* patience with one */
	/* Is this server name one of the homeserver's? */
	bool (*serves)(void *arg, struct str server_name);
	/* What a delivery said about the homeserver: it answered, or could not be reached. */
	void (*heard)(void *arg, bool reached);
	/* Nothing of its lanes is left, but for those that failed for so long that they rest. */
	void (*emptied)(void *arg);
	void *arg;
};

enum err drain_new(const struct drain_options *o, struct drain **out);
void     drain_free(struct drain *d); /* what is in hand waits again */

/* May deliveries run? Closed at first. */
void drain_open(struct drain *d);
void drain_close(struct drain *d);   /* those under way end */
void drain_abandon(struct drain *d); /* the homeserver is gone: those under way are for later */

/* Something was put, or a live lane became free. */
void drain_look(struct drain *d);
bool drain_is_busy(const struct drain *d);

/* The homeserver took a live transaction: what fails meanwhile fails by itself. */
void drain_took_other(struct drain *d);

/* How handing one item over ended. */
struct drain_try {
	int      status;   /* 0: no answer */
	uint32_t tries;    /* before this one */
	msec     tried_ms; /* since the first one */
	unsigned
		breaks; /* in a row: sent, and the connection ended without an answer; this one too */
	bool others; /* the homeserver took transactions of other lanes since this one began to fail */
};

/* Pure, for its test. */
enum queue_verdict drain_verdict(const struct drain_try *t, const char **reason);

#endif
