/*
 * shelf.h - answers kept in memory: a bounded set of named, immutable items.
 *
 * An item begins as a draft that only its owner has; it grows as an answer streams by, and is put on the
 * shelf when that is complete. Whoever gives an item to a peer holds it meanwhile, so it may be taken
 * off the shelf at any time. All bytes count, drafts and held items too: what would pass the ceiling is
 * not kept.
 *
 * When room is needed, the kinds of fed/snapshot.h go from the last to the first, of each what was unused
 * longest. Devices and records together hold half of the room at most and passing things an eighth, so
 * that a flood of one kind leaves the others alone. Foundations never go.
 *
 * Bodies lie in pieces: a router has no megabytes in one block.
 */
#ifndef ROLE_SHELF_H
#define ROLE_SHELF_H

#include "base/clock.h"
#include "base/list.h"
#include "base/str.h"
#include "fed/snapshot.h"

enum { SHELF_PIECE_BYTES = 16 * 1024, SHELF_BUCKETS = 256 };

struct shelf {
	struct link        kinds[SNAPSHOT_NONE]; /* items, used latest first */
	size_t             used_of[SNAPSHOT_NONE];
	size_t             used, max, drafts; /* bytes; drafts: of those not on the shelf yet */
	size_t             count;             /* items on the shelf */
	struct shelf_item *buckets[SHELF_BUCKETS];
	uint32_t           seed;
};

struct shelf_piece {
	struct shelf_piece *next;
	size_t              len, size;
	char                bytes[];
};

struct shelf_item {
	struct link         link; /* of its kind, when on the shelf */
	struct shelf_item  *next; /* of its bucket */
	struct shelf       *shelf;
	unsigned            refs;
	bool                is_on; /* the shelf; one of refs is the shelf's then */
	enum snapshot_kind  kind;
	uint32_t            hash;
	struct shelf_piece *first, *last;
	size_t              body_len;
	size_t              cost;     /* bytes, all of it */
	size_t              expected; /* body bytes to come, a hint; 0: unknown */
	/* what the owner writes down */
	msec     taken_at;    /* monotonic; valid if not is_recalled */
	msec     fresh_until; /* monotonic; 0: never */
	uint64_t taken_unix_ms;
	uint64_t saved_unix_ms; /* written to the disk; 0: never */
	uint64_t until_unix_ms; /* what the document itself says; 0: nothing, or unknown */
	uint32_t age_s;         /* it had when it was taken */
	bool     is_recalled;   /* from the disk */
	size_t   name_len, fields_len;
	char    *name; /* one block: the name, then the fields */
};

void shelf_init(struct shelf *s, size_t max, uint32_t seed);
void shelf_fini(struct shelf *s); /* no draft is left and none is held */
void shelf_set_max(struct shelf *s, size_t max);

/*
 * A draft. name and fields are copied.
 *   expected   bytes of its body, 0 if unknown
 * NULL: no room, or no memory.
 */
struct shelf_item *shelf_begin(struct shelf *s, enum snapshot_kind kind, struct str name,
                               struct str fields, size_t expected);

/* False: no room, or longer than the kind may be; drop it then. */
bool shelf_add(struct shelf_item *draft, struct str bytes);

/* On the shelf, instead of what has the same name. The draft's hold goes over to the shelf. */
void shelf_put(struct shelf_item *draft);

/* Ends the owner's hold. NULL is fine. */
void               shelf_drop(struct shelf_item *i);
struct shelf_item *shelf_hold(struct shelf_item *i);

/* Borrowed; NULL: none. It counts as used now. */
struct shelf_item *shelf_find(struct shelf *s, struct str name);

/* How many went. */
size_t shelf_forget(struct shelf *s, struct str name);
size_t shelf_forget_all(struct shelf *s, enum snapshot_kind kind, struct str prefix);

static inline struct str shelf_name(const struct shelf_item *i)
{
	return str_span(i->name, i->name_len);
}

static inline struct str shelf_fields(const struct shelf_item *i)
{
	return str_span(i->name + i->name_len, i->fields_len);
}

/* The body in one block of malloc. False: no memory. */
bool shelf_copy_body(const struct shelf_item *i, char **out);
bool shelf_same(const struct shelf_item *a,
                const struct shelf_item *b); /* fields but Date, and body */

#endif
