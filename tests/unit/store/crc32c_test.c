#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "base/str.h"
#include "store/crc32c.h"

#define ZEROS "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
#define ONES                                                                                   \
	"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff" \
	"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"
#define RISING                                                                                 \
	"\0\1\2\3\4\5\6\7\x8\x9\xa\xb\xc\xd\xe\xf\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a" \
	"\x1b\x1c\x1d\x1e\x1f"

static const struct row {
	struct str bytes;
	uint32_t   want;
} rows[] = {
	/* RFC 3720, B.4; and the usual check value */
	{ STR(""), 0 },
	{ STR(ZEROS), 0x8a9136aa },
	{ STR(ONES), 0x62a8ab43 },
	{ STR(RISING), 0x46dd794e },
	{ STR("123456789"), 0xe3069283 },
};

static void known_sums(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(crc32c(0, rows[i].bytes.ptr, rows[i].bytes.len), rows[i].want);
}

static void in_pieces_it_is_the_same(void **state)
{
	struct str s = rows[3].bytes;

	(void)state;
	for (size_t n = 0; n <= s.len; n++)
		assert_int_equal(crc32c(crc32c(0, s.ptr, n), s.ptr + n, s.len - n), rows[3].want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_sums),
		cmocka_unit_test(in_pieces_it_is_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
