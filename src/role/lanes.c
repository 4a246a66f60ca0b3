#include "role/lanes.h"

void lanes_init(struct lanes *l)
{
	list_init(&l->live);
}

bool lanes_is_live(const struct lanes *l, struct str server_name, struct str origin)
{
	for (struct link *at = l->live.next; at != &l->live; at = at->next) {
		const struct lane *lane = LIST_ENTRY(at, struct lane, link);

		if (str_eq(lane->origin, origin) && str_eq(lane->server_name, server_name))
			return true;
	}
	return false;
}

void lane_init(struct lane *lane)
{
	list_init(&lane->link);
}

bool lane_take(struct lanes *l, struct lane *lane, struct str server_name, struct str origin)
{
	if (lanes_is_live(l, server_name, origin))
		return false;
	lane->server_name = server_name;
	lane->origin = origin;
	list_push_back(&l->live, &lane->link);
	return true;
}

void lane_leave(struct lane *lane)
{
	list_remove(&lane->link);
}
