#include <sys/stat.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/cache.h"
#include "unit/loop/harness.h"

static char dir[64];

static int setup(void **state)
{
	strcpy(dir, "cache_test.XXXXXX");
	return mkdtemp(dir) == NULL || harness_setup(state) != 0;
}

static int teardown(void **state)
{
	static const char *const files[] = { "cache/data.mdb", "cache/lock.mdb",
		                             "cache/data.mdb.damaged", "cache", "" };
	char                     name[128];

	for (size_t i = 0; the_loop != NULL && i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(name, sizeof(name), "%s/%s", dir, files[i]);
		(void)remove(name);
	}
	return the_loop == NULL ? 0 : harness_teardown(state);
}

static struct cache *open_at(const char *state_dir, size_t bytes, msec flush_ms)
{
	struct cache_options o = {
		.loop = the_loop, .state_dir = state_dir, .bytes = bytes, .flush_ms = flush_ms
	};
	struct cache *c;

	assert_int_equal(cache_open(&o, &c), ERR_OK);
	return c;
}

static uint64_t in_ms(int64_t ms)
{
	return (uint64_t)((int64_t)loop_unix_ms(the_loop) + ms);
}

static void put(struct cache *c, const char *key, const char *value)
{
	assert_int_equal(cache_put(c, str_of(key), str_of(value), in_ms(HOUR_MS)), ERR_OK);
}

/* want NULL: not there. */
static void expect(struct cache *c, const char *key, const char *want)
{
	char   room[64];
	size_t len = 0;
	bool   found = cache_get(c, str_of(key), room, sizeof(room), &len);

	assert_int_equal(found, want != NULL);
	if (want == NULL)
		return;
	assert_int_equal(len, strlen(want));
	assert_memory_equal(room, want, len);
}

/* Closing writes everything, and a job that runs has to come home first. */
static void close_now(struct cache *c)
{
	cache_close(c);
	loop_free(the_loop);
	the_loop = loop_new();
	assert_non_null(the_loop);
}

static void memory_only_works(void **state)
{
	struct cache *c = open_at(NULL, 1 << 20, 0);

	(void)state;
	assert_false(cache_is_kept(c));
	expect(c, "a", NULL);
	put(c, "a", "1");
	expect(c, "a", "1");
	put(c, "a", "22");
	expect(c, "a", "22");
	cache_del(c, STRL("a"));
	expect(c, "a", NULL);
	cache_close(c);
}

static void expired_is_not_given_out(void **state)
{
	struct cache *c = open_at(NULL, 1 << 20, 0), *kept = open_at(dir, 1 << 20, 0);

	(void)state;
	assert_int_equal(cache_put(c, STRL("a"), STRL("1"), in_ms(-1)), ERR_OK);
	expect(c, "a", NULL);
	assert_int_equal(cache_put(kept, STRL("a"), STRL("1"), in_ms(-1)), ERR_OK);
	assert_int_equal(cache_put(kept, STRL("b"), STRL("2"), in_ms(HOUR_MS)), ERR_OK);
	cache_close(c);
	close_now(kept);
	kept = open_at(dir, 1 << 20, 0);
	expect(kept, "a", NULL);
	expect(kept, "b", "2");
	cache_close(kept);
}

static void small_rooms_are_respected(void **state)
{
	struct cache *c = open_at(NULL, 1 << 20, 0);
	char          room[2];
	size_t        len;

	(void)state;
	put(c, "a", "123");
	assert_false(cache_get(c, STRL("a"), room, sizeof(room), &len));
	put(c, "a", "12");
	assert_true(cache_get(c, STRL("a"), room, sizeof(room), &len));
	cache_close(c);
}

static void keys_and_values_have_limits(void **state)
{
	static char   large[CACHE_VALUE_MAX + 1], key[CACHE_KEY_MAX + 1];
	struct cache *c = open_at(NULL, 1 << 20, 0), *tiny = open_at(NULL, 1000, 0);
	uint64_t      until = in_ms(HOUR_MS);
	struct str    value = STR("v");

	(void)state;
	memset(key, 'k', sizeof(key));
	assert_int_equal(cache_put(c, STRL(""), value, until), ERR_RANGE);
	assert_int_equal(cache_put(c, STRL("\0x"), value, until), ERR_RANGE);
	assert_int_equal(cache_put(c, str_span(key, sizeof(key)), value, until), ERR_RANGE);
	assert_int_equal(cache_put(c, str_span(key, CACHE_KEY_MAX), value, until), ERR_OK);
	assert_int_equal(cache_put(c, STRL("a"), str_span(large, sizeof(large)), until),
	                 ERR_TOO_LARGE);
	assert_int_equal(cache_put(c, STRL("a"), str_span(large, CACHE_VALUE_MAX), until), ERR_OK);
	assert_int_equal(cache_put(tiny, STRL("a"), str_span(large, 1000), until), ERR_TOO_LARGE);
	cache_close(c);
	cache_close(tiny);
}

/* What was unused longest goes first, and the memory stays within its bound. */
static void bounded(struct cache *c)
{
	char     key[16];
	unsigned found = 0;

	put(c, "favourite", "v");
	for (unsigned i = 0; i < 500; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		put(c, key, "v");
		expect(c, "favourite", "v");
	}
	for (unsigned i = 0; i < 500; i++) {
		char   room[4];
		size_t len;

		snprintf(key, sizeof(key), "k%u", i);
		found += cache_get(c, str_of(key), room, sizeof(room), &len);
	}
	assert_true(found > 20 && found < 200);
	expect(c, "k0", NULL);
	expect(c, "k499", "v");
	cache_close(c);
}

static void memory_is_bounded(void **state)
{
	(void)state;
	bounded(open_at(NULL, 10000, 0));
}

static void memory_has_a_bound_of_its_own(void **state)
{
	struct cache_options o = { .loop = the_loop, .bytes = 1 << 20, .memory_bytes = 10000 };
	struct cache        *c;

	(void)state;
	assert_int_equal(cache_open(&o, &c), ERR_OK);
	bounded(c);
}

static void survives_the_process(void **state)
{
	struct cache *c = open_at(dir, 1 << 20, 0);

	(void)state;
	assert_true(cache_is_kept(c));
	put(c, "a", "1");
	put(c, "b", "2");
	put(c, "gone", "3");
	cache_del(c, STRL("gone"));
	close_now(c);
	c = open_at(dir, 1 << 20, 0);
	expect(c, "a", "1");
	expect(c, "b", "2");
	expect(c, "gone", NULL);
	cache_del(c, STRL("a"));
	expect(c, "a", NULL);
	close_now(c);
	c = open_at(dir, 1 << 20, 0);
	expect(c, "a", NULL);
	expect(c, "b", "2");
	cache_close(c);
}

static void large_values_come_back(void **state)
{
	static char   value[CACHE_VALUE_MAX], room[CACHE_VALUE_MAX];
	struct cache *c = open_at(dir, 1 << 20, 0);
	size_t        len;

	(void)state;
	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (char)(i * 7);
	assert_int_equal(cache_put(c, STRL("a"), str_span(value, sizeof(value)), in_ms(HOUR_MS)),
	                 ERR_OK);
	close_now(c);
	c = open_at(dir, 1 << 20, 0);
	assert_true(cache_get(c, STRL("a"), room, sizeof(room), &len));
	assert_int_equal(len, sizeof(value));
	assert_memory_equal(room, value, len);
	assert_false(cache_get(c, STRL("a"), room, sizeof(room) - 1, &len));
	cache_close(c);
}

/* The job runs and ends while the cache is in use; another process of ours would see the result. */
static void is_written_in_the_background(void **state)
{
	struct cache *c = open_at(dir, 1 << 20, 1);
	char          name[128];
	struct stat   before, after;

	(void)state;
	snprintf(name, sizeof(name), "%s/cache/data.mdb", dir);
	assert_int_equal(stat(name, &before), 0);
	for (unsigned i = 0; i < 200; i++) {
		char key[16];

		snprintf(key, sizeof(key), "k%u", i);
		put(c, key, "a value of some length that fills pages in the end");
		if (i % 50 == 0)
			harness_run_for(20);
		expect(c, key, "a value of some length that fills pages in the end");
	}
	harness_run_for(100);
	assert_int_equal(stat(name, &after), 0);
	assert_true(after.st_size > before.st_size);
	put(c, "last", "1");
	close_now(c);
	c = open_at(dir, 1 << 20, 0);
	expect(c, "k0", "a value of some length that fills pages in the end");
	expect(c, "k199", "a value of some length that fills pages in the end");
	expect(c, "last", "1");
	cache_close(c);
}

static void closing_while_a_job_runs(void **state)
{
	struct cache *c = open_at(dir, 1 << 20, 1);

	(void)state;
	put(c, "a", "1");
	harness_run_for(1);
	put(c, "b", "2");
	close_now(c);
	c = open_at(dir, 1 << 20, 0);
	expect(c, "a", "1");
	expect(c, "b", "2");
	cache_close(c);
}

static void too_much_at_once_is_refused(void **state)
{
	struct cache *c = open_at(dir, 1 << 20, HOUR_MS);
	enum err      e = ERR_OK;
	unsigned      n = 0;
	char          key[16];

	(void)state;
	while (e == ERR_OK && n < 1000) {
		snprintf(key, sizeof(key), "k%u", n++);
		e = cache_put(c, str_of(key), STRL("v"), in_ms(HOUR_MS));
	}
	assert_int_equal(e, ERR_BUSY);
	expect(c, "k0", "v");
	assert_int_equal(cache_put(c, STRL("k0"), STRL("w"), in_ms(HOUR_MS)), ERR_OK);
	close_now(c);
	c = open_at(dir, 1 << 20, 0);
	expect(c, "k0", "w");
	snprintf(key, sizeof(key), "k%u", n - 2);
	expect(c, key, "v");
	cache_close(c);
}

/* A group that does not fit into the file even when that is empty must never come together. */
static void groups_fit_into_the_file(void **state)
{
	static char   value[30000];
	struct cache *c = open_at(dir, 256 * 1024, HOUR_MS);
	char          key[16];

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		(void)cache_put(c, str_of(key), str_span(value, sizeof(value)), in_ms(HOUR_MS));
	}
	close_now(c);
	c = open_at(dir, 256 * 1024, 0);
	assert_true(cache_is_kept(c));
	assert_true(cache_get(c, STRL("k0"), value, sizeof(value), &(size_t){ 0 }));
	cache_close(c);
}

/* The file is full of what is still good, or of what has expired: either way new things get in. */
static void full_file_makes_room(void **state, int64_t life_ms)
{
	static char   value[30000];
	struct cache *c = open_at(dir, 512 * 1024, 1);
	char          key[16];

	(void)state;
	for (unsigned i = 0; i < 60; i++) {
		snprintf(key, sizeof(key), "k%u", i);
		(void)cache_put(c, str_of(key), str_span(value, sizeof(value)), in_ms(life_ms));
		harness_run_for(5);
	}
	assert_true(cache_is_kept(c));
	put(c, "new", "1");
	close_now(c);
	c = open_at(dir, 512 * 1024, 1);
	expect(c, "new", "1");
	cache_close(c);
}

static void file_full_of_good_things(void **state)
{
	full_file_makes_room(state, HOUR_MS);
}

static void file_full_of_expired_things(void **state)
{
	full_file_makes_room(state, -1000);
}

static void damaged_file_begins_anew(void **state)
{
	struct cache *c = open_at(dir, 1 << 20, 0);
	char          name[128];

	(void)state;
	put(c, "a", "1");
	close_now(c);
	snprintf(name, sizeof(name), "%s/cache/data.mdb", dir);
	assert_int_equal(truncate(name, 5000), 0);
	c = open_at(dir, 1 << 20, 0);
	assert_true(cache_is_kept(c));
	expect(c, "a", NULL);
	put(c, "a", "2");
	close_now(c);
	c = open_at(dir, 1 << 20, 0);
	expect(c, "a", "2");
	cache_close(c);
}

static void goes_on_in_memory_where_no_file_can_be(void **state)
{
	struct cache *c = open_at("/proc/nowhere", 1 << 20, 0);

	(void)state;
	assert_false(cache_is_kept(c));
	put(c, "a", "1");
	expect(c, "a", "1");
	cache_del(c, STRL("a"));
	expect(c, "a", NULL);
	cache_close(c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(memory_only_works),
		TEST(expired_is_not_given_out),
		TEST(small_rooms_are_respected),
		TEST(keys_and_values_have_limits),
		TEST(memory_is_bounded),
		TEST(memory_has_a_bound_of_its_own),
		TEST(survives_the_process),
		TEST(large_values_come_back),
		TEST(is_written_in_the_background),
		TEST(closing_while_a_job_runs),
		TEST(too_much_at_once_is_refused),
		TEST(groups_fit_into_the_file),
		TEST(file_full_of_good_things),
		TEST(file_full_of_expired_things),
		TEST(damaged_file_begins_anew),
		TEST(goes_on_in_memory_where_no_file_can_be),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
