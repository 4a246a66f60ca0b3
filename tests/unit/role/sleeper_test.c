#include "unit/loop/harness.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/metrics.h"
#include "role/sleeper.h"

/*
 * The homeserver is a listener of this process that goes away and comes back at the same port. It counts
 * who connects without a word and answers whoever says something.
 */
enum manner { ANSWERS, HANGS_UP, IS_A_GATEWAY };

struct visitor {
	struct stream *stream;
	bool           spoke;
};

enum { VISITORS_MAX = 64, WAITS_MAX = 8 };

static struct listener *listener;
static struct endpoint  home;
static enum manner      manner;
static struct visitor   visitors[VISITORS_MAX];
static unsigned         visitor_count, questions, silent;

static struct homeserver_settings settings;
static struct upstream           *upstream;
static struct sleeper            *sleeper;
static unsigned                   drains, changes;
static bool                       drain_at_once;
static enum awake_state           stop_at; /* the loop stops when this is told */
static bool                       stops;

static struct sleeper_wait *waits[WAITS_MAX];
static unsigned             wait_ends;
static size_t               wait_order[WAITS_MAX];
static enum err             wait_result[WAITS_MAX];

/* ---- the homeserver ---- */

static void visitor_answer(struct visitor *v)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
				 "Content-Length: 2\r\n\r\n{}";
	static const char gateway[] = "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n";
	struct str        got = stream_peek(v->stream);

	if (got.len < 4 || memcmp(got.ptr + got.len - 4, "\r\n\r\n", 4) != 0)
		return;
	assert_true(str_starts(got, STRL("GET /_matrix/federation/v1/version HTTP/1.1\r\n")));
	stream_consume(v->stream, got.len);
	v->spoke = true;
	questions++;
	if (manner == HANGS_UP) {
		stream_close(v->stream);
		v->stream = NULL;
		return;
	}
	stream_write(v->stream, str_of(manner == ANSWERS ? ok : gateway));
}

static void on_visitor(void *arg)
{
	struct visitor *v = arg;

	if (v->stream == NULL)
		return;
	visitor_answer(v);
	if (v->stream != NULL && stream_ended(v->stream) != ERR_OK) {
		silent += !v->spoke;
		stream_close(v->stream);
		v->stream = NULL;
	}
}

static void on_accept(void *arg, struct stream *s, const struct address *peer)
{
	struct visitor *v = &visitors[visitor_count++];

	(void)arg;
	(void)peer;
	assert_true(visitor_count < VISITORS_MAX);
	*v = (struct visitor){ .stream = s };
	stream_own(s, on_visitor, v);
}

static void home_leaves(void)
{
	listener_close(listener);
	listener = NULL;
	for (unsigned i = 0; i < visitor_count; i++)
		if (visitors[i].stream != NULL) {
			stream_close(visitors[i].stream);
			visitors[i].stream = NULL;
		}
}

static void home_comes(void)
{
	assert_int_equal(listener_open(the_loop, &home, on_accept, NULL, &listener), ERR_OK);
	home = *listener_endpoint(listener);
}

/* ---- the owner ---- */

static void on_drain(void *arg)
{
	assert_ptr_equal(arg, &sleeper);
	assert_int_equal(sleeper_state(sleeper), AWAKE_DRAINING);
	assert_true(sleeper_relays(sleeper));
	drains++;
	if (drain_at_once)
		sleeper_drained(sleeper);
}

static void on_changed(void *arg)
{
	assert_ptr_equal(arg, &sleeper);
	changes++;
	if (stops && sleeper_state(sleeper) == stop_at)
		loop_stop(the_loop);
}

static void until(enum awake_state s)
{
	if (sleeper_state(sleeper) == s)
		return;
	stops = true;
	stop_at = s;
	harness_run();
	stops = false;
	assert_int_equal(sleeper_state(sleeper), s);
}

static void on_waited(void *arg, enum err e)
{
	size_t i = (size_t)((struct sleeper_wait **)arg - waits);

	assert_null(waits[i]); /* cleared before */
	wait_result[i] = e;
	wait_order[wait_ends++] = i;
	loop_stop(the_loop);
}

static void hold(size_t i, enum awake_kind kind, msec ms)
{
	assert_int_equal(sleeper_wait_start(&waits[i], sleeper, kind, ms, on_waited, &waits[i]),
	                 ERR_OK);
	assert_non_null(waits[i]); /* never ended from inside */
}

static void make_upstream(void)
{
	static const struct limit_settings limits = { .response_head_max = 8192,
		                                      .homeserver_idle_ms = 30000,
		                                      .connect_ms = 3000 };

	settings = (struct homeserver_settings){
		.section = "nas",
		.url = "http://127.0.0.1",
		.host = "127.0.0.1",
		.endpoint = home,
		.port = home.address.port,
		.connections_max = 4,
		.wake_on = 1u << AWAKE_MESSAGE | 1u << AWAKE_KEYS,
		.probe_ms = 50,
		.sleep_grace_ms = 60000,
	};
	assert_int_equal(upstream_new(the_loop, &settings, &limits, NULL, NULL, &upstream), ERR_OK);
}

static void make_sleeper(void)
{
	struct sleeper_options o = { .loop = the_loop,
		                     .hs = &settings,
		                     .upstream = upstream,
		                     .drain = on_drain,
		                     .changed = on_changed,
		                     .arg = &sleeper };

	assert_int_equal(sleeper_new(&o, &sleeper), ERR_OK);
	assert_int_equal(changes, 0);
	assert_int_equal(sleeper_state(sleeper), AWAKE_SUSPECT);
	assert_false(sleeper_relays(sleeper));
}

static int setup(void **state)
{
	if (harness_setup(state) != 0)
		return 1;
	memset(&home, 0, sizeof(home));
	home.address = address_v4(127, 0, 0, 1, 0);
	manner = ANSWERS;
	visitor_count = questions = silent = drains = changes = wait_ends = 0;
	drain_at_once = true;
	home_comes();
	make_upstream();
	return 0;
}

static int teardown(void **state)
{
	for (size_t i = 0; i < WAITS_MAX; i++)
		sleeper_wait_cancel(&waits[i]);
	sleeper_free(sleeper);
	sleeper = NULL;
	upstream_drop(upstream);
	if (listener != NULL)
		home_leaves();
	assert_int_equal(metrics.gauges[GAUGE_held_requests_open].used, 0);
	return harness_teardown(state);
}

/* ---- tests ---- */

static void looks_and_asks_at_the_start(void **state)
{
	(void)state;
	settings.probe_ms = 60000; /* no second probe, however slow this machine */
	make_sleeper();
	until(AWAKE_AWAKE);
	assert_int_equal(drains, 1);
	assert_int_equal(questions, 1); /* after the port answered, not before */
	harness_run_for(20);
	assert_int_equal(silent, 1); /* the probe */
	assert_int_equal(visitor_count, 2);
	assert_true(sleeper_relays(sleeper));
}

static void probes_without_a_word(void **state)
{
	(void)state;
	make_sleeper();
	until(AWAKE_AWAKE);
	while (silent < 4)
		harness_run_for(20);
	assert_int_equal(questions, 1);
	assert_int_equal(sleeper_state(sleeper), AWAKE_AWAKE);
}

static void traffic_makes_probes_needless(void **state)
{
	(void)state;
	settings.probe_ms = 60000;
	make_sleeper();
	until(AWAKE_AWAKE);
	sleeper_succeeded(sleeper);
	harness_run_for(100);
	assert_int_equal(visitor_count, 2);
	assert_int_equal(drains, 1);
}

static void goes_away_and_comes_back(void **state)
{
	(void)state;
	settings.probe_ms = 500;
	make_sleeper();
	until(AWAKE_AWAKE);
	home_leaves();
	sleeper_failed(sleeper);
	assert_int_equal(sleeper_state(sleeper), AWAKE_SUSPECT);
	assert_false(sleeper_relays(sleeper));
	until(AWAKE_ASLEEP);
	assert_int_equal(drains, 1);
	harness_run_for(100);
	assert_int_equal(sleeper_state(sleeper), AWAKE_ASLEEP);
	home_comes();
	until(AWAKE_AWAKE);
	assert_int_equal(drains, 2);
	assert_int_equal(questions, 2);
}

static void not_drained_not_awake(void **state)
{
	(void)state;
	drain_at_once = false;
	make_sleeper();
	until(AWAKE_DRAINING);
	while (drains == 0)
		harness_run_for(5);
	harness_run_for(100);
	assert_int_equal(sleeper_state(sleeper), AWAKE_DRAINING);
	assert_true(sleeper_relays(sleeper));
	assert_int_equal(drains, 1); /* asked once */
	sleeper_drained(sleeper);
	assert_int_equal(sleeper_state(sleeper), AWAKE_AWAKE);
}

static void nothing_is_kept(void **state)
{
	struct sleeper_options o = { .loop = the_loop, .hs = &settings, .upstream = upstream };

	(void)state;
	assert_int_equal(sleeper_new(&o, &sleeper), ERR_OK);
	while (sleeper_state(sleeper) != AWAKE_AWAKE)
		harness_run_for(5);
}

static void a_port_is_no_homeserver(enum manner how)
{
	unsigned told;

	manner = how;
	make_sleeper();
	until(AWAKE_ASLEEP);
	assert_int_equal(drains, 0);
	assert_int_equal(questions, AWAKE_STRIKES);
	told = changes;
	while (questions < AWAKE_STRIKES + 5)
		harness_run_for(5);
	assert_int_equal(changes, told); /* nobody hears of each look */
	manner = ANSWERS;
	until(AWAKE_AWAKE);
	assert_int_equal(drains, 1);
	assert_true(changes > told);
}

static void a_port_that_hangs_up(void **state)
{
	(void)state;
	a_port_is_no_homeserver(HANGS_UP);
}

static void a_gateway(void **state)
{
	(void)state;
	a_port_is_no_homeserver(IS_A_GATEWAY);
}

static void says_that_it_sleeps(void **state)
{
	struct sleeper_status st;
	unsigned              before;

	(void)state;
	make_sleeper();
	until(AWAKE_AWAKE);
	harness_run_for(20);
	sleeper_sleeps(sleeper);
	assert_int_equal(sleeper_state(sleeper), AWAKE_ASLEEP);
	assert_true(sleeper_is_exact(sleeper));
	before = visitor_count;
	harness_run_for(300); /* six times the interval */
	assert_int_equal(visitor_count, before);
	sleeper_status(sleeper, &st);
	assert_string_equal(st.state, "asleep");
	assert_string_equal(st.why, "announced");
	assert_true(st.announced && st.next_ms == MS_NEVER && st.since_ms >= 300);
	assert_int_equal(http_pool_idle(upstream_pool(upstream)), 0);
	sleeper_wakes(sleeper);
	until(AWAKE_AWAKE);
	assert_false(sleeper_is_exact(sleeper));
}

static void sleeps_while_it_is_asked(void **state)
{
	(void)state;
	make_sleeper();
	until(AWAKE_DRAINING);
	sleeper_sleeps(sleeper); /* the question is on its way */
	harness_run_for(100);
	assert_int_equal(sleeper_state(sleeper), AWAKE_ASLEEP);
	assert_int_equal(drains, 0);
}

static void sends_something_itself(void **state)
{
	msec        wait;
	const char *why;

	(void)state;
	make_sleeper();
	until(AWAKE_AWAKE);
	assert_null(sleeper_must_stay(sleeper, &wait));
	sleeper_sent(sleeper, AWAKE_SENT_EVENT);
	why = sleeper_must_stay(sleeper, &wait);
	assert_string_equal(why, "sending");
	settings.probe_ms = 60000;
	sleeper_set(sleeper, &settings, upstream);
	home_leaves();
	sleeper_failed(sleeper);
	until(AWAKE_ASLEEP);
	home_comes();
	sleeper_sent(sleeper, AWAKE_SENT_OTHER); /* no need to wait for a probe */
	until(AWAKE_AWAKE);
}

/* Held requests go on, in their order, when it was heard of, not when the port opens. */
static void held_requests_go_on(void **state)
{
	(void)state;
	home_leaves();
	make_sleeper();
	hold(0, AWAKE_MESSAGE, 15000);
	hold(1, AWAKE_NO_WISH, 15000);
	hold(2, AWAKE_KEYS, 15000);
	assert_int_equal(metrics.gauges[GAUGE_held_requests_open].used, 3);
	until(AWAKE_WAKING); /* somebody wanted it */
	assert_int_equal(wait_ends, 0);
	home_comes();
	while (wait_ends < 3)
		harness_run();
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(wait_order[i], i);
		assert_int_equal(wait_result[i], ERR_OK);
	}
	assert_int_equal(questions, 1);
	assert_int_equal(metrics.gauges[GAUGE_held_requests_open].used, 0);
}

static void on_waited_last(void *arg, enum err e)
{
	(void)arg;
	assert_int_equal(e, ERR_OK);
	sleeper_free(sleeper);
	sleeper = NULL;
	loop_stop(the_loop);
}

/* After a reload nobody but a request may hold it. */
static void the_last_one_held_may_free_it(void **state)
{
	(void)state;
	home_leaves();
	make_sleeper();
	hold(0, AWAKE_MESSAGE, 15000);
	assert_int_equal(
		sleeper_wait_start(&waits[1], sleeper, AWAKE_KEYS, 15000, on_waited_last, NULL),
		ERR_OK);
	home_comes();
	while (sleeper != NULL)
		harness_run();
	assert_int_equal(wait_ends, 1);
}

static void held_when_it_is_there(void **state)
{
	(void)state;
	make_sleeper();
	until(AWAKE_AWAKE);
	hold(0, AWAKE_MESSAGE, 15000);
	harness_run();
	assert_int_equal(wait_result[0], ERR_OK);
}

static void held_too_long(void **state)
{
	struct sleeper_status st;

	(void)state;
	home_leaves();
	make_sleeper();
	until(AWAKE_ASLEEP);
	hold(0, AWAKE_KEYS, 50);
	assert_int_equal(sleeper_state(sleeper), AWAKE_WAKING);
	sleeper_status(sleeper, &st);
	assert_int_equal(st.held, 1);
	harness_run();
	assert_int_equal(wait_result[0], ERR_TIMEOUT);
	sleeper_status(sleeper, &st);
	assert_int_equal(st.held, 0);
}

static void held_and_cancelled(void **state)
{
	(void)state;
	home_leaves();
	make_sleeper();
	hold(0, AWAKE_KEYS, 50);
	hold(1, AWAKE_KEYS, 15000);
	sleeper_wait_cancel(&waits[0]);
	assert_null(waits[0]);
	sleeper_wait_cancel(&waits[0]);
	harness_run_for(100);
	assert_int_equal(wait_ends, 0);
	sleeper_wait_cancel(&waits[1]);
	home_comes();
	until(AWAKE_AWAKE);
	assert_int_equal(wait_ends, 0);
}

/* It cannot be woken and said that it sleeps: nobody needs to wait. */
static void no_hope(void **state)
{
	(void)state;
	make_sleeper();
	until(AWAKE_AWAKE);
	sleeper_sleeps(sleeper);
	assert_int_equal(
		sleeper_wait_start(&waits[0], sleeper, AWAKE_MESSAGE, 5000, on_waited, &waits[0]),
		ERR_UNREACHABLE);
	assert_null(waits[0]);
	assert_int_equal(
		sleeper_wait_start(&waits[0], sleeper, AWAKE_NO_WISH, 5000, on_waited, &waits[0]),
		ERR_UNREACHABLE);
	harness_run_for(20);
	assert_int_equal(wait_ends, 0);
}

/* Hope ends while somebody waits. */
static void hope_ends(void **state)
{
	(void)state;
	home_leaves();
	make_sleeper();
	hold(0, AWAKE_NO_WISH, 15000);
	hold(1, AWAKE_MESSAGE, 15000);
	sleeper_sleeps(sleeper);
	while (wait_ends < 2)
		harness_run();
	assert_int_equal(wait_result[0], ERR_UNREACHABLE);
	assert_int_equal(wait_result[1], ERR_UNREACHABLE);
}

/* ---- magic packets ---- */

static int hear(uint16_t *port)
{
	struct timeval     limit = { .tv_sec = 10 };
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t          len = sizeof(in);
	int                fd = socket(AF_INET, SOCK_DGRAM, 0);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	*port = ntohs(in.sin_port);
	return fd;
}

static bool heard(int fd)
{
	uint8_t got[200];
	ssize_t n = recv(fd, got, sizeof(got), MSG_DONTWAIT);

	assert_true(n == -1 || (n == WOL_PACKET_BYTES && got[101] == 0x55));
	return n > 0;
}

static void can_be_woken(int *fd)
{
	assert_int_equal(wol_mac_parse(STRL("00:11:22:33:44:55"), &settings.wake_mac), ERR_OK);
	settings.can_wake = true;
	settings.wake_address = address_v4(127, 0, 0, 1, 0);
	*fd = hear(&settings.wake_address.port);
}

static void sends_packets(void **state)
{
	struct sleeper_status st;
	int                   fd;

	(void)state;
	can_be_woken(&fd);
	home_leaves();
	make_sleeper();
	until(AWAKE_ASLEEP);
	sleeper_wish(sleeper, AWAKE_MEDIA); /* nothing to wake for */
	sleeper_wish(sleeper, AWAKE_NO_WISH);
	harness_run_for(50);
	assert_false(heard(fd));
	sleeper_wish(sleeper, AWAKE_MESSAGE);
	assert_true(heard(fd));
	assert_false(heard(fd));
	for (unsigned n = 1; n < AWAKE_PACKETS; n++)
		while (!heard(fd))
			harness_run_for(50);
	harness_run_for(1200);
	assert_false(heard(fd));
	sleeper_status(sleeper, &st);
	assert_int_equal(st.packets, AWAKE_PACKETS);
	assert_int_equal(st.packet_error, ERR_OK);
	assert_true(st.can_wake && st.probes > 1);
	home_comes();
	until(AWAKE_AWAKE);
	close(fd);
}

static void packets_end_when_it_comes(void **state)
{
	int fd;

	(void)state;
	can_be_woken(&fd);
	home_leaves();
	make_sleeper();
	until(AWAKE_ASLEEP);
	home_comes();
	sleeper_order(sleeper);
	assert_true(heard(fd));
	until(AWAKE_AWAKE);
	harness_run_for(1200);
	assert_false(heard(fd));
	close(fd);
}

static void packets_have_nowhere_to_go(void **state)
{
	struct sleeper_status st;
	int                   fd;

	(void)state;
	can_be_woken(&fd);
	close(fd);
	settings.wake_address = (struct address){ .port = 0 };
	settings.endpoint.address = address_v4(203, 0, 113, 9, 8008); /* behind another router */
	upstream_drop(upstream);
	home = settings.endpoint;
	make_upstream();
	settings.can_wake = true;
	make_sleeper();
	sleeper_order(sleeper);
	sleeper_sleeps(sleeper);
	sleeper_wakes(sleeper);
	sleeper_order(sleeper);
	sleeper_status(sleeper, &st);
	assert_int_equal(st.packets, 0);
	assert_int_equal(st.packet_error, ERR_UNREACHABLE);
}

/* ---- reload ---- */

static void moves_to_another_address(void **state)
{
	struct upstream *before = upstream;

	(void)state;
	make_sleeper();
	until(AWAKE_AWAKE);
	home_leaves();
	home.address.port = 0;
	home_comes(); /* at another port */
	make_upstream();
	sleeper_set(sleeper, &settings, upstream);
	upstream_drop(before);
	sleeper_failed(sleeper); /* of the old one */
	until(AWAKE_DRAINING);
	until(AWAKE_AWAKE);
	assert_int_equal(questions, 2);
}

static void moves_while_it_is_looked_for(void **state)
{
	struct upstream *before = upstream;

	(void)state;
	make_sleeper();
	home_leaves();
	home.address.port = 0;
	home_comes();
	make_upstream();
	sleeper_set(sleeper, &settings, upstream);
	upstream_drop(before);
	until(AWAKE_AWAKE);
	assert_int_equal(questions, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(looks_and_asks_at_the_start),
		T(probes_without_a_word),
		T(traffic_makes_probes_needless),
		T(goes_away_and_comes_back),
		T(not_drained_not_awake),
		T(nothing_is_kept),
		T(a_port_that_hangs_up),
		T(a_gateway),
		T(says_that_it_sleeps),
		T(sleeps_while_it_is_asked),
		T(sends_something_itself),
		T(held_requests_go_on),
		T(the_last_one_held_may_free_it),
		T(held_when_it_is_there),
		T(held_too_long),
		T(held_and_cancelled),
		T(no_hope),
		T(hope_ends),
		T(sends_packets),
		T(packets_end_when_it_comes),
		T(packets_have_nowhere_to_go),
		T(moves_to_another_address),
		T(moves_while_it_is_looked_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
