/* How connections of the HTTP server end, and what waits meanwhile: on streams of memory, time standing still. */
#include "net/http_server.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/memory_loop.h"

#define GET(n)      "GET /" #n " HTTP/1.1\r\nHost: x\r\n\r\n"
#define GET_LAST(n) "GET /" #n " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
#define PUT(n)      "PUT /0 HTTP/1.1\r\nHost: x\r\nContent-Length: " #n "\r\n\r\n"

enum { IDLE_MS = 30000, WRITE_MS = 20000, BODY_MS = 10000, HALF_MS = 2000 };

static const struct http_server_options options = {
	{ 8000, 4096, 8192, 64 }, 1000, 10000, IDLE_MS, BODY_MS, WRITE_MS, 32768
};

/* The handler reads the body and answers with as many bytes as the path says: few at once, many as room
   appears. */
struct world {
	struct loop          *loop;
	struct http_server   *server;
	struct memory_stream *peer;
	struct http_request  *request;
	size_t                left;
	enum err              broken;   /* why the latest request was */
	bool                  withhold; /* the answer */
};

static struct world w;

static void pump(void *arg)
{
	struct http_request *r = w.request;
	struct head          h = { .status = 200, .reason = STRL("OK"), .body = BODY_LENGTH };
	static const char    block[4096];
	struct str           span;
	size_t               room;

	(void)arg;
	w.broken = http_request_broken(r);
	if (w.broken != ERR_OK) {
		http_respond_abort(r);
		w.request = NULL;
		return;
	}
	while ((span = http_request_peek(r)).len > 0)
		http_request_consume(r, span.len);
	if (!http_request_body_done(r) || w.withhold)
		return;
	if (w.left <= 100) {
		w.request = NULL;
		http_respond_with(r, 200, "text/plain", STRL(""), str_span(block, w.left));
		return;
	}
	h.content_length = w.left;
	if (!http_respond_begun(r))
		http_respond_head(r, &h, STRL(""));
	while (w.left > 0 && (room = http_respond_room(r)) > 0) {
		span = str_head(str_span(block, sizeof(block)), room < w.left ? room : w.left);
		http_respond_body(r, span);
		w.left -= span.len;
	}
	if (w.left > 0) {
		http_respond_flush(r);
		return;
	}
	w.request = NULL;
	http_respond_end(r);
}

static void on_request(void *arg, struct http_request *r)
{
	uint64_t n = 0;

	(void)arg;
	assert_null(w.request);
	assert_true(str_to_u64(str_from(http_request_head(r)->path, 1), 1 << 30, &n));
	w.request = r;
	w.left = (size_t)n;
	http_request_own(r, pump, NULL);
	pump(NULL);
}

static struct memory_stream *connect_one(void)
{
	struct address        from = address_v4(192, 0, 2, 1, 1);
	struct memory_stream *s = memory_stream_new(w.loop, false);

	assert_int_equal(http_server_take(w.server, &s->base, &from), ERR_OK);
	return s;
}

static int setup(void **state)
{
	const struct http_handler h = { on_request, NULL, NULL, NULL };

	(void)state;
	w = (struct world){ .loop = memory_loop_new() };
	w.server = http_server_new(w.loop, &options, &h);
	w.peer = connect_one();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	http_server_free(w.server);
	memory_loop_free(w.loop);
	return 0;
}

static void say(const char *text)
{
	memory_stream_send(w.peer, str_of(text));
	memory_loop_settle(w.loop);
}

static void end(enum err e)
{
	memory_stream_end(w.peer, e);
	memory_loop_settle(w.loop);
}

static void take(size_t n)
{
	memory_stream_accept(w.peer, n);
	memory_loop_settle(w.loop);
}

/* The peer reads nothing by itself. */
static void stall(void)
{
	w.peer->accepts = 0;
}

static size_t connections(void)
{
	return http_server_connections(w.server);
}

static void closes_when_the_peer_does(void **state)
{
	(void)state;
	say(GET_LAST(5));
	assert_true(w.peer->ended);
	assert_int_equal(connections(), 1);
	end(ERR_EOF);
	assert_int_equal(connections(), 0);
}

static void closes_at_once_when_the_peer_has(void **state)
{
	(void)state;
	memory_stream_send(w.peer, STRL(GET_LAST(5)));
	memory_stream_end(w.peer, ERR_EOF);
	memory_loop_settle(w.loop);
	assert_int_equal(connections(), 0);
}

static void does_not_wait_long_for_the_peer(void **state)
{
	(void)state;
	say(GET_LAST(5));
	memory_loop_pass(w.loop, 2000);
	assert_int_equal(connections(), 0);
}

static void throws_away_what_comes_after_the_last(void **state)
{
	(void)state;
	memory_stream_send(w.peer, STRL(GET_LAST(5)));
	for (int i = 0; i < 8; i++)
		memory_stream_send(w.peer, STRL("more and more"));
	memory_loop_settle(w.loop);
	assert_int_equal(w.peer->shown.len, 0);
	assert_int_equal(connections(), 1);
}

static void sends_the_last_answer_to_its_end(void **state)
{
	(void)state;
	stall();
	say(GET_LAST(12000));
	end(ERR_EOF);
	assert_int_equal(connections(), 1);
	take(4000);
	assert_int_equal(connections(), 1);
	assert_false(w.peer->ended);
	take(SIZE_MAX);
	assert_true(w.peer->ended);
	assert_int_equal(connections(), 0);
}

static void a_slow_reader_has_his_time(void **state)
{
	(void)state;
	stall();
	say(GET_LAST(12000));
	for (int i = 0; i < 10; i++) {
		memory_loop_pass(w.loop, WRITE_MS - 1);
		assert_int_equal(connections(), 1);
		take(1000);
	}
	memory_loop_pass(w.loop, 2 * WRITE_MS); /* now he has stopped */
	assert_int_equal(connections(), 0);
	assert_false(w.peer->ended);
}

static void an_idle_end_cuts_nothing(void **state)
{
	(void)state;
	stall();
	say(GET(12000));
	assert_null(w.request);
	memory_loop_pass(w.loop, IDLE_MS);
	assert_int_equal(connections(), 1);
	take(SIZE_MAX);
	assert_true(w.peer->ended);
	memory_loop_pass(w.loop, WRITE_MS);
	assert_int_equal(connections(), 0);
}

static void the_peers_end_cuts_nothing(void **state)
{
	(void)state;
	stall();
	say(GET(12000));
	end(ERR_EOF);
	take(SIZE_MAX);
	assert_true(w.peer->ended);
	assert_int_equal(connections(), 0);
}

static void draining_cuts_nothing(void **state)
{
	(void)state;
	stall();
	say(GET(12000));
	http_server_drain(w.server);
	memory_loop_settle(w.loop);
	assert_int_equal(connections(), 1);
	take(SIZE_MAX);
	assert_true(w.peer->ended);
	end(ERR_EOF);
	assert_int_equal(connections(), 0);
}

static void unread_answers_do_not_pile_up(void **state)
{
	(void)state;
	stall();
	for (int i = 0; i < 900; i++)
		memory_stream_send(w.peer, STRL(GET(100)));
	memory_loop_settle(w.loop);
	assert_true(w.peer->queue_peak < STREAM_TX_MAX + 1024);
	w.peer->accepts = SIZE_MAX;
	take(SIZE_MAX);
	assert_true(w.peer->taken.len > 900 * 100);
	assert_int_equal(connections(), 1);
}

static void requests_wait_for_room_beyond_the_peers_end(void **state)
{
	(void)state;
	stall();
	for (int i = 0; i < 900; i++)
		memory_stream_send(w.peer, STRL(GET(100)));
	end(ERR_EOF);
	w.peer->accepts = SIZE_MAX;
	take(SIZE_MAX);
	assert_true(w.peer->taken.len > 900 * 100);
	assert_true(w.peer->ended || w.peer->closed);
	assert_int_equal(connections(), 0);
}

static void a_half_closed_peer_gets_all_of_it(void **state)
{
	(void)state;
	stall();
	say(GET(200000));
	end(ERR_EOF);
	for (int i = 0; i < 20; i++) {
		memory_loop_pass(w.loop, HALF_MS);
		assert_int_equal(w.broken, ERR_OK);
		take(20000);
	}
	assert_true(w.peer->taken.len > 200000);
	assert_true(w.peer->ended);
	assert_int_equal(connections(), 0);
}

static void a_half_closed_peer_does_not_wait_for_ever(void **state)
{
	(void)state;
	w.withhold = true;
	say(GET(5));
	end(ERR_EOF);
	memory_loop_pass(w.loop, HALF_MS);
	assert_int_equal(w.broken, ERR_EOF);
	assert_int_equal(connections(), 0);
}

/* The end came with the last bytes: nothing else will tell. */
static void a_cut_body_is_found_when_it_is_read(void **state)
{
	(void)state;
	memory_stream_send(w.peer, STRL(PUT(9) "abc"));
	memory_stream_end(w.peer, ERR_EOF);
	memory_loop_settle(w.loop);
	assert_int_equal(w.broken, ERR_TRUNCATED);
	assert_int_equal(connections(), 0);
}

static void a_slow_body_is_broken(void **state)
{
	(void)state;
	say(PUT(9) "abc");
	memory_loop_pass(w.loop, BODY_MS - 1);
	say("d");
	memory_loop_pass(w.loop, BODY_MS - 1);
	assert_int_equal(w.broken, ERR_OK);
	memory_loop_pass(w.loop, 1);
	assert_int_equal(w.broken, ERR_SLOW_PEER);
}

static void room_is_made_by_those_who_are_idle(void **state)
{
	(void)state;
	say(GET(5));
	w.peer = connect_one(); /* has not asked yet, and is the one longest idle now */
	memory_loop_settle(w.loop);
	w.peer = memory_stream_at(w.loop, false, 0);
	say(GET(5));
	assert_true(http_server_close_idle(w.server));
	memory_loop_settle(w.loop);
	assert_true(memory_stream_at(w.loop, false, 0)->closed);
	assert_false(memory_stream_at(w.loop, false, 1)->closed);
	assert_false(http_server_close_idle(w.server));
}

static void freed_in_the_middle_of_everything(void **state)
{
	(void)state;
	say("GET / HT");
	w.peer = connect_one();
	stall();
	say(GET_LAST(12000));
	w.peer = connect_one();
	stall();
	say(GET(100000));
	assert_non_null(w.request);
	assert_int_equal(connections(), 3);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(closes_when_the_peer_does),
		T(closes_at_once_when_the_peer_has),
		T(does_not_wait_long_for_the_peer),
		T(throws_away_what_comes_after_the_last),
		T(sends_the_last_answer_to_its_end),
		T(a_slow_reader_has_his_time),
		T(an_idle_end_cuts_nothing),
		T(the_peers_end_cuts_nothing),
		T(draining_cuts_nothing),
		T(unread_answers_do_not_pile_up),
		T(requests_wait_for_room_beyond_the_peers_end),
		T(a_half_closed_peer_gets_all_of_it),
		T(a_half_closed_peer_does_not_wait_for_ever),
		T(a_cut_body_is_found_when_it_is_read),
		T(a_slow_body_is_broken),
		T(room_is_made_by_those_who_are_idle),
		T(freed_in_the_middle_of_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
