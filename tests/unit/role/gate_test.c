/*
 * The gate with requests that are nothing but a head and an address. Time stands until it is moved.
 */
#include "role/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/metrics.h"
#include "support/memory_loop.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define PROFILE  "/_matrix/federation/v1/query/profile?user_id=%40a%3Ahome.example"
#define INVITE   "/_matrix/federation/v2/invite/!r:x/$e"
#define SYNC     "/_matrix/client/v3/sync"

enum { RATE = 2, BURST = RATE * GATE_BURST_S };

/* ---- requests ---- */

struct http_request {
	struct head    head;
	struct field   fields[4];
	struct address peer;
	struct arena   arena;
	char           text[4][300];
};

const struct head *http_request_head(const struct http_request *r)
{
	return &r->head;
}

const struct address *http_request_peer(const struct http_request *r)
{
	return &r->peer;
}

struct arena *http_request_arena(struct http_request *r)
{
	return &r->arena;
}

static struct loop    *loop;
static struct gate    *gate;
static struct settings settings;
static unsigned        turns;

static const char *const denied[] = { "bad.example", "*.worse.example" };
static const char *const allowed[] = { "good.example", "*.fine.example" };
static const char *const friends[] = { "friend.example" };

static const struct domain_settings domain = { .server_name = "home.example" };

static int setup(void **state)
{
	struct gate_options o;

	(void)state;
	loop = memory_loop_new();
	memory_loop_set_unix(loop, 1800000000000ull);
	memory_loop_pass(loop, 1000);
	o = (struct gate_options){ loop, NULL, 64 };
	settings = (struct settings){
		.domains = &domain,
		.domain_count = 1,
		.limits = { .inbound_connections = 64, .origin_rate = RATE, .address_rate = RATE }
	};
	memset(&metrics, 0, sizeof(metrics));
	turns = 0;
	return gate_new(&o, &gate) != ERR_OK;
}

static int teardown(void **state)
{
	(void)state;
	gate_free(gate);
	memory_loop_free(loop);
	return 0;
}

static void request_init(struct http_request *r, const char *method, const char *path)
{
	*r = (struct http_request){ .peer = address_v4(9, 9, 9, 9, 1000) };
	r->head.method = head_method(str_of(method));
	r->head.method_text = str_of(method);
	r->head.path = str_of(path);
	r->head.fields = r->fields;
	arena_init(&r->arena, 32768);
}

static void request_add(struct http_request *r, const char *authorization)
{
	size_t i = r->head.field_count++;

	snprintf(r->text[i], sizeof(r->text[i]), "%s", authorization);
	r->fields[i] =
		(struct field){ FIELD_AUTHORIZATION, STR("Authorization"), str_of(r->text[i]) };
}

static void request_claim(struct http_request *r, const char *origin)
{
	char text[300];

	snprintf(text, sizeof(text), "X-Matrix origin=\"%s\",key=\"ed25519:1\",sig=\"AAAA\"",
	         origin);
	request_add(r, text);
}

static void on_turn(void *arg)
{
	(void)arg;
	turns++;
}

static enum gate_word enter(struct gate_visit *v, struct http_request *r)
{
	struct asleep_match match;

	asleep_find(r->head.method_text, r->head.path, &match);
	gate_visit_init(v, gate, loop, on_turn, NULL);
	return gate_enter(v, &settings, &domain, &match, r);
}

/* A visit that ends with this status; 0: without an answer. */
static enum gate_word pass(struct http_request *r, int status)
{
	struct gate_visit v;
	enum gate_word    w = enter(&v, r);

	if (w == GATE_GO && status != 0)
		gate_answered(&v, status);
	gate_leave(&v);
	arena_fini(&r->arena);
	arena_init(&r->arena, 32768);
	return w;
}

static enum gate_word claims(const char *method, const char *path, const char *origin)
{
	struct http_request r;
	enum gate_word      w;

	request_init(&r, method, path);
	request_claim(&r, origin);
	w = pass(&r, 0);
	arena_fini(&r.arena);
	return w;
}

static enum gate_word answered(const char *path, const char *token, int status)
{
	struct http_request r;
	enum gate_word      w;
	char                text[200];

	request_init(&r, "GET", path);
	if (token != NULL) {
		snprintf(text, sizeof(text), "Bearer %s", token);
		request_add(&r, text);
	}
	w = pass(&r, status);
	arena_fini(&r.arena);
	return w;
}

/* ---- the owner's word ---- */

static void denied_and_allowed(void **state)
{
	static const struct {
		const char    *origin;
		enum gate_word by_deny, by_allow, by_both;
	} rows[] = {
		{ "bad.example", GATE_DENIED, GATE_UNLISTED, GATE_DENIED },
		{ "BAD.example:8448", GATE_DENIED, GATE_UNLISTED, GATE_DENIED },
		{ "a.worse.example", GATE_DENIED, GATE_UNLISTED, GATE_DENIED },
		{ "good.example", GATE_GO, GATE_GO, GATE_GO },
		{ "a.fine.example", GATE_GO, GATE_GO, GATE_GO },
		{ "stranger.example", GATE_GO, GATE_UNLISTED, GATE_UNLISTED },
		{ "home.example", GATE_GO, GATE_GO, GATE_GO }, /* served here, too */
	};

	(void)state;
	settings.limits.address_rate = 0;
	for (size_t i = 0; i < COUNT(rows); i++) {
		settings.deny_servers = (struct server_names){ denied, 2 };
		settings.allow_servers = (struct server_names){ NULL, 0 };
		assert_int_equal(claims("GET", PROFILE, rows[i].origin), rows[i].by_deny);
		settings.allow_servers = (struct server_names){ allowed, 2 };
		assert_int_equal(claims("GET", PROFILE, rows[i].origin), rows[i].by_both);
		settings.deny_servers = (struct server_names){ NULL, 0 };
		assert_int_equal(claims("GET", PROFILE, rows[i].origin), rows[i].by_allow);
		assert_int_equal(gate_policy(&settings, str_of(rows[i].origin)), rows[i].by_allow);
	}
	assert_int_equal(metrics.counters[COUNT_gate_denied], 6);
	assert_int_equal(metrics.counters[COUNT_gate_unlisted], 5);
}

static void unsigned_endpoints_stay(void **state)
{
	static const char *const paths[] = { "/_matrix/key/v2/server",
		                             "/_matrix/federation/v1/version",
		                             "/_matrix/key/v2/query/home.example" };

	(void)state;
	settings.deny_servers = (struct server_names){ denied, 2 };
	for (size_t i = 0; i < COUNT(paths); i++)
		assert_int_equal(claims("GET", paths[i], "bad.example"), GATE_GO);
	assert_int_equal(claims("GET", "/_matrix/federation/v1/new/thing", "bad.example"),
	                 GATE_DENIED);
}

/* What we cannot read a homeserver might read: where somebody is denied it could be he. */
static void unreadable(void **state)
{
	struct http_request r;

	(void)state;
	request_init(&r, "GET", PROFILE);
	request_claim(&r, "good.example");
	request_claim(&r, "bad.example");
	assert_int_equal(pass(&r, 0), GATE_GO);
	settings.deny_servers = (struct server_names){ denied, 2 };
	assert_int_equal(pass(&r, 0), GATE_UNREADABLE);
	assert_int_equal(metrics.counters[COUNT_gate_unreadable], 1);
	arena_fini(&r.arena);
}

static void refusals_say_why(void **state)
{
	(void)state;
	for (enum gate_word w = GATE_DENIED; w <= GATE_CROWDED; w++)
		assert_true(gate_refusal(w)->status >= 400 && gate_refusal(w)->text != NULL);
	assert_int_equal(gate_refusal(GATE_UNINVITED)->status, 403);
	assert_string_equal(gate_refusal(GATE_UNINVITED)->errcode, "M_FORBIDDEN");
}

/* ---- invitations ---- */

static void invitations(void **state)
{
	static const char *const paths[] = {
		INVITE,
		"/_matrix/federation/v1/invite/!r:x/$e",
		INVITE "/",
		"/_matrix/federation/v2/%69nvite/!r:x/$e",
		"/_matrix/federation/v9/invite/x",
		"/_matrix/federation/v2/invite//$e",
	};

	(void)state;
	settings.limits.address_rate = 0;
	settings.invite_servers = (struct server_names){ friends, 1 };
	assert_int_equal(claims("PUT", INVITE, "stranger.example"), GATE_GO);
	settings.invites_from = INVITES_FROM_KNOWN;
	for (size_t i = 0; i < COUNT(paths); i++)
		assert_int_equal(claims("PUT", paths[i], "stranger.example"), GATE_UNINVITED);
	assert_int_equal(metrics.counters[COUNT_gate_invites], COUNT(paths));
	assert_int_equal(claims("GET", PROFILE, "stranger.example"), GATE_GO);
	assert_int_equal(claims("PUT", "/_matrix/federation/v1/send/invite", "stranger.example"),
	                 GATE_GO);
	assert_int_equal(claims("PUT", INVITE, "friend.example"), GATE_GO);
	assert_int_equal(claims("PUT", INVITE, "home.example"), GATE_GO);
	gate_wrote_to(gate, STRL("stranger.example"));
	assert_int_equal(claims("PUT", INVITE, "stranger.example"), GATE_GO);
	assert_int_equal(claims("PUT", INVITE, "other.example"), GATE_UNINVITED);
	settings.invites_from = INVITES_FROM_ALLOWED;
	assert_int_equal(claims("PUT", INVITE, "stranger.example"), GATE_UNINVITED);
	assert_int_equal(claims("PUT", INVITE, "friend.example"), GATE_GO);
	settings.deny_servers = (struct server_names){ friends, 1 };
	assert_int_equal(claims("PUT", INVITE, "friend.example"), GATE_DENIED);
}

static void who_becomes_known(void **state)
{
	(void)state;
	assert_true(gate_makes_known(ASLEEP_SEND) && gate_makes_known(ASLEEP_SEND_JOIN) &&
	            gate_makes_known(ASLEEP_INVITE));
	/* what a stranger can make it ask or say */
	assert_false(gate_makes_known(ASLEEP_KEY_SERVER) || gate_makes_known(ASLEEP_PROFILE) ||
	             gate_makes_known(ASLEEP_EVENT) || gate_makes_known(ASLEEP_MISSING_EVENTS) ||
	             gate_makes_known(ASLEEP_SEND_LEAVE) || gate_makes_known(ASLEEP_MAKE_LEAVE) ||
	             gate_makes_known(ASLEEP_MEDIA_DOWNLOAD));
	assert_false(gate_has_known(gate) || gate_has_known(NULL) ||
	             gate_is_known(NULL, STRL("a.example")));
	gate_wrote_to(NULL, STRL("a.example"));
	gate_wrote_to(gate, STRL("a.example"));
	assert_true(gate_has_known(gate) && gate_is_known(gate, STRL("a.example")));
	assert_false(gate_is_known(gate, STRL("b.example")));
}

/* ---- how fast ---- */

static void use_up(struct http_request *r, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(pass(r, 0), GATE_GO);
}

static void too_many_wait(void **state)
{
	struct http_request r;
	struct gate_visit   v[3];

	(void)state;
	request_init(&r, "GET", "/_matrix/federation/v1/version");
	use_up(&r, BURST);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(enter(&v[i], &r), GATE_WAIT);
	assert_int_equal(metrics.gauges[GAUGE_gate_waiting].used, 3);
	gate_leave(&v[2]); /* the peer left */
	memory_loop_pass(loop, 1000 / RATE - 1);
	assert_int_equal(turns, 0);
	memory_loop_pass(loop, 2);
	assert_int_equal(turns, 1);
	memory_loop_pass(loop, 10000);
	assert_int_equal(turns, 2);
	assert_int_equal(metrics.gauges[GAUGE_gate_waiting].used, 0);
	assert_int_equal(metrics.counters[COUNT_gate_slowed], 3);
	arena_fini(&r.arena);
}

/* Nobody waits for longer than a peer is patient, nor do more wait than a quarter. */
static void lines_end(void **state)
{
	struct http_request r;
	struct gate_visit   v[64];
	unsigned            waiting = 0;

	(void)state;
	request_init(&r, "GET", PROFILE);
	use_up(&r, BURST);
	for (unsigned i = 0; i < 64; i++)
		waiting += enter(&v[i], &r) == GATE_WAIT;
	assert_int_equal(waiting, 64 / 4);
	for (unsigned i = 0; i < 64; i++)
		gate_leave(&v[i]);
	for (unsigned i = 0; i < 64; i++)
		(void)pass(&r, 0);
	settings.limits.inbound_connections = 1000;
	waiting = 0;
	for (unsigned i = 0; i < 64; i++)
		waiting += enter(&v[i], &r) == GATE_WAIT;
	assert_int_equal(waiting, 0);
	for (unsigned i = 0; i < 64; i++)
		gate_leave(&v[i]);
	assert_true(metrics.counters[COUNT_gate_crowded] > 64);
	arena_fini(&r.arena);
}

/* However many names a forger has, he has one bucket; and the one he claims to be is not slowed down. */
static void forgers_slow_themselves(void **state)
{
	struct http_request real;
	char                name[40];
	unsigned            passed = 0;

	(void)state;
	request_init(&real, "GET", PROFILE);
	request_claim(&real, "good.example");
	real.peer = address_v4(8, 8, 8, 8, 1);
	assert_int_equal(pass(&real, 200), GATE_GO);
	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "n%u.example", i);
		passed += claims("GET", PROFILE, i % 2 ? "good.example" : name) == GATE_GO;
	}
	assert_int_equal(passed, BURST);
	use_up(&real, BURST);
	assert_int_equal(pass(&real, 0), GATE_WAIT); /* his own rate */
	arena_fini(&real.arena);
}

/* A valid key makes nobody faster by having many addresses. */
static void one_bucket_for_an_origin(void **state)
{
	struct http_request r;
	unsigned            passed = 0;

	(void)state;
	request_init(&r, "GET", PROFILE);
	request_claim(&r, "good.example");
	for (unsigned i = 0; i < 50; i++) {
		r.peer = address_v4(8, 8, 8, (uint8_t)i, 1);
		assert_int_equal(pass(&r, 200), GATE_GO); /* its address is a stranger's yet */
	}
	for (unsigned i = 0; i < 50; i++) {
		r.peer = address_v4(8, 8, 8, (uint8_t)i, 1);
		passed += pass(&r, 200) == GATE_GO;
	}
	assert_int_equal(passed, BURST);
	arena_fini(&r.arena);
}

static void what_verifies(void **state)
{
	static const struct {
		const char *method, *path;
		int         status;
		bool        verified;
	} rows[] = {
		{ "GET", PROFILE, 200, true },
		{ "PUT", "/_matrix/federation/v1/send/1", 200, true },
		{ "GET", PROFILE, 401, false },
		{ "GET", PROFILE, 404, false },
		{ "GET", PROFILE, 500, false },
		{ "GET", "/_matrix/federation/v1/version", 200, false }, /* whoever asks */
		{ "GET", "/_matrix/federation/v9/new", 200, false },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct http_request r, next;
		unsigned            passed = 0;

		request_init(&r, rows[i].method, rows[i].path);
		request_claim(&r, "good.example");
		r.peer = address_v4(8, 8, (uint8_t)i, 1, 1);
		assert_int_equal(pass(&r, rows[i].status), GATE_GO);
		request_init(&next, "GET", PROFILE);
		request_claim(&next, "good.example");
		next.peer = r.peer;
		for (unsigned k = 0; k < 2 * BURST; k++) /* of the address one was used */
			passed += pass(&next, 0) == GATE_GO;
		assert_int_equal(passed, rows[i].verified ? BURST : BURST - 1);
		memory_loop_pass(loop, 2 * GATE_VERIFIED_MS);
		arena_fini(&r.arena);
		arena_fini(&next.arena);
	}
}

static void networks(void **state)
{
	struct http_request r;
	struct address      other;

	(void)state;
	request_init(&r, "GET", PROFILE);
	assert_int_equal(address_parse_ip(STRL("2a00:1450::1"), &r.peer), ERR_OK);
	use_up(&r, BURST);
	assert_int_equal(address_parse_ip(STRL("2a00:1450::ffff:1"), &r.peer), ERR_OK);
	assert_int_equal(pass(&r, 0), GATE_WAIT); /* the same /64 */
	assert_int_equal(address_parse_ip(STRL("2a00:1450:0:1::1"), &other), ERR_OK);
	r.peer = other;
	assert_int_equal(pass(&r, 0), GATE_GO);
	r.peer = address_v4(192, 168, 1, 7, 1); /* of the house */
	use_up(&r, 10 * BURST);
	r.peer = address_v4(127, 0, 0, 1, 1);
	use_up(&r, 10 * BURST);
	settings.limits.address_rate = 0;
	r.peer = address_v4(9, 9, 9, 9, 1);
	use_up(&r, 10 * BURST);
	arena_fini(&r.arena);
}

/* ---- clients ---- */

static bool is_client(const char *path, const char *token)
{
	struct http_request r;
	struct gate_visit   v;
	char                text[200];
	bool                is;

	request_init(&r, "GET", path);
	r.peer = address_v4(127, 0, 0, 1, 1);
	snprintf(text, sizeof(text), "Bearer %s", token);
	request_add(&r, text);
	assert_int_equal(enter(&v, &r), GATE_GO);
	is = gate_is_client(&v);
	gate_leave(&v);
	arena_fini(&r.arena);
	return is;
}

static void tokens(void **state)
{
	(void)state;
	assert_false(is_client(SYNC, "one"));
	(void)answered(SYNC, "one", 401);
	(void)answered(SYNC, "one", 500);
	(void)answered("/_matrix/client/versions", "one", 200);
	(void)answered("/_matrix/client/v3/login", "one", 200);
	assert_false(is_client(SYNC, "one"));
	(void)answered(SYNC, "one", 200);
	assert_true(is_client(SYNC, "one"));
	assert_true(is_client("/_matrix/client/v3/rooms/!a:b/messages", "one"));
	assert_true(is_client(SYNC "?access_token=", "one") == false); /* two of them */
	assert_false(is_client(SYNC, "two"));
	assert_false(is_client(PROFILE, "one")); /* another kind of request */
	assert_int_equal(metrics.counters[COUNT_tokens_learnt], 1);
	(void)answered("/_matrix/client/v3/logout", "one", 200);
	assert_false(is_client(SYNC, "one"));
	(void)answered(SYNC, "one", 200);
	(void)answered(SYNC, "one", 401);
	assert_false(is_client(SYNC, "one"));
	(void)answered(SYNC, NULL, 200);
}

static void clients_do_not_wait(void **state)
{
	struct http_request r;

	(void)state;
	(void)answered(SYNC, "one", 200);
	request_init(&r, "GET", SYNC);
	request_add(&r, "Bearer one");
	use_up(&r, 10 * BURST);
	request_init(&r, "GET", SYNC);
	request_add(&r, "Bearer two");
	use_up(&r, BURST - 1);
	assert_int_equal(pass(&r, 0), GATE_WAIT);
	arena_fini(&r.arena);
}

static void without_a_gate(void **state)
{
	struct http_request r;
	struct gate_visit   v;
	struct asleep_match match;

	(void)state;
	request_init(&r, "GET", SYNC);
	asleep_find(r.head.method_text, r.head.path, &match);
	gate_visit_init(&v, NULL, loop, on_turn, NULL);
	assert_int_equal(gate_enter(&v, &settings, &domain, &match, &r), GATE_GO);
	gate_answered(&v, 200);
	gate_verified(&v);
	assert_false(gate_is_client(&v));
	gate_leave(&v);
	arena_fini(&r.arena);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(denied_and_allowed),
		TEST(unsigned_endpoints_stay),
		TEST(unreadable),
		TEST(refusals_say_why),
		TEST(invitations),
		TEST(who_becomes_known),
		TEST(too_many_wait),
		TEST(lines_end),
		TEST(forgers_slow_themselves),
		TEST(one_bucket_for_an_origin),
		TEST(what_verifies),
		TEST(networks),
		TEST(tokens),
		TEST(clients_do_not_wait),
		TEST(without_a_gate),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
