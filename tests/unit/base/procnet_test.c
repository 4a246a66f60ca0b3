#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/procnet.h"
#include "support/exact.h"

/* A word as the kernel prints four bytes of an address: as a number of this machine's own byte order. */
static const char *word(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	static char text[8][9];
	static int  next;
	uint8_t     bytes[4] = { a, b, c, d };
	uint32_t    n;

	next = (next + 1) % 8;
	memcpy(&n, bytes, 4);
	snprintf(text[next], sizeof(text[0]), "%08X", (unsigned)n);
	return text[next];
}

static void listeners(void **state)
{
	struct procnet_listener l;
	char                    line[256];
	struct address          v6 = { ADDRESS_V6, { 0x20, 1, 0xd, 0xb8, [15] = 1 }, 8448 };

	(void)state;
	snprintf(
		line, sizeof(line),
		"   3: %s:20FB 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 "
		"31337 1 0000 100 0 0 10 0\n",
		word(192, 0, 2, 1));
	assert_true(procnet_listener(str_of(line), &l));
	assert_true(address_equal(&l.at, &(struct address){ ADDRESS_V4, { 192, 0, 2, 1 }, 8443 }));
	assert_int_equal(l.inode, 31337);
	snprintf(
		line, sizeof(line),
		"  10: %s%s%s%s:2100 %032d:0000 0A 00000000:00000000 00:00000000 00000000 0 0 18446744073709551615 1\n",
		word(0x20, 1, 0xd, 0xb8), word(0, 0, 0, 0), word(0, 0, 0, 0), word(0, 0, 0, 1), 0);
	assert_true(procnet_listener(str_of(line), &l));
	assert_true(address_equal(&l.at, &v6));
	assert_int_equal(l.inode, UINT64_MAX);
}

static const char *const no_listeners[] = {
	"",
	"\n",
	"  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n",
	"   0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000 0 0 1 1\n",
	"   0: 0100007F 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1\n",
	"   0: 0100007F:1F901 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1\n",
	"   0: 0100007:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1\n",
	"   0: 0100007G:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1\n",
	"   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 x 1\n",
	"   0: 0100007F:1F90 00000000:0000 0A\n",
};

static void other_lines(void **state)
{
	struct procnet_listener l;

	(void)state;
	for (size_t i = 0; i < sizeof(no_listeners) / sizeof(no_listeners[0]); i++) {
		print_message("  %s\n", no_listeners[i]);
		assert_false(procnet_listener(str_of(no_listeners[i]), &l));
	}
}

static const struct {
	const char *line, *interface;
	unsigned    metric;
} routes[] = {
	{ "wan\t00000000\t0102A8C0\t0003\t0\t0\t10\t00000000\t0\t0\t0\n", "wan", 10 },
	{ "pppoe-wan\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n", "pppoe-wan", 0 },
	{ "wan\t00000000\t0102A8C0\t0002\t0\t0\t10\t00000000\t0\t0\t0\n", NULL, 0 }, /* down */
	{ "br-lan\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n", NULL, 0 },
	{ "wan\t00000000\t0102A8C0\t0003\t0\t0\t10\t000000FF\t0\t0\t0\n", NULL, 0 }, /* 0/8 */
	{ "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n",
	  NULL, 0 },
	{ "an-interface-of-too-long-a-name\t00000000\t0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n", NULL,
	  0 },
	{ "wan\t00000000\n", NULL, 0 },
	{ "", NULL, 0 },
};

static void default_routes(void **state)
{
	struct procnet_route r;

	(void)state;
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		print_message("  %s\n", routes[i].line);
		assert_int_equal(procnet_default_route(str_of(routes[i].line), &r),
		                 routes[i].interface != NULL);
		if (routes[i].interface == NULL)
			continue;
		assert_string_equal(r.interface, routes[i].interface);
		assert_int_equal(r.metric, routes[i].metric);
	}
}

/* Cut off anywhere: nothing beyond the end is read. */
static void prefixes(void **state)
{
	static const char line[] =
		"  10: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 31337 1";
	struct procnet_listener l;
	struct procnet_route    r;

	(void)state;
	for (size_t n = 0; n < sizeof(line); n++) {
		struct exact x;
		struct str   s = exact_copy(&x, str_head(str_of(line), n));

		(void)procnet_listener(s, &l);
		(void)procnet_default_route(s, &r);
		exact_free(&x);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(listeners),
		cmocka_unit_test(other_lines),
		cmocka_unit_test(default_routes),
		cmocka_unit_test(prefixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
