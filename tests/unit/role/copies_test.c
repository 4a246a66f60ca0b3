#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "role/reception.h"

static void shares(void **state)
{
	struct copies all = { 0, 100, NULL }, some = { 0, 60, &all }, few = { 0, 30, &some };

	(void)state;
	assert_true(copies_take(NULL, SIZE_MAX));
	assert_true(copies_take(&few, 30));
	assert_false(copies_take(&few, 1)); /* its own share */
	assert_true(copies_take(&some, 30));
	assert_false(copies_take(&some, 1));
	assert_true(copies_take(&all, 40)); /* the rest is for others */
	assert_false(copies_take(&all, 1));
	copies_give(&few, 10);
	assert_int_equal(all.used, 90);
	assert_int_equal(some.used, 50);
	assert_true(copies_take(&all, 10));
	assert_false(
		copies_take(&few, 1)); /* nothing is left of the whole, and nothing was taken */
	assert_int_equal(few.used, 20);
	assert_int_equal(some.used, 50);
	copies_give(&few, 20);
	copies_give(&some, 30);
	copies_give(&all, 50);
	assert_int_equal(all.used + some.used + few.used, 0);
	copies_give(NULL, 1);
}

/* Sizes near the largest do not wrap. */
static void extremes(void **state)
{
	struct copies all = { 5, SIZE_MAX, NULL }, some = { 0, SIZE_MAX, &all };

	(void)state;
	assert_false(copies_take(&some, SIZE_MAX));
	assert_true(copies_take(&some, SIZE_MAX - 5));
	assert_false(copies_take(&some, 1));
	all.max = 3; /* a reload */
	assert_false(copies_take(&all, 0));
}

static void whose_share(void **state)
{
	struct reception  r = { .refs = 1 };
	struct gate      *gate = (struct gate *)(void *)&r; /* there is one, that is all */
	struct gate_visit v = { .gate = gate, .is_verified = true, .network = 11 };

	(void)state;
	assert_ptr_equal(reception_copies(&r, &v), &r.copies);
	v.is_verified = false;
	assert_ptr_equal(reception_copies(&r, &v), &r.networks[11 % RECEPTION_NETWORKS]);
	v.network = 0; /* of the house, or through its reverse proxy */
	assert_ptr_equal(reception_copies(&r, &v), &r.strangers);
	v.gate = NULL;
	assert_ptr_equal(reception_copies(&r, &v), &r.copies);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares),
		cmocka_unit_test(extremes),
		cmocka_unit_test(whose_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
