#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "codec/matrix/server_name.h"
#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct row {
	struct str     text;
	enum err       want;
	enum host_kind kind;
	const char    *host;
	uint16_t       port;
} rows[] = {
	/* Source: Matrix specification, Appendices, "Server Name", plus refusals */
	{ STR("matrix.org"), ERR_OK, HOST_DNS, "matrix.org", 0 },
	{ STR("matrix.org:8888"), ERR_OK, HOST_DNS, "matrix.org", 8888 },
	{ STR("1.2.3.4"), ERR_OK, HOST_IPV4, "1.2.3.4", 0 },
	{ STR("1.2.3.4:1234"), ERR_OK, HOST_IPV4, "1.2.3.4", 1234 },
	{ STR("[1234:5678::abcd]"), ERR_OK, HOST_IPV6, "1234:5678::abcd", 0 },
	{ STR("[1234:5678::abcd]:5678"), ERR_OK, HOST_IPV6, "1234:5678::abcd", 5678 },
	{ STR("[::ffff:1.2.3.4]"), ERR_OK, HOST_IPV6, "::ffff:1.2.3.4", 0 },
	{ STR("Example.ORG"), ERR_OK, HOST_DNS, "Example.ORG", 0 },
	{ STR("localhost"), ERR_OK, HOST_DNS, "localhost", 0 },
	{ STR("xn--mnchen-3ya.de"), ERR_OK, HOST_DNS, "xn--mnchen-3ya.de", 0 },
	{ STR("a-.-b.c"), ERR_OK, HOST_DNS, "a-.-b.c", 0 },
	{ STR("1.2.3.4.com"), ERR_OK, HOST_DNS, "1.2.3.4.com", 0 },
	{ STR("1.2.3.4a"), ERR_OK, HOST_DNS, "1.2.3.4a", 0 },
	{ STR("x:1"), ERR_OK, HOST_DNS, "x", 1 },
	{ STR("x:65535"), ERR_OK, HOST_DNS, "x", 65535 },
	{ STR("x:00443"), ERR_OK, HOST_DNS, "x", 443 },
	{ STR("x:0"), ERR_RANGE, 0, NULL, 0 },
	{ STR("x:00000"), ERR_RANGE, 0, NULL, 0 },
	{ STR("x:65536"), ERR_RANGE, 0, NULL, 0 },
	{ STR("matrix.org:99999"), ERR_RANGE, 0, NULL, 0 },
	{ STR("x:000443"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("x:"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("x:+1"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("x:1 "), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("x:1:2"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("x:0:"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR(":8448"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR(""), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("."), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("a..b"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR(".a"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("a."), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("a\0b"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("a_b"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("a b"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("a/b"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("a@b"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("a%2eb"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("m\xc3\xbcnchen.de"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("1.2.3.256"), ERR_RANGE, 0, NULL, 0 },
	{ STR("1.2.3.256:x"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("1.2.3"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("1.2.3.4.5"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("1.2.3.04"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("127.1"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("2130706433"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("example.1"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("[::1"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("::1"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("[::1]x"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("[::1]8448"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("[]"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("[1.2.3.4]"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("[matrix.org]"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("[::1%25eth0]"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("[::1%eth0]"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("[[::1]]"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("]"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("["), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("[:::]"), ERR_SYNTAX, 0, NULL, 0 },
	{ STR("[::ffff:1.2.3.256]"), ERR_RANGE, 0, NULL, 0 },
};

static void reads_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct row  *r = &rows[i];
		struct server_name got;

		print_message("  %.*s\n", (int)r->text.len, r->text.ptr);
		assert_int_equal(server_name_parse(r->text, &got), r->want);
		if (r->want != ERR_OK)
			continue;
		assert_int_equal(got.kind, r->kind);
		assert_int_equal(got.port, r->port);
		assert_true(str_is(got.host, r->host));
	}
}

static void leaves_out_alone_on_error(void **state)
{
	struct server_name got = { STR("before"), HOST_IPV6, 7 };

	(void)state;
	assert_int_equal(server_name_parse(STRL("example.org:99999"), &got), ERR_RANGE);
	assert_true(str_is(got.host, "before"));
	assert_int_equal(got.port, 7);
}

/* Labels of 63 bytes, names of 255. */
static void lengths_have_edges(void **state)
{
	char               text[300];
	struct server_name got;

	(void)state;
	memset(text, 'a', sizeof(text));
	assert_int_equal(server_name_parse(str_span(text, 63), &got), ERR_OK);
	assert_int_equal(server_name_parse(str_span(text, 64), &got), ERR_SYNTAX);
	for (size_t i = 50; i < sizeof(text); i += 51)
		text[i] = '.';
	assert_int_equal(server_name_parse(str_span(text, 255), &got),
	                 ERR_SYNTAX); /* ends with '.' */
	text[254] = 'a';
	assert_int_equal(server_name_parse(str_span(text, 255), &got), ERR_OK);
	assert_int_equal(server_name_parse(str_span(text, 256), &got), ERR_SYNTAX);
	memcpy(text + 255, ":65535", 6);
	assert_int_equal(server_name_parse(str_span(text, SERVER_NAME_TEXT_MAX), &got), ERR_OK);
	assert_int_equal(got.host.len, 255);
}

static void only_these_bytes_occur_in_names(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		char               text[] = { 'a', (char)c, 'b', '.', 'o', 'r', 'g' };
		struct server_name got;
		bool               good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			(c >= 'A' && c <= 'Z') || c == '-' || c == '.';

		assert_int_equal(server_name_parse(str_span(text, 7), &got) == ERR_OK, good);
	}
}

static void prefixes_end_where_they_end(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		for (size_t n = 0; n <= rows[i].text.len; n++) {
			struct exact       x;
			struct str         s = exact_copy(&x, str_head(rows[i].text, n));
			struct server_name got;

			if (server_name_parse(s, &got) == ERR_OK)
				assert_true(got.host.len <= n);
			exact_free(&x);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_names),
		cmocka_unit_test(leaves_out_alone_on_error),
		cmocka_unit_test(lengths_have_edges),
		cmocka_unit_test(only_these_bytes_occur_in_names),
		cmocka_unit_test(prefixes_end_where_they_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
