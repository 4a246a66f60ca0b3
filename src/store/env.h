/*
 * env.h - an ordered map from keys to values in one file, that survives being killed at any time.
 *
 * The only home of LMDB. Reading happens in the loop's thread at once (a page that is mapped), writing
 * in groups by env_apply(), which waits for the disk and belongs into a job (loop/work.h); the two
 * may run at the same time, two env_apply() may not. Not for two processes: a lock on the directory keeps
 * the second out (ERR_BUSY).
 *
 * LMDB trusts its file: one that is shorter than its last used page kills the process with SIGBUS. So
 * the file is looked at before it is opened, and a damaged one is moved aside.
 *
 * Commits are ordered (data flushed, then the new root), without waiting for the root to reach the
 * disk (MDB_NOMETASYNC): a power cut may lose the last group, never the file. That is right
 * for what can be fetched again. What cannot is opened as `durable`, with LMDB's default flags: what was
 * applied has reached the disk. A file of MDB_NOSYNC would cost no flush, but after a power cut
 * it can be torn in a way that the look beforehand cannot see.
 *
 * LMDB cannot open for writing on JFFS2 (no shared writable mappings): ERR_UNSUPPORTED.
 */
#ifndef STORE_ENV_H
#define STORE_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum {
	ENV_KEY_MAX = 480,
	ENV_BYTES_MIN = 256 * 1024, /* smallest useful map */
};

struct env;

struct env_options {
	const char *path; /* directory of its own; made (mode 0700) when absent, its parent too */
	size_t bytes; /* address space and most the file can grow to; less when the disk is full */
	uint32_t schema;  /* of what the caller stores; above 0 */
	bool     durable; /* what is in it exists nowhere else: see above */
};

/* Something went wrong, or was put right, in one sentence. */
struct env_notice {
	char text[256]; /* "": nothing to say */
};

/*
 * ERR_OK also when a damaged file was moved aside (*.damaged) or one of an older schema was emptied:
 * then notice says so. ERR_UNSUPPORTED: the file system cannot do it, or the file is of a newer
 * schema (and left alone). ERR_LIMIT: no space. ERR_BUSY, ERR_DENIED, ERR_IO, ERR_NOMEM. notice says why.
 *
 * A durable one is on the disk, with its directories, when this returns; one of another schema, newer or
 * older, is left alone (ERR_UNSUPPORTED); only one that is certainly damaged is moved aside, and
 * never over one that was moved before.
 */
enum err env_open(const struct env_options *o, struct env **out, struct env_notice *notice);
void     env_close(struct env *e); /* NULL is fine */

/* Copies the value into room. ERR_NOT_FOUND.  ERR_TOO_LARGE: *len says how much.  ERR_IO. */
enum err env_get(struct env *e, struct str key, void *room, size_t size, size_t *len);

struct env_change {
	struct str key; /* 1..ENV_KEY_MAX bytes, the first one not NUL */
	struct str value;
	bool       remove; /* absence is no error */
};

/*
 * All or nothing, on its way to the disk (durable: on it) when it returns. ERR_LIMIT: four fifths of
 * the file are in use (deleting goes on to work: it needs room too), or the disk is full. ERR_IO.
 */
enum err env_apply(struct env *e, const struct env_change *changes, size_t count);

/* ditto, but for what makes room: the last fifth may be used. */
enum err env_apply_settling(struct env *e, const struct env_change *changes, size_t count);

/* Everything goes. */
enum err env_empty(struct env *e);

/*
 * Calls fn for each entry in order of keys, from the first one behind `after` (empty: from the start),
 * until it returns false. What it is given is gone when it returns; it must not call env_*.
 */
typedef bool env_entry_fn(void *arg, struct str key, struct str value);
enum err     env_walk(struct env *e, struct str after, env_entry_fn *fn, void *arg);

struct env_usage {
	uint64_t entries, used_bytes, limit_bytes;
};
enum err env_usage(struct env *e, struct env_usage *out);

#endif
