/*
 * copies.h - how much of bodies is held in memory for one sleeping homeserver, all requests together.
 *
 * A body is copied while it is relayed, in case the homeserver goes, and held while it is being kept.
 * Each alone is bounded, but a stranger may begin many: what is beyond the sum is not copied, which
 * costs the sender a 503 and a repetition. One sum may be a share of a larger one, so that those who can
 * claim to be anybody, and then send a byte now and then, leave room for others (reception.h).
 */
#ifndef ROLE_COPIES_H
#define ROLE_COPIES_H

#include <stdbool.h>
#include <stddef.h>

struct copies {
	size_t         used, max; /* bytes */
	struct copies *whole;     /* that this is a share of; NULL: of none */
};

/* False: too much. c NULL: without a bound. */
static inline bool copies_take(struct copies *c, size_t n)
{
	for (struct copies *at = c; at != NULL; at = at->whole)
		if (at->used > at->max || n > at->max - at->used)
			return false;
	for (; c != NULL; c = c->whole)
		c->used += n;
	return true;
}

static inline void copies_give(struct copies *c, size_t n)
{
	for (; c != NULL; c = c->whole)
		c->used -= n;
}

#endif
