#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/cursor.h"
#include "codec/http/chars.h"
#include "codec/http/head.h"
#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- byte classes ---- */

#define DIGITS      "0123456789"
#define UPPER       "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define LOWER       "abcdefghijklmnopqrstuvwxyz"
#define PUNCTUATION "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

/* The grammars, written out. */
static const struct {
	enum chars_set set;
	const char    *members;
	bool           high; /* and 0x80-0xFF */
} classes[] = {
	{ CHARS_TOKEN, "!#$%&'*+-.^_`|~" DIGITS UPPER LOWER, false },
	{ CHARS_TARGET, "!\"$%&'()*+,-./:;<=>?@[\\]^_`{|}~" DIGITS UPPER LOWER, false },
	{ CHARS_HOST, "-._~!$&'()*+,;=" DIGITS UPPER LOWER, false },
	{ CHARS_HEX, DIGITS "ABCDEFabcdef", false },
	{ CHARS_ALPHA, UPPER LOWER, false },
	{ CHARS_SCHEME, "+-." DIGITS UPPER LOWER, false },
	{ CHARS_TEXT, " \t" PUNCTUATION DIGITS UPPER LOWER, false },
	{ CHARS_VALUE, " \t" PUNCTUATION DIGITS UPPER LOWER, true },
};

static void classes_are_the_grammars(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(classes); i++)
		for (int c = 0; c < 256; c++) {
			bool in = (c != 0 && strchr(classes[i].members, c) != NULL) ||
				(c >= 0x80 && classes[i].high);

			if (chars_is((char)c, classes[i].set) != in)
				print_error("set %d, byte %d\n", (int)classes[i].set, c);
			assert_int_equal(chars_is((char)c, classes[i].set), in);
		}
}

static void tokens(void **state)
{
	(void)state;
	assert_true(chars_is_token(STRL("a!~")));
	assert_false(chars_is_token(STRL("")));
	assert_false(chars_is_token(STRL("a b")));
	assert_true(chars_all(STRL(""), CHARS_HEX));
	assert_true(chars_all(STRL("0z"), CHARS_HEX | CHARS_ALPHA));
	assert_false(chars_all(STRL("0-"), CHARS_HEX | CHARS_ALPHA));
}

/* ---- methods ---- */

static const struct {
	const char      *text;
	enum http_method method;
} methods[] = {
	{ "GET", HTTP_GET },         { "HEAD", HTTP_HEAD },     { "PUT", HTTP_PUT },
	{ "POST", HTTP_POST },       { "DELETE", HTTP_DELETE }, { "OPTIONS", HTTP_OPTIONS },
	{ "CONNECT", HTTP_CONNECT }, { "TRACE", HTTP_OTHER },   { "PATCH", HTTP_OTHER },
	{ "get", HTTP_OTHER },       { "Get", HTTP_OTHER },     { "GE", HTTP_OTHER },
	{ "GETT", HTTP_OTHER },      { "", HTTP_OTHER },
};

static void knows_methods(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(methods); i++) {
		struct exact exact;
		struct str   text = exact_copy(&exact, str_of(methods[i].text));

		assert_int_equal(head_method(text), methods[i].method);
		exact_free(&exact);
	}
}

/* ---- names of fields ---- */

static const struct {
	const char   *name;
	enum field_id id;
} names[] = {
#define X(sym, text) { text, sym },
	FIELD_TABLE(X)
#undef X
		{ "x-forwarded-", FIELD_X_FORWARDED },
	{ "x-forwarded-for", FIELD_X_FORWARDED },
	{ "X-Forwarded-Proto", FIELD_X_FORWARDED },
	{ "x-forwarded-\xff", FIELD_X_FORWARDED },
	{ "x-forwarded-for-a-name-that-is-longer-than-all", FIELD_X_FORWARDED },
	{ "", FIELD_OTHER },
	{ "x", FIELD_OTHER },
	{ "x-forwarded", FIELD_OTHER },
	{ "x-forwardedfor", FIELD_OTHER },
	{ "y-forwarded-for", FIELD_OTHER },
	{ "x-matrix-token", FIELD_OTHER },
	{ "set-cookie", FIELD_OTHER },
	{ "content_length", FIELD_OTHER },
	{ "transfer_encoding", FIELD_OTHER },
	{ "x_forwarded_for", FIELD_OTHER },
	{ "content-lengths", FIELD_OTHER },
	{ "content-lengt", FIELD_OTHER },
	{ "accept-charset-and-more-of-it", FIELD_OTHER },
};

/* In any case of letters, as the whole of a heap block. */
static void knows_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(names); i++) {
		struct exact exact;
		struct str   name = exact_copy(&exact, str_of(names[i].name));
		char        *bytes = (char *)name.ptr;

		assert_int_equal(head_field_id(name), names[i].id);
		for (size_t n = 0; n < name.len; n++) {
			if (bytes[n] >= 'a' && bytes[n] <= 'z')
				bytes[n] = (char)(bytes[n] - 0x20);
			assert_int_equal(head_field_id(name), names[i].id);
		}
		exact_free(&exact);
	}
}

/* A known name with one byte changed is another name: 0x20 apart is no case but for letters. */
static void one_byte_off_is_another_name(void **state)
{
	(void)state;
	for (size_t i = 0; i < FIELD_COUNT - 1; i++) {
		struct exact exact;
		struct str   name = exact_copy(&exact, str_of(names[i].name));
		char        *bytes = (char *)name.ptr;

		for (size_t n = 0; n < name.len && names[i].id != FIELD_X_FORWARDED; n++) {
			char was = bytes[n];

			bytes[n] = (char)(was ^ 0x80);
			assert_int_equal(head_field_id(name), FIELD_OTHER);
			bytes[n] = (char)(was ^ 0x40);
			assert_int_equal(head_field_id(name), FIELD_OTHER);
			if (was == '-') {
				bytes[n] = '\r';
				assert_int_equal(head_field_id(name), FIELD_OTHER);
			}
			bytes[n] = was;
		}
		exact_free(&exact);
	}
}

/* ---- lists ---- */

static const struct {
	const char *value;
	const char *members; /* joined by '|' */
} lists[] = {
	{ "", "" },
	{ "a", "a|" },
	{ "a,b", "a|b|" },
	{ " a\t,\tb ", "a|b|" },
	{ ",,a,,b,,", "a|b|" },
	{ ", ,\t,", "" },
	{ "a b,c", "a b|c|" },
	{ "a;q=1, \"b\"", "a;q=1|\"b\"|" },
};

static void lists_are_split(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(lists); i++) {
		struct exact exact;
		struct str value = exact_copy(&exact, str_of(lists[i].value)), rest = value, member;
		char       text[64];
		struct writer w = writer_over(text, sizeof(text));

		while (head_list_next(&rest, &member)) {
			write_str(&w, member);
			write_char(&w, '|');
		}
		assert_true(str_is(writer_done(&w), lists[i].members));
		exact_free(&exact);
	}
}

/* ---- fields of one hop ---- */

static struct field field_of(const char *name, const char *value)
{
	return (struct field){ head_field_id(str_of(name)), str_of(name), str_of(value) };
}

static const struct {
	const char *name;
	bool        ends_here;
} hops[] = {
	{ "Connection", true },
	{ "Keep-Alive", true },
	{ "Proxy-Connection", true },
	{ "Proxy-Authorization", true },
	{ "Proxy-Authenticate", true },
	{ "TE", true },
	{ "Trailer", true },
	{ "Transfer-Encoding", true },
	{ "Upgrade", true },
	{ "HTTP2-Settings", true },
	{ "Expect", true },
	{ "X-One", true }, /* named in a Connection field */
	{ "x-TWO", true },
	{ "X-Three", true },
	{ "X-On", false },
	{ "X-One-", false },
	{ "Host", false },
	{ "Authorization", false },
	{ "Content-Length", false },
	{ "Content-Type", false },
	{ "Cache-Control", false },
	{ "Date", false },
	{ "Via", false },
	{ "X-Forwarded-For", false },
	{ "Set-Cookie", false },
};

static void hop_by_hop(void **state)
{
	struct field      fields[] = { field_of("Connection", "close, X-One"),
		                       field_of("X-Other", "X-On"),
		                       field_of("connection", ",x-two ,\tX-Three") };
	const struct head h = { .fields = fields, .field_count = COUNT(fields) };

	(void)state;
	for (size_t i = 0; i < COUNT(hops); i++) {
		struct field f = field_of(hops[i].name, "v");

		if (head_is_hop_by_hop(&h, &f) != hops[i].ends_here)
			print_error("%s\n", hops[i].name);
		assert_int_equal(head_is_hop_by_hop(&h, &f), hops[i].ends_here);
	}
}

static void finds_the_first(void **state)
{
	struct field      fields[] = { field_of("X", "0"), field_of("Date", "1"),
		                       field_of("date", "2") };
	const struct head h = { .fields = fields, .field_count = COUNT(fields) };
	const struct head none = { .fields = NULL };

	(void)state;
	assert_ptr_equal(head_find(&h, FIELD_DATE), &fields[1]);
	assert_null(head_find(&h, FIELD_HOST));
	assert_null(head_find(&none, FIELD_DATE));
}

static void reasons(void **state)
{
	static const int sent[] = { 200, 400, 401, 403, 404, 405, 408, 411, 413, 414,
		                    417, 421, 429, 431, 500, 501, 502, 503, 504, 505 };

	(void)state;
	for (size_t i = 0; i < COUNT(sent); i++)
		assert_true(strlen(head_reason(sent[i])) > 1);
	assert_string_equal(head_reason(404), "Not Found");
	assert_string_equal(head_reason(299), "");
	assert_string_equal(head_reason(0), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(classes_are_the_grammars),
		cmocka_unit_test(tokens),
		cmocka_unit_test(knows_methods),
		cmocka_unit_test(knows_names),
		cmocka_unit_test(one_byte_off_is_another_name),
		cmocka_unit_test(lists_are_split),
		cmocka_unit_test(hop_by_hop),
		cmocka_unit_test(finds_the_first),
		cmocka_unit_test(reasons),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
