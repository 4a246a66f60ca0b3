/*
 * c-ares on the loop, against a small server of our own that answers by the name it is asked for.
 */
#include "unit/loop/harness.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/dns.h"
#include "net/dns_answer.h"
#include "unit/net/dns_message.h"

/* --- the server, in a thread of its own --- */

static int            udp, tcp, stop[2];
static pthread_t      thread;
static atomic_uint    queries, tcp_queries, same_ids;
static struct address server_at;

/* The question of a query as text, lower case. */
static void question_of(const unsigned char *q, char name[256], unsigned *type, size_t *end)
{
	size_t at = 12, out = 0;

	while (q[at] != 0) {
		if (out > 0)
			name[out++] = '.';
		for (size_t i = 1; i <= q[at]; i++)
			name[out++] = (char)(q[at + i] >= 'A' && q[at + i] <= 'Z' ? q[at + i] + 32
			                                                          : q[at + i]);
		at += q[at] + 1u;
	}
	name[out] = '\0';
	*type = (unsigned)q[at + 1] << 8 | q[at + 2];
	*end = at + 5;
}

static void put_many(struct writer *w, const char *name, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		put_a(w, name, 60, i);
}

/* Aliases of which this server does not know the end. */
static const struct {
	const char *name, *target;
	uint32_t    ttl_s;
} far[] = {
	{ "far1.test", "far2.test", 50 },   { "far2.test", "far3.test", 30 },
	{ "ring1.test", "ring2.test", 50 }, { "ring2.test", "ring1.test", 50 },
	{ "lost.test", "silent.test", 50 },
};

static unsigned put_far(struct writer *w, const char *name)
{
	for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++)
		if (strcmp(name, far[i].name) == 0) {
			put_alias(w, name, far[i].ttl_s, far[i].target);
			return 1;
		}
	return 0;
}

/* Flags, counts and records for the name; false: no answer at all. */
static bool compose(struct writer *w, const char *name, unsigned type, bool over_tcp)
{
	unsigned      flags = IS_ANSWER, answers = 0, authorities = 0;
	char          room[4096];
	struct writer r = writer_over(room, sizeof(room));

	if (strncmp(name, "silent", 6) == 0)
		return false;
	answers = put_far(&r, name);
	if (answers > 0) {
		/* nothing else */
	} else if (strcmp(name, "servfail.test") == 0) {
		flags |= SERVFAIL;
	} else if (strcmp(name, "refused.test") == 0) {
		flags |= REFUSED;
	} else if (strcmp(name, "nx.test") == 0) {
		flags |= NXDOMAIN;
		authorities = 1;
		put_soa(&r, "test", 500, 40);
	} else if (strcmp(name, "nodata.test") == 0) {
		authorities = 1;
		put_soa(&r, "test", 30, 40);
	} else if (strcmp(name, "big.test") == 0 && !over_tcp) {
		flags |= TRUNCATED;
	} else if (strcmp(name, "big.test") == 0) {
		answers = 20;
		put_many(&r, name, answers);
	} else if (strcmp(name, "alias.test") == 0) {
		answers = 2;
		put_alias(&r, name, 20, "real.test");
		put_a(&r, "real.test", 60, 3);
	} else if (type == T_SRV) {
		answers = 1;
		put_srv(&r, name, 70, 1, 2, 8448, "matrix.test");
	} else if (type == T_AAAA) {
		answers = 1;
		put_record(&r, name, T_AAAA, 60, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	} else {
		answers = 1;
		put_a(&r, name, 60, 7);
	}
	put16(w, flags);
	put16(w, 1);
	put16(w, answers);
	put16(w, authorities);
	put16(w, 0);
	put_question(w, name, type);
	write_str(w, writer_done(&r));
	return true;
}

static struct str reply_to(const unsigned char *q, char *room, size_t size, bool over_tcp)
{
	struct writer w = writer_over(room, size);
	char          name[256];
	unsigned      type;
	size_t        end;

	atomic_fetch_add(&queries, 1);
	question_of(q, name, &type, &end);
	write_bytes(&w, q, 2);
	if (!compose(&w, name, type, over_tcp))
		return (struct str){ "", 0 };
	return writer_done(&w);
}

/* What is sent before the true answer. */
static void send_nonsense(const char *name, struct str true_answer, const struct sockaddr *to,
                          socklen_t len)
{
	char copy[4096];

	memcpy(copy, true_answer.ptr, true_answer.len);
	if (strcmp(name, "garbage.test") == 0) {
		sendto(udp, "garbage", 7, 0, to, len);
		sendto(udp, "", 0, 0, to, len);
		sendto(udp, copy, true_answer.len / 2, 0, to, len);
	} else if (strcmp(name, "forged.test") == 0) {
		copy[true_answer.len - 1] = 66; /* another address */
		copy[0] ^= 0x55;                /* under another id */
		sendto(udp, copy, true_answer.len, 0, to, len);
	} else if (strcmp(name, "late.test") == 0) {
		usleep(100 * 1000);
	}
}

static void serve_udp(void)
{
	static unsigned         last_id;
	unsigned char           q[2048];
	char                    room[4096], name[256];
	struct sockaddr_storage from;
	socklen_t               len = sizeof(from);
	ssize_t                 n = recvfrom(udp, q, sizeof(q), 0, (struct sockaddr *)&from, &len);
	unsigned                type;
	size_t                  end;
	struct str              reply;

	if (n < 12)
		return;
	if ((((unsigned)q[0] << 8 | q[1]) - last_id) < 2)
		atomic_fetch_add(&same_ids, 1);
	last_id = (unsigned)q[0] << 8 | q[1];
	question_of(q, name, &type, &end);
	reply = reply_to(q, room, sizeof(room), false);
	if (reply.len == 0)
		return;
	send_nonsense(name, reply, (struct sockaddr *)&from, len);
	sendto(udp, reply.ptr, reply.len, 0, (struct sockaddr *)&from, len);
}

static void serve_tcp(void)
{
	unsigned char q[2048];
	char          room[4096];
	int           fd = accept(tcp, NULL, NULL);
	ssize_t       n = recv(fd, q, 2, MSG_WAITALL);
	struct str    reply;

	if (n == 2)
		n = recv(fd, q, (size_t)q[0] << 8 | q[1], MSG_WAITALL);
	if (n > 12) {
		atomic_fetch_add(&tcp_queries, 1);
		reply = reply_to(q, room + 2, sizeof(room) - 2, true);
		room[0] = (char)(reply.len >> 8);
		room[1] = (char)reply.len;
		send(fd, room, 1, 0); /* in pieces */
		usleep(1000);
		send(fd, room + 1, reply.len + 1, 0);
	}
	close(fd);
}

static void *serve(void *arg)
{
	struct pollfd p[3] = { { udp, POLLIN, 0 }, { tcp, POLLIN, 0 }, { stop[0], POLLIN, 0 } };

	while (poll(p, 3, -1) >= 0 && p[2].revents == 0) {
		if (p[0].revents != 0)
			serve_udp();
		if (p[1].revents != 0)
			serve_tcp();
	}
	return arg;
}

/* Both sockets on one port; false: the port is taken by somebody. */
static bool bind_both(void)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	socklen_t          len = sizeof(in);

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	udp = socket(AF_INET, SOCK_DGRAM, 0);
	tcp = socket(AF_INET, SOCK_STREAM, 0);
	if (bind(udp, (struct sockaddr *)&in, sizeof(in)) == 0 &&
	    getsockname(udp, (struct sockaddr *)&in, &len) == 0 &&
	    bind(tcp, (struct sockaddr *)&in, sizeof(in)) == 0 && listen(tcp, 5) == 0) {
		server_at = address_v4(127, 0, 0, 1, ntohs(in.sin_port));
		return true;
	}
	close(udp);
	close(tcp);
	return false;
}

static int server_start(void **state)
{
	int tries = 100;

	(void)state;
	while (!bind_both()) {
		if (--tries == 0)
			return 1;
	}
	return pipe(stop) != 0 || pthread_create(&thread, NULL, serve, NULL) != 0;
}

static int server_stop(void **state)
{
	(void)state;
	close(stop[1]);
	pthread_join(thread, NULL);
	close(stop[0]);
	close(udp);
	close(tcp);
	return 0;
}

/* --- our side --- */

enum { MANY = 24, AT_ONCE = 2 };

static struct dns       *dns;
static struct dns_query *query[MANY * 2];
static struct dns_answer got;
static int               ends;

static int setup(void **state)
{
	ends = 0;
	atomic_store(&queries, 0);
	atomic_store(&tcp_queries, 0);
	atomic_store(&same_ids, 0);
	memset(query, 0, sizeof(query));
	return harness_setup(state) != 0 || dns_new(the_loop, &server_at, AT_ONCE, &dns) != ERR_OK;
}

static int teardown(void **state)
{
	for (size_t i = 0; i < MANY * 2; i++)
		dns_query_cancel(&query[i]);
	dns_free(dns);
	return harness_teardown(state);
}

static void on_done(void *arg, const struct dns_answer *a)
{
	assert_null(*(struct dns_query **)arg);
	got = *a;
	ends++;
	loop_stop(the_loop);
}

static void ask(const char *name, enum dns_type type, msec deadline_ms)
{
	int before = ends;

	assert_int_equal(
		dns_query_start(&query[0], dns, name, type, deadline_ms, on_done, &query[0]),
		ERR_OK);
	assert_non_null(query[0]);
	assert_int_equal(ends, before); /* never from inside start */
	harness_run();
	assert_int_equal(ends, before + 1);
}

static void finds(void **state)
{
	(void)state;
	ask("host.test", DNS_A, 5000);
	assert_int_equal(got.outcome, DNS_FOUND);
	assert_int_equal(got.count, 1);
	assert_int_equal(got.ttl_s, 60);
	assert_memory_equal(got.records.address[0].ip, "\xc0\0\2\7", 4);
	ask("HOST.test.", DNS_AAAA, 5000);
	assert_int_equal(got.outcome, DNS_FOUND);
	assert_int_equal(got.records.address[0].family, ADDRESS_V6);
	ask("_matrix._tcp.test", DNS_SRV, 5000);
	assert_int_equal(got.outcome, DNS_FOUND);
	assert_int_equal(got.records.srv[0].port, 8448);
	assert_string_equal(got.records.srv[0].target, "matrix.test");
	ask("alias.test", DNS_A, 5000);
	assert_int_equal(got.outcome, DNS_FOUND);
	assert_int_equal(got.ttl_s, 20);
	assert_int_equal(got.records.address[0].ip[3], 3);
}

static void aliases_are_followed_by_asking_again(void **state)
{
	(void)state;
	ask("far1.test", DNS_A, 5000);
	assert_int_equal(got.outcome, DNS_FOUND);
	assert_int_equal(got.count, 1);
	assert_int_equal(got.ttl_s, 30); /* of the shortest alias */
	assert_int_equal(atomic_load(&queries), 3);
	ask("ring1.test", DNS_A, 5000);
	assert_int_equal(got.outcome, DNS_FAILED);
	assert_string_equal(got.why, "long chain of aliases");
	assert_int_equal(atomic_load(&queries), 3 + 9);
}

/* Time and place stay those of the one question. */
static void aliases_end_with_their_question(void **state)
{
	(void)state;
	ask("lost.test", DNS_A, 100);
	assert_int_equal(got.outcome, DNS_FAILED);
	assert_string_equal(got.why, "timeout");
	assert_int_equal(atomic_load(&queries), 2);
	for (size_t i = 1; i <= 4; i++)
		assert_int_equal(dns_query_start(&query[i], dns, "ring1.test", DNS_A, 5000, on_done,
		                                 &query[i]),
		                 ERR_OK);
	harness_run_for(2);
	for (size_t i = 1; i <= 4; i++)
		dns_query_cancel(&query[i]);
	ends = 0;
	ask("host.test", DNS_A, 5000);
	assert_int_equal(got.outcome, DNS_FOUND);
}

static void absence_is_told_apart(void **state)
{
	(void)state;
	ask("nx.test", DNS_A, 5000);
	assert_int_equal(got.outcome, DNS_NO_NAME);
	assert_int_equal(got.ttl_s, 40);
	ask("nodata.test", DNS_SRV, 5000);
	assert_int_equal(got.outcome, DNS_NO_DATA);
	assert_int_equal(got.ttl_s, 30);
}

static void failure_is_not_absence(void **state)
{
	(void)state;
	ask("servfail.test", DNS_A, 5000);
	assert_int_equal(got.outcome, DNS_FAILED);
	assert_string_equal(got.why, "servfail");
	ask("refused.test", DNS_A, 5000);
	assert_int_equal(got.outcome, DNS_FAILED);
	assert_string_equal(got.why, "refused");
}

static void truncation_is_asked_again_over_tcp(void **state)
{
	(void)state;
	ask("big.test", DNS_A, 5000);
	assert_int_equal(got.outcome, DNS_FOUND);
	assert_int_equal(got.count, DNS_RECORDS_MAX);
	assert_int_equal(atomic_load(&tcp_queries), 1);
}

static void nonsense_is_ignored(void **state)
{
	(void)state;
	ask("garbage.test", DNS_A, 5000);
	assert_int_equal(got.outcome, DNS_FOUND);
	ask("forged.test", DNS_A, 5000);
	assert_int_equal(got.outcome, DNS_FOUND);
	assert_int_equal(got.records.address[0].ip[3], 7);
}

static void silence_times_out(void **state)
{
	(void)state;
	ask("silent.test", DNS_A, 50);
	assert_int_equal(got.outcome, DNS_FAILED);
	assert_string_equal(got.why, "timeout");
	ask("host.test", DNS_A, 5000); /* beside the question that c-ares still has */
	assert_int_equal(got.outcome, DNS_FOUND);
}

static void asked_again_without_an_answer(void **state)
{
	(void)state;
	ask("silent.test", DNS_A, 1500);
	assert_string_equal(got.why, "timeout");
	assert_int_equal(atomic_load(&queries), 2);
}

static void late_answers_are_for_nobody(void **state)
{
	(void)state;
	ask("late.test", DNS_A, 30);
	assert_string_equal(got.why, "timeout");
	harness_run_for(300);
	assert_int_equal(ends, 1);
	ask("host.test", DNS_A, 5000);
	assert_int_equal(got.outcome, DNS_FOUND);
}

static void nobody_listens(void **state)
{
	struct address nowhere = address_v4(127, 0, 0, 1, 1);

	(void)state;
	dns_free(dns);
	assert_int_equal(dns_new(the_loop, &nowhere, 1, &dns), ERR_OK);
	ask("host.test", DNS_A, 10000);
	assert_int_equal(got.outcome, DNS_FAILED);
	assert_non_null(got.why);
}

static void neither_hosts_file_nor_search_domains(void **state)
{
	(void)state;
	ask("localhost", DNS_A, 5000); /* what the server says */
	assert_int_equal(got.outcome, DNS_FOUND);
	assert_memory_equal(got.records.address[0].ip, "\xc0\0\2\7", 4);
	assert_int_equal(atomic_load(&queries), 1);
}

static void on_one_of_many(void *arg, const struct dns_answer *a)
{
	struct dns_query **slot = arg;

	assert_null(*slot);
	assert_int_equal(a->outcome, DNS_FOUND);
	if (++ends == MANY)
		loop_stop(the_loop);
}

static void many_take_turns(void **state)
{
	char name[32];

	(void)state;
	for (size_t i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "h%zu.test", i);
		assert_int_equal(dns_query_start(&query[i], dns, name, DNS_A, 10000, on_one_of_many,
		                                 &query[i]),
		                 ERR_OK);
	}
	harness_run();
	assert_int_equal(ends, MANY);
	assert_int_equal(atomic_load(&queries), MANY);
	assert_in_range(atomic_load(&same_ids), 0, 2); /* ids do not count up */
}

static void waiting_is_bounded(void **state)
{
	size_t i = 0;

	(void)state;
	while (dns_query_start(&query[i], dns, "h.test", DNS_A, 10000, on_done, &query[i]) ==
	       ERR_OK)
		assert_true(++i < MANY * 2);
	assert_int_equal(i, AT_ONCE * 16);
	assert_int_equal(
		dns_query_start(&query[i], dns, "h.test", DNS_A, 10000, on_done, &query[i]),
		ERR_BUSY);
	assert_null(query[i]);
}

static void the_waiting_time_out_too(void **state)
{
	(void)state;
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(dns_query_start(&query[i], dns, "silent.test", DNS_A, 30 + i * 20,
		                                 on_done, &query[i]),
		                 ERR_OK);
	while (ends < 4)
		harness_run();
	assert_string_equal(got.why, "timeout");
}

static void names_that_cannot_be_asked_for(void **state)
{
	static const char *const names[] = { "", ".", "a..b", "a b", "a\\.b", "-\n" };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		assert_int_equal(
			dns_query_start(&query[0], dns, names[i], DNS_A, 100, on_done, &query[0]),
			ERR_SYNTAX);
		assert_null(query[0]);
	}
}

static void cancel_at_each_stage(void **state)
{
	(void)state;
	assert_int_equal(dns_query_start(&query[0], dns, "h.test", DNS_A, 1000, on_done, &query[0]),
	                 ERR_OK);
	dns_query_cancel(&query[0]); /* waiting */
	dns_query_cancel(&query[0]);
	assert_null(query[0]);
	harness_run_for(20);
	assert_int_equal(atomic_load(&queries), 0);
	assert_int_equal(
		dns_query_start(&query[0], dns, "silent.test", DNS_A, 1000, on_done, &query[0]),
		ERR_OK);
	harness_run_for(20);
	dns_query_cancel(&query[0]); /* running */
	assert_int_equal(
		dns_query_start(&query[0], dns, "late.test", DNS_A, 1000, on_done, &query[0]),
		ERR_OK);
	harness_run_for(20);
	dns_query_cancel(&query[0]);
	harness_run_for(200); /* its answer arrives */
	assert_int_equal(ends, 0);
}

static void on_done_cancels_the_other(void *arg, const struct dns_answer *a)
{
	(void)arg;
	(void)a;
	ends++;
	dns_query_cancel(&query[0]);
	dns_query_cancel(&query[1]);
	loop_stop(the_loop);
}

static void cancel_inside_done(void **state)
{
	(void)state;
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(dns_query_start(&query[i], dns, "h.test", DNS_A, 1000,
		                                 on_done_cancels_the_other, NULL),
		                 ERR_OK);
	usleep(1000);
	harness_run();
	harness_run_for(20);
	assert_int_equal(ends, 1);
}

static void on_done_frees(void *arg, const struct dns_answer *a)
{
	(void)arg;
	assert_int_equal(a->outcome, DNS_FOUND);
	dns_free(dns);
	dns = NULL;
	loop_stop(the_loop);
}

static void free_inside_done(void **state)
{
	(void)state;
	ask("silent.test", DNS_A, 10); /* c-ares keeps this one */
	assert_int_equal(
		dns_query_start(&query[0], dns, "h.test", DNS_A, 1000, on_done_frees, NULL),
		ERR_OK);
	harness_run();
	assert_null(dns);
}

static void on_done_asks_again(void *arg, const struct dns_answer *a)
{
	assert_int_equal(a->outcome, DNS_FOUND);
	if (++ends == 20) {
		loop_stop(the_loop);
		return;
	}
	assert_int_equal(
		dns_query_start(&query[0], dns, "h.test", DNS_A, 1000, on_done_asks_again, arg),
		ERR_OK);
}

static void ask_inside_done(void **state)
{
	(void)state;
	assert_int_equal(
		dns_query_start(&query[0], dns, "h.test", DNS_A, 1000, on_done_asks_again, NULL),
		ERR_OK);
	harness_run();
	assert_int_equal(atomic_load(&queries), 20);
}

static void the_systems_resolvers(void **state)
{
	struct dns *other = NULL;

	(void)state;
	assert_int_equal(dns_new(the_loop, NULL, 1, &other), ERR_OK);
	dns_free(other);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(finds),
		T(aliases_are_followed_by_asking_again),
		T(aliases_end_with_their_question),
		T(absence_is_told_apart),
		T(failure_is_not_absence),
		T(truncation_is_asked_again_over_tcp),
		T(nonsense_is_ignored),
		T(silence_times_out),
		T(asked_again_without_an_answer),
		T(late_answers_are_for_nobody),
		T(nobody_listens),
		T(neither_hosts_file_nor_search_domains),
		T(many_take_turns),
		T(waiting_is_bounded),
		T(the_waiting_time_out_too),
		T(names_that_cannot_be_asked_for),
		T(cancel_at_each_stage),
		T(cancel_inside_done),
		T(free_inside_done),
		T(ask_inside_done),
		T(the_systems_resolvers),
	};

	return cmocka_run_group_tests(tests, server_start, server_stop);
}
