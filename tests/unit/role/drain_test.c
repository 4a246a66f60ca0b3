#include "role/drain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* Source: what Synapse, Dendrite and the Conduit family answer to a transaction, see drain.h. */
static const struct row {
	int                status; /* 0: no answer */
	uint32_t           tries;
	msec               tried_ms;
	enum queue_verdict want;
} rows[] = {
	{ 200, 0, 0, QUEUE_DELIVERED },
	{ 204, 50, 30 * DAY_MS, QUEUE_DELIVERED },
	/* trouble of its own: again, and only with 5xx, often and for long, aside */
	{ 0, 0, 0, QUEUE_RETRY },
	{ 0, 1000, 30 * DAY_MS, QUEUE_RETRY },
	{ 408, 1000, 30 * DAY_MS, QUEUE_RETRY },
	{ 429, 1000, 30 * DAY_MS, QUEUE_RETRY },
	{ 500, 0, 0, QUEUE_RETRY },
	{ 500, 8, 30 * DAY_MS, QUEUE_RETRY },
	{ 500, 9, HOUR_MS - 1, QUEUE_RETRY },
	{ 500, 9, HOUR_MS, QUEUE_PARK },
	{ 503, 9, HOUR_MS, QUEUE_PARK },
	/* the origin's keys may come back */
	{ 401, 0, 0, QUEUE_RETRY },
	{ 401, 1000, 6 * HOUR_MS - 1, QUEUE_RETRY },
	{ 401, 0, 6 * HOUR_MS, QUEUE_PARK },
	/* refused */
	{ 400, 0, 0, QUEUE_PARK },
	{ 403, 0, 0, QUEUE_PARK },
	{ 404, 0, 0, QUEUE_PARK },
	{ 413, 0, 0, QUEUE_PARK },
	{ 302, 0, 0, QUEUE_PARK },
};

static void test_verdict(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row  *r = &rows[i];
		const char        *reason = NULL;
		enum queue_verdict got = drain_verdict(r->status, r->tries, r->tried_ms, &reason);

		if (got != r->want)
			print_error("row %zu: %d after %u tries\n", i, r->status,
			            (unsigned)r->tries);
		assert_int_equal(got, r->want);
		assert_non_null(reason);
		assert_int_equal(reason[0] == '\0', got == QUEUE_DELIVERED);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_verdict) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
