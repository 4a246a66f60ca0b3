/*
 * srv_order.h - in which order SRV records are tried.
 *
 * Source: RFC 2782, "Usage rules": lower priority first, inside one priority a random order in which
 * weights are odds; records of weight 0 come last there, in random order. Pure.
 */
#ifndef FED_SRV_ORDER_H
#define FED_SRV_ORDER_H

#include <stddef.h>
#include <stdint.h>

#include "fed/resolution.h"

enum { SRV_ORDER_MAX = 32 };

struct srv_rank {
	uint16_t priority, weight;
	uint16_t index; /* the caller's record */
};

/*
 * Sorts in place; count <= SRV_ORDER_MAX. Equal priorities keep the order given before they are
 * drawn from: a draw is below the sum of the weights left and picks the record whose running sum
 * passes it. Nothing is drawn for the last one of a priority.
 */
void srv_order(struct srv_rank *ranks, size_t count, const struct resolution_random *rnd);

#endif
