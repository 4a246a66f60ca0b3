#include "net/wol.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

static const struct wol_mac nas = { { 0x02, 0x11, 0x22, 0x33, 0xab, 0xff } };

static void mac_spellings(void **state)
{
	static const struct {
		struct str  text;
		enum err    want;
		const char *back;
	} rows[] = {
		{ STR("00:11:22:33:44:55"), ERR_OK, "00:11:22:33:44:55" },
		{ STR("00-11-22-33-44-55"), ERR_OK, "00:11:22:33:44:55" },
		{ STR("aA:bB:cC:dD:eE:fF"), ERR_OK, "aa:bb:cc:dd:ee:ff" },
		{ STR("fe:ff:ff:ff:ff:ff"), ERR_OK, "fe:ff:ff:ff:ff:ff" },
		{ STR("00:00:00:00:00:01"), ERR_OK, "00:00:00:00:00:01" },
		{ STR(""), ERR_SYNTAX, NULL },
		{ STR("00:11:22:33:44"), ERR_SYNTAX, NULL },
		{ STR("00:11:22:33:44:5"), ERR_SYNTAX, NULL },
		{ STR("00:11:22:33:44:555"), ERR_SYNTAX, NULL },
		{ STR("00:11:22:33:44:55:66"), ERR_SYNTAX, NULL },
		{ STR("00:11-22:33:44:55"), ERR_SYNTAX, NULL },
		{ STR("00.11.22.33.44.55"), ERR_SYNTAX, NULL },
		{ STR("0:11:22:33:44:555"), ERR_SYNTAX, NULL },
		{ STR("00:11:22:33:44:5g"), ERR_SYNTAX, NULL },
		{ STR("00:11:22:33:44:g5"), ERR_SYNTAX, NULL },
		{ STR("001122334455"), ERR_SYNTAX, NULL },
		{ STR("00:11:22:33:44:5\0"), ERR_SYNTAX, NULL },
		{ STR(" 00:11:22:33:44:5"), ERR_SYNTAX, NULL },
		{ STR("00:00:00:00:00:00"), ERR_RANGE, NULL },
		{ STR("ff:ff:ff:ff:ff:ff"), ERR_RANGE, NULL }, /* everybody */
		{ STR("01:00:5e:00:00:01"), ERR_RANGE, NULL }, /* a group */
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct wol_mac got;
		char           text[WOL_MAC_TEXT_SIZE];

		print_message("  %.*s\n", (int)rows[i].text.len, rows[i].text.ptr);
		assert_int_equal(wol_mac_parse(rows[i].text, &got), rows[i].want);
		if (rows[i].want == ERR_OK)
			assert_string_equal(wol_mac_text(&got, text), rows[i].back);
	}
}

static void mac_prefixes(void **state)
{
	static const char text[] = "00:11:22:33:44:55";

	(void)state;
	for (size_t n = 0; n < sizeof(text); n++) {
		char          *exact = malloc(n > 0 ? n : 1);
		struct wol_mac got;

		assert_non_null(exact);
		memcpy(exact, text, n);
		assert_int_equal(wol_mac_parse(str_span(exact, n), &got),
		                 n == sizeof(text) - 1 ? ERR_OK : ERR_SYNTAX);
		free(exact);
	}
}

static void assert_magic(const uint8_t *p, size_t n)
{
	assert_int_equal(n, WOL_PACKET_BYTES);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(p[i], i < 6 ? 0xff : nas.byte[i % 6]);
}

static void packet(void **state)
{
	uint8_t *exact = malloc(WOL_PACKET_BYTES);

	(void)state;
	assert_non_null(exact);
	assert_int_equal(WOL_PACKET_BYTES, 102);
	wol_packet(&nas, exact);
	assert_magic(exact, WOL_PACKET_BYTES);
	free(exact);
}

static void targets(void **state)
{
	static const struct {
		const char *machine;
		enum err    want;
		const char *to;
	} rows[] = {
		{ "127.0.0.1", ERR_OK,
		  "127.255.255.255" }, /* the network of the loopback interface */
		{ "127.3.2.1", ERR_OK, "127.255.255.255" },
		{ "203.0.113.9", ERR_UNREACHABLE, NULL }, /* on nobody's network */
		{ "::1", ERR_UNREACHABLE, NULL },         /* a network of one */
		{ "2001:db8::9", ERR_UNREACHABLE, NULL },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		struct address    machine;
		struct wol_target t;
		char              text[ADDRESS_TEXT_SIZE];

		print_message("  %s\n", rows[i].machine);
		assert_int_equal(address_parse_ip(str_of(rows[i].machine), &machine), ERR_OK);
		assert_int_equal(wol_target_near(&machine, &t), rows[i].want);
		if (rows[i].want == ERR_OK) {
			assert_string_equal(address_ip_text(&t.to, text), rows[i].to);
			assert_int_equal(t.to.port, 0);
			assert_int_equal(t.scope, 0);
		}
	}
}

/* A socket that hears, on a port of its own or the given one; -1: not permitted. */
static int hear(const char *ip, uint16_t *port)
{
	struct timeval     limit = { .tv_sec = 10 };
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(*port) };
	socklen_t          len = sizeof(in);
	int                fd = socket(AF_INET, SOCK_DGRAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(inet_pton(AF_INET, ip, &in.sin_addr), 1);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (bind(fd, (struct sockaddr *)&in, sizeof(in)) != 0) {
		assert_int_equal(errno, EACCES);
		close(fd);
		return -1;
	}
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	*port = ntohs(in.sin_port);
	return fd;
}

static void assert_heard(int fd)
{
	uint8_t got[200];
	ssize_t n = recv(fd, got, sizeof(got), 0);

	assert_true(n >= 0);
	assert_magic(got, (size_t)n);
	assert_int_equal(recv(fd, got, sizeof(got), MSG_DONTWAIT), -1); /* once */
}

static void heard_at_an_address(void **state)
{
	struct wol_target t = { .to = address_v4(127, 0, 0, 1, 0) };
	int               fd = hear("127.0.0.1", &t.to.port);

	(void)state;
	assert_int_equal(wol_send(&nas, &t), ERR_OK);
	assert_heard(fd);
	close(fd);
}

/* The system refuses this to a socket without SO_BROADCAST. */
static void heard_by_all(void **state)
{
	struct address    machine = address_v4(127, 0, 0, 1, 0);
	struct wol_target t;
	uint16_t          port = 0;
	int               fd = hear("0.0.0.0", &port);

	(void)state;
	assert_int_equal(wol_target_near(&machine, &t), ERR_OK);
	t.to.port = port;
	assert_int_equal(wol_send(&nas, &t), ERR_OK);
	assert_heard(fd);
	close(fd);
}

static void heard_at_both_ports(void **state)
{
	struct wol_target t = { .to = address_v4(127, 9, 7, 1, 0) };
	uint16_t          discard = 9, echo = 7;
	int               first = hear("127.9.7.1", &discard), second = hear("127.9.7.1", &echo);

	(void)state;
	if (first < 0 || second < 0)
		skip(); /* ports below 1024 are not for this user */
	assert_int_equal(wol_send(&nas, &t), ERR_OK);
	assert_heard(first);
	assert_heard(second);
	close(first);
	close(second);
}

static void trouble_is_reported(void **state)
{
	struct wol_target t = { .to = { .family = ADDRESS_V6, .ip = { 0xfe, 0x80, [15] = 1 } },
		                .scope = 0x7ffffff0 }; /* no such interface */

	(void)state;
	assert_int_not_equal(wol_send(&nas, &t), ERR_OK);
	t.to.port = 9;
	assert_int_not_equal(wol_send(&nas, &t), ERR_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mac_spellings),
		cmocka_unit_test(mac_prefixes),
		cmocka_unit_test(packet),
		cmocka_unit_test(targets),
		cmocka_unit_test(heard_at_an_address),
		cmocka_unit_test(heard_by_all),
		cmocka_unit_test(heard_at_both_ports),
		cmocka_unit_test(trouble_is_reported),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
