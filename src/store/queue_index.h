/*
 * queue_index.h - what the queue keeps in memory: which items there are, in which lane, whose ids were
 * seen, and how much of the quotas is used.
 *
 * No disk, no clock, no operations: those are queue.c. Bounded by the numbers of queue_options. An entry is an
 * item, or the memory of one that was settled (ENTRY_SEEN).
 */
#ifndef STORE_QUEUE_INDEX_H
#define STORE_QUEUE_INDEX_H

#include "base/list.h"
#include "store/queue.h"
#include "store/queue_record.h"

struct queue_lane {
	struct queue_lane *next;       /* of the bucket */
	struct link        all;        /* of index.lanes */
	struct link        line;       /* entries waiting and in hand, by sequence */
	size_t             waiting;    /* entries in line */
	size_t             items;      /* charged: in line, parked, on their way */
	uint64_t           bytes;      /* charged */
	size_t             users;      /* entries and operations that point here; none: it goes */
	uint64_t           blocked_in; /* group in which no more of it may go; see queue.c */
	size_t             pending;    /* puts under way */
	uint8_t            name_len, origin_len;
	char               names[];
};

enum queue_entry_state { ENTRY_WAITING, ENTRY_IN_HAND, ENTRY_PARKED, ENTRY_SEEN };

struct queue_entry {
	struct link            place; /* of lane->line; parked and seen: none */
	struct link            all;   /* of index.items, or index.seen, by sequence or age */
	struct queue_entry    *next_by_sequence, *next_by_id; /* of the buckets */
	struct queue_lane     *lane;
	uint64_t               sequence;
	uint64_t               body;       /* number of the parts; 0: none */
	uint64_t               at_unix_ms; /* of arrival; seen: of settling */
	uint64_t               first_try_unix_ms;
	struct queue_mark      id_mark, body_mark;
	uint32_t               record_len, body_len, tries;
	enum queue_entry_state state;
	bool                   was_given; /* somebody read it, to deliver it */
	bool                   settling;  /* a verdict is under way */
	bool                   has_state; /* a STATE record exists */
	bool                   state_due; /* and is older than what is here */
	char                  *reason;    /* of parking, malloc'ed; or NULL */
};

struct queue_index {
	struct queue_entry **by_sequence, **by_id;
	struct queue_lane  **by_name;
	size_t               buckets; /* of each; a power of two */
	uint32_t             seed;
	struct link          lanes, items, seen;
	size_t               waiting_count, parked_count, seen_count;
	size_t               charged_items;
	uint64_t             charged_bytes;
};

/* entries: about how many to expect. ERR_NOMEM. */
enum err queue_index_init(struct queue_index *x, size_t entries, uint32_t seed);
void     queue_index_fini(struct queue_index *x); /* the entries go too */

/* Found or made; keeps it until queue_lane_drop(). NULL: memory. Names are 1..255 bytes. */
struct queue_lane *queue_lane_hold(struct queue_index *x, struct str name, struct str origin);
void               queue_lane_drop(struct queue_index *x, struct queue_lane *lane);
struct queue_lane *queue_lane_find(const struct queue_index *x, struct str name, struct str origin);

static inline struct str queue_lane_name(const struct queue_lane *lane)
{
	return str_span(lane->names, lane->name_len);
}

static inline struct str queue_lane_origin(const struct queue_lane *lane)
{
	return str_span(lane->names + lane->name_len, lane->origin_len);
}

/* The first one that waits or is in hand; NULL: none. */
struct queue_entry *queue_lane_first(const struct queue_lane *lane);

/* What an item counts as. */
static inline uint64_t queue_entry_cost(size_t record_len, size_t body_len)
{
	return record_len + (queue_record_is_inline(body_len) ? 0 : body_len) + 64;
}

static inline uint64_t queue_entry_bytes(const struct queue_entry *en)
{
	return queue_entry_cost(en->record_len, en->body_len);
}

/* Quotas are charged before an item is written; uncharged when it could not be, or goes. */
void queue_index_charge(struct queue_index *x, struct queue_lane *lane, uint64_t bytes);
void queue_index_uncharge(struct queue_index *x, struct queue_lane *lane, uint64_t bytes);

/*
 * Links a malloc'ed entry whose sequence, marks, lane (which is held for it) and state are set; it
 * belongs to the index. Its charge is the caller's business.
 */
void queue_index_add(struct queue_index *x, struct queue_entry *en);

/* Out of all lists, freed. */
void queue_index_remove(struct queue_index *x, struct queue_entry *en);

/* To another state, into the right lists. To ENTRY_SEEN: its charge ends. */
void queue_index_move(struct queue_index *x, struct queue_entry *en, enum queue_entry_state to);

struct queue_entry *queue_index_find(const struct queue_index *x, uint64_t sequence);

/* Of a lane, with this id: all of them, in no order; begin with NULL. */
struct queue_entry *queue_index_next_same(const struct queue_index *x,
                                          const struct queue_lane  *lane,
                                          const struct queue_mark  *id,
                                          const struct queue_entry *after);

#endif
