/*
 * reception.h - what stands between the door and one homeserver that sleeps: its state, what was kept for
 * it and is handed over, who waits for it.
 *
 * A plain gathering: inbound decides with it, the house makes one for each homeserver. Without a queue
 * (no state_dir, or no storage that keeps its word) nothing is acknowledged early; requests are held
 * and refused all the same.
 */
#ifndef ROLE_RECEPTION_H
#define ROLE_RECEPTION_H

#include "role/copies.h"
#include "role/drain.h"
#include "role/own_keys.h"
#include "role/gate.h"
#include "role/settings.h"
#include "role/sleeper.h"
#include "role/verifier.h"
#include "role/vigil.h"

enum { RECEPTION_NETWORKS = 8 };

/* A request that the homeserver is working on; embedded in whoever relays it. */
struct reception_guest {
	struct link link;
	void (*left)(void *arg); /* the homeserver is gone: no answer will come. From the loop */
	void *arg;
};

struct reception {
	unsigned               refs;
	const struct settings *settings; /* in force, see reception_set(); NULL: retired */
	char                   url[512]; /* of the homeserver: what it is known by */
	struct queue          *queue;    /* borrowed; NULL: nothing can be kept */
	struct verifier       *verifier; /* borrowed */
	struct keyring        *keyring;  /* borrowed */
	struct sleeper        *sleeper;
	struct drain          *drain;    /* NULL without queue */
	struct own_keys       *own_keys; /* NULL: no answers are kept */
	struct lanes           lanes;
	struct vigils          vigils;
	struct link            guests;    /* struct reception_guest */
	struct copies          copies;    /* of bodies, all requests together */
	struct copies          strangers; /* of these, of requests that are not known to be true */
	struct copies          networks[RECEPTION_NETWORKS]; /* of these, by where they come from */
	size_t                 early_max; /* bytes of a body that may be acknowledged early */
	bool is_seen; /* it sends what it sends to other servers through us, where it is looked at */
	bool is_hidden; /* but not all: through tunnels, too */
};

struct reception_options {
	struct loop                      *loop;
	const struct settings            *settings;
	const struct homeserver_settings *homeserver;
	struct upstream                  *upstream; /* kept */
	struct queue                     *queue;
	struct verifier                  *verifier;
	struct keyring                   *keyring;
	struct answers                   *answers; /* borrowed; NULL: none are kept */
};

enum err          reception_new(const struct reception_options *o, struct reception **out);
struct reception *reception_keep(struct reception *r); /* by requests */
void              reception_drop(struct reception *r); /* NULL is fine */
void              reception_retire(
		     struct reception *r); /* no longer in the settings; then as reception_drop() */
void reception_set(struct reception *r, const struct settings *s,
                   const struct homeserver_settings *hs, struct upstream *u); /* a reload */

/*
 * Where the body of a request is counted. One that comes from where its origin was verified lately may use
 * all there is; others three quarters together, and one network (or those that share its place, by
 * a hash) a quarter.
 */
struct copies *reception_copies(struct reception *r, const struct gate_visit *v);

/* A relayed request told whether the homeserver is there. */
void reception_heard(struct reception *r, bool reached);

/* A transaction with these parts was kept: wake for it if it is worth it, hand over if it is there. */
void reception_kept(struct reception *r, unsigned parts);

/*
 * It sent a request to another server; hidden: through a tunnel. Is all that it sends seen, as far as can be
 * known? Then what it said about devices is good until it tells others of a change.
 */
void reception_saw(struct reception *r, bool hidden);
bool reception_sees_all(const struct reception *r);

/* Until it leaves, it is told when the homeserver is found to be gone. */
void guest_init(struct reception_guest *g, void (*left)(void *arg), void *arg);
void guest_enter(struct reception *r, struct reception_guest *g);
void guest_leave(struct reception_guest *g); /* without having entered nothing happens */

/* It took a live transaction. */
void reception_took(struct reception *r);

/* A live transaction's lane became free. */
void reception_lane_left(struct reception *r);

#endif
