#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/address.h"
#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct ip_row {
	struct str  text;
	enum err    want;
	const char *printed;
} ip_rows[] = {
	/* RFC 4291 2.2 (reading), RFC 5952 4 and 5 (printing) */
	{ STR("0.0.0.0"), ERR_OK, "0.0.0.0" },
	{ STR("255.255.255.255"), ERR_OK, "255.255.255.255" },
	{ STR("192.0.2.1"), ERR_OK, "192.0.2.1" },
	{ STR("256.0.2.1"), ERR_RANGE, NULL },
	{ STR("192.0.2.999"), ERR_RANGE, NULL },
	{ STR("192.0.2.1000"), ERR_SYNTAX, NULL },
	{ STR("192.0.2.01"), ERR_SYNTAX, NULL },
	{ STR("00.0.0.0"), ERR_SYNTAX, NULL },
	{ STR("192.0.2"), ERR_SYNTAX, NULL },
	{ STR("192.0.2."), ERR_SYNTAX, NULL },
	{ STR(".192.0.2.1"), ERR_SYNTAX, NULL },
	{ STR("192.0.2.1."), ERR_SYNTAX, NULL },
	{ STR("192.0.2.1.5"), ERR_SYNTAX, NULL },
	{ STR("192..2.1"), ERR_SYNTAX, NULL },
	{ STR("192.0.2.-1"), ERR_SYNTAX, NULL },
	{ STR(" 192.0.2.1"), ERR_SYNTAX, NULL },
	{ STR("0x7f.0.0.1"), ERR_SYNTAX, NULL },
	{ STR("2130706433"), ERR_SYNTAX, NULL },
	{ STR("127.1"), ERR_SYNTAX, NULL },
	{ STR(""), ERR_SYNTAX, NULL },
	{ STR("192.0.2.1\0"), ERR_SYNTAX, NULL },
	{ STR("::"), ERR_OK, "::" },
	{ STR("::1"), ERR_OK, "::1" },
	{ STR("1::"), ERR_OK, "1::" },
	{ STR("2001:DB8::ABCD"), ERR_OK, "2001:db8::abcd" },
	{ STR("2001:0db8:0000:0000:0000:0000:0000:0001"), ERR_OK, "2001:db8::1" },
	{ STR("2001:db8:0:1:1:1:1:1"), ERR_OK, "2001:db8:0:1:1:1:1:1" },
	{ STR("2001:db8::1:1:1:1:1"), ERR_OK, "2001:db8:0:1:1:1:1:1" },
	{ STR("2001:0:0:1:0:0:0:1"), ERR_OK, "2001:0:0:1::1" },
	{ STR("2001:db8:0:0:1:0:0:1"), ERR_OK, "2001:db8::1:0:0:1" },
	{ STR("0:0:0:0:0:0:0:0"), ERR_OK, "::" },
	{ STR("1:2:3:4:5:6:7:8"), ERR_OK, "1:2:3:4:5:6:7:8" },
	{ STR("1:2:3:4:5:6:7::"), ERR_OK, "1:2:3:4:5:6:7:0" },
	{ STR("::2:3:4:5:6:7:8"), ERR_OK, "0:2:3:4:5:6:7:8" },
	{ STR("::ffff:192.0.2.1"), ERR_OK, "::ffff:192.0.2.1" },
	{ STR("::ffff:c000:201"), ERR_OK, "::ffff:192.0.2.1" },
	{ STR("64:ff9b::192.0.2.1"), ERR_OK, "64:ff9b::c000:201" },
	{ STR("1:2:3:4:5:6:192.0.2.1"), ERR_OK, "1:2:3:4:5:6:c000:201" },
	{ STR("1:2:3:4:5:6:7:192.0.2.1"), ERR_SYNTAX, NULL },
	{ STR("1:2:3:4:5:192.0.2.1"), ERR_SYNTAX, NULL },
	{ STR("192.0.2.1::"), ERR_SYNTAX, NULL },
	{ STR("::192.0.2.1:1"), ERR_SYNTAX, NULL },
	{ STR("::ffff:192.0.2.256"), ERR_RANGE, NULL },
	{ STR("1:2:3:4:5:6:7:8:9"), ERR_SYNTAX, NULL },
	{ STR("1:2:3:4:5:6:7"), ERR_SYNTAX, NULL },
	{ STR("1:2:3:4::5:6:7:8"), ERR_SYNTAX, NULL },
	{ STR("1::2::3"), ERR_SYNTAX, NULL },
	{ STR("::1::2"), ERR_SYNTAX, NULL },
	{ STR("::1::"), ERR_SYNTAX, NULL },
	{ STR("AF::09:af"), ERR_OK, "af::9:af" },
	{ STR(":::"), ERR_SYNTAX, NULL },
	{ STR("1:::2"), ERR_SYNTAX, NULL },
	{ STR(":1::2"), ERR_SYNTAX, NULL },
	{ STR("1::2:"), ERR_SYNTAX, NULL },
	{ STR(":"), ERR_SYNTAX, NULL },
	{ STR("12345::"), ERR_SYNTAX, NULL },
	{ STR("g::"), ERR_SYNTAX, NULL },
	{ STR("fe80::1%eth0"), ERR_SYNTAX, NULL },
	{ STR("[::1]"), ERR_SYNTAX, NULL },
};

static void reads_and_prints_addresses(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(ip_rows); i++) {
		struct address a;
		char           text[ADDRESS_TEXT_SIZE];

		print_message("  %.*s\n", (int)ip_rows[i].text.len, ip_rows[i].text.ptr);
		assert_int_equal(address_parse_ip(ip_rows[i].text, &a), ip_rows[i].want);
		if (ip_rows[i].want != ERR_OK)
			continue;
		assert_int_equal(a.port, 0);
		assert_string_equal(address_ip_text(&a, text), ip_rows[i].printed);
	}
}

static const struct port_row {
	struct str  text;
	enum err    want;
	const char *printed;
} port_rows[] = {
	{ STR("192.0.2.1:1"), ERR_OK, "192.0.2.1:1" },
	{ STR("192.0.2.1:65535"), ERR_OK, "192.0.2.1:65535" },
	{ STR("192.0.2.1:08448"), ERR_OK, "192.0.2.1:8448" },
	{ STR("[2001:db8::1]:8448"), ERR_OK, "[2001:db8::1]:8448" },
	{ STR("192.0.2.1:0"), ERR_RANGE, NULL },
	{ STR("192.0.2.1:65536"), ERR_RANGE, NULL },
	{ STR("192.0.2.1:000001"), ERR_SYNTAX, NULL },
	{ STR("192.0.2.1"), ERR_SYNTAX, NULL },
	{ STR("192.0.2.1:"), ERR_SYNTAX, NULL },
	{ STR("[2001:db8::1]"), ERR_SYNTAX, NULL },
	{ STR("[2001:db8::1]8448"), ERR_SYNTAX, NULL },
	{ STR("2001:db8::1:8448"), ERR_SYNTAX, NULL },
	{ STR("[192.0.2.1]:8448"), ERR_SYNTAX, NULL },
	{ STR("[]:8448"), ERR_SYNTAX, NULL },
	{ STR("["), ERR_SYNTAX, NULL },
	{ STR(":8448"), ERR_SYNTAX, NULL },
	{ STR("localhost:8448"), ERR_SYNTAX, NULL },
	{ STR(""), ERR_SYNTAX, NULL },
};

static void reads_and_prints_ports(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(port_rows); i++) {
		struct address a;
		char           text[ADDRESS_TEXT_SIZE];

		print_message("  %.*s\n", (int)port_rows[i].text.len, port_rows[i].text.ptr);
		assert_int_equal(address_parse(port_rows[i].text, &a), port_rows[i].want);
		if (port_rows[i].want == ERR_OK)
			assert_string_equal(address_text(&a, text), port_rows[i].printed);
	}
}

static void longest_text_fits(void **state)
{
	struct address a = { ADDRESS_V6, { 0 }, 65535 };
	char           text[ADDRESS_TEXT_SIZE];

	(void)state;
	memset(a.ip, 0xff, sizeof(a.ip));
	assert_string_equal(address_text(&a, text),
	                    "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
	memset(a.ip, 0, 10);
	assert_string_equal(address_text(&a, text), "[::ffff:255.255.255.255]:65535");
}

static void what_is_printed_is_read_back(void **state)
{
	uint32_t seed = 1;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		struct address a = { i % 2 ? ADDRESS_V6 : ADDRESS_V4, { 0 }, 1 }, b;
		char           text[ADDRESS_TEXT_SIZE];

		for (size_t k = 0; k < address_ip_bytes(&a); k++) {
			seed = seed * 1664525u + 1013904223u;
			a.ip[k] = (uint8_t)(seed >> 28 < 8 ? 0 : seed >> 16);
		}
		assert_int_equal(address_parse(str_of(address_text(&a, text)), &b), ERR_OK);
		assert_true(address_equal(&a, &b));
	}
}

static void families_are_never_equal(void **state)
{
	struct address v4 = address_v4(0, 0, 0, 0, 1), v6 = { ADDRESS_V6, { 0 }, 1 };
	struct address other = address_v4(0, 0, 0, 0, 2);

	(void)state;
	assert_false(address_same_ip(&v4, &v6));
	assert_true(address_same_ip(&v4, &other));
	assert_false(address_equal(&v4, &other));
}

static const struct cidr_row {
	struct str  text;
	enum err    want;
	const char *in, *out; /* addresses at the edges */
} cidr_rows[] = {
	{ STR("10.0.0.0/8"), ERR_OK, "10.255.255.255", "11.0.0.0" },
	{ STR("0.0.0.0/0"), ERR_OK, "255.255.255.255", "::" },
	{ STR("::/0"), ERR_OK, "ffff::", "0.0.0.0" },
	{ STR("100.64.0.0/10"), ERR_OK, "100.127.255.255", "100.128.0.0" },
	{ STR("192.0.2.4/31"), ERR_OK, "192.0.2.5", "192.0.2.6" },
	{ STR("192.0.2.4/32"), ERR_OK, "192.0.2.4", "192.0.2.5" },
	{ STR("192.0.2.4"), ERR_OK, "192.0.2.4", "192.0.2.5" },
	{ STR("fe80::/10"), ERR_OK, "febf:ffff::", "fec0::" },
	{ STR("2001:db8::1"), ERR_OK, "2001:db8::1", "2001:db8::" },
	{ STR("2001:db8::/127"), ERR_OK, "2001:db8::1", "2001:db8::2" },
	{ STR("10.0.0.1/8"), ERR_RANGE, NULL, NULL },
	{ STR("10.0.0.0/33"), ERR_RANGE, NULL, NULL },
	{ STR("::/129"), ERR_RANGE, NULL, NULL },
	{ STR("10.0.0.0/08"), ERR_SYNTAX, NULL, NULL },
	{ STR("10.0.0.0/"), ERR_SYNTAX, NULL, NULL },
	{ STR("10.0.0.0/-1"), ERR_SYNTAX, NULL, NULL },
	{ STR("10.0.0.0/8/8"), ERR_SYNTAX, NULL, NULL },
	{ STR("10.0.0.0/1000"), ERR_SYNTAX, NULL, NULL },
	{ STR("10/8"), ERR_SYNTAX, NULL, NULL },
	{ STR("/8"), ERR_SYNTAX, NULL, NULL },
	{ STR(""), ERR_SYNTAX, NULL, NULL },
};

static struct address ip(const char *text)
{
	struct address a;

	assert_int_equal(address_parse_ip(str_of(text), &a), ERR_OK);
	return a;
}

static void ranges_have_edges(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(cidr_rows); i++) {
		const struct cidr_row *r = &cidr_rows[i];
		struct address         in, out;
		struct cidr            c;

		print_message("  %.*s\n", (int)r->text.len, r->text.ptr);
		assert_int_equal(address_parse_cidr(r->text, &c), r->want);
		if (r->want != ERR_OK)
			continue;
		in = ip(r->in);
		out = ip(r->out);
		assert_true(address_in_cidr(&c.base, &c));
		assert_true(address_in_cidr(&in, &c));
		assert_false(address_in_cidr(&out, &c));
	}
}

static void ranges_are_printed(void **state)
{
	struct cidr   c;
	char          room[64];
	struct writer w = writer_over(room, sizeof(room));

	(void)state;
	assert_int_equal(address_parse_cidr(STRL("fd00:0:0::/8"), &c), ERR_OK);
	address_write_cidr(&w, &c);
	assert_true(str_is(writer_done(&w), "fd00::/8"));
}

static void prefixes_end_where_they_end(void **state)
{
	static const struct str texts[] = { STR("[2001:db8::192.0.2.1]:65535"), STR("::/128"),
		                            STR("255.255.255.255:65535") };

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		for (size_t n = 0; n <= texts[i].len; n++) {
			struct exact   x;
			struct str     s = exact_copy(&x, str_head(texts[i], n));
			struct address a;
			struct cidr    c;

			(void)address_parse(s, &a);
			(void)address_parse_ip(s, &a);
			(void)address_parse_cidr(s, &c);
			exact_free(&x);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_and_prints_addresses),
		cmocka_unit_test(reads_and_prints_ports),
		cmocka_unit_test(longest_text_fits),
		cmocka_unit_test(what_is_printed_is_read_back),
		cmocka_unit_test(families_are_never_equal),
		cmocka_unit_test(ranges_have_edges),
		cmocka_unit_test(ranges_are_printed),
		cmocka_unit_test(prefixes_end_where_they_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
