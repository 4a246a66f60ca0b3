#include "app/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct {
	msec        ms;
	const char *want;
} durations[] = {
	{ 0, "under a second" },
	{ 999, "under a second" },
	{ SECOND_MS, "1 second" },
	{ 59 * SECOND_MS + 999, "59 seconds" },
	{ MINUTE_MS, "1 minute" },
	{ MINUTE_MS + 30 * SECOND_MS, "1 minute 30 seconds" },
	{ 10 * MINUTE_MS + 30 * SECOND_MS, "10 minutes" },
	{ HOUR_MS + 59 * SECOND_MS, "1 hour" },
	{ 9 * HOUR_MS + MINUTE_MS, "9 hours 1 minute" },
	{ 2 * DAY_MS + 5 * HOUR_MS, "2 days 5 hours" },
	{ 9 * DAY_MS + 23 * HOUR_MS, "9 days 23 hours" },
	{ (msec)400 * DAY_MS + HOUR_MS, "400 days" },
	{ UINT64_MAX, "213503982334 days" },
};

static const struct {
	uint64_t    bytes;
	const char *want;
} sizes[] = {
	{ 0, "0 B" },
	{ 1, "1 B" },
	{ 1023, "1023 B" },
	{ 1024, "1.0 KiB" },
	{ 1536, "1.5 KiB" },
	{ 10 * 1024 - 1, "9.9 KiB" },
	{ 10 * 1024, "10 KiB" },
	{ 1024 * 1024 - 1, "1023 KiB" },
	{ 64u << 20, "64 MiB" },
	{ (uint64_t)3 << 40, "3.0 TiB" },
	{ UINT64_MAX, "16777215 TiB" },
};

static void says_durations(void **state)
{
	char out[WORDS_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(durations) / sizeof(durations[0]); i++)
		assert_string_equal(words_duration(durations[i].ms, out), durations[i].want);
}

static void says_sizes(void **state)
{
	char out[WORDS_SIZE];

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		assert_string_equal(words_bytes(sizes[i].bytes, out), sizes[i].want);
}

static void says_counts(void **state)
{
	char out[WORDS_SIZE];

	(void)state;
	assert_string_equal(words_count(0, "item", out), "0 items");
	assert_string_equal(words_count(1, "item", out), "1 item");
	assert_string_equal(words_count(2, "item", out), "2 items");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(says_durations),
		cmocka_unit_test(says_sizes),
		cmocka_unit_test(says_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
