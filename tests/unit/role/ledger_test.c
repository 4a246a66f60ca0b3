/*
 * The ledger over a cache of the test's own, with time that stands until it is moved.
 */
#include "role/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "support/memory_loop.h"

#define UNIX_NOW 1800000000000ull
#define KEEP_MS  (10ull * DAY_MS)

enum { RECORDS_MAX = 4, RECORD_MAX = 64 * 1024 };

static struct {
	char     key[64];
	char     value[RECORD_MAX];
	size_t   len;
	uint64_t until;
} records[RECORDS_MAX];
static size_t       puts_done;
static enum err     put_result;
static struct loop *loop;

bool cache_get(struct cache *c, struct str key, void *room, size_t size, size_t *len)
{
	(void)c;
	for (size_t i = 0; i < RECORDS_MAX; i++)
		if (str_is(key, records[i].key) && records[i].len <= size &&
		    loop_unix_ms(loop) < records[i].until) {
			memcpy(room, records[i].value, records[i].len);
			*len = records[i].len;
			return true;
		}
	return false;
}

enum err cache_put(struct cache *c, struct str key, struct str value, uint64_t until_unix_ms)
{
	size_t i = 0;

	(void)c;
	if (put_result != ERR_OK)
		return put_result;
	while (records[i].key[0] != '\0' && !str_is(key, records[i].key))
		assert_true(++i < RECORDS_MAX);
	assert_true(str_copy(key, records[i].key, sizeof(records[i].key)));
	assert_true(value.len <= CACHE_VALUE_MAX);
	memcpy(records[i].value, value.ptr, value.len);
	records[i].len = value.len;
	records[i].until = until_unix_ms;
	puts_done++;
	return ERR_OK;
}

static int setup(void **state)
{
	(void)state;
	memset(records, 0, sizeof(records));
	puts_done = 0;
	put_result = ERR_OK;
	loop = memory_loop_new();
	memory_loop_set_unix(loop, UNIX_NOW);
	return loop == NULL;
}

static int teardown(void **state)
{
	(void)state;
	memory_loop_free(loop);
	return 0;
}

static struct ledger *begin(size_t places, bool kept)
{
	struct ledger_options o = { loop, kept ? (struct cache *)(void *)&records : NULL, "names",
		                    places, KEEP_MS };
	struct ledger        *l;

	assert_int_equal(ledger_new(&o, &l), ERR_OK);
	return l;
}

static struct ledger_mark mark(const struct ledger *l, const char *a, const char *b)
{
	struct str         texts[2] = { str_of(a), str_of(b) };
	struct ledger_mark m;

	ledger_mark(l, texts, 2, &m);
	return m;
}

static bool has(const struct ledger *l, const char *b)
{
	struct ledger_mark m = mark(l, "a", b);

	return ledger_has(l, &m);
}

static bool note(struct ledger *l, const char *b)
{
	struct ledger_mark m = mark(l, "a", b);

	return ledger_note(l, &m);
}

static void note_number(struct ledger *l, unsigned i)
{
	char text[16];

	snprintf(text, sizeof(text), "n%u", i);
	(void)note(l, text);
}

static bool has_number(const struct ledger *l, unsigned i)
{
	char text[16];

	snprintf(text, sizeof(text), "n%u", i);
	return has(l, text);
}

static void noted_and_forgotten(void **state)
{
	struct ledger     *l = begin(64, false);
	struct ledger_mark m = mark(l, "a", "one");

	(void)state;
	assert_true(ledger_is_empty(l));
	assert_false(has(l, "one"));
	assert_true(note(l, "one"));
	assert_false(note(l, "one"));
	assert_true(has(l, "one"));
	assert_false(has(l, "On"));
	assert_false(ledger_is_empty(l));
	ledger_forget(l, &m);
	ledger_forget(l, &m);
	assert_false(has(l, "one"));
	assert_true(ledger_is_empty(l));
	ledger_free(l);
}

/* ("ab", "c") and ("a", "bc") are two things. */
static void texts_are_parted(void **state)
{
	struct ledger     *l = begin(64, false);
	struct ledger_mark m = mark(l, "ab", "c"), other = mark(l, "a", "bc");

	(void)state;
	assert_memory_not_equal(m.bytes, other.bytes, LEDGER_MARK_BYTES);
	ledger_free(l);
}

static void salts_differ(void **state)
{
	struct ledger     *one = begin(64, false), *two = begin(64, false);
	struct ledger_mark m = mark(one, "a", "b"), other = mark(two, "a", "b");

	(void)state;
	assert_memory_not_equal(m.bytes, other.bytes, LEDGER_MARK_BYTES);
	ledger_free(one);
	ledger_free(two);
}

/* Whatever comes, the latest are there, and no more than there are places for. */
static void bounded(void **state)
{
	struct ledger *l = begin(64, false);
	unsigned       left = 0;

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		note_number(l, i);
		assert_true(has_number(l, i));
		memory_loop_pass(loop, MINUTE_MS);
	}
	for (unsigned i = 0; i < 1000; i++)
		left += has_number(l, i);
	assert_int_equal(left, 64);
	ledger_free(l);
}

/* Within a row the one seen longest ago goes: who is seen every day stays. */
static void latest_stay(void **state)
{
	struct ledger *l = begin(8, false);

	(void)state;
	assert_true(note(l, "mine"));
	for (unsigned i = 0; i < 100; i++) {
		memory_loop_pass(loop, DAY_MS);
		assert_false(note(l, "mine"));
		for (unsigned k = 0; k < 7; k++)
			note_number(l, 7 * i + k);
	}
	ledger_free(l);
}

static void expires(void **state)
{
	struct ledger *l = begin(64, false);

	(void)state;
	(void)note(l, "one");
	memory_loop_pass(loop, KEEP_MS - HOUR_MS);
	assert_true(has(l, "one"));
	memory_loop_pass(loop, 2 * HOUR_MS);
	assert_false(has(l, "one"));
	assert_true(note(l, "one"));
	ledger_free(l);
}

static void outlives_the_process(void **state)
{
	struct ledger *l = begin(2500, true);
	unsigned       left = 0;

	(void)state;
	for (unsigned i = 0; i < 300; i++)
		note_number(l, i);
	ledger_free(l);
	assert_int_equal(puts_done, 3); /* 2504 places */
	l = begin(2500, true);
	for (unsigned i = 0; i < 300; i++)
		left += has_number(l, i);
	assert_int_equal(left, 300);
	assert_int_equal(puts_done, 3);
	ledger_free(l);
	assert_int_equal(puts_done, 3); /* nothing has changed */
}

static void written_a_minute_later(void **state)
{
	struct ledger *l = begin(64, true);

	(void)state;
	(void)note(l, "one");
	memory_loop_pass(loop, MINUTE_MS - 1000);
	(void)note(l, "two");
	assert_int_equal(puts_done, 0);
	memory_loop_pass(loop, 2000);
	assert_int_equal(puts_done, 1);     /* both */
	for (unsigned i = 0; i < 20; i++) { /* seen again: once a day is enough */
		(void)note(l, "one");
		memory_loop_pass(loop, HOUR_MS);
	}
	assert_int_equal(puts_done, 1);
	memory_loop_pass(loop, 2 * DAY_MS); /* all of it, in case the cache lost it */
	assert_true(puts_done >= 2);
	ledger_free(l);
}

static void written_when_it_goes_again(void **state)
{
	struct ledger *l = begin(64, true);

	(void)state;
	put_result = ERR_BUSY;
	(void)note(l, "one");
	memory_loop_pass(loop, 5 * MINUTE_MS);
	put_result = ERR_OK;
	memory_loop_pass(loop, 2 * MINUTE_MS);
	assert_int_equal(puts_done, 1);
	ledger_free(l);
}

/* Nothing of what was noted can be read in it. */
static void tells_nothing(void **state)
{
	struct ledger *l = begin(64, true);

	(void)state;
	(void)note(l, "syt_secret_token");
	ledger_free(l);
	for (size_t i = 0; i + 6 < records[0].len; i++)
		assert_memory_not_equal(records[0].value + i, "secret", 6);
	assert_int_equal(records[0].len, 1 + 32 + 20);
}

/* Any bytes at all: what is not ours is as good as nothing. */
static void damaged(void **state)
{
	struct ledger *l = begin(64, true);
	size_t         whole;

	(void)state;
	(void)note(l, "one");
	(void)note(l, "two");
	ledger_free(l);
	whole = records[0].len;
	for (size_t cut = 0; cut < whole; cut++) {
		records[0].len = cut;
		l = begin(64, true);
		assert_int_equal(has(l, "one") + has(l, "two"), cut < 33 + 20 ? 0 : 1);
		ledger_free(l);
	}
	records[0].len = whole;
	records[0].value[0] = 9; /* of another schema */
	l = begin(64, true);
	assert_true(ledger_is_empty(l));
	ledger_free(l);
}

/* Before the time is known what was learnt earlier counts, and is not made older. */
static void clock_not_set(void **state)
{
	struct ledger *l = begin(64, true);

	(void)state;
	(void)note(l, "one");
	ledger_free(l);
	memory_loop_set_unix(loop, 1000);
	l = begin(64, true);
	assert_true(has(l, "one"));
	assert_false(note(l, "one"));
	memory_loop_set_unix(loop, UNIX_NOW + KEEP_MS - HOUR_MS);
	assert_true(has(l, "one"));
	ledger_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(noted_and_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(texts_are_parted, setup, teardown),
		cmocka_unit_test_setup_teardown(salts_differ, setup, teardown),
		cmocka_unit_test_setup_teardown(bounded, setup, teardown),
		cmocka_unit_test_setup_teardown(latest_stay, setup, teardown),
		cmocka_unit_test_setup_teardown(expires, setup, teardown),
		cmocka_unit_test_setup_teardown(outlives_the_process, setup, teardown),
		cmocka_unit_test_setup_teardown(written_a_minute_later, setup, teardown),
		cmocka_unit_test_setup_teardown(written_when_it_goes_again, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_nothing, setup, teardown),
		cmocka_unit_test_setup_teardown(damaged, setup, teardown),
		cmocka_unit_test_setup_teardown(clock_not_set, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
