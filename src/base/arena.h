/*
 * arena.h - memory that lives as long as one request, with a budget.
 *
 * When the budget or the heap is spent, allocation returns NULL and the arena remembers
 * (arena_failed), so a sequence may finish and look once. One call frees everything.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct arena_block;

struct arena {
	struct arena_block *blocks; /* newest first */
	size_t              left;   /* bytes of budget not yet taken from the heap */
	bool                failed;
};

void  arena_init(struct arena *a, size_t budget_bytes);
void  arena_fini(struct arena *a);
void *arena_alloc(struct arena *a, size_t n); /* aligned for any type, not cleared */

/* Copies with a NUL behind; .ptr is NULL on failure. */
struct str arena_copy(struct arena *a, struct str s);

static inline bool arena_failed(const struct arena *a)
{
	return a->failed;
}

#endif
