#include "base/buf.h"

#include <stdlib.h>

void buf_init(struct buf *b, size_t max)
{
	*b = (struct buf){ .max = max };
}

void buf_fini(struct buf *b)
{
	free(b->bytes);
	*b = (struct buf){ .max = b->max };
}

static void buf_compact(struct buf *b)
{
	if (b->at == 0)
		return;
	memmove(b->bytes, b->bytes + b->at, buf_len(b));
	b->end -= b->at;
	b->at = 0;
}

static bool buf_grow(struct buf *b, size_t need)
{
	size_t size = b->size < 256 ? 256 : b->size;
	char  *bytes;

	while (size < need)
		size *= 2;
	if (size > b->max && need <= b->max)
		size = b->max;
	bytes = realloc(b->bytes, size);
	if (bytes == NULL)
		return false;
	b->bytes = bytes;
	b->size = size;
	return true;
}

char *buf_reserve(struct buf *b, size_t want, size_t *got)
{
	if (want == 0 || want > buf_room(b))
		return NULL;
	if (b->size - b->end < want)
		buf_compact(b);
	if (b->size - b->end < want && !buf_grow(b, b->end + want))
		return NULL;
	*got = b->size - b->end;
	if (*got > buf_room(b))
		*got = buf_room(b);
	return b->bytes + b->end;
}

void buf_commit(struct buf *b, size_t n)
{
	check(n <= b->size - b->end);
	b->end += n;
}

enum err buf_add(struct buf *b, struct str s)
{
	size_t got;
	char  *to;

	if (s.len == 0)
		return ERR_OK;
	if (s.len > buf_room(b))
		return ERR_LIMIT;
	to = buf_reserve(b, s.len, &got);
	if (to == NULL)
		return ERR_NOMEM;
	memcpy(to, s.ptr, s.len);
	b->end += s.len;
	return ERR_OK;
}

void buf_take(struct buf *b, size_t n)
{
	check(n <= buf_len(b));
	b->at += n;
	if (b->at == b->end)
		b->at = b->end = 0;
}

void buf_rest(struct buf *b)
{
	if (buf_len(b) == 0)
		buf_fini(b);
}
