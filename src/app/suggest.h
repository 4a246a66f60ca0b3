/*
 * suggest.h - "did you mean ...?"
 */
#ifndef APP_SUGGEST_H
#define APP_SUGGEST_H

#include <stddef.h>

#include "base/str.h"

/* Offers go in one by one, the nearest to what was written is kept. */
struct suggest {
	struct str  written;
	const char *best; /* NULL: nothing near */
	size_t      distance;
};

void suggest_init(struct suggest *s, struct str written);
void suggest_offer(struct suggest *s, const char *word);

/* "; did you mean 'best'?", or "" when nothing is near. Returns out. */
const char *suggest_text(const struct suggest *s, char *out, size_t size);

/*
 * Insertions, deletions, changes and swaps of neighbours that make b of a. Words longer than
 * SUGGEST_WORD_MAX are as far apart as can be (SIZE_MAX).
 */
enum { SUGGEST_WORD_MAX = 48 };
size_t suggest_distance(struct str a, struct str b);

#endif
