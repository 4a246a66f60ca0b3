#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fed/srv_order.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct dice {
	uint32_t seed;
	unsigned drawn;
};

static uint32_t roll(void *arg, uint32_t below)
{
	struct dice *d = arg;

	assert_true(below > 0);
	d->drawn++;
	d->seed = d->seed * 1664525u + 1013904223u;
	return (uint32_t)((uint64_t)d->seed * below >> 32);
}

static void priorities_come_first(void **state)
{
	struct srv_rank ranks[] = {
		{ 30, 1, 0 }, { 10, 1, 1 }, { 65535, 1, 2 }, { 0, 1, 3 }, { 20, 9, 4 }
	};
	static const uint16_t    want[] = { 3, 1, 4, 0, 2 };
	struct dice              dice = { 1, 0 };
	struct resolution_random rnd = { roll, &dice };

	(void)state;
	srv_order(ranks, COUNT(ranks), &rnd);
	for (size_t i = 0; i < COUNT(want); i++)
		assert_int_equal(ranks[i].index, want[i]);
	assert_int_equal(dice.drawn, 0); /* nothing to choose from */
}

static void nothing_and_one_are_sorted(void **state)
{
	struct srv_rank          one = { 1, 0, 7 };
	struct dice              dice = { 1, 0 };
	struct resolution_random rnd = { roll, &dice };

	(void)state;
	srv_order(&one, 0, &rnd);
	srv_order(&one, 1, &rnd);
	assert_int_equal(one.index, 7);
}

/* Weights 1, 3, 6 and 0: how often each comes first, and that the order stays a permutation. */
static void weights_are_odds(void **state)
{
	unsigned                 first[4] = { 0 }, last_is_zero = 0;
	struct dice              dice = { 12345, 0 };
	struct resolution_random rnd = { roll, &dice };

	(void)state;
	for (int n = 0; n < 20000; n++) {
		struct srv_rank ranks[] = { { 5, 1, 0 }, { 5, 3, 1 }, { 5, 0, 2 }, { 5, 6, 3 } };
		unsigned        seen = 0;

		srv_order(ranks, 4, &rnd);
		for (size_t i = 0; i < 4; i++)
			seen |= 1u << ranks[i].index;
		assert_int_equal(seen, 15);
		first[ranks[0].index]++;
		last_is_zero += ranks[3].index == 2;
	}
	assert_int_equal(last_is_zero, 20000);
	assert_int_equal(first[2], 0);
	assert_in_range(first[0], 1700, 2300);
	assert_in_range(first[1], 5600, 6400);
	assert_in_range(first[3], 11500, 12500);
}

static void zero_weights_are_drawn_evenly(void **state)
{
	unsigned                 first[3] = { 0 };
	struct dice              dice = { 99, 0 };
	struct resolution_random rnd = { roll, &dice };

	(void)state;
	for (int n = 0; n < 9000; n++) {
		struct srv_rank ranks[] = { { 5, 0, 0 }, { 5, 0, 1 }, { 5, 0, 2 } };

		srv_order(ranks, 3, &rnd);
		first[ranks[0].index]++;
	}
	for (int i = 0; i < 3; i++)
		assert_in_range(first[i], 2700, 3300);
}

static void heaviest_list_does_not_overflow(void **state)
{
	struct srv_rank          ranks[SRV_ORDER_MAX];
	struct dice              dice = { 3, 0 };
	struct resolution_random rnd = { roll, &dice };
	uint32_t                 seen = 0;

	(void)state;
	for (uint16_t i = 0; i < SRV_ORDER_MAX; i++)
		ranks[i] = (struct srv_rank){ 65535, 65535, i };
	srv_order(ranks, SRV_ORDER_MAX, &rnd);
	for (size_t i = 0; i < SRV_ORDER_MAX; i++)
		seen |= UINT32_C(1) << ranks[i].index;
	assert_true(seen == UINT32_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(priorities_come_first),
		cmocka_unit_test(nothing_and_one_are_sorted),
		cmocka_unit_test(weights_are_odds),
		cmocka_unit_test(zero_weights_are_drawn_evenly),
		cmocka_unit_test(heaviest_list_does_not_overflow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
