/*
 * buf.h - a growable byte queue, born with a maximum.
 *
 * Bytes are appended at the end and consumed at the front. Storage is allocated when first needed
 * and given back by buf_rest() when the queue is empty, so an idle connection holds none.
 */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct buf {
	char  *bytes;
	size_t at, end; /* waiting bytes are bytes[at..end) */
	size_t size;    /* allocated */
	size_t max;     /* never more than this many waiting bytes */
};

void buf_init(struct buf *b, size_t max);
void buf_fini(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
	return b->end - b->at;
}

static inline struct str buf_str(const struct buf *b)
{
	return b->bytes == NULL ? (struct str){ "", 0 }
				: str_span(b->bytes + b->at, b->end - b->at);
}

static inline size_t buf_room(const struct buf *b)
{
	return b->max - buf_len(b);
}

/* ERR_LIMIT: would pass max.  ERR_NOMEM.  Nothing is added on error. */
enum err buf_add(struct buf *b, struct str s);

/* At least want (<= room) contiguous free bytes at the returned address; NULL: memory or maximum. */
char *buf_reserve(struct buf *b, size_t want, size_t *got);
void  buf_commit(struct buf *b, size_t n); /* n bytes were written to what buf_reserve gave */

void buf_take(struct buf *b, size_t n); /* consumes n <= buf_len */
void buf_rest(struct buf *b);           /* gives storage back if empty */

#endif
