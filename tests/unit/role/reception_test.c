#include "unit/loop/harness.h"

#include <string.h>

#include "role/reception.h"

/* A homeserver that is off: its port refuses. */
static struct homeserver_settings homeserver = { .section = "nas",
	                                         .host = "127.0.0.1",
	                                         .connections_max = 4,
	                                         .sleeps = true,
	                                         .probe_ms = 1000 };
static struct settings            settings = { .limits = { .memory_class = 64,
	                                                   .inbound_connections = 64,
	                                                   .response_head_max = 8192,
	                                                   .homeserver_idle_ms = 30000,
	                                                   .connect_ms = 3000 } };
static struct upstream           *upstream;
static struct reception          *reception;
static struct reception_guest     guest;
static unsigned                   left;

static void find_free_port(void)
{
	struct endpoint  at = { .path = "" };
	struct listener *l;

	at.address = address_v4(127, 0, 0, 1, 0);
	assert_int_equal(listener_open(the_loop, &at, NULL, NULL, &l), ERR_OK);
	homeserver.endpoint = *listener_endpoint(l);
	homeserver.port = homeserver.endpoint.address.port;
	listener_close(l);
}

static int setup(void **state)
{
	struct reception_options o = { .settings = &settings, .homeserver = &homeserver };

	if (harness_setup(state) != 0)
		return 1;
	left = 0;
	find_free_port();
	homeserver.url = "http://127.0.0.1";
	settings.homeservers = &homeserver;
	settings.homeserver_count = 1;
	if (upstream_new(the_loop, &homeserver, &settings.limits, NULL, NULL, &upstream) != ERR_OK)
		return 1;
	o.loop = the_loop;
	o.upstream = upstream;
	return reception_new(&o, &reception) == ERR_OK ? 0 : 1;
}

static int teardown(void **state)
{
	upstream_drop(upstream);
	return harness_teardown(state);
}

/* As a passage: it ends, and holds nothing any more. */
static void on_left(void *arg)
{
	struct reception *r = arg;

	left++;
	guest_leave(&guest);
	reception_drop(r);
}

/*
 * A reload took the homeserver away while it works on a request, and then it is found to be off: the
 * request was the last that needed its reception.
 */
static void last_guest_of_a_retired_one(void **state)
{
	(void)state;
	guest_init(&guest, on_left, reception_keep(reception));
	guest_enter(reception, &guest);
	reception_retire(reception);
	for (unsigned i = 0; left == 0 && i < 2000; i++)
		harness_run_for(5);
	assert_int_equal(left, 1);
}

/* The same without a reload: it is there for the next one. */
static void guests_are_told(void **state)
{
	(void)state;
	guest_init(&guest, on_left, reception_keep(reception));
	guest_enter(reception, &guest);
	for (unsigned i = 0; left == 0 && i < 2000; i++)
		harness_run_for(5);
	assert_int_equal(left, 1);
	assert_int_equal(sleeper_state(reception->sleeper), AWAKE_ASLEEP);
	reception_drop(reception);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(guests_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(last_guest_of_a_retired_one, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
