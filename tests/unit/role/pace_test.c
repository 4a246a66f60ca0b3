#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "role/pace.h"

enum { RATE = 10, BURST = 5, PATIENCE = 1000 };

static struct pace pace;

static int setup(void **state)
{
	(void)state;
	return pace_init(&pace, 64) != ERR_OK;
}

static int teardown(void **state)
{
	(void)state;
	pace_fini(&pace);
	return 0;
}

static msec take(uint64_t key, msec now)
{
	return pace_take(&pace, key, now, RATE, BURST, PATIENCE);
}

static void burst_then_rate(void **state)
{
	(void)state;
	for (unsigned i = 0; i < BURST; i++)
		assert_int_equal(take(7, 5000), 0);
	for (unsigned i = 1; i <= PATIENCE * RATE / 1000; i++)
		assert_int_equal(take(7, 5000), i * 1000 / RATE);
	assert_true(take(7, 5000) == MS_NEVER);
	assert_true(take(7, 5000) == MS_NEVER); /* and costs nothing: */
	assert_int_equal(take(7, 5100), PATIENCE);
	assert_int_equal(take(8, 5000), 0); /* another one is not concerned */
}

static void rest_fills_it(void **state)
{
	(void)state;
	for (unsigned i = 0; i < BURST; i++)
		assert_int_equal(take(7, 5000), 0);
	assert_int_equal(take(7, 5250), 0); /* two of five are back */
	assert_int_equal(take(7, 5250), 0);
	assert_int_equal(take(7, 5250), 50);
	for (unsigned i = 0; i < BURST; i++) /* never more than the burst */
		assert_int_equal(take(7, 1000000), 0);
	assert_int_equal(take(7, 1000000), 1000 / RATE);
}

/* Over a long time exactly the rate goes through, however it comes. */
static void long_run(void **state)
{
	unsigned passed = 0;

	(void)state;
	for (msec now = 1000; now < 101000; now += 3)
		passed += pace_take(&pace, 7, now, RATE, BURST, 0) == 0;
	assert_in_range(passed, RATE * 100, RATE * 100 + BURST);
}

static void extremes(void **state)
{
	(void)state;
	assert_int_equal(pace_take(&pace, 7, 1, 1, 1, PATIENCE), 0);
	assert_int_equal(pace_take(&pace, 7, 1, 1, 1, PATIENCE), 1000);
	assert_int_equal(pace_take(&pace, 9, 1, 100000, 1000000, PATIENCE), 0);
	assert_int_equal(pace_take(&pace, 8, UINT64_MAX / 4000, 4000000, 1, PATIENCE), 0);
}

/* Memory is what it is: the one who used it least gives way, and only within the row. */
static void crowd(void **state)
{
	uint64_t row = 64 / PACE_ROW;

	(void)state;
	for (unsigned i = 0; i < BURST; i++)
		(void)take(row, 5000);
	for (uint64_t i = 2; i < 1000; i++)
		assert_int_equal(take(i * row, 5000), 0);
	assert_int_equal(take(row, 5000), 1000 / RATE); /* its line was the longest */
}

static void until(void **state)
{
	(void)state;
	assert_false(pace_is_until(&pace, 7, 0));
	pace_until(&pace, 7, 6000);
	assert_true(pace_is_until(&pace, 7, 5999));
	assert_false(pace_is_until(&pace, 7, 6000));
	assert_false(pace_is_until(&pace, 8, 5000));
	pace_until(&pace, 7, 9000);
	assert_true(pace_is_until(&pace, 7, 6000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(burst_then_rate, setup, teardown),
		cmocka_unit_test_setup_teardown(rest_fills_it, setup, teardown),
		cmocka_unit_test_setup_teardown(long_run, setup, teardown),
		cmocka_unit_test_setup_teardown(extremes, setup, teardown),
		cmocka_unit_test_setup_teardown(crowd, setup, teardown),
		cmocka_unit_test_setup_teardown(until, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
