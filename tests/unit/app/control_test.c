#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/control.h"
#include "base/buf.h"
#include "base/metrics.h"
#include "codec/json/tree.h"
#include "loop/socket.h"
#include "role/status.h"
#include "unit/loop/harness.h"

static char dir[64], path[96];

static const struct homeserver_settings homeserver = { .section = "nas",
	                                               .url = "http://192.168.1.20:8008" };
static const struct domain_settings     domain = { .section = "home",
	                                           .server_name = "example.org",
	                                           .homeserver = &homeserver,
	                                           .expose = EXPOSE_FEDERATION | EXPOSE_CLIENT };
static struct settings                  settings = { .domains = &domain,
	                                             .domain_count = 1,
	                                             .limits = { .memory_class = 64 } };

static struct control       *control;
static struct control_reply *later; /* of the command "wait" */

static void run_status(void *arg, const struct tree_node *question, struct control_reply *r)
{
	const struct status_source source = { "1", (uint64_t)getpid(), 0, .settings = arg };
	struct buf                 out;

	(void)question;
	buf_init(&out, 1 << 20);
	assert_int_equal(status_write(&source, &out), ERR_OK);
	control_answer(r, buf_str(&out));
	buf_fini(&out);
}

/* Says what it was asked. */
static void run_echo(void *arg, const struct tree_node *question, struct control_reply *r)
{
	struct str    text;
	char          json[64];
	struct writer w = writer_over(json, sizeof(json));

	(void)arg;
	assert_int_equal(tree_text(tree_get(question, "text"), &text), ERR_OK);
	write_text(&w, "{\"text\":");
	write_json_string(&w, text);
	write_text(&w, "}");
	control_answer(r, writer_done(&w));
}

static void run_wait(void *arg, const struct tree_node *question, struct control_reply *r)
{
	(void)arg, (void)question;
	assert_null(later);
	later = r;
	loop_stop(the_loop);
}

static void run_refuse(void *arg, const struct tree_node *question, struct control_reply *r)
{
	(void)arg, (void)question;
	control_refuse(r, "I will \"not\"");
}

static const struct control_command commands[] = {
	{ "status", run_status }, { "echo", run_echo }, { "wait", run_wait },
	{ "refuse", run_refuse }, { NULL, NULL },
};

static enum err open_here(struct control **out)
{
	const struct control_options o = { the_loop, path, commands, &settings };

	return control_open(&o, out);
}

static int setup(void **state)
{
	strcpy(dir, "/tmp/control_test.XXXXXX"); /* short: the path of a socket has 107 bytes */
	if (harness_setup(state) != 0 || mkdtemp(dir) == NULL)
		return 1;
	snprintf(path, sizeof(path), "%s/control", dir);
	memset(&metrics, 0, sizeof(metrics));
	later = NULL;
	return open_here(&control) != ERR_OK;
}

static int teardown(void **state)
{
	control_close(control);
	(void)harness_teardown(state);
	(void)unlink(path);
	return rmdir(dir);
}

/* A client that sends one text and keeps what comes back. */
struct client {
	struct dial   *dial;
	struct stream *stream;
	const char    *say;
	struct buf     heard;
	size_t         stop_at; /* lines */
	bool           connected, ended;
};

static size_t lines(const struct buf *b)
{
	size_t n = 0;

	for (size_t i = 0; i < buf_len(b); i++)
		n += buf_str(b).ptr[i] == '\n';
	return n;
}

static void client_look(void *arg)
{
	struct client *cl = arg;
	struct str     s;

	while ((s = stream_peek(cl->stream)).len > 0) {
		assert_int_equal(buf_add(&cl->heard, s), ERR_OK);
		stream_consume(cl->stream, s.len);
	}
	cl->ended = stream_ended(cl->stream) != ERR_OK;
	if (cl->ended || lines(&cl->heard) >= cl->stop_at)
		loop_stop(the_loop);
}

static void on_dialled(void *arg, enum err e, struct stream *s, const struct endpoint *reached)
{
	struct client *cl = arg;

	(void)reached;
	assert_int_equal(e, ERR_OK);
	cl->stream = s;
	cl->connected = true;
	stream_own(s, client_look, cl);
	if (cl->say[0] != '\0')
		assert_int_equal(stream_write(s, str_of(cl->say)), ERR_OK);
	else
		loop_stop(the_loop);
}

/* Until that many lines are heard or the other side ends. */
static void client_run(struct client *cl, const char *say, size_t stop_at)
{
	struct endpoint at = { .path = "" };

	*cl = (struct client){ .say = say, .stop_at = stop_at };
	buf_init(&cl->heard, 1 << 20);
	assert_true(str_copy(str_of(path), at.path, sizeof(at.path)));
	assert_int_equal(dial_start(&cl->dial, the_loop, &at, 1, 5000, on_dialled, cl), ERR_OK);
	harness_run();
}

static void client_end(struct client *cl)
{
	stream_close(cl->stream);
	buf_fini(&cl->heard);
}

static void tells_the_status(void **state)
{
	struct client           cl;
	struct tree            *t;
	const struct tree_node *root, *n;
	struct str              got;
	int64_t                 number = 0;

	(void)state;
	metrics.counters[COUNT_inbound_requests] = 7;
	metrics.causes[CAUSE_inbound_failures][ERR_TIMEOUT] = 2;
	metrics.gauges[GAUGE_inbound_connections_open].used = 1;
	metrics.gauges[GAUGE_inbound_connections_open].limit = 64;
	metrics.gauges[GAUGE_inbound_connections_open].peak = 3;
	client_run(&cl, "{\"v\":1,\"command\":\"status\"}\n", 1);
	assert_int_equal(tree_read(str_head(buf_str(&cl.heard), buf_len(&cl.heard) - 1), &t),
	                 ERR_OK);
	root = tree_root(t);
	assert_int_equal(tree_integer(tree_get(root, "v"), &number), ERR_OK);
	assert_int_equal(number, 1);
	assert_int_equal(tree_integer(tree_get(root, "pid"), &number), ERR_OK);
	assert_int_equal(number, getpid());
	assert_int_equal(tree_integer(tree_get(root, "memory_class"), &number), ERR_OK);
	assert_int_equal(number, 64);
	assert_int_equal(
		tree_integer(tree_get(tree_get(root, "counters"), "inbound_requests"), &number),
		ERR_OK);
	assert_int_equal(number, 7);
	n = tree_get(tree_get(root, "causes"), "inbound_failures");
	assert_int_equal(tree_integer(tree_get(n, "timed-out"), &number), ERR_OK);
	assert_int_equal(number, 2);
	assert_null(tree_get(n, "refused"));
	n = tree_get(tree_get(root, "gauges"), "inbound_connections_open");
	assert_int_equal(tree_integer(tree_get(n, "used"), &number), ERR_OK);
	assert_int_equal(number, 1);
	assert_int_equal(tree_integer(tree_get(n, "limit"), &number), ERR_OK);
	assert_int_equal(number, 64);
	assert_int_equal(tree_integer(tree_get(n, "peak"), &number), ERR_OK);
	assert_int_equal(number, 3);
	n = tree_first(tree_get(root, "domains"));
	assert_int_equal(tree_text(tree_get(n, "server_name"), &got), ERR_OK);
	assert_true(str_is(got, "example.org"));
	assert_int_equal(tree_text(tree_next(tree_first(tree_get(n, "expose"))), &got), ERR_OK);
	assert_true(str_is(got, "client"));
	tree_free(t);
	client_end(&cl);
}

static void answers_line_by_line(void **state)
{
	struct client cl;

	(void)state;
	client_run(&cl,
	           "{\"v\":1,\"command\":\"status\"}\n{\"v\":1,\"command\":\"status\"}\n"
	           "{ \"command\" : \"status\", \"more\": [1], \"v\": 1 }\r\n",
	           3);
	assert_int_equal(lines(&cl.heard), 3);
	assert_false(cl.ended);
	client_end(&cl);
}

static const struct {
	const char *say, *error;
} mistakes[] = {
	{ "hello\n", "not one JSON object" },
	{ "\n", "not one JSON object" },
	{ "{\"v\":1,\"v\":1,\"command\":\"status\"}\n", "not one JSON object" },
	{ "[]\n", "v must be 1" },
	{ "{\"command\":\"status\"}\n", "v must be 1" },
	{ "{\"v\":2,\"command\":\"status\"}\n", "v must be 1" },
	{ "{\"v\":\"1\",\"command\":\"status\"}\n", "v must be 1" },
	{ "{\"v\":1}\n", "no command" },
	{ "{\"v\":1,\"command\":7}\n", "no command" },
	{ "{\"v\":1,\"command\":\"stat\"}\n", "unknown command" },
	{ "{\"v\":1,\"command\":\"\"}\n", "unknown command" },
	{ "{\"v\":1,\"command\":\"refuse\"}\n", "I will \\\"not\\\"" },
	{ "{\"v\":1,\"command\":\"stat\"}\n{\"v\":1,\"command\":\"status\"}\n", "unknown command" },
};

/* One line of error, then the end, whatever follows. */
static void mistakes_end_the_conversation(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		struct client cl;
		char          want[128];

		print_message("  %s", mistakes[i].say);
		snprintf(want, sizeof(want), "{\"v\":1,\"error\":\"%s\"}\n", mistakes[i].error);
		client_run(&cl, mistakes[i].say, 9);
		assert_true(cl.ended);
		assert_true(str_is(buf_str(&cl.heard), want));
		client_end(&cl);
	}
}

static void lines_are_bounded(void **state)
{
	char          say[CONTROL_LINE_MAX + 3];
	struct client cl;

	(void)state;
	memset(say, ' ', sizeof(say));
	memcpy(say, "{\"v\":1,\"command\":\"status\"}", 26);
	say[CONTROL_LINE_MAX] = '\n';
	say[CONTROL_LINE_MAX + 1] = '\0';
	client_run(&cl, say, 1);
	assert_false(cl.ended);
	client_end(&cl);
	say[CONTROL_LINE_MAX] = ' '; /* one more, and no newline ever */
	say[CONTROL_LINE_MAX + 1] = ' ';
	say[CONTROL_LINE_MAX + 2] = '\0';
	client_run(&cl, say, 9);
	assert_true(cl.ended);
	assert_true(str_is(buf_str(&cl.heard), "{\"v\":1,\"error\":\"line too long\"}\n"));
	client_end(&cl);
}

/* The ninth waits in the kernel until one of the eight goes. */
static void clients_are_bounded(void **state)
{
	struct client idle[CONTROL_CLIENTS_MAX],
		late = { .say = "{\"v\":1,\"command\":\"status\"}\n", .stop_at = 1 };
	struct endpoint at = { .path = "" };

	(void)state;
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		client_run(&idle[i], "", 1);
	harness_run_for(50);
	buf_init(&late.heard, 1 << 20);
	assert_true(str_copy(str_of(path), at.path, sizeof(at.path)));
	assert_int_equal(dial_start(&late.dial, the_loop, &at, 1, 5000, on_dialled, &late), ERR_OK);
	harness_run_for(200);
	assert_true(late.connected);
	assert_int_equal(buf_len(&late.heard), 0);
	client_end(&idle[3]);
	harness_run();
	assert_int_equal(lines(&late.heard), 1);
	client_end(&late);
	for (size_t i = 0; i < CONTROL_CLIENTS_MAX; i++)
		if (i != 3)
			client_end(&idle[i]);
}

/* The second question is read when the first is answered. */
static void answers_may_come_later(void **state)
{
	struct client cl;

	(void)state;
	client_run(&cl,
	           "{\"v\":1,\"command\":\"wait\"}\n"
	           "{\"v\":1,\"command\":\"echo\",\"text\":\"second\"}\n",
	           2);
	harness_run_for(50);
	assert_non_null(later);
	assert_int_equal(buf_len(&cl.heard), 0);
	control_answer(later, STRL("{\"first\":1}"));
	harness_run();
	assert_true(str_is(buf_str(&cl.heard), "{\"first\":1}\n{\"text\":\"second\"}\n"));
	client_end(&cl);
}

static void a_late_refusal_ends_the_conversation(void **state)
{
	struct client cl;

	(void)state;
	client_run(&cl,
	           "{\"v\":1,\"command\":\"wait\"}\n"
	           "{\"v\":1,\"command\":\"echo\",\"text\":\"second\"}\n",
	           9);
	control_refuse(later, "no");
	harness_run();
	assert_true(cl.ended);
	assert_true(str_is(buf_str(&cl.heard), "{\"v\":1,\"error\":\"no\"}\n"));
	client_end(&cl);
}

/* Who asked is gone, or the socket is. */
static void answers_to_nobody(void **state)
{
	struct client cl;

	(void)state;
	client_run(&cl, "{\"v\":1,\"command\":\"wait\"}\n", 1);
	client_end(&cl);
	harness_run_for(50);
	control_answer(later, STRL("{}"));
	later = NULL;
	client_run(&cl, "{\"v\":1,\"command\":\"wait\"}\n", 1);
	control_close(control);
	control = NULL;
	control_refuse(later, "doorstep ends");
	harness_run(); /* until the client sees the end */
	assert_true(cl.ended);
	assert_int_equal(buf_len(&cl.heard), 0);
	client_end(&cl);
}

static void the_socket_is_for_the_group(void **state)
{
	struct stat st;

	(void)state;
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0660);
	assert_string_equal(control_path(control), path);
}

static void closes_with_clients(void **state)
{
	struct client cl;

	(void)state;
	client_run(&cl, "", 1);
	harness_run_for(20);
	control_close(control);
	control = NULL;
	harness_run(); /* until the client sees the end */
	assert_true(cl.ended);
	client_end(&cl);
}

static void a_taken_path_is_refused(void **state)
{
	struct control *second = NULL;

	(void)state;
	assert_int_equal(open_here(&second), ERR_EXISTS);
	assert_null(second);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tells_the_status),
		TEST(answers_line_by_line),
		TEST(mistakes_end_the_conversation),
		TEST(lines_are_bounded),
		TEST(clients_are_bounded),
		TEST(answers_may_come_later),
		TEST(a_late_refusal_ends_the_conversation),
		TEST(answers_to_nobody),
		TEST(the_socket_is_for_the_group),
		TEST(closes_with_clients),
		TEST(a_taken_path_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
