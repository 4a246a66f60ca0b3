#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "fed/self_check.h"

enum { LIST_MAX = 8 };

/* Addresses parted by blanks. */
static size_t read_list(const char *text, struct address *out)
{
	struct str rest = str_of(text);
	size_t     n = 0;

	while (rest.len > 0) {
		size_t blank = str_find(rest, ' ');

		assert_int_equal(address_parse_ip(str_head(rest, blank), &out[n++]), ERR_OK);
		rest = str_from(rest, blank + (blank < rest.len));
	}
	return n;
}

static const struct {
	const char *text;
	enum reach  reach;
} reaches[] = {
	{ "198.51.100.7", REACH_PUBLIC },  { "10.0.0.1", REACH_PRIVATE },
	{ "172.16.0.1", REACH_PRIVATE },   { "172.32.0.1", REACH_PUBLIC },
	{ "192.168.1.1", REACH_PRIVATE },  { "100.64.0.1", REACH_SHARED },
	{ "100.127.255.9", REACH_SHARED }, { "100.128.0.1", REACH_PUBLIC },
	{ "100.63.255.9", REACH_PUBLIC },  { "192.0.0.2", REACH_DSLITE },
	{ "192.0.0.8", REACH_PUBLIC },     { "127.0.0.1", REACH_NOBODY },
	{ "169.254.1.1", REACH_NOBODY },   { "0.0.0.0", REACH_NOBODY },
	{ "224.0.0.1", REACH_NOBODY },     { "2a01:4f8::1", REACH_PUBLIC },
	{ "fd00::1", REACH_PRIVATE },      { "fe80::1", REACH_NOBODY },
	{ "::1", REACH_NOBODY },           { "::ffff:10.0.0.1", REACH_NOBODY },
};

static void who_reaches_an_address(void **state)
{
	struct address a;

	(void)state;
	for (size_t i = 0; i < sizeof(reaches) / sizeof(reaches[0]); i++) {
		print_message("  %s\n", reaches[i].text);
		assert_int_equal(address_parse_ip(str_of(reaches[i].text), &a), ERR_OK);
		assert_int_equal(self_check_reach(&a), reaches[i].reach);
	}
}

static const struct {
	const char    *wan, *own;
	enum line_kind kind;
	bool           v6;
	const char    *v4;
} lines[] = {
	{ "198.51.100.7", "127.0.0.1 192.168.1.1 198.51.100.7", LINE_PUBLIC, false,
	  "198.51.100.7" },
	{ "198.51.100.7 2a01::2", "192.168.1.1 2a01::2", LINE_PUBLIC, true, "198.51.100.7" },
	{ "192.168.178.20", "192.168.1.1 192.168.178.20", LINE_NAT, false, "192.168.178.20" },
	{ "100.72.3.4", "192.168.1.1 100.72.3.4", LINE_SHARED, false, "100.72.3.4" },
	{ "100.72.3.4 2a01::2", "192.168.1.1 2a01::2 fe80::1", LINE_SHARED, true, "100.72.3.4" },
	{ "192.0.0.2", "192.168.1.1 192.0.0.2 2a01::2", LINE_DSLITE, true, "192.0.0.2" },
	{ "", "127.0.0.1 192.168.1.1 2a01::2", LINE_NAT, true, "192.168.1.1" },
	{ "2a01::2", "127.0.0.1 ::1 192.168.1.1 2a01::2", LINE_V6_ONLY, true, NULL },
	{ "", "127.0.0.1 ::1 fe80::1", LINE_NONE, false, NULL },
	{ "", "", LINE_NONE, false, NULL },
	/* no default route was found: whatever is public counts */
	{ "", "192.168.1.1 100.64.9.9 203.0.114.5", LINE_PUBLIC, false, "203.0.114.5" },
};

static void what_kind_of_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		struct address wan[LIST_MAX], own[LIST_MAX], want;
		size_t         w = read_list(lines[i].wan, wan), o = read_list(lines[i].own, own);
		struct line    line = self_check_line(wan, w, own, o);

		print_message("  '%s' among '%s'\n", lines[i].wan, lines[i].own);
		assert_int_equal(line.kind, lines[i].kind);
		assert_int_equal(line.has_public_v6, lines[i].v6);
		if (lines[i].v4 == NULL) {
			assert_int_equal(line.v4.family, 0);
			continue;
		}
		assert_int_equal(address_parse_ip(str_of(lines[i].v4), &want), ERR_OK);
		assert_true(address_same_ip(&line.v4, &want));
	}
}

static const struct {
	const char    *answers, *own;
	enum name_kind kind;
	const char    *stray;
} names[] = {
	{ "", "192.168.1.1", NAME_ABSENT, NULL },
	{ "198.51.100.7", "192.168.1.1 198.51.100.7", NAME_HERE, NULL },
	{ "192.168.1.1", "192.168.1.1 100.64.0.9", NAME_HERE, NULL }, /* split DNS */
	{ "198.51.100.7 2a01::2", "198.51.100.7 2a01::2", NAME_HERE, NULL },
	{ "198.51.100.7 2a01::3", "198.51.100.7 2a01::2", NAME_MIXED, "2a01::3" },
	{ "198.51.100.9", "192.168.1.1 198.51.100.7", NAME_ELSEWHERE, "198.51.100.9" },
	{ "192.168.1.9", "192.168.1.1", NAME_PRIVATE, "192.168.1.9" },
	{ "192.168.1.9 198.51.100.9", "192.168.1.1", NAME_ELSEWHERE, "192.168.1.9" },
};

static void where_a_name_leads(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct address   answers[LIST_MAX], own[LIST_MAX], want;
		size_t           a = read_list(names[i].answers, answers);
		size_t           o = read_list(names[i].own, own);
		struct name_look look = self_check_name(answers, a, own, o);

		print_message("  '%s' for '%s'\n", names[i].answers, names[i].own);
		assert_int_equal(look.kind, names[i].kind);
		if (names[i].stray == NULL) {
			assert_int_equal(look.stray.family, 0);
			continue;
		}
		assert_int_equal(address_parse_ip(str_of(names[i].stray), &want), ERR_OK);
		assert_true(address_same_ip(&look.stray, &want));
	}
}

static void clocks(void **state)
{
	(void)state;
	assert_false(self_check_clock_is_set(0));
	assert_false(self_check_clock_is_set(1735689599999));
	assert_true(self_check_clock_is_set(1735689600000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_reaches_an_address),
		cmocka_unit_test(what_kind_of_line),
		cmocka_unit_test(where_a_name_leads),
		cmocka_unit_test(clocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
