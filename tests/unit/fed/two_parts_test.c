#include "fed/two_parts.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define TYPE     "multipart/mixed; boundary=abc"
#define FIRST    "--abc\r\nContent-Type: application/json\r\n\r\n{}\r\n"
#define SECOND   "--abc\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
#define END      "--abc--"

static const struct row {
	const char *type, *body;
	bool        want;
} rows[] = {
	/* the specification's example, in short */
	{ TYPE, FIRST SECOND END, true },
	{ TYPE, FIRST SECOND END "\r\nepilogue --abc\r\n", true },
	{ TYPE, "preamble\r\n" FIRST SECOND END, true },
	{ TYPE, "\r\n" FIRST SECOND END, true },
	{ "Multipart/Mixed;charset=x; Boundary=\"abc\"; x=y", FIRST SECOND END, true },
	{ "multipart/mixed;x=\"a;boundary=no\";boundary=abc", FIRST SECOND END, true },
	{ TYPE, FIRST "--abc \t\r\nContent-Type: a/b\r\n\r\n\r\n" END, true },
	{ TYPE, FIRST "--abc\r\n\r\n" END, true },
	{ TYPE, "--abc\r\ncontent-type:\tAPPLICATION/JSON; charset=utf-8\r\n\r\n{}\r\n" SECOND END,
	  true },
	/* bytes that look like the boundary */
	{ TYPE, FIRST "--abc\r\n\r\n\r\n--ab\r\n\r\r\n-\r\n--\r\n--abd--abc\r\n" END, true },
	{ TYPE, FIRST "--abc\r\n\r\n--abc--\r\n" END, true },
	/* not whole */
	{ TYPE, "", false },
	{ TYPE, FIRST, false },
	{ TYPE, FIRST SECOND, false },
	{ TYPE, FIRST SECOND "--abc", false },
	{ TYPE, FIRST SECOND "--abc-", false },
	{ TYPE, FIRST SECOND "--abd--", false },
	{ TYPE, FIRST END, false },
	{ TYPE, SECOND FIRST END, false },
	{ TYPE, FIRST SECOND SECOND END, false },
	{ TYPE, FIRST "--abcd\r\n\r\nx\r\n" END, false },
	{ TYPE, FIRST "--abc\n\n\r\n" END, false },
	{ TYPE, "--abc\r\n\r\n{}\r\n" SECOND END, false },
	{ TYPE, FIRST "--abc\r\nContent-Type: a/b\n\r\nx\r\n" END, false },
	{ TYPE, FIRST "--abc\r\nContent-Type: a/b\r\n\nx\r\n" END, false },
	/* elsewhere */
	{ TYPE, FIRST "--abc\r\nLocation: https://a/\r\n\r\n\r\n" END, false },
	{ TYPE, FIRST "--abc\r\nContent-Type: a/b\r\nlocation:https://a/\r\n\r\nx\r\n" END, false },
	{ TYPE, FIRST "--abc\r\nlocation : https://a/\r\n\r\n\r\n" END, false },
	/* no such type */
	{ "multipart/mixed", FIRST SECOND END, false },
	{ "multipart/mixed; boundary=", FIRST SECOND END, false },
	{ "multipart/mixed; boundary", FIRST SECOND END, false },
	{ "multipart/form-data; boundary=abc", FIRST SECOND END, false },
	{ "application/json", FIRST SECOND END, false },
	{ "", FIRST SECOND END, false },
	{ "multipart/mixed; boundary=\"a\rb\"", FIRST SECOND END, false },
	{ "multipart/mixed; boundary=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
	  FIRST SECOND END, false },
};

static bool look(const struct row *r, size_t piece)
{
	struct two_parts p;
	struct str       rest = str_of(r->body);
	bool             ok = two_parts_init(&p, str_of(r->type));

	while (rest.len > 0) {
		struct exact x;

		two_parts_feed(&p, exact_copy(&x, str_head(rest, piece)));
		exact_free(&x);
		rest = str_from(rest, piece);
	}
	assert_true(ok || !two_parts_is_complete(&p));
	return two_parts_is_complete(&p);
}

static void are_found_complete_in_any_pieces(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		print_message("  %s: %s\n", rows[i].type, rows[i].body);
		for (size_t piece = 1; piece < 12; piece++)
			assert_int_equal(look(&rows[i], piece), rows[i].want);
		assert_int_equal(look(&rows[i], 4096), rows[i].want);
	}
}

static void prefixes_are_not_complete(void **state)
{
	static const char whole[] = FIRST SECOND END;

	(void)state;
	for (size_t n = 0; n < sizeof(whole) - 1; n++) {
		struct two_parts p;
		struct exact     x;

		assert_true(two_parts_init(&p, STRL(TYPE)));
		two_parts_feed(&p, exact_copy(&x, str_head(STRL(whole), n)));
		assert_false(two_parts_is_complete(&p));
		exact_free(&x);
	}
}

static void heads_have_a_limit(void **state)
{
	struct two_parts p;

	(void)state;
	assert_true(two_parts_init(&p, STRL(TYPE)));
	two_parts_feed(&p, STRL("--abc\r\nContent-Type: application/json\r\n"));
	for (unsigned i = 0; i < 2000; i++)
		two_parts_feed(&p, STRL("x: y\r\n"));
	two_parts_feed(&p, STRL("\r\n\r\n" SECOND END));
	assert_false(two_parts_is_complete(&p));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(are_found_complete_in_any_pieces),
		cmocka_unit_test(prefixes_are_not_complete),
		cmocka_unit_test(heads_have_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
