/* The client side of HTTP on real loopback sockets: what a server sends, what the caller sees. */
#include "net/http_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/metrics.h"
#include "loop/inside.h"
#include "unit/loop/harness.h"

#define GET                 "GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
#define PUT                 "PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"
#define POST                "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"
#define EMPTY_POST          "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
#define HEAD                "HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n"
#define OK_ANSWER           "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
#define PLAIN(fields, body) "HTTP/1.1 200 OK\r\n" fields "\r\n" body
#define CHUNKED(body)       PLAIN("Transfer-Encoding: chunked\r\n", body)

enum after { STAYS, ENDS, RESETS }; /* what the server does behind its answer */

/* One exchange on a fresh connection. */
static const struct row {
	const char      *name;
	enum http_method method;
	const char      *says; /* in answer to one request head */
	enum after       after;
	enum err         failed;
	int              status; /* 0: no answer */
	const char      *body;   /* as far as it came */
	bool             kept;
} rows[] = {
	{ "length", HTTP_GET, OK_ANSWER, STAYS, ERR_OK, 200, "ok", true },
	{ "chunks", HTTP_GET, CHUNKED("2\r\nab\r\n3;x=y\r\ncde\r\n0\r\nT: 1\r\n\r\n"), STAYS,
	  ERR_OK, 200, "abcde", true },
	{ "empty", HTTP_GET, PLAIN("Content-Length: 0\r\n", ""), STAYS, ERR_OK, 200, "", true },
	{ "to the end", HTTP_GET, PLAIN("", "all"), ENDS, ERR_OK, 200, "all", false },
	{ "to a broken end", HTTP_GET, PLAIN("", "all"), RESETS, ERR_RESET, 200, "all", false },
	{ "asked to close", HTTP_GET, PLAIN("Connection: close\r\nContent-Length: 1\r\n", "x"),
	  STAYS, ERR_OK, 200, "x", false },
	{ "1.0 ends", HTTP_GET, "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", STAYS, ERR_OK, 200,
	  "x", false },
	{ "1.0 kept", HTTP_GET,
	  "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", STAYS, ERR_OK,
	  200, "x", true },
	{ "leftover bytes", HTTP_GET, OK_ANSWER "H", STAYS, ERR_OK, 200, "ok", false },
	{ "two answers", HTTP_GET, OK_ANSWER OK_ANSWER, STAYS, ERR_OK, 200, "ok", false },
	{ "answered and gone", HTTP_GET, OK_ANSWER, ENDS, ERR_OK, 200, "ok", false },
	{ "HEAD has no body", HTTP_HEAD, PLAIN("Content-Length: 99\r\n", ""), STAYS, ERR_OK, 200,
	  "", true },
	{ "HEAD with one", HTTP_HEAD, PLAIN("Content-Length: 2\r\n", "ok"), STAYS, ERR_OK, 200, "",
	  false },
	{ "204", HTTP_GET, "HTTP/1.1 204 None\r\nContent-Length: 5\r\n\r\n", STAYS, ERR_OK, 204, "",
	  true },
	{ "304", HTTP_GET, "HTTP/1.1 304 Same\r\nContent-Length: 5\r\n\r\n", STAYS, ERR_OK, 304, "",
	  true },
	{ "1xx are passed over", HTTP_GET,
	  "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n" OK_ANSWER, STAYS,
	  ERR_OK, 200, "ok", true },
	{ "1xx with a length", HTTP_GET, "HTTP/1.1 102 Wait\r\nContent-Length: 7\r\n\r\n" OK_ANSWER,
	  STAYS, ERR_OK, 200, "ok", true },
	{ "1xx without end", HTTP_GET,
	  "HTTP/1.1 102 W\r\n\r\nHTTP/1.1 102 W\r\n\r\nHTTP/1.1 102 W\r\n\r\nHTTP/1.1 102 W\r\n\r\n"
	  "HTTP/1.1 102 W\r\n\r\nHTTP/1.1 102 W\r\n\r\nHTTP/1.1 102 W\r\n\r\nHTTP/1.1 102 W\r\n\r\n"
	  "HTTP/1.1 102 W\r\n\r\n" OK_ANSWER,
	  STAYS, ERR_BAD_ANSWER, 0, "", false },
	{ "101", HTTP_GET, "HTTP/1.1 101 Other\r\nUpgrade: x\r\n\r\n", STAYS, ERR_BAD_ANSWER, 0, "",
	  false },
	{ "nothing", HTTP_GET, "", ENDS, ERR_RESET, 0, "", false },
	{ "nothing, rudely", HTTP_GET, "", RESETS, ERR_RESET, 0, "", false },
	{ "within the head", HTTP_GET, "HTTP/1.1 200 OK\r\nConte", ENDS, ERR_TRUNCATED, 0, "",
	  false },
	{ "within the body", HTTP_GET, PLAIN("Content-Length: 5\r\n", "ab"), ENDS, ERR_TRUNCATED,
	  200, "ab", false },
	{ "within a chunk", HTTP_GET, CHUNKED("5\r\nab"), ENDS, ERR_TRUNCATED, 200, "ab", false },
	{ "before the last chunk", HTTP_GET, CHUNKED("2\r\nab\r\n"), ENDS, ERR_TRUNCATED, 200, "ab",
	  false },
	{ "within the trailers", HTTP_GET, CHUNKED("2\r\nab\r\n0\r\nT: 1\r\n"), ENDS, ERR_TRUNCATED,
	  200, "ab", false },
	{ "bad chunk size", HTTP_GET, CHUNKED("2\r\nab\r\nxyz\r\n"), STAYS, ERR_BAD_ANSWER, 200,
	  "ab", false },
	{ "bad chunk end", HTTP_GET, CHUNKED("2\r\nabc\r\n"), STAYS, ERR_BAD_ANSWER, 200, "ab",
	  false },
	{ "chunk too large", HTTP_GET, CHUNKED("fffffffffffffffff\r\n"), STAYS, ERR_BAD_ANSWER, 200,
	  "", false },
	{ "two lengths", HTTP_GET, PLAIN("Content-Length: 2\r\nContent-Length: 2\r\n", "ok"), STAYS,
	  ERR_BAD_ANSWER, 0, "", false },
	{ "length and chunks", HTTP_GET,
	  PLAIN("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), STAYS,
	  ERR_BAD_ANSWER, 0, "", false },
	{ "a huge length", HTTP_GET, PLAIN("Content-Length: 99999999999999999999\r\n", ""), STAYS,
	  ERR_BAD_ANSWER, 0, "", false },
	{ "not HTTP", HTTP_GET, "SSH-2.0-OpenSSH_9.2\r\n", STAYS, ERR_BAD_ANSWER, 0, "", false },
	{ "bare LF", HTTP_GET, "HTTP/1.1 200 OK\nContent-Length: 0\n\n", STAYS, ERR_BAD_ANSWER, 0,
	  "", false },
};

/* What the server does with one connection: reads so many heads, says something, then this. */
struct serving {
	size_t      heads; /* requests to see the end of before speaking */
	const char *says;
	enum after  after;
	const char *then_says; /* to one more head; NULL: nothing more */
	enum after  finally;
};

/* Two calls one after the other; the second finds what the first left. */
static const struct pair {
	const char      *name;
	enum http_method method;
	const char      *head, *body;   /* of the second */
	struct serving   first, second; /* connections */
	size_t           connections;
	enum err         failed;
	bool             retried;
} pairs[] = {
	{ "reused",
	  HTTP_GET,
	  GET,
	  NULL,
	  { 1, OK_ANSWER, STAYS, OK_ANSWER, STAYS },
	  { 0 },
	  1,
	  ERR_OK,
	  false },
	{ "closed while idle",
	  HTTP_GET,
	  GET,
	  NULL,
	  { 1, OK_ANSWER, ENDS, NULL, STAYS },
	  { 1, OK_ANSWER, STAYS, NULL, STAYS },
	  2,
	  ERR_OK,
	  false },
	{ "dead at a GET",
	  HTTP_GET,
	  GET,
	  NULL,
	  { 1, OK_ANSWER, STAYS, "", ENDS },
	  { 1, OK_ANSWER, STAYS, NULL, STAYS },
	  2,
	  ERR_OK,
	  true },
	{ "reset at a GET",
	  HTTP_GET,
	  GET,
	  NULL,
	  { 1, OK_ANSWER, STAYS, "", RESETS },
	  { 1, OK_ANSWER, STAYS, NULL, STAYS },
	  2,
	  ERR_OK,
	  true },
	{ "dead at a HEAD",
	  HTTP_HEAD,
	  HEAD,
	  NULL,
	  { 1, OK_ANSWER, STAYS, "", ENDS },
	  { 1, PLAIN("Content-Length: 2\r\n", ""), STAYS, NULL, STAYS },
	  2,
	  ERR_OK,
	  true },
	{ "dead at a PUT",
	  HTTP_PUT,
	  PUT,
	  "abcde",
	  { 1, OK_ANSWER, STAYS, "", ENDS },
	  { 1, OK_ANSWER, STAYS, NULL, STAYS },
	  2,
	  ERR_OK,
	  true },
	{ "dead at a POST",
	  HTTP_POST,
	  POST,
	  "abcde",
	  { 1, OK_ANSWER, STAYS, "", ENDS },
	  { 0 },
	  1,
	  ERR_RESET,
	  false },
	{ "dead at a POST without body",
	  HTTP_POST,
	  EMPTY_POST,
	  NULL,
	  { 1, OK_ANSWER, STAYS, "", ENDS },
	  { 0 },
	  1,
	  ERR_RESET,
	  false },
	{ "dead twice",
	  HTTP_GET,
	  GET,
	  NULL,
	  { 1, OK_ANSWER, STAYS, "", ENDS },
	  { 1, "", ENDS, NULL, STAYS },
	  2,
	  ERR_RESET,
	  true },
	{ "half an answer is no invitation",
	  HTTP_GET,
	  GET,
	  NULL,
	  { 1, OK_ANSWER, STAYS, "HTTP/1.1 200 O", ENDS },
	  { 0 },
	  1,
	  ERR_TRUNCATED,
	  false },
	{ "nor is an informational one",
	  HTTP_GET,
	  GET,
	  NULL,
	  { 1, OK_ANSWER, STAYS, "HTTP/1.1 100 Continue\r\n\r\n", ENDS },
	  { 0 },
	  1,
	  ERR_RESET,
	  false },
	{ "early answer",
	  HTTP_GET,
	  GET,
	  NULL,
	  { 1, OK_ANSWER, STAYS, OK_ANSWER, STAYS },
	  { 0 },
	  1,
	  ERR_OK,
	  false },
};

enum { CONNECTIONS_MAX = 4 };

struct served {
	struct stream        *stream;
	const struct serving *plan;
	struct buf            seen;
	size_t                heads;
	bool                  spoken, spoken_again;
};

static struct listener      *listener;
static struct http_pool     *pool;
static struct served         served[CONNECTIONS_MAX];
static size_t                served_count;
static const struct serving *plans[CONNECTIONS_MAX];
static struct http_call     *call;
static struct buf            got;
static size_t                piece; /* of what the caller reads at once */
static const char           *to_send;

/* ---- the server ---- */

static void server_do(struct served *s, const char *says, enum after after)
{
	if (says[0] != '\0')
		(void)stream_write(s->stream, str_of(says));
	if (after == ENDS)
		stream_shutdown(s->stream);
	if (after == RESETS) {
		struct linger hard = { 1, 0 };
		uv_os_fd_t    fd;

		assert_int_equal(
			uv_fileno((uv_handle_t *)sock_uv((struct sock *)(void *)s->stream), &fd),
			0);
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
		stream_close(s->stream);
		s->stream = NULL;
	}
}

static void on_served(void *arg)
{
	struct served *s = arg;
	struct str     in;

	while ((in = stream_peek(s->stream)).len > 0) {
		assert_int_equal(buf_add(&s->seen, in), ERR_OK);
		stream_consume(s->stream, in.len);
	}
	s->heads = 0;
	for (struct str rest = buf_str(&s->seen); rest.len > 0; rest = str_from(rest, 1))
		s->heads += str_starts(rest, STRL("HTTP/1.1\r\n"));
	if (!s->spoken && s->heads >= s->plan->heads) {
		s->spoken = true;
		server_do(s, s->plan->says, s->plan->after);
	}
	if (s->stream == NULL || !s->spoken || s->spoken_again || s->plan->then_says == NULL ||
	    s->heads < s->plan->heads + 1)
		return;
	s->spoken_again = true;
	server_do(s, s->plan->then_says, s->plan->finally);
}

static void on_accept(void *arg, struct stream *st, const struct address *peer)
{
	struct served *s = &served[served_count];

	(void)arg;
	(void)peer;
	assert_true(served_count < CONNECTIONS_MAX && plans[served_count] != NULL);
	*s = (struct served){ .stream = st, .plan = plans[served_count] };
	served_count++;
	buf_init(&s->seen, 65536);
	stream_own(st, on_served, s);
}

/* ---- the caller ---- */

static void on_call(void *arg)
{
	struct str span;

	(void)arg;
	if (to_send != NULL && http_call_connected(call)) {
		http_call_send(call, str_of(to_send));
		http_call_send_end(call);
		to_send = NULL;
	}
	http_call_flush(call);
	while ((span = str_head(http_call_peek(call), piece)).len > 0) {
		assert_int_equal(buf_add(&got, span), ERR_OK);
		http_call_consume(call, span.len);
	}
	if (http_call_failed(call) != ERR_OK || http_call_done(call))
		loop_stop(the_loop);
}

static void open_call(enum http_method method, const char *head, const char *body)
{
	struct http_call_options o = {
		.target = { .to = listener_endpoint(listener), .count = 1, .connect_ms = 5000 },
		.method = method,
		.head = str_of(head),
		.has_body = body != NULL,
		.response_head_ms = 5000,
		.keep = true,
	};

	buf_init(&got, 65536);
	to_send = body;
	assert_int_equal(http_call_open(pool, &o, on_call, NULL, &call), ERR_OK);
	on_call(NULL);
}

static void close_call(void)
{
	http_call_close(call);
	call = NULL;
	buf_fini(&got);
}

static const char *method_head(enum http_method m)
{
	return m == HTTP_HEAD ? HEAD : GET;
}

static int setup(void **state)
{
	struct endpoint          any = { .address = address_v4(127, 0, 0, 1, 0) };
	struct http_pool_options o = { { 8000, 4096, 8192, 64 }, 4, 4, 60000, NULL };

	piece = SIZE_MAX;
	if (harness_setup(state) != 0)
		return -1;
	pool = http_pool_new(the_loop, &o);
	served_count = 0;
	memset(plans, 0, sizeof(plans));
	return listener_open(the_loop, &any, on_accept, NULL, &listener) != ERR_OK;
}

static int teardown(void **state)
{
	if (call != NULL)
		close_call();
	http_pool_free(pool);
	listener_close(listener);
	for (size_t i = 0; i < served_count; i++) {
		if (served[i].stream != NULL)
			stream_close(served[i].stream);
		buf_fini(&served[i].seen);
	}
	return harness_teardown(state);
}

static void play(const struct row *row)
{
	const struct serving plan = { 1, row->says, row->after, NULL, STAYS };

	print_message("  %s (%zu)\n", row->name, piece);
	plans[served_count] = &plan;
	open_call(row->method, method_head(row->method), NULL);
	harness_run();
	if (row->after == ENDS && row->failed == ERR_OK)
		harness_run_for(20); /* the end may come a little later */
	assert_int_equal(http_call_failed(call), row->failed);
	assert_int_equal(http_call_answer(call) == NULL ? 0 : http_call_answer(call)->status,
	                 row->status);
	assert_true(str_is(buf_str(&got), row->body));
	assert_int_equal(http_call_done(call), row->failed == ERR_OK);
	close_call();
	harness_run_for(0);
	assert_int_equal(http_pool_idle(pool), row->kept);
	http_pool_clear(pool);
}

static void what_the_caller_sees(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		for (size_t n = 1; n < 4; n += 2) {
			piece = n;
			play(&rows[i]);
			assert_int_equal(teardown(state), 0);
			assert_int_equal(setup(state), 0);
		}
}

static void play_pair(const struct pair *pair)
{
	uint64_t retried = metrics.counters[COUNT_retried];

	print_message("  %s\n", pair->name);
	plans[0] = &pair->first;
	plans[1] = pair->second.says != NULL ? &pair->second : NULL;
	open_call(HTTP_GET, GET, NULL);
	harness_run();
	assert_int_equal(http_call_failed(call), ERR_OK);
	close_call();
	harness_run_for(20);
	open_call(pair->method, pair->head, pair->body);
	harness_run();
	assert_int_equal(http_call_failed(call), pair->failed);
	if (pair->failed == ERR_OK && pair->method != HTTP_HEAD)
		assert_true(str_is(buf_str(&got), "ok"));
	assert_int_equal(served_count, pair->connections);
	assert_int_equal(metrics.counters[COUNT_retried] - retried, pair->retried);
	if (pair->connections == 2) { /* the whole request, once */
		char          text[256];
		struct writer w = writer_over(text, sizeof(text));

		harness_run_for(5);
		write_text(&w, pair->head);
		write_text(&w, pair->body != NULL ? pair->body : "");
		assert_true(str_eq(buf_str(&served[1].seen), writer_done(&w)));
	}
}

static void what_a_kept_connection_is_worth(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		play_pair(&pairs[i]);
		assert_int_equal(teardown(state), 0);
		assert_int_equal(setup(state), 0);
	}
}

/* The answer came before the request was sent in full: nobody knows what the rest would be taken for. */
static void an_early_answer_ends_the_connection(void **state)
{
	const struct serving plan = { 1, OK_ANSWER, STAYS, NULL, STAYS };

	(void)state;
	plans[0] = &plan;
	open_call(HTTP_PUT, PUT, "");
	to_send = NULL; /* never */
	harness_run();
	assert_int_equal(http_call_failed(call), ERR_OK);
	assert_true(http_call_done(call));
	close_call();
	assert_int_equal(http_pool_idle(pool), 0);
}

static void an_idle_connection_has_nothing_to_say(void **state)
{
	const struct serving plan = { 1, OK_ANSWER, STAYS, NULL, STAYS };

	(void)state;
	plans[0] = &plan;
	open_call(HTTP_GET, GET, NULL);
	harness_run();
	close_call();
	assert_int_equal(http_pool_idle(pool), 1);
	assert_int_equal(stream_write(served[0].stream, STRL(OK_ANSWER)), ERR_OK);
	while (http_pool_idle(pool) == 1)
		harness_run_for(1);
	assert_int_equal(http_pool_idle(pool), 0);
}

static void the_oldest_makes_room(void **state)
{
	static const struct serving plan = { 1, OK_ANSWER, STAYS, NULL, STAYS };
	struct http_pool_options    o = { { 8000, 4096, 8192, 64 }, 4, 1, 60000, NULL };
	struct http_call           *first;

	(void)state;
	http_pool_free(pool);
	pool = http_pool_new(the_loop, &o);
	plans[0] = plans[1] = &plan;
	open_call(HTTP_GET, GET, NULL);
	harness_run();
	first = call;
	buf_fini(&got);
	open_call(HTTP_GET, GET, NULL);
	harness_run();
	close_call();
	http_call_close(first);
	assert_int_equal(http_pool_idle(pool), 1);
}

static void nobody_is_there(void **state)
{
	struct http_call_options o = { .target = { .count = 1, .connect_ms = 5000 },
		                       .head = STRL(GET) };
	struct endpoint          gone = *listener_endpoint(listener);

	(void)state;
	buf_init(&got, 1);
	gone.address = address_v4(127, 0, 0, 1, 1);
	o.target.to = &gone;
	assert_int_equal(http_call_open(pool, &o, on_call, NULL, &call), ERR_OK);
	harness_run();
	assert_int_equal(http_call_failed(call), ERR_REFUSED);
}

/* A body in both directions that no buffer holds, with a server that echoes. */
static void on_echo(void *arg)
{
	struct served *s = arg;
	struct str     in;
	size_t         room;

	while ((room = stream_room(s->stream)) > 0 &&
	       (in = str_head(stream_peek(s->stream), room)).len > 0) {
		s->heads += in.len;
		(void)stream_write(s->stream, in);
		stream_consume(s->stream, in.len);
	}
}

static void on_accept_echo(void *arg, struct stream *st, const struct address *peer)
{
	(void)arg;
	(void)peer;
	served[0] = (struct served){ .stream = st };
	served_count = 1;
	stream_own(st, on_echo, &served[0]);
	(void)stream_write(st, STRL("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"));
}

static size_t pumped, read_back;

static void on_pump(void *arg)
{
	static const char block[4000];
	struct str        span;
	size_t            room;

	(void)arg;
	while (pumped < 2000000 && (room = http_call_room(call)) > 0) {
		span = str_head(str_span(block, sizeof(block)), room);
		http_call_send(call, span);
		pumped += span.len;
	}
	http_call_flush(call);
	while ((span = http_call_peek(call)).len > 0) {
		read_back += span.len;
		http_call_consume(call, span.len);
	}
	if (http_call_done(call) || http_call_failed(call) != ERR_OK)
		loop_stop(the_loop);
}

static void much_both_ways(void **state)
{
	struct endpoint          any = { .address = address_v4(127, 0, 0, 1, 0) };
	struct http_call_options o = { .target = { .count = 1, .connect_ms = 5000 },
		                       .method = HTTP_PUT,
		                       .has_body = true,
		                       .response_head_ms = 5000 };

	(void)state;
	pumped = read_back = 0;
	buf_init(&got, 1);
	listener_close(listener);
	assert_int_equal(listener_open(the_loop, &any, on_accept_echo, NULL, &listener), ERR_OK);
	o.target.to = listener_endpoint(listener);
	assert_int_equal(http_call_open(pool, &o, on_pump, NULL, &call), ERR_OK);
	harness_run();
	assert_int_equal(http_call_failed(call), ERR_OK);
	assert_int_equal(read_back, 1000000);
}

static void stop_when_seen(void *arg)
{
	*(bool *)arg = true;
}

/* After so many milliseconds' worth of loop turns, wherever it is by then. */
static void closed_at_any_moment(void **state)
{
	static const struct serving plan = { 1, CHUNKED("2\r\nab\r\n0\r\n\r\n"), STAYS, NULL,
		                             STAYS };

	for (unsigned turns = 0; turns < 12; turns++) {
		plans[0] = &plan;
		open_call(HTTP_GET, GET, NULL);
		for (unsigned i = 0; i < turns; i++) {
			struct soon one;
			bool        seen = false;

			soon_init(&one, the_loop, stop_when_seen, &seen);
			soon_call(&one);
			harness_run_for(0);
			assert_true(seen);
		}
		close_call();
		assert_int_equal(teardown(state), 0);
		assert_int_equal(setup(state), 0);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_the_caller_sees),
		T(what_a_kept_connection_is_worth),
		T(an_early_answer_ends_the_connection),
		T(an_idle_connection_has_nothing_to_say),
		T(the_oldest_makes_room),
		T(nobody_is_there),
		T(much_both_ways),
		T(closed_at_any_moment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
