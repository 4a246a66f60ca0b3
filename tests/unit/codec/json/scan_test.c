#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "codec/json/scan.h"
#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- what is JSON ---- */

static const struct {
	struct str doc;
	enum err   want;
} texts[] = {
	/* RFC 8259: values */
	{ STR("{}"), ERR_OK },
	{ STR("[]"), ERR_OK },
	{ STR("\"\""), ERR_OK },
	{ STR("0"), ERR_OK },
	{ STR("true"), ERR_OK },
	{ STR("false"), ERR_OK },
	{ STR("null"), ERR_OK },
	{ STR(" \t\r\n{ \"a\" : [ 1 , 2 ] } \n"), ERR_OK },
	{ STR("[[],{},[{}]]"), ERR_OK },
	{ STR(""), ERR_SYNTAX },
	{ STR("  "), ERR_SYNTAX },
	{ STR("True"), ERR_SYNTAX },
	{ STR("nul"), ERR_SYNTAX },
	{ STR("nulls"), ERR_SYNTAX },
	{ STR("NaN"), ERR_SYNTAX },
	{ STR("Infinity"), ERR_SYNTAX },
	{ STR("'a'"), ERR_SYNTAX },
	{ STR("{a:1}"), ERR_SYNTAX },
	{ STR("// x\n1"), ERR_SYNTAX },
	/* containers */
	{ STR("{"), ERR_SYNTAX },
	{ STR("}"), ERR_SYNTAX },
	{ STR("["), ERR_SYNTAX },
	{ STR("[}"), ERR_SYNTAX },
	{ STR("{]"), ERR_SYNTAX },
	{ STR("[1}"), ERR_SYNTAX },
	{ STR("{\"a\":1]"), ERR_SYNTAX },
	{ STR("[1,]"), ERR_SYNTAX },
	{ STR("[,1]"), ERR_SYNTAX },
	{ STR("[1,,2]"), ERR_SYNTAX },
	{ STR("[1 2]"), ERR_SYNTAX },
	{ STR("{\"a\":1,}"), ERR_SYNTAX },
	{ STR("{,}"), ERR_SYNTAX },
	{ STR("{\"a\"}"), ERR_SYNTAX },
	{ STR("{\"a\":}"), ERR_SYNTAX },
	{ STR("{\"a\"::1}"), ERR_SYNTAX },
	{ STR("{\"a\" 1}"), ERR_SYNTAX },
	{ STR("{1:1}"), ERR_SYNTAX },
	{ STR("[1:2]"), ERR_SYNTAX },
	/* one value and nothing behind it */
	{ STR("{}{}"), ERR_SYNTAX },
	{ STR("{} x"), ERR_SYNTAX },
	{ STR("[1]]"), ERR_SYNTAX },
	{ STR("1 2"), ERR_SYNTAX },
	{ STR("1,"), ERR_SYNTAX },
	{ STR("{}\0"), ERR_SYNTAX },
	{ STR("\xEF\xBB\xBF{}"), ERR_SYNTAX }, /* byte-order mark */
	{ STR("\f1"), ERR_SYNTAX },            /* no white space of JSON */
	{ STR("\xC2\xA0"
	      "1"),
	  ERR_SYNTAX },
	/* numbers, RFC 8259 section 6 */
	{ STR("-0"), ERR_OK },
	{ STR("-1"), ERR_OK },
	{ STR("10"), ERR_OK },
	{ STR("0.0"), ERR_OK },
	{ STR("1.25e+10"), ERR_OK },
	{ STR("1E-2"), ERR_OK },
	{ STR("1e05"), ERR_OK },
	{ STR("123456789012345678901234567890"), ERR_OK },
	{ STR("00"), ERR_SYNTAX },
	{ STR("01"), ERR_SYNTAX },
	{ STR("-01"), ERR_SYNTAX },
	{ STR("-"), ERR_SYNTAX },
	{ STR("+1"), ERR_SYNTAX },
	{ STR(".5"), ERR_SYNTAX },
	{ STR("1."), ERR_SYNTAX },
	{ STR("1.e1"), ERR_SYNTAX },
	{ STR("1e"), ERR_SYNTAX },
	{ STR("1e+"), ERR_SYNTAX },
	{ STR("1e1.5"), ERR_SYNTAX },
	{ STR("1e1e1"), ERR_SYNTAX },
	{ STR("1-2"), ERR_SYNTAX },
	{ STR("0x10"), ERR_SYNTAX },
	{ STR("--1"), ERR_SYNTAX },
	{ STR("[-]"), ERR_SYNTAX },
	{ STR("[1.]"), ERR_SYNTAX },
	/* strings, section 7 */
	{ STR("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\uFFFF\\u0000\""), ERR_OK },
	{ STR("\"\x7f\""), ERR_OK },
	{ STR("\""), ERR_SYNTAX },
	{ STR("\"\\\""), ERR_SYNTAX },
	{ STR("\"\n\""), ERR_SYNTAX },
	{ STR("\"\0\""), ERR_SYNTAX },
	{ STR("\"\x1f\""), ERR_SYNTAX },
	{ STR("\"\\a\""), ERR_SYNTAX },
	{ STR("\"\\\0\""), ERR_SYNTAX },
	{ STR("\"\\x41\""), ERR_SYNTAX },
	{ STR("\"\\U0041\""), ERR_SYNTAX },
	{ STR("\"\\u004\""), ERR_SYNTAX },
	{ STR("\"\\u00g0\""), ERR_SYNTAX },
	/* surrogates: only in pairs, and only escaped */
	{ STR("\"\\ud83d\\ude00\""), ERR_OK },
	{ STR("\"\\uD83D\\uDE00x\""), ERR_OK },
	{ STR("\"\\ud83d\""), ERR_SYNTAX },
	{ STR("\"\\ude00\""), ERR_SYNTAX },
	{ STR("\"\\ud83dx\""), ERR_SYNTAX },
	{ STR("\"\\ud83d\\n\""), ERR_SYNTAX },
	{ STR("\"\\ud83d\\u0041\""), ERR_SYNTAX },
	{ STR("\"\\ud83d\\ud83d\\ude00\""), ERR_SYNTAX },
	{ STR("\"\\ude00\\ud83d\""), ERR_SYNTAX },
	{ STR("\"\xED\xA0\xBD\xED\xB8\x80\""), ERR_SYNTAX },
	{ STR("\"\\ud83d\xED\xB8\x80\""), ERR_SYNTAX },
	/* UTF-8, RFC 3629 section 4: both ends of every range, and what lies beyond */
	{ STR("\"\xC2\x80\xDF\xBF\xE0\xA0\x80\xEC\xBF\xBF\xED\x9F\xBF\xEE\x80\x80\xEF\xBF\xBF\""),
	  ERR_OK },
	{ STR("\"\xF0\x90\x80\x80\xF3\xBF\xBF\xBF\xF4\x8F\xBF\xBF\""), ERR_OK },
	{ STR("\"\x80\""), ERR_SYNTAX },
	{ STR("\"\xBF\""), ERR_SYNTAX },
	{ STR("\"\xC0\x80\""), ERR_SYNTAX },
	{ STR("\"\xC1\xBF\""), ERR_SYNTAX },
	{ STR("\"\xC2\""), ERR_SYNTAX },
	{ STR("\"\xC2\xC0\""), ERR_SYNTAX },
	{ STR("\"\xE0\x9F\xBF\""), ERR_SYNTAX },
	{ STR("\"\xE1\x80\""), ERR_SYNTAX },
	{ STR("\"\xED\xA0\x80\""), ERR_SYNTAX },
	{ STR("\"\xED\xBF\xBF\""), ERR_SYNTAX },
	{ STR("\"\xF0\x8F\xBF\xBF\""), ERR_SYNTAX },
	{ STR("\"\xF0\x90\x80\""), ERR_SYNTAX },
	{ STR("\"\xF4\x90\x80\x80\""), ERR_SYNTAX },
	{ STR("\"\xF5\x80\x80\x80\""), ERR_SYNTAX },
	{ STR("\"\xFF\""), ERR_SYNTAX },
	{ STR("\xE6\x97\xA5"), ERR_SYNTAX },
};

static void accepts_json_and_nothing_else(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		struct exact x;

		print_message("  %.*s\n", (int)texts[i].doc.len, texts[i].doc.ptr);
		assert_int_equal(json_check(exact_copy(&x, texts[i].doc), NULL), texts[i].want);
		exact_free(&x);
	}
}

/* ---- tokens, however the text is cut ---- */

static void show(const struct json_token *t, struct writer *w)
{
	static const char marks[] = ".{}[]ks#tf0$";

	write_char(w, ' ');
	write_char(w, marks[t->kind]);
	write_u64(w, t->depth);
	if (t->kind == JSON_KEY || t->kind == JSON_STRING || t->kind == JSON_NUMBER) {
		write_str(w, t->text);
		write_text(w, t->escaped ? "\\" : "");
	}
	write_char(w, '@');
	write_u64(w, t->at);
	write_char(w, '-');
	write_u64(w, t->end);
}

/* Feeds one piece; adds its tokens, or the error. False after an error. */
static bool show_piece(struct json_scan *s, struct str piece, bool last, struct writer *w)
{
	struct exact x;
	struct str   rest = exact_copy(&x, piece);
	enum err     e;

	for (;;) {
		struct json_token t;

		e = json_scan_next(s, &rest, last, &t);
		if (e != ERR_OK || t.kind == JSON_NONE)
			break;
		show(&t, w);
		if (t.kind == JSON_END)
			break;
	}
	if (e != ERR_OK)
		write_text(w, err_slug(e));
	exact_free(&x);
	return e == ERR_OK;
}

/* In pieces of 1 byte (step 1), or in two, cut at `cut`. */
static struct str show_all(struct str doc, size_t cut, bool bytewise, char *room, size_t size)
{
	char             hold[256];
	struct json_scan s;
	struct writer    w = writer_over(room, size);
	size_t           at = 0;
	bool             good = true;

	json_scan_init(&s, NULL, hold, sizeof(hold));
	while (good && at < doc.len) {
		size_t end = bytewise ? at + 1 : at < cut ? cut : doc.len;

		good = show_piece(&s, str_head(str_from(doc, at), end - at), false, &w);
		at = end;
	}
	if (good)
		show_piece(&s, str_head(doc, 0), true, &w);
	assert_false(w.failed);
	return writer_done(&w);
}

static void reports_tokens(void **state)
{
	char       room[512];
	struct str got = show_all(
		STRL("{\"a\":[1,-2.5e3,\"x\\n\"],\"\":{\"b\":true}, \"c\" : [null,false]}"), 0,
		false, room, sizeof(room));

	(void)state;
	print_message("%.*s\n", (int)got.len, got.ptr);
	assert_true(str_is(got,
	                   " {0@0-1 k1a@1-4 [1@5-6 #21@6-7 #2-2.5e3@8-14 s2x\\n\\@15-20 ]1@20-21"
	                   " k1@22-24 {1@25-26 k2b@26-29 t2@30-34 }1@34-35 k1c@37-40 [1@43-44"
	                   " 02@44-48 f2@49-54 ]1@54-55 }0@55-56 $0@56-56"));
}

static void cuts_change_nothing(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		char       whole[1024], cut[1024];
		struct str doc = texts[i].doc, want, got;

		print_message("  %.*s\n", (int)doc.len, doc.ptr);
		want = show_all(doc, 0, false, whole, sizeof(whole));
		for (size_t at = 1; at < doc.len; at++) {
			got = show_all(doc, at, false, cut, sizeof(cut));
			assert_true(str_eq(got, want));
		}
		got = show_all(doc, 0, true, cut, sizeof(cut));
		assert_true(str_eq(got, want));
	}
}

static void prefixes_are_incomplete(void **state)
{
	const struct str doc = STR(
		"{\"a\\u00e9\xC3\xA9\":[1.5e-3,true,null,\"\\ud83d\\ude00\"],\"b\":{\"c\":false}}");

	(void)state;
	for (size_t n = 0; n <= doc.len; n++) {
		struct exact x;

		assert_int_equal(json_check(exact_copy(&x, str_head(doc, n)), NULL),
		                 n < doc.len ? ERR_SYNTAX : ERR_OK);
		exact_free(&x);
	}
}

static void long_text_across_pieces_is_cut(void **state)
{
	char              hold[4];
	struct json_scan  s;
	struct json_token t;
	struct str        one = STR("[\"ab"), two = STR("cdef\",\"gh\",\"ij"), three = STR("\"]");

	(void)state;
	json_scan_init(&s, NULL, hold, sizeof(hold));
	assert_int_equal(json_scan_next(&s, &one, false, &t), ERR_OK);
	assert_int_equal(json_scan_next(&s, &one, false, &t), ERR_OK);
	assert_int_equal(t.kind, JSON_NONE);
	assert_int_equal(json_scan_next(&s, &two, false, &t), ERR_OK);
	assert_int_equal(t.kind, JSON_STRING);
	assert_true(t.cut);
	assert_int_equal(t.text.len, 0);
	assert_int_equal(t.at, 1);
	assert_int_equal(t.end, 9);
	assert_int_equal(json_scan_next(&s, &two, false, &t), ERR_OK);
	assert_false(t.cut);
	assert_true(str_is(t.text, "gh"));
	assert_int_equal(json_scan_next(&s, &two, false, &t), ERR_OK);
	assert_int_equal(json_scan_next(&s, &three, false, &t), ERR_OK);
	assert_false(t.cut); /* "ij" with its quotes fills hold to the last byte */
	assert_true(str_is(t.text, "ij"));
}

/* ---- limits ---- */

static const struct {
	const char        *doc;
	struct json_limits limits;
	enum err           want;
} limited[] = {
	{ "[[[0]]]", { 100, 100, 100, 3 }, ERR_OK },
	{ "[[[[0]]]]", { 100, 100, 100, 3 }, ERR_RANGE },
	{ "[[[{}]]]", { 100, 100, 100, 3 }, ERR_RANGE },
	{ "[0]", { 3, 100, 100, 3 }, ERR_OK },
	{ "[0] ", { 3, 100, 100, 3 }, ERR_TOO_LARGE },
	{ "[0]", { 100, 3, 100, 3 }, ERR_OK },
	{ "[0,0]", { 100, 3, 100, 3 }, ERR_RANGE },
	{ "\"abc\"", { 100, 100, 5, 3 }, ERR_OK },
	{ "\"abcd\"", { 100, 100, 5, 3 }, ERR_RANGE },
	{ "{\"abcd\":0}", { 100, 100, 5, 3 }, ERR_RANGE },
	{ "123456", { 100, 100, 5, 3 }, ERR_RANGE },
};

static void keeps_limits(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(limited); i++) {
		print_message("  %s\n", limited[i].doc);
		assert_int_equal(json_check(str_of(limited[i].doc), &limited[i].limits),
		                 limited[i].want);
	}
}

/* A string that never ends must not be waited for beyond its limit. */
static void endless_text_is_refused_early(void **state)
{
	const struct json_limits limits = { 1000, 10, 8, 2 };
	struct json_scan         s;
	struct json_token        t;
	struct str               piece = STR("\"abcdefgh");

	(void)state;
	json_scan_init(&s, &limits, NULL, 0);
	assert_int_equal(json_scan_next(&s, &piece, false, &t), ERR_RANGE);
	assert_int_equal(json_scan_next(&s, &piece, false, &t), ERR_RANGE); /* sticky */
}

static void depth_is_256_at_most(void **state)
{
	char doc[2 * (JSON_DEPTH_MAX + 1)];

	(void)state;
	for (size_t n = JSON_DEPTH_MAX; n <= JSON_DEPTH_MAX + 1; n++) {
		const struct json_limits limits = { 10000, 10000, 10, 100000 };

		memset(doc, '[', n);
		memset(doc + n, ']', n);
		assert_int_equal(json_check(str_span(doc, 2 * n), NULL),
		                 n == JSON_DEPTH_MAX ? ERR_OK : ERR_RANGE);
		assert_int_equal(json_check(str_span(doc, 2 * n), &limits),
		                 n == JSON_DEPTH_MAX ? ERR_OK : ERR_RANGE);
	}
}

/* ---- items and members ---- */

static void lists_items(void **state)
{
	static const struct {
		const char    *key, *value;
		enum json_kind kind;
	} want[] = {
		{ "a", "1", JSON_NUMBER },         { "b\\n", "x\\\"", JSON_STRING },
		{ "", "{\"b\":[]}", JSON_OBJECT }, { "d", "[1, [2]]", JSON_ARRAY },
		{ "e", "null", JSON_NULL },        { "f", "true", JSON_TRUE },
		{ "g", "false", JSON_FALSE },
	};
	struct json_items it;
	struct json_item  item;
	enum json_kind    kind;
	struct exact      x;
	struct str        doc =
		exact_copy(&x,
	                   STRL(" {\"a\":1, \"b\\n\":\"x\\\"\",\"\":{\"b\":[]},\"d\" : [1, [2]] ,"
	                        "\"e\":null,\"f\":true,\"g\":false} "));

	(void)state;
	assert_int_equal(json_items_begin(&it, doc, NULL, &kind), ERR_OK);
	assert_int_equal(kind, JSON_OBJECT);
	for (size_t i = 0; i < COUNT(want); i++) {
		assert_int_equal(json_items_next(&it, &item), ERR_OK);
		assert_int_equal(item.kind, want[i].kind);
		assert_true(str_is(item.key, want[i].key));
		assert_true(str_is(item.value, want[i].value));
	}
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(json_items_next(&it, &item), ERR_OK);
		assert_int_equal(item.kind, JSON_END);
	}
	exact_free(&x);
}

static void lists_elements(void **state)
{
	struct json_items it;
	struct json_item  item;
	enum json_kind    kind;

	(void)state;
	assert_int_equal(json_items_begin(&it, STRL("[{\"a\":1},2]"), NULL, &kind), ERR_OK);
	assert_int_equal(kind, JSON_ARRAY);
	assert_int_equal(json_items_next(&it, &item), ERR_OK);
	assert_true(str_is(item.value, "{\"a\":1}"));
	assert_int_equal(item.key.len, 0);
	assert_int_equal(json_items_next(&it, &item), ERR_OK);
	assert_true(str_is(item.value, "2"));
	assert_int_equal(json_items_next(&it, &item), ERR_OK);
	assert_int_equal(item.kind, JSON_END);
	assert_int_equal(json_items_begin(&it, STRL("[] x"), NULL, &kind), ERR_OK);
	assert_int_equal(json_items_next(&it, &item), ERR_SYNTAX);
	assert_int_equal(json_items_begin(&it, STRL("\"a\""), NULL, &kind), ERR_SYNTAX);
}

static const struct {
	struct str       doc;
	enum json_repeat repeat;
	enum err         want;
	enum json_kind   kind;
	const char      *value;
} finds[] = {
	/* of the member "a" */
	{ STR("{\"a\":1}"), JSON_LAST_WINS, ERR_OK, JSON_NUMBER, "1" },
	{ STR("{\"b\":1,\"\\u0061\":\"x\"}"), JSON_LAST_WINS, ERR_OK, JSON_STRING, "x" },
	{ STR("{\"A\":1,\"a\\u0000\":2}"), JSON_LAST_WINS, ERR_OK, JSON_NONE, "" },
	{ STR("{\"b\":{\"a\":1}}"), JSON_LAST_WINS, ERR_OK, JSON_NONE, "" },
	{ STR("{\"a\":1,\"a\":[2]}"), JSON_LAST_WINS, ERR_OK, JSON_ARRAY, "[2]" },
	{ STR("{\"a\":1,\"a\":2}"), JSON_REFUSE_REPEAT, ERR_SYNTAX, JSON_NONE, "" },
	{ STR("{\"a\":1,\"\\u0061\":2}"), JSON_REFUSE_REPEAT, ERR_SYNTAX, JSON_NONE, "" },
	{ STR("{\"b\":1,\"b\":2,\"a\":3}"), JSON_REFUSE_REPEAT, ERR_OK, JSON_NUMBER, "3" },
	{ STR("{\"a\":1,\"b\":"), JSON_LAST_WINS, ERR_SYNTAX, JSON_NONE, "" },
	{ STR("{\"a\":1} x"), JSON_LAST_WINS, ERR_SYNTAX, JSON_NONE, "" },
	{ STR("[\"a\",1]"), JSON_LAST_WINS, ERR_SYNTAX, JSON_NONE, "" },
	{ STR("1"), JSON_LAST_WINS, ERR_SYNTAX, JSON_NONE, "" },
};

static void finds_members(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(finds); i++) {
		struct json_member m = { .key = STR("a") };

		print_message("  %.*s\n", (int)finds[i].doc.len, finds[i].doc.ptr);
		assert_int_equal(json_find(finds[i].doc, finds[i].repeat, &m, 1), finds[i].want);
		if (finds[i].want != ERR_OK)
			continue;
		assert_int_equal(m.kind, finds[i].kind);
		assert_true(str_is(m.value, finds[i].value));
	}
}

static void finds_string(void **state)
{
	struct arena a;
	struct str   got;

	(void)state;
	arena_init(&a, 4096);
	assert_int_equal(
		json_find_string(STRL("{\"m.server\":\"x\",\"m\\u002eserver\":\"y\\u0000\\ud83d"
	                              "\\ude00\\/\"}"),
	                         STRL("m.server"), &a, &got),
		ERR_OK);
	assert_true(str_eq(got, STRL("y\0\xF0\x9F\x98\x80/")));
	assert_int_equal(got.ptr[got.len], 0);
	assert_int_equal(json_find_string(STRL("{\"a\":\"x\"}"), STRL("m.server"), &a, &got),
	                 ERR_NOT_FOUND);
	assert_int_equal(json_find_string(STRL("{\"a\":1}"), STRL("a"), &a, &got), ERR_SYNTAX);
	assert_int_equal(json_find_string(STRL("[]"), STRL("a"), &a, &got), ERR_SYNTAX);
	assert_int_equal(json_find_string(STRL("{\"a\":\"\"}"), STRL("a"), &a, &got), ERR_OK);
	assert_int_equal(got.len, 0);
	arena_fini(&a);
	arena_init(&a, 0);
	assert_int_equal(json_find_string(STRL("{\"a\":\"x\"}"), STRL("a"), &a, &got), ERR_NOMEM);
	arena_fini(&a);
}

/* ---- texts ---- */

static const struct {
	struct str text, plain;
} meanings[] = {
	{ STR(""), STR("") },
	{ STR("abc"), STR("abc") },
	{ STR("\\\"\\\\\\/\\b\\f\\n\\r\\t"), STR("\"\\/\b\f\n\r\t") },
	{ STR("\\u0000x\\u007f"), STR("\0x\x7f") },
	{ STR("\\u0080\\u07FF"), STR("\xC2\x80\xDF\xBF") },
	{ STR("\\u0800\\uffff"), STR("\xE0\xA0\x80\xEF\xBF\xBF") },
	{ STR("\\ud800\\udc00\\uDBFF\\uDFFF"), STR("\xF0\x90\x80\x80\xF4\x8F\xBF\xBF") },
	{ STR("a\xC3\xA9\\n"), STR("a\xC3\xA9\n") },
};

static void understands_texts(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(meanings); i++) {
		char          room[64];
		struct writer w = writer_over(room, meanings[i].text.len);
		struct exact  x;
		struct str    text = exact_copy(&x, meanings[i].text);
		struct str    longer = { room, meanings[i].plain.len + 1 };

		print_message("  %.*s\n", (int)text.len, text.ptr);
		json_unescape(text, &w);
		assert_false(w.failed);
		assert_true(str_eq(writer_done(&w), meanings[i].plain));
		assert_true(json_text_eq(text, meanings[i].plain));
		room[meanings[i].plain.len] = 'x';
		assert_false(json_text_eq(text, longer));
		if (meanings[i].plain.len > 0) {
			struct str shorter = str_head(meanings[i].plain, meanings[i].plain.len - 1);

			assert_false(json_text_eq(text, shorter));
		}
		exact_free(&x);
	}
}

static void orders_by_code_points(void **state)
{
	/* ascending; UTF-16 order would put the last one before U+FF5E */
	static const struct str order[] = {
		STR(""),         STR("\\u0000"),  STR("\\n"),     STR("A"),
		STR("A\\u0000"), STR("A\\u0020"), STR("A!"),      STR("a"),
		STR("\\u007f"),  STR("\xC2\x80"), STR("\\uff5e"), STR("\\ud83d\\ude00"),
	};

	(void)state;
	for (size_t i = 0; i < COUNT(order); i++)
		for (size_t j = 0; j < COUNT(order); j++) {
			int got = json_text_cmp(order[i], order[j]);

			assert_int_equal((got > 0) - (got < 0), (i > j) - (i < j));
		}
	assert_int_equal(json_text_cmp(STRL("a\\u0062"), STRL("\\u0061b")), 0);
	assert_int_equal(json_text_cmp(STRL("\\/"), STRL("/")), 0);
}

static void reads_integers(void **state)
{
	static const struct {
		const char *text;
		enum err    want;
		int64_t     value;
	} rows[] = {
		{ "0", ERR_OK, 0 },
		{ "-0", ERR_OK, 0 },
		{ "-17", ERR_OK, -17 },
		{ "9007199254740991", ERR_OK, 9007199254740991 },
		{ "-9007199254740991", ERR_OK, -9007199254740991 },
		{ "9007199254740992", ERR_RANGE, 0 },
		{ "-9007199254740992", ERR_RANGE, 0 },
		{ "99999999999999999999999", ERR_RANGE, 0 },
		{ "1.0", ERR_RANGE, 0 },
		{ "1e3", ERR_RANGE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		int64_t got = 0;

		print_message("  %s\n", rows[i].text);
		assert_int_equal(json_to_integer(str_of(rows[i].text), &got), rows[i].want);
		assert_true(got == rows[i].value);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepts_json_and_nothing_else),
		cmocka_unit_test(reports_tokens),
		cmocka_unit_test(cuts_change_nothing),
		cmocka_unit_test(prefixes_are_incomplete),
		cmocka_unit_test(long_text_across_pieces_is_cut),
		cmocka_unit_test(keeps_limits),
		cmocka_unit_test(endless_text_is_refused_early),
		cmocka_unit_test(depth_is_256_at_most),
		cmocka_unit_test(lists_items),
		cmocka_unit_test(lists_elements),
		cmocka_unit_test(finds_members),
		cmocka_unit_test(finds_string),
		cmocka_unit_test(understands_texts),
		cmocka_unit_test(orders_by_code_points),
		cmocka_unit_test(reads_integers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
