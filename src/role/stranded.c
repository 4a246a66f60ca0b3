#include "role/stranded.h"

enum { LANES_AT_ONCE = 64 };

const char *stranded_why(const struct settings *s, struct str server_name)
{
	const struct domain_settings *d = settings_domain(s, server_name);

	if (d == NULL)
		return "is not among the domains of the configuration";
	if (d->homeserver == NULL)
		return "has no homeserver in the configuration";
	return d->homeserver->sleeps ? NULL : "has a homeserver with option sleeps '0'";
}

static void stranded_add(const struct settings *s, const struct queue_lane_info *lane,
                         struct stranded *out)
{
	const char *why = stranded_why(s, lane->server_name);

	if (why == NULL)
		return;
	if (out->items == 0) {
		out->why = why;
		(void)str_copy(lane->server_name, out->server_name, sizeof(out->server_name));
	}
	out->items += lane->items;
}

void stranded_look(const struct queue *q, const struct settings *s, struct stranded *out)
{
	struct queue_lane_info lanes[LANES_AT_ONCE];
	uint64_t               after = 0;
	size_t                 n;

	*out = (struct stranded){ .items = 0 };
	do {
		n = queue_lanes(q, after, lanes, LANES_AT_ONCE);
		for (size_t i = 0; i < n; i++)
			stranded_add(s, &lanes[i], out);
		after = n > 0 ? lanes[n - 1].sequence : 0;
	} while (n == LANES_AT_ONCE);
}
