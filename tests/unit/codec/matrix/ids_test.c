#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "codec/matrix/ids.h"
#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define FIFTY    "01234567890123456789012345678901234567890123456789"

static const struct {
	enum ids_kind kind;
	struct str    text;
	enum err      want;
	const char   *local, *server;
} rows[] = {
	/* Matrix specification, Appendices, "Common Identifier Format" and behind */
	{ IDS_USER, STR("@alice:example.org"), ERR_OK, "alice", "example.org" },
	{ IDS_USER, STR("@a/b=c:[::1]:8448"), ERR_OK, "a/b=c", "[::1]:8448" },
	{ IDS_USER, STR("@:example.org"), ERR_OK, "", "example.org" },
	{ IDS_USER, STR("@Älice:example.org"), ERR_OK, "Älice", "example.org" },
	{ IDS_USER, STR("@alice"), ERR_SYNTAX, NULL, NULL },
	{ IDS_USER, STR("@alice:"), ERR_SYNTAX, NULL, NULL },
	{ IDS_USER, STR("alice:example.org"), ERR_SYNTAX, NULL, NULL },
	{ IDS_USER, STR("#alice:example.org"), ERR_SYNTAX, NULL, NULL },
	{ IDS_USER, STR("@al\0ice:example.org"), ERR_SYNTAX, NULL, NULL },
	{ IDS_USER, STR("@alice:exa mple.org"), ERR_SYNTAX, NULL, NULL },
	{ IDS_USER, STR("@alice:example.org:99999"), ERR_RANGE, NULL, NULL },
	{ IDS_USER, STR("@"), ERR_SYNTAX, NULL, NULL },
	{ IDS_USER, STR(""), ERR_SYNTAX, NULL, NULL },
	{ IDS_USER,
	  STR("@" FIFTY FIFTY FIFTY FIFTY "012345678901234567890123456789012345678901:"
	      "example.org"),
	  ERR_OK, NULL, "example.org" }, /* 255 bytes */
	{ IDS_USER,
	  STR("@" FIFTY FIFTY FIFTY FIFTY "0123456789012345678901234567890123456789012:"
	      "example.org"),
	  ERR_SYNTAX, NULL, NULL },
	{ IDS_ALIAS, STR("#room:example.org:8448"), ERR_OK, "room", "example.org:8448" },
	{ IDS_ALIAS, STR("#:example.org"), ERR_SYNTAX, NULL, NULL },
	{ IDS_ALIAS, STR("#room"), ERR_SYNTAX, NULL, NULL },
	{ IDS_ROOM, STR("!abc:example.org"), ERR_OK, "abc", "example.org" },
	{ IDS_ROOM, STR("!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"), ERR_OK,
	  "31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM", "" }, /* room version 12 */
	{ IDS_ROOM, STR("!abc:"), ERR_SYNTAX, NULL, NULL },
	{ IDS_ROOM, STR("!:example.org"), ERR_SYNTAX, NULL, NULL },
	{ IDS_ROOM, STR("!"), ERR_SYNTAX, NULL, NULL },
	{ IDS_EVENT, STR("$0:domain"), ERR_OK, "0", "domain" },
	{ IDS_EVENT, STR("$acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk"), ERR_OK,
	  "acR1l0raoZnm60CBwAVgqbZqoO/mYU81xysh1u7XcJk", "" }, /* room version 3 */
};

static void splits_identifiers(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct ids   id;
		struct exact x;
		struct str   text = exact_copy(&x, rows[i].text);

		print_message("  %.*s\n", (int)text.len, text.ptr);
		assert_int_equal(ids_parse(rows[i].kind, text, &id), rows[i].want);
		if (rows[i].want == ERR_OK) {
			assert_true(rows[i].local == NULL || str_is(id.local, rows[i].local));
			assert_true(str_is(id.server, rows[i].server));
		}
		exact_free(&x);
	}
}

static const struct {
	struct str  text;
	enum err    want;
	const char *server, *media_id;
} uris[] = {
	/* Client-Server API, "Matrix Content (mxc://) URIs" */
	{ STR("mxc://matrix.org/GCmhgzMPRjqgpODLsNQzVuHZ"), ERR_OK, "matrix.org",
	  "GCmhgzMPRjqgpODLsNQzVuHZ" },
	{ STR("mxc://[::1]:8448/a-b_C"), ERR_OK, "[::1]:8448", "a-b_C" },
	{ STR("mxc://matrix.org/"), ERR_SYNTAX, NULL, NULL },
	{ STR("mxc://matrix.org"), ERR_SYNTAX, NULL, NULL },
	{ STR("mxc:///abc"), ERR_SYNTAX, NULL, NULL },
	{ STR("mxc://matrix.org/.."), ERR_SYNTAX, NULL, NULL },
	{ STR("mxc://matrix.org/a/b"), ERR_SYNTAX, NULL, NULL },
	{ STR("mxc://matrix.org/a?b"), ERR_SYNTAX, NULL, NULL },
	{ STR("mxc://matrix.org/a%2e"), ERR_SYNTAX, NULL, NULL },
	{ STR("mxc://matrix.org/a\0"), ERR_SYNTAX, NULL, NULL },
	{ STR("mxc://matrix.org:0/a"), ERR_RANGE, NULL, NULL },
	{ STR("MXC://matrix.org/a"), ERR_SYNTAX, NULL, NULL },
	{ STR("https://matrix.org/a"), ERR_SYNTAX, NULL, NULL },
};

static void splits_media_uris(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(uris); i++) {
		struct str   server, media_id;
		struct exact x;
		struct str   text = exact_copy(&x, uris[i].text);

		print_message("  %.*s\n", (int)text.len, text.ptr);
		assert_int_equal(ids_parse_mxc(text, &server, &media_id), uris[i].want);
		if (uris[i].want == ERR_OK) {
			assert_true(str_is(server, uris[i].server));
			assert_true(str_is(media_id, uris[i].media_id));
		}
		exact_free(&x);
	}
}

static void media_ids_are_short(void **state)
{
	char text[IDS_BYTES_MAX + 1];

	(void)state;
	memset(text, 'a', sizeof(text));
	assert_true(ids_is_media_id(str_span(text, IDS_BYTES_MAX)));
	assert_false(ids_is_media_id(str_span(text, IDS_BYTES_MAX + 1)));
	assert_false(ids_is_media_id(STRL("")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(splits_identifiers),
		cmocka_unit_test(splits_media_uris),
		cmocka_unit_test(media_ids_are_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
