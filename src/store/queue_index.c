#include "store/queue_index.h"

#include <stdlib.h>

enum { BUCKETS_MIN = 64, BUCKETS_MAX = 1 << 16 };

enum err queue_index_init(struct queue_index *x, size_t entries, uint32_t seed)
{
	*x = (struct queue_index){ .buckets = BUCKETS_MIN, .seed = seed };
	list_init(&x->lanes);
	list_init(&x->items);
	list_init(&x->seen);
	while (x->buckets < entries / 4 && x->buckets < BUCKETS_MAX)
		x->buckets *= 2;
	x->by_sequence = calloc(x->buckets, sizeof(*x->by_sequence));
	x->by_id = calloc(x->buckets, sizeof(*x->by_id));
	x->by_name = calloc(x->buckets, sizeof(*x->by_name));
	return x->by_sequence == NULL || x->by_id == NULL || x->by_name == NULL ? ERR_NOMEM
										: ERR_OK;
}

static void remove_all(struct queue_index *x, struct link *list)
{
	while (!list_empty(list))
		queue_index_remove(x, LIST_ENTRY(list->next, struct queue_entry, all));
}

void queue_index_fini(struct queue_index *x)
{
	if (x->by_sequence == NULL || x->by_id == NULL || x->by_name == NULL) {
		/* was not finished: nothing is in it */
	} else {
		remove_all(x, &x->items);
		remove_all(x, &x->seen);
	}
	free(x->by_sequence);
	free(x->by_id);
	free(x->by_name);
	x->by_sequence = x->by_id = NULL;
	x->by_name = NULL;
}

/* --- buckets --- */

/* Peers choose names and ids: the seed keeps them from choosing buckets. */
static uint32_t hash_bytes(const struct queue_index *x, uint32_t h, const void *bytes, size_t n)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < n; i++) {
		h = (h ^ at[i]) * 0x01000193u;
		h ^= h >> 15;
	}
	return h ^ x->seed;
}

static struct queue_lane **lane_bucket(const struct queue_index *x, struct str name,
                                       struct str origin)
{
	uint32_t h = hash_bytes(x, x->seed, name.ptr, name.len);

	return &x->by_name[hash_bytes(x, h, origin.ptr, origin.len) & (x->buckets - 1)];
}

static struct queue_entry **id_bucket(const struct queue_index *x, const struct queue_mark *id)
{
	return &x->by_id[hash_bytes(x, x->seed, id->bytes, sizeof(id->bytes)) & (x->buckets - 1)];
}

static struct queue_entry **sequence_bucket(const struct queue_index *x, uint64_t sequence)
{
	return &x->by_sequence[sequence & (x->buckets - 1)];
}

/* --- lanes --- */

struct queue_lane *queue_lane_find(const struct queue_index *x, struct str name, struct str origin)
{
	struct queue_lane *lane = *lane_bucket(x, name, origin);

	while (lane != NULL &&
	       !(str_eq(queue_lane_name(lane), name) && str_eq(queue_lane_origin(lane), origin)))
		lane = lane->next;
	return lane;
}

static struct queue_lane *lane_new(struct queue_index *x, struct str name, struct str origin)
{
	struct queue_lane **bucket = lane_bucket(x, name, origin);
	struct queue_lane  *lane = malloc(sizeof(*lane) + name.len + origin.len);

	if (lane == NULL)
		return NULL;
	*lane = (struct queue_lane){ .next = *bucket,
		                     .name_len = (uint8_t)name.len,
		                     .origin_len = (uint8_t)origin.len };
	memcpy(lane->names, name.ptr, name.len);
	memcpy(lane->names + name.len, origin.ptr, origin.len);
	list_init(&lane->line);
	list_push_back(&x->lanes, &lane->all);
	*bucket = lane;
	return lane;
}

struct queue_lane *queue_lane_hold(struct queue_index *x, struct str name, struct str origin)
{
	struct queue_lane *lane = queue_lane_find(x, name, origin);

	if (lane == NULL)
		lane = lane_new(x, name, origin);
	if (lane != NULL)
		lane->users++;
	return lane;
}

void queue_lane_drop(struct queue_index *x, struct queue_lane *lane)
{
	struct queue_lane **at = lane_bucket(x, queue_lane_name(lane), queue_lane_origin(lane));

	if (--lane->users > 0)
		return;
	while (*at != lane)
		at = &(*at)->next;
	*at = lane->next;
	list_remove(&lane->all);
	free(lane);
}

struct queue_entry *queue_lane_first(const struct queue_lane *lane)
{
	if (list_empty(&lane->line))
		return NULL;
	return LIST_ENTRY(lane->line.next, struct queue_entry, place);
}

/* --- quotas --- */

void queue_index_charge(struct queue_index *x, struct queue_lane *lane, uint64_t bytes)
{
	x->charged_items++;
	x->charged_bytes += bytes;
	lane->items++;
	lane->bytes += bytes;
}

void queue_index_uncharge(struct queue_index *x, struct queue_lane *lane, uint64_t bytes)
{
	x->charged_items--;
	x->charged_bytes -= bytes;
	lane->items--;
	lane->bytes -= bytes;
}

/* --- entries --- */

static bool is_in_line(const struct queue_entry *en)
{
	return en->state == ENTRY_WAITING || en->state == ENTRY_IN_HAND;
}

static void count(struct queue_index *x, const struct queue_entry *en, int sign)
{
	size_t one = (size_t)sign;

	if (is_in_line(en)) {
		en->lane->waiting += one;
		x->waiting_count += one;
	} else if (en->state == ENTRY_PARKED) {
		x->parked_count += one;
	} else {
		x->seen_count += one;
	}
}

/* Lists are in order; what is new belongs to the end, nearly always. */
static void place_in_line(struct queue_entry *en)
{
	struct link *before = en->lane->line.prev;

	while (before != &en->lane->line &&
	       LIST_ENTRY(before, struct queue_entry, place)->sequence > en->sequence)
		before = before->prev;
	list_push_front(before, &en->place);
}

static void place_in_items(struct queue_index *x, struct queue_entry *en)
{
	struct link *before = x->items.prev;

	while (before != &x->items &&
	       LIST_ENTRY(before, struct queue_entry, all)->sequence > en->sequence)
		before = before->prev;
	list_push_front(before, &en->all);
}

static void link_in(struct queue_index *x, struct queue_entry *en)
{
	list_init(&en->place);
	if (is_in_line(en))
		place_in_line(en);
	if (en->state == ENTRY_SEEN)
		list_push_back(&x->seen, &en->all);
	else
		place_in_items(x, en);
	count(x, en, 1);
}

void queue_index_add(struct queue_index *x, struct queue_entry *en)
{
	struct queue_entry **by_id = id_bucket(x, &en->id_mark);
	struct queue_entry **by_sequence = sequence_bucket(x, en->sequence);

	en->next_by_id = *by_id;
	*by_id = en;
	en->next_by_sequence = *by_sequence;
	*by_sequence = en;
	link_in(x, en);
}

void queue_index_remove(struct queue_index *x, struct queue_entry *en)
{
	struct queue_entry **at = id_bucket(x, &en->id_mark);

	while (*at != en)
		at = &(*at)->next_by_id;
	*at = en->next_by_id;
	at = sequence_bucket(x, en->sequence);
	while (*at != en)
		at = &(*at)->next_by_sequence;
	*at = en->next_by_sequence;
	count(x, en, -1);
	list_remove(&en->place);
	list_remove(&en->all);
	queue_lane_drop(x, en->lane);
	free(en->reason);
	free(en);
}

void queue_index_move(struct queue_index *x, struct queue_entry *en, enum queue_entry_state to)
{
	if (to == ENTRY_SEEN && en->state != ENTRY_SEEN)
		queue_index_uncharge(x, en->lane, queue_entry_bytes(en));
	count(x, en, -1);
	list_remove(&en->place);
	list_remove(&en->all);
	en->state = to;
	link_in(x, en);
}

struct queue_entry *queue_index_find(const struct queue_index *x, uint64_t sequence)
{
	struct queue_entry *en = *sequence_bucket(x, sequence);

	while (en != NULL && en->sequence != sequence)
		en = en->next_by_sequence;
	return en;
}

struct queue_entry *queue_index_next_same(const struct queue_index *x,
                                          const struct queue_lane  *lane,
                                          const struct queue_mark  *id,
                                          const struct queue_entry *after)
{
	struct queue_entry *en = after == NULL ? *id_bucket(x, id) : after->next_by_id;

	while (en != NULL &&
	       !(en->lane == lane && memcmp(en->id_mark.bytes, id->bytes, sizeof(id->bytes)) == 0))
		en = en->next_by_id;
	return en;
}
