#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/cursor.h"
#include "codec/http/location.h"
#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct location base(const char *path)
{
	struct location l = { .host = "example.org", .kind = HOST_DNS, .port = 443 };

	assert_true(str_copy(str_of(path), l.path, sizeof(l.path)));
	return l;
}

static const char *text_of(const struct location *l)
{
	static char   room[900];
	struct writer w = writer_over(room, sizeof(room));

	write_text(&w, l->kind == HOST_IPV6 ? "[" : "");
	write_text(&w, l->host);
	write_text(&w, l->kind == HOST_IPV6 ? "]:" : ":");
	write_u64(&w, l->port);
	write_text(&w, l->path);
	write_char(&w, '\0');
	assert_false(w.failed);
	return room;
}

static const struct row {
	const char *value;
	enum err    want;
	const char *leads_to; /* from https://example.org/b/c/d;p?q */
} rows[] = {
	/* RFC 3986 5.4.1 and 5.4.2 (with host and scheme of ours), then refusals */
	{ "g", ERR_OK, "example.org:443/b/c/g" },
	{ "./g", ERR_OK, "example.org:443/b/c/g" },
	{ "g/", ERR_OK, "example.org:443/b/c/g/" },
	{ "/g", ERR_OK, "example.org:443/g" },
	{ "//g.example", ERR_OK, "g.example:443/" },
	{ "//G.EXAMPLE/G", ERR_OK, "g.example:443/G" },
	{ "?y", ERR_OK, "example.org:443/b/c/d;p?y" },
	{ "g?y", ERR_OK, "example.org:443/b/c/g?y" },
	{ "#s", ERR_OK, "example.org:443/b/c/d;p?q" },
	{ "g#s", ERR_OK, "example.org:443/b/c/g" },
	{ "g?y#s", ERR_OK, "example.org:443/b/c/g?y" },
	{ ";x", ERR_OK, "example.org:443/b/c/;x" },
	{ "g;x?y#s", ERR_OK, "example.org:443/b/c/g;x?y" },
	{ ".", ERR_OK, "example.org:443/b/c/" },
	{ "./", ERR_OK, "example.org:443/b/c/" },
	{ "..", ERR_OK, "example.org:443/b/" },
	{ "../", ERR_OK, "example.org:443/b/" },
	{ "../g", ERR_OK, "example.org:443/b/g" },
	{ "../..", ERR_OK, "example.org:443/" },
	{ "../../", ERR_OK, "example.org:443/" },
	{ "../../g", ERR_OK, "example.org:443/g" },
	{ "../../../g", ERR_OK, "example.org:443/g" },
	{ "../../../../g", ERR_OK, "example.org:443/g" },
	{ "/./g", ERR_OK, "example.org:443/g" },
	{ "/../g", ERR_OK, "example.org:443/g" },
	{ "g.", ERR_OK, "example.org:443/b/c/g." },
	{ ".g", ERR_OK, "example.org:443/b/c/.g" },
	{ "g..", ERR_OK, "example.org:443/b/c/g.." },
	{ "..g", ERR_OK, "example.org:443/b/c/..g" },
	{ "./../g", ERR_OK, "example.org:443/b/g" },
	{ "./g/.", ERR_OK, "example.org:443/b/c/g/" },
	{ "g/./h", ERR_OK, "example.org:443/b/c/g/h" },
	{ "g/../h", ERR_OK, "example.org:443/b/c/h" },
	{ "g;x=1/./y", ERR_OK, "example.org:443/b/c/g;x=1/y" },
	{ "g;x=1/../y", ERR_OK, "example.org:443/b/c/y" },
	{ "g?y/./x", ERR_OK, "example.org:443/b/c/g?y/./x" },
	{ "g?y/../x", ERR_OK, "example.org:443/b/c/g?y/../x" },
	{ "g#s/../x", ERR_OK, "example.org:443/b/c/g" },
	{ "https://a.example", ERR_OK, "a.example:443/" },
	{ "https://a.example?x", ERR_OK, "a.example:443/?x" },
	{ "https://a.example#x", ERR_OK, "a.example:443/" },
	{ "HTTPS://A.example:8443/x", ERR_OK, "a.example:8443/x" },
	{ "https://a.example:/x", ERR_OK, "a.example:443/x" },
	{ "https://192.0.2.1/x", ERR_OK, "192.0.2.1:443/x" },
	{ "https://[2001:db8::1]:444/x", ERR_OK, "[2001:db8::1]:444/x" },
	{ "/a//b", ERR_OK, "example.org:443/a//b" },
	{ "/%2e%2e/x", ERR_OK, "example.org:443/%2e%2e/x" },
	{ "", ERR_SYNTAX, NULL },
	{ "http://a.example/", ERR_UNSUPPORTED, NULL },
	{ "ftp://a.example/", ERR_UNSUPPORTED, NULL },
	{ "mailto:a@b", ERR_UNSUPPORTED, NULL },
	{ "g:h", ERR_UNSUPPORTED, NULL },
	{ "aZ09z+-.:h", ERR_UNSUPPORTED, NULL },
	{ "x/aAzZ09", ERR_OK, "example.org:443/b/c/x/aAzZ09" },
	{ "https:g", ERR_SYNTAX, NULL },
	{ "https:/g", ERR_SYNTAX, NULL },
	{ "https://", ERR_SYNTAX, NULL },
	{ "https:///g", ERR_SYNTAX, NULL },
	{ "//", ERR_SYNTAX, NULL },
	{ "https://:443/", ERR_SYNTAX, NULL },
	{ "https://u@a.example/", ERR_SYNTAX, NULL },
	{ "https://a.example@b.example/", ERR_SYNTAX, NULL },
	{ "https://a_b.example/", ERR_SYNTAX, NULL },
	{ "https://a.example:x/", ERR_SYNTAX, NULL },
	{ "https://a.example:65536/", ERR_RANGE, NULL },
	{ "https://a.example:0/", ERR_RANGE, NULL },
	{ "https://[::1/", ERR_SYNTAX, NULL },
	{ "/a b", ERR_SYNTAX, NULL },
	{ "/a\tb", ERR_SYNTAX, NULL },
	{ "/a\\b", ERR_SYNTAX, NULL },
	{ "\\\\a.example/", ERR_SYNTAX, NULL },
	{ "/a\"b", ERR_SYNTAX, NULL },
	{ "/\xc3\xa4", ERR_SYNTAX, NULL },
	{ "/a#\x01", ERR_SYNTAX, NULL },
};

static void references_are_resolved(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct location l = base("/b/c/d;p?q"), before = l;
		const char     *why = NULL;

		print_message("  %s\n", rows[i].value);
		assert_int_equal(location_follow(&l, str_of(rows[i].value), &why), rows[i].want);
		if (rows[i].want == ERR_OK) {
			assert_string_equal(text_of(&l), rows[i].leads_to);
		} else {
			assert_non_null(why);
			assert_memory_equal(&l, &before, sizeof(l));
		}
	}
}

static void a_nul_is_no_url(void **state)
{
	struct location l = base("/");
	const char     *why;

	(void)state;
	assert_int_equal(location_follow(&l, STRL("/a\0b"), &why), ERR_SYNTAX);
}

static void paths_have_an_edge(void **state)
{
	struct location l = base("/");
	char            value[LOCATION_PATH_MAX + 2] = "/";
	const char     *why;

	(void)state;
	memset(value + 1, 'x', LOCATION_PATH_MAX);
	assert_int_equal(location_follow(&l, str_head(str_of(value), LOCATION_PATH_MAX), &why),
	                 ERR_OK);
	assert_int_equal(strlen(l.path), LOCATION_PATH_MAX);
	assert_int_equal(location_follow(&l, str_of(value), &why), ERR_RANGE);
	assert_int_equal(strlen(l.path), LOCATION_PATH_MAX);
	/* merging, too, stays inside */
	assert_int_equal(location_follow(&l, STRL("?"), &why), ERR_RANGE);
}

static void prefixes_end_where_they_end(void **state)
{
	static const struct str value = STR("https://[2001:db8::1]:444/a/../b?c#d");

	(void)state;
	for (size_t n = 0; n <= value.len; n++) {
		struct location l = base("/x");
		const char     *why;
		struct exact    x;

		(void)location_follow(&l, exact_copy(&x, str_head(value, n)), &why);
		assert_true(l.path[0] == '/');
		exact_free(&x);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(references_are_resolved),
		cmocka_unit_test(a_nul_is_no_url),
		cmocka_unit_test(paths_have_an_edge),
		cmocka_unit_test(prefixes_end_where_they_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
