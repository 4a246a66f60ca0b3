#include "unit/loop/harness.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static char   seen[64];
static msec   seen_at[64];
static size_t seen_count;

struct named {
	struct deadline d;
	struct soon     s;
	char            name;
};

static void on_expired(void *arg)
{
	struct named *n = arg;

	seen_at[seen_count] = loop_now(the_loop);
	seen[seen_count++] = n->name;
	seen[seen_count] = '\0';
}

static void named_init(struct named *n, char name, deadline_fn *fn)
{
	deadline_init(&n->d, the_loop, fn, n);
	soon_init(&n->s, the_loop, fn, n);
	n->name = name;
}

static int setup(void **state)
{
	seen_count = 0;
	seen[0] = '\0';
	return harness_setup(state);
}

static void expire_in_order(void **state)
{
	static const msec in[] = { 30, 5, 20, 10, 0, 25, 15 };
	struct named      n[7];
	msec              start = loop_now(the_loop);

	(void)state;
	for (size_t i = 0; i < 7; i++) {
		named_init(&n[i], (char)('a' + i), on_expired);
		assert_false(deadline_is_set(&n[i].d));
		deadline_in(&n[i].d, in[i]);
		assert_true(deadline_is_set(&n[i].d));
	}
	loop_run(the_loop); /* ends by itself when none is left */
	assert_string_equal(seen, "ebdgcfa");
	for (size_t i = 0; i < 7; i++) {
		assert_true(seen_at[i] >= start + in[(size_t)(seen[i] - 'a')]);
		assert_false(deadline_is_set(&n[i].d));
	}
}

static void moves_later_and_earlier(void **state)
{
	struct named a, b, c;
	msec         start = loop_now(the_loop);

	(void)state;
	named_init(&a, 'a', on_expired);
	named_init(&b, 'b', on_expired);
	named_init(&c, 'c', on_expired);
	deadline_in(&a.d, 5);
	deadline_in(&b.d, 20);
	deadline_in(&c.d, 60000);
	deadline_in(&a.d, 40); /* behind b */
	deadline_in(&a.d, 30);
	deadline_in(&c.d, 10); /* to the front */
	loop_run(the_loop);
	assert_string_equal(seen, "cba");
	assert_true(seen_at[2] >= start + 30);
}

static struct named first, second, third;

static void clears_the_others(void *arg)
{
	on_expired(arg);
	deadline_clear(&second.d);
	deadline_clear(&first.d); /* our own: not set any more, no harm */
	deadline_in(&third.d, 3);
}

static void can_be_cleared_inside_a_callback(void **state)
{
	(void)state;
	named_init(&first, '1', clears_the_others);
	named_init(&second, '2', on_expired);
	named_init(&third, '3', on_expired);
	deadline_in(&first.d, 1);
	deadline_in(&second.d, 1); /* due in the same turn */
	deadline_in(&third.d, 1);
	loop_run(the_loop);
	assert_string_equal(seen, "13");
}

static void sets_itself_again(void *arg)
{
	struct named *n = arg;

	on_expired(n);
	if (seen_count < 5)
		deadline_in(&n->d, 0);
}

static void set_for_now_again_lets_others_run(void **state)
{
	struct named other;

	(void)state;
	named_init(&first, 'x', sets_itself_again);
	named_init(&other, 'o', on_expired);
	deadline_in(&first.d, 0);
	deadline_in(&other.d, 1);
	loop_run(the_loop);
	assert_int_equal(seen_count, strchr(seen, 'o') < seen + 5 ? 5 : 6);
	assert_non_null(strchr(seen, 'o'));
}

static void never_is_far_away(void **state)
{
	struct named n;

	(void)state;
	named_init(&n, 'n', on_expired);
	deadline_in(&n.d, MS_NEVER);
	assert_true(deadline_is_set(&n.d));
	deadline_clear(&n.d);
	loop_run(the_loop);
	assert_int_equal(seen_count, 0);
}

/* Random setting, moving and clearing against the plain model: an array of times. */
enum { MODEL = 200 };
static struct deadline model[MODEL];
static msec            due[MODEL];
static size_t          fired;

static void on_model(void *arg)
{
	size_t i = (size_t)((struct deadline *)arg - model);

	assert_true(due[i] != MS_NEVER);
	assert_true(due[i] <= loop_now(the_loop));
	due[i] = MS_NEVER;
	fired++;
	i = (size_t)rand() % MODEL;
	if (rand() % 4 == 0) {
		deadline_clear(&model[i]);
		due[i] = MS_NEVER;
	} else if (fired < 3000) {
		msec in = (msec)rand() % 20 + 1;

		deadline_in(&model[i], in);
		due[i] = loop_now(the_loop) + in;
	}
}

static void agrees_with_a_plain_model(void **state)
{
	(void)state;
	srand(1);
	fired = 0;
	for (size_t i = 0; i < MODEL; i++) {
		msec in = (msec)rand() % 20;

		deadline_init(&model[i], the_loop, on_model, &model[i]);
		deadline_in(&model[i], in);
		due[i] = loop_now(the_loop) + in;
	}
	loop_run(the_loop);
	assert_true(fired >= MODEL / 2);
	for (size_t i = 0; i < MODEL; i++) {
		assert_int_equal(due[i], MS_NEVER);
		assert_false(deadline_is_set(&model[i]));
	}
}

static void stand_still(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	while (nanosleep(&t, &t) != 0) {
		/* the rest of it */
	}
}

static void watch_hang_up(struct named *n)
{
	struct loop_signals s = { .reload = on_expired, .arg = n };

	assert_int_equal(loop_watch_signals(the_loop, &s), ERR_OK);
}

/* A signal is input, too. */
static void input_comes_first(void **state)
{
	struct named late, input;

	(void)state;
	named_init(&late, 'd', on_expired);
	named_init(&input, 'i', on_expired);
	watch_hang_up(&input);
	deadline_in(&late.d, 10);
	raise(SIGHUP);
	stand_still(30);
	loop_run(the_loop);
	assert_string_equal(seen, "id");
}

/* 100 ms after the machine goes on: sent by the system's clock, so the order is the same however busy it is. */
static void input_on_its_way_comes_first(void **state)
{
	struct sigevent   event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGHUP };
	struct itimerspec in = { .it_value = { 0, 100 * 1000000 } };
	struct named      late, input;
	timer_t           timer;

	(void)state;
	named_init(&late, 'd', on_expired);
	named_init(&input, 'i', on_expired);
	watch_hang_up(&input);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
	deadline_in(&late.d, 10);
	stand_still(800);
	assert_int_equal(timer_settime(timer, 0, &in, NULL), 0);
	loop_run(the_loop);
	assert_string_equal(seen, "id");
	timer_delete(timer);
}

static void soon_calls_once_and_in_order(void **state)
{
	struct named a, b, c;

	(void)state;
	named_init(&a, 'a', on_expired);
	named_init(&b, 'b', on_expired);
	named_init(&c, 'c', on_expired);
	soon_call(&a.s);
	soon_call(&b.s);
	soon_call(&a.s);
	soon_call(&c.s);
	soon_clear(&b.s);
	soon_clear(&b.s);
	assert_int_equal(seen_count, 0);
	loop_run(the_loop);
	assert_string_equal(seen, "ac");
}

static void asks_again(void *arg)
{
	struct named *n = arg;

	on_expired(n);
	if (seen_count < 40)
		soon_call(&n->s);
	else
		loop_stop(the_loop);
}

static void soon_inside_soon_keeps_the_loop_fair(void **state)
{
	struct named again, timed;

	(void)state;
	named_init(&again, '.', asks_again);
	named_init(&timed, 't', on_expired);
	soon_call(&again.s);
	harness_run();
	assert_int_equal(seen_count, 40);
	soon_clear(&again.s);
}

static void soon_cleared_by_a_soon(void *arg)
{
	on_expired(arg);
	soon_clear(&second.s);
}

static void soon_can_be_cleared_inside_a_callback(void **state)
{
	(void)state;
	named_init(&first, '1', soon_cleared_by_a_soon);
	named_init(&second, '2', on_expired);
	soon_call(&first.s);
	soon_call(&second.s);
	loop_run(the_loop);
	assert_string_equal(seen, "1");
	soon_call(&second.s);
	soon_clear(&second.s);
	loop_run(the_loop); /* nothing to wait for */
	assert_string_equal(seen, "1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(expire_in_order, setup, harness_teardown),
		cmocka_unit_test_setup_teardown(moves_later_and_earlier, setup, harness_teardown),
		cmocka_unit_test_setup_teardown(can_be_cleared_inside_a_callback, setup,
		                                harness_teardown),
		cmocka_unit_test_setup_teardown(set_for_now_again_lets_others_run, setup,
		                                harness_teardown),
		cmocka_unit_test_setup_teardown(never_is_far_away, setup, harness_teardown),
		cmocka_unit_test_setup_teardown(agrees_with_a_plain_model, setup, harness_teardown),
		cmocka_unit_test_setup_teardown(input_comes_first, setup, harness_teardown),
		cmocka_unit_test_setup_teardown(input_on_its_way_comes_first, setup,
		                                harness_teardown),
		cmocka_unit_test_setup_teardown(soon_calls_once_and_in_order, setup,
		                                harness_teardown),
		cmocka_unit_test_setup_teardown(soon_inside_soon_keeps_the_loop_fair, setup,
		                                harness_teardown),
		cmocka_unit_test_setup_teardown(soon_can_be_cleared_inside_a_callback, setup,
		                                harness_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
