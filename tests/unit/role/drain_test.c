#include "unit/loop/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "codec/matrix/signing.h"
#include "role/drain.h"

/* Source: what Synapse, Dendrite and the Conduit family answer to a transaction, see drain.h. */
static const struct row {
	struct drain_try   t;
	enum queue_verdict want;
} rows[] = {
	{ { 200, 0, 0, 0, false }, QUEUE_DELIVERED },
	{ { 204, 50, 30 * DAY_MS, 0, false }, QUEUE_DELIVERED },
	/* trouble of its own: again */
	{ { 0, 0, 0, 0, false }, QUEUE_RETRY },
	{ { 0, 1000, 30 * DAY_MS, 0, true }, QUEUE_RETRY },
	{ { 408, 1000, 30 * DAY_MS, 0, true }, QUEUE_RETRY },
	{ { 429, 1000, 30 * DAY_MS, 0, true }, QUEUE_RETRY },
	/* 5xx, often and for long, while it takes others: aside */
	{ { 500, 0, 0, 0, true }, QUEUE_RETRY },
	{ { 500, 8, 30 * DAY_MS, 0, true }, QUEUE_RETRY },
	{ { 500, 9, HOUR_MS - 1, 0, true }, QUEUE_RETRY },
	{ { 500, 9, HOUR_MS, 0, true }, QUEUE_PARK },
	{ { 503, 9, HOUR_MS, 0, true }, QUEUE_PARK },
	/* it takes nothing at all: its database is away, say */
	{ { 500, 1000, DAY_MS - 1, 0, false }, QUEUE_RETRY },
	{ { 500, 1000, DAY_MS, 0, false }, QUEUE_PARK },
	/* it hangs up on this one, again and again */
	{ { 0, 4, 0, 4, true }, QUEUE_RETRY },
	{ { 0, 4, 0, 5, true }, QUEUE_PARK },
	{ { 0, 1000, DAY_MS - 1, 1000, false }, QUEUE_RETRY },
	{ { 0, 1000, DAY_MS, 1000, false }, QUEUE_PARK },
	/* the origin's keys may come back */
	{ { 401, 0, 0, 0, true }, QUEUE_RETRY },
	{ { 401, 1000, 6 * HOUR_MS - 1, 0, true }, QUEUE_RETRY },
	{ { 401, 0, 6 * HOUR_MS, 0, true }, QUEUE_PARK },
	{ { 401, 1000, DAY_MS - 1, 0, false }, QUEUE_RETRY },
	{ { 401, 1000, DAY_MS, 0, false }, QUEUE_PARK },
	/* refused */
	{ { 400, 0, 0, 0, false }, QUEUE_PARK },
	{ { 403, 0, 0, 0, false }, QUEUE_PARK },
	{ { 404, 0, 0, 0, false }, QUEUE_PARK },
	{ { 413, 0, 0, 0, false }, QUEUE_PARK },
	{ { 302, 0, 0, 0, false }, QUEUE_PARK },
};

static void test_verdict(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row  *r = &rows[i];
		const char        *reason = NULL;
		enum queue_verdict got = drain_verdict(&r->t, &reason);

		if (got != r->want)
			print_error("row %zu: %d after %u tries\n", i, r->t.status,
			            (unsigned)r->t.tries);
		assert_int_equal(got, r->want);
		assert_non_null(reason);
		assert_int_equal(reason[0] == '\0', got == QUEUE_DELIVERED);
	}
}

/* ---- the wall clock: the linker puts this one in front of the loop's (tests/CMakeLists.txt) ---- */

msec __wrap_loop_unix_ms(const struct loop *l);

static msec wall_ms = 1800000000000u;

msec __wrap_loop_unix_ms(const struct loop *l)
{
	(void)l;
	return wall_ms;
}

/* ---- many lanes ---- */

/* A homeserver that says 401 to all but one origin. */
enum { LANES = 300, VISITORS_MAX = 16 };

static struct listener *listener;
static struct endpoint  home;
static struct stream   *visitors[VISITORS_MAX];
static struct stream   *waiting[VISITORS_MAX];       /* for company: */
static unsigned         waiting_count, together = 1; /* so many are answered at once */
static bool             is_good[VISITORS_MAX];       /* what each was sent latest */
static unsigned         visitor_count, refused, taken, emptied, late_after;
static struct upstream *upstream;
static struct queue    *queue;
static struct drain    *drain;
static struct lanes     lanes;
static struct str       body = STR("{}");
static char             dir[64];

static void on_visitor(void *arg)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
	static const char no[] = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\n{}";
	struct stream    *s = *(struct stream **)arg;
	struct str        got = s == NULL ? STRL("") : stream_peek(s);
	bool              good, whole;

	if (got.len < 4)
		return;
	if (str_starts(got, STRL("PUT ")))
		is_good[(struct stream **)arg - visitors] =
			str_starts(got, STRL("PUT /_matrix/federation/v1/send/good"));
	if (str_starts(got, STRL("PUT /_matrix/federation/v1/send/good-late ")))
		late_after = taken;
	good = is_good[(struct stream **)arg - visitors];
	whole = got.ptr[got.len - 1] == '}'; /* nowhere but at the end of a body */
	stream_consume(s, got.len);
	if (!whole)
		return;
	refused += !good;
	taken += good;
	waiting[waiting_count++] = s;
	if (waiting_count < together)
		return;
	while (waiting_count > 0)
		stream_write(waiting[--waiting_count], str_of(good ? ok : no));
}

static void on_accept(void *arg, struct stream *s, const struct address *peer)
{
	(void)arg;
	(void)peer;
	assert_true(visitor_count < VISITORS_MAX);
	visitors[visitor_count] = s;
	stream_own(s, on_visitor, &visitors[visitor_count++]);
}

static bool serves(void *arg, struct str name)
{
	(void)arg;
	return str_is(name, "example.org");
}

static void on_heard(void *arg, bool reached)
{
	(void)arg;
	assert_true(reached);
}

static void on_emptied(void *arg)
{
	(void)arg;
	emptied++;
}

static void on_put(void *arg, enum err e)
{
	(void)arg;
	assert_int_equal(e, ERR_OK);
}

static void keep(unsigned n, const char *transaction_id)
{
	char              origin[32], target[64];
	struct queue_put *put = NULL;
	struct queue_item item = { .server_name = STRL("example.org"),
		                   .transaction_id = str_of(transaction_id),
		                   .method = STRL("PUT"),
		                   .authorization = STRL("X-Matrix origin=x\n"),
		                   .at_unix_ms = 1800000000000u,
		                   .body = body };

	snprintf(origin, sizeof(origin), "server%u.test", n);
	snprintf(target, sizeof(target), "/_matrix/federation/v1/send/%s", transaction_id);
	item.origin = str_of(origin);
	item.target = str_of(target);
	signing_sha256(item.body, item.body_hash);
	assert_int_equal(queue_put_start(&put, queue, &item, false, on_put, NULL), ERR_OK);
	while (put != NULL)
		harness_run_for(1);
}

static void open_queue(void)
{
	struct queue_options o = { .loop = the_loop, .state_dir = dir, .allow_volatile = true };
	struct queue_fault   fault = { "", 0 };

	strcpy(dir, "/tmp/doorstep-drain-XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(queue_open(&o, &queue, &fault), ERR_OK);
}

static void open_home(void)
{
	static const struct limit_settings limits = { .response_head_max = 8192,
		                                      .homeserver_idle_ms = 30000,
		                                      .connect_ms = 3000 };
	struct homeserver_settings         settings = { .section = "nas",
		                                        .url = "http://127.0.0.1",
		                                        .host = "127.0.0.1",
		                                        .connections_max = 4 };

	home.address = address_v4(127, 0, 0, 1, 0);
	assert_int_equal(listener_open(the_loop, &home, on_accept, NULL, &listener), ERR_OK);
	settings.endpoint = *listener_endpoint(listener);
	settings.port = settings.endpoint.address.port;
	assert_int_equal(upstream_new(the_loop, &settings, &limits, NULL, NULL, &upstream), ERR_OK);
}

static enum err open_drain(size_t in_hand_max)
{
	struct drain_options o = { .loop = the_loop,
		                   .queue = queue,
		                   .upstream = upstream,
		                   .lanes = &lanes,
		                   .parallel = 3,
		                   .in_hand_max = in_hand_max,
		                   .pace_ms = 0,
		                   .answer_ms = 10000,
		                   .serves = serves,
		                   .heard = on_heard,
		                   .emptied = on_emptied };

	return drain_new(&o, &drain);
}

static int setup(void **state)
{
	if (harness_setup(state) != 0)
		return 1;
	visitor_count = refused = taken = emptied = 0;
	lanes_init(&lanes);
	open_queue();
	open_home();
	return open_drain(0) == ERR_OK ? 0 : 1;
}

static int teardown(void **state)
{
	char command[96];

	drain_free(drain);
	listener_close(listener);
	for (unsigned i = 0; i < visitor_count; i++)
		stream_close(visitors[i]);
	upstream_drop(upstream);
	queue_close(queue);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
	return harness_teardown(state);
}

/* However many older ones fail, the youngest gets its turn, once each of them has had one. */
static void failing_lanes_hide_nobody(void **state)
{
	(void)state;
	for (unsigned i = 0; i < LANES; i++)
		keep(i, "bad");
	keep(LANES, "good");
	drain_open(drain);
	while (taken == 0 && refused < 8 * LANES)
		harness_run_for(5);
	assert_int_equal(taken, 1);
	assert_int_equal(emptied, 0);
}

/* What fails for long does not keep the homeserver from counting as awake. */
static void resting_lanes_are_not_waited_for(void **state)
{
	(void)state;
	keep(1, "bad");
	keep(2, "good");
	drain_open(drain);
	while (emptied == 0 && refused < 10)
		harness_run_for(5);
	assert_int_equal(taken, 1);
	assert_true(emptied > 0);
	assert_int_equal(refused, 4); /* 1, 2, 4 seconds are waited for */
	assert_true(queue_lane_waiting(queue, STRL("example.org"), STRL("server1.test")));
}

/* Far more than a stream takes at once; nobody calls when there is room again before anybody asked. */
static void large_body(void **state)
{
	static char large[700000];

	(void)state;
	memset(large, 'x', sizeof(large));
	large[sizeof(large) - 1] = '}';
	body = str_span(large, sizeof(large));
	keep(1, "good");
	body = STRL("{}");
	drain_open(drain);
	for (unsigned i = 0; emptied == 0 && i < 1000; i++)
		harness_run_for(5);
	assert_int_equal(taken, 1);
	assert_int_equal(emptied, 1);
}

/* One origin has sent many before another one sent one: that one does not wait for them all. */
static void lanes_take_turns(void **state)
{
	char name[16];

	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "good-%u", i);
		keep(1, name);
	}
	keep(2, "good-late");
	drain_open(drain);
	while (emptied == 0)
		harness_run_for(5);
	assert_int_equal(taken, 41);
	assert_in_range(late_after, 0, 3);
}

/* Of large ones as many are in memory as fit, or one. */
static void large_ones_go_alone(void **state)
{
	static const size_t cases[][2] = { { 100, 1 }, { 10000, 1 }, { 15000, 2 }, { 0, 3 } };
	static char         large[6000];
	char                name[32];

	(void)state;
	memset(large, ' ', sizeof(large));
	large[0] = '{';
	large[sizeof(large) - 1] = '}';
	body = str_span(large, sizeof(large));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		drain_free(drain);
		assert_int_equal(open_drain(cases[i][0]), ERR_OK);
		taken = emptied = 0;
		together = (unsigned)cases[i][1];
		for (unsigned n = 0; n < 6; n++) {
			snprintf(name, sizeof(name), "good-%u-%u", (unsigned)i, n);
			keep(n, name);
		}
		drain_open(drain);
		for (unsigned k = 0; emptied == 0 && k < 2000; k++)
			harness_run_for(5);
		assert_int_equal(taken, 6);
		assert_int_equal(visitor_count, cases[i][1]); /* kept connections are used again */
	}
	body = STRL("{}");
	together = 1;
}

/*
 * A router without a battery for its clock: NTP sets it three weeks on between two tries. The second 401 is no
 * reason to set the item aside, for the first one was seconds ago.
 */
static void clock_is_set_meanwhile(void **state)
{
	struct queue_info info;

	(void)state;
	keep(1, "bad");
	drain_open(drain);
	while (refused == 0)
		harness_run_for(5);
	wall_ms += 21 * DAY_MS;
	for (unsigned i = 0; refused < 3 && i < 2000; i++)
		harness_run_for(5);
	assert_int_equal(refused, 3);
	harness_run_for(5);
	assert_int_equal(queue_list(queue, 0, true, &info, 1), 0);
}

/* Tried for a week before a restart, and the clock is as it was: set aside at the first one now. */
static void earlier_tries_count(void **state)
{
	struct queue_info    info;
	struct queue_options o = { .loop = the_loop, .state_dir = dir, .allow_volatile = true };
	struct queue_fault   fault = { "", 0 };

	(void)state;
	keep(1, "bad");
	drain_open(drain);
	while (refused == 0)
		harness_run_for(5);
	harness_run_for(20);
	drain_free(drain);
	queue_close(queue);
	harness_run_for(1);
	wall_ms += 7 * DAY_MS;
	assert_int_equal(queue_open(&o, &queue, &fault), ERR_OK);
	assert_int_equal(open_drain(0), ERR_OK);
	drain_open(drain);
	for (unsigned i = 0; emptied == 0 && i < 200; i++)
		harness_run_for(5);
	assert_int_equal(queue_list(queue, 0, true, &info, 1), 1);
}

/* A reload under which the homeserver moved: whoever drains from then on has what was on its way. */
static void in_hand_waits_again(void **state)
{
	struct queue_info info;

	(void)state;
	together = 2; /* so the first one gets no answer */
	keep(1, "good");
	drain_open(drain);
	while (taken == 0)
		harness_run_for(5);
	drain_free(drain);
	drain = NULL;
	assert_int_equal(queue_list(queue, 0, false, &info, 1), 1);
	assert_int_equal(info.state, QUEUE_WAITING);
	assert_int_equal(info.tries, 0);
	waiting_count = 0;
	together = 1;
	assert_int_equal(open_drain(0), ERR_OK);
	drain_open(drain);
	for (unsigned i = 0; emptied == 0 && i < 1000; i++)
		harness_run_for(5);
	assert_int_equal(taken, 2);
	assert_false(queue_lane_waiting(queue, STRL("example.org"), STRL("server1.test")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_verdict),
		cmocka_unit_test_setup_teardown(failing_lanes_hide_nobody, setup, teardown),
		cmocka_unit_test_setup_teardown(resting_lanes_are_not_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(lanes_take_turns, setup, teardown),
		cmocka_unit_test_setup_teardown(large_ones_go_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(large_body, setup, teardown),
		cmocka_unit_test_setup_teardown(in_hand_waits_again, setup, teardown),
		cmocka_unit_test_setup_teardown(clock_is_set_meanwhile, setup, teardown),
		cmocka_unit_test_setup_teardown(earlier_tries_count, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
