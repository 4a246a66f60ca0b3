/*
 * queue.h - transactions that we answered for a homeserver that was away: kept until it has them.
 *
 * The promise. When put reports ERR_OK the bytes of the transaction, its origin, its id, its
 * Authorization lines and the time are on stable storage, and they are offered to the homeserver until
 * it takes them or an operator decides. No timer, quota, restart, upgrade or full disk deletes
 * them. Refusing is always allowed before, never after.
 *
 * One normal case. A `PUT /send` arrives while the homeserver sleeps, and is verified. queue_put_start()
 * copies it; when no commit is under way one begins with all that waits (a group), in a job of the pool,
 * and its end answers everybody in it: one flush serves many. The homeserver wakes. For each lane
 * queue_read_start() gives the oldest item, the homeserver answers 200, queue_settle_start()
 * with QUEUE_DELIVERED takes it out. Its id is remembered for a week, so that a sender who did
 * not hear our 200 does not put it in twice.
 *
 * A lane is all of one origin for one of our server names; within it first in, first out, across
 * restarts, by sequence number and never by clock.
 *
 * Same origin and transaction id again (Synapse, Dendrite and Conduit make and reuse ids differently):
 *    identical body, still here or settled less than a week ago    ERR_EXISTS: answer 200
 *    other body, nobody was given the first one yet                 replaces it, at its place
 *    other body, and the first one was read, tried or settled       a new item; the homeserver decides
 *
 * Quotas count what lies here, parked items too: all together, and for each origin. A part of the whole
 * is reserved for origins that are known (the homeserver dealt with them before); strangers cannot
 * fill it. Deleting always works, on a full disk too.
 *
 * Where it lies: state_dir/queue, an LMDB environment with its default, synchronous flags; or, where
 * LMDB cannot write (JFFS2), a journal of segments, see queue_journal.c. state_dir/queue.store tells
 * which one, so that an empty folder where a queue was is noticed. All disk work but opening and closing
 * happens in jobs, one at a time. Not for two processes: a lock keeps the second out.
 */
#ifndef STORE_QUEUE_H
#define STORE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/address.h"
#include "base/err.h"
#include "base/str.h"
#include "loop/loop.h"

enum {
	QUEUE_HEAD_MAX = 48 * 1024,        /* everything of an item but the body */
	QUEUE_BODY_MAX = 16 * 1024 * 1024, /* the callers' own limits are lower */
	QUEUE_REASON_MAX = 200,
	QUEUE_HASH_BYTES = 32,
};

struct queue;

enum queue_kind { QUEUE_AUTO, QUEUE_LMDB, QUEUE_JOURNAL };

/* 0 in a number: the default. */
struct queue_options {
	struct loop    *loop;
	const char     *state_dir;
	enum queue_kind kind;      /* QUEUE_AUTO: what is there; else LMDB; else the journal */
	size_t          map_bytes; /* of the file; address space too with LMDB. 16 MiB */
	uint64_t        bytes_max; /* of all items. Half of map_bytes or of the free disk */
	uint64_t origin_bytes_max; /* of one origin, for one server name. A quarter of bytes_max */
	uint64_t reserve_bytes;    /* of bytes_max, for known origins. A quarter of it */
	size_t   items_max;        /* about 130 bytes of memory each. 4096 */
	size_t   origin_items_max; /* a quarter of items_max */
	size_t   seen_max; /* settled ids, the same memory. 4096; the oldest are forgotten first */
	size_t   pending_bytes_max; /* copies on their way to the disk. 4 MiB */
	bool     allow_volatile;    /* tmpfs will do: what was acknowledged dies with the power */
};

/* What is wrong, or what was put right, in one sentence. */
struct queue_fault {
	char     text[320]; /* "": nothing to say */
	uint64_t cut_bytes; /* unfinished writes that were taken off: normal after a power cut */
};

/* Was there ever a queue in that directory? */
bool queue_is_there(const char *state_dir);

/*
 * Blocks (disk). ERR_OK also when damage was found and moved aside: then fault says so, loudly enough to be logged
 * as an error. Otherwise nothing may be acknowledged early, and fault says why:
 * ERR_UNSUPPORTED: in memory only (tmpfs), of a newer doorstep.  ERR_DENIED: read-only, not ours.
 * ERR_LIMIT: no space.  ERR_BUSY: another process has it.  ERR_IO.  ERR_NOMEM.
 */
enum err queue_open(const struct queue_options *o, struct queue **out, struct queue_fault *fault);

/*
 * Slots must have been cancelled. What waits to be written without anybody waiting for it (verdicts, tries) is
 * written. A job that runs ends later, from the loop; so run or free the loop after this.
 */
void queue_close(struct queue *q); /* NULL is fine */

/* Another bytes_max (0: none, it stays) and the default shares of it; what is there stays. */
void queue_set_bytes_max(struct queue *q, uint64_t bytes_max);

/* Is that where it lies? */
bool queue_is_in(const struct queue *q, const char *state_dir);

/* --- items --- */

/* On put the slices are the caller's and copied before queue_put_start() returns. */
struct queue_item {
	struct str     server_name, origin; /* the lane; 1..255 bytes each */
	struct str     transaction_id;      /* percent-decoded, opaque; 1..1024 bytes */
	struct str     method, target;      /* as received */
	struct str     authorization; /* all X-Matrix Authorization values, each followed by "\n" */
	struct str     content_type;
	struct address peer;
	uint64_t       at_unix_ms; /* of arrival */
	struct str     body;
	uint8_t        body_hash[QUEUE_HASH_BYTES]; /* SHA-256 of body: what "identical" means */
};

enum queue_state {
	QUEUE_WAITING,
	QUEUE_IN_HAND, /* read, not settled yet; waiting after a restart */
	QUEUE_PARKED,  /* set aside with a reason, until an operator decides */
};

/* What memory knows of an item. Slices live until the next call of queue_* or turn of the loop. */
struct queue_info {
	uint64_t         sequence; /* its name: unique, growing, never reused */
	enum queue_state state;
	struct str       server_name, origin;
	uint64_t         at_unix_ms;
	uint64_t         bytes;             /* as the quotas count it */
	uint32_t         tries;             /* verdicts QUEUE_RETRY so far */
	uint64_t         first_try_unix_ms; /* 0: none */
	struct str       reason;            /* of parking */
};

/* --- operations: started with the address of the owner's pointer, see loop/loop.h --- */

struct queue_put;
struct queue_read;
struct queue_settle;

/* ERR_OK: durable. ERR_EXISTS: was already there, as good as stored. Anything else: not acknowledged. */
typedef void queue_put_done_fn(void *arg, enum err e);

/*
 * known: may use the reserve.
 * Here or in done: ERR_LIMIT: a quota, the disk, or too much on its way.  ERR_NOMEM.
 * Here: ERR_RANGE: a slice is empty or longer than it may be.  ERR_TOO_LARGE: head or body.
 * ERR_BUSY: at_unix_ms is before 2020, so the clock is not set yet.
 * In done: ERR_IO: the disk failed.
 */
enum err queue_put_start(struct queue_put **slot, struct queue *q, const struct queue_item *item,
                         bool known, queue_put_done_fn *done, void *arg);
void     queue_put_cancel(struct queue_put **slot); /* the item may be stored, or not */

/*
 * item and info->server_name .. live as long as the item; it is the receiver's, who calls queue_item_free().
 * Both are NULL unless ERR_OK.
 */
typedef void queue_read_done_fn(void *arg, enum err e, const struct queue_info *info,
                                struct queue_item *item);

/*
 * The oldest waiting item of a lane, which then is in hand until it is settled.
 * Here: ERR_NOT_FOUND: none waits.  ERR_BUSY: one is in hand.
 * In done: ERR_NOT_FOUND too, if what was found is damaged (it is parked, and said) and was the last
 * one.  ERR_IO, ERR_NOMEM: still waiting.
 */
enum err queue_read_start(struct queue_read **slot, struct queue *q, struct str server_name,
                          struct str origin, queue_read_done_fn *done, void *arg);

/* Any item, for showing: changes nothing. ERR_NOT_FOUND. In done: ERR_SYNTAX: damaged. */
enum err queue_show_start(struct queue_read **slot, struct queue *q, uint64_t sequence,
                          queue_read_done_fn *done, void *arg);
void     queue_read_cancel(struct queue_read **slot); /* the item waits again */
void     queue_item_free(struct queue_item *item);    /* NULL is fine */

/* What was read waits again, without a verdict: whoever read it ends. */
void queue_give_back(struct queue *q, uint64_t sequence);

enum queue_verdict {
	QUEUE_DELIVERED, /* the homeserver took it: gone, its id remembered */
	QUEUE_RETRY,  /* later: waits again at its place, tries + 1 (written with the next group) */
	QUEUE_PARK,   /* set aside with reason */
	QUEUE_UNPARK, /* an operator: waits again at its place, tries from 0 */
	QUEUE_DROP,   /* an operator: gone, its id remembered */
};

typedef void queue_settle_done_fn(void *arg, enum err e); /* ERR_OK: durable (QUEUE_RETRY: noted) */

/*
 * reason: of QUEUE_PARK, at most QUEUE_REASON_MAX bytes are kept.
 * Here: ERR_NOT_FOUND.  ERR_BUSY: a verdict on it is under way.  ERR_NOMEM.  In done: ERR_IO, ERR_LIMIT: the item is as
 * it was (in hand stays in hand; settle it again).
 */
enum err queue_settle_start(struct queue_settle **slot, struct queue *q, uint64_t sequence,
                            enum queue_verdict verdict, struct str reason,
                            queue_settle_done_fn *done, void *arg);

/* The verdict stands; if it cannot be written, what was in hand waits again. */
void queue_settle_cancel(struct queue_settle **slot);

/* --- looking, from memory --- */

/* Must new ones go behind something? Items waiting or in hand, and puts under way. */
bool queue_lane_waiting(const struct queue *q, struct str server_name, struct str origin);

struct queue_lane_info { /* slices as in queue_info */
	struct str server_name, origin;
	size_t     items; /* waiting and in hand */
	uint64_t   bytes;
	uint64_t   oldest_unix_ms;
	uint32_t   tries;    /* of the first one */
	bool       in_hand;  /* one is being delivered */
	uint64_t   sequence; /* of the first one */
};

/*
 * The lanes where something waits, the oldest item first; at most max, of those whose first item comes after
 * that sequence number (0: all). Returns how many.
 */
size_t queue_lanes(const struct queue *q, uint64_t after, struct queue_lane_info *out, size_t max);

/* Items in order of sequence, from the first one above after; parked or all. Returns how many. */
size_t queue_list(const struct queue *q, uint64_t after, bool parked_only, struct queue_info *out,
                  size_t max);

/* ERR_NOT_FOUND */
enum err queue_find(const struct queue *q, uint64_t sequence, struct queue_info *out);

struct queue_counts {
	size_t   waiting, parked, seen; /* waiting: those in hand too */
	uint64_t bytes, bytes_max;      /* of the items */
	uint64_t disk_bytes,
		disk_max; /* as of the last commit: what the file holds, and where admission ends */
	uint64_t put, delivered, refused, failed, damaged; /* since opening */
	uint64_t commits;
};
void queue_counts(const struct queue *q, struct queue_counts *out);

const char *queue_kind_name(const struct queue *q); /* "lmdb", "journal" */

/* --- checking a store that is closed --- */

struct queue_report {
	size_t             items, parked, seen;
	size_t             damaged; /* records and items that cannot be read */
	size_t             orphans; /* pieces that belong to nothing: left by a crash, harmless */
	uint64_t           bytes, last_sequence;
	struct queue_fault fault; /* the first thing found */
};

/*
 * Reads everything: ERR_OK: every record is whole, every item complete, sequence numbers and ids unique.
 * ERR_SYNTAX: damage, see the report.  Else as queue_open(), and it puts right what opening puts right.
 */
enum err queue_verify(const char *state_dir, struct queue_report *report);

/*
 * ditto, and calls fn (may be NULL) for each waiting or parked item, in order of sequence within a
 * lane, with everything; what it is given is gone when it returns. False ends the walk.
 */
typedef bool queue_item_fn(void *arg, const struct queue_info *info, const struct queue_item *item);
enum err queue_verify_each(const char *state_dir, struct queue_report *report, queue_item_fn *fn,
                           void *arg);

#endif
