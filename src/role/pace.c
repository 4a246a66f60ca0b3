#include "role/pace.h"

#include <stdlib.h>

enum { MS_US = 1000, SECOND_US = 1000 * 1000 };

enum err pace_init(struct pace *p, size_t places)
{
	*p = (struct pace){ .rows = (places + PACE_ROW - 1) / PACE_ROW };
	p->rows = p->rows == 0 ? 1 : p->rows;
	p->places = calloc(p->rows * PACE_ROW, sizeof(*p->places));
	return p->places == NULL ? ERR_NOMEM : ERR_OK;
}

void pace_fini(struct pace *p)
{
	free(p->places);
	*p = (struct pace){ 0 };
}

static struct pace_place *find(const struct pace *p, uint64_t key)
{
	struct pace_place *row = &p->places[key % p->rows * PACE_ROW];

	for (size_t i = 0; i < PACE_ROW; i++)
		if (row[i].at_us != 0 && row[i].key == key)
			return &row[i];
	return NULL;
}

/* Its place, or another one's: free, or the earliest. */
static struct pace_place *place_for(struct pace *p, uint64_t key)
{
	struct pace_place *row = &p->places[key % p->rows * PACE_ROW], *found = find(p, key);

	if (found != NULL)
		return found;
	found = row;
	for (size_t i = 1; i < PACE_ROW; i++)
		if (row[i].at_us < found->at_us)
			found = &row[i];
	*found = (struct pace_place){ .key = key };
	return found;
}

msec pace_take(struct pace *p, uint64_t key, msec now, unsigned rate, unsigned burst,
               msec patience_ms)
{
	const struct pace_place *found = find(p, key);
	uint64_t                 now_us = now * MS_US, at_us = found == NULL ? 0 : found->at_us;
	uint64_t                 interval_us = SECOND_US / rate, slack_us;
	msec                     wait_ms = 0;

	interval_us = interval_us == 0 ? 1 : interval_us;
	slack_us = interval_us * (burst - 1);
	if (at_us < now_us)
		at_us = now_us;
	if (at_us - now_us > slack_us)
		wait_ms = (at_us - now_us - slack_us + MS_US - 1) / MS_US;
	if (wait_ms > patience_ms)
		return MS_NEVER;
	place_for(p, key)->at_us = at_us + interval_us;
	return wait_ms;
}

void pace_until(struct pace *p, uint64_t key, msec until_at)
{
	place_for(p, key)->at_us = until_at * MS_US;
}

bool pace_is_until(const struct pace *p, uint64_t key, msec now)
{
	const struct pace_place *found = find(p, key);

	return found != NULL && now * MS_US < found->at_us;
}
