/*
 * harness.h - a loop with a guard for tests that wait for something.
 */
#ifndef TESTS_UNIT_LOOP_HARNESS_H
#define TESTS_UNIT_LOOP_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "loop/loop.h"

enum { HARNESS_GUARD_MS = 20000 };

static struct loop *the_loop;

static inline int harness_setup(void **state)
{
	(void)state;
	the_loop = loop_new();
	return the_loop == NULL;
}

static inline int harness_teardown(void **state)
{
	(void)state;
	loop_free(the_loop);
	the_loop = NULL;
	return 0;
}

static inline void harness_late(void *arg)
{
	*(bool *)arg = true;
	loop_stop(the_loop);
}

/* Runs until some callback calls loop_stop(); fails the test if none does. */
static inline void harness_run(void)
{
	struct deadline guard;
	bool            late = false;

	deadline_init(&guard, the_loop, harness_late, &late);
	deadline_in(&guard, HARNESS_GUARD_MS);
	loop_run(the_loop);
	deadline_clear(&guard);
	assert_false(late);
}

static inline void harness_stop(void *arg)
{
	(void)arg;
	loop_stop(the_loop);
}

/* Runs for a while, for things that must not happen. */
static inline void harness_run_for(msec ms)
{
	struct deadline end;

	deadline_init(&end, the_loop, harness_stop, NULL);
	deadline_in(&end, ms);
	loop_run(the_loop);
	deadline_clear(&end);
}

#endif
