#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "codec/matrix/key_id.h"
#include "support/exact.h"

#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))
#define SIXTEEN   "0123456789abcdef"
#define SIXTYFOUR SIXTEEN SIXTEEN SIXTEEN SIXTEEN

static const struct {
	struct str  text;
	enum err    want;
	const char *version;
} rows[] = {
	/* Server-Server API, "Publishing Keys" */
	{ STR("ed25519:1"), ERR_OK, "1" },
	{ STR("ed25519:a_RXGa"), ERR_OK, "a_RXGa" },
	{ STR("ed25519:" SIXTYFOUR), ERR_OK, SIXTYFOUR },
	{ STR("ed25519:" SIXTYFOUR "0"), ERR_SYNTAX, NULL },
	{ STR("ed25519:"), ERR_SYNTAX, NULL },
	{ STR("ed25519"), ERR_SYNTAX, NULL },
	{ STR(":1"), ERR_SYNTAX, NULL },
	{ STR(""), ERR_SYNTAX, NULL },
	{ STR("ed25519:a:b"), ERR_SYNTAX, NULL },
	{ STR("ed25519:a-b"), ERR_SYNTAX, NULL },
	{ STR("ed25519:a\0"), ERR_SYNTAX, NULL },
	{ STR("ed25519:\xC3\xA9"), ERR_SYNTAX, NULL },
	{ STR(" ed25519:1"), ERR_SYNTAX, NULL },
	{ STR("Ed25519:1"), ERR_UNSUPPORTED, NULL }, /* names compare byte for byte */
	{ STR("curve25519:1"), ERR_UNSUPPORTED, NULL },
};

static void splits_key_ids(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct key_id id;
		struct exact  x;
		struct str    text = exact_copy(&x, rows[i].text);

		print_message("  %.*s\n", (int)text.len, text.ptr);
		assert_int_equal(key_id_parse(text, &id), rows[i].want);
		if (rows[i].want == ERR_OK) {
			assert_true(str_is(id.version, rows[i].version));
			assert_true(str_eq(id.text, rows[i].text));
		}
		exact_free(&x);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(splits_key_ids) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
