#include <string.h>

#include "store/queue_inside.h"

void queue_info_of(const struct queue_entry *en, struct queue_info *out)
{
	static const enum queue_state states[] = {
		[ENTRY_WAITING] = QUEUE_WAITING,
		[ENTRY_IN_HAND] = QUEUE_IN_HAND,
		[ENTRY_PARKED] = QUEUE_PARKED,
	};

	*out = (struct queue_info){
		.sequence = en->sequence,
		.state = states[en->state],
		.server_name = queue_lane_name(en->lane),
		.origin = queue_lane_origin(en->lane),
		.at_unix_ms = en->at_unix_ms,
		.bytes = queue_entry_bytes(en),
		.tries = en->tries,
		.first_try_unix_ms = en->first_try_unix_ms,
		.reason = en->reason == NULL ? STRL("") : str_of(en->reason),
	};
}

bool queue_lane_waiting(const struct queue *q, struct str server_name, struct str origin)
{
	const struct queue_lane *lane = queue_lane_find(&q->store.index, server_name, origin);

	return lane != NULL && (lane->pending > 0 || lane->waiting > 0);
}

static void lane_info(const struct queue_lane *lane, struct queue_lane_info *out)
{
	const struct queue_entry *first = queue_lane_first(lane);

	*out = (struct queue_lane_info){
		.server_name = queue_lane_name(lane),
		.origin = queue_lane_origin(lane),
		.items = lane->waiting,
		.bytes = lane->bytes,
		.oldest_unix_ms = first->at_unix_ms,
		.tries = first->tries,
		.in_hand = first->state == ENTRY_IN_HAND || first->settling,
		.sequence = first->sequence,
	};
}

/* Puts a lane where it belongs among the oldest so far. */
static size_t lane_insert(struct queue_lane_info *out, size_t count, size_t max,
                          const struct queue_lane *lane)
{
	uint64_t sequence = queue_lane_first(lane)->sequence;
	size_t   at = count;

	while (at > 0 && out[at - 1].sequence > sequence)
		at--;
	if (at == max)
		return count;
	count += count < max;
	memmove(out + at + 1, out + at, (count - at - 1) * sizeof(*out));
	lane_info(lane, &out[at]);
	return count;
}

size_t queue_lanes(const struct queue *q, uint64_t after, struct queue_lane_info *out, size_t max)
{
	const struct link *lanes = &q->store.index.lanes;
	size_t             count = 0;

	for (struct link *l = lanes->next; l != lanes; l = l->next) {
		struct queue_lane *lane = LIST_ENTRY(l, struct queue_lane, all);

		if (lane->waiting > 0 && queue_lane_first(lane)->sequence > after)
			count = lane_insert(out, count, max, lane);
	}
	return count;
}

size_t queue_list(const struct queue *q, uint64_t after, bool parked_only, struct queue_info *out,
                  size_t max)
{
	const struct link *items = &q->store.index.items;
	size_t             count = 0;

	for (struct link *l = items->next; l != items && count < max; l = l->next) {
		struct queue_entry *en = LIST_ENTRY(l, struct queue_entry, all);

		if (en->sequence > after && (!parked_only || en->state == ENTRY_PARKED))
			queue_info_of(en, &out[count++]);
	}
	return count;
}

enum err queue_find(const struct queue *q, uint64_t sequence, struct queue_info *out)
{
	struct queue_entry *en = queue_index_find(&q->store.index, sequence);

	if (en == NULL || en->state == ENTRY_SEEN)
		return ERR_NOT_FOUND;
	queue_info_of(en, out);
	return ERR_OK;
}

void queue_counts(const struct queue *q, struct queue_counts *out)
{
	*out = q->counts;
	out->waiting = q->store.index.waiting_count;
	out->parked = q->store.index.parked_count;
	out->seen = q->store.index.seen_count;
	out->bytes = q->store.index.charged_bytes;
	out->bytes_max = q->o.bytes_max;
}

const char *queue_kind_name(const struct queue *q)
{
	return q->store.backend->ops->name;
}

bool queue_is_in(const struct queue *q, const char *state_dir)
{
	size_t len = strlen(state_dir);

	return strncmp(q->store.path, state_dir, len) == 0 &&
		strcmp(q->store.path + len, "/queue") == 0;
}
