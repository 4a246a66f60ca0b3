#include "app/suggest.h"

#include <stdint.h>
#include <stdio.h>

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Restricted Damerau-Levenshtein distance, three rows at a time. */
size_t suggest_distance(struct str a, struct str b)
{
	size_t rows[3][SUGGEST_WORD_MAX + 1];

	if (a.len > SUGGEST_WORD_MAX || b.len > SUGGEST_WORD_MAX)
		return SIZE_MAX;
	for (size_t k = 0; k <= b.len; k++)
		rows[0][k] = k;
	for (size_t i = 1; i <= a.len; i++) {
		size_t       *row = rows[i % 3];
		const size_t *above = rows[(i + 2) % 3], *above_that = rows[(i + 1) % 3];

		row[0] = i;
		for (size_t k = 1; k <= b.len; k++) {
			row[k] = least(least(above[k], row[k - 1]) + 1,
			               above[k - 1] + (a.ptr[i - 1] != b.ptr[k - 1]));
			if (i > 1 && k > 1 && a.ptr[i - 1] == b.ptr[k - 2] &&
			    a.ptr[i - 2] == b.ptr[k - 1])
				row[k] = least(row[k], above_that[k - 2] + 1);
		}
	}
	return rows[a.len % 3][b.len];
}

void suggest_init(struct suggest *s, struct str written)
{
	*s = (struct suggest){ written, NULL, SIZE_MAX };
}

void suggest_offer(struct suggest *s, const char *word)
{
	size_t d = suggest_distance(s->written, str_of(word));
	size_t near = s->written.len / 3 > 2 ? s->written.len / 3 : 2;

	if (d <= near && d < s->written.len && d < s->distance) {
		s->best = word;
		s->distance = d;
	}
}

const char *suggest_text(const struct suggest *s, char *out, size_t size)
{
	if (s->best == NULL)
		out[0] = '\0';
	else
		snprintf(out, size, "; did you mean '%s'?", s->best);
	return out;
}
