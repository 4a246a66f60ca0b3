/*
 * queue_segment.h - the bytes of a journal segment: a head, then records in groups.
 *
 * Pure. All numbers big-endian, all records padded to 4 bytes.
 *
 *   head    "DSQJ", schema, number, length that counts of the segment before, salt, sequence of
 *           the first record, number of the segment before, CRC-32C                    (40 bytes)
 *   record  length of what follows the checksum, sequence, CRC-32C;
 *           what (put, remove; last of its group), kind, part, position in its group, number of the
 *           key; the value                                                   (32 bytes and the value)
 *
 * A group is written at once and flushed before the next one begins. So of all groups only the latest can
 * be torn: if a record of a later group is whole, what cannot be read before it has rotted.
 *
 * Looking for the next whole record behind a damaged one means looking through bytes that strangers wrote.
 * The salt, a secret of the file, keeps them from writing records of their own there.
 */
#ifndef STORE_QUEUE_SEGMENT_H
#define STORE_QUEUE_SEGMENT_H

#include "store/queue_backend.h"

enum {
	QUEUE_SEGMENT_MAX = 256 * 1024,
	QUEUE_SEGMENT_HEAD = 40,
	QUEUE_SEGMENT_RECORD = 32, /* in front of a value */
};

struct queue_segment_head {
	uint32_t number;
	uint32_t number_before, length_before; /* number 0: there was none */
	uint64_t salt, first_sequence;
};

void queue_segment_write_head(char room[QUEUE_SEGMENT_HEAD], const struct queue_segment_head *h);

/* ERR_SYNTAX: damaged.  ERR_UNSUPPORTED: of another schema. */
enum err queue_segment_read_head(struct str bytes, struct queue_segment_head *out);

struct queue_segment_record {
	uint64_t         sequence;
	uint32_t         position; /* in its group */
	bool             is_last;  /* of its group */
	bool             removes;
	struct queue_key key;
	struct str       value;
	size_t           at, end; /* in the segment */
	bool             gap;     /* something before it is missing */
};

static inline size_t queue_segment_record_size(size_t value_len)
{
	return (QUEUE_SEGMENT_RECORD + value_len + 3) & ~(size_t)3;
}

/* r: all but at, end and gap. Returns queue_segment_record_size(). */
size_t queue_segment_write_record(char *room, uint64_t salt, const struct queue_segment_record *r);

struct queue_segment_scan {
	struct str bytes; /* of the segment, as far as they count */
	uint64_t   salt, expected;
	size_t     at;
};

static inline struct queue_segment_scan queue_segment_scan_over(struct str bytes,
                                                                const struct queue_segment_head *h)
{
	return (struct queue_segment_scan){ bytes, h->salt, h->first_sequence, QUEUE_SEGMENT_HEAD };
}

/* The next whole record. False: none; scan->at is where the last one ended. */
bool queue_segment_next(struct queue_segment_scan *scan, struct queue_segment_record *r);

/*
 * Where the segment ends that was written last: a torn group is cut off. is_damaged: something before that cannot
 * be read.
 */
size_t queue_segment_end(struct queue_segment_scan scan, bool *is_damaged);

#endif
