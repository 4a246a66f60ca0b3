/*
 * queue_store.h - the queue's place on the disk: found, locked, opened, read into memory, checked.
 *
 * Blocks; for opening and for jobs. What happens while doorstep runs is queue.c.
 */
#ifndef STORE_QUEUE_STORE_H
#define STORE_QUEUE_STORE_H

#include "store/place.h"
#include "store/queue_backend.h"
#include "store/queue_index.h"

struct queue_store {
	struct queue_backend *backend;
	struct queue_index    index;
	uint64_t              next_sequence;
	int                   lock;    /* descriptor; -1: none */
	size_t                damaged; /* records that could not be read */
	size_t                orphans; /* pieces left by a crash, taken out */
	size_t                clashes; /* records that contradict each other */
	bool                  has_ballast;
	char                  path[PLACE_PATH_MAX];
};

/* Of the options: state_dir, kind, map_bytes, items_max, seen_max, allow_volatile. Else as queue_open(). */
enum err queue_store_open(struct queue_store *s, const struct queue_options *o,
                          struct queue_fault *fault);
void     queue_store_close(struct queue_store *s);

/* What an item is read by. Entries change in the loop's thread, so jobs get this. */
struct queue_address {
	uint64_t sequence, body;
	uint32_t record_len, body_len;
};

static inline struct queue_address queue_address_of(const struct queue_entry *en)
{
	return (struct queue_address){ en->sequence, en->body, en->record_len, en->body_len };
}

/* ERR_SYNTAX: damaged, or not all of it is there.  ERR_IO, ERR_NOMEM. Free with queue_item_free(). */
enum err queue_store_read(struct queue_store *s, const struct queue_address *at,
                          struct queue_item **out);

/*
 * Others may fill the disk; taking items out needs room all the same. So a file of no use lies there:
 * it goes when the disk is full (false: there was none), and comes back when there is room. In jobs.
 */
bool queue_store_spend_ballast(struct queue_store *s);
void queue_store_keep_ballast(struct queue_store *s);

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
void queue_fault_add(struct queue_fault *fault, const char *format, ...); /* another sentence */

#endif
