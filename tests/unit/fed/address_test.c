#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fed/address.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct address ip(const char *text)
{
	struct address a;

	assert_int_equal(address_parse_ip(str_of(text), &a), ERR_OK);
	return a;
}

static struct cidr range(const char *text)
{
	struct cidr c;

	assert_int_equal(address_parse_cidr(str_of(text), &c), ERR_OK);
	return c;
}

static bool refused(const struct address_policy *p, const char *text)
{
	struct address a = ip(text);
	const char    *why = NULL;
	enum err       e = address_check_ip(p, &a, &why);

	assert_true(e == ERR_OK || e == ERR_BLOCKED);
	assert_int_equal(e == ERR_BLOCKED, why != NULL);
	assert_int_equal(address_check_ip(p, &a, NULL), e);
	return e == ERR_BLOCKED;
}

/* Each range with its first and last address and its neighbours, unless those are refused too. */
static const struct range_row {
	const char *before, *first, *last, *after;
} ranges[] = {
	/* IANA special-purpose address registries */
	{ NULL, "0.0.0.0", "0.255.255.255", "1.0.0.0" },
	{ "9.255.255.255", "10.0.0.0", "10.255.255.255", "11.0.0.0" },
	{ "100.63.255.255", "100.64.0.0", "100.127.255.255", "100.128.0.0" },
	{ "126.255.255.255", "127.0.0.0", "127.255.255.255", "128.0.0.0" },
	{ "169.253.255.255", "169.254.0.0", "169.254.255.255", "169.255.0.0" },
	{ "172.15.255.255", "172.16.0.0", "172.31.255.255", "172.32.0.0" },
	{ "191.255.255.255", "192.0.0.0", "192.0.0.255", "192.0.1.0" },
	{ "192.0.1.255", "192.0.2.0", "192.0.2.255", "192.0.3.0" },
	{ "192.88.98.255", "192.88.99.0", "192.88.99.255", "192.88.100.0" },
	{ "192.167.255.255", "192.168.0.0", "192.168.255.255", "192.169.0.0" },
	{ "198.17.255.255", "198.18.0.0", "198.19.255.255", "198.20.0.0" },
	{ "198.51.99.255", "198.51.100.0", "198.51.100.255", "198.51.101.0" },
	{ "203.0.112.255", "203.0.113.0", "203.0.113.255", "203.0.114.0" },
	{ "223.255.255.255", "224.0.0.0", "239.255.255.255", NULL },
	{ NULL, "240.0.0.0", "255.255.255.255", NULL },
	{ NULL, "::", "::ffff:ffff", "::1:0:0" },
	{ "::fffe:ffff:ffff", "::ffff:0:0", "::ffff:ffff:ffff", "::1:0:0:0" },
	{ "::fffe:ffff:ffff:ffff", "::ffff:0:0:0", "::ffff:0:ffff:ffff", "::ffff:1:0:0" },
	{ "64:ff9b:0:ffff:ffff:ffff:ffff:ffff", "64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
	  "64:ff9b:2::" },
	{ "ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "100::", "100::ffff:ffff:ffff:ffff",
	  "100:0:0:1::" },
	{ "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	  "2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::" },
	{ "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
	  "2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::" },
	{ "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	  "2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::" },
	{ "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	  "3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::" },
	{ "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	  "5f00::", "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "5f01::" },
	{ "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	  "fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fe00::" },
	{ "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	  "fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL },
	{ NULL, "fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL },
	{ NULL, "ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL },
};

static void ranges_have_edges(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(ranges); i++) {
		const struct range_row *r = &ranges[i];

		print_message("  %s\n", r->first);
		assert_true(refused(NULL, r->first));
		assert_true(refused(NULL, r->last));
		assert_false(r->before != NULL && refused(NULL, r->before));
		assert_false(r->after != NULL && refused(NULL, r->after));
	}
}

static void public_addresses_pass(void **state)
{
	static const char *const rows[] = { "8.8.8.8",     "1.1.1.1",      "192.0.9.1",
		                            "198.41.0.4",  "2a00:1450::1", "2620:fe::fe",
		                            "2606:4700::", "2003:e0::1",   "2001:4860::8888" };

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_false(refused(NULL, rows[i]));
}

/* The ways IPv4 has been written as IPv6; NAT64 is judged by what is inside. */
static void images_of_refused_addresses_are_refused(void **state)
{
	static const struct {
		uint8_t prefix[12];
		bool    nat64;
	} images[] = {
		{ { 0 }, false },
		{ { [10] = 0xff, 0xff }, false },
		{ { [8] = 0xff, 0xff }, false },
		{ { 0, 0x64, 0xff, 0x9b }, true },
		{ { 0, 0x64, 0xff, 0x9b, 0, 1 }, false },
	};
	uint32_t seed = 7, bad = 0, good = 0;

	(void)state;
	for (int n = 0; n < 200000; n++) {
		struct address v4 = { ADDRESS_V4, { 0 }, 0 };
		struct address six_to_four = { ADDRESS_V6, { 0x20, 0x02 }, 0 };
		enum err       e;

		for (int k = 0; k < 4; k++) {
			seed = seed * 1664525u + 1013904223u;
			v4.ip[k] = (uint8_t)(seed >> 24);
		}
		/* half of them from refused ranges */
		if (n % 2) {
			struct address from = ip(ranges[(unsigned)n / 2 % 15].first);

			v4.ip[0] = from.ip[0];
			v4.ip[1] = n % 4 == 1 ? from.ip[1] : v4.ip[1];
			v4.ip[2] = n % 4 == 1 ? from.ip[2] : v4.ip[2];
		}
		e = address_check_ip(NULL, &v4, NULL);
		bad += e != ERR_OK;
		good += e == ERR_OK;
		for (size_t i = 0; i < COUNT(images); i++) {
			struct address v6 = { ADDRESS_V6, { 0 }, 0 };
			enum err       want = images[i].nat64 ? e : ERR_BLOCKED;

			memcpy(v6.ip, images[i].prefix, 12);
			memcpy(v6.ip + 12, v4.ip, 4);
			assert_int_equal(address_check_ip(NULL, &v6, NULL), want);
		}
		memcpy(six_to_four.ip + 2, v4.ip, 4);
		assert_int_equal(address_check_ip(NULL, &six_to_four, NULL), ERR_BLOCKED);
	}
	assert_true(bad > 50000 && good > 50000);
}

static void allowed_ranges_override_everything(void **state)
{
	struct cidr allow[] = { range("127.24.0.0/16"), range("fd00:1::/32"), range("192.168.1.7"),
		                range("::ffff:10.0.0.0/104") };
	struct address        own[] = { ip("127.24.0.1"), ip("192.168.1.1") };
	struct address_policy p = {
		.allow = allow, .allow_count = COUNT(allow), .own = own, .own_count = COUNT(own)
	};

	(void)state;
	assert_false(refused(&p, "127.24.0.1"));
	assert_false(refused(&p, "127.24.255.255"));
	assert_true(refused(&p, "127.25.0.0"));
	assert_false(refused(&p, "fd00:1:ffff::"));
	assert_true(refused(&p, "fd00:2::"));
	assert_false(refused(&p, "192.168.1.7"));
	assert_true(refused(&p, "192.168.1.6"));
	/* an allowed IPv4 range does not allow its images, but NAT64 is that address */
	assert_true(refused(&p, "::ffff:127.24.0.1"));
	assert_true(refused(&p, "::127.24.0.1"));
	assert_false(refused(&p, "64:ff9b::127.24.0.1"));
	assert_true(refused(&p, "64:ff9b::127.25.0.1"));
	assert_false(refused(&p, "::ffff:10.1.1.1"));
	assert_true(refused(&p, "10.1.1.1"));
}

static void own_addresses_are_refused(void **state)
{
	struct address        own[] = { ip("8.8.4.4"), ip("2a00:1450::1") };
	struct address_policy p = { .own = own, .own_count = COUNT(own) };

	(void)state;
	own[0].port = 8448;
	assert_true(refused(&p, "8.8.4.4"));
	assert_true(refused(&p, "2a00:1450::1"));
	assert_true(refused(&p, "64:ff9b::8.8.4.4"));
	assert_false(refused(&p, "8.8.4.5"));
	assert_false(refused(&p, "2a00:1450::2"));
}

static void found_nat64_prefixes_are_decoded(void **state)
{
	struct cidr           nat64[] = { range("2a00:1450:64::/96") };
	struct address_policy p = { .nat64 = nat64, .nat64_count = 1 };

	(void)state;
	assert_true(refused(&p, "2a00:1450:64::10.0.0.1"));
	assert_false(refused(&p, "2a00:1450:64::8.8.8.8"));
	assert_false(refused(NULL, "2a00:1450:64::10.0.0.1"));
	assert_false(refused(&p, "2a00:1450:64:1::10.0.0.1"));
}

static const struct name_row {
	const char *name;
	bool        refused;
} names[] = {
	{ "example.org", false },
	{ "a.b", false },
	{ "matrix.example.org", false },
	{ "local.example.org", false },
	{ "example.locals", false },
	{ "examplelocal.de", false },
	{ "lan.de", false },
	{ "internal.example", false },
	{ "arpa.home.org", false },
	{ "10.in-addr.arpa", false },
	{ "onion.example.org", false },
	{ "example.0y1", false },
	{ "example.0", true },
	{ "example.00", true },
	{ "example.0x", true },
	{ "example.0xg", false },
	{ "example.0xaF9", true },
	{ "example.x0", false },
	{ "192.0.2.1", true },
	{ "192.0.2.0x1", true },
	{ "localhost", true },
	{ "LOCALHOST", true },
	{ "a.LocalHost", true },
	{ "localhost.localdomain", true },
	{ "router", true },
	{ "local", true },
	{ "a.local", true },
	{ "a.LOCAL", true },
	{ "a.b.local", true },
	{ "a.lan", true },
	{ "home.arpa", true },
	{ "a.home.arpa", true },
	{ "a.internal", true },
	{ "expyuzz4wqqyqhjn.onion", true },
	{ "0x7f000001", true },
	{ "", true },
};

static void names_are_judged_by_spelling(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(names); i++) {
		const char *why = NULL;
		enum err    e = address_check_name(str_of(names[i].name), &why);

		print_message("  %s\n", names[i].name);
		assert_int_equal(e, names[i].refused ? ERR_BLOCKED : ERR_OK);
		assert_int_equal(why != NULL, names[i].refused);
	}
}

static void long_names_have_an_edge(void **state)
{
	char name[256];

	(void)state;
	memset(name, 'a', sizeof(name));
	name[10] = '.';
	assert_int_equal(address_check_name(str_span(name, 253), NULL), ERR_OK);
	assert_int_equal(address_check_name(str_span(name, 254), NULL), ERR_BLOCKED);
}

static void ports_of_other_protocols_are_refused(void **state)
{
	static const uint16_t good[] = { 80,   443,  444,  8008,  8080, 8443,
		                         8448, 8449, 6379, 65535, 24,   26 };
	static const uint16_t bad[] = { 0,   1,   22,   25,   53,   110,  139,  143,  445 + 20,
		                        587, 993, 6000, 6665, 6666, 6667, 6668, 6669, 10080 };

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++)
		assert_int_equal(address_check_port(good[i], NULL), ERR_OK);
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(address_check_port(bad[i], NULL), ERR_BLOCKED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges_have_edges),
		cmocka_unit_test(public_addresses_pass),
		cmocka_unit_test(images_of_refused_addresses_are_refused),
		cmocka_unit_test(allowed_ranges_override_everything),
		cmocka_unit_test(own_addresses_are_refused),
		cmocka_unit_test(found_nat64_prefixes_are_decoded),
		cmocka_unit_test(names_are_judged_by_spelling),
		cmocka_unit_test(long_names_have_an_edge),
		cmocka_unit_test(ports_of_other_protocols_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
