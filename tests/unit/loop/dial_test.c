#include "unit/loop/harness.h"

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/socket.h"

static struct dial    *dial;
static struct stream  *dialled, *served;
static struct endpoint reached;
static enum err        result;
static int             ends;

static struct listener *listener;
static struct endpoint  open_at, closed_at, silent_at;
static int              silent_fd, stuffing[8];
static size_t           stuffed;

static void on_accept(void *arg, struct stream *s, const struct address *peer)
{
	(void)arg;
	(void)peer;
	if (served != NULL)
		stream_close(served);
	served = s;
	stream_own(s, NULL, NULL);
}

static void on_done(void *arg, enum err e, struct stream *s, const struct endpoint *to)
{
	assert_ptr_equal(arg, &dial);
	assert_null(dial); /* cleared before */
	ends++;
	result = e;
	dialled = s;
	assert_int_equal(s != NULL, e == ERR_OK);
	if (to != NULL)
		reached = *to;
	loop_stop(the_loop);
}

static uint16_t bound_port(int fd)
{
	struct sockaddr_in in;
	socklen_t          len = sizeof(in);

	getsockname(fd, (struct sockaddr *)&in, &len);
	return ntohs(in.sin_port);
}

/* A port where connecting neither succeeds nor fails: its queue is full. */
static void make_silent(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET };

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	silent_fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(silent_fd, (struct sockaddr *)&in, sizeof(in)), 0);
	listen(silent_fd, 0);
	in.sin_port = htons(bound_port(silent_fd));
	for (stuffed = 0; stuffed < 4; stuffed++) {
		stuffing[stuffed] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		connect(stuffing[stuffed], (struct sockaddr *)&in, sizeof(in));
	}
	silent_at.address = address_v4(127, 0, 0, 1, ntohs(in.sin_port));
}

static int setup(void **state)
{
	struct endpoint    at = { .address = address_v4(127, 0, 0, 1, 0) };
	struct sockaddr_in in = { .sin_family = AF_INET };
	int                fd;

	if (harness_setup(state) != 0)
		return 1;
	dialled = served = NULL;
	ends = 0;
	memset(&reached, 0, sizeof(reached));
	if (listener_open(the_loop, &at, on_accept, NULL, &listener) != ERR_OK)
		return 1;
	open_at = *listener_endpoint(listener);
	fd = socket(AF_INET, SOCK_STREAM, 0); /* a port that was free a moment ago */
	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	bind(fd, (struct sockaddr *)&in, sizeof(in));
	closed_at.address = address_v4(127, 0, 0, 1, bound_port(fd));
	close(fd);
	make_silent();
	return 0;
}

static int teardown(void **state)
{
	if (dialled != NULL)
		stream_close(dialled);
	if (served != NULL)
		stream_close(served);
	listener_close(listener);
	close(silent_fd);
	while (stuffed > 0)
		close(stuffing[--stuffed]);
	return harness_teardown(state);
}

static void start(const struct endpoint *to, size_t count, msec deadline_ms)
{
	assert_int_equal(dial_start(&dial, the_loop, to, count, deadline_ms, on_done, &dial),
	                 ERR_OK);
	assert_non_null(dial);
	assert_int_equal(ends, 0); /* never from inside start */
}

static void succeeds(void **state)
{
	(void)state;
	start(&open_at, 1, 5000);
	harness_run();
	assert_int_equal(result, ERR_OK);
	assert_true(address_equal(&reached.address, &open_at.address));
	assert_int_equal(stream_room(dialled), STREAM_TX_MAX);
	stream_own(dialled, NULL, NULL);
	assert_int_equal(stream_write(dialled, STRL("hello")), ERR_OK);
	harness_run_for(5);
	assert_non_null(served);
	assert_true(str_is(stream_peek(served), "hello"));
	dial_cancel(&dial); /* late: no harm */
	assert_int_equal(ends, 1);
}

static void falls_back_after_refusal(void **state)
{
	struct endpoint to[3];

	(void)state;
	to[0] = to[1] = closed_at;
	to[2] = open_at;
	start(to, 3, 5000);
	harness_run();
	assert_int_equal(result, ERR_OK);
	assert_true(address_equal(&reached.address, &open_at.address));
}

static void falls_back_while_the_first_is_silent(void **state)
{
	struct endpoint to[2];

	(void)state;
	to[0] = silent_at;
	to[1] = open_at;
	start(to, 2, 5000);
	harness_run();
	assert_int_equal(result, ERR_OK);
	assert_true(address_equal(&reached.address, &open_at.address));
}

static void reports_refusal(void **state)
{
	struct endpoint to[2];

	(void)state;
	to[0] = to[1] = closed_at;
	start(to, 2, 5000);
	harness_run();
	assert_int_equal(result, ERR_REFUSED);
	assert_int_equal(ends, 1);
}

static void no_addresses(void **state)
{
	(void)state;
	start(&open_at, 0, 5000);
	harness_run();
	assert_int_equal(result, ERR_UNREACHABLE);
}

static void more_addresses_than_allowed(void **state)
{
	struct endpoint to[DIAL_ADDRESSES_MAX + 1];

	(void)state;
	for (size_t i = 0; i < DIAL_ADDRESSES_MAX; i++)
		to[i] = closed_at;
	to[DIAL_ADDRESSES_MAX] = open_at;
	start(to, DIAL_ADDRESSES_MAX + 1, 5000);
	harness_run();
	assert_int_equal(result, ERR_REFUSED);
}

static void deadline_ends_it(void **state)
{
	struct endpoint to[3];

	(void)state;
	to[0] = to[1] = to[2] = silent_at;
	start(to, 3, 400);
	harness_run();
	assert_int_equal(result, ERR_TIMEOUT);
	assert_int_equal(ends, 1);
}

static void cancel_before_the_first_step(void **state)
{
	(void)state;
	start(&open_at, 1, 5000);
	dial_cancel(&dial);
	assert_null(dial);
	dial_cancel(&dial);
	harness_run_for(10);
	assert_int_equal(ends, 0);
	assert_null(served);
}

static void cancel_while_connecting(void **state)
{
	struct endpoint to[2];

	(void)state;
	to[0] = to[1] = silent_at;
	start(to, 2, 5000);
	harness_run_for(300); /* both are under way */
	dial_cancel(&dial);
	harness_run_for(10);
	assert_int_equal(ends, 0);
}

static void cancel_when_the_answer_is_on_its_way(void **state)
{
	(void)state;
	start(&open_at, 1, 5000);
	harness_run_for(0); /* the attempt is begun, perhaps not yet reported */
	if (dial == NULL)
		return;
	dial_cancel(&dial);
	harness_run_for(10);
	assert_int_equal(ends, 0);
	assert_null(dialled);
}

static void unix_socket_paths(void **state)
{
	struct endpoint  at = { .path = "dial_test.sock" }, missing = { .path = "dial_test.none" };
	struct listener *li;

	(void)state;
	assert_int_equal(listener_open(the_loop, &at, on_accept, NULL, &li), ERR_OK);
	start(&at, 1, 5000);
	harness_run();
	assert_int_equal(result, ERR_OK);
	assert_string_equal(reached.path, at.path);
	listener_close(li);
	stream_close(dialled);
	dialled = NULL;
	ends = 0;
	start(&missing, 1, 5000);
	harness_run();
	assert_int_equal(result, ERR_REFUSED);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(succeeds),
		T(falls_back_after_refusal),
		T(falls_back_while_the_first_is_silent),
		T(reports_refusal),
		T(no_addresses),
		T(more_addresses_than_allowed),
		T(deadline_ends_it),
		T(cancel_before_the_first_step),
		T(cancel_while_connecting),
		T(cancel_when_the_answer_is_on_its_way),
		T(unix_socket_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
