#include "role/own_keys.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/metrics.h"
#include "codec/matrix/signed_json.h"
#include "support/memory_loop.h"

#define START UINT64_C(1800000000000) /* a clock that can be believed */

static struct loop     *loop;
static struct answers  *answers;
static struct upstream *upstream;
static struct own_keys *keys;
static size_t           name_count;

static const char *name_of(void *arg, size_t n)
{
	static const char *const names[] = { "a.example", "b.example" };

	(void)arg;
	return n < name_count ? names[n] : NULL;
}

static int begin(void **state)
{
	static const struct homeserver_settings hs = {
		.section = "nas",
		.url = "http://192.0.2.1:8008",
		.endpoint = { .address = { ADDRESS_V4, { 192, 0, 2, 1 }, 8008 } },
		.host = "192.0.2.1",
		.port = 8008,
		.connections_max = 2,
	};
	static const struct limit_settings limits = { .response_head_max = 4096,
		                                      .connect_ms = 5000,
		                                      .homeserver_idle_ms = 30000 };
	struct own_keys_options            o = { .name = name_of };

	(void)state;
	memset(&metrics, 0, sizeof(metrics));
	loop = memory_loop_new();
	memory_loop_set_unix(loop, START);
	assert_int_equal(answers_new(loop, NULL, 256 * 1024, &answers), ERR_OK);
	assert_int_equal(upstream_new(loop, &hs, &limits, NULL, NULL, &upstream), ERR_OK);
	o.loop = loop;
	o.answers = answers;
	o.upstream = upstream;
	name_count = 1;
	assert_int_equal(own_keys_new(&o, &keys), ERR_OK);
	return 0;
}

static int end(void **state)
{
	(void)state;
	own_keys_free(keys);
	upstream_drop(upstream);
	answers_free(answers);
	memory_loop_free(loop);
	return 0;
}

static uint64_t asked(void)
{
	return metrics.counters[COUNT_answers_own_keys];
}

/* A document of that server, good for so long from now. */
static void write_document(struct writer *w, const char *name, uint64_t life_ms)
{
	uint8_t             seed[SIGNING_SEED_BYTES] = { 7 };
	struct signing_pair pair;
	struct signing_sig  sig;
	char                plain[512];
	struct writer       p = writer_over(plain, sizeof(plain));

	signing_pair_from_seed(seed, &pair);
	write_text(&p, "{\"old_verify_keys\":{},\"server_name\":\"");
	write_text(&p, name);
	write_text(&p, "\",\"valid_until_ts\":");
	write_u64(&p, loop_unix_ms(loop) + life_ms);
	write_text(&p, ",\"verify_keys\":{\"ed25519:k\":{\"key\":\"");
	signing_key_write(&p, &pair.key);
	write_text(&p, "\"}}}");
	assert_int_equal(signed_json_sign(writer_done(&p), &pair, &sig), ERR_OK);
	write_str(w, str_head(writer_done(&p), writer_done(&p).len - 1));
	write_text(w, ",\"signatures\":{\"");
	write_text(w, name);
	write_text(w, "\":{\"ed25519:k\":\"");
	signing_sig_write(w, &sig);
	write_text(w, "\"}}}");
}

/* The homeserver's connection; checks what it was asked last. */
static struct memory_stream *home(const char *name)
{
	struct memory_stream *s = memory_stream_at(loop, true, memory_streams(loop, true) - 1);
	char                  want[160];
	struct str            taken;

	snprintf(want, sizeof(want), "GET /_matrix/key/v2/server HTTP/1.1\r\nHost: %s\r\n\r\n",
	         name);
	memory_stream_accept(s, SIZE_MAX);
	taken = bytes_str(&s->taken);
	assert_true(str_ends(taken, str_of(want)));
	return s;
}

static void answer(const char *name, int status, struct str body)
{
	struct memory_stream *s = home(name);
	char                  head[128];

	snprintf(head, sizeof(head),
	         "HTTP/1.1 %d So\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
	         status, body.len);
	memory_stream_send(s, str_of(head));
	memory_stream_send(s, body);
	memory_loop_settle(loop);
}

static void answer_well(const char *name, uint64_t life_ms)
{
	char          doc[1024];
	struct writer w = writer_over(doc, sizeof(doc));

	write_document(&w, name, life_ms);
	answer(name, 200, writer_done(&w));
}

static bool has_keys(const char *name)
{
	struct asleep_match      match;
	struct head              request = { .method = HTTP_GET, .body = BODY_NONE };
	struct snapshot_question q = { .match = &match, .server_name = str_of(name) };
	struct shelf_item       *i;

	asleep_find(STRL("GET"), STRL("/_matrix/key/v2/server"), &match);
	i = answers_asleep(answers, &q, &request, false);
	shelf_drop(i);
	return i != NULL;
}

static void asks_when_it_is_there(void **state)
{
	(void)state;
	memory_loop_pass(loop, DAY_MS);
	assert_int_equal(asked(), 0);
	own_keys_set(keys, true);
	memory_loop_pass(loop, OWN_KEYS_FIRST_MS - 1);
	assert_int_equal(asked(), 0);
	memory_loop_pass(loop, 1);
	assert_int_equal(asked(), 1);
	answer_well("a.example", DAY_MS);
	assert_true(has_keys("a.example"));
	own_keys_set(keys, false);
	memory_loop_pass(loop, 2 * DAY_MS);
	assert_int_equal(asked(), 1);
}

static void asks_again_at_half_of_its_life(void **state)
{
	(void)state;
	own_keys_set(keys, true);
	memory_loop_pass(loop, OWN_KEYS_FIRST_MS);
	answer_well("a.example", DAY_MS);
	memory_loop_pass(loop, DAY_MS / 2);
	assert_int_equal(asked(), 1);
	memory_loop_pass(loop, OWN_KEYS_AGAIN_MS);
	assert_int_equal(asked(), 2);
	answer_well("a.example", DAY_MS);
	memory_loop_pass(loop, DAY_MS / 2);
	assert_int_equal(asked(), 2);
}

static void asks_for_each_name(void **state)
{
	(void)state;
	name_count = 2;
	own_keys_set(keys, true);
	memory_loop_pass(loop, OWN_KEYS_FIRST_MS);
	answer_well("a.example", DAY_MS);
	assert_int_equal(asked(), 2);
	answer_well("b.example", DAY_MS);
	assert_true(has_keys("a.example") && has_keys("b.example"));
	memory_loop_pass(loop, OWN_KEYS_AGAIN_MS);
	assert_int_equal(asked(), 2);
}

static void bad_answers_are_asked_for_again(void **state)
{
	(void)state;
	own_keys_set(keys, true);
	memory_loop_pass(loop, OWN_KEYS_FIRST_MS);
	answer("a.example", 200, STRL("{}"));
	memory_loop_pass(loop, OWN_KEYS_AGAIN_MS);
	assert_int_equal(asked(), 2);
	answer("a.example", 404, STRL("{}"));
	memory_loop_pass(loop, OWN_KEYS_AGAIN_MS);
	assert_int_equal(asked(), 3);
	memory_stream_end(home("a.example"), ERR_RESET);
	memory_loop_pass(loop, OWN_KEYS_AGAIN_MS + 10000);
	assert_true(asked() >= 4);
	assert_false(has_keys("a.example"));
}

static void silence_has_an_end(void **state)
{
	(void)state;
	own_keys_set(keys, true);
	memory_loop_pass(loop, OWN_KEYS_FIRST_MS + 60 * 1000);
	assert_int_equal(asked(), 1);
	memory_loop_pass(loop, OWN_KEYS_AGAIN_MS);
	assert_int_equal(asked(), 2);
}

static void leaves_in_the_middle(void **state)
{
	(void)state;
	own_keys_set(keys, true);
	memory_loop_pass(loop, OWN_KEYS_FIRST_MS);
	memory_stream_send(home("a.example"),
	                   STRL("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"server"));
	memory_loop_settle(loop);
	own_keys_set(keys, false);
	memory_loop_pass(loop, DAY_MS);
	assert_false(has_keys("a.example"));
	assert_int_equal(metrics.gauges[GAUGE_answers_bytes].used, 0);
}

static void nothing_to_keep_nothing_to_ask(void **state)
{
	(void)state;
	answers_set(answers, 0);
	own_keys_set(keys, true);
	memory_loop_pass(loop, DAY_MS);
	assert_int_equal(asked(), 0);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(asks_when_it_is_there),
		TEST(asks_again_at_half_of_its_life),
		TEST(asks_for_each_name),
		TEST(bad_answers_are_asked_for_again),
		TEST(silence_has_an_end),
		TEST(leaves_in_the_middle),
		TEST(nothing_to_keep_nothing_to_ask),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
