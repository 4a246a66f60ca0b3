/* The wire of HTTP/1.1: the tables of tests/conform/http in every way of arriving, and the writers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "codec/http/h1.h"
#include "conform/http/reading.h"
#include "conform/http/rows.h"

static const struct h1_limits request_limits = { 8000, 4096, 8192, 64 };
static const struct h1_limits response_limits = { 8000, 8192, 16384, 100 };

static const size_t      whole_size[] = { SIZE_MAX }, byte_size[] = { 1 };
static const struct cuts whole = { whole_size, 1 }, by_bytes = { byte_size, 1 };

/* ---- rows ---- */

static const struct str chunked_head = STR("POST / HTTP/1.1\r\nHost: a\r\n"
                                           "Transfer-Encoding: chunked\r\n\r\n");

/* One table: which side speaks, and what stands before the bytes of each row. */
struct table {
	const char             *path;
	enum h1_side            side;
	const struct h1_limits *limits;
	struct str              before;
	size_t                  rows_min; /* a table that was not found whole is no pass */
};

static const struct table requests = { TESTS_DIR "/conform/http/requests.txt", H1_REQUEST,
	                               &request_limits, STR(""), 400 };
static const struct table responses = { TESTS_DIR "/conform/http/responses.txt", H1_RESPONSE,
	                                &response_limits, STR(""), 120 };
static const struct table chunked = { TESTS_DIR "/conform/http/chunked.txt", H1_REQUEST,
	                              &request_limits, chunked_head, 110 };

static unsigned failures;

static void fail_row(const struct row *row, const char *what, struct str wanted, struct str got)
{
	fprintf(stderr, "%.*s: %s: wanted %.*s, got %.*s\n", (int)row->name.len, row->name.ptr,
	        what, (int)wanted.len, wanted.ptr, (int)got.len, got.ptr);
	failures++;
}

static void want(const struct row *row, const char *what, struct str wanted, struct str got)
{
	if (!str_eq(wanted, got))
		fail_row(row, what, wanted, got);
}

static const char *method_text(enum http_method m)
{
	static const char *const names[] = { "GET",    "HEAD",    "PUT",     "POST",
		                             "DELETE", "OPTIONS", "CONNECT", "OTHER" };

	return names[m];
}

static enum http_method row_method(const struct row *row)
{
	struct str to;

	return row_word(row, "to", &to) ? head_method(to) : HTTP_GET;
}

static struct str body_text(const struct head *h, char text[64])
{
	static const char *const names[] = { "none", "length", "chunked", "close" };

	if (h->body == BODY_LENGTH)
		snprintf(text, 64, "length:%llu", (unsigned long long)h->content_length);
	else
		snprintf(text, 64, "%s", names[h->body]);
	return str_of(text);
}

/* A word that is compared only where the row has it. */
static void want_word(const struct row *row, const char *key, struct str got)
{
	struct str value, wanted;

	if (!row_word(row, key, &value))
		return;
	wanted = rows_unescape(value);
	want(row, key, wanted, got);
	free((char *)wanted.ptr);
}

static void want_number(const struct row *row, const char *key, size_t got)
{
	char text[24];

	snprintf(text, sizeof(text), "%zu", got);
	want_word(row, key, str_of(text));
}

static void want_flag(const struct row *row, const char *key, bool got)
{
	want(row, key, str_of(row_has(row, key) ? "yes" : "no"), str_of(got ? "yes" : "no"));
}

/* What a row says of an accepted head; the body of chunked rows is their only subject. */
static void check_accepted(const struct table *t, const struct row *row, const struct reading *r,
                           size_t total)
{
	const struct head *h = &r->head;
	struct str         wanted = STRL("none");
	char               text[64];

	if (t->before.len == 0) {
		row_word(row, "body", &wanted);
		want(row, "body", wanted, body_text(h, text));
		want_flag(row, "close", !h->keep_alive);
		want_flag(row, "continue", h->expect_continue);
	}
	want_word(row, "method", str_of(method_text(h->method)));
	want_word(row, "path", h->path);
	want_word(row, "host", h->host);
	want_word(row, "authority", h->authority);
	want_word(row, "scheme", h->scheme);
	want_word(row, "reason", h->reason);
	want_word(row, "data", str_span(r->body, r->body_len));
	want_number(row, "fields", h->field_count);
	want_number(row, "status", (size_t)h->status);
	wanted = STRL("0");
	row_word(row, "rest", &wanted);
	snprintf(text, sizeof(text), "%zu", total - r->used);
	want(row, "rest", wanted, str_of(text));
}

static void check_row(const struct table *t, const struct row *row, const struct reading *r,
                      size_t total)
{
	char text[96];

	if (r->verdict == ERR_OK) {
		want(row, "verdict", str_head(row->verdict, 2), STRL("ok"));
		check_accepted(t, row, r, total);
	} else if (r->verdict == ERR_BUSY) {
		want(row, "verdict", str_head(row->verdict, 4), STRL("more"));
	} else {
		snprintf(text, sizeof(text), "%d,%s", r->status, r->slug);
		want(row, "verdict", row->verdict, str_of(text));
	}
}

static void read_row(struct reading *r, const struct table *t, const struct row *row,
                     struct str bytes, const struct cuts *cuts)
{
	reading_init(r, t->side, t->limits, row_method(row), bytes, cuts, row_has(row, "end"));
}

static void check_cuts(const struct table *t, const struct row *row, struct str bytes,
                       const struct reading *expected, const struct cuts *cuts)
{
	struct reading r;
	char           text[32];

	read_row(&r, t, row, bytes, cuts);
	snprintf(text, sizeof(text), "%zu", cuts->size[0]);
	if (!reading_same(expected, &r))
		fail_row(row, "split", STRL("the verdict of the whole"), str_of(text));
	reading_fini(&r);
}

/* Short rows at every point, long ones (repetitions of one byte) at their ends and here and there. */
static size_t next_point(size_t at, size_t total)
{
	return total < 1000 || at < 200 || at + 200 > total ? at + 1 : at + 97;
}

static void check_splits(const struct table *t, const struct row *row, struct str bytes,
                         const struct reading *expected)
{
	check_cuts(t, row, bytes, expected, &by_bytes);
	for (size_t at = 1; at < bytes.len; at = next_point(at, bytes.len)) {
		const size_t      sizes[] = { at, SIZE_MAX };
		const struct cuts cuts = { sizes, 2 };

		check_cuts(t, row, bytes, expected, &cuts);
	}
}

/* A beginning is unfinished or already has the verdict of the whole. */
static void check_prefixes(const struct table *t, const struct row *row, struct str bytes,
                           const struct reading *expected)
{
	for (size_t n = 0; n < bytes.len; n = next_point(n, bytes.len)) {
		struct reading r;
		bool           good;

		read_row(&r, t, row, str_head(bytes, n), &whole);
		good = r.verdict == ERR_BUSY || reading_same(expected, &r);
		if (expected->verdict != ERR_SYNTAX && n < expected->used)
			good = r.verdict == ERR_BUSY;
		if (!good)
			fail_row(row, "beginning", STRL("unfinished or as the whole"),
			         STRL("else"));
		reading_fini(&r);
	}
}

static void run_row(const struct table *t, const struct row *row)
{
	struct rows_out joined = { NULL, 0, 0 };
	struct reading  r;
	struct str      bytes;

	rows_put(&joined, t->before.ptr, t->before.len);
	rows_put(&joined, row->bytes.ptr, row->bytes.len);
	bytes = (struct str){ joined.bytes, joined.len };
	read_row(&r, t, row, bytes, &whole);
	check_row(t, row, &r, bytes.len);
	check_splits(t, row, bytes, &r);
	if (!row_has(row, "end"))
		check_prefixes(t, row, bytes, &r);
	reading_fini(&r);
	free(joined.bytes);
}

static void run_table(void **state)
{
	const struct table *t = *state;
	struct rows         rows = rows_load(t->path);
	size_t              count;

	failures = 0;
	for (size_t i = 0; i < rows.count; i++)
		run_row(t, &rows.row[i]);
	count = rows.count;
	rows_free(&rows);
	assert_true(count >= t->rows_min);
	assert_int_equal(failures, 0);
}

/* ---- the reader as an object ---- */

static void verdicts_are_final(void **state)
{
	struct h1_head_parser p;

	(void)state;
	h1_head_init(&p, H1_REQUEST, &request_limits);
	assert_int_equal(h1_head_feed(&p, STRL("GET /\n")), ERR_SYNTAX);
	assert_int_equal(h1_head_feed(&p, STRL("GET /\nmore")), ERR_SYNTAX);
	assert_string_equal(p.fault.slug, "bare-lf");
	assert_int_equal(p.fault.status, 400);

	h1_head_init(&p, H1_REQUEST, &request_limits);
	assert_int_equal(h1_head_feed(&p, STRL("GET / HTTP/1.1\r\n\r\n")), ERR_OK);
	assert_int_equal(p.length, 18);
	assert_int_equal(h1_head_feed(&p, STRL("GET / HTTP/1.1\r\n\r\n\n\n")), ERR_OK);
	assert_int_equal(p.length, 18);
}

static void ceilings_have_a_ceiling(void **state)
{
	const struct h1_limits wide = { SIZE_MAX, SIZE_MAX, SIZE_MAX, SIZE_MAX };
	struct h1_head_parser  p;
	const size_t           n = 70000;
	char                  *bytes = malloc(n);

	(void)state;
	assert_non_null(bytes);
	memset(bytes, 'a', n);
	h1_head_init(&p, H1_REQUEST, &wide);
	assert_int_equal(h1_head_feed(&p, str_span(bytes, 64999)), ERR_BUSY);
	assert_int_equal(h1_head_feed(&p, str_span(bytes, n)), ERR_SYNTAX);
	assert_int_equal(p.fault.status, 414);
	free(bytes);

	h1_head_init(&p, H1_REQUEST, &wide);
	assert_int_equal(p.limits.fields_max, H1_FIELDS_MAX);
}

/* The head may be parsed in one place and looked at in another. */
static void view_follows_the_bytes(void **state)
{
	const struct str      text = STR("GET /x HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n");
	struct h1_head_parser p;
	struct field          fields[H1_FIELDS_MAX];
	struct head           h;
	char                 *copy = reading_copy(text);

	(void)state;
	h1_head_init(&p, H1_REQUEST, &request_limits);
	assert_int_equal(h1_head_feed(&p, text), ERR_OK);
	assert_int_equal(h1_head_view(&p, str_span(copy, text.len), HTTP_GET, fields, &h), ERR_OK);
	assert_ptr_equal(h.target.ptr, copy + 4);
	assert_ptr_equal(h.fields, fields);
	assert_ptr_equal(h.fields[1].value.ptr, copy + str_find(text, 'y'));
	assert_true(str_is(h.method_text, "GET"));
	free(copy);
}

/* One good and one bad request on a connection: the second is still seen for what it is. */
static void good_then_bad(void **state)
{
	const struct str text = STR("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"
	                            "GET / HTTP/1.1\r\nHost : a\r\n\r\n");
	struct reading   first, second;

	(void)state;
	reading_init(&first, H1_REQUEST, &request_limits, HTTP_GET, text, &by_bytes, false);
	assert_int_equal(first.verdict, ERR_OK);
	reading_init(&second, H1_REQUEST, &request_limits, HTTP_GET, str_from(text, first.used),
	             &by_bytes, false);
	assert_int_equal(second.verdict, ERR_SYNTAX);
	assert_string_equal(second.slug, "blank-before-colon");
	assert_int_equal(second.status, 400);
	reading_fini(&first);
	reading_fini(&second);
}

/* For HEAD and 304 the length is no framing, but still worth passing on. */
static void length_without_body(void **state)
{
	static const struct {
		const char *text;
		bool        has_length;
		uint64_t    length;
	} rows[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n", true, 1234 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true, 0 },
		{ "HTTP/1.1 200 OK\r\n\r\n", false, 0 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", false, 0 },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 7\r\n\r\n", false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct reading r;

		reading_init(&r, H1_RESPONSE, &response_limits, HTTP_HEAD, str_of(rows[i].text),
		             &whole, false);
		assert_int_equal(r.verdict, ERR_OK);
		assert_int_equal(r.head.body, BODY_NONE);
		assert_int_equal(r.head.has_length, rows[i].has_length);
		assert_int_equal(r.head.content_length, rows[i].length);
		reading_fini(&r);
	}
}

/* Every known control is refused at its byte, in a name, a value and a first line, at any offset. */
static void every_control_is_refused(void **state)
{
	static const char *const befores[] = { "GET /", "GET / HTTP/1.1\r\nX",
		                               "GET / HTTP/1.1\r\nX: " };

	(void)state;
	for (int c = 0; c < 256; c++) {
		bool control = (c < 0x20 && c != '\t') || c == 0x7f;

		for (size_t i = 0; i < 3 * 16; i++) {
			char                  text[64];
			size_t                n = strlen(befores[i % 3]), pad = i / 3;
			struct h1_head_parser p;
			char                 *block;

			memcpy(text, befores[i % 3], n);
			memset(text + n, 'a', pad);
			text[n + pad] = (char)c;
			text[n + pad + 1] = 'a';
			block = reading_copy(str_span(text, n + pad + 2));
			h1_head_init(&p, H1_REQUEST, &request_limits);
			assert_int_equal(h1_head_feed(&p, str_span(block, n + pad + 2)),
			                 control ? ERR_SYNTAX : ERR_BUSY);
			free(block);
		}
	}
}

/* ---- bodies as objects ---- */

static void body_of_large_length(void **state)
{
	const struct head h = { .body = BODY_LENGTH, .content_length = 999999999999999 };
	struct h1_body    b;
	struct str        data;
	size_t            used;

	(void)state;
	h1_body_init(&b, &h);
	assert_int_equal(h1_body_feed(&b, STRL("abc"), &used, &data), ERR_OK);
	assert_int_equal(used, 3);
	assert_true(str_is(data, "abc"));
	assert_true(b.left == 999999999999996);
	assert_true(b.seen == 3);
	assert_int_equal(h1_body_end(&b), ERR_TRUNCATED);
}

static void body_without_bytes(void **state)
{
	const struct head none = { .body = BODY_NONE };
	const struct head zero = { .body = BODY_LENGTH, .content_length = 0 };
	struct h1_body    b;
	struct str        data;
	size_t            used = 7;

	(void)state;
	h1_body_init(&b, &none);
	assert_true(h1_body_done(&b));
	h1_body_init(&b, &zero);
	assert_true(h1_body_done(&b));
	assert_int_equal(h1_body_feed(&b, STRL("abc"), &used, &data), ERR_OK);
	assert_int_equal(used, 0);
	assert_int_equal(data.len, 0);
	assert_int_equal(h1_body_end(&b), ERR_OK);
}

static void body_to_close(void **state)
{
	const struct head h = { .body = BODY_TO_CLOSE };
	struct h1_body    b;
	struct str        data;
	size_t            used;

	(void)state;
	h1_body_init(&b, &h);
	assert_int_equal(h1_body_feed(&b, STRL("abc"), &used, &data), ERR_OK);
	assert_true(str_is(data, "abc"));
	assert_false(h1_body_done(&b));
	assert_int_equal(h1_body_end(&b), ERR_OK);
	assert_true(h1_body_done(&b));
}

static void body_fault_is_final(void **state)
{
	const struct head h = { .body = BODY_CHUNKED };
	struct h1_body    b;
	struct str        data;
	size_t            used;

	(void)state;
	h1_body_init(&b, &h);
	assert_int_equal(h1_body_feed(&b, STRL("x"), &used, &data), ERR_SYNTAX);
	assert_string_equal(b.fault, "bad-chunk-size");
	assert_int_equal(h1_body_feed(&b, STRL("0\r\n\r\n"), &used, &data), ERR_SYNTAX);
	assert_int_equal(used, 0);
	assert_int_equal(h1_body_end(&b), ERR_TRUNCATED);
}

/* ---- writing ---- */

static void writes(void **state)
{
	char          text[256];
	struct writer w = writer_over(text, sizeof(text));

	(void)state;
	h1_write_request_line(&w, STRL("PUT"), STRL("/a?b"));
	h1_write_status_line(&w, 404, STRL("Not Found"));
	h1_write_status_line(&w, 299, STRL(""));
	h1_write_field(&w, STRL("X-Y"), STRL("z"));
	h1_write_length(&w, 999999999999999);
	h1_write_length(&w, 0);
	h1_write_chunk_head(&w, 0x1aBc);
	assert_true(str_is(writer_done(&w),
	                   "PUT /a?b HTTP/1.1\r\n"
	                   "HTTP/1.1 404 Not Found\r\n"
	                   "HTTP/1.1 299 \r\n"
	                   "X-Y: z\r\n"
	                   "Content-Length: 999999999999999\r\n"
	                   "Content-Length: 0\r\n"
	                   "1abc\r\n"));
	assert_false(w.failed);
}

static void chunk_overhead_suffices(void **state)
{
	char          text[H1_CHUNK_OVERHEAD];
	struct writer w = writer_over(text, sizeof(text));

	(void)state;
	h1_write_chunk_head(&w, SIZE_MAX);
	write_text(&w, H1_CRLF);
	assert_false(w.failed);
}

/* What the writers make is a message that the reader accepts. */
static void written_is_read(void **state)
{
	char           text[256];
	struct writer  w = writer_over(text, sizeof(text));
	struct reading r;

	(void)state;
	h1_write_status_line(&w, 200, str_of(head_reason(200)));
	h1_write_field(&w, STRL("Transfer-Encoding"), STRL("chunked"));
	write_text(&w, H1_CRLF);
	h1_write_chunk_head(&w, 11);
	write_text(&w, "hello world" H1_CRLF H1_LAST_CHUNK);
	reading_init(&r, H1_RESPONSE, &response_limits, HTTP_GET, writer_done(&w), &by_bytes,
	             false);
	assert_int_equal(r.verdict, ERR_OK);
	assert_true(str_is(str_span(r.body, r.body_len), "hello world"));
	assert_int_equal(r.used, writer_done(&w).len);
	reading_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{ "requests", run_table, NULL, NULL, (void *)&requests },
		{ "responses", run_table, NULL, NULL, (void *)&responses },
		{ "chunked", run_table, NULL, NULL, (void *)&chunked },
		cmocka_unit_test(verdicts_are_final),
		cmocka_unit_test(ceilings_have_a_ceiling),
		cmocka_unit_test(view_follows_the_bytes),
		cmocka_unit_test(good_then_bad),
		cmocka_unit_test(length_without_body),
		cmocka_unit_test(every_control_is_refused),
		cmocka_unit_test(body_of_large_length),
		cmocka_unit_test(body_without_bytes),
		cmocka_unit_test(body_to_close),
		cmocka_unit_test(body_fault_is_final),
		cmocka_unit_test(writes),
		cmocka_unit_test(chunk_overhead_suffices),
		cmocka_unit_test(written_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
