/*
 * One document fetched, on memory: what goes over the wire, and every way in which it fails. Names are
 * IP literals, so that discovery needs nobody.
 */
#include "role/key_fetch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/metrics.h"
#include "support/memory_loop.h"

#define NAME "198.51.100.7:8449"

static struct loop          *loop;
static struct resolver      *resolver;
static struct key_fetcher   *fetcher;
static struct address_policy policy;
static struct cidr           documentation[2];
static int                   authorities;

static struct key_fetch *fetch;
static bool              is_done;
static enum err          end;
static char              body[128];

static struct tls_client *trust(void)
{
	return (struct tls_client *)(void *)&authorities;
}

static void on_done(void *arg, enum err e, struct str got)
{
	assert_ptr_equal(arg, &fetch);
	assert_false(is_done);
	assert_null(fetch);
	is_done = true;
	end = e;
	assert_true(str_copy(str_head(got, sizeof(body) - 1), body, sizeof(body)));
}

static int setup(void **state)
{
	struct resolver_options    r = { .policy = &policy, .names_max = 10, .deadline_ms = 10000 };
	struct key_fetcher_options o = { .body_max = 100 };

	(void)state;
	log_set_level(LOG_ERROR);
	memset(&metrics, 0, sizeof(metrics));
	assert_int_equal(address_parse_cidr(STRL("198.51.100.0/24"), &documentation[0]), ERR_OK);
	assert_int_equal(address_parse_cidr(STRL("2001:db8::/32"), &documentation[1]), ERR_OK);
	policy = (struct address_policy){ .allow = documentation, .allow_count = 2 };
	authorities = 0;
	loop = memory_loop_new();
	memory_loop_set_unix(loop, 1800000000000ull);
	r.loop = o.loop = loop;
	r.tls = o.tls = trust();
	assert_int_equal(resolver_new(&r, &resolver), ERR_OK);
	o.resolver = resolver;
	return key_fetcher_new(&o, &fetcher) != ERR_OK;
}

static int teardown(void **state)
{
	(void)state;
	key_fetch_cancel(&fetch);
	memory_loop_settle(loop);
	key_fetcher_free(fetcher);
	resolver_free(resolver);
	assert_int_equal(authorities, 0);
	for (size_t i = 0; i < GAUGE_COUNT; i++)
		assert_int_equal(metrics.gauges[i].used, 0);
	memory_loop_free(loop);
	return 0;
}

static void begin(const char *name)
{
	is_done = false;
	end = ERR_CANCELLED;
	body[0] = '\0';
	assert_int_equal(key_fetch_start(&fetch, fetcher, str_of(name),
	                                 STRL("/_matrix/key/v2/server"), on_done, &fetch),
	                 ERR_OK);
	assert_false(is_done);
	memory_loop_settle(loop);
}

static struct memory_stream *last_stream(void)
{
	size_t n = memory_streams(loop, true);

	return n > 0 ? memory_stream_at(loop, true, n - 1) : NULL;
}

static void answer(const char *text, enum err ends)
{
	memory_stream_send(last_stream(), str_of(text));
	if (ends != ERR_OK)
		memory_stream_end(last_stream(), ends);
	memory_loop_settle(loop);
}

static void asks_one_question(void **state)
{
	const struct {
		const char *name, *host;
		uint16_t    port;
	} names[] = {
		{ NAME, NAME, 8449 },
		{ "198.51.100.8", "198.51.100.8", 8448 },
		{ "[2001:db8::7]:443", "[2001:db8::7]:443", 443 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		char          want[300];
		struct writer w = writer_over(want, sizeof(want));

		print_message("  %s\n", names[i].name);
		begin(names[i].name);
		assert_int_equal(last_stream()->to.address.port, names[i].port);
		write_text(&w, "GET /_matrix/key/v2/server HTTP/1.1\r\nHost: ");
		write_text(&w, names[i].host);
		write_text(&w, "\r\n");
		assert_true(str_starts(bytes_str(&last_stream()->taken), writer_done(&w)));
		answer("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", ERR_OK);
		assert_true(is_done);
		assert_int_equal(end, ERR_OK);
		assert_string_equal(body, "{}");
	}
	/* what is known by now leads to the same */
	begin(NAME);
	answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n", ERR_OK);
	assert_string_equal(body, "[]");
}

static void answers_may_be_bad(void **state)
{
	const struct {
		const char *text;
		enum err    ends, want;
	} answers[] = {
		{ "HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}", ERR_OK, ERR_BAD_ANSWER },
		{ "HTTP/1.1 301 Moved\r\nLocation: https://x/\r\nContent-Length: 0\r\n\r\n", ERR_OK,
		  ERR_BAD_ANSWER },
		{ "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", ERR_OK, ERR_BAD_ANSWER },
		{ "nonsense\r\n\r\n", ERR_OK, ERR_BAD_ANSWER },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n"
		  "0123456789012345678901234567890123456789012345678901234567890123456789"
		  "0123456789012345678901234567890",
		  ERR_OK, ERR_TOO_LARGE },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", ERR_EOF, ERR_TRUNCATED },
		{ "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", ERR_RESET, ERR_RESET },
		{ "HTTP/1.1 200 OK\r\n\r\n{}", ERR_EOF, ERR_OK },
		{ "", ERR_RESET, ERR_RESET },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		print_message("  %.30s\n", answers[i].text);
		begin(NAME);
		answer(answers[i].text, answers[i].ends);
		assert_true(is_done);
		assert_int_equal(end, answers[i].want);
	}
}

static void connections_may_fail(void **state)
{
	(void)state;
	memory_loop_dials(loop, ERR_REFUSED);
	begin(NAME);
	assert_int_equal(end, ERR_REFUSED);
	memory_loop_dials(loop, ERR_OK);
	memory_loop_handshakes(loop, ERR_CERTIFICATE);
	begin(NAME);
	assert_int_equal(end, ERR_CERTIFICATE);
	memory_loop_handshakes(loop, ERR_OK);
	key_fetcher_set(fetcher, NULL);
	begin(NAME);
	assert_int_equal(end, ERR_TLS);
	assert_int_equal(memory_streams(loop, true), 1); /* nobody was connected to without it */
}

static void own_networks_are_not_asked(void **state)
{
	const char *const names[] = { "127.0.0.1:8448", "192.168.1.1", "[::1]:8448", "10.0.0.1",
		                      "router.lan:8448" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		print_message("  %s\n", names[i]);
		begin(names[i]);
		assert_true(is_done);
		assert_int_equal(end, ERR_BLOCKED);
	}
	assert_int_equal(memory_streams(loop, true), 0);
}

/* Ten seconds for all of it, wherever it hangs. */
static void time_has_an_end(void **state)
{
	static const char *const drops[] = { "HTTP/1.1 200 OK\r\n",
		                             "Content-Length: 9\r\n",
		                             "\r\n",
		                             "{",
		                             " ",
		                             " ",
		                             " ",
		                             " ",
		                             " ",
		                             " ",
		                             " " };

	(void)state;
	memory_loop_dials(loop, ERR_BUSY);
	begin(NAME);
	memory_loop_pass(loop, 10001);
	assert_int_equal(end, ERR_TIMEOUT);
	memory_loop_dials(loop, ERR_OK);
	memory_loop_handshakes(loop, ERR_BUSY);
	begin(NAME);
	memory_loop_pass(loop, 10001);
	assert_int_equal(end, ERR_TIMEOUT);
	memory_loop_handshakes(loop, ERR_OK);
	begin(NAME); /* a byte now and then */
	for (size_t i = 0; i < sizeof(drops) / sizeof(drops[0]); i++) {
		assert_int_equal(is_done, i >= 10);
		if (!is_done)
			answer(drops[i], ERR_OK);
		memory_loop_pass(loop, 1001);
	}
	assert_int_equal(end, ERR_TIMEOUT);
}

static void can_be_cancelled_anywhere(void **state)
{
	(void)state;
	is_done = false;
	assert_int_equal(key_fetch_start(&fetch, fetcher, STRL(NAME), STRL("/"), on_done, &fetch),
	                 ERR_OK);
	key_fetch_cancel(&fetch);
	key_fetch_cancel(&fetch);
	memory_loop_settle(loop);
	memory_loop_handshakes(loop, ERR_BUSY);
	begin(NAME);
	key_fetch_cancel(&fetch);
	memory_loop_handshakes(loop, ERR_OK);
	begin(NAME);
	answer("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{", ERR_OK);
	key_fetch_cancel(&fetch);
	memory_loop_pass(loop, 20000);
	assert_false(is_done);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(asks_one_question),    TEST(answers_may_be_bad),
		TEST(connections_may_fail), TEST(own_networks_are_not_asked),
		TEST(time_has_an_end),      TEST(can_be_cancelled_anywhere),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
