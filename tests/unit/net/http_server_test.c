/* The server side of HTTP on a real loopback socket: what goes in, what comes out, to the byte. */
#include "net/http_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "loop/socket.h"

#define ANSWER(length, body) \
	"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " length "\r\n\r\n" body
#define LAST(length, body)                                                       \
	"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " length \
	"\r\nConnection: close\r\n\r\n" body
#define OLD(length, body)                                                        \
	"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: " length \
	"\r\nConnection: keep-alive\r\n\r\n" body
#define REFUSED(line, length, slug)                                                    \
	"HTTP/1.1 " line "\r\nContent-Type: application/json\r\nConnection: close\r\n" \
	"Content-Length: " length "\r\n\r\n"                                           \
	"{\"errcode\":\"M_UNRECOGNIZED\",\"error\":\"request refused: " slug "\"}"

/* The handler answers "METHOD target body"; /early before the body, /chunks in chunks, /cut not to the end. */
static const struct row {
	const char *name, *in, *out;
} rows[] = {
	{ "one", "GET /a HTTP/1.1\r\nHost: x\r\n\r\n", ANSWER("7", "GET /a ") },
	{ "pipelined in order",
	  "GET /a HTTP/1.1\r\nHost: x\r\n\r\nPUT /b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
	  "GET /c HTTP/1.1\r\nHost: x\r\n\r\n",
	  ANSWER("7", "GET /a ") ANSWER("10", "PUT /b abc") ANSWER("7", "GET /c ") },
	{ "chunked body",
	  "PUT /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
	  "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: no\r\n\r\n"
	  "GET /b HTTP/1.1\r\nHost: x\r\n\r\n",
	  ANSWER("12", "PUT /a abcde") ANSWER("7", "GET /b ") },
	{ "empty body", "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n",
	  ANSWER("7", "PUT /a ") },
	{ "HEAD", "HEAD /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n",
	  ANSWER("8", "") ANSWER("7", "GET /b ") },
	{ "asked to close",
	  "GET /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nGET /b HTTP/1.1\r\n",
	  LAST("7", "GET /a ") },
	{ "1.0 ends", "GET /a HTTP/1.0\r\nHost: x\r\n\r\n", LAST("7", "GET /a ") },
	{ "1.0 kept",
	  "GET /a HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n"
	  "GET /b HTTP/1.0\r\nHost: x\r\n\r\n",
	  OLD("7", "GET /a ") LAST("7", "GET /b ") },
	{ "early answer closes", "PUT /early HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde",
	  LAST("11", "PUT /early ") },
	{ "chunked answer", "GET /chunks HTTP/1.1\r\nHost: x\r\n\r\n",
	  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n3\r\ncde\r\n0\r\n\r\n" },
	{ "chunked answer to 1.0", "GET /chunks HTTP/1.0\r\nHost: x\r\n\r\n",
	  "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcde" },
	{ "cut answer has no end", "GET /cut HTTP/1.1\r\nHost: x\r\n\r\n",
	  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n" },
	{ "good, then bad", "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\nHost: x\r\n\r\n",
	  ANSWER("7", "GET /a ") REFUSED("400 Bad Request", "63", "bare-lf") },
	{ "two lengths",
	  "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
	  REFUSED("400 Bad Request", "67", "two-lengths") },
	{ "six requests are the most",
	  "GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\n\r\n"
	  "GET /3 HTTP/1.1\r\nHost: x\r\n\r\nGET /4 HTTP/1.1\r\nHost: x\r\n\r\n"
	  "GET /5 HTTP/1.1\r\nHost: x\r\n\r\nGET /6 HTTP/1.1\r\nHost: x\r\n\r\n"
	  "GET /7 HTTP/1.1\r\nHost: x\r\n\r\n",
	  ANSWER("7", "GET /1 ") ANSWER("7", "GET /2 ") ANSWER("7", "GET /3 ")
	          ANSWER("7", "GET /4 ") ANSWER("7", "GET /5 ") LAST("7", "GET /6 ") },
	{ "truncated body is no request",
	  "PUT /a HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc", "" },
};

struct world {
	struct loop        *loop;
	struct http_server *server;
	struct listener    *listener;
	struct stream      *client;
	struct dial        *dial;
	const char         *in;
	size_t              piece; /* bytes sent at a time */
	struct buf          got;
	struct deadline     guard, more;
	struct soon         over;
	/* the handler's */
	struct http_request *request;
	struct buf           body;
};

/* ---- the handler ---- */

static void respond_in_chunks(struct http_request *r, bool cut)
{
	struct head h = { .status = 200, .reason = STRL("OK"), .body = BODY_CHUNKED };

	http_respond_head(r, &h, STRL(""));
	http_respond_body(r, STRL("ab"));
	if (cut) {
		http_respond_flush(r);
		http_respond_abort(r);
		return;
	}
	http_respond_body(r, STRL("cde"));
	http_respond_end(r);
}

static void answer(struct world *w)
{
	const struct head *h = http_request_head(w->request);
	char               text[128];
	struct writer      t = writer_over(text, sizeof(text));

	write_str(&t, h->method_text);
	write_char(&t, ' ');
	write_str(&t, h->target);
	write_char(&t, ' ');
	write_str(&t, buf_str(&w->body));
	assert_false(t.failed);
	http_respond_with(w->request, 200, "text/plain", STRL(""), writer_done(&t));
	buf_fini(&w->body);
	w->request = NULL;
}

static void on_request_wake(void *arg)
{
	struct world *w = arg;
	struct str    span;

	if (http_request_broken(w->request) != ERR_OK) {
		http_respond_abort(w->request);
		buf_fini(&w->body);
		w->request = NULL;
		return;
	}
	while ((span = http_request_peek(w->request)).len > 0) {
		assert_int_equal(buf_add(&w->body, span), ERR_OK);
		http_request_consume(w->request, span.len);
	}
	if (http_request_body_done(w->request))
		answer(w);
}

static void on_request(void *arg, struct http_request *r)
{
	struct world *w = arg;
	struct str    target = http_request_head(r)->target;

	if (str_is(target, "/chunks") || str_is(target, "/cut")) {
		respond_in_chunks(r, str_is(target, "/cut"));
		return;
	}
	w->request = r;
	http_request_own(r, on_request_wake, w);
	if (str_is(target, "/early"))
		answer(w);
	else
		on_request_wake(w);
}

/* ---- the client ---- */

static void on_over(void *arg)
{
	struct world *w = arg;

	stream_close(w->client);
	w->client = NULL;
	deadline_clear(&w->guard);
	deadline_clear(&w->more);
	listener_close(w->listener);
	loop_stop(w->loop);
}

static void on_client_wake(void *arg)
{
	struct world *w = arg;
	struct str    span;

	while ((span = stream_peek(w->client)).len > 0) {
		assert_int_equal(buf_add(&w->got, span), ERR_OK);
		stream_consume(w->client, span.len);
	}
	if (stream_ended(w->client) != ERR_OK)
		soon_call(&w->over);
}

/* Piece by piece, each in its own turn of the loop; then the end of our side. */
static void on_more(void *arg)
{
	struct world *w = arg;
	struct str    rest = str_of(w->in);

	if (rest.len == 0) {
		stream_shutdown(w->client);
		return;
	}
	(void)stream_write(w->client, str_head(rest, w->piece));
	w->in += str_head(rest, w->piece).len;
	deadline_in(&w->more, 0);
}

static void on_connected(void *arg, enum err e, struct stream *s, const struct endpoint *reached)
{
	struct world *w = arg;

	(void)reached;
	assert_int_equal(e, ERR_OK);
	w->client = s;
	stream_own(s, on_client_wake, w);
	on_more(w);
}

static void on_accept(void *arg, struct stream *s, const struct address *peer)
{
	struct world *w = arg;

	assert_int_equal(http_server_take(w->server, s, peer), ERR_OK);
}

static void on_guard(void *arg)
{
	(void)arg;
	fail_msg("nothing happened for ten seconds");
}

static void play(const struct row *row, size_t piece)
{
	struct world               w = { .in = row->in, .piece = piece };
	struct http_server_options o = {
		{ 8000, 4096, 8192, 64 }, 6, 5000, 5000, 5000, 5000, 32768
	};
	struct http_handler h = { on_request, NULL, NULL, &w };
	struct endpoint     any;

	print_message("  %s (%zu)\n", row->name, piece);
	w.loop = loop_new();
	buf_init(&w.got, 65536);
	buf_init(&w.body, 65536);
	deadline_init(&w.guard, w.loop, on_guard, &w);
	deadline_init(&w.more, w.loop, on_more, &w);
	soon_init(&w.over, w.loop, on_over, &w);
	deadline_in(&w.guard, 10000);
	w.server = http_server_new(w.loop, &o, &h);
	any = (struct endpoint){ .address = address_v4(127, 0, 0, 1, 0) };
	assert_int_equal(listener_open(w.loop, &any, on_accept, &w, &w.listener), ERR_OK);
	assert_int_equal(dial_start(&w.dial, w.loop, listener_endpoint(w.listener), 1, 5000,
	                            on_connected, &w),
	                 ERR_OK);
	loop_run(w.loop);
	http_server_free(w.server);
	loop_free(w.loop);
	assert_string_equal(buf_add(&w.got, STRL("\0")) == ERR_OK ? buf_str(&w.got).ptr : "",
	                    row->out);
	buf_fini(&w.got);
	buf_fini(&w.body);
}

static void answers_to_the_byte(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		play(&rows[i], 1 << 16);
		play(&rows[i], 1);
		play(&rows[i], 7);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(answers_to_the_byte) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
