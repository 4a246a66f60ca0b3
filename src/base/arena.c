#include "base/arena.h"

#include <stdalign.h>
#include <stdlib.h>

enum { ARENA_BLOCK_BYTES = 2048 };

struct arena_block {
	struct arena_block *next;
	size_t              used, size;
	alignas(max_align_t) char bytes[];
};

void arena_init(struct arena *a, size_t budget_bytes)
{
	*a = (struct arena){ .left = budget_bytes };
}

void arena_fini(struct arena *a)
{
	while (a->blocks != NULL) {
		struct arena_block *b = a->blocks;

		a->blocks = b->next;
		free(b);
	}
}

static struct arena_block *arena_more(struct arena *a, size_t n)
{
	size_t              size = n > ARENA_BLOCK_BYTES ? n : ARENA_BLOCK_BYTES;
	struct arena_block *b;

	if (size > a->left)
		size = n;
	if (size > a->left)
		return NULL;
	b = malloc(sizeof(*b) + size);
	if (b == NULL)
		return NULL;
	*b = (struct arena_block){ .next = a->blocks, .size = size };
	a->blocks = b;
	a->left -= size;
	return b;
}

void *arena_alloc(struct arena *a, size_t n)
{
	const size_t        step = alignof(max_align_t);
	struct arena_block *b = a->blocks;
	void               *p;

	if (n > SIZE_MAX - step)
		return a->failed = true, NULL;
	n = (n + step - 1) / step * step;
	if (b == NULL || b->size - b->used < n)
		b = arena_more(a, n);
	if (b == NULL)
		return a->failed = true, NULL;
	p = b->bytes + b->used;
	b->used += n;
	return p;
}

struct str arena_copy(struct arena *a, struct str s)
{
	char *p = arena_alloc(a, s.len + 1);

	if (p == NULL)
		return (struct str){ NULL, 0 };
	if (s.len > 0)
		memcpy(p, s.ptr, s.len);
	p[s.len] = '\0';
	return str_span(p, s.len);
}
