#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "app/suggest.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct row {
	struct str a, b;
	size_t     distance;
} rows[] = {
	{ STR(""), STR(""), 0 },
	{ STR("a"), STR(""), 1 },
	{ STR(""), STR("abc"), 3 },
	{ STR("delegate"), STR("delegate"), 0 },
	{ STR("delegat"), STR("delegate"), 1 },
	{ STR("deelegate"), STR("delegate"), 1 },
	{ STR("delegete"), STR("delegate"), 1 },
	{ STR("deleagte"), STR("delegate"), 1 }, /* neighbours swapped */
	{ STR("kitten"), STR("sitting"), 3 },
	{ STR("ca"), STR("abc"), 3 }, /* the restricted kind: no edit inside a swap */
	{ STR("sever_nmae"), STR("server_name"), 2 },
	{ STR("0123456789012345678901234567890123456789012345678"), STR("a"), SIZE_MAX },
	{ STR("a"), STR("0123456789012345678901234567890123456789012345678"), SIZE_MAX },
	{ STR("012345678901234567890123456789012345678901234567"), STR(""), 48 },
};

static void measures(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		print_message("  %.*s %.*s\n", (int)rows[i].a.len, rows[i].a.ptr,
		              (int)rows[i].b.len, rows[i].b.ptr);
		assert_int_equal(suggest_distance(rows[i].a, rows[i].b), rows[i].distance);
	}
}

static void expect(struct str written, const char *want)
{
	static const char *const words[] = { "domain", "delegate", "dns", "expose", "enabled" };
	struct suggest           s;
	char                     text[64];

	suggest_init(&s, written);
	for (size_t i = 0; i < COUNT(words); i++)
		suggest_offer(&s, words[i]);
	assert_string_equal(suggest_text(&s, text, sizeof(text)), want);
}

static void offers_only_what_is_near(void **state)
{
	(void)state;
	expect(STRL("delgate"), "; did you mean 'delegate'?");
	expect(STRL("exposed"), "; did you mean 'expose'?");
	expect(STRL("enable"), "; did you mean 'enabled'?");
	expect(STRL("dn"), "; did you mean 'dns'?");
	expect(STRL("certificate"), "");
	expect(STRL("x"), "");
	expect(STRL("xy"), "");
	expect(STRL(""), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(measures),
		cmocka_unit_test(offers_only_what_is_near),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
