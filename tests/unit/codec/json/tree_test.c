#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "codec/json/scan.h"
#include "codec/json/tree.h"
#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
	struct str  doc;
	enum err    want;
	const char *written;
} rows[] = {
	{ STR("{\"a\" : [1, true, null, {\"b\":\"x\"}], \"c\":{}, \"d\":[]}"), ERR_OK,
	  "{\"a\":[1,true,null,{\"b\":\"x\"}],\"c\":{},\"d\":[]}" },
	{ STR("[[],[[]],1]"), ERR_OK, "[[],[[]],1]" },
	{ STR("0"), ERR_OK, "0" },
	{ STR("[9007199254740991,-9007199254740991,1753000000000000,1.5,false]"), ERR_OK,
	  "[9007199254740991,-9007199254740991,1753000000000000,1.5,false]" },
	{ STR("\"\\u00e9\\n\\\"\\u001f\""), ERR_OK, "\"é\\n\\\"\\u001f\"" },
	/* what cJSON alone would take */
	{ STR("01"), ERR_SYNTAX, NULL },
	{ STR("[1] x"), ERR_SYNTAX, NULL },
	{ STR("\"\n\""), ERR_SYNTAX, NULL },
	{ STR("\xEF\xBB\xBF{}"), ERR_SYNTAX, NULL },
	{ STR("\"\xff\""), ERR_SYNTAX, NULL },
	{ STR("{\"a\":1,\"a\":2}"), ERR_SYNTAX, NULL },
	{ STR("\"a\\u0000b\""), ERR_UNSUPPORTED, NULL },
	{ STR("{\"a\\u0000\":1}"), ERR_UNSUPPORTED, NULL },
	{ STR("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"), ERR_RANGE,
	  NULL },
	{ STR("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"), ERR_OK,
	  "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]" },
};

static void reads_and_writes(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct tree *t = NULL;
		struct exact x;
		struct buf   out;

		print_message("  %.*s\n", (int)rows[i].doc.len, rows[i].doc.ptr);
		assert_int_equal(tree_read(exact_copy(&x, rows[i].doc), &t), rows[i].want);
		exact_free(&x);
		if (rows[i].want != ERR_OK)
			continue;
		buf_init(&out, 4096);
		assert_int_equal(tree_write(t, &out), ERR_OK);
		assert_true(str_is(buf_str(&out), rows[i].written));
		buf_fini(&out);
		tree_free(t);
	}
}

static void refuses_large_documents(void **state)
{
	static char  doc[TREE_BYTES_MAX + 1];
	struct tree *t = NULL;

	(void)state;
	memset(doc, ' ', sizeof(doc));
	doc[0] = '1';
	assert_int_equal(tree_read(str_span(doc, TREE_BYTES_MAX), &t), ERR_OK);
	tree_free(t);
	assert_int_equal(tree_read(str_span(doc, TREE_BYTES_MAX + 1), &t), ERR_TOO_LARGE);
}

static void looks_up(void **state)
{
	const struct str  doc = STR("{\"a\":\"x\",\"A\":true,\"n\":9007199254740991,\"f\":1.5,"
	                             "\"big\":9007199254740993,\"l\":[1,2]}");
	struct tree      *t = NULL;
	struct tree_node *root, *l;
	struct str        text;
	int64_t           n;
	bool              b;

	(void)state;
	assert_int_equal(tree_read(doc, &t), ERR_OK);
	root = tree_root(t);
	assert_int_equal(tree_text(tree_get(root, "a"), &text), ERR_OK);
	assert_true(str_is(text, "x"));
	assert_int_equal(tree_bool(tree_get(root, "A"), &b), ERR_OK);
	assert_true(b);
	assert_int_equal(tree_integer(tree_get(root, "n"), &n), ERR_OK);
	assert_true(n == 9007199254740991);
	assert_int_equal(tree_integer(tree_get(root, "f"), &n), ERR_RANGE);
	assert_int_equal(tree_integer(tree_get(root, "big"), &n), ERR_RANGE);
	assert_int_equal(tree_integer(tree_get(root, "a"), &n), ERR_SYNTAX);
	assert_int_equal(tree_text(tree_get(root, "N"), &text), ERR_NOT_FOUND);
	assert_null(tree_get(tree_get(root, "absent"), "x"));
	l = tree_first(tree_get(root, "l"));
	assert_int_equal(tree_integer(l, &n), ERR_OK);
	assert_int_equal(tree_integer(tree_next(l), &n), ERR_OK);
	assert_int_equal(n, 2);
	assert_null(tree_next(tree_next(l)));
	assert_true(str_is(tree_key(tree_first(root)), "a"));
	assert_int_equal(tree_key(l).len, 0);
	tree_free(t);
}

static void builds(void **state)
{
	struct tree      *t = tree_new_object();
	struct tree_node *root = tree_root(t), *list;
	struct buf        out;

	(void)state;
	tree_add_text(t, root, "text", STRL("a\"\n\xC3\xA9"));
	tree_add_unsigned(t, root, "most", UINT64_MAX);
	tree_add_integer(t, root, "least", INT64_MIN);
	tree_add_integer(t, root, "time", 1753000000000000);
	list = tree_add_array(t, root, "list");
	tree_add_bool(t, list, NULL, true);
	tree_add_null(t, tree_add_object(t, list, NULL), "x");
	tree_add_object(t, root, "end");
	buf_init(&out, 4096);
	assert_int_equal(tree_write(t, &out), ERR_OK);
	assert_true(str_is(buf_str(&out),
	                   "{\"text\":\"a\\\"\\né\",\"most\":18446744073709551615,"
	                   "\"least\":-9223372036854775808,\"time\":1753000000000000,"
	                   "\"list\":[true,{\"x\":null}],\"end\":{}}"));
	assert_int_equal(json_check(buf_str(&out), NULL), ERR_OK);
	buf_fini(&out);
	buf_init(&out, 20);
	assert_int_equal(tree_write(t, &out), ERR_LIMIT);
	buf_fini(&out);
	tree_free(t);
}

static void bad_trees_are_not_written(void **state)
{
	struct tree      *t = tree_new_object();
	struct tree_node *node = tree_root(t);
	struct buf        out;

	(void)state;
	buf_init(&out, 4096);
	tree_add_text(t, node, "a", STRL("\xff"));
	assert_int_equal(tree_write(t, &out), ERR_SYNTAX);
	tree_free(t);
	t = tree_new_object();
	node = tree_root(t);
	for (size_t i = 0; i < TREE_DEPTH_MAX; i++)
		node = tree_add_object(t, node, "a");
	assert_int_equal(tree_write(t, &out), ERR_RANGE);
	tree_free(t);
	t = tree_new_object();
	tree_add_bool(t, tree_add_array(t, NULL, "a"), NULL, true);
	assert_int_equal(tree_write(t, &out), ERR_NOMEM);
	tree_free(t);
	tree_free(NULL);
	t = tree_new_object();
	tree_add_text(t, tree_root(t), "a", STRL("x\0y"));
	assert_int_equal(tree_write(t, &out), ERR_SYNTAX);
	tree_free(t);
	buf_fini(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_and_writes),
		cmocka_unit_test(refuses_large_documents),
		cmocka_unit_test(looks_up),
		cmocka_unit_test(builds),
		cmocka_unit_test(bad_trees_are_not_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
