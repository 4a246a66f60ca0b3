#include "unit/loop/harness.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "loop/socket.h"

enum {
	BULK = 1 << 20,
	HUGE = 16 * BULK, /* more than the kernel takes */
};

static struct listener *listener;
static struct stream   *served; /* the latest connection */
static struct address   peer;
static size_t           accepted, wakes;
static int              client; /* the plain socket on the other side */

static uint8_t pattern(size_t at)
{
	return (uint8_t)(at * 31 + at / 251);
}

static void on_wake(void *arg)
{
	(void)arg;
	wakes++;
	loop_stop(the_loop);
}

static void on_accept(void *arg, struct stream *s, const struct address *from)
{
	(void)arg;
	if (served != NULL)
		stream_close(served);
	served = s;
	peer = *from;
	accepted++;
	stream_own(s, on_wake, NULL);
	loop_stop(the_loop);
}

static int client_connect(const struct endpoint *to)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(to->address.port) };
	int                fd = socket(AF_INET, SOCK_STREAM, 0), small = 64 * 1024;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	memcpy(&in.sin_addr, to->address.ip, 4);
	assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

static const struct endpoint loopback = { .address = { ADDRESS_V4, { 127, 0, 0, 1 }, 0 } };

static void listen_loopback(void)
{
	assert_int_equal(listener_open(the_loop, &loopback, on_accept, NULL, &listener), ERR_OK);
	assert_int_not_equal(listener_endpoint(listener)->address.port, 0);
}

static int setup(void **state)
{
	accepted = wakes = 0;
	served = NULL;
	if (harness_setup(state) != 0)
		return 1;
	listen_loopback();
	client = client_connect(listener_endpoint(listener));
	harness_run();
	return accepted != 1;
}

static int teardown(void **state)
{
	if (served != NULL)
		stream_close(served);
	if (client >= 0)
		close(client);
	if (listener != NULL)
		listener_close(listener);
	return harness_teardown(state);
}

static void run_until_end(void)
{
	while (stream_ended(served) == ERR_OK)
		harness_run();
}

static void set_blocking(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, on ? flags & ~O_NONBLOCK : flags | O_NONBLOCK);
}

/* Closes so that the peer gets a reset. */
static void client_reset(void)
{
	struct linger hard = { 1, 0 };

	setsockopt(client, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(client);
	client = -1;
}

static void gives_the_peers_address(void **state)
{
	(void)state;
	assert_int_equal(peer.family, ADDRESS_V4);
	assert_memory_equal(peer.ip, "\x7f\0\0\1", 4);
	assert_int_not_equal(peer.port, 0);
	assert_int_equal(stream_ended(served), ERR_OK);
	assert_int_equal(stream_room(served), STREAM_TX_MAX);
	assert_int_equal(stream_peek(served).len, 0);
}

static void both_ways(void **state)
{
	char in[8];

	(void)state;
	assert_int_equal(send(client, "ping", 4, 0), 4);
	harness_run();
	assert_true(str_is(stream_peek(served), "ping"));
	stream_consume(served, 1);
	assert_true(str_is(stream_peek(served), "ing"));
	assert_int_equal(send(client, "!", 1, 0), 1);
	harness_run(); /* what was left and what came are one */
	assert_true(str_is(stream_peek(served), "ing!"));
	stream_consume(served, 4);
	assert_int_equal(stream_peek(served).len, 0);
	assert_int_equal(stream_write(served, STRL("pong")), ERR_OK);
	assert_int_equal(recv(client, in, sizeof(in), 0), 4);
	assert_memory_equal(in, "pong", 4);
}

/* Fills the way to the stream; returns how much went in. */
static size_t client_stuff(size_t at, size_t end)
{
	uint8_t block[4096];
	ssize_t n;

	while (at < end) {
		size_t len = end - at < sizeof(block) ? end - at : sizeof(block);

		for (size_t i = 0; i < len; i++)
			block[i] = pattern(at + i);
		n = send(client, block, len, MSG_DONTWAIT);
		if (n < 0)
			break;
		at += (size_t)n;
	}
	return at;
}

static void reading_stops_when_nobody_consumes(void **state)
{
	size_t     sent = client_stuff(0, BULK), got = 0, step = 1;
	struct str in;

	(void)state;
	while (stream_peek(served).len < STREAM_RX_MAX)
		harness_run();
	wakes = 0;
	harness_run_for(20);
	assert_int_equal(wakes, 0);
	assert_int_equal(stream_peek(served).len, STREAM_RX_MAX);
	while (got < BULK) {
		in = stream_peek(served);
		if (in.len == 0) {
			sent = client_stuff(sent, BULK);
			harness_run();
			continue;
		}
		in = str_head(in, step);
		for (size_t i = 0; i < in.len; i++)
			assert_int_equal((uint8_t)in.ptr[i], pattern(got + i));
		stream_consume(served, in.len);
		got += in.len;
		step = step * 7 % 20011 + 1;
		if (step % 3 == 0)
			harness_run_for(0);
	}
	assert_int_equal(sent, BULK);
	assert_int_equal(stream_ended(served), ERR_OK);
}

static void writing_is_bounded_by_room(void **state)
{
	char   block[8192];
	size_t sent = 0, got = 0;
	int    stalls = 0;

	(void)state;
	set_blocking(client, false);
	while (got < HUGE) {
		size_t  room = stream_room(served), want = sizeof(block);
		ssize_t n;

		assert_true(room <= STREAM_TX_MAX);
		if (room > 0 && sent < HUGE) {
			want = room < want ? room : want;
			for (size_t i = 0; i < want; i++)
				block[i] = (char)pattern(sent + i);
			assert_int_equal(stream_write(served, str_span(block, want)), ERR_OK);
			sent += want;
			continue;
		}
		stalls += room == 0;
		n = 0;
		while (room == 0 ? stream_room(served) == 0 : got < sent) {
			n = recv(client, block, sizeof(block), 0);
			if (n <= 0) {
				harness_run_for(1);
				continue;
			}
			for (ssize_t i = 0; i < n; i++)
				assert_int_equal((uint8_t)block[i], pattern(got + (size_t)i));
			got += (size_t)n;
			harness_run_for(0);
		}
	}
	assert_true(stalls > 0);
	assert_true(wakes > 0); /* told about room each time */
	assert_int_equal(got, sent);
}

static void a_message_may_exceed_the_room(void **state)
{
	char  *big = calloc(1, BULK);
	size_t got = 0;
	char   in[8192], last = 0;

	(void)state;
	for (int i = 0; i < HUGE / BULK; i++)
		assert_int_equal(stream_write(served, str_span(big, BULK)), ERR_OK);
	assert_int_equal(stream_room(served), 0);
	assert_int_equal(stream_write(served, STRL("end")), ERR_OK);
	assert_true(stream_unsent(served) > 0);
	stream_shutdown(served);
	assert_int_equal(stream_room(served), 0);
	wakes = 0;
	set_blocking(client, false);
	for (ssize_t n; (n = recv(client, in, sizeof(in), 0)) != 0;) {
		assert_true(wakes == 0 || stream_unsent(served) == 0);
		if (n > 0) {
			got += (size_t)n;
			last = in[n - 1];
		}
		harness_run_for(0);
	}
	assert_int_equal(got, HUGE + 3);
	assert_int_equal(wakes, 1); /* when the last of it had gone */
	assert_int_equal(stream_unsent(served), 0);
	assert_int_equal(last, 'd');
	free(big);
}

static void reset_ends_the_stream(void **state)
{
	(void)state;
	client_reset();
	run_until_end();
	assert_int_equal(stream_ended(served), ERR_RESET);
	assert_int_equal(stream_write(served, STRL("x")), ERR_RESET);
	assert_int_equal(wakes, 1);
}

/* libuv itself would call this the end of the file: a cut answer would look whole. */
static void a_reset_behind_the_last_bytes_is_no_end(void **state)
{
	(void)state;
	assert_int_equal(send(client, "half of i", 9, 0), 9);
	client_reset();
	run_until_end();
	assert_int_equal(stream_ended(served), ERR_RESET);
	assert_true(str_is(stream_peek(served), "half of i"));
}

static void an_answer_before_the_reset_is_read(void **state)
{
	(void)state;
	assert_int_equal(stream_write(served, STRL("unread")), ERR_OK);
	assert_int_equal(send(client, "early", 5, 0), 5);
	close(client); /* with unread input: a reset */
	client = -1;
	assert_int_equal(stream_write(served, STRL("late")), ERR_OK);
	assert_int_equal(stream_write(served, STRL("later")), ERR_OK);
	harness_run();
	assert_true(str_is(stream_peek(served), "early"));
	run_until_end();
	assert_int_equal(stream_ended(served), ERR_RESET);
	assert_true(str_is(stream_peek(served), "early"));
}

static void reset_is_told_while_reading_is_stopped(void **state)
{
	(void)state;
	client_stuff(0, BULK);
	while (stream_peek(served).len < STREAM_RX_MAX)
		harness_run();
	client_reset();
	for (int i = 0; i < 10 && stream_ended(served) == ERR_OK; i++) {
		stream_write(served, STRL("x"));
		harness_run_for(1);
	}
	assert_int_equal(stream_ended(served), ERR_RESET);
	assert_int_equal(stream_peek(served).len, STREAM_RX_MAX);
}

static void half_close_keeps_the_other_half(void **state)
{
	char in[8];

	(void)state;
	assert_int_equal(send(client, "bye", 3, 0), 3);
	shutdown(client, SHUT_WR);
	run_until_end();
	assert_int_equal(stream_ended(served), ERR_EOF);
	assert_true(str_is(stream_peek(served), "bye"));
	assert_int_equal(stream_write(served, STRL("still")), ERR_OK);
	assert_int_equal(recv(client, in, sizeof(in), 0), 5);
	stream_shutdown(served);
	stream_shutdown(served);
	assert_int_equal(recv(client, in, sizeof(in), 0), 0);
	assert_int_equal(stream_write(served, STRL("x")), ERR_EOF);
}

static void our_shutdown_leaves_reading(void **state)
{
	char in[8];

	(void)state;
	stream_shutdown(served);
	assert_int_equal(recv(client, in, sizeof(in), 0), 0);
	assert_int_equal(send(client, "more", 4, 0), 4);
	harness_run();
	assert_true(str_is(stream_peek(served), "more"));
}

static void on_wake_close(void *arg)
{
	(void)arg;
	stream_close(served);
	served = NULL;
	loop_stop(the_loop);
}

static void may_be_closed_inside_wake(void **state)
{
	(void)state;
	stream_own(served, on_wake_close, NULL);
	assert_int_equal(send(client, "x", 1, 0), 1);
	harness_run();
	assert_null(served);
}

static void close_drops_what_is_queued(void **state)
{
	char *big = calloc(1, HUGE);

	(void)state;
	assert_int_equal(stream_write(served, str_span(big, HUGE)), ERR_OK);
	assert_int_equal(stream_write(served, str_span(big, BULK)), ERR_OK);
	stream_close(served);
	served = NULL;
	free(big);
	harness_run_for(1);
}

static void paused_listener_leaves_connections_waiting(void **state)
{
	int fd;

	(void)state;
	listener_pause(listener);
	fd = client_connect(listener_endpoint(listener));
	harness_run_for(20);
	assert_int_equal(accepted, 1);
	stream_close(served);
	served = NULL;
	listener_resume(listener);
	harness_run();
	assert_int_equal(accepted, 2);
	close(fd);
}

static void survives_lack_of_descriptors(void **state)
{
	struct rlimit was, low;
	int           fd = client_connect(listener_endpoint(listener));
	int           probe = dup(fd);

	(void)state;
	close(probe);
	getrlimit(RLIMIT_NOFILE, &was);
	low = was;
	low.rlim_cur = (rlim_t)probe; /* the next descriptor is one too many */
	setrlimit(RLIMIT_NOFILE, &low);
	harness_run_for(20);
	setrlimit(RLIMIT_NOFILE, &was);
	assert_int_equal(accepted, 1);
	stream_close(served);
	served = NULL;
	harness_run();
	assert_int_equal(accepted, 2);
	close(fd);
}

static void on_accept_count(void *arg, struct stream *s, const struct address *from)
{
	(void)arg;
	(void)from;
	stream_close(s);
	accepted++;
	loop_stop(the_loop);
}

static void many_at_once(void **state)
{
	int fds[60];

	(void)state;
	listener_close(listener);
	assert_int_equal(listener_open(the_loop, &loopback, on_accept_count, NULL, &listener),
	                 ERR_OK);
	for (size_t i = 0; i < 60; i++)
		fds[i] = client_connect(listener_endpoint(listener));
	while (accepted < 61)
		harness_run();
	for (size_t i = 0; i < 60; i++)
		close(fds[i]);
}

static void on_accept_close(void *arg, struct stream *s, const struct address *from)
{
	(void)arg;
	(void)from;
	accepted++;
	stream_close(s);
	listener_close(listener);
	listener = NULL;
	loop_stop(the_loop);
}

static void listener_may_be_closed_inside_accept(void **state)
{
	int a, b;

	(void)state;
	listener_close(listener);
	assert_int_equal(listener_open(the_loop, &loopback, on_accept_close, NULL, &listener),
	                 ERR_OK);
	a = client_connect(listener_endpoint(listener));
	b = client_connect(listener_endpoint(listener));
	harness_run();
	assert_int_equal(accepted, 2);
	close(a);
	close(b);
}

static void address_in_use(void **state)
{
	struct listener *other = NULL;
	struct endpoint  far = { .address = { ADDRESS_V4, { 192, 0, 2, 1 }, 0 } };

	(void)state;
	assert_int_equal(
		listener_open(the_loop, listener_endpoint(listener), on_accept, NULL, &other),
		ERR_EXISTS);
	assert_int_equal(errno, EADDRINUSE);
	assert_int_equal(listener_open(the_loop, &far, on_accept, NULL, &other), ERR_UNREACHABLE);
	assert_int_equal(errno, EADDRNOTAVAIL);
	assert_null(other);
}

static void both_families_on_one_socket(void **state)
{
	struct endpoint  any = { .address = { ADDRESS_V6, { 0 }, 0 } };
	struct listener *both;
	struct endpoint  to = loopback;
	int              fd;

	(void)state;
	if (listener_open(the_loop, &any, on_accept, NULL, &both) != ERR_OK)
		skip(); /* no IPv6 here */
	to.address.port = listener_endpoint(both)->address.port;
	fd = client_connect(&to);
	stream_close(served);
	served = NULL;
	harness_run();
	assert_int_equal(accepted, 2);
	assert_int_equal(peer.family, ADDRESS_V4); /* not ::ffff:127.0.0.1 */
	assert_memory_equal(peer.ip, "\x7f\0\0\1", 4);
	close(fd);
	listener_close(both);
}

static void unix_sockets(void **state)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct endpoint    at = { .v6_only = false };
	struct listener   *one, *two = NULL;
	struct stat        st;
	int                fd, stale;

	(void)state;
	snprintf(at.path, sizeof(at.path), "socket_test.%d.sock", (int)getpid());
	strcpy(un.sun_path, at.path);
	stale = socket(AF_UNIX, SOCK_STREAM, 0); /* a file that nobody listens on */
	assert_int_equal(bind(stale, (struct sockaddr *)&un, sizeof(un)), 0);
	close(stale);
	assert_int_equal(listener_open(the_loop, &at, on_accept, NULL, &one), ERR_OK);
	assert_int_equal(stat(at.path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_int_equal(listener_open(the_loop, &at, on_accept, NULL, &two), ERR_EXISTS);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	while (accepted < 3)
		harness_run(); /* the second listener's attempt was seen, too */
	assert_int_equal(peer.family, 0);
	assert_int_equal(send(fd, "x", 1, 0), 1);
	harness_run();
	assert_true(str_is(stream_peek(served), "x"));
	close(fd);
	listener_close(one);
	assert_int_equal(stat(at.path, &st), -1);
}

static void a_plain_file_is_not_replaced(void **state)
{
	struct endpoint  at = { .v6_only = false };
	struct listener *one = NULL;
	FILE            *f;

	(void)state;
	snprintf(at.path, sizeof(at.path), "socket_test.%d.txt", (int)getpid());
	f = fopen(at.path, "w");
	assert_non_null(f);
	fclose(f);
	assert_int_equal(listener_open(the_loop, &at, on_accept, NULL, &one), ERR_EXISTS);
	assert_int_equal(unlink(at.path), 0);
}

static const struct {
	struct str  text;
	enum err    want;
	uint16_t    port;
	const char *path;
} endpoints[] = {
	{ STR("127.0.0.1:8009"), ERR_OK, 8009, "" },
	{ STR("[::1]:80"), ERR_OK, 80, "" },
	{ STR("unix:/run/x.sock"), ERR_OK, 0, "/run/x.sock" },
	{ STR("unix:"), ERR_SYNTAX, 0, NULL },
	{ STR("unix:relative"), ERR_SYNTAX, 0, NULL },
	{ STR("unix:/a\0b"), ERR_SYNTAX, 0, NULL },
	{ STR("unix:/2345678901234567890123456789012345678901234567890123456789012345678901234567890"
	      "12345678901234567890123456"),
	  ERR_OK, 0,
	  "/2345678901234567890123456789012345678901234567890123456789012345678901234567890"
	  "12345678901234567890123456" },
	{ STR("unix:/2345678901234567890123456789012345678901234567890123456789012345678901234567890"
	      "1234567890123456789012345678"),
	  ERR_SYNTAX, 0, NULL },
	{ STR("127.0.0.1"), ERR_SYNTAX, 0, NULL },
	{ STR("127.0.0.1:70000"), ERR_SYNTAX, 0, NULL },
	{ STR("localhost:80"), ERR_SYNTAX, 0, NULL },
	{ STR(""), ERR_SYNTAX, 0, NULL },
};

static void endpoints_parse(void **state)
{
	struct endpoint e;

	(void)state;
	for (size_t i = 0; i < sizeof(endpoints) / sizeof(endpoints[0]); i++) {
		print_message("  %.*s\n", (int)endpoints[i].text.len, endpoints[i].text.ptr);
		assert_int_equal(endpoint_parse(endpoints[i].text, &e), endpoints[i].want);
		if (endpoints[i].want != ERR_OK)
			continue;
		assert_int_equal(e.address.port, endpoints[i].port);
		assert_string_equal(e.path, endpoints[i].path);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(gives_the_peers_address),
		T(both_ways),
		T(reading_stops_when_nobody_consumes),
		T(writing_is_bounded_by_room),
		T(a_message_may_exceed_the_room),
		T(reset_ends_the_stream),
		T(a_reset_behind_the_last_bytes_is_no_end),
		T(an_answer_before_the_reset_is_read),
		T(reset_is_told_while_reading_is_stopped),
		T(half_close_keeps_the_other_half),
		T(our_shutdown_leaves_reading),
		T(may_be_closed_inside_wake),
		T(close_drops_what_is_queued),
		T(paused_listener_leaves_connections_waiting),
		T(survives_lack_of_descriptors),
		T(many_at_once),
		T(listener_may_be_closed_inside_accept),
		T(address_in_use),
		T(both_families_on_one_socket),
		T(unix_sockets),
		T(a_plain_file_is_not_replaced),
		cmocka_unit_test(endpoints_parse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
