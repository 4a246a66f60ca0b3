#include "role/shelf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/metrics.h"

enum { MAX = 256 * 1024 };

static struct shelf shelf;

static int begin(void **state)
{
	(void)state;
	shelf_init(&shelf, MAX, 7);
	metrics.counters[COUNT_answers_dropped] = 0;
	return 0;
}

static int end(void **state)
{
	(void)state;
	shelf_fini(&shelf);
	assert_int_equal(metrics.gauges[GAUGE_answers_bytes].used, 0);
	assert_int_equal(metrics.gauges[GAUGE_answers_items].used, 0);
	return 0;
}

/* A body of n bytes that depend on seed; NULL: not taken. */
static struct shelf_item *draft(enum snapshot_kind kind, const char *name, size_t n, char seed,
                                size_t piece)
{
	struct shelf_item *i =
		shelf_begin(&shelf, kind, str_of(name), STRL("A: b\r\n"), piece == 0 ? n : 0);
	char *bytes = malloc(n + 1);

	assert_non_null(bytes);
	for (size_t k = 0; k < n; k++)
		bytes[k] = (char)(seed + (char)(k % 61));
	for (struct str rest = str_span(bytes, n); i != NULL && rest.len > 0;
	     rest = str_from(rest, piece == 0 ? n : piece))
		if (!shelf_add(i, str_head(rest, piece == 0 ? n : piece))) {
			shelf_drop(i);
			i = NULL;
		}
	free(bytes);
	return i;
}

static bool put(enum snapshot_kind kind, const char *name, size_t n)
{
	struct shelf_item *i = draft(kind, name, n, 'a', 0);

	if (i != NULL)
		shelf_put(i);
	return i != NULL;
}

static bool has(const char *name)
{
	return shelf_find(&shelf, str_of(name)) != NULL;
}

static void gives_back_what_was_put(void **state)
{
	static const size_t sizes[] = { 0, 1, 1023, 1024, 1025, 16384, 16385, 50000 };
	static const size_t pieces[] = { 0, 1000, 7, 20000 };

	(void)state;
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
		for (size_t p = 0; p < sizeof(pieces) / sizeof(pieces[0]); p++) {
			struct shelf_item *i = draft(SNAPSHOT_MEDIA, "x", sizes[s], 'A', pieces[p]);
			char              *body;

			assert_non_null(i);
			shelf_put(i);
			i = shelf_find(&shelf, STRL("x"));
			assert_non_null(i);
			assert_int_equal(i->body_len, sizes[s]);
			assert_true(str_is(shelf_fields(i), "A: b\r\n"));
			assert_true(shelf_copy_body(i, &body));
			for (size_t k = 0; k < sizes[s]; k++)
				assert_int_equal(body[k], 'A' + (char)(k % 61));
			free(body);
		}
	assert_int_equal(shelf.count, 1);
	assert_int_equal(shelf_forget(&shelf, STRL("y")), 0);
	assert_int_equal(shelf_forget(&shelf, STRL("x")), 1);
	assert_int_equal(shelf.used, 0);
}

static void compares_whatever_the_pieces(void **state)
{
	static const struct {
		size_t len, piece;
		char   seed;
		bool   want;
	} rows[] = { { 5000, 0, 'a', true },  { 5000, 7, 'a', true },  { 5000, 3000, 'a', true },
		     { 5000, 0, 'b', false }, { 4999, 0, 'a', false }, { 5001, 9, 'a', false } };
	struct shelf_item *a = draft(SNAPSHOT_RECORD, "a", 5000, 'a', 1111);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct shelf_item *b =
			draft(SNAPSHOT_RECORD, "b", rows[i].len, rows[i].seed, rows[i].piece);

		assert_int_equal(shelf_same(a, b), rows[i].want);
		shelf_drop(b);
	}
	shelf_drop(a);
}

static void dates_are_of_the_moment(void **state)
{
	static const struct {
		const char *a, *b;
		bool        want;
	} rows[] = {
		{ "Date: 1\r\nX: y\r\n", "X: y\r\nDate: 2\r\nexpires: 7\r\n", true },
		{ "Date: 1\r\n", "", true },
		{ "X: y\r\n", "X: z\r\n", false },
		{ "X: y\r\n", "", false },
		{ "", "", true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct shelf_item *a =
			shelf_begin(&shelf, SNAPSHOT_RECORD, STRL("a"), str_of(rows[i].a), 0);
		struct shelf_item *b =
			shelf_begin(&shelf, SNAPSHOT_RECORD, STRL("b"), str_of(rows[i].b), 0);

		assert_int_equal(shelf_same(a, b), rows[i].want);
		assert_int_equal(shelf_same(b, a), rows[i].want);
		shelf_drop(a);
		shelf_drop(b);
	}
}

static void the_latest_of_a_name_stays(void **state)
{
	struct shelf_item *held;

	(void)state;
	assert_true(put(SNAPSHOT_MEDIA, "x", 100));
	held = shelf_hold(shelf_find(&shelf, STRL("x")));
	assert_true(put(SNAPSHOT_MEDIA, "x", 200));
	assert_int_equal(shelf.count, 1);
	assert_int_equal(shelf_find(&shelf, STRL("x"))->body_len, 200);
	assert_int_equal(held->body_len, 100);
	shelf_drop(held);
}

/* Used longest ago goes first, and never more is used than allowed. */
static void makes_room(void **state)
{
	char name[8];

	(void)state;
	for (unsigned n = 0; n < 100; n++) {
		snprintf(name, sizeof(name), "m%u", n);
		assert_true(put(SNAPSHOT_MEDIA, name, 30000));
		assert_true(shelf.used <= MAX);
		(void)shelf_find(&shelf, STRL("m0"));
	}
	assert_true(has("m0") && has("m99") && has("m98") && !has("m50") && !has("m1"));
	assert_int_equal(metrics.counters[COUNT_answers_dropped], 100 - shelf.count);
	assert_int_equal(metrics.gauges[GAUGE_answers_bytes].used, shelf.used);
	assert_int_equal(metrics.gauges[GAUGE_answers_items].used, shelf.count);
}

static void kinds_keep_their_shares(void **state)
{
	char name[8];

	(void)state;
	assert_true(put(SNAPSHOT_FOUNDATION, "keys", 3000));
	assert_true(put(SNAPSHOT_DEVICES, "devices", 3000));
	for (unsigned n = 0; n < 60; n++) {
		snprintf(name, sizeof(name), "p%u", n);
		assert_true(put(SNAPSHOT_PASSING, name, 3000));
		snprintf(name, sizeof(name), "r%u", n);
		assert_true(put(SNAPSHOT_RECORD, name, 3000));
		snprintf(name, sizeof(name), "m%u", n);
		assert_true(put(SNAPSHOT_MEDIA, name, 10000));
		assert_true(shelf.used_of[SNAPSHOT_PASSING] <= MAX / 8);
		assert_true(shelf.used_of[SNAPSHOT_RECORD] + shelf.used_of[SNAPSHOT_DEVICES] <=
		            MAX / 2);
	}
	/* what there is more of gives way: a flood of records leaves devices alone */
	assert_true(has("keys") && has("devices"));
	assert_true(has("r59") && has("m59"));
	assert_false(has("r0") || has("m0") || has("p0"));
}

static void large_ones_are_not_taken(void **state)
{
	(void)state;
	assert_null(draft(SNAPSHOT_MEDIA, "x", MAX / 4 + 1, 'a', 0));
	assert_null(draft(SNAPSHOT_MEDIA, "x", MAX / 4 + 1, 'a', 999));
	assert_null(draft(SNAPSHOT_RECORD, "x", 60 * 1024 + 1, 'a', 999));
	assert_int_equal(shelf.used, 0);
	assert_true(put(SNAPSHOT_RECORD, "x", 60 * 1024));
	assert_true(put(SNAPSHOT_MEDIA, "y", MAX / 4));
}

/* Many at once get half of the room; they drive out others, but not what is being given. */
static void drafts_have_a_share(void **state)
{
	struct shelf_item *drafts[16], *held;
	size_t             n = 0;

	(void)state;
	for (unsigned k = 0; k < 8; k++) {
		char name[8];

		snprintf(name, sizeof(name), "m%u", k);
		assert_true(put(SNAPSHOT_MEDIA, name, 30000));
	}
	held = shelf_hold(shelf_find(&shelf, STRL("m0")));
	(void)shelf_find(&shelf, STRL("m7"));
	while (n < 16 && (drafts[n] = draft(SNAPSHOT_MEDIA, "d", 30000, 'a', 0)) != NULL)
		n++;
	assert_int_equal(n, MAX / 2 / 30000);
	assert_true(shelf.used <= MAX && shelf.drafts <= MAX / 2);
	assert_true(has("m0") && has("m7"));
	while (n-- > 0)
		shelf_drop(drafts[n]);
	shelf_drop(held);
	assert_int_equal(shelf.drafts, 0);
}

static void what_is_held_stays_counted(void **state)
{
	struct shelf_item *held[8];

	(void)state;
	for (unsigned k = 0; k < 4; k++) {
		char name[8];

		snprintf(name, sizeof(name), "m%u", k);
		assert_true(put(SNAPSHOT_MEDIA, name, 60000));
		held[k] = shelf_hold(shelf_find(&shelf, str_of(name)));
	}
	assert_false(put(SNAPSHOT_MEDIA, "more", 60000));
	for (unsigned k = 0; k < 4; k++) {
		shelf_forget(&shelf, shelf_name(held[k]));
		assert_true(shelf.used >= 4 * 60000);
	}
	assert_int_equal(shelf.count, 0);
	assert_false(put(SNAPSHOT_MEDIA, "more", 60000));
	for (unsigned k = 0; k < 4; k++)
		shelf_drop(held[k]);
	assert_int_equal(shelf.used, 0);
	assert_true(put(SNAPSHOT_MEDIA, "more", 60000));
}

static void forgets_by_prefix(void **state)
{
	(void)state;
	assert_true(put(SNAPSHOT_DEVICES, "a\nb\nc", 10));
	assert_true(put(SNAPSHOT_DEVICES, "a\nb\nd", 10));
	assert_true(put(SNAPSHOT_DEVICES, "a\nc\nd", 10));
	assert_true(put(SNAPSHOT_MEDIA, "a\nb\nx", 10));
	assert_int_equal(shelf_forget_all(&shelf, SNAPSHOT_DEVICES, STRL("a\nb\n")), 2);
	assert_true(has("a\nc\nd") && has("a\nb\nx"));
	assert_int_equal(shelf_forget_all(&shelf, SNAPSHOT_DEVICES, STRL("")), 1);
}

static void less_room_than_before(void **state)
{
	struct shelf_item *d;

	(void)state;
	for (char name[] = "a"; name[0] < 'f'; name[0]++)
		assert_true(put(SNAPSHOT_MEDIA, name, 40000));
	d = draft(SNAPSHOT_MEDIA, "d", 10000, 'a', 0);
	shelf_set_max(&shelf, 100000);
	assert_true(shelf.used <= 100000 && has("e") && !has("a"));
	shelf_set_max(&shelf, 8000);
	assert_false(shelf_add(d, STRL("x")));
	shelf_drop(d);
	shelf_set_max(&shelf, 0);
	assert_int_equal(shelf.count, 0);
	assert_false(put(SNAPSHOT_FOUNDATION, "keys", 1));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(gives_back_what_was_put),
		TEST(compares_whatever_the_pieces),
		TEST(dates_are_of_the_moment),
		TEST(the_latest_of_a_name_stays),
		TEST(makes_room),
		TEST(kinds_keep_their_shares),
		TEST(large_ones_are_not_taken),
		TEST(drafts_have_a_share),
		TEST(what_is_held_stays_counted),
		TEST(forgets_by_prefix),
		TEST(less_room_than_before),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
