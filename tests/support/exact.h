/*
 * exact.h - a copy of some bytes in a heap block of exactly their size, so that the address
 * sanitizer sees a read past the end.
 */
#ifndef TESTS_SUPPORT_EXACT_H
#define TESTS_SUPPORT_EXACT_H

#include <stdlib.h>

#include "base/err.h"
#include "base/str.h"

struct exact {
	char *block;
};

/* Free with exact_free. */
static inline struct str exact_copy(struct exact *x, struct str s)
{
	x->block = malloc(s.len == 0 ? 1 : s.len);
	check(x->block != NULL);
	if (s.len > 0)
		memcpy(x->block, s.ptr, s.len);
	return str_span(s.len == 0 ? x->block + 1 : x->block, s.len);
}

static inline void exact_free(struct exact *x)
{
	free(x->block);
}

#endif
