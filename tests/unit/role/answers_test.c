#include "role/answers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/metrics.h"
#include "support/memory_loop.h"

#define F1      "/_matrix/federation/v1"
#define VERSION F1 "/version"
#define PROFILE F1 "/query/profile?user_id=@a:example.org"
#define ROOMS   F1 "/publicRooms"
#define DEVICES F1 "/user/devices/@a:example.org"
#define QUERY   F1 "/user/keys/query"
#define MEDIA   F1 "/media/download/abc"
#define START   UINT64_C(1700000000000)

static struct loop    *loop;
static struct cache   *cache;
static struct answers *answers;

static void open_answers(size_t max)
{
	assert_int_equal(answers_new(loop, cache, max, &answers), ERR_OK);
}

static int begin(void **state)
{
	struct cache_options o;

	(void)state;
	loop = memory_loop_new();
	memory_loop_set_unix(loop, START);
	o = (struct cache_options){ .loop = loop, .bytes = 1024 * 1024 };
	assert_int_equal(cache_open(&o, &cache), ERR_OK);
	memset(&metrics, 0, sizeof(metrics));
	open_answers(1024 * 1024);
	return 0;
}

static int end(void **state)
{
	(void)state;
	answers_free(answers);
	cache_close(cache);
	memory_loop_free(loop);
	return 0;
}

/* As after a restart: the cache alone stays. */
static void restart(void)
{
	answers_free(answers);
	open_answers(1024 * 1024);
}

struct asked {
	struct asleep_match      match;
	struct head              head;
	struct snapshot_question q;
};

static void ask(struct asked *a, const char *method, const char *target, const char *body)
{
	asleep_find(str_of(method), str_of(target), &a->match);
	a->head = (struct head){ .method = head_method(str_of(method)),
		                 .body = body[0] == '\0' ? BODY_NONE : BODY_LENGTH,
		                 .content_length = strlen(body) };
	a->q = (struct snapshot_question){ .match = &a->match,
		                           .server_name = STRL("example.org"),
		                           .origin = STRL("asker.test"),
		                           .target = str_of(target),
		                           .body = str_of(body) };
}

static void take(const char *method, const char *target, const char *question, const char *said,
                 const char *body)
{
	struct asked          a;
	struct answers_taking t;
	struct field          fields[] = {
			 { FIELD_CONTENT_TYPE, STRL("Content-Type"), STRL("application/json") },
			 { FIELD_CACHE_CONTROL, STRL("Cache-Control"), str_of(said) },
	};
	struct head h = { .status = 200,
		          .body = BODY_LENGTH,
		          .content_length = strlen(body),
		          .fields = fields,
		          .field_count = said[0] == '\0' ? 1 : 2 };

	ask(&a, method, target, question);
	answers_taking_init(&t);
	answers_expect(&t, answers);
	answers_take(&t, answers, &a.q, &a.head, &h);
	answers_take_more(&t, str_of(body));
	answers_taken(&t, true);
}

static void take_get(const char *target, const char *said, const char *body)
{
	take("GET", target, "", said, body);
}

/* The body of what is given; "-": nothing is. */
static const char *text_of(struct shelf_item *i)
{
	static char text[2048];
	char       *body;

	if (i == NULL)
		return "-";
	assert_true(shelf_copy_body(i, &body));
	snprintf(text, sizeof(text), "%.*s", (int)i->body_len, body);
	free(body);
	shelf_drop(i);
	return text;
}

static const char *fresh(const char *target)
{
	struct asked a;

	ask(&a, "GET", target, "");
	return text_of(answers_fresh(answers, &a.q, &a.head));
}

static const char *post_asleep(const char *target, const char *body, bool exact)
{
	struct asked a;

	ask(&a, body[0] == '\0' ? "GET" : "POST", target, body);
	return text_of(answers_asleep(answers, &a.q, &a.head, exact));
}

static const char *asleep(const char *target)
{
	return post_asleep(target, "", false);
}

static void are_fresh_for_a_while(void **state)
{
	(void)state;
	take_get(VERSION, "max-age=60", "{\"v\":1}");
	memory_loop_pass(loop, 59999);
	assert_string_equal(fresh(VERSION), "{\"v\":1}");
	memory_loop_pass(loop, 1);
	assert_string_equal(fresh(VERSION), "-");
	assert_string_equal(asleep(VERSION), "{\"v\":1}");
	take_get(VERSION, "", "{\"v\":2}");
	memory_loop_pass(loop, 3599999);
	assert_string_equal(fresh(VERSION), "{\"v\":2}");
	memory_loop_pass(loop, 1);
	assert_string_equal(fresh(VERSION), "-");
}

static void grow_old(void **state)
{
	(void)state;
	take_get(PROFILE, "no-store", "{}");
	take("GET", ROOMS, "", "", "{\"chunk\":[]}");
	take_get(VERSION, "", "{\"v\":1}");
	memory_loop_pass(loop, 600 * SECOND_MS);
	assert_string_equal(asleep(ROOMS), "{\"chunk\":[]}");
	memory_loop_pass(loop, 1);
	assert_string_equal(asleep(ROOMS), "-");
	memory_loop_pass(loop, DAY_MS - 600 * SECOND_MS - 1);
	assert_string_equal(asleep(PROFILE), "{}");
	memory_loop_pass(loop, 1);
	assert_string_equal(asleep(PROFILE), "-");
	memory_loop_pass(loop, 400 * (msec)DAY_MS);
	assert_string_equal(asleep(VERSION), "{\"v\":1}");
}

static void grow_old_across_a_restart(void **state)
{
	(void)state;
	take_get(PROFILE, "", "{}");
	take_get(VERSION, "", "{\"v\":1}");
	restart();
	assert_string_equal(fresh(VERSION), "-");
	assert_string_equal(asleep(PROFILE), "{}");
	memory_loop_pass(loop, DAY_MS - 1);
	assert_string_equal(asleep(PROFILE), "{}");
	memory_loop_pass(loop, 2);
	assert_string_equal(asleep(PROFILE), "-");
	assert_string_equal(asleep(VERSION), "{\"v\":1}");
}

/* A router without a clock of its own begins in the past. */
static void clocks_that_go_back(void **state)
{
	(void)state;
	take_get(PROFILE, "", "{}");
	take_get(VERSION, "", "{\"v\":1}");
	restart();
	memory_loop_set_unix(loop, START - 1000);
	assert_string_equal(asleep(PROFILE), "-");
	assert_string_equal(asleep(VERSION), "{\"v\":1}");
	memory_loop_set_unix(loop, START + 1000);
	assert_string_equal(asleep(PROFILE), "{}");
}

static void tell_their_age(void **state)
{
	struct asked       a;
	struct shelf_item *i;

	(void)state;
	take_get(VERSION, "", "{}");
	memory_loop_pass(loop, 2500);
	ask(&a, "GET", VERSION, "");
	i = answers_fresh(answers, &a.q, &a.head);
	assert_int_equal(answers_age_s(answers, i), 2);
	shelf_drop(i);
	restart();
	memory_loop_pass(loop, 500);
	i = answers_asleep(answers, &a.q, &a.head, false);
	assert_int_equal(answers_age_s(answers, i), 3);
	memory_loop_set_unix(loop, START - DAY_MS);
	assert_int_equal(answers_age_s(answers, i), INT32_MAX);
	shelf_drop(i);
}

static uint64_t saved(void)
{
	return metrics.counters[COUNT_answers_saved];
}

static void are_written_when_they_say_something_new(void **state)
{
	(void)state;
	take_get(PROFILE, "", "{}");
	take_get(PROFILE, "", "{}");
	assert_int_equal(saved(), 1);
	take_get(PROFILE, "", "{\"a\":1}");
	assert_int_equal(saved(), 2);
	/* or lest the one on the disk ends before its time */
	memory_loop_pass(loop, DAY_MS / 2);
	take_get(PROFILE, "", "{\"a\":1}");
	assert_int_equal(saved(), 2);
	memory_loop_pass(loop, 1);
	take_get(PROFILE, "", "{\"a\":1}");
	assert_int_equal(saved(), 3);
	take_get(VERSION, "", "{}");
	memory_loop_pass(loop, 100 * (msec)DAY_MS);
	take_get(VERSION, "", "{}");
	assert_int_equal(saved(), 4);
	restart();
	take_get(VERSION, "", "{}");
	assert_int_equal(saved(), 4);
}

static void writing_has_a_limit(void **state)
{
	char target[128];

	(void)state;
	for (unsigned n = 0; n < 2 * ANSWERS_SAVES_PER_HOUR; n++) {
		snprintf(target, sizeof(target), F1 "/query/profile?user_id=@u%u:example.org", n);
		take_get(target, "", "{}");
	}
	assert_int_equal(saved(), ANSWERS_SAVES_PER_HOUR);
	take_get(VERSION, "", "{}");
	assert_int_equal(saved(), ANSWERS_SAVES_PER_HOUR + 1);
	memory_loop_pass(loop, HOUR_MS);
	take_get(target, "", "{\"a\":1}");
	assert_int_equal(saved(), ANSWERS_SAVES_PER_HOUR + 2);
}

static void devices_are_exact_or_nothing(void **state)
{
	(void)state;
	take_get(DEVICES, "", "{\"d\":1}");
	take("POST", QUERY, "{\"device_keys\":{\"@a:example.org\":[],\"@b:example.org\":[]}}", "",
	     "{\"device_keys\":{\"@a:example.org\":{\"A\":{}},\"@b:example.org\":{}}}");
	assert_int_equal(metrics.counters[COUNT_answers_taken], 3);
	assert_string_equal(post_asleep(DEVICES, "", false), "-");
	assert_string_equal(post_asleep(DEVICES, "", true), "{\"d\":1}");
	assert_string_equal(post_asleep(QUERY, "{\"device_keys\":{\"@a:example.org\":[]}}", false),
	                    "-");
	assert_string_equal(post_asleep(QUERY, "{\"device_keys\":{\"@a:example.org\":[]}}", true),
	                    "{\"device_keys\":{\"@a:example.org\":{\"A\":{}}},\"master_keys\":{},"
	                    "\"self_signing_keys\":{}}");
	assert_string_equal(
		post_asleep(QUERY,
	                    "{\"device_keys\":{\"@a:example.org\":[],\"@c:example.org\":[]}}",
	                    true),
		"-");
	assert_int_equal(saved(), 0);
	answers_changed(answers, STRL("@a:example.org"));
	assert_string_equal(post_asleep(DEVICES, "", true), "-");
	assert_string_equal(post_asleep(QUERY, "{\"device_keys\":{\"@a:example.org\":[]}}", true),
	                    "-");
	assert_string_not_equal(
		post_asleep(QUERY, "{\"device_keys\":{\"@b:example.org\":[]}}", true), "-");
	answers_changed(answers, STRL(""));
	assert_string_equal(post_asleep(QUERY, "{\"device_keys\":{\"@b:example.org\":[]}}", true),
	                    "-");
	assert_int_equal(metrics.counters[COUNT_answers_invalidated], 3);
}

static void some_devices_are_not_all(void **state)
{
	(void)state;
	take("POST", QUERY, "{\"device_keys\":{\"@a:example.org\":[\"A\"]}}", "",
	     "{\"device_keys\":{\"@a:example.org\":{\"A\":{}}}}");
	assert_string_equal(
		post_asleep(QUERY, "{\"device_keys\":{\"@a:example.org\":[\"A\"]}}", true), "-");
	take("POST", QUERY, "{\"device_keys\":{\"@a:example.org\":[]}}", "",
	     "{\"device_keys\":{}}");
	assert_string_equal(post_asleep(QUERY, "{\"device_keys\":{\"@a:example.org\":[]}}", true),
	                    "-");
	take("POST", QUERY, "{\"device_keys\":{\"@a:example.com\":[]}}", "",
	     "{\"device_keys\":{\"@a:example.com\":{}}}");
	assert_int_equal(metrics.counters[COUNT_answers_taken], 0);
}

static void a_cut_answer_is_none(void **state)
{
	struct asked          a;
	struct answers_taking t;
	struct head           h = { .status = 200, .body = BODY_CHUNKED };

	(void)state;
	ask(&a, "GET", VERSION, "");
	answers_taking_init(&t);
	answers_taken(&t, true);
	answers_take(&t, answers, &a.q, &a.head, &h);
	answers_take_more(&t, STRL("{"));
	answers_taken(&t, false);
	answers_taken(&t, true);
	assert_string_equal(asleep(VERSION), "-");
	assert_int_equal(metrics.gauges[GAUGE_answers_bytes].used, 0);
}

static void media_need_two_parts(void **state)
{
	(void)state;
	take_get(MEDIA, "", "{}");
	assert_string_equal(asleep(MEDIA), "-");
	assert_int_equal(metrics.gauges[GAUGE_answers_bytes].used, 0);
}

static void keys_must_be_signed(void **state)
{
	(void)state;
	take_get("/_matrix/key/v2/server", "",
	         "{\"server_name\":\"example.org\",\"valid_until_ts\":1,\"verify_keys\":{}}");
	assert_string_equal(asleep("/_matrix/key/v2/server"), "-");
}

static void no_cache_no_restart(void **state)
{
	struct answers *lone;
	struct asked    a;

	(void)state;
	assert_int_equal(answers_new(loop, NULL, 65536, &lone), ERR_OK);
	ask(&a, "GET", VERSION, "");
	assert_null(answers_asleep(lone, &a.q, &a.head, true));
	answers_free(lone);
}

/* What another version wrote, or nobody, is unknown. */
static void records_of_others(void **state)
{
	static const struct str bad[] = { STR(""), STR("\x01"),
		                          STR("\x02\0\0\0\0\0\0\0\1\0\0\0\0\0\0{}"),
		                          STR("\x01\0\0\0\0\0\0\0\1\0\0\0\0\xff\xff{}") };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(
			cache_put(cache, STRL("answer/version\nexample.org"), bad[i], START * 2),
			ERR_OK);
		assert_string_equal(asleep(VERSION), "-");
	}
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		TEST(are_fresh_for_a_while),
		TEST(grow_old),
		TEST(grow_old_across_a_restart),
		TEST(clocks_that_go_back),
		TEST(tell_their_age),
		TEST(are_written_when_they_say_something_new),
		TEST(writing_has_a_limit),
		TEST(devices_are_exact_or_nothing),
		TEST(some_devices_are_not_all),
		TEST(a_cut_answer_is_none),
		TEST(media_need_two_parts),
		TEST(keys_must_be_signed),
		TEST(no_cache_no_restart),
		TEST(records_of_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
