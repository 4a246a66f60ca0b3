#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "codec/http/authority.h"
#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BAD      { "", 0 }, 0

typedef bool split_fn(struct str text, struct str *host, uint16_t *port);

struct row {
	struct str text;
	struct str host; /* empty: refused */
	uint16_t   port;
};

/* RFC 3986 3.2.2 and 3.2.3 */
static const struct row hosts[] = {
	{ STR("a"), STR("a"), 0 },
	{ STR("example.org"), STR("example.org"), 0 },
	{ STR("example.org."), STR("example.org."), 0 },
	{ STR("EXAMPLE.org:8448"), STR("EXAMPLE.org"), 8448 },
	{ STR("a:1"), STR("a"), 1 },
	{ STR("a:65535"), STR("a"), 65535 },
	{ STR("a:00001"), STR("a"), 1 },
	{ STR("192.0.2.1"), STR("192.0.2.1"), 0 },
	{ STR("192.0.2.1:80"), STR("192.0.2.1"), 80 },
	{ STR("[::]"), STR("::"), 0 },
	{ STR("[::1]:443"), STR("::1"), 443 },
	{ STR("[2001:db8::ff]"), STR("2001:db8::ff"), 0 },
	{ STR("[2001:DB8:0:0:0:0:0:1]:1"), STR("2001:DB8:0:0:0:0:0:1"), 1 },
	{ STR("[::ffff:192.0.2.1]"), STR("::ffff:192.0.2.1"), 0 },
	{ STR("a-b_c~d!$&'()*+,;=e"), STR("a-b_c~d!$&'()*+,;=e"), 0 },
	{ STR("%41%7a:80"), STR("%41%7a"), 80 },
	{ STR(""), BAD },
	{ STR(":"), BAD },
	{ STR(":80"), BAD },
	{ STR("a:"), BAD },
	{ STR("a:0"), BAD },
	{ STR("a:00000"), BAD },
	{ STR("a:65536"), BAD },
	{ STR("a:99999"), BAD },
	{ STR("a:000001"), BAD },
	{ STR("a:+1"), BAD },
	{ STR("a: 1"), BAD },
	{ STR("a:1 "), BAD },
	{ STR("a:80:80"), BAD },
	{ STR("a b"), BAD },
	{ STR(" a"), BAD },
	{ STR("a/"), BAD },
	{ STR("a?"), BAD },
	{ STR("a#"), BAD },
	{ STR("u@a"), BAD },
	{ STR("a\\b"), BAD },
	{ STR("\"a\""), BAD },
	{ STR("<a>"), BAD },
	{ STR("{a}"), BAD },
	{ STR("a|b"), BAD },
	{ STR("a^b"), BAD },
	{ STR("`a"), BAD },
	{ STR("m\xc3\xbcnchen"), BAD },
	{ STR("a\0b"), BAD },
	{ STR("a\x7f"), BAD },
	{ STR("%"), BAD },
	{ STR("a%4"), BAD },
	{ STR("a%4g"), BAD },
	{ STR("a%g4"), BAD },
	{ STR("::1"), BAD },
	{ STR("2001:db8::1:443"), BAD },
	{ STR("["), BAD },
	{ STR("]"), BAD },
	{ STR("[]"), BAD },
	{ STR("[:]"), BAD },
	{ STR("[::1"), BAD },
	{ STR("::1]"), BAD },
	{ STR("[::1]80"), BAD },
	{ STR("[::1]:"), BAD },
	{ STR("[::1]:0"), BAD },
	{ STR("[::1]]"), BAD },
	{ STR("[[::1]]"), BAD },
	{ STR("[192.0.2.1]"), BAD },
	{ STR("[a]"), BAD },
	{ STR("[v1.a]"), BAD },
	{ STR("[fe80::1%25eth0]"), BAD },
	{ STR("[fe80::1%eth0]"), BAD },
	{ STR("[1::2::3]"), BAD },
	{ STR("[12345::]"), BAD },
	{ STR("[1:2:3:4:5:6:7]"), BAD },
	{ STR("[1:2:3:4:5:6:7:8:9]"), BAD },
};

/* RFC 9112 3.2.3, and the IPv6 of Twisted */
static const struct row connects[] = {
	{ STR("a:443"), STR("a"), 443 },
	{ STR("example.org:8448"), STR("example.org"), 8448 },
	{ STR("192.0.2.1:443"), STR("192.0.2.1"), 443 },
	{ STR("[2001:db8::1]:8448"), STR("2001:db8::1"), 8448 },
	{ STR("2001:db8::1:8448"), STR("2001:db8::1"), 8448 },
	{ STR("1:2:3:4:5:6:7:8:8448"), STR("1:2:3:4:5:6:7:8"), 8448 },
	{ STR(":::8448"), STR("::"), 8448 },
	{ STR("::1:8448"), STR("::1"), 8448 },
	{ STR("::ffff:192.0.2.1:8448"), STR("::ffff:192.0.2.1"), 8448 },
	{ STR(""), BAD },
	{ STR("a"), BAD },
	{ STR("a:"), BAD },
	{ STR("a:0"), BAD },
	{ STR("a:65536"), BAD },
	{ STR(":443"), BAD },
	{ STR("::443"), BAD },
	{ STR("a:b:443"), BAD },
	{ STR("[::1]"), BAD },
	{ STR("[::1:443"), BAD },
	{ STR("::1]:443"), BAD },
	{ STR("[a]:443"), BAD },
	{ STR("u@a:443"), BAD },
	{ STR("https://a:443"), BAD },
	{ STR("1:2:3:4:5:6:7:8"), BAD },
	{ STR("1:2:3:4:5:6:7:8:9:443"), BAD },
};

static void check_row(const struct row *row, split_fn *split)
{
	struct exact exact;
	struct str   text = exact_copy(&exact, row->text), host = STRL("before");
	uint16_t     port = 7;
	bool         good = split(text, &host, &port);

	if (good != (row->host.len > 0))
		print_error("%.*s\n", (int)row->text.len, row->text.ptr);
	assert_int_equal(good, row->host.len > 0);
	assert_true(str_eq(host, good ? row->host : STRL("before")));
	assert_int_equal(port, good ? row->port : 7);
	exact_free(&exact);
}

static void splits_host(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(hosts); i++)
		check_row(&hosts[i], authority_split);
}

static void splits_connect(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(connects); i++)
		check_row(&connects[i], authority_split_connect);
}

static void check_prefixes(struct str text)
{
	for (size_t n = 0; n <= text.len; n++) {
		struct exact exact;
		struct str   prefix = exact_copy(&exact, str_head(text, n)), host;
		uint16_t     port;

		if (authority_split(prefix, &host, &port))
			assert_true(host.len > 0 && host.len <= n);
		if (authority_split_connect(prefix, &host, &port))
			assert_true(host.len > 0 && host.len < n && port > 0);
		exact_free(&exact);
	}
}

static void reads_no_further(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(hosts); i++)
		check_prefixes(hosts[i].text);
	for (size_t i = 0; i < COUNT(connects); i++)
		check_prefixes(connects[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(splits_host),
		cmocka_unit_test(splits_connect),
		cmocka_unit_test(reads_no_further),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
