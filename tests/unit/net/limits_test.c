/*
 * Places and those who wait for one.
 */
#include "unit/loop/harness.h"

#include <string.h>

#include "net/limits.h"

enum { WAITERS = 4 };

static struct limit      limit;
static struct limit_wait w[WAITERS];
static int               told[WAITERS], order[WAITERS], tolds;

static void on_granted(void *arg)
{
	int i = (int)((struct limit_wait *)arg - w);

	told[i]++;
	order[tolds++] = i;
}

static int setup(void **state)
{
	memset(told, 0, sizeof(told));
	tolds = 0;
	if (harness_setup(state) != 0)
		return 1;
	limit_init(&limit, GAUGE_verify_jobs_open, 1);
	for (size_t i = 0; i < WAITERS; i++)
		limit_wait_init(&w[i], the_loop, on_granted, &w[i]);
	return 0;
}

static int teardown(void **state)
{
	assert_int_equal(limit.used, 0);
	assert_true(list_empty(&limit.waiting));
	assert_int_equal(metrics.gauges[GAUGE_verify_jobs_open].used, 0);
	assert_int_equal(metrics.gauges[GAUGE_waiting_requests].used, 0);
	return harness_teardown(state);
}

/* The first has a place, the others wait. */
static void all_enter(void)
{
	assert_true(limit_enter(&limit, &w[0]));
	for (size_t i = 1; i < WAITERS; i++)
		assert_false(limit_enter(&limit, &w[i]));
	assert_int_equal(metrics.gauges[GAUGE_waiting_requests].used, WAITERS - 1);
}

static void leave(void)
{
	limit_leave(&limit);
	harness_run_for(0);
}

static void first_come_first_served(void **state)
{
	(void)state;
	all_enter();
	limit_leave(&limit);
	assert_int_equal(tolds, 0); /* from the loop only */
	assert_int_equal(limit.used, 1);
	harness_run_for(0);
	leave();
	leave();
	assert_int_equal(tolds, 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(order[i], i + 1);
	leave();
	assert_true(limit_enter(&limit, &w[2])); /* again */
	leave();
}

static void who_gives_up_gets_no_place(void **state)
{
	(void)state;
	all_enter();
	limit_wait_cancel(&w[2]); /* while it waits */
	limit_leave(&limit);      /* a place for 1, */
	limit_wait_cancel(&w[1]); /* which goes before it hears of it */
	assert_int_equal(limit.used, 1);
	harness_run_for(0);
	assert_int_equal(tolds, 1);
	assert_int_equal(order[0], 3);
	limit_wait_cancel(&w[1]);
	limit_wait_cancel(&w[2]);
	limit_wait_cancel(&w[3]); /* has a place and keeps it */
	assert_int_equal(limit.used, 1);
	leave();
}

static void another_maximum(void **state)
{
	(void)state;
	all_enter();
	limit_set_max(&limit, 3);
	assert_int_equal(metrics.gauges[GAUGE_verify_jobs_open].limit, 3);
	harness_run_for(0);
	assert_int_equal(tolds, 2);
	limit_set_max(&limit, 1); /* takes nothing away */
	assert_int_equal(limit.used, 3);
	leave();
	leave();
	assert_int_equal(tolds, 2);
	leave();
	assert_int_equal(tolds, 3);
	leave();
}

/* Who comes while others wait waits behind them, even when there is a place for a moment. */
static void nobody_overtakes(void **state)
{
	(void)state;
	assert_true(limit_enter(&limit, &w[0]));
	assert_false(limit_enter(&limit, &w[1]));
	limit_leave(&limit);
	assert_false(limit_enter(&limit, &w[2]));
	harness_run_for(0);
	assert_int_equal(told[1], 1);
	assert_int_equal(told[2], 0);
	leave();
	leave();
	assert_int_equal(told[2], 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(first_come_first_served),
		T(who_gives_up_gets_no_place),
		T(another_maximum),
		T(nobody_overtakes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
