#include "unit/loop/harness.h"

#include <semaphore.h>
#include <stdlib.h>

#include "loop/work.h"

static sem_t        go;
static struct work *job[4];
static int          ran[4], done_count, forgotten;

static void run_at_once(void *arg)
{
	*(int *)arg += 1;
}

static void run_when_told(void *arg)
{
	sem_wait(&go);
	*(int *)arg += 1;
}

static void on_done(void *arg)
{
	assert_null(job[(int *)arg - ran]); /* cleared before */
	done_count++;
}

static void on_forget(void *arg)
{
	(void)arg;
	forgotten++;
}

static int setup(void **state)
{
	sem_init(&go, 0, 0);
	done_count = forgotten = 0;
	for (size_t i = 0; i < 4; i++)
		ran[i] = 0;
	return harness_setup(state);
}

static void runs_and_reports(void **state)
{
	(void)state;
	assert_int_equal(work_start(&job[0], the_loop, run_at_once, on_done, &ran[0]), ERR_OK);
	assert_non_null(job[0]);
	assert_int_equal(done_count, 0);
	loop_run(the_loop);
	assert_int_equal(ran[0], 1);
	assert_int_equal(done_count, 1);
	work_cancel(&job[0], on_forget); /* late: no harm */
	assert_int_equal(forgotten, 0);
}

static void cancel_keeps_the_argument_until_the_job_is_over(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(work_start(&job[i], the_loop, run_when_told, on_done, &ran[i]),
		                 ERR_OK);
	work_cancel(&job[0], on_forget); /* runs already, or will not */
	work_cancel(&job[3], on_forget); /* waits behind the two workers */
	work_cancel(&job[3], on_forget);
	assert_null(job[0]);
	assert_int_equal(forgotten, 0);
	for (size_t i = 0; i < 4; i++)
		sem_post(&go);
	loop_run(the_loop);
	assert_int_equal(forgotten, 2);
	assert_int_equal(done_count, 2);
	assert_int_equal(ran[1] + ran[2], 2);
	assert_int_equal(ran[3], 0);
}

static void cancel_without_forget(void **state)
{
	(void)state;
	assert_int_equal(work_start(&job[0], the_loop, run_at_once, on_done, &ran[0]), ERR_OK);
	work_cancel(&job[0], NULL);
	loop_run(the_loop);
	assert_int_equal(done_count, 0);
}

static void run_heap(void *arg)
{
	*(int *)arg = 7;
}

static void forget_may_free(void **state)
{
	int *arg = malloc(sizeof(*arg));

	(void)state;
	assert_int_equal(work_start(&job[0], the_loop, run_heap, on_done, arg), ERR_OK);
	work_cancel(&job[0], free);
	loop_run(the_loop);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, harness_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(runs_and_reports),
		T(cancel_keeps_the_argument_until_the_job_is_over),
		T(cancel_without_forget),
		T(forget_may_free),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
