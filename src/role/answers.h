/*
 * answers.h - what a homeserver answered, kept to be given again: while it is away, and while it is there
 * and the answer is fresh.
 *
 * One store for all homeservers of this doorstep, since every name in it holds the server_name. The memory is a
 * shelf (shelf.h). Server keys, versions, profiles and aliases are on the disk too (store/cache.h), so that
 * they outlive a restart; an answer that says nothing new is not written again, and others at a bounded rate.
 * Media are in memory only: they would wear out flash and fill it. Devices are in memory only: whether
 * they have changed is known only as long as this process sees everything that their homeserver sends.
 *
 * What may be kept, and for how long, is said in fed/snapshot.h. Before an answer is given, its owner must
 * have verified the request, where the row of fed/asleep.h says so.
 */
#ifndef ROLE_ANSWERS_H
#define ROLE_ANSWERS_H

#include "fed/device_lists.h"
#include "fed/two_parts.h"
#include "loop/loop.h"
#include "role/shelf.h"
#include "store/cache.h"

enum {
	ANSWERS_SAVES_PER_HOUR = 240, /* of profiles and aliases */
	ANSWERS_QUESTION_MAX = 16 * 1024,
};

struct answers;

/* cache: borrowed, NULL: nothing outlives the process.  bytes_max: of memory; 0: nothing is kept. */
enum err answers_new(struct loop *l, struct cache *cache, size_t bytes_max, struct answers **out);
void     answers_free(struct answers *a); /* nothing is taken or given; NULL is fine */

/* After a reload: everything about devices is forgotten, for it may have been another homeserver's. */
void answers_set(struct answers *a, size_t bytes_max);

/* The devices of that user changed; empty: anybody's may have. */
void answers_changed(struct answers *a, struct str user);

/* ---- giving; both return a hold, or NULL; q->origin must have been verified where it counts ---- */

struct shelf_item *answers_fresh(struct answers *a, const struct snapshot_question *q,
                                 const struct head *request);

/*
 * The homeserver is away.
 *   exact  what it said about devices is still true: see awake_is_exact(), and all it sends is seen
 */
struct shelf_item *answers_asleep(struct answers *a, const struct snapshot_question *q,
                                  const struct head *request, bool exact);

/* Of our own server keys nothing is kept, or what is kept is past the half of its life. */
bool answers_want_keys(struct answers *a, struct str server_name);

/* For the field Age. */
uint64_t answers_age_s(const struct answers *a, const struct shelf_item *i);

/* ---- taking; embedded in whoever relays ---- */

struct answers_taking {
	struct answers          *answers; /* NULL: nothing is being taken */
	const struct asleep_row *row;
	enum asleep_endpoint     endpoint;
	struct shelf_item       *draft;
	struct two_parts        *parts;    /* ASLEEP_TWO_PARTS */
	char                    *question; /* ASLEEP_BY_USERS: its body */
	size_t                   question_len;
	char                     server_name[256];
	uint64_t                 fresh_ms;
	unsigned                 changes; /* seen when it was asked for */
};

void answers_taking_init(struct answers_taking *t);

/* The homeserver is asked now: what changes from now on may not be in its answer. */
void answers_expect(struct answers_taking *t, const struct answers *a);

/* The head of an answer has come. Whether it is taken remains between us. q->body: what was asked. */
void answers_take(struct answers_taking *t, struct answers *a, const struct snapshot_question *q,
                  const struct head *request, const struct head *answer);
void answers_take_more(struct answers_taking *t, struct str bytes);

/* The answer is over. At any time, also when nothing was taken. */
void answers_taken(struct answers_taking *t, bool complete);

#endif
