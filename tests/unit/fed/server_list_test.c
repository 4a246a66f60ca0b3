#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fed/server_list.h"

static const char *const list[] = { "bad.example", "*.worse.example", "port.example:8449",
	                            "192.0.2.7", "[2001:db8::7]" };

static const struct {
	const char *name;
	bool        found;
} rows[] = {
	{ "bad.example", true },
	{ "BAD.example", true },
	{ "bad.example:8448", true },
	{ "bad.example:1", true },
	{ "bad.example.", true },
	{ "notbad.example", false },
	{ "sub.bad.example", false },
	{ "bad.example.org", false },
	{ "worse.example", false },
	{ "a.worse.example", true },
	{ "a.b.WORSE.example:99", true },
	{ "a.worse.example.", true },
	{ ".worse.example", false },
	{ "aworse.example", false },
	{ "port.example", false },
	{ "port.example:8449", true },
	{ "port.example:08449", true },
	{ "port.example:8448", false },
	{ "192.0.2.7", true },
	{ "192.0.2.7:8448", true },
	{ "192.0.2.70", false },
	{ "[2001:db8::7]", true },
	{ "[2001:DB8::7]:8448", true },
	{ "[2001:db8::8]", false },
	{ "", false },
	{ "bad.example:none", false },
};

static void names(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("  %s\n", rows[i].name);
		assert_int_equal(server_list_has(list, 5, str_of(rows[i].name)), rows[i].found);
	}
}

static void nobody(void **state)
{
	(void)state;
	assert_false(server_list_has(NULL, 0, STRL("bad.example")));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(names), cmocka_unit_test(nobody) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
