#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/cursor.h"
#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct row {
	struct str  text;
	const char *json;
} rows[] = {
	{ STR(""), "\"\"" },
	{ STR("a ~"), "\"a ~\"" },
	{ STR("\"\\"), "\"\\\"\\\\\"" },
	{ STR("\0\x1f\x7f"), "\"\\u0000\\u001f\\u007f\"" },
	/* UTF-8 stays (RFC 3629, 4): the first and last of each length, around the surrogates */
	{ STR("\xc2\x80\xdf\xbf"), "\"\xc2\x80\xdf\xbf\"" },
	{ STR("\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf"),
	  "\"\xe0\xa0\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbf\"" },
	{ STR("\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"), "\"\xf0\x90\x80\x80\xf4\x8f\xbf\xbf\"" },
	/* and what is none is written byte by byte */
	{ STR("\x80"), "\"\\u0080\"" },
	{ STR("\xff"), "\"\\u00ff\"" },
	{ STR("\xc3"), "\"\\u00c3\"" },
	{ STR("\xc3\xc3\xa4"), "\"\\u00c3\xc3\xa4\"" },
	{ STR("\xc0\xaf"), "\"\\u00c0\\u00af\"" },
	{ STR("\xc1\xbf"), "\"\\u00c1\\u00bf\"" },
	{ STR("\xe0\x9f\xbf"), "\"\\u00e0\\u009f\\u00bf\"" },
	{ STR("\xed\xa0\x80"), "\"\\u00ed\\u00a0\\u0080\"" },
	{ STR("\xe2\x82"), "\"\\u00e2\\u0082\"" },
	{ STR("\xe2\x82z"), "\"\\u00e2\\u0082z\"" },
	{ STR("\xf0\x8f\xbf\xbf"), "\"\\u00f0\\u008f\\u00bf\\u00bf\"" },
	{ STR("\xf4\x90\x80\x80"), "\"\\u00f4\\u0090\\u0080\\u0080\"" },
	{ STR("\xf0\x9f\x98"), "\"\\u00f0\\u009f\\u0098\"" },
};

static void strings_become_json(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		char          room[64];
		struct writer w = writer_over(room, sizeof(room));
		struct exact  x;

		write_json_string(&w, exact_copy(&x, rows[i].text));
		write_char(&w, '\0');
		exact_free(&x);
		assert_false(w.failed);
		assert_string_equal(room, rows[i].json);
	}
}

static void prefixes_are_read_to_their_end_only(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		for (size_t n = 0; n <= rows[i].text.len; n++) {
			char          room[64];
			struct writer w = writer_over(room, sizeof(room));
			struct exact  x;

			write_json_string(&w, exact_copy(&x, str_head(rows[i].text, n)));
			exact_free(&x);
			assert_false(w.failed);
		}
	}
}

static void a_full_writer_says_so(void **state)
{
	char room[8];

	(void)state;
	for (size_t size = 0; size <= sizeof(room); size++) {
		struct writer w = writer_over(room, size);

		write_json_string(&w, STRL("a\xc3\xa4z")); /* six bytes */
		assert_int_equal(w.failed, size < 6);
	}
}

static void numbers_in_network_order(void **state)
{
	char          room[7] = { 0 };
	struct writer w = writer_over(room, sizeof(room));
	struct reader r = reader_over(str_span(room, sizeof(room)));

	(void)state;
	write_be(&w, 0x112233445566ull, 2); /* the lowest bytes only */
	write_be(&w, 0xfffefdfc, 4);
	assert_memory_equal(room, "\x55\x66\xff\xfe\xfd\xfc", 6);
	assert_int_equal(read_u16(&r), 0x5566);
	assert_true(read_u32(&r) == 0xfffefdfc && !r.failed && !w.failed);
	write_be(&w, 1, 2); /* room for one */
	assert_true(w.failed);
	assert_int_equal(read_u16(&r), 0);
	assert_true(r.failed);
}

static void hexadecimal_digits(void **state)
{
	(void)state;
	for (int c = CHAR_MIN; c <= CHAR_MAX; c++) {
		const char *digits = "0123456789abcdef0123456789ABCDEF", *at;

		at = c == 0 ? NULL : strchr(digits, c);
		assert_int_equal(str_hex_digit((char)c), at == NULL ? -1 : (at - digits) % 16);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings_become_json),
		cmocka_unit_test(prefixes_are_read_to_their_end_only),
		cmocka_unit_test(a_full_writer_says_so),
		cmocka_unit_test(numbers_in_network_order),
		cmocka_unit_test(hexadecimal_digits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
