/*
 * copies.h - how much of bodies is held in memory for one sleeping homeserver, all requests together.
 *
 * A body is copied while it is relayed, in case the homeserver goes, and held while it is being kept.
 * Each alone is bounded, but a stranger may begin many: what is beyond the sum is not copied, which
 * costs the sender a 503 and a repetition.
 */
#ifndef ROLE_COPIES_H
#define ROLE_COPIES_H

#include <stdbool.h>
#include <stddef.h>

struct copies {
	size_t used, max; /* bytes */
};

/* False: too much. c NULL: without a bound. */
static inline bool copies_take(struct copies *c, size_t n)
{
	if (c == NULL)
		return true;
	if (c->used > c->max || n > c->max - c->used)
		return false;
	c->used += n;
	return true;
}

static inline void copies_give(struct copies *c, size_t n)
{
	if (c != NULL)
		c->used -= n;
}

#endif
