/*
 * limits.h - ceilings where those who come late wait instead of being refused.
 *
 * First come, first served. A place that was given must be given back by limit_leave().
 */
#ifndef NET_LIMITS_H
#define NET_LIMITS_H

#include "base/list.h"
#include "base/metrics.h"
#include "loop/loop.h"

struct limit {
	size_t      used, max;
	enum gauge  gauge;   /* follows used; GAUGE_COUNT: none */
	struct link waiting; /* struct limit_wait */
};

struct limit_wait {
	struct limit *limit;
	struct link   link;
	struct soon   soon; /* calls the owner once the place is his */
	bool          granted;
};

void limit_init(struct limit *l, enum gauge gauge, size_t max);
void limit_set_max(struct limit *l, size_t max); /* lets waiters in if it grew */

/* granted is called from the loop, once, when the place is there; w must not be waiting already. */
void limit_wait_init(struct limit_wait *w, struct loop *loop, deadline_fn *granted, void *arg);

/* True: the place is yours now. False: granted will be called. */
bool limit_enter(struct limit *l, struct limit_wait *w);
void limit_leave(struct limit *l);

/* Gives up waiting; gives back a place that was granted but not yet reported. */
void limit_wait_cancel(struct limit_wait *w);

#endif
