/*
 * cache.h - blobs with an expiry that outlive the process where they can: what was learnt about
 * other servers.
 *
 * Losing all of it costs lookups, nothing else. So whatever goes wrong with the file (damaged, full,
 * a file system that cannot do it, of a newer doorstep) is one line in the log, and the cache goes
 * on in memory.
 *
 * Each put is visible at once; on its way to the file it waits up to flush_ms for company, because each
 * group costs a flush, and flash wears. The memory part is bounded and forgets what was unused longest.
 */
#ifndef STORE_CACHE_H
#define STORE_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "loop/loop.h"

enum {
	CACHE_KEY_MAX = 400,
	CACHE_VALUE_MAX = 64 * 1024,
};

struct cache;

struct cache_options {
	struct loop *loop;
	const char  *state_dir;    /* its folder `cache` is ours; NULL: memory only */
	size_t       bytes;        /* of the file; of memory when there is none */
	size_t       memory_bytes; /* of memory when there is no file; 0: bytes */
	msec         flush_ms;     /* 0: 5 seconds */
};

/* ERR_NOMEM only. */
enum err cache_open(const struct cache_options *o, struct cache **out);

/* Writes what waits. A job that runs ends later, from the loop; so run or free the loop after this. */
void cache_close(struct cache *c); /* NULL is fine */

/* Copies an unexpired value into room. False: none, or larger than size. */
bool cache_get(struct cache *c, struct str key, void *room, size_t size, size_t *len);

/*
 * Replaces. until_unix_ms: not given out from then on. ERR_RANGE: key empty or longer than CACHE_KEY_MAX,
 * or it begins with NUL. ERR_TOO_LARGE: value above CACHE_VALUE_MAX, or larger than the memory.
 * ERR_BUSY: too much waits to be written; the value was dropped. ERR_NOMEM.
 */
enum err cache_put(struct cache *c, struct str key, struct str value, uint64_t until_unix_ms);
void     cache_del(struct cache *c, struct str key);

/* Is there a file behind it (still)? */
bool cache_is_kept(const struct cache *c);

#endif
