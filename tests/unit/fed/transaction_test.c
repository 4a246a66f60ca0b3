#include "fed/transaction.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define PDU(type) \
	"{\"type\":\"" type "\",\"room_id\":\"!r:a\",\"content\":{\"state_key\":1,\"type\":7}}"
#define STATE(type) "{\"type\":\"" type "\",\"state_key\":\"\",\"content\":{}}"
#define EDU(type)   "{\"content\":{\"edu_type\":\"m.receipt\"},\"edu_type\":\"" type "\"}"
#define BODY(p, e)  "{\"origin\":\"a.example\",\"pdus\":[" p "],\"edus\":[" e "]}"

static const struct row {
	struct str  body;
	enum err    want;
	size_t      pdus, edus;
	unsigned    parts;
	bool        fleeting;
	const char *origin; /* NULL: not said */
} rows[] = {
	{ STR(BODY(PDU("m.room.message"), "")), ERR_OK, 1, 0, TRANSACTION_MESSAGE, false,
	  "a.example" },
	{ STR(BODY(PDU("m.room.encrypted"), "")), ERR_OK, 1, 0, TRANSACTION_MESSAGE, false,
	  "a.example" },
	{ STR(BODY(PDU("org.example.unheard.of"), "")), ERR_OK, 1, 0, TRANSACTION_MESSAGE, false,
	  "a.example" },
	{ STR(BODY(PDU("m.reaction"), "")), ERR_OK, 1, 0, TRANSACTION_QUIET, false, "a.example" },
	{ STR(BODY(PDU("m\\u002ereaction"), "")), ERR_OK, 1, 0, TRANSACTION_QUIET, false,
	  "a.example" },
	{ STR(BODY(PDU("m.reaction\\u0000"), "")), ERR_OK, 1, 0, TRANSACTION_MESSAGE, false,
	  "a.example" },
	{ STR(BODY(STATE("m.room.member"), "")), ERR_OK, 1, 0, TRANSACTION_STATE, false,
	  "a.example" },
	{ STR(BODY(STATE("m.room.message"), "")), ERR_OK, 1, 0, TRANSACTION_STATE, false,
	  "a.example" },
	{ STR(BODY(PDU("m.reaction") "," PDU("m.room.message") "," STATE("m.room.name"), "")),
	  ERR_OK, 3, 0, TRANSACTION_QUIET | TRANSACTION_MESSAGE | TRANSACTION_STATE, false,
	  "a.example" },
	{ STR(BODY("{}", "")), ERR_OK, 1, 0, TRANSACTION_MESSAGE, false, "a.example" },
	{ STR(BODY("{\"type\":[\"m.reaction\"]}", "")), ERR_OK, 1, 0, TRANSACTION_MESSAGE, false,
	  "a.example" },
	{ STR(BODY("{\"type\":{\"type\":\"m.reaction\"}}", "")), ERR_OK, 1, 0, TRANSACTION_MESSAGE,
	  false, "a.example" },
	{ STR(BODY("", EDU("m.direct_to_device"))), ERR_OK, 0, 1, TRANSACTION_TO_DEVICE, false,
	  "a.example" },
	{ STR(BODY("", EDU("m.device_list_update") "," EDU("m.signing_key_update"))), ERR_OK, 0, 2,
	  TRANSACTION_DEVICE_LIST, false, "a.example" },
	{ STR(BODY("", EDU("m.receipt"))), ERR_OK, 0, 1, TRANSACTION_RECEIPT, false, "a.example" },
	{ STR(BODY("", EDU("m.typing"))), ERR_OK, 0, 1, TRANSACTION_TYPING, true, "a.example" },
	{ STR(BODY("", EDU("m.presence"))), ERR_OK, 0, 1, TRANSACTION_PRESENCE, true, "a.example" },
	{ STR(BODY("", EDU("m.presence") "," EDU("m.typing"))), ERR_OK, 0, 2,
	  TRANSACTION_PRESENCE | TRANSACTION_TYPING, true, "a.example" },
	{ STR(BODY("", EDU("m.typing") "," EDU("m.receipt"))), ERR_OK, 0, 2,
	  TRANSACTION_TYPING | TRANSACTION_RECEIPT, false, "a.example" },
	{ STR(BODY(PDU("m.reaction"), EDU("m.typing"))), ERR_OK, 1, 1,
	  TRANSACTION_QUIET | TRANSACTION_TYPING, false, "a.example" },
	{ STR(BODY("", EDU("m.new"))), ERR_OK, 0, 1, TRANSACTION_OTHER, false, "a.example" },
	{ STR(BODY("", "{}")), ERR_OK, 0, 1, TRANSACTION_OTHER, false, "a.example" },
	{ STR(BODY("", "{\"edu_type\":1}")), ERR_OK, 0, 1, TRANSACTION_OTHER, false, "a.example" },
	/* any order, blanks, other members, nothing at all */
	{ STR(" { \"edus\" : [ { \"edu_type\" : \"m.typing\" , \"content\" : { } } ] ,\n"
	      "\"x\":[{\"pdus\":[1]}],\"pdus\":[],\"origin_server_ts\":1,\"origin\":\"b:1\" } "),
	  ERR_OK, 0, 1, TRANSACTION_TYPING, true, "b:1" },
	{ STR("{}"), ERR_OK, 0, 0, 0, true, NULL },
	{ STR("{\"pdus\":null,\"edus\":null}"), ERR_OK, 0, 0, 0, true, NULL },
	{ STR("{\"origin\":\"a\\u0000b\"}"), ERR_OK, 0, 0, 0, true, "" },
	{ STR("{\"\\u0070dus\":[{}]}"), ERR_OK, 1, 0, TRANSACTION_MESSAGE, false, NULL },
	/* not a transaction */
	{ STR(""), ERR_SYNTAX, 0, 0, 0, false, NULL },
	{ STR("[]"), ERR_SYNTAX, 0, 0, 0, false, NULL },
	{ STR("7"), ERR_SYNTAX, 0, 0, 0, false, NULL },
	{ STR("{}{}"), ERR_SYNTAX, 0, 0, 0, false, NULL },
	{ STR("{\"pdus\":[}"), ERR_SYNTAX, 0, 0, 0, false, NULL },
	{ STR("{\"pdus\":{}}"), ERR_SYNTAX, 0, 0, 0, false, NULL },
	{ STR("{\"pdus\":\"\"}"), ERR_SYNTAX, 0, 0, 0, false, NULL },
	{ STR("{\"edus\":true}"), ERR_SYNTAX, 0, 0, 0, false, NULL },
	{ STR("{\"pdus\":[[]]}"), ERR_SYNTAX, 0, 0, 0, false, NULL },
	{ STR("{\"pdus\":[\"x\"]}"), ERR_SYNTAX, 0, 0, 0, false, NULL },
	{ STR("{\"edus\":[null]}"), ERR_SYNTAX, 0, 0, 0, false, NULL },
	{ STR("{\"origin\":1}"), ERR_SYNTAX, 0, 0, 0, false, NULL },
	{ STR("{\"pdus\":[],\"pdus\":[]}"), ERR_SYNTAX, 0, 0, 0, false, NULL },
	{ STR("{\"edus\":[],\"\\u0065dus\":[]}"), ERR_SYNTAX, 0, 0, 0, false, NULL },
	{ STR(BODY("{\"type\":\"m.reaction\",\"type\":\"m.room.message\"}", "")), ERR_SYNTAX, 0, 0,
	  0, false, NULL },
	{ STR(BODY("", "{\"edu_type\":\"m.typing\",\"edu_type\":\"m.receipt\"}")), ERR_SYNTAX, 0, 0,
	  0, false, NULL },
	{ STR("{\"a\":\xff}"), ERR_SYNTAX, 0, 0, 0, false, NULL },
};

/* In pieces of that many bytes, each in a block of its own. */
static enum err look(struct transaction *t, struct str body, size_t piece)
{
	enum err e = ERR_OK;

	transaction_init(t, 0);
	while (body.len > 0 && e == ERR_OK) {
		struct exact x;

		e = transaction_feed(t, exact_copy(&x, str_head(body, piece)), false);
		exact_free(&x);
		body = str_from(body, piece);
	}
	assert_false(e == ERR_OK && transaction_is_fleeting(t)); /* not before the end */
	return e == ERR_OK ? transaction_feed(t, STRL(""), true) : e;
}

static void sees_what_is_in_it(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct row *r = &rows[i];

		print_message("  %s\n", r->body.ptr);
		for (size_t piece = 1; piece <= r->body.len + 1; piece++) {
			struct transaction t;

			assert_int_equal(look(&t, r->body, piece), r->want);
			assert_int_equal(transaction_is_fleeting(&t), r->fleeting);
			if (r->want != ERR_OK)
				continue;
			assert_int_equal(t.pdus, r->pdus);
			assert_int_equal(t.edus, r->edus);
			assert_int_equal(t.parts, r->parts);
			assert_int_equal(t.has_origin, r->origin != NULL);
			assert_string_equal(t.origin, r->origin != NULL ? r->origin : "");
		}
	}
}

static void wakes_for_some(void **state)
{
	struct transaction t = { .parts = TRANSACTION_STATE | TRANSACTION_TO_DEVICE };

	(void)state;
	assert_true(transaction_has(&t, TRANSACTION_WAKING));
	t.parts = TRANSACTION_STATE | TRANSACTION_QUIET | TRANSACTION_RECEIPT;
	assert_false(transaction_has(&t, TRANSACTION_WAKING));
}

static void prefixes_are_incomplete(void **state)
{
	const struct str whole = STR(BODY(PDU("m.room.message"), EDU("m.typing")));

	(void)state;
	for (size_t n = 0; n < whole.len; n++) {
		struct transaction t;
		struct exact       x;

		transaction_init(&t, 0);
		assert_int_equal(transaction_feed(&t, exact_copy(&x, str_head(whole, n)), true),
		                 ERR_SYNTAX);
		exact_free(&x);
	}
}

/* ---- limits ---- */

static struct buf body;

static void add(const char *c)
{
	assert_int_equal(buf_add(&body, str_of(c)), ERR_OK);
}

static int body_begin(void **state)
{
	(void)state;
	buf_init(&body, 4 << 20);
	return 0;
}

static int body_end(void **state)
{
	(void)state;
	buf_fini(&body);
	return 0;
}

static enum err look_at_many(const char *list, const char *element, size_t count)
{
	struct transaction t;

	buf_take(&body, buf_len(&body));
	add("{\"");
	add(list);
	add("\":[");
	for (size_t i = 0; i < count; i++) {
		add(i > 0 ? "," : "");
		add(element);
	}
	add("]}");
	return look(&t, buf_str(&body), 100);
}

static void counts_have_limits(void **state)
{
	(void)state;
	assert_int_equal(look_at_many("pdus", PDU("m.room.message"), 50), ERR_OK);
	assert_int_equal(look_at_many("pdus", "{}", 51), ERR_LIMIT);
	assert_int_equal(look_at_many("edus", EDU("m.typing"), 100), ERR_OK);
	assert_int_equal(look_at_many("edus", "{}", 101), ERR_LIMIT);
	assert_int_equal(look_at_many("other", "{}", 500), ERR_OK);
}

/* A PDU of so many bytes in canonical form, in a spelling with more of them. */
static enum err look_at_pdu(size_t canonical, const char *blank, const char *unit,
                            size_t unit_bytes, size_t piece, size_t *most)
{
	struct transaction t;
	size_t             bytes = strlen("{\"type\":\"t\",\"x\":\"\"}");
	enum err           e;

	buf_take(&body, buf_len(&body));
	add("{\"pdus\":[ {\"type\":");
	add(blank);
	add("\"t\",");
	add(blank);
	add("\"x\":\"");
	for (; bytes + unit_bytes <= canonical; bytes += unit_bytes)
		add(unit);
	for (; bytes < canonical; bytes++)
		add("y");
	add("\"");
	add(blank);
	add("} ]}");
	e = look(&t, buf_str(&body), piece);
	*most = t.pdu_bytes_most;
	return e;
}

static void sizes_are_canonical(void **state)
{
	const struct {
		const char *blank, *unit;
		size_t      unit_bytes; /* of its canonical form */
	} ways[] = {
		{ "", "y", 1 },       { " \n\t ", "y", 1 },
		{ "", "\\u0041", 1 }, { "", "\\/", 1 },
		{ "", "\\n", 2 },     { "", "\\u000a", 2 },
		{ "", "\\u0000", 6 }, { "", "\\u001F", 6 },
		{ "", "\\\"", 2 },    { "", "\\u005c", 2 },
		{ "", "\\u00e4", 2 }, { "", "\xc3\xa4", 2 },
		{ "", "\\u65e5", 3 }, { "", "\\ud83d\\ude00", 4 },
		{ "", "\x7f", 1 },
	};
	const size_t max = TRANSACTION_PDU_BYTES_MAX;
	size_t       most;

	(void)state;
	for (size_t i = 0; i < COUNT(ways); i++) {
		print_message("  %s\n", ways[i].unit);
		/* in one piece the size is exact, and so is the limit */
		assert_int_equal(look_at_pdu(max, ways[i].blank, ways[i].unit, ways[i].unit_bytes,
		                             4 << 20, &most),
		                 ERR_OK);
		assert_int_equal(most, max);
		assert_int_equal(look_at_pdu(max + 1, ways[i].blank, ways[i].unit,
		                             ways[i].unit_bytes, 4 << 20, &most),
		                 ERR_LIMIT);
		/* in pieces it is never taken for larger than it is */
		assert_int_equal(look_at_pdu(max, ways[i].blank, ways[i].unit, ways[i].unit_bytes,
		                             999, &most),
		                 ERR_OK);
		assert_true(most <= max);
	}
}

static void memory_does_not_grow(void **state)
{
	struct transaction t;

	(void)state;
	print_message("  %zu bytes\n", sizeof(t));
	assert_true(sizeof(t) <= 1200);
}

static void bodies_have_limits(void **state)
{
	struct transaction t;

	(void)state;
	transaction_init(&t, 10);
	assert_int_equal(transaction_feed(&t, STRL("{\"a\":11111}"), true), ERR_TOO_LARGE);
	assert_int_equal(transaction_feed(&t, STRL(""), true), ERR_TOO_LARGE);
	transaction_init(&t, 10);
	assert_int_equal(transaction_feed(&t, STRL("{\"a\":1111}"), true), ERR_OK);
}

/* Nesting is the scanner's: too deep is refused, and what is deep inside is not looked at. */
static void depth_has_a_limit(void **state)
{
	struct transaction t;

	(void)state;
	for (unsigned deep = 250; deep < 260; deep++) {
		buf_take(&body, buf_len(&body));
		add("{\"pdus\":[{\"x\":");
		for (unsigned i = 3; i < deep; i++)
			add("[");
		for (unsigned i = 3; i < deep; i++)
			add("]");
		add("}]}");
		assert_int_equal(look(&t, buf_str(&body), 64),
		                 deep <= JSON_DEPTH_MAX ? ERR_OK : ERR_RANGE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sees_what_is_in_it),
		cmocka_unit_test(wakes_for_some),
		cmocka_unit_test(prefixes_are_incomplete),
		cmocka_unit_test_setup_teardown(counts_have_limits, body_begin, body_end),
		cmocka_unit_test_setup_teardown(sizes_are_canonical, body_begin, body_end),
		cmocka_unit_test(memory_does_not_grow),
		cmocka_unit_test(bodies_have_limits),
		cmocka_unit_test_setup_teardown(depth_has_a_limit, body_begin, body_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
