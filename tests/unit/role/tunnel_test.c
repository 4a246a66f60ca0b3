/* Two streams joined, on memory: nothing is lost whoever ends first, nothing piles up, nothing lasts for ever. */
#include "role/tunnel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "support/memory_loop.h"

enum { IDLE_MS = 60000 };

static struct loop          *loop;
static struct memory_stream *near, *far;
static struct tunnel        *tunnel;
static int                   ended;
static uint64_t              up, down;

static void on_ended(void *arg, uint64_t up_bytes, uint64_t down_bytes)
{
	(void)arg;
	ended++;
	up = up_bytes;
	down = down_bytes;
	tunnel = NULL;
}

static int setup(void **state)
{
	(void)state;
	ended = 0;
	loop = memory_loop_new();
	near = memory_stream_new(loop, false);
	far = memory_stream_new(loop, true);
	return tunnel_start(loop, &near->base, &far->base, IDLE_MS, on_ended, NULL, &tunnel) !=
		ERR_OK;
}

static int teardown(void **state)
{
	(void)state;
	if (tunnel != NULL)
		tunnel_cut(tunnel);
	memory_loop_free(loop);
	return 0;
}

static void send_much(struct memory_stream *s, size_t n)
{
	static const char block[1000];

	for (; n > 0; n -= 1000)
		memory_stream_send(s, str_span(block, 1000));
	memory_loop_settle(loop);
}

static void take(struct memory_stream *s, size_t n)
{
	memory_stream_accept(s, n);
	memory_loop_settle(loop);
}

static void both_ways(void **state)
{
	(void)state;
	memory_stream_send(near, STRL("there"));
	memory_stream_send(far, STRL("back again"));
	memory_loop_settle(loop);
	assert_true(str_is(bytes_str(&far->taken), "there"));
	assert_true(str_is(bytes_str(&near->taken), "back again"));
	memory_stream_end(near, ERR_EOF);
	memory_loop_settle(loop);
	assert_true(far->ended);
	assert_int_equal(ended, 0);
	memory_stream_end(far, ERR_EOF);
	memory_loop_settle(loop);
	assert_int_equal(ended, 1);
	assert_int_equal(up, 5);
	assert_int_equal(down, 10);
}

/* Both have said all they had to say, but one has not heard it yet. */
static void the_last_bytes_arrive(void **state)
{
	(void)state;
	memory_stream_send(near, STRL("all of it, please"));
	memory_stream_end(near, ERR_EOF);
	near->accepts = 0;
	send_much(far, 12000);
	memory_stream_end(far, ERR_EOF);
	memory_loop_settle(loop);
	assert_int_equal(ended, 0);
	take(near, 4000);
	assert_int_equal(ended, 0);
	take(near, SIZE_MAX);
	assert_int_equal(near->taken.len, 12000);
	assert_true(near->ended);
	assert_int_equal(ended, 1);
}

static void a_slow_side_holds_the_fast_one_back(void **state)
{
	(void)state;
	near->accepts = 0;
	send_much(far, 500000);
	assert_true(near->queue_peak <= STREAM_TX_MAX);
	assert_true(far->coming.len > 400000);
	for (int i = 0; i < 100; i++)
		take(near, 10000);
	assert_int_equal(near->taken.len, 500000);
}

static void a_broken_side_ends_it(void **state)
{
	(void)state;
	memory_stream_end(far, ERR_RESET);
	memory_loop_settle(loop);
	assert_int_equal(ended, 1);
	assert_true(near->closed);
	assert_false(near->ended); /* cut, and looking so */
}

static void silence_ends_it(void **state)
{
	(void)state;
	memory_loop_pass(loop, IDLE_MS - 1);
	memory_stream_send(far, STRL("still here"));
	memory_loop_settle(loop);
	memory_loop_pass(loop, IDLE_MS - 1);
	assert_int_equal(ended, 0);
	memory_loop_pass(loop, 1);
	assert_int_equal(ended, 1);
}

static void a_cut_tells_nobody(void **state)
{
	(void)state;
	memory_stream_send(far, STRL("never looked at"));
	tunnel_cut(tunnel);
	tunnel = NULL;
	memory_loop_settle(loop);
	assert_int_equal(ended, 0);
	assert_true(near->closed && far->closed);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(both_ways),
		T(the_last_bytes_arrive),
		T(a_slow_side_holds_the_fast_one_back),
		T(a_broken_side_ends_it),
		T(silence_ends_it),
		T(a_cut_tells_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
