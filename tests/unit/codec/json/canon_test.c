#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>

#include "codec/json/canon.h"
#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
	struct str doc;
	struct str received; /* .ptr NULL: refused */
	struct str integers; /* ditto; "=": the same */
} rows[] = {
	/* Matrix specification, Appendices, "Canonical JSON", examples */
	{ STR("{}"), STR("{}"), STR("=") },
	{ STR("{\"one\": 1, \"two\": \"Two\"}"), STR("{\"one\":1,\"two\":\"Two\"}"), STR("=") },
	{ STR("{\"b\": \"2\", \"a\": \"1\"}"), STR("{\"a\":\"1\",\"b\":\"2\"}"), STR("=") },
	{ STR("{\"auth\":{\"success\":true,\"mxid\":\"@john.doe:example.com\",\"profile\":{"
	      "\"display_name\":\"John Doe\",\"three_pids\":[{\"medium\":\"email\",\"address\":"
	      "\"john.doe@example.org\"},{\"medium\":\"msisdn\",\"address\":\"123456789\"}]}}}"),
	  STR("{\"auth\":{\"mxid\":\"@john.doe:example.com\",\"profile\":{\"display_name\":"
	      "\"John Doe\",\"three_pids\":[{\"address\":\"john.doe@example.org\",\"medium\":"
	      "\"email\"},{\"address\":\"123456789\",\"medium\":\"msisdn\"}]},\"success\":true}}"),
	  STR("=") },
	{ STR("{\"a\": \"日本語\"}"), STR("{\"a\":\"日本語\"}"), STR("=") },
	{ STR("{\"本\": 2, \"日\": 1}"), STR("{\"日\":1,\"本\":2}"), STR("=") },
	{ STR("{\"a\": \"\\u65E5\"}"), STR("{\"a\":\"日\"}"), STR("=") },
	{ STR("{\"a\": null}"), STR("{\"a\":null}"), STR("=") },
	{ STR("{\"a\": -0, \"b\": 1e10}"), STR("{\"a\":-0,\"b\":1e10}"),
	  STR("{\"a\":0,\"b\":10000000000}") },
	/* other values */
	{ STR(" [ 1 , [ ] , { } , \"\" ] "), STR("[1,[],{},\"\"]"), STR("=") },
	{ STR(" true"), STR("true"), STR("=") },
	{ STR("false "), STR("false"), STR("=") },
	{ STR("\"x\" "), STR("\"x\""), STR("=") },
	{ STR("0"), STR("0"), STR("=") },
	/* order: code points, not UTF-16 units; escaped and raw keys alike; inside arrays */
	{ STR("{\"\\uD83D\\uDE00\":1,\"\\uFF5E\":2}"), STR("{\"\xEF\xBD\x9E\":2,\"😀\":1}"),
	  STR("=") },
	{ STR("{\"b\":0,\"\\u0061\":1}"), STR("{\"a\":1,\"b\":0}"), STR("=") },
	{ STR("{\"a\":0,\"\":1,\"aa\":2,\"A\":3}"), STR("{\"\":1,\"A\":3,\"a\":0,\"aa\":2}"),
	  STR("=") },
	{ STR("[{\"b\":[{\"d\":1,\"c\":2}],\"a\":{}},{\"f\":1,\"e\":2}]"),
	  STR("[{\"a\":{},\"b\":[{\"c\":2,\"d\":1}]},{\"e\":2,\"f\":1}]"), STR("=") },
	{ STR("{\"a\":{\"z\":1,\"y\":{\"x\":[1, 2],\"w\":3}},\"b\":4}"),
	  STR("{\"a\":{\"y\":{\"w\":3,\"x\":[1,2]},\"z\":1},\"b\":4}"), STR("=") },
	{ STR("{\"\\ud83d\\ude01\":1,\"\\ud83d\\ude00\":2}"), STR("{\"😀\":2,\"😁\":1}"), STR("=") },
	{ STR("{\"x\\u00E9b\":1,\"x\\u00e9a\":2,\"x\":3}"), STR("{\"x\":3,\"xéa\":2,\"xéb\":1}"),
	  STR("=") },
	{ STR("{\"x\\\\\":1,\"x\\\"b\":2,\"x\\\"a\":3}"),
	  STR("{\"x\\\"a\":3,\"x\\\"b\":2,\"x\\\\\":1}"), STR("=") },
	/* escapes: as short as possible, hexadecimal in lower case */
	{ STR("\"\\/\\u002f\\u007F\\u2028\""), STR("\"//\x7f\xE2\x80\xA8\""), STR("=") },
	{ STR("\"\\\"\\\\\\b\\t\\n\\f\\r\""), STR("\"\\\"\\\\\\b\\t\\n\\f\\r\""), STR("=") },
	{ STR("\"\\u0022\\u005C\\u0008\\u0009\\u000A\\u000c\\u000d\""),
	  STR("\"\\\"\\\\\\b\\t\\n\\f\\r\""), STR("=") },
	{ STR("\"\\u0000\\u000B\\u001F\\u001f\""), STR("\"\\u0000\\u000b\\u001f\\u001f\""),
	  STR("=") },
	{ STR("\"a\\u00e9b\\ud83d\\ude00c\""), STR("\"aéb😀c\""), STR("=") },
	/* numbers */
	{ STR("-1"), STR("-1"), STR("=") },
	{ STR("1.0"), STR("1.0"), STR("1") },
	{ STR("-0.0"), STR("-0.0"), STR("0") },
	{ STR("-1500e-2"), STR("-1500e-2"), STR("-15") },
	{ STR("9.007199254740991E+15"), STR("9.007199254740991E+15"), STR("9007199254740991") },
	{ STR("0.00012e5"), STR("0.00012e5"), STR("12") },
	{ STR("0e99999999999999999999"), STR("0e99999999999999999999"), STR("0") },
	{ STR("10.50"), STR("10.50"), { NULL, 0 } },
	{ STR("1e-1"), STR("1e-1"), { NULL, 0 } },
	{ STR("1e16"), STR("1e16"), { NULL, 0 } },
	{ STR("1000000000000001.0"), STR("1000000000000001.0"), STR("1000000000000001") },
	{ STR("10000000000000001.0"), STR("10000000000000001.0"), { NULL, 0 } },
	{ STR("9007199254740992.0"), STR("9007199254740992.0"), { NULL, 0 } },
	{ STR("1e99999999999999999999"), STR("1e99999999999999999999"), { NULL, 0 } },
	{ STR("1e-99999999999999999999"), STR("1e-99999999999999999999"), { NULL, 0 } },
	{ STR("1000000000000000000000000000000e-30"), STR("1000000000000000000000000000000e-30"),
	  STR("1") },
	{ STR("1234567890123456789e-3"), STR("1234567890123456789e-3"), { NULL, 0 } },
	/* repeated keys, near and far, as written or not, at any depth */
	{ STR("{\"a\":1,\"a\":1}"), { NULL, 0 }, { NULL, 0 } },
	{ STR("{\"a\":1,\"\\u0061\":2}"), { NULL, 0 }, { NULL, 0 } },
	{ STR("{\"b\":1,\"a\":1,\"b\":1}"), { NULL, 0 }, { NULL, 0 } },
	{ STR("{\"b\\n\":12,\"a\":0,\"b\\n\":123}"), { NULL, 0 }, { NULL, 0 } },
	{ STR("{\"x\\u00E9\":1,\"b\":0,\"x\\u00e9\":2}"), { NULL, 0 }, { NULL, 0 } },
	{ STR("[{\"x\":{\"b\":1,\"c\":2,\"a\":3,\"b\":4}}]"), { NULL, 0 }, { NULL, 0 } },
	{ STR("{\"a\":{\"a\":{\"a\":0}}}"), STR("{\"a\":{\"a\":{\"a\":0}}}"), STR("=") },
	/* not JSON */
	{ STR("{"), { NULL, 0 }, { NULL, 0 } },
	{ STR("{} {}"), { NULL, 0 }, { NULL, 0 } },
	{ STR("\"\\ud800\""), { NULL, 0 }, { NULL, 0 } },
	{ STR(""), { NULL, 0 }, { NULL, 0 } },
};

static void expect(struct str doc, enum canon_numbers numbers, struct str want)
{
	struct buf out;
	enum err   e;

	buf_init(&out, 4096);
	e = canon_write(doc, NULL, numbers, &out);
	print_message("  %.*s\n    -> %s %.*s\n", (int)doc.len, doc.ptr, err_slug(e),
	              (int)buf_len(&out), buf_str(&out).ptr);
	if (want.ptr == NULL) {
		assert_true(e == ERR_SYNTAX || (e == ERR_RANGE && numbers == CANON_INTEGERS));
	} else {
		assert_int_equal(e, ERR_OK);
		assert_true(str_eq(buf_str(&out), want));
	}
	buf_fini(&out);
}

static void writes_canonical_form(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		bool         same = rows[i].integers.ptr != NULL && str_is(rows[i].integers, "=");
		struct exact x;
		struct str   doc = exact_copy(&x, rows[i].doc);

		expect(doc, CANON_AS_RECEIVED, rows[i].received);
		expect(doc, CANON_INTEGERS, same ? rows[i].received : rows[i].integers);
		exact_free(&x);
	}
}

/* Canonical text stays as it is, and the strict check accepts that text alone. */
static void strict_check_knows_the_form(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct str received = rows[i].received;
		bool       plain = rows[i].integers.ptr != NULL && str_is(rows[i].integers, "=");

		if (received.ptr == NULL || received.len > 200)
			continue;
		print_message("  %.*s\n", (int)received.len, received.ptr);
		expect(received, CANON_AS_RECEIVED, received);
		assert_int_equal(canon_check(received, NULL) == ERR_OK, plain);
		if (!str_eq(rows[i].doc, received))
			assert_int_not_equal(canon_check(rows[i].doc, NULL), ERR_OK);
	}
}

/* Beyond 2^53 they are not strictly canonical, but room versions 1 to 5 have them. */
static void huge_integers_keep_their_digits(void **state)
{
	const struct str huge = STR("-123456789012345678901234567890");

	(void)state;
	expect(huge, CANON_AS_RECEIVED, huge);
	expect(huge, CANON_INTEGERS, huge);
	assert_int_equal(canon_check(huge, NULL), ERR_RANGE);
}

static const struct {
	const char *doc;
	enum err    want;
} strict[] = {
	{ "{\"a\":[1,-9007199254740991],\"b\":\"\\u001f\\n\"}", ERR_OK },
	{ "9007199254740991", ERR_OK },
	{ "9007199254740992", ERR_RANGE },
	{ "-0", ERR_SYNTAX },
	{ "1.0", ERR_SYNTAX },
	{ " 1", ERR_SYNTAX },
	{ "1\n", ERR_SYNTAX },
	{ "{\"b\":1,\"a\":2}", ERR_SYNTAX },
	{ "{\"a\":1,\"a\":2}", ERR_SYNTAX },
	{ "\"\\u001F\"", ERR_SYNTAX },
	{ "\"\\u000a\"", ERR_SYNTAX },
	{ "\"\\/\"", ERR_SYNTAX },
	{ "\"\\u0041\"", ERR_SYNTAX },
	{ "{\"\\u0041\":1}", ERR_SYNTAX },
	{ "[", ERR_SYNTAX },
};

static void strict_check_refuses(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(strict); i++) {
		print_message("  %s\n", strict[i].doc);
		assert_int_equal(canon_check(str_of(strict[i].doc), NULL), strict[i].want);
	}
}

static const struct {
	const char *doc, *want;
} signatures[] = {
	{ "{\"signatures\":{},\"unsigned\":{}}", "{}" },
	{ "{\"a\":1,\"signatures\":{\"x\":{}},\"z\":2}", "{\"a\":1,\"z\":2}" },
	{ "{\"z\":1,\"unsigned\":5,\"a\":{\"unsigned\":1,\"signatures\":2}}",
	  "{\"a\":{\"signatures\":2,\"unsigned\":1},\"z\":1}" },
	{ "{\"\\u0073ignatures\":1}", "{}" },
	{ "{\"Signatures\":1,\"unsigned\\u0000\":2}", "{\"Signatures\":1,\"unsigned\\u0000\":2}" },
	{ "[{\"signatures\":1}]", "[{\"signatures\":1}]" },
	{ "{\"unsigned\":1}", "{}" },
	{ "{\"a\":[]}", "{\"a\":[]}" },
};

static void leaves_out_what_is_not_signed(void **state)
{
	const struct canon_options options = { .for_signature = true };

	(void)state;
	for (size_t i = 0; i < COUNT(signatures); i++) {
		struct buf out;

		print_message("  %s\n", signatures[i].doc);
		buf_init(&out, 4096);
		assert_int_equal(
			canon_write(str_of(signatures[i].doc), &options, CANON_AS_RECEIVED, &out),
			ERR_OK);
		assert_true(str_is(buf_str(&out), signatures[i].want));
		buf_fini(&out);
	}
}

static enum err count_piece(void *arg, struct str piece)
{
	size_t *count = arg;

	assert_true(piece.len > 0);
	++*count;
	return ERR_OK;
}

static void canonical_document_passes_in_one_piece(void **state)
{
	const struct str doc =
		STR("{\"a\":[1,{\"b\":\"\\u001f\\n\xC3\xA9\",\"c\":null}],\"d\":-5}");
	struct canon c;
	size_t       pieces = 0;

	(void)state;
	assert_int_equal(canon_open(&c, doc, NULL), ERR_OK);
	assert_true(c.in_form);
	assert_false(c.odd_numbers);
	assert_int_equal(c.kind, JSON_OBJECT);
	assert_int_equal(canon_emit(&c, CANON_INTEGERS, count_piece, &pieces), ERR_OK);
	assert_int_equal(pieces, 1);
	canon_close(&c);
}

static enum err refuse_piece(void *arg, struct str piece)
{
	(void)arg;
	(void)piece;
	return ERR_IO;
}

static void sink_ends_the_writing(void **state)
{
	struct canon c;

	(void)state;
	assert_int_equal(canon_open(&c, STRL("{\"b\":1,\"a\":2}"), NULL), ERR_OK);
	assert_false(c.in_form);
	assert_int_equal(canon_emit(&c, CANON_AS_RECEIVED, refuse_piece, NULL), ERR_IO);
	canon_close(&c);
}

/* An object with `count` keys in falling order, or otherwise unpleasant. */
static struct str many_members(char *room, size_t size, unsigned count, unsigned step)
{
	struct writer w = writer_over(room, size);

	write_char(&w, '{');
	for (unsigned i = 0; i < count; i++) {
		char member[32];

		snprintf(member, sizeof(member), "%s\"%06u\":%u", i > 0 ? "," : "",
		         (count - i) * step % count, i);
		write_text(&w, member);
	}
	write_char(&w, '}');
	assert_false(w.failed);
	return writer_done(&w);
}

static void sorts_many_members(void **state)
{
	static const unsigned steps[] = { 1, 7, 4999 }; /* prime to the count */
	static char           room[200000];

	(void)state;
	for (size_t s = 0; s < COUNT(steps); s++) {
		struct str doc = many_members(room, sizeof(room), 5000, steps[s]);
		struct buf out;

		buf_init(&out, doc.len);
		assert_int_equal(canon_write(doc, NULL, CANON_AS_RECEIVED, &out), ERR_OK);
		assert_int_equal(buf_len(&out), doc.len);
		assert_int_equal(canon_check(buf_str(&out), NULL), ERR_OK);
		buf_fini(&out);
	}
}

static void memory_has_a_limit(void **state)
{
	static char          room[20000];
	struct canon_options options = { .index_max = 1000 };
	struct str           doc = many_members(room, sizeof(room), 1000, 1);
	struct canon         c;

	(void)state;
	assert_int_equal(canon_open(&c, doc, &options), ERR_LIMIT);
	assert_null(c.objects.at);
	assert_null(c.members.at);
	for (options.index_max = 64; options.index_max < 8192; options.index_max += 64) {
		assert_int_equal(canon_open(&c, doc, &options),
		                 ERR_LIMIT); /* wherever it runs out */
		assert_null(c.members.at);
	}
	options.index_max = 16384;
	assert_int_equal(canon_open(&c, doc, &options), ERR_OK);
	canon_close(&c);
}

static void deepest_documents(void **state)
{
	static char   room[JSON_DEPTH_MAX * 32], want[JSON_DEPTH_MAX * 32];
	struct writer w = writer_over(room, sizeof(room)), ww = writer_over(want, sizeof(want));
	struct buf    out;

	(void)state;
	for (size_t i = 0; i < JSON_DEPTH_MAX; i++) {
		write_text(&w, "{\"b\":0,\"a\":");
		write_text(&ww, "{\"a\":");
	}
	write_char(&w, '1');
	write_char(&ww, '1');
	for (size_t i = 0; i < JSON_DEPTH_MAX; i++) {
		write_char(&w, '}');
		write_text(&ww, ",\"b\":0}");
	}
	buf_init(&out, sizeof(want));
	assert_int_equal(canon_write(writer_done(&w), NULL, CANON_AS_RECEIVED, &out), ERR_OK);
	assert_true(str_eq(buf_str(&out), writer_done(&ww)));
	buf_fini(&out);
}

static void result_has_a_limit(void **state)
{
	struct buf out;

	(void)state;
	buf_init(&out, 10);
	assert_int_equal(canon_write(STRL("{\"b\":1,\"a\":2}"), NULL, CANON_AS_RECEIVED, &out),
	                 ERR_LIMIT);
	buf_fini(&out);
}

static void prefixes_are_refused(void **state)
{
	const struct str doc = STR("{\"b\\n\":[1e2,{\"d\":null,\"c\":\"\\u0041\"}],\"a\":false}");

	(void)state;
	for (size_t n = 0; n <= doc.len; n++) {
		struct exact x;
		struct canon c;
		enum err     e = canon_open(&c, exact_copy(&x, str_head(doc, n)), NULL);

		assert_int_equal(e, n < doc.len ? ERR_SYNTAX : ERR_OK);
		if (e == ERR_OK)
			canon_close(&c);
		exact_free(&x);
	}
}

static void quotes_plain_text(void **state)
{
	static const struct {
		struct str plain;
		enum err   want;
		struct str quoted;
	} texts[] = {
		{ STR(""), ERR_OK, STR("\"\"") },
		{ STR("a/b?c=%20"), ERR_OK, STR("\"a/b?c=%20\"") },
		{ STR("\"\\\b\t\n\f\r"), ERR_OK, STR("\"\\\"\\\\\\b\\t\\n\\f\\r\"") },
		{ STR("\0\x1f\x7f\xC3\xA9"), ERR_OK, STR("\"\\u0000\\u001f\x7f\xC3\xA9\"") },
		{ STR("\xC3"), ERR_SYNTAX, STR("") },
		{ STR("\xED\xA0\x80"), ERR_SYNTAX, STR("") },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		struct buf out;

		buf_init(&out, 100);
		assert_int_equal(buf_add(&out, STRL("x")), ERR_OK);
		assert_int_equal(canon_add_text(&out, texts[i].plain), texts[i].want);
		if (texts[i].want == ERR_OK)
			assert_true(str_eq(str_from(buf_str(&out), 1), texts[i].quoted));
		buf_fini(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_canonical_form),
		cmocka_unit_test(strict_check_knows_the_form),
		cmocka_unit_test(huge_integers_keep_their_digits),
		cmocka_unit_test(strict_check_refuses),
		cmocka_unit_test(leaves_out_what_is_not_signed),
		cmocka_unit_test(canonical_document_passes_in_one_piece),
		cmocka_unit_test(sink_ends_the_writing),
		cmocka_unit_test(sorts_many_members),
		cmocka_unit_test(memory_has_a_limit),
		cmocka_unit_test(deepest_documents),
		cmocka_unit_test(result_has_a_limit),
		cmocka_unit_test(prefixes_are_refused),
		cmocka_unit_test(quotes_plain_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
