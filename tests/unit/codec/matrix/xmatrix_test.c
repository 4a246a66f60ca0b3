#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "codec/matrix/xmatrix.h"
#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* ---- the field ---- */

static const struct {
	struct str  value;
	enum err    want;
	const char *origin, *destination, *key, *sig;
} fields[] = {
	/* Server-Server API, "Request Authentication" */
	{ STR("X-Matrix origin=\"origin.hs.example.com\",destination=\"destination.hs.example.com\","
	      "key=\"ed25519:key1\",sig=\"ABCDEF...\""),
	  ERR_OK, "origin.hs.example.com", "destination.hs.example.com", "ed25519:key1",
	  "ABCDEF..." },
	/* old senders: origin unquoted, with a port; no destination */
	{ STR("X-Matrix origin=a.example:8448,key=\"ed25519:1\",sig=\"x\""), ERR_OK,
	  "a.example:8448", "", "ed25519:1", "x" },
	{ STR("X-Matrix origin=[2001:db8::1]:8448,key=ed25519:1,sig=ab+/cd=="), ERR_OK,
	  "[2001:db8::1]:8448", "", "ed25519:1", "ab+/cd==" },
	/* any order, case and blanks; empty list elements (RFC 9110 5.6.1.2) */
	{ STR("x-matrix   SIG=x ,\tKey = ed25519:1\t, DESTINATION =b.example, Origin= \"a.example\""),
	  ERR_OK, "a.example", "b.example", "ed25519:1", "x" },
	{ STR("X-MATRIX ,origin=a.example,, key=k , ,sig=x,"), ERR_OK, "a.example", "", "k", "x" },
	{ STR("  X-Matrix origin=a.example,key=k,sig=x \t"), ERR_OK, "a.example", "", "k", "x" },
	/* quoted pairs, RFC 9110 5.6.4 */
	{ STR("X-Matrix origin=\"a\\.example\",key=\"\\e\\d\",sig=\"\\\\\\\"\""), ERR_OK,
	  "a.example", "", "ed", "\\\"" },
	{ STR("X-Matrix origin=\"a.example\",key=\"k, sig=y\",sig=\"x\""), ERR_OK, "a.example", "",
	  "k, sig=y", "x" },
	/* unknown parameters, also twice and of any kind */
	{ STR("X-Matrix origin=a.example,key=k,sig=x,foo=1,foo=\"\",signature=y"), ERR_OK,
	  "a.example", "", "k", "x" },
	/* another scheme */
	{ STR("Bearer abc"), ERR_NOT_FOUND, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix2 origin=a.example,key=k,sig=x"), ERR_NOT_FOUND, NULL, NULL, NULL, NULL },
	{ STR("X-Matri origin=a.example,key=k,sig=x"), ERR_NOT_FOUND, NULL, NULL, NULL, NULL },
	{ STR(""), ERR_NOT_FOUND, NULL, NULL, NULL, NULL },
	/* missing, empty, twice */
	{ STR("X-Matrix"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix "), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix,origin=a.example,key=k,sig=x"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix\torigin=a.example,key=k,sig=x"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix key=k,sig=x"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix origin=a.example,sig=x"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix origin=a.example,key=k"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix origin=a.example,key=k,signature=x"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix origin=\"\",key=k,sig=x"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix origin=a.example,destination=\"\",key=k,sig=x"), ERR_SYNTAX, NULL, NULL,
	  NULL, NULL },
	{ STR("X-Matrix origin=a.example,origin=a.example,key=k,sig=x"), ERR_SYNTAX, NULL, NULL,
	  NULL, NULL },
	{ STR("X-Matrix origin=a.example,key=k,sig=x,SIG=x"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	/* origin is no server name */
	{ STR("X-Matrix origin=a_b,key=k,sig=x"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix origin=\"a b\",key=k,sig=x"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix origin=a.example:99999,key=k,sig=x"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	/* form */
	{ STR("X-Matrix origin=a.example key=k sig=x"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix origin=a.example;key=k;sig=x"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix origin,key=k,sig=x"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix origin=,key=k,sig=x"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix =a,origin=a.example,key=k,sig=x"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix origin=\"a.example,key=k,sig=x"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix origin=\"a.example\"x,key=k,sig=x"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix origin=a.example,key=k,sig=\"x\\"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix origin=a.example,key=k,sig=\"x\\\""), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix origin=a.example,key=k,sig=\"x\0\""), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix origin=a.example,key=k,sig=\"x\\\0\""), ERR_SYNTAX, NULL, NULL, NULL,
	  NULL },
	{ STR("X-Matrix origin=a.example,key=k,sig=x\0"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	{ STR("X-Matrix origin=a.example,key=k,sig=x@"), ERR_SYNTAX, NULL, NULL, NULL, NULL },
	/* more than 32 places */
	{ STR("X-Matrix origin=a.example,key=k,sig=x,,,,,,,,,,,,,,,,,,,,,,,,,,,,,"), ERR_OK,
	  "a.example", "", "k", "x" },
	{ STR("X-Matrix origin=a.example,key=k,sig=x,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,"), ERR_SYNTAX,
	  NULL, NULL, NULL, NULL },
};

static void reads_every_spelling(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(fields); i++) {
		struct xmatrix got;
		struct arena   a;
		struct exact   x;
		struct str     value = exact_copy(&x, fields[i].value);

		print_message("  %.*s\n", (int)value.len, value.ptr);
		arena_init(&a, 4096);
		assert_int_equal(xmatrix_parse(value, &a, &got), fields[i].want);
		if (fields[i].want == ERR_OK) {
			assert_true(str_is(got.origin, fields[i].origin));
			assert_true(str_is(got.destination, fields[i].destination));
			assert_true(str_is(got.key, fields[i].key));
			assert_true(str_is(got.sig, fields[i].sig));
		}
		arena_fini(&a);
		exact_free(&x);
	}
}

static void prefixes_do_no_harm(void **state)
{
	const struct str whole =
		STR("X-Matrix origin=\"a\\.b\", destination=c:1,key=\"ed25519:1\",sig=\"ab/=\"");

	(void)state;
	for (size_t n = 0; n < whole.len; n++) {
		struct xmatrix got;
		struct arena   a;
		struct exact   x;

		arena_init(&a, 4096);
		assert_int_not_equal(xmatrix_parse(exact_copy(&x, str_head(whole, n)), &a, &got),
		                     ERR_OK);
		arena_fini(&a);
		exact_free(&x);
	}
}

static void backslashes_need_memory(void **state)
{
	struct xmatrix got;
	struct arena   a;

	(void)state;
	arena_init(&a, 0);
	assert_int_equal(xmatrix_parse(STRL("X-Matrix origin=\"a\\.b\",key=k,sig=x"), &a, &got),
	                 ERR_NOMEM);
	arena_fini(&a);
}

static void writes_one_spelling(void **state)
{
	char           room[200];
	struct writer  w = writer_over(room, sizeof(room));
	struct xmatrix line = { STR("a.example"), STR("[::1]:8448"), STR("ed25519:k1"),
		                STR("ab+/") };

	(void)state;
	assert_int_equal(xmatrix_write(&w, &line), ERR_OK);
	assert_true(str_is(writer_done(&w),
	                   "X-Matrix origin=\"a.example\",destination=\"[::1]:8448\","
	                   "key=\"ed25519:k1\",sig=\"ab+/\""));
	line.key = STRL("k\",sig=\"y");
	assert_int_equal(xmatrix_write(&w, &line), ERR_SYNTAX);
	line.key = STRL("k");
	line.destination = STRL("a\\b");
	assert_int_equal(xmatrix_write(&w, &line), ERR_SYNTAX);
}

/* ---- all fields of a request ---- */

#define A1          "X-Matrix origin=a.example,destination=us.example,key=ed25519:1,sig=x"
#define A2          "X-Matrix origin=a.example,key=ed25519:2,sig=y"
#define B1          "X-Matrix origin=b.example,key=ed25519:1,sig=x"
#define A_ELSEWHERE "X-Matrix origin=a.example,destination=Us.example,key=ed25519:3,sig=z"

static const struct {
	const char *values[XMATRIX_LINES_MAX + 1];
	enum err    want;
	size_t      count;
	bool        for_us;
} heads[] = {
	{ { A1 }, ERR_OK, 1, true },
	{ { A1, A2 }, ERR_OK, 2, true },
	{ { "Bearer x", A2 }, ERR_OK, 1, true },
	{ { A2, A_ELSEWHERE, A1 }, ERR_OK, 3, false },
	{ { NULL }, ERR_NOT_FOUND, 0, false },
	{ { "Bearer x" }, ERR_NOT_FOUND, 0, false },
	{ { A1, B1 }, ERR_SYNTAX, 0, false },
	{ { A1, "X-Matrix origin=a.example" }, ERR_SYNTAX, 0, false },
	{ { A1, A1, A1, A1, A1, A1, A1, A1 }, ERR_OK, 8, true },
	{ { A1, A1, A1, A1, A1, A1, A1, A1, A1 }, ERR_SYNTAX, 0, false },
	{ { "B x", "B x", "B x", "B x", "B x", "B x", "B x", "B x", A1 }, ERR_SYNTAX, 0, false },
};

static void collects_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(heads); i++) {
		struct field         f[2 * COUNT(heads[0].values)];
		struct head          head = { .fields = f };
		struct xmatrix_lines lines;
		struct arena         a;

		print_message("  %zu\n", i);
		for (size_t j = 0; j < COUNT(heads[i].values) && heads[i].values[j] != NULL; j++) {
			f[head.field_count++] = (struct field){ FIELD_OTHER, STR("x"), STR(B1) };
			f[head.field_count++] = (struct field){ FIELD_AUTHORIZATION,
				                                STR("Authorization"),
				                                str_of(heads[i].values[j]) };
		}
		arena_init(&a, 4096);
		assert_int_equal(xmatrix_collect(&head, &a, &lines), heads[i].want);
		if (heads[i].want == ERR_OK) {
			assert_int_equal(lines.count, heads[i].count);
			assert_true(str_is(lines.origin, "a.example"));
			assert_int_equal(xmatrix_is_for(&lines, STRL("us.example")),
			                 heads[i].for_us);
		}
		arena_fini(&a);
	}
}

/* ---- the signed message ---- */

#define SEED "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1" /* Appendices, test vectors */

static struct signing_pair pair;

static int make_pair(void **state)
{
	uint8_t seed[SIGNING_SEED_BYTES];

	(void)state;
	if (signing_init() != ERR_OK ||
	    base64_read_exactly(STRL(SEED), seed, sizeof(seed)) != ERR_OK)
		return -1;
	signing_pair_from_seed(seed, &pair);
	return 0;
}

#define PROFILE \
	"/_matrix/federation/v1/query/profile?user_id=%40alice%3Arelay.example&field=displayname"
#define QUERY "/_matrix/federation/v1/user/keys/query"

static const struct {
	struct xmatrix_request request;
	const char            *bytes, *sig; /* sig: made with another implementation */
} messages[] = {
	{ { STR("GET"), STR(PROFILE), STR("domain"), STR("relay.example"), STR("") },
	  "{\"destination\":\"relay.example\",\"method\":\"GET\",\"origin\":\"domain\",\"uri\":\"" PROFILE
	  "\"}",
	  "vuSoQGubGlLzXQ+c/6FMsxKeFCWxiQFyAl/wKxAtwNJ+5NFuCipxenrsU8xNbJewQrVQCmYADXvQ0aPrrPlfDA" },
	{ { STR("PUT"), STR("/_matrix/federation/v1/send/1000000"), STR("domain"),
	    STR("relay.example:8448"),
	    STR("{\"edus\":[{\"content\":{\"room_id\":\"!r:domain\",\"typing\":true,\"user_id\":"
	        "\"@u:domain\"},\"edu_type\":\"m.typing\"}],\"origin\":\"domain\",\"origin_server_ts\":"
	        "1000000,\"pdus\":[]}") },
	  "{\"content\":{\"edus\":[{\"content\":{\"room_id\":\"!r:domain\",\"typing\":true,\"user_id\":"
	  "\"@u:domain\"},\"edu_type\":\"m.typing\"}],\"origin\":\"domain\",\"origin_server_ts\":1000000,"
	  "\"pdus\":[]},\"destination\":\"relay.example:8448\",\"method\":\"PUT\",\"origin\":\"domain\","
	  "\"uri\":\"/_matrix/federation/v1/send/1000000\"}",
	  "YbFYgOQwo2RojYuQjZ5pm8uyiWWpRQ1BcrjTifmUSJ3mU+NmE91ZSylnBpw5qGIn2BuFtzXA9DVTzW4vNGg5Ag" },
	{ { STR("POST"), STR(QUERY), STR("domain"), STR("relay.example"),
	    STR("{\"device_keys\":{\"@ä€😀:relay.example\":[]}}") },
	  "{\"content\":{\"device_keys\":{\"@ä€😀:relay.example\":[]}},\"destination\":\"relay.example\","
	  "\"method\":\"POST\",\"origin\":\"domain\",\"uri\":\"" QUERY "\"}",
	  "kTC2pCR5kkOjq4GEBQbBN4MUTNbK6IoLTiaSPHOVakrxFtENF4dN9iFnJ1OM3jG6Jpq1BfG0O8pY/OwY5beCBQ" },
	/* the same, spelled by a sender that does not send canonical JSON */
	{ { STR("POST"), STR(QUERY), STR("domain"), STR("relay.example"),
	    STR(" {\"device_keys\" : { \"@\\u00E4\\u20ac\\ud83d\\ude00:relay.example\" :\t[ ] } }\n") },
	  "{\"content\":{\"device_keys\":{\"@ä€😀:relay.example\":[]}},\"destination\":\"relay.example\","
	  "\"method\":\"POST\",\"origin\":\"domain\",\"uri\":\"" QUERY "\"}",
	  "kTC2pCR5kkOjq4GEBQbBN4MUTNbK6IoLTiaSPHOVakrxFtENF4dN9iFnJ1OM3jG6Jpq1BfG0O8pY/OwY5beCBQ" },
	/* signatures and unsigned inside content are signed; an empty object is content */
	{ { STR("POST"), STR("/x\"y\\z"), STR("domain"), STR("b"),
	    STR("{\"unsigned\":1,\"signatures\":{}}") },
	  "{\"content\":{\"signatures\":{},\"unsigned\":1},\"destination\":\"b\",\"method\":\"POST\","
	  "\"origin\":\"domain\",\"uri\":\"/x\\\"y\\\\z\"}",
	  NULL },
	{ { STR("PUT"), STR("/x"), STR("domain"), STR("b"), STR("{}") },
	  "{\"content\":{},\"destination\":\"b\",\"method\":\"PUT\",\"origin\":\"domain\",\"uri\":\"/x\"}",
	  NULL },
};

static void builds_signs_and_verifies(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(messages); i++) {
		struct xmatrix_message m;
		struct signing_sig     sig;
		char                   text[SIGNING_SIG_TEXT];
		struct writer          w = writer_over(text, sizeof(text));

		print_message("  %s\n", messages[i].bytes);
		assert_int_equal(xmatrix_open(&m, &messages[i].request, 4096), ERR_OK);
		assert_true(str_is(buf_str(&m.bytes), messages[i].bytes));
		xmatrix_sign(&m, &pair, &sig);
		signing_sig_write(&w, &sig);
		if (messages[i].sig != NULL)
			assert_true(str_is(writer_done(&w), messages[i].sig));
		assert_int_equal(xmatrix_verify(&m, writer_done(&w), &pair.key), ERR_OK);
		xmatrix_close(&m);
	}
}

/* Verifies messages[1] with one part replaced, or with another signature. */
static enum err verify_with(const struct xmatrix_request *r, struct str sig)
{
	struct xmatrix_message m;
	enum err               e = xmatrix_open(&m, r, 4096);

	if (e != ERR_OK)
		return e;
	e = xmatrix_verify(&m, sig, &pair.key);
	xmatrix_close(&m);
	return e;
}

/* Flips one bit in each byte of each part in turn. */
static void every_byte_is_signed(void **state)
{
	const struct xmatrix_request *good = &messages[1].request;
	const struct str              sig = str_of(messages[1].sig);
	struct xmatrix_request        r = *good;
	struct str *const parts[] = { &r.method, &r.uri, &r.origin, &r.destination, &r.content };

	(void)state;
	assert_int_equal(verify_with(good, sig), ERR_OK);
	for (size_t p = 0; p < COUNT(parts); p++) {
		char       bytes[256];
		struct str part = *parts[p];

		assert_true(part.len <= sizeof(bytes));
		for (size_t i = 0; i < part.len; i++) {
			memcpy(bytes, part.ptr, part.len);
			bytes[i] ^= 2;
			*parts[p] = str_span(bytes, part.len);
			assert_int_not_equal(verify_with(&r, sig), ERR_OK);
		}
		*parts[p] = part;
	}
	assert_int_equal(verify_with(&r, sig), ERR_OK);
}

static void other_requests_do_not_verify(void **state)
{
	const struct str       sig = str_of(messages[0].sig);
	struct xmatrix_request r = messages[0].request;

	(void)state;
	r.uri = STRL(
		"/_matrix/federation/v1/query/profile?field=displayname&user_id=%40alice%3Arelay.example");
	assert_int_equal(verify_with(&r, sig), ERR_SIGNATURE);
	r.uri = STRL(
		"/_matrix/federation/v1/query/profile?user_id=%40alice%3arelay.example&field=displayname");
	assert_int_equal(verify_with(&r, sig), ERR_SIGNATURE);
	r = messages[0].request;
	r.content = STRL("{}");
	assert_int_equal(verify_with(&r, sig), ERR_SIGNATURE);
	r.content = STRL("");
	assert_int_equal(verify_with(&r, sig), ERR_OK);
	assert_int_equal(verify_with(&r, STRL("")), ERR_SIGNATURE);
	assert_int_equal(verify_with(&r, str_head(sig, 85)), ERR_SIGNATURE);
	assert_int_equal(verify_with(&r, str_of(messages[1].sig)), ERR_SIGNATURE);
}

static void numbers_have_two_readings(void **state)
{
	static const struct {
		const char *signed_body, *sent_body;
		enum err    want;
	} rows[] = {
		{ "{\"a\":1e2}", "{\"a\":1e2}", ERR_OK },
		{ "{\"a\":100}", "{\"a\":1e2}", ERR_OK },
		{ "{\"a\":0}", "{\"a\":-0}", ERR_OK },
		{ "{\"a\":1}", "{\"a\": 1.0}", ERR_OK },
		{ "{\"a\":1.5}", "{\"a\":1.5}", ERR_OK },
		{ "{\"a\":1}", "{\"a\":1.5}", ERR_SIGNATURE },
		{ "{\"a\":1e2}", "{\"a\":100}", ERR_SIGNATURE },
		{ "{\"a\":9007199254740993}", "{\"a\":9007199254740993}", ERR_OK },
		{ "{\"a\":9007199254740992}", "{\"a\":9007199254740993}", ERR_SIGNATURE },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct xmatrix_request r = { STR("PUT"), STR("/x"), STR("a"), STR("b"),
			                     str_of(rows[i].signed_body) };
		struct xmatrix_message m;
		struct signing_sig     sig;
		char                   text[SIGNING_SIG_TEXT];
		struct writer          w = writer_over(text, sizeof(text));

		print_message("  %s for %s\n", rows[i].sent_body, rows[i].signed_body);
		assert_int_equal(xmatrix_open(&m, &r, 4096), ERR_OK);
		xmatrix_sign(&m, &pair, &sig);
		xmatrix_close(&m);
		signing_sig_write(&w, &sig);
		r.content = str_of(rows[i].sent_body);
		assert_int_equal(verify_with(&r, writer_done(&w)), rows[i].want);
	}
}

static void refuses_what_cannot_be_signed(void **state)
{
	static const struct {
		struct str content, uri;
		size_t     max;
		enum err   want;
	} rows[] = {
		{ STR("[]"), STR("/"), 4096, ERR_SYNTAX },
		{ STR("1"), STR("/"), 4096, ERR_SYNTAX },
		{ STR(" "), STR("/"), 4096, ERR_SYNTAX },
		{ STR("{\"a\":1,\"a\":2}"), STR("/"), 4096, ERR_SYNTAX },
		{ STR("{}"), STR("/\xff"), 4096, ERR_SYNTAX },
		{ STR("{}"), STR("/"), 69, ERR_TOO_LARGE },
		{ STR("{}"), STR("/"), 70, ERR_OK },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct xmatrix_request r = { STR("PUT"), rows[i].uri, STR("a"), STR("b"),
			                           rows[i].content };
		struct xmatrix_message       m;
		enum err                     e = xmatrix_open(&m, &r, rows[i].max);

		print_message("  %zu\n", i);
		assert_int_equal(e, rows[i].want);
		if (e == ERR_OK)
			xmatrix_close(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_spelling),
		cmocka_unit_test(prefixes_do_no_harm),
		cmocka_unit_test(backslashes_need_memory),
		cmocka_unit_test(writes_one_spelling),
		cmocka_unit_test(collects_lines),
		cmocka_unit_test(builds_signs_and_verifies),
		cmocka_unit_test(every_byte_is_signed),
		cmocka_unit_test(other_requests_do_not_verify),
		cmocka_unit_test(numbers_have_two_readings),
		cmocka_unit_test(refuses_what_cannot_be_signed),
	};

	return cmocka_run_group_tests(tests, make_pair, NULL);
}
