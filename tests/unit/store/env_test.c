#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/cursor.h"
#include "store/env.h"

enum { BYTES = 1 << 20 };

static char dir[64], path[96], data[128];

/* The linker puts these in front of the library's (see tests/CMakeLists.txt): file systems that refuse. */
int             __wrap_mdb_env_open(void *env, const char *where, unsigned flags, mode_t mode);
int             __real_mdb_env_open(void *env, const char *where, unsigned flags, mode_t mode);
static int      open_fails_with;
static unsigned open_flags;

int __wrap_mdb_env_open(void *env, const char *where, unsigned flags, mode_t mode)
{
	open_flags = flags;
	return open_fails_with != 0 ? open_fails_with
				    : __real_mdb_env_open(env, where, flags, mode);
}

static int setup(void **state)
{
	(void)state;
	strcpy(dir, "env_test.XXXXXX");
	if (mkdtemp(dir) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/state/cache", dir);
	snprintf(data, sizeof(data), "%s/data.mdb", path);
	open_fails_with = 0;
	return 0;
}

static int teardown(void **state)
{
	static const char *const files[] = { "state/cache/data.mdb",
		                             "state/cache/lock.mdb",
		                             "state/cache/data.mdb.damaged",
		                             "state/cache",
		                             "state",
		                             "" };
	char                     name[160];

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		snprintf(name, sizeof(name), "%s/%s", dir, files[i]);
		(void)remove(name);
	}
	return 0;
}

static enum err open_schema(struct env **e, uint32_t schema, struct env_notice *notice)
{
	struct env_options o = { path, BYTES, schema, false };

	*e = NULL;
	return env_open(&o, e, notice);
}

/* Opens and expects nothing to be said. */
static struct env *open_quietly(void)
{
	struct env_notice notice;
	struct env       *e;

	assert_int_equal(open_schema(&e, 1, &notice), ERR_OK);
	assert_string_equal(notice.text, "");
	return e;
}

static enum err put(struct env *e, const char *key, struct str value)
{
	struct env_change change = { .key = str_of(key), .value = value };

	return env_apply(e, &change, 1);
}

static void expect(struct env *e, const char *key, const char *want)
{
	char   room[64];
	size_t len = 0;

	if (want == NULL) {
		assert_int_equal(env_get(e, str_of(key), room, sizeof(room), &len), ERR_NOT_FOUND);
		return;
	}
	assert_int_equal(env_get(e, str_of(key), room, sizeof(room), &len), ERR_OK);
	assert_int_equal(len, strlen(want));
	assert_memory_equal(room, want, len);
}

static void keeps_what_was_put(void **state)
{
	struct env       *e = open_quietly();
	struct env_change group[] = {
		{ .key = STR("b"), .value = STR("2") },
		{ .key = STR("a"), .value = STR("1") },
		{ .key = STR("gone"), .remove = true },
		{ .key = STR("empty"), .value = STR("") },
	};
	struct stat st;

	(void)state;
	assert_int_equal(env_apply(e, group, 4), ERR_OK);
	expect(e, "a", "1");
	env_close(e);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	e = open_quietly();
	expect(e, "a", "1");
	expect(e, "b", "2");
	expect(e, "empty", "");
	expect(e, "gone", NULL);
	env_close(e);
}

static void changes_and_removes(void **state)
{
	struct env       *e = open_quietly();
	struct env_change removal = { .key = STR("a"), .remove = true };

	(void)state;
	assert_int_equal(put(e, "a", STRL("1")), ERR_OK);
	assert_int_equal(put(e, "a", STRL("22")), ERR_OK);
	expect(e, "a", "22");
	assert_int_equal(env_apply(e, &removal, 1), ERR_OK);
	expect(e, "a", NULL);
	env_close(e);
}

static void says_how_large_a_value_is(void **state)
{
	struct env *e = open_quietly();
	char        room[3];
	size_t      len = 0;

	(void)state;
	assert_int_equal(put(e, "a", STRL("12345")), ERR_OK);
	assert_int_equal(env_get(e, STRL("a"), room, sizeof(room), &len), ERR_TOO_LARGE);
	assert_int_equal(len, 5);
	env_close(e);
}

struct list {
	char          text[64];
	struct writer w;
	unsigned      left;
};

static bool on_entry(void *arg, struct str key, struct str value)
{
	struct list *l = arg;

	write_str(&l->w, key);
	write_str(&l->w, value);
	return --l->left > 0;
}

static void expect_walk(struct env *e, const char *after, unsigned most, const char *want)
{
	struct list l = { .left = most };

	l.w = writer_over(l.text, sizeof(l.text));
	assert_int_equal(env_walk(e, str_of(after), on_entry, &l), ERR_OK);
	assert_int_equal(writer_done(&l.w).len, strlen(want));
	assert_memory_equal(l.text, want, strlen(want));
}

static void walks_in_order(void **state)
{
	struct env *e = open_quietly();

	(void)state;
	expect_walk(e, "", 9, "");
	assert_int_equal(put(e, "c", STRL("3")), ERR_OK);
	assert_int_equal(put(e, "a", STRL("1")), ERR_OK);
	assert_int_equal(put(e, "b", STRL("2")), ERR_OK);
	expect_walk(e, "", 9, "a1b2c3");
	expect_walk(e, "", 2, "a1b2");
	expect_walk(e, "a", 9, "b2c3");
	expect_walk(e, "aa", 9, "b2c3");
	expect_walk(e, "c", 9, "");
	assert_int_equal(env_empty(e), ERR_OK);
	expect_walk(e, "", 9, "");
	env_close(e);
	env_close(open_quietly()); /* emptying kept the schema */
}

static void is_full_at_four_fifths_and_goes_on(void **state)
{
	static char       value[4000];
	struct env       *e = open_quietly();
	struct env_usage  usage;
	struct env_change removal = { .remove = true };
	char              key[16];
	unsigned          n = 0;
	enum err          err = ERR_OK;

	(void)state;
	while (err == ERR_OK && n < 1000) {
		snprintf(key, sizeof(key), "k%03u", n++);
		err = put(e, key, str_span(value, sizeof(value)));
	}
	assert_int_equal(err, ERR_LIMIT);
	assert_int_equal(env_usage(e, &usage), ERR_OK);
	assert_int_equal(usage.entries, n - 1);
	assert_true(usage.used_bytes <= usage.limit_bytes);
	for (unsigned i = 0; i + 1 < n; i++) { /* each in a commit of its own: the hard case */
		snprintf(key, sizeof(key), "k%03u", i);
		removal.key = str_of(key);
		assert_int_equal(env_apply(e, &removal, 1), ERR_OK);
	}
	assert_int_equal(env_usage(e, &usage), ERR_OK);
	assert_int_equal(usage.entries, 0);
	assert_int_equal(put(e, "again", str_span(value, sizeof(value))), ERR_OK);
	env_close(e);
}

static void newer_schema_is_left_alone(void **state)
{
	struct env_notice notice;
	struct env       *e;

	(void)state;
	assert_int_equal(open_schema(&e, 7, &notice), ERR_OK);
	assert_int_equal(put(e, "a", STRL("1")), ERR_OK);
	env_close(e);
	assert_int_equal(open_schema(&e, 6, &notice), ERR_UNSUPPORTED);
	assert_non_null(strstr(notice.text, "newer doorstep"));
	assert_int_equal(open_schema(&e, 7, &notice), ERR_OK);
	expect(e, "a", "1");
	env_close(e);
}

static void older_schema_is_emptied(void **state)
{
	struct env_notice notice;
	struct env       *e;

	(void)state;
	assert_int_equal(open_schema(&e, 1, &notice), ERR_OK);
	assert_int_equal(put(e, "a", STRL("1")), ERR_OK);
	env_close(e);
	assert_int_equal(open_schema(&e, 2, &notice), ERR_OK);
	assert_non_null(strstr(notice.text, "older doorstep"));
	expect(e, "a", NULL);
	env_close(e);
	assert_int_equal(open_schema(&e, 2, &notice), ERR_OK);
	assert_string_equal(notice.text, "");
	env_close(e);
}

/* --- damage --- */

static void fill(void)
{
	static char value[3000];
	struct env *e = open_quietly();
	char        key[16];

	for (unsigned i = 0; i < 40; i++) {
		snprintf(key, sizeof(key), "k%03u", i);
		assert_int_equal(put(e, key, str_span(value, sizeof(value))), ERR_OK);
	}
	env_close(e);
}

static void overwrite(off_t at, const void *bytes, size_t n)
{
	int fd = open(data, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, n, at), n);
	close(fd);
}

static void expect_moved_aside(const char *why)
{
	char              aside[160];
	struct env_notice notice;
	struct env       *e;

	snprintf(aside, sizeof(aside), "%s.damaged", data);
	assert_int_equal(open_schema(&e, 1, &notice), ERR_OK);
	assert_non_null(strstr(notice.text, why));
	assert_non_null(strstr(notice.text, "moved aside"));
	assert_int_equal(access(aside, F_OK), 0);
	expect(e, "k000", NULL);
	assert_int_equal(put(e, "a", STRL("1")), ERR_OK);
	env_close(e);
	env_close(open_quietly());
}

static void truncated_file_is_moved_aside(void **state)
{
	struct stat st;

	(void)state;
	fill();
	assert_int_equal(stat(data, &st), 0);
	assert_int_equal(truncate(data, st.st_size - 4096), 0);
	expect_moved_aside("shorter than its last page");
}

/* Every length at which LMDB itself would die of SIGBUS, or refuse. */
static void every_truncation_is_survived(void **state)
{
	struct env_notice notice;
	struct env       *e;
	struct stat       st;

	(void)state;
	fill();
	assert_int_equal(stat(data, &st), 0);
	for (off_t size = st.st_size - 1; size >= 0;
	     size = size > 9000 ? size - 4096 : size - 1024) {
		assert_int_equal(truncate(data, size), 0);
		assert_int_equal(open_schema(&e, 1, &notice), ERR_OK);
		assert_non_null(strstr(notice.text, "moved aside"));
		env_close(e);
		fill();
	}
}

static void garbage_is_moved_aside(void **state)
{
	static char garbage[20000];

	(void)state;
	fill();
	memset(garbage, 'x', sizeof(garbage));
	overwrite(0, garbage, sizeof(garbage));
	expect_moved_aside("no valid head");
}

static void text_file_is_moved_aside(void **state)
{
	struct env_notice notice;
	struct env       *e;
	FILE             *f;

	(void)state;
	fill(); /* makes the directories */
	f = fopen(data, "w");
	assert_non_null(f);
	fputs("hello", f);
	fclose(f);
	assert_int_equal(open_schema(&e, 1, &notice), ERR_OK);
	assert_non_null(strstr(notice.text, "no valid head"));
	env_close(e);
}

static void torn_second_head_is_moved_aside(void **state)
{
	(void)state;
	fill();
	overwrite(4096, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 24);
	expect_moved_aside("no valid head");
}

static void root_outside_is_moved_aside(void **state)
{
	const size_t far = 1u << 20;
	const off_t  word = sizeof(size_t);
	/* page header, magic, version, address, map size, first database, second database but its root */
	const off_t root = 8 + word + 8 + 2 * word + 8 + 5 * word + 8 + 4 * word;

	(void)state;
	fill();
	overwrite(root, &far, sizeof(far));
	overwrite(4096 + root, &far, sizeof(far));
	expect_moved_aside("points outside itself");
}

static void empty_file_is_a_new_one(void **state)
{
	struct env *e;

	(void)state;
	fill();
	assert_int_equal(truncate(data, 0), 0);
	e = open_quietly();
	expect(e, "k000", NULL);
	env_close(e);
}

/* --- file systems that refuse --- */

static void jffs2_is_explained(void **state)
{
	struct env_notice notice;
	struct env       *e;

	(void)state;
	open_fails_with = EINVAL;
	assert_int_equal(open_schema(&e, 1, &notice), ERR_UNSUPPORTED);
	assert_null(e);
	assert_non_null(strstr(notice.text, "JFFS2"));
	open_fails_with = 0;
	env_close(open_quietly());
}

static void full_disk_is_said(void **state)
{
	struct env_notice notice;
	struct env       *e;

	(void)state;
	open_fails_with = ENOSPC;
	assert_int_equal(open_schema(&e, 1, &notice), ERR_LIMIT);
	assert_non_null(strstr(notice.text, path));
}

static void impossible_places_are_said(void **state)
{
	struct env_options o = { "/proc/nowhere/cache", BYTES, 1, false };
	struct env_notice  notice;
	struct env        *e;

	(void)state;
	assert_int_not_equal(env_open(&o, &e, &notice), ERR_OK);
	assert_non_null(strstr(notice.text, "/proc/nowhere/cache"));
}

/* --- what cannot be fetched again --- */

static struct env *open_durable(uint32_t schema, enum err want, struct env_notice *notice)
{
	struct env_options o = { path, BYTES, schema, true };
	struct env        *e = NULL;

	assert_int_equal(env_open(&o, &e, notice), want);
	return e;
}

/* lmdb.h: what a commit waits for. The values are part of LMDB's interface. */
enum {
	NOSYNC = 0x10000,
	NOMETASYNC = 0x40000,
	WRITEMAP = 0x80000,
	MAPASYNC = 0x100000,
	NOLOCK = 0x400000,
	NOMEMINIT = 0x1000000,
};

static void durable_means_no_relaxed_flags(void **state)
{
	struct env_notice notice;

	(void)state;
	env_close(open_durable(1, ERR_OK, &notice));
	assert_int_equal(open_flags & (NOSYNC | NOMETASYNC | WRITEMAP | MAPASYNC | NOMEMINIT), 0);
	env_close(open_quietly());
	assert_int_equal(open_flags & (NOSYNC | NOMETASYNC | WRITEMAP | MAPASYNC), NOMETASYNC);
}

static void durable_is_not_emptied_for_a_schema(void **state)
{
	struct env_notice notice;
	struct env       *e = open_durable(5, ERR_OK, &notice);

	(void)state;
	assert_int_equal(put(e, "a", STRL("1")), ERR_OK);
	env_close(e);
	assert_null(open_durable(4, ERR_UNSUPPORTED, &notice));
	assert_non_null(strstr(notice.text, "newer doorstep"));
	assert_null(open_durable(6, ERR_UNSUPPORTED, &notice));
	assert_non_null(strstr(notice.text, "older doorstep"));
	e = open_durable(5, ERR_OK, &notice);
	expect(e, "a", "1");
	env_close(e);
}

static void durable_keeps_all_that_was_moved_aside(void **state)
{
	static char       garbage[9000];
	struct env_notice notice;
	char              aside[160];

	(void)state;
	memset(garbage, 'x', sizeof(garbage));
	for (int i = 0; i < 2; i++) {
		env_close(open_durable(1, ERR_OK, &notice));
		overwrite(0, garbage, sizeof(garbage));
	}
	env_close(open_durable(1, ERR_OK, &notice));
	assert_non_null(strstr(notice.text, "moved aside"));
	snprintf(aside, sizeof(aside), "%s.damaged", data);
	assert_int_equal(access(aside, F_OK), 0);
	snprintf(aside, sizeof(aside), "%s.damaged.2", data);
	assert_int_equal(access(aside, F_OK), 0);
}

static void settling_may_use_the_last_fifth(void **state)
{
	static char       value[4000];
	struct env       *e = open_quietly();
	struct env_change change = { .value = str_span(value, sizeof(value)) };
	char              key[16];
	enum err          err = ERR_OK;
	unsigned          n = 0, more = 0;

	(void)state;
	for (; err == ERR_OK && n < 1000; n++) {
		snprintf(key, sizeof(key), "k%03u", n);
		err = put(e, key, str_span(value, sizeof(value)));
	}
	assert_int_equal(err, ERR_LIMIT);
	for (err = ERR_OK; err == ERR_OK && more < 1000; more++) {
		snprintf(key, sizeof(key), "m%03u", more);
		change.key = str_of(key);
		err = env_apply_settling(e, &change, 1);
	}
	assert_int_equal(err, ERR_LIMIT);
	assert_in_range(more, 10, n);
	env_close(e);
}

/* --- rot --- */

static bool count_up(void *arg, struct str key, struct str value)
{
	(void)key;
	(void)value;
	++*(size_t *)arg;
	return true;
}

/* One bit at a time, all over: opening, walking and writing survive it. */
static void every_flipped_bit_is_survived(void **state)
{
	struct env_notice notice;
	struct env       *e;
	struct stat       st;
	static char       good[400000];
	int               fd;
	size_t            count;

	(void)state;
	fill();
	fd = open(data, O_RDONLY);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true((size_t)st.st_size <= sizeof(good));
	assert_int_equal(read(fd, good, (size_t)st.st_size), st.st_size);
	close(fd);
	for (size_t bit = 0; bit < 8 * (size_t)st.st_size; bit += bit < 8 * 9000 ? 61 : 1709) {
		good[bit / 8] = (char)(good[bit / 8] ^ 1 << bit % 8);
		overwrite(0, good, (size_t)st.st_size);
		good[bit / 8] = (char)(good[bit / 8] ^ 1 << bit % 8);
		if (open_schema(&e, 1, &notice) != ERR_OK)
			continue; /* the schema's own record */
		count = 0;
		assert_int_equal(env_walk(e, STRL(""), count_up, &count), ERR_OK);
		/* none is lost without a word; but a head that looks older leaves it to the one before */
		assert_true(count == 40 || notice.text[0] != '\0' ||
		            (count == 39 && bit / 8 < 2 * 4096));
		(void)put(e, "a", STRL("1"));
		env_close(e);
	}
}

static void is_not_for_two(void **state)
{
	struct env       *e = open_quietly(), *other;
	struct env_notice notice;

	(void)state;
	assert_int_equal(open_schema(&other, 1, &notice), ERR_BUSY);
	assert_non_null(strstr(notice.text, "is used by another doorstep"));
	expect(e, "a", NULL);
	assert_int_equal(open_flags & NOLOCK,
	                 NOLOCK); /* its table is a mapped page that can kill */
	env_close(e);
	env_close(open_quietly());
}

enum { ROUNDS = 400, NUMBERS = 1500 };

static atomic_bool writer_is_over;

/* Round after round the same key gets a value of one number, repeated, and others come and go. */
static void *write_rounds(void *arg)
{
	static uint32_t numbers[NUMBERS];

	for (uint32_t round = 1; round <= ROUNDS; round++) {
		struct env_change changes[] = {
			{ .key = STR("a"), .value = { (char *)numbers, sizeof(numbers) } },
			{ .key = round % 2 ? STRL("b") : STRL("c"),
			  .value = { (char *)numbers, sizeof(numbers) } },
			{ .key = round % 2 ? STRL("c") : STRL("b"), .remove = true },
		};

		for (size_t i = 0; i < NUMBERS; i++)
			numbers[i] = round;
		if (env_apply(arg, changes, 3) != ERR_OK)
			arg = NULL;
		if (arg == NULL)
			break;
	}
	atomic_store(&writer_is_over, true);
	return arg;
}

/* What is read meanwhile is whole, and never older than what was read before. */
static void can_be_read_while_it_is_written(void **state)
{
	static uint32_t numbers[NUMBERS];
	struct env     *e = open_quietly();
	uint32_t        last = 0;
	size_t          reads = 0, len;
	pthread_t       writer;
	void           *result;

	(void)state;
	assert_int_equal(pthread_create(&writer, NULL, write_rounds, e), 0);
	while (!atomic_load(&writer_is_over)) {
		enum err err = env_get(e, STRL("a"), numbers, sizeof(numbers), &len);

		if (err == ERR_NOT_FOUND && last == 0)
			continue;
		assert_int_equal(err, ERR_OK);
		assert_int_equal(len, sizeof(numbers));
		assert_true(numbers[0] >= last);
		last = numbers[0];
		for (size_t i = 1; i < NUMBERS; i++)
			assert_int_equal(numbers[i], last);
		reads++;
	}
	assert_int_equal(pthread_join(writer, &result), 0);
	assert_non_null(result);
	assert_true(reads > 0);
	env_close(e);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(keeps_what_was_put),
		TEST(changes_and_removes),
		TEST(says_how_large_a_value_is),
		TEST(walks_in_order),
		TEST(is_full_at_four_fifths_and_goes_on),
		TEST(newer_schema_is_left_alone),
		TEST(older_schema_is_emptied),
		TEST(truncated_file_is_moved_aside),
		TEST(every_truncation_is_survived),
		TEST(garbage_is_moved_aside),
		TEST(text_file_is_moved_aside),
		TEST(torn_second_head_is_moved_aside),
		TEST(root_outside_is_moved_aside),
		TEST(empty_file_is_a_new_one),
		TEST(jffs2_is_explained),
		TEST(full_disk_is_said),
		TEST(impossible_places_are_said),
		TEST(durable_means_no_relaxed_flags),
		TEST(durable_is_not_emptied_for_a_schema),
		TEST(durable_keeps_all_that_was_moved_aside),
		TEST(settling_may_use_the_last_fifth),
		TEST(every_flipped_bit_is_survived),
		TEST(is_not_for_two),
		TEST(can_be_read_while_it_is_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
