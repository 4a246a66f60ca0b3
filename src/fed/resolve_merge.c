#include "fed/resolve.h"

static bool has_records(const struct resolve_answer *a)
{
	return a->outcome == RESOLVE_FOUND && a->count > 0;
}

static size_t alternate(const struct resolve_answer *first, const struct resolve_answer *second,
                        struct address *room)
{
	size_t n = 0;

	for (size_t i = 0; i < RESOLVE_PER_NAME_MAX; i++) {
		if (i < first->count)
			room[n++] = first->addresses[i];
		if (i < second->count)
			room[n++] = second->addresses[i];
	}
	return n;
}

static struct resolve_answer merge_absence(const struct resolve_answer *a,
                                           const struct resolve_answer *b)
{
	struct resolve_answer out = { .outcome = RESOLVE_NO_DATA };

	out.ttl_s = a->ttl_s < b->ttl_s ? a->ttl_s : b->ttl_s;
	if (a->outcome == RESOLVE_NO_NAME || b->outcome == RESOLVE_NO_NAME) {
		/* the name as a whole does not exist, whichever question told */
		out.outcome = RESOLVE_NO_NAME;
		out.ttl_s = a->outcome == RESOLVE_NO_NAME ? a->ttl_s : b->ttl_s;
	}
	return out;
}

void resolve_merge(const struct resolve_answer *a, const struct resolve_answer *aaaa,
                   struct address *room, struct resolve_answer *out)
{
	bool has_a = has_records(a), has_aaaa = has_records(aaaa);
	bool no_name = a->outcome == RESOLVE_NO_NAME || aaaa->outcome == RESOLVE_NO_NAME;

	if (has_a && has_aaaa) {
		*out = *aaaa;
		out->count = alternate(aaaa, a, room);
		out->addresses = room;
		out->ttl_s = a->ttl_s < aaaa->ttl_s ? a->ttl_s : aaaa->ttl_s;
	} else if (has_a || has_aaaa) {
		*out = has_a ? *a : *aaaa;
		out->partial = (has_a ? aaaa : a)->outcome == RESOLVE_ERROR;
	} else if (!no_name && (a->outcome == RESOLVE_ERROR || aaaa->outcome == RESOLVE_ERROR)) {
		*out = a->outcome == RESOLVE_ERROR ? *a : *aaaa;
	} else {
		*out = merge_absence(a, aaaa);
	}
}
