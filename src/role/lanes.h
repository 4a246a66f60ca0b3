/*
 * lanes.h - which (server name, origin) has a live PUT /send on its way to the homeserver.
 *
 * To-device messages and device lists of one origin must stay in order, so a lane carries one
 * transaction at a time: live, or from the queue, never both.
 */
#ifndef ROLE_LANES_H
#define ROLE_LANES_H

#include "base/list.h"
#include "base/str.h"

struct lanes {
	struct link live; /* struct lane */
};

/* Embedded in whoever drives; names borrowed while taken. */
struct lane {
	struct link link;
	struct str  server_name, origin;
};

void lanes_init(struct lanes *l);
bool lanes_is_live(const struct lanes *l, struct str server_name, struct str origin);

/* False: somebody else is on it. lane must have been initialised by lane_init(). */
void lane_init(struct lane *lane);
bool lane_take(struct lanes *l, struct lane *lane, struct str server_name, struct str origin);
void lane_leave(struct lane *lane); /* without having taken it nothing happens */

#endif
