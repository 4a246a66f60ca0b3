#include "app/words.h"

#include <inttypes.h>
#include <stdio.h>

static const struct {
	msec        ms;
	const char *name;
} units[] = {
	{ DAY_MS, "day" },
	{ HOUR_MS, "hour" },
	{ MINUTE_MS, "minute" },
	{ SECOND_MS, "second" },
};

enum { UNIT_COUNT = sizeof(units) / sizeof(units[0]) };

const char *words_count(uint64_t n, const char *what, char out[WORDS_SIZE])
{
	snprintf(out, WORDS_SIZE, "%" PRIu64 " %.10s%s", n, what, n == 1 ? "" : "s");
	return out;
}

/* The second unit is left out where it is nothing, and behind "many" of the first. */
const char *words_duration(msec ms, char out[WORDS_SIZE])
{
	char   more[WORDS_SIZE];
	size_t i = 0;
	int    n;

	while (i < UNIT_COUNT && ms < units[i].ms)
		i++;
	if (i == UNIT_COUNT) {
		snprintf(out, WORDS_SIZE, "under a second");
		return out;
	}
	words_count(ms / units[i].ms, units[i].name, out);
	if (i + 1 == UNIT_COUNT || ms / units[i].ms >= 10 || ms % units[i].ms < units[i + 1].ms)
		return out;
	words_count(ms % units[i].ms / units[i + 1].ms, units[i + 1].name, more);
	for (n = 0; out[n] != '\0';)
		n++;
	snprintf(out + n, WORDS_SIZE - (size_t)n, " %s", more);
	return out;
}

const char *words_bytes(uint64_t bytes, char out[WORDS_SIZE])
{
	static const char *const names[] = { "B", "KiB", "MiB", "GiB", "TiB" };
	uint64_t                 whole = bytes, rest = 0;
	size_t                   i = 0;

	while (whole >= 1024 && i + 1 < sizeof(names) / sizeof(names[0])) {
		rest = whole % 1024;
		whole /= 1024;
		i++;
	}
	if (whole < 10 && i > 0)
		snprintf(out, WORDS_SIZE, "%" PRIu64 ".%" PRIu64 " %s", whole, rest * 10 / 1024,
		         names[i]);
	else
		snprintf(out, WORDS_SIZE, "%" PRIu64 " %s", whole, names[i]);
	return out;
}
