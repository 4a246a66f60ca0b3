#include "fed/srv_order.h"

/* Moves ranks[from] to place to (to <= from), the others keep their order. */
static void move_forward(struct srv_rank *ranks, size_t from, size_t to)
{
	struct srv_rank r = ranks[from];

	for (; from > to; from--)
		ranks[from] = ranks[from - 1];
	ranks[to] = r;
}

static void sort_by_priority(struct srv_rank *ranks, size_t count)
{
	for (size_t i = 1; i < count; i++) {
		size_t to = i;

		while (to > 0 && ranks[to - 1].priority > ranks[i].priority)
			to--;
		move_forward(ranks, i, to);
	}
}

static uint32_t weight_sum(const struct srv_rank *ranks, size_t count)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < count; i++)
		sum += ranks[i].weight;
	return sum;
}

/* One of ranks[0..count): by weight, or evenly when no weight is left. */
static size_t pick(const struct srv_rank *ranks, size_t count, const struct resolution_random *rnd)
{
	uint32_t sum = weight_sum(ranks, count), drawn;

	if (sum == 0)
		return rnd->draw(rnd->arg, (uint32_t)count);
	drawn = rnd->draw(rnd->arg, sum);
	for (size_t i = 0; i < count; i++) {
		if (drawn < ranks[i].weight)
			return i;
		drawn -= ranks[i].weight;
	}
	return 0;
}

static void shuffle(struct srv_rank *ranks, size_t count, const struct resolution_random *rnd)
{
	for (size_t at = 0; at + 1 < count; at++)
		move_forward(ranks, at + pick(ranks + at, count - at, rnd), at);
}

void srv_order(struct srv_rank *ranks, size_t count, const struct resolution_random *rnd)
{
	size_t end;

	sort_by_priority(ranks, count);
	for (size_t from = 0; from < count; from = end) {
		for (end = from + 1; end < count && ranks[end].priority == ranks[from].priority;)
			end++;
		shuffle(ranks + from, end - from, rnd);
	}
}
