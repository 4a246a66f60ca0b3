/*
 * queue_journal.h - the records of the queue in an append-only journal, for places without LMDB.
 *
 * Segments of at most 256 KiB, journal.00000001 and so on, see queue_segment.h for their bytes. A group
 * is one write and one fdatasync. A new segment: made, its head written and flushed, then the directory.
 * In memory there is only where each record lies (some 50 bytes each); values are read back.
 *
 * What was replaced or removed is garbage; when there is more of it than of what counts, the oldest segment's
 * live records are written once more at the end, and the segment goes. Oldest first, and each name gone for
 * good before the next: so a removal never vanishes before what it removes.
 *
 * After a write that failed the segment is not written any more. The next one tells how much of it counts.
 */
#ifndef STORE_QUEUE_JOURNAL_H
#define STORE_QUEUE_JOURNAL_H

#include <sys/types.h>

#include "store/place.h"
#include "store/queue_segment.h"

enum { JOURNAL_NAME_BYTES = PLACE_PATH_MAX + 32 };

struct segment {
	uint32_t number, length; /* bytes that count */
	uint32_t live;           /* of them */
	uint64_t salt;
	bool     is_damaged;
};

/* Where the value of a key is. */
struct place {
	struct place    *next;
	struct queue_key key;
	uint32_t         segment, at, len;
};

struct journal {
	struct queue_backend base;
	char                 path[PLACE_PATH_MAX];
	uint64_t             bytes_max;
	struct segment      *segments; /* oldest first */
	size_t               count, size;
	uint32_t             last_number; /* the largest one ever seen here */
	int            fd; /* of the last one, for writing; -1: the next group needs a new one */
	int            read_fd; /* of segment read_number; -1 */
	uint32_t       read_number;
	uint64_t       next_sequence;
	uint64_t       total, live; /* bytes */
	struct place **buckets;
	size_t         bucket_count, place_count;
};

/* --- what is where: queue_journal_places.c --- */

const char *journal_name(const struct journal *j, uint32_t number, char name[JOURNAL_NAME_BYTES]);

/* False: not a segment. */
bool journal_number_of(const char *name, uint32_t *number);

struct segment *journal_last(struct journal *j);                                 /* there is one */
bool            journal_segment_add(struct journal *j, const struct segment *s); /* false: memory */

bool           journal_places_init(struct journal *j);
void           journal_places_fini(struct journal *j);
struct place **journal_place_find(const struct journal *j, const struct queue_key *key);
void           journal_place_remove(struct journal *j, const struct queue_key *key);

/* Takes fresh over if the key is new, otherwise frees it. Its segment is there. */
void journal_place_set(struct journal *j, struct place *fresh);

/* What is in a segment is lost. */
void journal_places_give_up(struct journal *j, struct segment *s);

/* --- queue_journal.c --- */

enum err journal_new_segment(struct journal *j);

/* All of a file, at most the longest segment there can be. free() *out. */
enum err journal_slurp(struct journal *j, uint32_t number, char **out, size_t *len,
                       off_t *file_len);

/* --- queue_journal_load.c --- */

/* Reads all segments; cuts the torn end of the last one, moves aside what is damaged. */
enum err journal_load(struct journal *j, struct queue_fault *fault);

#endif
