#include "role/shelf.h"

#include <stdlib.h>

#include "base/metrics.h"

enum { FIRST_PIECE_BYTES = 1024 };

/* ---- what is used ---- */

static void show(struct shelf *s)
{
	metrics.gauges[GAUGE_answers_bytes].used = s->used;
	metrics.gauges[GAUGE_answers_bytes].limit = s->max;
	if (s->used > metrics.gauges[GAUGE_answers_bytes].peak)
		metrics.gauges[GAUGE_answers_bytes].peak = s->used;
	metrics.gauges[GAUGE_answers_items].used = s->count;
	if (s->count > metrics.gauges[GAUGE_answers_items].peak)
		metrics.gauges[GAUGE_answers_items].peak = s->count;
}

static void charge(struct shelf_item *i, size_t n)
{
	i->cost += n;
	i->shelf->used += n;
	if (i->is_on)
		i->shelf->used_of[i->kind] += n;
	else
		i->shelf->drafts += n;
}

static void item_free(struct shelf_item *i)
{
	struct shelf *s = i->shelf;

	while (i->first != NULL) {
		struct shelf_piece *next = i->first->next;

		free(i->first);
		i->first = next;
	}
	s->used -= i->cost;
	s->drafts -= i->cost;
	free(i->name);
	free(i);
	show(s);
}

void shelf_drop(struct shelf_item *i)
{
	if (i != NULL && --i->refs == 0)
		item_free(i);
}

struct shelf_item *shelf_hold(struct shelf_item *i)
{
	i->refs++;
	return i;
}

/* ---- the table ---- */

static uint32_t hash_of(const struct shelf *s, struct str name)
{
	uint32_t h = s->seed;

	for (size_t i = 0; i < name.len; i++) {
		h = (h ^ (uint8_t)name.ptr[i]) * 0x01000193u;
		h ^= h >> 15;
	}
	return h;
}

static struct shelf_item **bucket_of(struct shelf *s, uint32_t hash)
{
	return &s->buckets[hash % SHELF_BUCKETS];
}

/* Off the shelf; from now on it counts as a draft, until whoever holds it drops it. */
static void take_off(struct shelf_item *i)
{
	struct shelf       *s = i->shelf;
	struct shelf_item **at = bucket_of(s, i->hash);

	while (*at != i)
		at = &(*at)->next;
	*at = i->next;
	list_remove(&i->link);
	s->used_of[i->kind] -= i->cost;
	s->drafts += i->cost;
	s->count--;
	i->is_on = false;
	shelf_drop(i);
}

static struct shelf_item *find(struct shelf *s, struct str name)
{
	uint32_t           hash = hash_of(s, name);
	struct shelf_item *i = *bucket_of(s, hash);

	while (i != NULL && (i->hash != hash || !str_eq(shelf_name(i), name)))
		i = i->next;
	return i;
}

struct shelf_item *shelf_find(struct shelf *s, struct str name)
{
	struct shelf_item *i = find(s, name);

	if (i != NULL) {
		list_remove(&i->link);
		list_push_front(&s->kinds[i->kind], &i->link);
	}
	return i;
}

size_t shelf_forget(struct shelf *s, struct str name)
{
	struct shelf_item *i = find(s, name);

	if (i == NULL)
		return 0;
	take_off(i);
	show(s);
	return 1;
}

size_t shelf_forget_all(struct shelf *s, enum snapshot_kind kind, struct str prefix)
{
	struct link *next;
	size_t       n = 0;

	for (struct link *l = s->kinds[kind].next; l != &s->kinds[kind]; l = next) {
		struct shelf_item *i = LIST_ENTRY(l, struct shelf_item, link);

		next = l->next;
		if (!str_starts(shelf_name(i), prefix))
			continue;
		take_off(i);
		n++;
	}
	show(s);
	return n;
}

/* ---- room ---- */

/* What was unused longest and would give room: nobody is being given it. NULL: there is none. */
static struct shelf_item *oldest(const struct shelf *s, enum snapshot_kind kind)
{
	for (struct link *l = s->kinds[kind].prev; l != &s->kinds[kind]; l = l->prev) {
		struct shelf_item *i = LIST_ENTRY(l, struct shelf_item, link);

		if (i->refs == 1)
			return i;
	}
	return NULL;
}

static bool give_way(struct shelf *s, enum snapshot_kind kind)
{
	struct shelf_item *i = oldest(s, kind);

	if (i == NULL)
		return false;
	count(COUNT_answers_dropped);
	take_off(i);
	return true;
}

/* The last kind of which there is anything; foundations stay. */
static bool give_way_any(struct shelf *s)
{
	for (unsigned k = SNAPSHOT_NONE; k-- > SNAPSHOT_RECORD;)
		if (give_way(s, (enum snapshot_kind)k))
			return true;
	return false;
}

static bool make_room(struct shelf *s, size_t n)
{
	while (s->used + n > s->max)
		if (!give_way_any(s))
			return false;
	return true;
}

static void keep_shares(struct shelf *s)
{
	while (s->used_of[SNAPSHOT_PASSING] > s->max / 8 && give_way(s, SNAPSHOT_PASSING))
		;
	while (s->used_of[SNAPSHOT_RECORD] + s->used_of[SNAPSHOT_DEVICES] > s->max / 2 &&
	       (give_way(s,
	                 s->used_of[SNAPSHOT_RECORD] > s->used_of[SNAPSHOT_DEVICES]
	                         ? SNAPSHOT_RECORD
	                         : SNAPSHOT_DEVICES)))
		;
}

/* Of one item: a quarter of all, so that a few large ones do not drive out everything. */
static size_t item_max(const struct shelf *s, enum snapshot_kind kind)
{
	size_t most = snapshot_bytes_max(kind);

	return most < s->max / 4 ? most : s->max / 4;
}

/* ---- drafts ---- */

static bool may_grow(struct shelf_item *i, size_t n)
{
	struct shelf *s = i->shelf;

	return s->drafts + n <= s->max / 2 && make_room(s, n);
}

struct shelf_item *shelf_begin(struct shelf *s, enum snapshot_kind kind, struct str name,
                               struct str fields, size_t expected)
{
	struct shelf_item *i;

	if (expected > item_max(s, kind))
		return NULL;
	i = calloc(1, sizeof(*i));
	if (i == NULL)
		return NULL;
	i->shelf = s;
	i->refs = 1;
	i->kind = kind;
	i->hash = hash_of(s, name);
	i->expected = expected;
	list_init(&i->link);
	i->name_len = name.len;
	i->fields_len = fields.len;
	i->name = may_grow(i, sizeof(*i) + name.len + fields.len)
		? malloc(name.len + fields.len + 1)
		: NULL;
	if (i->name == NULL) {
		free(i);
		return NULL;
	}
	memcpy(i->name, name.ptr, name.len);
	if (fields.len > 0)
		memcpy(i->name + name.len, fields.ptr, fields.len);
	charge(i, sizeof(*i) + name.len + fields.len);
	show(s);
	return i;
}

static size_t next_size(const struct shelf_item *i)
{
	size_t size = i->last == NULL ? FIRST_PIECE_BYTES : 2 * i->last->size;

	if (i->expected > i->body_len)
		size = i->expected - i->body_len;
	return size < SHELF_PIECE_BYTES ? size : SHELF_PIECE_BYTES;
}

static bool add_piece(struct shelf_item *i)
{
	size_t              size = next_size(i), cost = sizeof(struct shelf_piece) + size;
	struct shelf_piece *p = may_grow(i, cost) ? malloc(cost) : NULL;

	if (p == NULL)
		return false;
	*p = (struct shelf_piece){ .size = size };
	if (i->last == NULL)
		i->first = p;
	else
		i->last->next = p;
	i->last = p;
	charge(i, cost);
	return true;
}

bool shelf_add(struct shelf_item *i, struct str bytes)
{
	size_t max = item_max(i->shelf, i->kind);

	if (i->body_len > max || bytes.len > max - i->body_len)
		return false;
	while (bytes.len > 0) {
		size_t n;

		if ((i->last == NULL || i->last->len == i->last->size) && !add_piece(i))
			return false;
		n = i->last->size - i->last->len;
		n = n < bytes.len ? n : bytes.len;
		memcpy(i->last->bytes + i->last->len, bytes.ptr, n);
		i->last->len += n;
		i->body_len += n;
		bytes = str_from(bytes, n);
	}
	show(i->shelf);
	return true;
}

void shelf_put(struct shelf_item *i)
{
	struct shelf       *s = i->shelf;
	struct shelf_item  *old = find(s, shelf_name(i));
	struct shelf_item **at = bucket_of(s, i->hash);

	if (old != NULL)
		take_off(old);
	i->next = *at;
	*at = i;
	list_push_front(&s->kinds[i->kind], &i->link);
	s->drafts -= i->cost;
	s->used_of[i->kind] += i->cost;
	s->count++;
	i->is_on = true;
	keep_shares(s);
	show(s);
}

/* ---- contents ---- */

bool shelf_copy_body(const struct shelf_item *i, char **out)
{
	char *to = malloc(i->body_len + 1);

	*out = to;
	if (to == NULL)
		return false;
	for (const struct shelf_piece *p = i->first; p != NULL; p = p->next) {
		memcpy(to, p->bytes, p->len);
		to += p->len;
	}
	return true;
}

/* The next line with its end, taken off. */
static struct str take_line(struct str *rest)
{
	size_t     end = str_find(*rest, '\n');
	struct str line = str_head(*rest, end + 1);

	*rest = str_from(*rest, end + 1);
	return line;
}

static bool is_of_the_moment(struct str line)
{
	return str_ieq(str_head(line, 5), STRL("Date:")) ||
		str_ieq(str_head(line, 8), STRL("Expires:"));
}

static struct str take_lasting_line(struct str *rest)
{
	struct str line = take_line(rest);

	while (line.len > 0 && is_of_the_moment(line))
		line = take_line(rest);
	return line;
}

static bool same_fields(struct str a, struct str b)
{
	struct str la, lb;

	do {
		la = take_lasting_line(&a);
		lb = take_lasting_line(&b);
	} while (la.len > 0 && str_eq(la, lb));
	return la.len == 0 && lb.len == 0;
}

static bool same_body(const struct shelf_item *a, const struct shelf_item *b)
{
	const struct shelf_piece *pa = a->first, *pb = b->first;
	size_t                    at_a = 0, at_b = 0;

	if (a->body_len != b->body_len)
		return false;
	while (pa != NULL && pb != NULL) {
		size_t left_a = pa->len - at_a, left_b = pb->len - at_b;
		size_t n = left_a < left_b ? left_a : left_b;

		if (memcmp(pa->bytes + at_a, pb->bytes + at_b, n) != 0)
			return false;
		at_a = n == left_a ? 0 : at_a + n;
		at_b = n == left_b ? 0 : at_b + n;
		pa = n == left_a ? pa->next : pa;
		pb = n == left_b ? pb->next : pb;
	}
	return true;
}

bool shelf_same(const struct shelf_item *a, const struct shelf_item *b)
{
	return same_fields(shelf_fields(a), shelf_fields(b)) && same_body(a, b);
}

/* ---- the whole ---- */

void shelf_init(struct shelf *s, size_t max, uint32_t seed)
{
	*s = (struct shelf){ .max = max, .seed = seed };
	for (unsigned k = 0; k < SNAPSHOT_NONE; k++)
		list_init(&s->kinds[k]);
	show(s);
}

void shelf_set_max(struct shelf *s, size_t max)
{
	s->max = max;
	(void)make_room(s, 0);
	keep_shares(s);
	show(s);
}

void shelf_fini(struct shelf *s)
{
	for (unsigned k = 0; k < SNAPSHOT_NONE; k++)
		while (!list_empty(&s->kinds[k]))
			take_off(LIST_ENTRY(s->kinds[k].next, struct shelf_item, link));
	check(s->used == 0);
	show(s);
}
