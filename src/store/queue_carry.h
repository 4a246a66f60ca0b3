/*
 * queue_carry.h - all that a queue keeps in one file, to carry it past an upgrade that wipes the disk.
 *
 * The file: "DSQX" and its version in 4 bytes, then frames: length, kind, 0, part, number (4, 1, 1, 2, 8
 * bytes, big-endian) and a record as queue_record.h has it, sealed. Of an item the parts of a large body come
 * first, then the item, then its state if it is parked. In order of sequence; so each lane keeps its order.
 * The last frame is a META record: how many items there were plus one. Without it the file is incomplete.
 *
 * Not in it: ids of items that are settled. A sender who repeats one of those after an upgrade is kept twice,
 * and the homeserver, who knows them too, takes it once.
 *
 * Both functions block and need a store that nobody else has open (ERR_BUSY).
 */
#ifndef STORE_QUEUE_CARRY_H
#define STORE_QUEUE_CARRY_H

#include "store/queue.h"

struct queue_carry_report {
	size_t             items, parked; /* written or read, parked ones among them */
	size_t             known;   /* on import: were there already, or delivered meanwhile */
	size_t             damaged; /* on export: could not be read, so they are not in the file */
	uint64_t           bytes;   /* of the file */
	struct queue_fault fault;
};

/*
 * Writes path anew, mode 0600, all or nothing and durable. Nothing kept: no file is made, items is 0.
 * ERR_TOO_LARGE: it would be larger than bytes_max (0: no limit); bytes says how large.
 * ERR_LIMIT, ERR_DENIED, ERR_IO: the disk; else as queue_open().
 */
enum err queue_export(const char *state_dir, const char *path, uint64_t bytes_max,
                      struct queue_carry_report *report);

/*
 * Puts everything that is in path into the queue of state_dir. May be repeated: what is there already
 * is not put in again. When it fails, a part of it is in, and nothing is lost by another attempt.
 * ERR_SYNTAX: damaged, incomplete, or no such file of ours.  ERR_UNSUPPORTED: of a newer doorstep.
 * ERR_LIMIT: no space.  Else as queue_open().
 */
enum err queue_import(const char *state_dir, const char *path, struct queue_carry_report *report);

#endif
