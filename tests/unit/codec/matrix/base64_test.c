#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "codec/matrix/base64.h"
#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
	struct str bytes, text;
} pairs[] = {
	/* Matrix specification, Appendices, "Unpadded Base64" */
	{ STR(""), STR("") },
	{ STR("f"), STR("Zg") },
	{ STR("fo"), STR("Zm8") },
	{ STR("foo"), STR("Zm9v") },
	{ STR("foob"), STR("Zm9vYg") },
	{ STR("fooba"), STR("Zm9vYmE") },
	{ STR("foobar"), STR("Zm9vYmFy") },
	/* the last characters of the alphabet, and zeros */
	{ STR("\xfb\xff\xbf"), STR("+/+/") },
	{ STR("\xff\xff\xff"), STR("////") },
	{ STR("\0\0\0\0"), STR("AAAAAA") },
};

static void writes_and_reads(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(pairs); i++) {
		char          room[16];
		struct writer w = writer_over(room, pairs[i].text.len);
		struct exact  x;

		print_message("  %.*s\n", (int)pairs[i].text.len, pairs[i].text.ptr);
		assert_int_equal(BASE64_TEXT(pairs[i].bytes.len), pairs[i].text.len);
		base64_write(&w, pairs[i].bytes);
		assert_true(str_eq(writer_done(&w), pairs[i].text));
		w = writer_over(room, sizeof(room));
		assert_int_equal(base64_read(exact_copy(&x, pairs[i].text), &w), ERR_OK);
		assert_true(str_eq(writer_done(&w), pairs[i].bytes));
		exact_free(&x);
	}
}

static const struct {
	const char *text;
	enum err    want;
} spellings[] = {
	{ "Zg==", ERR_OK },        { "Zm8=", ERR_OK },         { "Zm9v", ERR_OK },
	{ "Zg=", ERR_SYNTAX },     { "Zg===", ERR_SYNTAX },    { "Zm8==", ERR_SYNTAX },
	{ "Zm9v=", ERR_SYNTAX },   { "Zm9v====", ERR_SYNTAX }, { "=", ERR_SYNTAX },
	{ "==", ERR_SYNTAX },      { "Z", ERR_SYNTAX },        { "Zm9vY", ERR_SYNTAX },
	{ "Zm=8", ERR_SYNTAX },    { "Zh", ERR_OK }, /* bits behind the last byte */
	{ "Zm9", ERR_OK },         { "Zm 9v", ERR_SYNTAX },    { "Zm9v\n", ERR_SYNTAX },
	{ "-___", ERR_SYNTAX }, /* the URL-safe alphabet is another one */
	{ "Zm9\xC3", ERR_SYNTAX },
};

static void is_strict(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(spellings); i++) {
		char          room[16];
		struct writer w = writer_over(room, sizeof(room));

		print_message("  %s\n", spellings[i].text);
		assert_int_equal(base64_read(str_of(spellings[i].text), &w), spellings[i].want);
	}
}

static void reads_exact_lengths(void **state)
{
	char room[4] = { 0, 0, 0, 'x' };

	(void)state;
	assert_int_equal(base64_read_exactly(STRL("Zm9v"), room, 3), ERR_OK);
	assert_memory_equal(room, "foox", 4);
	assert_int_equal(base64_read_exactly(STRL("Zm8"), room, 3), ERR_SYNTAX);
	assert_int_equal(base64_read_exactly(STRL("Zm9vYg"), room, 3), ERR_SYNTAX);
	assert_int_equal(room[3], 'x');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_and_reads),
		cmocka_unit_test(is_strict),
		cmocka_unit_test(reads_exact_lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
