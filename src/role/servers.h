/*
 * servers.h - places for connections to other servers: so many in all, so many to each.
 *
 * Beyond either ceiling callers wait, first come, first served.
 */
#ifndef ROLE_SERVERS_H
#define ROLE_SERVERS_H

#include "base/str.h"
#include "net/limits.h"

struct servers;

struct servers *servers_new(struct loop *l, size_t all_max, size_t each_max);
void            servers_free(struct servers *s); /* no place may be taken or waited for */
void            servers_set(struct servers *s, size_t all_max, size_t each_max);

/* One caller's place; embedded in its owner. */
struct servers_place {
	struct servers      *servers;
	struct server_entry *entry; /* the ceiling of its server; NULL: no place and not waiting */
	struct limit_wait    each, all;
	bool                 has_each, has_all;
	deadline_fn         *granted;
	void                *arg;
};

/* granted: from the loop, when servers_enter() had to say false. */
void servers_place_init(struct servers_place *p, struct loop *l, struct servers *s,
                        deadline_fn *granted, void *arg);

/* True: the place is yours now. False: granted will be called. name: what connections share, e.g. the
   certificate's name. Without memory only the ceiling in all counts. */
bool servers_enter(struct servers_place *p, struct str name);

/* Gives the place back, or gives up waiting; without either nothing happens. */
void servers_leave(struct servers_place *p);

/* The place goes to somebody else's hands: p has none any more, `to` (initialised) has it. */
void servers_move(struct servers_place *p, struct servers_place *to);

#endif
