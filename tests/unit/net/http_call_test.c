/* What a call of the HTTP client does with time, TLS and streams that fail at awkward moments: on memory. */
#include "net/http_client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/memory_loop.h"

#define HEAD(method, fields) method " /x HTTP/1.1\r\nHost: h\r\n" fields "\r\n"
#define OK_ANSWER            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

enum { CONNECT_MS = 9000, ANSWER_MS = 50000 };

static struct loop      *loop;
static struct http_pool *pool;
static struct limit      handshakes;
static struct http_call *call;
static unsigned          wakes;
static int               authorities;

static struct tls_client *trust(void)
{
	return (struct tls_client *)(void *)&authorities;
}

static int setup(void **state)
{
	struct http_pool_options o = { { 4000, 4000, 8000, 50 }, 4, 4, 60000, &handshakes };

	(void)state;
	authorities = 0;
	wakes = 0;
	limit_init(&handshakes, GAUGE_server_handshakes_open, 1);
	loop = memory_loop_new();
	pool = http_pool_new(loop, &o);
	return pool == NULL;
}

static int teardown(void **state)
{
	(void)state;
	http_call_close(call);
	call = NULL;
	http_pool_free(pool);
	assert_int_equal(handshakes.used, 0);
	assert_int_equal(authorities, 0);
	for (size_t i = 0; i < GAUGE_COUNT; i++)
		assert_int_equal(metrics.gauges[i].used, 0);
	memory_loop_free(loop);
	return 0;
}

static void on_wake(void *arg)
{
	(void)arg;
	wakes++;
}

static const struct endpoint places[] = {
	{ .address = { ADDRESS_V4, { 192, 0, 2, 1 }, 443 } },
	{ .address = { ADDRESS_V4, { 192, 0, 2, 2 }, 443 } },
	{ .address = { ADDRESS_V4, { 192, 0, 2, 3 }, 443 } },
};

static struct http_call *open_call(enum http_method method, const char *head, bool body,
                                   bool secure, size_t count)
{
	struct http_call_options o = {
		.target = { .to = places,
		            .count = count,
		            .tls = secure ? trust() : NULL,
		            .tls_name = secure ? STRL("name.example") : STRL(""),
		            .connect_ms = CONNECT_MS },
		.method = method,
		.head = str_of(head),
		.has_body = body,
		.response_head_ms = ANSWER_MS,
		.keep = true,
	};
	struct http_call *c = NULL;

	assert_int_equal(http_call_open(pool, &o, on_wake, NULL, &c), ERR_OK);
	http_call_flush(c);
	return c;
}

static struct memory_stream *home(size_t i)
{
	return memory_stream_at(loop, true, i);
}

static void answer(size_t i, const char *text)
{
	memory_stream_send(home(i), str_of(text));
	memory_loop_settle(loop);
}

static void finish(void)
{
	struct str span;

	while ((span = http_call_peek(call)).len > 0)
		http_call_consume(call, span.len);
	assert_int_equal(http_call_failed(call), ERR_OK);
	assert_true(http_call_done(call));
	http_call_close(call);
	call = NULL;
}

/* A kept connection is there, home(0). */
static void keep_one(void)
{
	call = open_call(HTTP_GET, HEAD("GET", ""), false, false, 1);
	memory_loop_settle(loop);
	answer(0, OK_ANSWER);
	finish();
	assert_int_equal(http_pool_idle(pool), 1);
}

/* Made before the pool was cleared, given back after: other authorities may count by then. */
static void what_is_cleared_stays_away(void **state)
{
	(void)state;
	keep_one();
	call = open_call(HTTP_GET, HEAD("GET", ""), false, false, 1);
	assert_true(http_call_reused(call));
	http_pool_clear(pool);
	answer(0, OK_ANSWER);
	finish();
	assert_int_equal(http_pool_idle(pool), 0);
	assert_true(home(0)->closed);
}

static void fewer_are_kept_after_a_reload(void **state)
{
	struct http_pool_options o = { { 4000, 4000, 8000, 50 }, 1, 4, 60000, &handshakes };
	struct http_call        *first;

	(void)state;
	first = open_call(HTTP_GET, HEAD("GET", ""), false, false, 1);
	call = open_call(HTTP_GET, HEAD("GET", ""), false, false, 1);
	memory_loop_settle(loop);
	answer(0, OK_ANSWER);
	answer(1, OK_ANSWER);
	finish();
	call = first;
	finish();
	assert_int_equal(http_pool_idle(pool), 2);
	http_pool_set(pool, &o);
	assert_int_equal(http_pool_idle(pool), 1);
}

static void connecting_has_one_patience(void **state)
{
	(void)state;
	memory_loop_handshakes(loop, ERR_BUSY); /* everybody accepts, nobody goes on */
	call = open_call(HTTP_GET, HEAD("GET", ""), false, true, 3);
	memory_loop_pass(loop, CONNECT_MS - 1);
	assert_int_equal(http_call_failed(call), ERR_OK);
	assert_true(memory_streams(loop, true) > 1); /* more than one was tried */
	memory_loop_pass(loop, 2);
	assert_int_equal(http_call_failed(call), ERR_TIMEOUT);
	assert_int_equal(handshakes.used, 0);
}

static void waiting_for_a_handshake_is_part_of_it(void **state)
{
	struct http_call *first;

	(void)state;
	memory_loop_handshakes(loop, ERR_BUSY);
	first = open_call(HTTP_GET, HEAD("GET", ""), false, true, 1);
	memory_loop_pass(loop, 1000);
	call = open_call(HTTP_GET, HEAD("GET", ""), false, true, 1);
	handshakes.max = 0; /* whoever comes after the first waits for ever */
	memory_loop_pass(loop, CONNECT_MS + 1000);
	assert_int_equal(http_call_failed(first), ERR_TIMEOUT);
	assert_int_equal(http_call_failed(call), ERR_TIMEOUT);
	http_call_close(first);
}

static void tls_that_cannot_begin(void **state)
{
	(void)state;
	memory_loop_handshakes(loop, ERR_NOMEM);
	call = open_call(HTTP_GET, HEAD("GET", ""), false, true, 1);
	memory_loop_settle(loop);
	assert_int_equal(http_call_failed(call), ERR_NOMEM);
	assert_true(home(0)->closed);
}

static void a_bad_certificate_leaves_the_other_addresses(void **state)
{
	(void)state;
	memory_loop_handshakes(loop, ERR_CERTIFICATE);
	call = open_call(HTTP_GET, HEAD("GET", ""), false, true, 3);
	memory_loop_settle(loop);
	assert_int_equal(http_call_failed(call), ERR_CERTIFICATE);
	assert_int_equal(memory_streams(loop, true), 3);
}

static void targets_that_cannot_be(void **state)
{
	struct http_call_options o = { .target = { .to = places, .tls = trust() },
		                       .head = STRL("x") };

	(void)state;
	assert_int_equal(http_call_open(pool, &o, on_wake, NULL, &call), ERR_RANGE);
	assert_null(call);
	assert_int_equal(authorities, 0);
}

/* The connection has failed, and the owner has not heard of it when he writes. */
static void nothing_is_sent_twice(void **state)
{
	(void)state;
	keep_one();
	bytes_take(&home(0)->taken, home(0)->taken.len);
	call = open_call(HTTP_PUT, HEAD("PUT", "Content-Length: 6\r\n"), true, false, 1);
	http_call_send(call, STRL("abc"));
	http_call_flush(call);
	home(0)->base.end = ERR_RESET;
	http_call_send(call, STRL("def"));
	http_call_flush(call);
	http_call_send_end(call);
	memory_loop_settle(loop);
	http_call_flush(call);
	assert_false(http_call_reused(call));
	assert_true(
		str_is(bytes_str(&home(1)->taken), HEAD("PUT", "Content-Length: 6\r\n") "abcdef"));
	answer(1, OK_ANSWER);
	finish();
}

/* What is sent again is more than there is room for: the owner must hear when there is. */
static void after_much_was_sent_again_there_is_room(void **state)
{
	static const char block[15000];

	(void)state;
	keep_one();
	call = open_call(HTTP_PUT, HEAD("PUT", "Content-Length: 300000\r\n"), true, false, 1);
	for (int i = 0; i < 5; i++) {
		http_call_send(call, str_span(block, sizeof(block)));
		http_call_flush(call);
		memory_loop_settle(loop);
	}
	memory_stream_end(home(0), ERR_RESET);
	wakes = 0;
	memory_loop_settle(loop);
	assert_int_equal(memory_streams(loop, true), 2);
	assert_int_equal(wakes, 1);
	assert_true(http_call_room(call) > 0);
	assert_true(home(1)->taken.len > 75000);
}

/* What was sent does not fit what is held: there is no second try, and no half of one. */
static void much_is_sent_once(void **state)
{
	static const char block[15000];

	(void)state;
	keep_one();
	call = open_call(HTTP_PUT, HEAD("PUT", "Content-Length: 300000\r\n"), true, false, 1);
	for (int i = 0; i < 18; i++) {
		http_call_send(call, str_span(block, sizeof(block)));
		http_call_flush(call);
		memory_loop_settle(loop);
	}
	memory_stream_end(home(0), ERR_RESET);
	memory_loop_settle(loop);
	assert_int_equal(http_call_failed(call), ERR_RESET);
	assert_int_equal(memory_streams(loop, true), 1);
}

static void an_answer_that_stops(void **state)
{
	(void)state;
	call = open_call(HTTP_GET, HEAD("GET", ""), false, false, 1);
	memory_loop_settle(loop);
	answer(0, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab");
	assert_int_equal(http_call_peek(call).len, 2);
	memory_loop_pass(loop, ANSWER_MS);
	assert_int_equal(http_call_failed(call), ERR_TIMEOUT);
}

static void silence_is_an_end(void **state)
{
	(void)state;
	call = open_call(HTTP_GET, HEAD("GET", ""), false, false, 1);
	memory_loop_pass(loop, ANSWER_MS - 1);
	assert_int_equal(http_call_failed(call), ERR_OK);
	memory_loop_pass(loop, 1);
	assert_int_equal(http_call_failed(call), ERR_TIMEOUT);
}

/* A length-less answer that TLS did not end in order is a cut one; known to be JSON, it may be whole. */
static void a_cut_without_a_length(void **state)
{
	(void)state;
	call = open_call(HTTP_GET, HEAD("GET", ""), false, true, 1);
	memory_loop_settle(loop);
	answer(0, "HTTP/1.1 200 OK\r\n\r\nall of it?");
	http_call_consume(call, http_call_peek(call).len);
	memory_stream_end(home(0), ERR_TRUNCATED);
	memory_loop_settle(loop);
	assert_int_equal(http_call_peek(call).len, 0);
	assert_false(http_call_done(call));
	assert_int_equal(http_call_failed(call), ERR_TRUNCATED);
}

static void many_informational_heads(void **state)
{
	char          text[3000];
	struct writer w = writer_over(text, sizeof(text) - 1);

	(void)state;
	call = open_call(HTTP_GET, HEAD("GET", ""), false, false, 1);
	memory_loop_settle(loop);
	write_text(&w, "HTTP/1.1 103 Early Hints\r\nLink: ");
	while (writer_room(&w) > 4)
		write_char(&w, 'x');
	write_text(&w, "\r\n\r\n");
	text[writer_done(&w).len] = '\0';
	for (int i = 0; i < 8; i++)
		answer(0, text);
	answer(0, OK_ANSWER);
	finish();
}

static void closed_at_every_stage(void **state)
{
	(void)state;
	memory_loop_dials(loop, ERR_BUSY);
	memory_loop_handshakes(loop, ERR_BUSY);
	http_call_close(open_call(HTTP_GET, HEAD("GET", ""), false, true, 2));
	for (int stage = 0; stage < 5; stage++) {
		memory_loop_dials(loop, stage > 0 ? ERR_OK : ERR_BUSY);
		memory_loop_handshakes(loop, stage > 1 ? ERR_OK : ERR_BUSY);
		call = open_call(HTTP_GET, HEAD("GET", ""), false, true, 1);
		memory_loop_settle(loop);
		if (stage > 2)
			answer(memory_streams(loop, true) - 1, "HTTP/1.1 200 OK\r\nContent-Le");
		if (stage > 3)
			answer(memory_streams(loop, true) - 1, "ngth: 4\r\n\r\nab");
		http_call_close(call);
		call = NULL;
		assert_int_equal(http_pool_idle(pool), 0);
		assert_int_equal(memory_loop_pending(loop), 0);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(what_is_cleared_stays_away),
		T(fewer_are_kept_after_a_reload),
		T(connecting_has_one_patience),
		T(waiting_for_a_handshake_is_part_of_it),
		T(tls_that_cannot_begin),
		T(a_bad_certificate_leaves_the_other_addresses),
		T(targets_that_cannot_be),
		T(nothing_is_sent_twice),
		T(after_much_was_sent_again_there_is_room),
		T(much_is_sent_once),
		T(an_answer_that_stops),
		T(silence_is_an_end),
		T(a_cut_without_a_length),
		T(many_informational_heads),
		T(closed_at_every_stage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
