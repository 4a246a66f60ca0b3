#include <stdio.h>
#include <stdlib.h>

#include "store/queue_journal.h"

enum { BUCKETS_MIN = 256, BUCKETS_MAX = 1 << 16 };

/* --- names --- */

const char *journal_name(const struct journal *j, uint32_t number, char name[JOURNAL_NAME_BYTES])
{
	snprintf(name, JOURNAL_NAME_BYTES, "%s/journal.%08lx", j->path, (unsigned long)number);
	return name;
}

bool journal_number_of(const char *name, uint32_t *number)
{
	static const char prefix[] = "journal.";
	const char       *hex = name + sizeof(prefix) - 1;
	uint32_t          n = 0;

	if (strncmp(name, prefix, sizeof(prefix) - 1) != 0 || strlen(hex) != 8)
		return false;
	for (; *hex != '\0'; hex++) {
		const char *digits = "0123456789abcdef", *at = strchr(digits, *hex);

		if (at == NULL)
			return false;
		n = n << 4 | (uint32_t)(at - digits);
	}
	*number = n;
	return n > 0;
}

struct segment *journal_last(struct journal *j)
{
	return &j->segments[j->count - 1];
}

static struct segment *segment_find(struct journal *j, uint32_t number)
{
	size_t i = j->count;

	while (i > 0 && j->segments[i - 1].number > number)
		i--;
	return i > 0 && j->segments[i - 1].number == number ? &j->segments[i - 1] : NULL;
}

bool journal_segment_add(struct journal *j, const struct segment *s)
{
	if (j->count == j->size) {
		size_t          size = j->size == 0 ? 16 : j->size * 2;
		struct segment *segments = realloc(j->segments, size * sizeof(*segments));

		if (segments == NULL)
			return false;
		j->segments = segments;
		j->size = size;
	}
	j->segments[j->count++] = *s;
	j->total += s->length;
	return true;
}

/* --- places --- */

static struct place **bucket_of(const struct journal *j, const struct queue_key *key)
{
	uint64_t h = (key->number * 64 + (uint64_t)key->kind * 8 + key->part) *
		0x9e3779b97f4a7c15ull;

	return &j->buckets[(size_t)(h >> 40) & (j->bucket_count - 1)];
}

static bool same_key(const struct queue_key *a, const struct queue_key *b)
{
	return a->kind == b->kind && a->number == b->number && a->part == b->part;
}

struct place **journal_place_find(const struct journal *j, const struct queue_key *key)
{
	struct place **at = bucket_of(j, key);

	while (*at != NULL && !same_key(&(*at)->key, key))
		at = &(*at)->next;
	return at;
}

static void places_grow(struct journal *j)
{
	size_t         old_count = j->bucket_count;
	struct place **old = j->buckets, **fresh;

	if (j->place_count < old_count || old_count >= BUCKETS_MAX)
		return;
	fresh = calloc(old_count * 2, sizeof(struct place *));
	if (fresh == NULL)
		return; /* longer chains will do */
	j->buckets = fresh;
	j->bucket_count = old_count * 2;
	for (size_t i = 0; i < old_count; i++)
		while (old[i] != NULL) {
			struct place *p = old[i];

			old[i] = p->next;
			p->next = *bucket_of(j, &p->key);
			*bucket_of(j, &p->key) = p;
		}
	free(old);
}

/* The bytes of its record are live (sign 1) or not any more (-1). */
static void count_live(struct journal *j, const struct place *p, int sign)
{
	struct segment *s = segment_find(j, p->segment);
	size_t          size = queue_segment_record_size(p->len);

	j->live += sign > 0 ? size : -(uint64_t)size;
	s->live += sign > 0 ? (uint32_t)size : -(uint32_t)size;
}

void journal_place_remove(struct journal *j, const struct queue_key *key)
{
	struct place **at = journal_place_find(j, key), *p = *at;

	if (p == NULL)
		return;
	*at = p->next;
	count_live(j, p, -1);
	j->place_count--;
	free(p);
}

void journal_place_set(struct journal *j, struct place *fresh)
{
	struct place *old = *journal_place_find(j, &fresh->key);

	if (old != NULL) {
		count_live(j, old, -1);
		old->segment = fresh->segment;
		old->at = fresh->at;
		old->len = fresh->len;
		free(fresh);
		fresh = old;
	} else {
		places_grow(j);
		fresh->next = *bucket_of(j, &fresh->key);
		*bucket_of(j, &fresh->key) = fresh;
		j->place_count++;
	}
	count_live(j, fresh, 1);
}

void journal_places_give_up(struct journal *j, struct segment *s)
{
	s->is_damaged = true;
	for (size_t i = 0; i < j->bucket_count; i++)
		for (struct place **at = &j->buckets[i]; *at != NULL;) {
			if ((*at)->segment == s->number)
				journal_place_remove(j, &(*at)->key);
			else
				at = &(*at)->next;
		}
}

bool journal_places_init(struct journal *j)
{
	j->bucket_count = BUCKETS_MIN;
	j->buckets = calloc(j->bucket_count, sizeof(struct place *));
	return j->buckets != NULL;
}

void journal_places_fini(struct journal *j)
{
	for (size_t i = 0; j->buckets != NULL && i < j->bucket_count; i++)
		while (j->buckets[i] != NULL) {
			struct place *p = j->buckets[i];

			j->buckets[i] = p->next;
			free(p);
		}
	free(j->buckets);
	free(j->segments);
}
