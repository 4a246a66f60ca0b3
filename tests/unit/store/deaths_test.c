#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "store/deaths.h"
#include "store/guard.h"

static char dir[64], file[96];

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "deaths-XXXXXX");
	if (mkdtemp(dir) == NULL)
		return -1;
	snprintf(file, sizeof(file), "%s/queue.deaths", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	(void)unlink(file);
	return rmdir(dir);
}

enum fate { DIES_OPENING, DIES_OF_MAPPING, DIES_OTHERWISE };

/* In a process of its own. */
static void die(enum fate fate)
{
	pid_t pid = fork();

	if (pid == 0) {
		struct deaths *d = deaths_open(dir);

		if (d == NULL || freopen("/dev/null", "w", stderr) == NULL)
			_exit(2);
		guard_install();
		deaths_opening(d);
		if (fate == DIES_OPENING)
			_exit(1);
		deaths_opened(d);
		if (fate == DIES_OF_MAPPING)
			raise(SIGBUS);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &(int){ 0 }, 0), pid);
}

static void three_are_too_many(void **state)
{
	(void)state;
	die(DIES_OPENING);
	die(DIES_OF_MAPPING);
	assert_false(deaths_too_many_in(dir));
	die(DIES_OTHERWISE); /* not the store's doing */
	assert_false(deaths_too_many_in(dir));
	die(DIES_OPENING);
	assert_true(deaths_too_many_in(dir));
}

static void a_good_end_forgets_them(void **state)
{
	struct deaths *d;

	(void)state;
	for (unsigned i = 0; i < DEATHS_MAX; i++)
		die(DIES_OPENING);
	d = deaths_open(dir);
	assert_true(deaths_too_many(d));
	deaths_close(d);
	assert_int_equal(access(file, F_OK), -1);
	assert_false(deaths_too_many_in(dir));
}

static void a_sound_process_forgets_them(void **state)
{
	struct deaths *d;

	(void)state;
	die(DIES_OF_MAPPING);
	die(DIES_OF_MAPPING);
	d = deaths_open(dir);
	assert_false(deaths_too_many(d));
	deaths_opening(d);
	deaths_opened(d);
	deaths_forget(d);
	die(DIES_OPENING); /* as if it were the next one */
	assert_false(deaths_too_many_in(dir));
	die(DIES_OPENING);
	die(DIES_OPENING);
	assert_true(deaths_too_many_in(dir));
	deaths_close(d);
}

/* A power cut is none of them. */
static void those_before_the_machine_started(void **state)
{
	int fd;

	(void)state;
	for (unsigned i = 0; i < DEATHS_MAX; i++)
		die(DIES_OPENING);
	assert_true(deaths_too_many_in(dir));
	fd = open(file, O_WRONLY);
	assert_int_equal(pwrite(fd, "x", 1, 0), 1); /* another boot_id */
	close(fd);
	assert_false(deaths_too_many_in(dir));
}

static void where_nothing_can_be_written(void **state)
{
	(void)state;
	assert_null(deaths_open("/proc/no/such"));
	deaths_opening(NULL);
	deaths_opened(NULL);
	deaths_forget(NULL);
	assert_false(deaths_too_many(NULL));
	deaths_close(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(three_are_too_many, setup, teardown),
		cmocka_unit_test_setup_teardown(a_good_end_forgets_them, setup, teardown),
		cmocka_unit_test_setup_teardown(a_sound_process_forgets_them, setup, teardown),
		cmocka_unit_test_setup_teardown(those_before_the_machine_started, setup, teardown),
		cmocka_unit_test(where_nothing_can_be_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
