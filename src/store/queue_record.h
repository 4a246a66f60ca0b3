/*
 * queue_record.h - what the records of the queue look like, in bytes.
 *
 * Pure. Numbers are big-endian, so that a file moved to another machine stays readable. Each record
 * begins with version, kind and a CRC-32C over its key and what follows; a reader refuses what it
 * does not know and what does not fit.
 *
 *   ITEM  number: sequence.  Everything but the body, then the body if it is small.
 *   PART  number: body, part: 0, 1, ..  64 KiB of a large body, the last one the rest. Written before
 *         its item, which publishes it: parts without an item were never acknowledged.
 *   STATE number: sequence.  Tries, or why it is parked. Absent: never tried.
 *   SEEN  number: sequence.  Lane and hashes of id and body of an item that was settled.
 *   META  number: 1.  The sequence number to go on with, when nothing else tells any more.
 */
#ifndef STORE_QUEUE_RECORD_H
#define STORE_QUEUE_RECORD_H

#include "store/queue.h"
#include "store/queue_backend.h"

enum {
	QUEUE_INLINE_MAX = 32 * 1024, /* larger bodies are stored in parts */
	QUEUE_PART_BYTES = 64 * 1024,
	QUEUE_PART_ROOM = 12,  /* in front of the bytes of a part */
	QUEUE_MARK_BYTES = 16, /* of a hash that we keep */
};

/* Both ids and bodies are told apart by the first half of their SHA-256. */
struct queue_mark {
	uint8_t bytes[QUEUE_MARK_BYTES];
};
struct queue_mark queue_mark_of(struct str text);

/* ERR_RANGE, ERR_TOO_LARGE: as queue_put_start() says. */
enum err queue_record_check_item(const struct queue_item *item);

static inline bool queue_record_is_inline(size_t body_len)
{
	return body_len <= QUEUE_INLINE_MAX;
}

static inline size_t queue_record_parts(size_t body_len)
{
	return queue_record_is_inline(body_len)
		? 0
		: (body_len + QUEUE_PART_BYTES - 1) / QUEUE_PART_BYTES;
}

/* With the body, if it is small. */
size_t queue_record_item_size(const struct queue_item *item);

/*
 * room: as queue_record_item_size() says. Not sealed yet: queue_record_set_body() may follow, then
 * queue_record_seal().
 */
void queue_record_write_item(char *room, const struct queue_item *item);

/* The number of its parts; 0 if it has none. */
void queue_record_set_body(char *record, uint64_t body);

/* room: QUEUE_RECORD_STATE_MAX, QUEUE_RECORD_SEEN_MAX, QUEUE_RECORD_META_BYTES. They return the length. */
enum {
	QUEUE_RECORD_STATE_MAX = 32 + QUEUE_REASON_MAX,
	QUEUE_RECORD_SEEN_MAX = 64 + 2 * 255,
	QUEUE_RECORD_META_BYTES = 20,
};

struct queue_record_state {
	bool       parked;
	uint32_t   tries;
	uint64_t   first_try_unix_ms;
	struct str reason;
};
size_t queue_record_write_state(char *room, const struct queue_record_state *s);

struct queue_record_seen {
	struct str        server_name, origin;
	struct queue_mark id, body;
	uint64_t          at_unix_ms; /* of settling */
};
size_t queue_record_write_seen(char *room, const struct queue_record_seen *s);
size_t queue_record_write_meta(char *room, uint64_t next_sequence);

/* Fills in the checksums: the last step, may take a while. A part: its room is filled in too. */
void queue_record_seal(const struct queue_key *key, char *record, size_t len);

/*
 * Reading: ERR_SYNTAX: damaged.  ERR_UNSUPPORTED: of a newer doorstep. Slices point into the record.
 * body_len: of the whole body; item->body is what is in the record: all or nothing of it.
 */
struct queue_record_item {
	struct queue_item item;
	uint64_t          body; /* number of its parts; 0: none */
	size_t            body_len;
};

/* is_whole: record has the body too (if it is small), which is checked. Otherwise item.body is empty. */
enum err queue_record_read_item(const struct queue_key *key, struct str record, bool is_whole,
                                struct queue_record_item *out);
enum err queue_record_read_part(const struct queue_key *key, struct str record, struct str *bytes);
enum err queue_record_read_state(const struct queue_key *key, struct str record,
                                 struct queue_record_state *out);
enum err queue_record_read_seen(const struct queue_key *key, struct str record,
                                struct queue_record_seen *out);
enum err queue_record_read_meta(const struct queue_key *key, struct str record,
                                uint64_t *next_sequence);

#endif
