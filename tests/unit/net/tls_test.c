/*
 * Both sides of net/tls against each other over loopback, with certificates of tls_fixture.sh.
 */
#include "unit/loop/harness.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "codec/aead.h"
#include "loop/socket.h"
#include "net/tls.h"
#include "net/tls_inside.h" /* to limit the version */

enum { CERTS_MAX = 4 };

/* One end of the connection under test. */
struct side {
	struct stream *lower; /* until the handshake is over, and for cutting it afterwards */
	struct tls_handshake *handshake;
	struct stream        *s;
	bool                  over;
	enum err              result;
	char                  detail[128];
	size_t                wakes;
};

static struct side        srv, cli;
static struct tls_server *server;
static struct tls_client *client;
static struct listener   *listener;
static struct dial       *dial;
static msec               deadline_ms;
static bool               serve_tls;
static const char        *ask_name, *ask_key;
static bool               ask_address;

/* --- fixture --- */

static const char *fixture(const char *name, const char *ending)
{
	static char paths[16][256];
	static int  next;

	next = (next + 1) % 16;
	snprintf(paths[next], sizeof(paths[0]), "tls_fixture/%s%s", name, ending);
	return paths[next];
}

static int make_certificates(void **state)
{
	(void)state;
	return system(TESTS_DIR "/unit/net/tls_fixture.sh tls_fixture");
}

static struct tls_server *load(const char *const *names, msec ticket_life_ms)
{
	const char             *certificates[CERTS_MAX], *keys[CERTS_MAX];
	struct tls_server_files f = { certificates, 0, keys, 0, ticket_life_ms };
	struct tls_server      *t = NULL;
	struct tls_fault        fault, warning;

	for (; names[f.key_count] != NULL; f.key_count++) {
		certificates[f.key_count] = fixture(names[f.key_count], ".pem");
		keys[CERTS_MAX - 1 - f.key_count] = fixture(names[f.key_count], ".key");
	}
	f.certificate_count = f.key_count;
	f.keys = keys + CERTS_MAX - f.key_count; /* in another order than the certificates */
	if (tls_server_load(the_loop, &f, &t, &fault, &warning) != ERR_OK)
		fail_msg("%s", fault.text);
	return t;
}

#define SERVER(...) (server = load((const char *const[]){ __VA_ARGS__, NULL }, 3600000))

static struct tls_client *trust(const char *ca)
{
	struct tls_fault   fault;
	struct tls_client *t = NULL;

	if (tls_client_load(the_loop, fixture(ca, ".pem"), 3, &t, &fault) != ERR_OK)
		fail_msg("%s", fault.text);
	return t;
}

static void on_accept(void *arg, struct stream *s, const struct address *peer);

static int setup(void **state)
{
	struct endpoint at = { .address = address_v4(127, 0, 0, 1, 0) };

	if (harness_setup(state) != 0)
		return 1;
	memset(&srv, 0, sizeof(srv));
	memset(&cli, 0, sizeof(cli));
	server = NULL;
	client = trust("ca");
	deadline_ms = 10000;
	serve_tls = true;
	ask_name = "a.example";
	ask_key = "";
	ask_address = false;
	return listener_open(the_loop, &at, on_accept, NULL, &listener) != ERR_OK;
}

static void hang_up(void)
{
	struct side *sides[] = { &srv, &cli };

	dial_cancel(&dial);
	for (size_t i = 0; i < 2; i++) {
		tls_handshake_cancel(&sides[i]->handshake);
		if (sides[i]->s != NULL)
			stream_close(sides[i]->s);
		else if (sides[i]->lower != NULL)
			stream_close(sides[i]->lower);
		memset(sides[i], 0, sizeof(*sides[i]));
	}
}

static int teardown(void **state)
{
	hang_up();
	tls_server_drop(server);
	tls_client_drop(client);
	listener_close(listener);
	return harness_teardown(state);
}

/* --- connecting --- */

static void on_wake(void *arg)
{
	((struct side *)arg)->wakes++;
	loop_stop(the_loop);
}

static void on_done(void *arg, enum err e, struct stream *secure, const char *detail)
{
	struct side *side = arg;

	assert_null(side->handshake);
	assert_false(side->over);
	side->over = true;
	side->result = e;
	side->s = secure;
	assert_int_equal(secure != NULL, e == ERR_OK);
	if (secure != NULL)
		stream_own(secure, on_wake, side);
	snprintf(side->detail, sizeof(side->detail), "%s", detail);
	loop_stop(the_loop);
}

static void on_accept(void *arg, struct stream *s, const struct address *peer)
{
	(void)arg;
	(void)peer;
	srv.lower = s;
	stream_own(s, NULL, NULL);
	if (!serve_tls)
		return;
	assert_int_equal(
		tls_accept_start(&srv.handshake, the_loop, server, s, deadline_ms, on_done, &srv),
		ERR_OK);
	srv.lower = NULL;
}

static void on_dialled(void *arg, enum err e, struct stream *s, const struct endpoint *reached)
{
	(void)arg;
	(void)reached;
	assert_int_equal(e, ERR_OK);
	assert_int_equal(tls_connect_start(&cli.handshake, the_loop, client, s, str_of(ask_name),
	                                   ask_address, str_of(ask_key), deadline_ms, on_done,
	                                   &cli),
	                 ERR_OK);
}

static void begin(void)
{
	assert_int_equal(dial_start(&dial, the_loop, listener_endpoint(listener), 1, 10000,
	                            on_dialled, NULL),
	                 ERR_OK);
}

static void connect_both(void)
{
	hang_up();
	begin();
	while (!srv.over || !cli.over)
		harness_run();
}

/* The client's verdict; the server's is whatever it saw of it. */
static enum err verdict(const char *name)
{
	ask_name = name;
	connect_both();
	if (cli.result == ERR_OK)
		assert_int_equal(srv.result, ERR_OK);
	else
		assert_int_not_equal(srv.result, ERR_OK);
	return cli.result;
}

static void limit_version(bool to_1_2)
{
	mbedtls_ssl_conf_max_tls_version(&((struct tls_ground *)(void *)client)->config,
	                                 to_1_2 ? MBEDTLS_SSL_VERSION_TLS1_2
	                                        : MBEDTLS_SSL_VERSION_TLS1_3);
}

static void expect(struct side *side, const char *text)
{
	while (stream_peek(side->s).len < strlen(text))
		harness_run();
	assert_int_equal(stream_peek(side->s).len, strlen(text));
	assert_memory_equal(stream_peek(side->s).ptr, text, strlen(text));
	stream_consume(side->s, strlen(text));
	assert_int_equal(stream_peek(side->s).len, 0);
}

static enum err run_to_end(struct side *side)
{
	while (stream_ended(side->s) == ERR_OK)
		harness_run();
	return stream_ended(side->s);
}

/* --- tests: handshakes --- */

/* ChaCha20 where the processor has no instructions for AES. */
static const char *preferred_cipher(void)
{
#if defined(__x86_64__) || defined(__aarch64__)
	return "GCM";
#else
	return aead_is_available() ? "GCM" : "CHACHA20";
#endif
}

static void handshake_and_talk(const char *certificate, bool to_1_2)
{
	struct tls_info info;

	SERVER(certificate);
	limit_version(to_1_2);
	connect_both();
	assert_int_equal(cli.result, ERR_OK);
	assert_int_equal(srv.result, ERR_OK);
	tls_stream_info(cli.s, &info);
	assert_string_equal(info.version, to_1_2 ? "TLSv1.2" : "TLSv1.3");
	assert_false(info.resumed);
	assert_non_null(strstr(info.suite, preferred_cipher()));
	tls_stream_info(srv.s, &info);
	assert_string_equal(info.version, to_1_2 ? "TLSv1.2" : "TLSv1.3");
	assert_string_equal(info.sni, "a.example");
	assert_false(info.resumed);
	assert_int_equal(stream_write(cli.s, STRL("ping")), ERR_OK);
	expect(&srv, "ping");
	assert_int_equal(stream_write(srv.s, STRL("pong")), ERR_OK);
	expect(&cli, "pong");
	stream_shutdown(cli.s);
	assert_int_equal(run_to_end(&srv), ERR_EOF);
	assert_int_equal(stream_write(srv.s, STRL("after")), ERR_OK);
	expect(&cli, "after");
	stream_shutdown(srv.s);
	assert_int_equal(run_to_end(&cli), ERR_EOF);
	assert_int_equal(stream_write(srv.s, STRL("x")), ERR_EOF);
	assert_int_equal(stream_room(srv.s), 0);
}

static void tls_1_3_ecdsa(void **state)
{
	(void)state;
	handshake_and_talk("a", false);
}

static void tls_1_3_rsa(void **state)
{
	(void)state;
	handshake_and_talk("a_rsa", false);
}

static void tls_1_2_ecdsa(void **state)
{
	(void)state;
	handshake_and_talk("a", true);
}

static void tls_1_2_rsa(void **state)
{
	(void)state;
	handshake_and_talk("a_rsa", true);
}

static void certificate_is_chosen_by_sni(void **state)
{
	static const struct {
		const char *name;
		enum err    want;
	} rows[] = {
		{ "a.example", ERR_OK },
		{ "WWW.A.Example", ERR_OK },
		{ "b.example", ERR_OK },
		{ "b.example.", ERR_OK },
		{ "y.wild.example", ERR_OK },
		{ "x.wild.example", ERR_OK }, /* exact: another certificate than the wildcard's */
		{ "wild.example", ERR_CERTIFICATE },
		{ "deep.y.wild.example", ERR_CERTIFICATE },
		{ "nobody.example", ERR_CERTIFICATE }, /* the first, which does not fit */
	};

	(void)state;
	SERVER("a", "b", "c", "a_rsa");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("  %s\n", rows[i].name);
		limit_version(i % 2 == 1);
		assert_int_equal(verdict(rows[i].name), rows[i].want);
	}
	assert_true(tls_server_covers(server, STRL("Y.WILD.example")));
	assert_true(tls_server_covers(server, STRL("a.example")));
	assert_false(tls_server_covers(server, STRL("example")));
	assert_false(tls_server_covers(server, STRL("")));
	assert_false(tls_server_covers(server, STRL(".wild.example")));
	assert_false(tls_server_covers(server, STRL("*.example")));
}

static void certificates_that_are_refused(void **state)
{
	static const struct {
		const char *certificate, *name;
		bool        is_address;
		const char *why;
	} rows[] = {
		{ "a", "b.example", false, "the certificate is for another name" },
		{ "stranger", "a.example", false, "no known authority signed the certificate" },
		{ "old", "a.example", false, "the certificate has expired" },
		{ "cn", "cn.example", false, "the certificate is for another name" },
		{ "a", "127.0.0.1", true, "the certificate is for another name" },
		{ "ip", "127.0.0.2", true, "the certificate is for another name" },
		{ "ip", "2001:db8::2", true, "the certificate is for another name" },
		{ "ipname", "127.0.0.1", true, "the certificate is for another name" },
		{ "ip", "a.example", false, "the certificate is for another name" },
	};

	(void)state;
	for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("  %s %s\n", rows[i / 2].certificate, rows[i / 2].name);
		limit_version(i % 2 == 1);
		SERVER(rows[i / 2].certificate);
		ask_address = rows[i / 2].is_address;
		assert_int_equal(verdict(rows[i / 2].name), ERR_CERTIFICATE);
		assert_string_equal(cli.detail, rows[i / 2].why);
		hang_up();
		tls_server_drop(server);
		server = NULL;
	}
}

static void addresses_need_and_have_an_address_san(void **state)
{
	struct tls_info info;

	(void)state;
	SERVER("ip");
	ask_address = true;
	assert_int_equal(verdict("127.0.0.1"), ERR_OK);
	tls_stream_info(srv.s, &info);
	assert_string_equal(info.sni, ""); /* RFC 6066: no addresses there */
	limit_version(true);
	assert_int_equal(verdict("2001:DB8:0::1"), ERR_OK);
}

static void several_authorities(void **state)
{
	(void)state;
	tls_client_drop(client);
	client = trust("both");
	SERVER("a");
	assert_int_equal(verdict("a.example"), ERR_OK);
	hang_up();
	tls_server_drop(server);
	SERVER("stranger");
	assert_int_equal(verdict("a.example"), ERR_OK);
}

static void bad_names_do_not_start(void **state)
{
	char long_name[300];

	(void)state;
	memset(long_name, 'a', sizeof(long_name));
	assert_int_equal(tls_connect_start(&cli.handshake, the_loop, client, NULL, STRL(""), false,
	                                   STRL(""), 1, on_done, &cli),
	                 ERR_SYNTAX);
	assert_int_equal(tls_connect_start(&cli.handshake, the_loop, client, NULL, STRL("a\0b"),
	                                   false, STRL(""), 1, on_done, &cli),
	                 ERR_SYNTAX);
	assert_int_equal(tls_connect_start(&cli.handshake, the_loop, client, NULL,
	                                   str_span(long_name, sizeof(long_name)), false, STRL(""),
	                                   1, on_done, &cli),
	                 ERR_SYNTAX);
	assert_null(cli.handshake);
}

/* --- tests: resumption --- */

static bool resumed(void)
{
	struct tls_info ours, theirs;

	connect_both();
	assert_int_equal(cli.result, ERR_OK);
	assert_int_equal(srv.result, ERR_OK);
	assert_int_equal(stream_write(srv.s, STRL("x")), ERR_OK);
	expect(&cli, "x"); /* by now the ticket of TLS 1.3 was read, too */
	tls_stream_info(cli.s, &ours);
	tls_stream_info(srv.s, &theirs);
	assert_int_equal(ours.resumed, theirs.resumed);
	return ours.resumed;
}

static void sessions_resume(bool to_1_2)
{
	SERVER("a");
	limit_version(to_1_2);
	ask_key = "a.example|one";
	assert_false(resumed());
	assert_true(resumed());
	assert_true(resumed());
	ask_key = "a.example|two";
	assert_false(resumed());
	ask_key = "a.example|one";
	ask_name = "www.a.example"; /* the certificate covers it, but that was not checked */
	assert_false(resumed());
	ask_name = "a.example";
	assert_true(resumed());
	ask_key = "";
	assert_false(resumed());
}

static void sessions_resume_1_3(void **state)
{
	(void)state;
	sessions_resume(false);
}

static void sessions_resume_1_2(void **state)
{
	(void)state;
	sessions_resume(true);
}

static void oldest_session_is_forgotten(void **state)
{
	static const char *const keys[] = { "1", "2", "3", "4" };

	(void)state;
	SERVER("a");
	for (size_t i = 0; i < 4; i++) {
		ask_key = keys[i];
		assert_false(resumed());
	}
	for (size_t i = 3; i > 0; i--) {
		ask_key = keys[i];
		assert_true(resumed());
	}
	ask_key = keys[0];
	assert_false(resumed());
}

static void another_server_gets_a_full_handshake(void **state)
{
	(void)state;
	SERVER("a");
	ask_key = "k";
	assert_false(resumed());
	hang_up();
	tls_server_drop(server);
	SERVER("a"); /* other ticket keys */
	assert_false(resumed());
	assert_true(resumed());
	hang_up();
	tls_server_drop(server);
	SERVER("stranger");
	connect_both();
	assert_int_equal(cli.result, ERR_CERTIFICATE);
}

static void without_tickets_nothing_resumes(void **state)
{
	(void)state;
	server = load((const char *const[]){ "a", NULL }, 0);
	ask_key = "k";
	assert_false(resumed());
	assert_false(resumed());
	limit_version(true);
	assert_false(resumed());
	assert_false(resumed());
}

/* --- tests: the stream --- */

static void bytes_gather_until_consumed(void **state)
{
	(void)state;
	SERVER("a");
	connect_both();
	assert_int_equal(stream_write(cli.s, STRL("GET / H")), ERR_OK);
	while (stream_peek(srv.s).len < 7)
		harness_run();
	assert_int_equal(stream_write(cli.s, STRL("TTP/1.1")), ERR_OK);
	while (stream_peek(srv.s).len < 14)
		harness_run();
	assert_true(str_is(stream_peek(srv.s), "GET / HTTP/1.1"));
	stream_consume(srv.s, 4);
	assert_true(str_is(stream_peek(srv.s), "/ HTTP/1.1"));
	assert_int_equal(stream_write(cli.s, STRL("!")), ERR_OK);
	stream_consume(srv.s, 9);
	expect(&srv, "1!");
	assert_int_equal(stream_write(cli.s, STRL("")), ERR_OK);
	harness_run_for(10);
	assert_int_equal(stream_peek(srv.s).len, 0);
}

static void cut_connections_are_truncated(void **state)
{
	(void)state;
	SERVER("a");
	connect_both();
	assert_int_equal(stream_write(srv.s, STRL("part")), ERR_OK);
	stream_shutdown(((struct secure *)(void *)srv.s)->lower); /* a FIN, no close_notify */
	assert_int_equal(run_to_end(&cli), ERR_TRUNCATED);
	assert_true(str_is(stream_peek(cli.s), "part"));
	assert_int_equal(stream_write(cli.s, STRL("x")), ERR_TRUNCATED);
}

static void reset_is_told(void **state)
{
	(void)state;
	SERVER("a");
	connect_both();
	assert_int_equal(stream_write(cli.s, STRL("nobody reads this")), ERR_OK);
	stream_close(srv.s);
	srv.s = NULL;
	assert_true(run_to_end(&cli) == ERR_RESET || stream_ended(cli.s) == ERR_TRUNCATED);
}

static void garbage_is_told(void **state)
{
	(void)state;
	SERVER("a");
	connect_both();
	assert_int_equal(
		stream_write(((struct secure *)(void *)srv.s)->lower, STRL("HTTP/1.1 200 OK")),
		ERR_OK);
	assert_int_equal(run_to_end(&cli), ERR_TLS);
}

static void damaged_records_are_told(void **state)
{
	static const char record[] = "\x17\x03\x03\x00\x20"
				     "0123456789abcdef0123456789abcdef";

	(void)state;
	SERVER("a");
	connect_both();
	assert_int_equal(stream_write(((struct secure *)(void *)srv.s)->lower,
	                              str_span(record, sizeof(record) - 1)),
	                 ERR_OK);
	assert_int_equal(run_to_end(&cli), ERR_TLS);
	while (stream_ended(srv.s) == ERR_OK)
		harness_run(); /* the alert */
	assert_int_equal(stream_ended(srv.s), ERR_TLS);
}

static uint8_t pattern(size_t at)
{
	return (uint8_t)(at * 13 + at / 509);
}

enum { BULK = 24 << 20 };

/* Moves what can be moved now; step: bytes taken of the input at once. */
static bool transfer(struct side *to, struct side *from, size_t *sent, size_t *got, size_t step)
{
	char       block[20000];
	size_t     n = stream_room(from->s);
	struct str in = str_head(stream_peek(to->s), step);
	bool       moved = false;

	if (n > sizeof(block))
		n = sizeof(block);
	if (n > BULK - *sent)
		n = BULK - *sent;
	if (n > 0) {
		for (size_t i = 0; i < n; i++)
			block[i] = (char)pattern(*sent + i);
		assert_int_equal(stream_write(from->s, str_span(block, n)), ERR_OK);
		*sent += n;
		moved = true;
	}
	for (size_t i = 0; i < in.len; i++)
		assert_int_equal((uint8_t)in.ptr[i], pattern(*got + i));
	if (in.len > 0) {
		stream_consume(to->s, in.len);
		*got += in.len;
		moved = true;
	}
	return moved;
}

static void big_transfers_both_ways(void **state)
{
	size_t up = 0, up_got = 0, down = 0, down_got = 0, round = 0;

	(void)state;
	SERVER("a");
	connect_both();
	while (up_got < BULK || down_got < BULK) {
		bool moved = false;

		round++;
		if (round % 3 != 0) /* a slow reader at the server */
			moved |= transfer(&srv, &cli, &up, &up_got, round % 20000);
		moved |= transfer(&cli, &srv, &down, &down_got, 100000);
		if (round % 8 == 0)
			harness_run_for(0);
		else if (!moved && round % 3 != 0)
			harness_run(); /* somebody must be woken */
	}
	assert_int_equal(up, BULK);
	assert_int_equal(down, BULK);
	assert_int_equal(stream_ended(cli.s), ERR_OK);
	assert_int_equal(stream_ended(srv.s), ERR_OK);
}

/* Only wakes drive it: a pump at each end, nothing else. */
static size_t pumped, drained;

static void on_source(void *arg)
{
	struct side *side = arg;
	char         block[16384];

	while (stream_room(side->s) > 0 && pumped < BULK) {
		size_t n = stream_room(side->s);

		n = n < sizeof(block) ? n : sizeof(block);
		n = n < BULK - pumped ? n : BULK - pumped;
		memset(block, 'x', n);
		assert_int_equal(stream_write(side->s, str_span(block, n)), ERR_OK);
		pumped += n;
		if (pumped == BULK)
			stream_shutdown(side->s);
	}
}

static void on_sink(void *arg)
{
	struct side *side = arg;
	struct str   in = stream_peek(side->s); /* one look only: the rest must be told again */

	drained += in.len;
	stream_consume(side->s, in.len);
	if (stream_ended(side->s) != ERR_OK && stream_peek(side->s).len == 0)
		loop_stop(the_loop);
}

static void wakes_alone_move_everything(void **state)
{
	(void)state;
	pumped = drained = 0;
	SERVER("a");
	connect_both();
	stream_own(srv.s, on_source, &srv);
	stream_own(cli.s, on_sink, &cli);
	on_source(&srv);
	harness_run();
	assert_int_equal(stream_ended(cli.s), ERR_EOF);
	assert_int_equal(drained, BULK);
}

static void big_messages_may_exceed_the_room(void **state)
{
	char *big = malloc(1 << 20);

	(void)state;
	memset(big, 'x', 1 << 20);
	pumped = drained = 0;
	SERVER("a");
	connect_both();
	stream_own(cli.s, on_sink, &cli);
	for (int i = 0; i < 8; i++)
		assert_int_equal(stream_write(srv.s, str_span(big, 1 << 20)), ERR_OK);
	stream_shutdown(srv.s);
	assert_true(stream_unsent(srv.s) > 0);
	while (stream_unsent(srv.s) > 0 || stream_ended(cli.s) == ERR_OK)
		harness_run(); /* told when the last has gone */
	assert_int_equal(drained, 8 << 20);
	free(big);
}

static void on_wake_close(void *arg)
{
	struct side *side = arg;

	stream_close(side->s);
	side->s = NULL;
	loop_stop(the_loop);
}

static void may_be_closed_inside_wake(void **state)
{
	(void)state;
	SERVER("a");
	connect_both();
	stream_own(srv.s, on_wake_close, &srv);
	assert_int_equal(stream_write(cli.s, STRL("x")), ERR_OK);
	while (srv.s != NULL)
		harness_run();
}

static const struct tls_rest *rest_of(const struct side *side)
{
	return &((struct secure *)(void *)side->s)->rest;
}

static void idle_streams_still_work(void)
{
	SERVER("a");
	connect_both();
	for (int i = 0; i < 3; i++) {
		tls_idle(srv.s);
		tls_idle(cli.s);
		assert_int_equal(stream_write(cli.s, STRL("again")), ERR_OK);
		expect(&srv, "again");
		tls_idle(srv.s);
		assert_int_equal(stream_write(srv.s, STRL("yes")), ERR_OK);
		expect(&cli, "yes");
	}
	tls_idle(srv.s);
	assert_true(rest_of(&srv)->in_rests && rest_of(&srv)->out_rests);
	assert_true(rest_of(&cli)->in_rests && rest_of(&cli)->out_rests);
	stream_shutdown(cli.s);
	assert_int_equal(run_to_end(&srv), ERR_EOF);
}

static void idle_1_3(void **state)
{
	(void)state;
	limit_version(false);
	idle_streams_still_work();
}

static void idle_1_2(void **state)
{
	(void)state;
	limit_version(true);
	idle_streams_still_work();
}

/* A record that cannot be taken yet keeps its buffer, and only that; answers go on meanwhile. */
static void one_direction_rests(bool to_1_2)
{
	enum { SENT = 40000, RECORD = 9000 };
	char   record[RECORD];
	size_t seen = 0;

	SERVER("a");
	limit_version(to_1_2);
	connect_both();
	memset(record, 'x', sizeof(record));
	for (size_t sent = 0; sent < SENT; sent += RECORD)
		assert_int_equal(stream_write(cli.s, str_span(record, RECORD)), ERR_OK);
	while (stream_peek(srv.s).len < STREAM_RX_MAX)
		harness_run();
	for (int i = 0; i < 3; i++) {
		assert_false(rest_of(&srv)->in_rests);
		assert_true(rest_of(&srv)->out_rests);
		assert_int_equal(stream_write(srv.s, STRL("wait")), ERR_OK);
		expect(&cli, "wait");
	}
	while (seen < SENT / RECORD * RECORD + RECORD) {
		size_t n = stream_peek(srv.s).len;

		for (size_t i = 0; i < n; i++)
			assert_int_equal(stream_peek(srv.s).ptr[i], 'x');
		stream_consume(srv.s, n);
		seen += n;
		if (n == 0)
			harness_run();
	}
	assert_int_equal(stream_peek(srv.s).len, 0);
	assert_true(rest_of(&srv)->in_rests && rest_of(&srv)->out_rests);
}

static void one_direction_rests_1_3(void **state)
{
	(void)state;
	one_direction_rests(false);
}

static void one_direction_rests_1_2(void **state)
{
	(void)state;
	one_direction_rests(true);
}

/* The buffers go from one connection to the next. */
static void connections_share_what_they_lend(void **state)
{
	enum { N = 6 };
	struct side kept[N][2];

	(void)state;
	SERVER("a");
	ask_key = "k";
	for (size_t i = 0; i < N; i++) {
		limit_version(i % 2 == 1);
		connect_both();
		kept[i][0] = cli;
		kept[i][1] = srv;
		stream_own(cli.s, on_wake, &kept[i][0]);
		stream_own(srv.s, on_wake, &kept[i][1]);
		memset(&cli, 0, sizeof(cli));
		memset(&srv, 0, sizeof(srv));
	}
	for (size_t round = 0; round < 30; round++) {
		struct side *a = &kept[round * 5 % N][0], *b = &kept[round * 5 % N][1];

		assert_int_equal(stream_write(a->s, STRL("one")), ERR_OK);
		assert_int_equal(stream_write(kept[round % N][1].s, STRL("two")), ERR_OK);
		expect(b, "one");
		expect(&kept[round % N][0], "two");
	}
	for (size_t i = 0; i < N; i++) {
		stream_close(kept[i][0].s);
		stream_close(kept[i][1].s);
	}
}

/* A reset after the peer's orderly end must not be lost on who still has something to send. */
static void reset_after_the_end(void **state)
{
	char big[16384] = "";

	(void)state;
	SERVER("a");
	connect_both();
	stream_shutdown(cli.s);
	assert_int_equal(run_to_end(&srv), ERR_EOF);
	for (int i = 0; i < 1024; i++)
		assert_int_equal(stream_write(srv.s, str_span(big, sizeof(big))), ERR_OK);
	stream_close(cli.s); /* much is unread */
	cli.s = NULL;
	while (stream_ended(srv.s) == ERR_EOF)
		harness_run();
	assert_int_equal(stream_ended(srv.s), ERR_RESET);
}

/* --- tests: handshakes that fail --- */

static void client_deadline(void **state)
{
	(void)state;
	serve_tls = false;
	deadline_ms = 50;
	begin();
	while (!cli.over)
		harness_run();
	assert_int_equal(cli.result, ERR_TIMEOUT);
}

static void on_plain_dialled(void *arg, enum err e, struct stream *s,
                             const struct endpoint *reached)
{
	(void)arg;
	(void)reached;
	assert_int_equal(e, ERR_OK);
	cli.lower = s;
	stream_own(s, on_wake, &cli);
	loop_stop(the_loop);
}

/* A client that does not speak TLS. */
static void begin_plain(void)
{
	SERVER("a");
	assert_int_equal(dial_start(&dial, the_loop, listener_endpoint(listener), 1, 10000,
	                            on_plain_dialled, NULL),
	                 ERR_OK);
	while (cli.lower == NULL || srv.handshake == NULL)
		harness_run_for(1);
}

static void server_deadline(void **state)
{
	(void)state;
	deadline_ms = 50;
	begin_plain();
	while (!srv.over)
		harness_run();
	assert_int_equal(srv.result, ERR_TIMEOUT);
}

static void not_tls_at_all(void **state)
{
	(void)state;
	begin_plain();
	assert_int_equal(stream_write(cli.lower, STRL("GET / HTTP/1.1\r\n\r\n")), ERR_OK);
	while (!srv.over)
		harness_run();
	assert_int_equal(srv.result, ERR_TLS);
}

static void ended_handshake(void **state)
{
	(void)state;
	begin_plain();
	assert_int_equal(stream_write(cli.lower, STRL("\x16\x03\x01\x01")), ERR_OK);
	stream_shutdown(cli.lower);
	while (!srv.over)
		harness_run();
	assert_int_equal(srv.result, ERR_EOF);
}

/* Every beginning of a ClientHello, then the end. */
static void every_prefix_of_a_hello(void **state)
{
	char       hello[2048];
	size_t     len;
	struct str in;

	(void)state;
	serve_tls = false;
	begin();
	while (srv.lower == NULL || stream_peek(srv.lower).len == 0)
		harness_run_for(1);
	in = stream_peek(srv.lower);
	len = in.len;
	assert_in_range(len, 100, sizeof(hello));
	memcpy(hello, in.ptr, len);
	hang_up();
	serve_tls = true;
	for (size_t n = 0; n < len; n += 7) {
		begin_plain();
		if (n > 0)
			assert_int_equal(stream_write(cli.lower, str_span(hello, n)), ERR_OK);
		stream_shutdown(cli.lower);
		while (!srv.over)
			harness_run();
		assert_int_equal(srv.result, ERR_EOF);
		hang_up();
		tls_server_drop(server);
		server = NULL;
	}
}

static void cancel_before_the_first_step(void **state)
{
	(void)state;
	begin_plain();
	tls_handshake_cancel(&srv.handshake);
	tls_handshake_cancel(&srv.handshake);
	while (stream_ended(cli.lower) == ERR_OK)
		harness_run(); /* the stream below was closed */
	assert_false(srv.over);
}

static void cancel_in_the_middle(void **state)
{
	(void)state;
	serve_tls = false;
	begin();
	while (srv.lower == NULL || stream_peek(srv.lower).len == 0)
		harness_run_for(1);
	tls_handshake_cancel(&cli.handshake);
	stream_own(srv.lower, on_wake, &srv);
	while (stream_ended(srv.lower) == ERR_OK)
		harness_run();
	assert_false(cli.over);
}

/* --- tests: loading --- */

static void loading_says_what_is_wrong(void **state)
{
	static const struct {
		const char *certificate, *key;
		enum err    want;
		const char *text;
	} rows[] = {
		{ "missing.pem", "a.key", ERR_IO,
		  "cannot read tls_fixture/missing.pem: No such file" },
		{ "a.pem", "missing.key", ERR_IO,
		  "cannot read tls_fixture/missing.key: No such file" },
		{ ".", "a.key", ERR_IO, "is not a file" },
		{ "text", "a.key", ERR_SYNTAX, "holds no PEM certificate" },
		{ "a.key", "a.key", ERR_SYNTAX, "this is a key: swap" },
		{ "a.pem", "text", ERR_SYNTAX, "holds no PEM private key" },
		{ "a.pem", "a.pem", ERR_SYNTAX, "these are certificates: swap" },
		{ "damaged.pem", "a.key", ERR_SYNTAX, "is damaged" },
		{ "a.pem", "damaged.key", ERR_SYNTAX, "is damaged" },
		{ "a.pem", "locked.key", ERR_SYNTAX, "is encrypted" },
		{ "a.pem", "b.key", ERR_CERTIFICATE, "b.key fits none of the certificates" },
		{ "a.pem", NULL, ERR_CERTIFICATE, "no key fits the certificate tls_fixture/a.pem" },
		{ NULL, "a.key", ERR_CERTIFICATE, "no certificate is configured" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char                    paths[2][128];
		const char             *certificate = paths[0], *key = paths[1];
		struct tls_server_files f = { &certificate, rows[i].certificate != NULL, &key,
			                      rows[i].key != NULL, 0 };
		struct tls_server      *t = NULL;
		struct tls_fault        fault = { "" };

		print_message("  %s\n", rows[i].text);
		snprintf(paths[0], sizeof(paths[0]), "tls_fixture/%s",
		         rows[i].certificate != NULL ? rows[i].certificate : "");
		snprintf(paths[1], sizeof(paths[1]), "tls_fixture/%s",
		         rows[i].key != NULL ? rows[i].key : "");
		assert_int_equal(tls_server_load(the_loop, &f, &t, &fault, NULL), rows[i].want);
		if (strstr(fault.text, rows[i].text) == NULL)
			fail_msg("%s", fault.text);
		assert_null(t);
	}
}

static void old_certificates_are_only_warned_about(void **state)
{
	const char             *certificate = fixture("old", ".pem"), *key = fixture("old", ".key");
	struct tls_server_files f = { &certificate, 1, &key, 1, 0 };
	struct tls_fault        fault, warning;

	(void)state;
	assert_int_equal(tls_server_load(the_loop, &f, &server, &fault, &warning), ERR_OK);
	assert_non_null(strstr(warning.text, "old.pem has expired"));
	tls_server_drop(server);
	certificate = fixture("a", ".pem");
	key = fixture("a", ".key");
	assert_int_equal(tls_server_load(the_loop, &f, &server, &fault, &warning), ERR_OK);
	assert_string_equal(warning.text, "");
}

static void authorities_must_be_there(void **state)
{
	struct tls_client *t = NULL;
	struct tls_fault   fault;

	(void)state;
	assert_int_equal(tls_client_load(the_loop, "tls_fixture/none", 1, &t, &fault), ERR_IO);
	assert_non_null(strstr(fault.text, "tls_fixture/none"));
	assert_int_equal(tls_client_load(the_loop, "tls_fixture/text", 1, &t, &fault), ERR_SYNTAX);
	assert_int_equal(tls_client_load(the_loop, "tls_fixture/damaged.pem", 1, &t, &fault),
	                 ERR_SYNTAX);
	assert_null(t);
}

static void a_connection_keeps_what_it_began_with(void **state)
{
	struct tls_server *kept;

	(void)state;
	kept = tls_server_keep(SERVER("a"));
	connect_both();
	tls_server_drop(kept);
	tls_server_drop(server);
	server = NULL;
	tls_client_drop(client);
	client = NULL;
	assert_int_equal(stream_write(cli.s, STRL("still here")), ERR_OK);
	expect(&srv, "still here");
}

/* --- tests: another handshake --- */

/* Internal to mbedtls: a record of what out_msg holds. */
int mbedtls_ssl_write_record(mbedtls_ssl_context *ssl, int force_flush);

/* The smallest message that asks for another handshake of TLS 1.2: a hello (1) with nothing in it. */
static void ask_again(struct side *from, unsigned char message, size_t times)
{
	struct secure *s = (struct secure *)(void *)from->s;
	struct buf    *gather = &s->ground->gather;

	assert_true(tls_rest_end(s));
	while (times-- > 0) {
		s->ssl.MBEDTLS_PRIVATE(out_msgtype) = MBEDTLS_SSL_MSG_HANDSHAKE;
		s->ssl.MBEDTLS_PRIVATE(out_msglen) = 4;
		memcpy(s->ssl.MBEDTLS_PRIVATE(out_msg), (const unsigned char[]){ message, 0, 0, 0 },
		       4);
		assert_int_equal(mbedtls_ssl_write_record(&s->ssl, 1), 0);
	}
	assert_int_equal(stream_write(s->lower, buf_str(gather)), ERR_OK);
	buf_take(gather, buf_len(gather));
	tls_rest_begin(s);
}

/* Each is answered by an alert; who never stops would have them pile up here. */
static void asking_for_handshakes_ends(struct side *from, struct side *to, unsigned char message)
{
	connect_both();
	assert_int_equal(cli.result, ERR_OK);
	assert_int_equal(srv.result, ERR_OK);
	stream_own(((struct secure *)(void *)from->s)->lower, NULL, NULL); /* reads nothing */
	ask_again(from, message, 1);
	assert_int_equal(stream_write(from->s, STRL("once")), ERR_OK);
	expect(to, "once");
	assert_int_equal(stream_write(to->s, STRL("is a slip")), ERR_OK);
	ask_again(from, message, 400);
	assert_int_equal(run_to_end(to), ERR_TLS);
	assert_int_equal(stream_write(to->s, STRL("x")), ERR_TLS);
}

static void another_handshake_is_not_had(void **state)
{
	(void)state;
	SERVER("a");
	limit_version(true);
	asking_for_handshakes_ends(&cli, &srv, MBEDTLS_SSL_HS_CLIENT_HELLO);
	asking_for_handshakes_ends(&srv, &cli, MBEDTLS_SSL_HS_HELLO_REQUEST);
}

static void library_is_named(void **state)
{
	(void)state;
	assert_non_null(strstr(tls_library(), "3."));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(tls_1_3_ecdsa),
		T(tls_1_3_rsa),
		T(tls_1_2_ecdsa),
		T(tls_1_2_rsa),
		T(certificate_is_chosen_by_sni),
		T(certificates_that_are_refused),
		T(addresses_need_and_have_an_address_san),
		T(several_authorities),
		T(bad_names_do_not_start),
		T(sessions_resume_1_3),
		T(sessions_resume_1_2),
		T(oldest_session_is_forgotten),
		T(another_server_gets_a_full_handshake),
		T(without_tickets_nothing_resumes),
		T(bytes_gather_until_consumed),
		T(cut_connections_are_truncated),
		T(reset_is_told),
		T(garbage_is_told),
		T(damaged_records_are_told),
		T(big_transfers_both_ways),
		T(wakes_alone_move_everything),
		T(big_messages_may_exceed_the_room),
		T(may_be_closed_inside_wake),
		T(idle_1_3),
		T(idle_1_2),
		T(one_direction_rests_1_3),
		T(one_direction_rests_1_2),
		T(connections_share_what_they_lend),
		T(reset_after_the_end),
		T(client_deadline),
		T(server_deadline),
		T(not_tls_at_all),
		T(ended_handshake),
		T(every_prefix_of_a_hello),
		T(cancel_before_the_first_step),
		T(cancel_in_the_middle),
		T(loading_says_what_is_wrong),
		T(old_certificates_are_only_warned_about),
		T(authorities_must_be_there),
		T(a_connection_keeps_what_it_began_with),
		T(another_handshake_is_not_had),
		T(library_is_named),
	};

	return cmocka_run_group_tests(tests, make_certificates, NULL);
}
