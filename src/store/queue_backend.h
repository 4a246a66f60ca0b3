/*
 * queue_backend.h - what the queue needs of a disk: small records under numbered keys, changed in
 * groups that are durable when commit returns.
 *
 * Two of them: queue_lmdb.c and queue_journal.c. Neither knows what a record means. All calls come from
 * one job at a time (or from opening and closing), never from the loop's thread while a job runs.
 */
#ifndef STORE_QUEUE_BACKEND_H
#define STORE_QUEUE_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "store/queue.h"

/* See queue_record.h for what is in them. */
enum queue_record_kind {
	QUEUE_RECORD_ITEM = 1,
	QUEUE_RECORD_PART,
	QUEUE_RECORD_STATE,
	QUEUE_RECORD_SEEN,
	QUEUE_RECORD_META,
	QUEUE_RECORD_KIND_COUNT,
};

struct queue_key {
	enum queue_record_kind kind;
	uint64_t               number;
	uint16_t               part;
};

struct queue_change {
	struct queue_key key;
	char            *value; /* not touched by a backend; NULL: remove, absence is no error */
	size_t           len;
};

enum {
	QUEUE_VALUE_MAX = 96 * 1024,
	QUEUE_GROUP_MAX = 224 *
		1024, /* of a commit: all values and QUEUE_CHANGE_OVERHEAD for each */
	QUEUE_CHANGE_OVERHEAD = 40,
	QUEUE_CHANGES_MAX = 512, /* of a commit */
};

struct queue_backend;

/* False ends the walk. value is gone when it returns; NULL in .ptr: there, but cannot be read. */
typedef bool queue_record_fn(void *arg, const struct queue_key *key, struct str value);

struct queue_backend_ops {
	const char *name;

	/* What is put by so that verdicts can be written to a full disk: so much, and a share of the disk. */
	size_t   ballast_bytes;
	unsigned ballast_share; /* 100: a hundredth. 0: none */

	/*
	 * All or nothing, also across a power cut; durable when it returns ERR_OK. Otherwise it may or may
	 * not be there after a restart. admits: new items, refused (ERR_LIMIT) while there is still room left
	 * for deleting; else room is made by what is in it. ERR_LIMIT, ERR_IO, ERR_DENIED, ERR_NOMEM.
	 */
	enum err (*commit)(struct queue_backend *b, const struct queue_change *changes,
	                   size_t count, bool admits);

	/* Copies the value. ERR_NOT_FOUND.  ERR_SYNTAX: damaged, or not of this size.  ERR_IO. */
	enum err (*read)(struct queue_backend *b, const struct queue_key *key, char *room,
	                 size_t size, size_t *len);

	/* All of a kind in order of number and part. */
	enum err (*walk)(struct queue_backend *b, enum queue_record_kind kind, queue_record_fn *fn,
	                 void *arg);

	/* A step of housekeeping. True: there is more to do. NULL: needs none. */
	bool (*tidy)(struct queue_backend *b);

	/* Bytes on the disk, and where admission ends. */
	void (*usage)(struct queue_backend *b, uint64_t *used, uint64_t *max);

	void (*close)(struct queue_backend *b);
};

struct queue_backend {
	const struct queue_backend_ops *ops;
};

struct queue_backend_options {
	const char *path;  /* a directory that exists, is locked by us, mode 0700 */
	size_t      bytes; /* most to use */
};

enum { QUEUE_SCHEMA = 1 };

/*
 * ERR_OK also when damage was moved aside: fault says so.
 * ERR_UNSUPPORTED: the file system cannot do it, or of another schema; else as queue_open().
 */
enum err queue_lmdb_open(const struct queue_backend_options *o, struct queue_backend **out,
                         struct queue_fault *fault);
enum err queue_journal_open(const struct queue_backend_options *o, struct queue_backend **out,
                            struct queue_fault *fault);
bool     queue_journal_exists(const char *path); /* a segment is there */

#endif
