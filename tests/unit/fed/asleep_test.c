#include "fed/asleep.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define N_OF(a) (sizeof(a) / sizeof((a)[0]))

#define F1      "/_matrix/federation/v1"
#define F2      "/_matrix/federation/v2"

/*
 * One row for each endpoint of the Server-Server and Client-Server API: what is done, who must sign, who
 * is woken for, how long it is held (0: not at all), how it is refused.
 */
static const struct expectation {
	const char          *method, *target;
	enum asleep_endpoint endpoint;
	enum asleep_action   action;
	enum asleep_auth     auth;
	int                  wakes_for; /* enum awake_kind, or one of these */
	unsigned             hold_s;
	int                  status;
} expectations[] = {
#define NOBODY  (-1)
#define CONTENT (-2)
#define ROW(e, what, auth, who, hold, status) \
	ASLEEP_##e, ASLEEP_##what, ASLEEP_AUTH_##auth, who, hold, status
	{ "GET", "/.well-known/matrix/server", ROW(WELL_KNOWN, OWN, NONE, NOBODY, 0, 404) },
	{ "GET", "/.well-known/matrix/client", ROW(WELL_KNOWN, OWN, NONE, NOBODY, 0, 404) },
	{ "GET", "/_matrix/key/v2/server", ROW(KEY_SERVER, ANSWER, NONE, NOBODY, 8, 503) },
	{ "GET", "/_matrix/key/v2/query/b.example?minimum_valid_until_ts=1",
	  ROW(KEY_QUERY, EMPTY, NONE, NOBODY, 0, 503) },
	{ "POST", "/_matrix/key/v2/query", ROW(KEY_QUERY, EMPTY, NONE, NOBODY, 0, 503) },
	{ "GET", "/_matrix/key/v3/server", ROW(KEY_OTHER, HOLD, NONE, NOBODY, 8, 503) },
	{ "GET", F1 "/version", ROW(VERSION, ANSWER, NONE, NOBODY, 8, 503) },
	{ "PUT", F1 "/send/1784642000", ROW(SEND, QUEUE, XMATRIX, CONTENT, 0, 503) },
	{ "GET", F1 "/event/$a", ROW(EVENT, HOLD, XMATRIX, AWAKE_HISTORY, 50, 424) },
	{ "GET", F1 "/event_auth/!r:b/$a", ROW(EVENT_AUTH, HOLD, XMATRIX, AWAKE_HISTORY, 50, 424) },
	{ "GET", F1 "/state/!r:b?event_id=%24a",
	  ROW(STATE, HOLD, XMATRIX, AWAKE_HISTORY, 50, 424) },
	{ "GET", F1 "/state_ids/!r:b?event_id=%24a",
	  ROW(STATE_IDS, HOLD, XMATRIX, AWAKE_HISTORY, 50, 424) },
	{ "GET", F1 "/backfill/!r:b?v=%24a&limit=10",
	  ROW(BACKFILL, HOLD, XMATRIX, AWAKE_HISTORY, 50, 424) },
	{ "POST", F1 "/get_missing_events/!r:b",
	  ROW(MISSING_EVENTS, HOLD, XMATRIX, AWAKE_HISTORY, 50, 424) },
	{ "GET", F1 "/timestamp_to_event/!r:b?ts=1&dir=f",
	  ROW(TIMESTAMP_TO_EVENT, HOLD, XMATRIX, AWAKE_HISTORY, 50, 503) },
	{ "GET", F1 "/make_join/!r:b/@u:a?ver=10&ver=11",
	  ROW(MAKE_JOIN, HOLD, XMATRIX, AWAKE_JOIN, 15, 400) },
	{ "PUT", F2 "/send_join/!r:b/$a?omit_members=true",
	  ROW(SEND_JOIN, HOLD, XMATRIX, AWAKE_JOIN, 45, 503) },
	{ "PUT", F1 "/send_join/!r:b/$a", ROW(SEND_JOIN, HOLD, XMATRIX, AWAKE_JOIN, 45, 503) },
	{ "GET", F1 "/make_knock/!r:b/@u:a", ROW(MAKE_KNOCK, HOLD, XMATRIX, AWAKE_JOIN, 15, 503) },
	{ "PUT", F1 "/send_knock/!r:b/$a", ROW(SEND_KNOCK, HOLD, XMATRIX, AWAKE_JOIN, 45, 503) },
	{ "GET", F1 "/make_leave/!r:b/@u:a", ROW(MAKE_LEAVE, HOLD, XMATRIX, AWAKE_JOIN, 15, 503) },
	{ "PUT", F2 "/send_leave/!r:b/$a", ROW(SEND_LEAVE, HOLD, XMATRIX, AWAKE_JOIN, 45, 503) },
	{ "PUT", F1 "/send_leave/!r:b/$a", ROW(SEND_LEAVE, HOLD, XMATRIX, AWAKE_JOIN, 45, 503) },
	{ "PUT", F2 "/invite/!r:b/$a", ROW(INVITE, HOLD, XMATRIX, AWAKE_INVITE, 45, 503) },
	{ "PUT", F1 "/invite/!r:b/$a", ROW(INVITE, HOLD, XMATRIX, AWAKE_INVITE, 45, 503) },
	{ "PUT", F1 "/exchange_third_party_invite/!r:b",
	  ROW(THIRD_PARTY_INVITE, HOLD, XMATRIX, AWAKE_INVITE, 45, 424) },
	{ "PUT", F1 "/3pid/onbind", ROW(ONBIND, HOLD, NONE, NOBODY, 45, 503) },
	{ "POST", F1 "/3pid/onbind", ROW(ONBIND, HOLD, NONE, NOBODY, 45, 503) },
	{ "GET", F1 "/publicRooms?limit=10",
	  ROW(PUBLIC_ROOMS, ANSWER, XMATRIX, AWAKE_QUERY, 50, 503) },
	{ "POST", F1 "/publicRooms", ROW(PUBLIC_ROOMS, ANSWER, XMATRIX, AWAKE_QUERY, 50, 503) },
	{ "GET", F1 "/hierarchy/!r:b?suggested_only=true",
	  ROW(HIERARCHY, ANSWER, XMATRIX, AWAKE_QUERY, 50, 503) },
	{ "GET", "/_matrix/federation/unstable/org.matrix.msc2946/hierarchy/!r:b",
	  ROW(HIERARCHY, ANSWER, XMATRIX, AWAKE_QUERY, 50, 503) },
	{ "GET", F1 "/query/profile?user_id=%40u%3Ab&field=displayname",
	  ROW(PROFILE, ANSWER, XMATRIX, AWAKE_QUERY, 8, 424) },
	{ "GET", F1 "/query/directory?room_alias=%23r%3Ab",
	  ROW(DIRECTORY, ANSWER, XMATRIX, AWAKE_QUERY, 8, 424) },
	{ "GET", F1 "/query/something", ROW(QUERY_OTHER, HOLD, XMATRIX, AWAKE_QUERY, 8, 424) },
	{ "GET", F1 "/user/devices/@u:b", ROW(USER_DEVICES, ANSWER, XMATRIX, AWAKE_KEYS, 25, 424) },
	{ "POST", F1 "/user/keys/query", ROW(KEYS_QUERY, ANSWER, XMATRIX, AWAKE_KEYS, 8, 424) },
	{ "POST", F1 "/user/keys/claim", ROW(KEYS_CLAIM, HOLD, XMATRIX, AWAKE_KEYS, 8, 424) },
	{ "POST", "/_matrix/federation/unstable/user/keys/claim",
	  ROW(KEYS_CLAIM, HOLD, XMATRIX, AWAKE_KEYS, 8, 424) },
	{ "GET", F1 "/openid/userinfo?access_token=x", ROW(USERINFO, HOLD, NONE, NOBODY, 25, 503) },
	{ "GET", F1 "/media/download/abc",
	  ROW(MEDIA_DOWNLOAD, ANSWER, XMATRIX, AWAKE_MEDIA, 15, 424) },
	{ "GET", F1 "/media/thumbnail/abc?width=1&height=1",
	  ROW(MEDIA_THUMBNAIL, ANSWER, XMATRIX, AWAKE_MEDIA, 15, 424) },
	{ "GET", "/_matrix/federation/unstable/rooms/!r:b/complexity",
	  ROW(COMPLEXITY, HOLD, XMATRIX, AWAKE_JOIN, 8, 424) },
	{ "POST", "/_matrix/policy/v1/sign",
	  ROW(POLICY_SIGN, HOLD, XMATRIX, AWAKE_MESSAGE, 8, 503) },
	{ "POST", "/_matrix/policy/unstable/org.matrix.msc4284/sign",
	  ROW(POLICY_SIGN, HOLD, XMATRIX, AWAKE_MESSAGE, 8, 503) },
	{ "GET", F1 "/something/new", ROW(FEDERATION_OTHER, HOLD, OPTIONAL, AWAKE_OTHER, 15, 503) },
	{ "GET", "/_matrix/policy/v2/x",
	  ROW(FEDERATION_OTHER, HOLD, OPTIONAL, AWAKE_OTHER, 15, 503) },
	{ "GET", "/_matrix/media/v3/download/b/abc",
	  ROW(OLD_DOWNLOAD, ANSWER, NONE, NOBODY, 15, 424) },
	{ "GET", "/_matrix/media/r0/download/b/abc/cat.png",
	  ROW(OLD_DOWNLOAD, ANSWER, NONE, NOBODY, 15, 424) },
	{ "GET", "/_matrix/media/v1/thumbnail/b/abc?width=1",
	  ROW(OLD_THUMBNAIL, ANSWER, NONE, NOBODY, 15, 424) },
	{ "POST", "/_matrix/media/v3/upload?filename=x",
	  ROW(MEDIA_OTHER, HOLD, TOKEN, AWAKE_CLIENT, 45, 503) },
	{ "OPTIONS", "/_matrix/client/v3/sync",
	  ROW(CLIENT_PREFLIGHT, PREFLIGHT, NONE, NOBODY, 0, 503) },
	{ "OPTIONS", "/_matrix/media/v3/upload",
	  ROW(CLIENT_PREFLIGHT, PREFLIGHT, NONE, NOBODY, 0, 503) },
	{ "OPTIONS", "/_synapse/client/x", ROW(CLIENT_PREFLIGHT, PREFLIGHT, NONE, NOBODY, 0, 503) },
	{ "GET", "/_matrix/client/versions", ROW(CLIENT_VERSIONS, ANSWER, NONE, NOBODY, 15, 503) },
	{ "GET", "/_matrix/client/v3/sync?timeout=30000",
	  ROW(CLIENT, HOLD, TOKEN, AWAKE_CLIENT, 45, 503) },
	{ "GET", "/_matrix/client/v1/media/download/b/abc",
	  ROW(CLIENT, HOLD, TOKEN, AWAKE_CLIENT, 45, 503) },
	{ "GET", "/_matrix/static/client/login", ROW(CLIENT_PAGE, HOLD, NONE, NOBODY, 45, 503) },
	{ "GET", "/_matrix/consent", ROW(CLIENT_PAGE, HOLD, NONE, NOBODY, 45, 503) },
	{ "GET", "/_matrix/consent?u=a", ROW(CLIENT_PAGE, HOLD, NONE, NOBODY, 45, 503) },
	{ "GET", "/_synapse/client/oidc/callback?code=1",
	  ROW(CLIENT_PAGE, HOLD, NONE, NOBODY, 45, 503) },
	{ "GET", "/favicon.ico", ROW(NOWHERE, REFUSE, NONE, NOBODY, 0, 404) },
};

static void every_endpoint(void **state)
{
	bool seen[ASLEEP_ENDPOINT_COUNT] = { false };

	(void)state;
	for (size_t i = 0; i < N_OF(expectations); i++) {
		const struct expectation *x = &expectations[i];
		struct asleep_match       m;

		print_message("  %s %s\n", x->method, x->target);
		asleep_find(str_of(x->method), str_of(x->target), &m);
		assert_int_equal(m.endpoint, x->endpoint);
		assert_ptr_equal(m.row, asleep_row_of(x->endpoint));
		assert_int_equal(m.row->action, x->action);
		assert_int_equal(m.row->auth, x->auth);
		assert_int_equal(m.row->hold_s, x->hold_s);
		assert_int_equal(m.row->refusal->status, x->status);
		assert_int_equal(m.row->wakes,
		                 x->wakes_for == NOBODY            ? ASLEEP_WAKES_NEVER
		                         : x->wakes_for == CONTENT ? ASLEEP_WAKES_BY_CONTENT
		                                                   : ASLEEP_WAKES_ALWAYS);
		if (x->wakes_for >= 0)
			assert_int_equal(m.row->kind, x->wakes_for);
		seen[x->endpoint] = true;
	}
	for (size_t i = 0; i < ASLEEP_ENDPOINT_COUNT; i++) {
		print_message("  seen %s\n", asleep_row_of((enum asleep_endpoint)i)->slug);
		assert_true(seen[i]);
	}
}

/* What is kept of answers: scope, key, oldest while asleep, freshest while awake, conditions. */
static const struct keeping {
	enum asleep_endpoint endpoint;
	enum asleep_scope    scope;
	enum asleep_key      key;
	uint32_t             snapshot_s, fresh_s;
	unsigned             flags;
} keepings[] = {
#define KEEP(e, scope, key, oldest, fresh, flags)                                      \
	{                                                                              \
		ASLEEP_##e, ASLEEP_KEEP_##scope, ASLEEP_BY_##key, oldest, fresh, flags \
	}
	KEEP(KEY_SERVER, PUBLIC, ENDPOINT, ASLEEP_FOREVER, 600, ASLEEP_HALF_LIFE),
	KEEP(VERSION, PUBLIC, ENDPOINT, ASLEEP_FOREVER, 3600, 0),
	KEEP(EVENT, ORIGIN, TARGET, 0, 30, 0),
	KEEP(EVENT_AUTH, ORIGIN, TARGET, 0, 30, 0),
	KEEP(STATE, ORIGIN, TARGET, 0, 30, 0),
	KEEP(STATE_IDS, ORIGIN, TARGET, 0, 30, 0),
	KEEP(PUBLIC_ROOMS, ORIGIN, BODY, 600, 60, 0),
	KEEP(HIERARCHY, ORIGIN, TARGET, 600, 60, 0),
	KEEP(PROFILE, PUBLIC, TARGET, 86400, 60, 0),
	KEEP(DIRECTORY, PUBLIC, TARGET, 86400, 60, 0),
	KEEP(USER_DEVICES, PUBLIC, ARGUMENT, ASLEEP_FOREVER, 0, ASLEEP_EXACT),
	KEEP(KEYS_QUERY, PUBLIC, USERS, ASLEEP_FOREVER, 0, ASLEEP_EXACT),
	KEEP(MEDIA_DOWNLOAD, PUBLIC, ARGUMENT, ASLEEP_FOREVER, 3600, ASLEEP_TWO_PARTS),
	KEEP(MEDIA_THUMBNAIL, PUBLIC, TARGET, ASLEEP_FOREVER, 3600, ASLEEP_TWO_PARTS),
	KEEP(OLD_DOWNLOAD, PUBLIC, TARGET, ASLEEP_FOREVER, 3600, ASLEEP_CORS),
	KEEP(OLD_THUMBNAIL, PUBLIC, TARGET, ASLEEP_FOREVER, 3600, ASLEEP_CORS),
	KEEP(CLIENT_VERSIONS, PUBLIC, ENDPOINT, ASLEEP_FOREVER, 600,
	     ASLEEP_CORS | ASLEEP_ANONYMOUS),
};

static const struct keeping *keeping_of(enum asleep_endpoint e)
{
	for (size_t i = 0; i < N_OF(keepings); i++)
		if (keepings[i].endpoint == e)
			return &keepings[i];
	return NULL;
}

static void what_is_kept(void **state)
{
	(void)state;
	for (unsigned e = 0; e < ASLEEP_ENDPOINT_COUNT; e++) {
		const struct asleep_row *row = asleep_row_of((enum asleep_endpoint)e);
		const struct keeping    *k = keeping_of((enum asleep_endpoint)e);

		print_message("  %s\n", row->slug);
		assert_int_equal(row->scope, k == NULL ? ASLEEP_KEEP_NOTHING : k->scope);
		assert_int_equal(row->key, k == NULL ? ASLEEP_BY_NOTHING : k->key);
		assert_int_equal(row->snapshot_s, k == NULL ? 0 : k->snapshot_s);
		assert_int_equal(row->fresh_s, k == NULL ? 0 : k->fresh_s);
		if (k != NULL)
			assert_int_equal(row->flags, k->flags);
	}
}

/* How long Synapse waits for an answer, in seconds (transport/client.py, keyring.py); 60 else. */
static unsigned patience(enum asleep_endpoint e)
{
	static const struct {
		enum asleep_endpoint endpoint;
		unsigned             seconds;
	} own[] = { { ASLEEP_KEY_SERVER, 10 }, { ASLEEP_PROFILE, 10 },
		    { ASLEEP_DIRECTORY, 10 },  { ASLEEP_QUERY_OTHER, 10 },
		    { ASLEEP_KEYS_QUERY, 10 }, { ASLEEP_KEYS_CLAIM, 10 },
		    { ASLEEP_MAKE_JOIN, 20 },  { ASLEEP_MAKE_KNOCK, 20 },
		    { ASLEEP_MAKE_LEAVE, 20 }, { ASLEEP_USER_DEVICES, 30 } };

	for (size_t i = 0; i < N_OF(own); i++)
		if (own[i].endpoint == e)
			return own[i].seconds;
	return 60;
}

/* Rules that every row must obey, whatever it says. */
static void rows_are_sound(void **state)
{
	static const int never[] = { 401, 405, 410, 418, 421, 429, 500, 502, 504 };

	(void)state;
	for (unsigned e = 0; e < ASLEEP_ENDPOINT_COUNT; e++) {
		const struct asleep_row *row = asleep_row_of((enum asleep_endpoint)e);

		print_message("  %s\n", row->slug);
		assert_non_null(row->refusal);
		assert_true(row->hold_s < patience((enum asleep_endpoint)e));
		assert_int_equal(row->action == ASLEEP_HOLD || row->action == ASLEEP_ANSWER,
		                 row->hold_s > 0);
		assert_int_equal(row->action == ASLEEP_EMPTY, row->empty != NULL);
		if (row->auth == ASLEEP_AUTH_NONE) /* what anybody may send wakes nobody */
			assert_int_equal(row->wakes, ASLEEP_WAKES_NEVER);
		if (row->action == ASLEEP_ANSWER)
			assert_int_not_equal(row->scope, ASLEEP_KEEP_NOTHING);
		if (row->scope == ASLEEP_KEEP_ORIGIN) /* who asks must be known */
			assert_int_equal(row->auth, ASLEEP_AUTH_XMATRIX);
		for (size_t i = 0; i < N_OF(never); i++)
			assert_int_not_equal(row->refusal->status, never[i]);
		if (row->refusal->status == 404)
			assert_true(row->action == ASLEEP_REFUSE || row->action == ASLEEP_OWN);
		assert_int_equal(row->refusal->retry_s > 0, row->refusal->status == 503);
		for (unsigned o = 0; o < e; o++)
			assert_string_not_equal(row->slug,
			                        asleep_row_of((enum asleep_endpoint)o)->slug);
	}
}

/* Spellings: what is still the same, and what is not. */
static const struct spelling {
	const char          *method, *target;
	enum asleep_endpoint want;
	const char          *args[ASLEEP_ARGS_MAX];
} spellings[] = {
	/* identifiers are taken raw, escaped or not, slashes inside them escaped */
	{ "PUT", F1 "/send/%31%2F2", ASLEEP_SEND, { "%31%2F2" } },
	{ "PUT", F1 "/send/1?a=/b/c", ASLEEP_SEND, { "1" } },
	{ "GET", F1 "/make_join/%21r%3Ab/%40u%3Aa", ASLEEP_MAKE_JOIN, { "%21r%3Ab", "%40u%3Aa" } },
	{ "GET", F1 "/event/$a%2Fb", ASLEEP_EVENT, { "$a%2Fb" } },
	{ "GET", "/_matrix/media/r0/download/b/x/y", ASLEEP_OLD_DOWNLOAD, { "b", "x", "y" } },
	{ "GET", F1 "/query/profile", ASLEEP_PROFILE, { NULL } },
	/* letters of our words may be escaped, but once only */
	{ "PUT", "/_matrix/federation/v1/%73end/1", ASLEEP_SEND, { "1" } },
	{ "PUT", "/%5fmatrix/federation/v%31/s%65nd/1", ASLEEP_SEND, { "1" } },
	{ "PUT", "/_matrix/federation/v1/%2573end/1", ASLEEP_FEDERATION_OTHER, { NULL } },
	{ "GET", "/_matrix%2Ffederation/v1/version", ASLEEP_NOWHERE, { NULL } },
	{ "GET", F1 "/user%2Fdevices/@u:b", ASLEEP_FEDERATION_OTHER, { NULL } },
	{ "GET", F1 "/versio%6", ASLEEP_FEDERATION_OTHER, { NULL } },
	{ "GET", F1 "/versio%6zn", ASLEEP_FEDERATION_OTHER, { NULL } },
	/* one slash at the end */
	{ "PUT", F1 "/send/1/", ASLEEP_SEND, { "1" } },
	{ "GET", F1 "/state/!r:b/?event_id=x", ASLEEP_STATE, { "!r:b" } },
	{ "GET", "/_matrix/key/v2/server/", ASLEEP_KEY_SERVER, { NULL } },
	{ "GET", "/_matrix/key/v2/server/ed25519%3Aa", ASLEEP_KEY_SERVER, { "ed25519%3Aa" } },
	{ "GET", "/_matrix/key/v2/query/b/ed25519:a", ASLEEP_KEY_QUERY, { "b", "ed25519:a" } },
	{ "PUT", F1 "/send/1//", ASLEEP_FEDERATION_OTHER, { NULL } },
	/* empty segments are not identifiers */
	{ "PUT", F1 "/send/", ASLEEP_FEDERATION_OTHER, { NULL } },
	{ "PUT", F1 "/send", ASLEEP_FEDERATION_OTHER, { NULL } },
	{ "PUT", F1 "//send/1", ASLEEP_FEDERATION_OTHER, { NULL } },
	{ "GET", F1 "/make_join//@u:a", ASLEEP_FEDERATION_OTHER, { NULL } },
	{ "GET", "/_matrix/key/v2/query/", ASLEEP_KEY_OTHER, { NULL } },
	/* too few and too many segments */
	{ "GET", F1 "/make_join/!r:b", ASLEEP_FEDERATION_OTHER, { NULL } },
	{ "GET", F1 "/make_join/!r:b/@u:a/x", ASLEEP_FEDERATION_OTHER, { NULL } },
	{ "GET", "/_matrix/media/v3/download/b", ASLEEP_MEDIA_OTHER, { NULL } },
	{ "GET", "/_matrix/media/v3/download/b/x/y/z", ASLEEP_MEDIA_OTHER, { NULL } },
	/* other versions, cases and methods */
	{ "PUT", F2 "/send/1", ASLEEP_FEDERATION_OTHER, { NULL } },
	{ "GET", F2 "/make_join/!r:b/@u:a", ASLEEP_FEDERATION_OTHER, { NULL } },
	{ "PUT", "/_matrix/federation/v12/invite/!r:b/$a", ASLEEP_FEDERATION_OTHER, { NULL } },
	{ "PUT", "/_matrix/federation/v/invite/!r:b/$a", ASLEEP_FEDERATION_OTHER, { NULL } },
	{ "PUT", "/_matrix/federation//invite/!r:b/$a", ASLEEP_FEDERATION_OTHER, { NULL } },
	{ "PUT", F1 "/SEND/1", ASLEEP_FEDERATION_OTHER, { NULL } },
	{ "POST", F1 "/send/1", ASLEEP_FEDERATION_OTHER, { NULL } },
	{ "put", F1 "/send/1", ASLEEP_FEDERATION_OTHER, { NULL } },
	{ "", F1 "/send/1", ASLEEP_FEDERATION_OTHER, { NULL } },
	{ "HEAD", F1 "/version", ASLEEP_VERSION, { NULL } },
	{ "GET", F1 "/user/keys/claim", ASLEEP_FEDERATION_OTHER, { NULL } },
	{ "DELETE", "/_matrix/client/v3/devices/X", ASLEEP_CLIENT, { NULL } },
	{ "OPTIONS", F1 "/version", ASLEEP_FEDERATION_OTHER, { NULL } },
	{ "GET", "/_matrix/client/versions/", ASLEEP_CLIENT_VERSIONS, { NULL } },
	{ "POST", "/_matrix/client/versions", ASLEEP_CLIENT, { NULL } },
	{ "GET", "/_matrix/client/", ASLEEP_CLIENT, { NULL } },
	/* not ours at all */
	{ "GET", "", ASLEEP_NOWHERE, { NULL } },
	{ "GET", "/", ASLEEP_NOWHERE, { NULL } },
	{ "GET", "?/_matrix/federation/v1/version", ASLEEP_NOWHERE, { NULL } },
	{ "GET", "_matrix/federation/v1/version", ASLEEP_NOWHERE, { NULL } },
	{ "GET", "x_matrix/federation/v1/version", ASLEEP_NOWHERE, { NULL } },
	{ "OPTIONS", "*", ASLEEP_NOWHERE, { NULL } },
	{ "GET", "/_synapse/admin/v1/users", ASLEEP_NOWHERE, { NULL } },
	{ "GET", "//_matrix/federation/v1/version", ASLEEP_NOWHERE, { NULL } },
	{ "GET", "/_matrix", ASLEEP_NOWHERE, { NULL } },
};

static void spellings_are_told_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_OF(spellings); i++) {
		const struct spelling *s = &spellings[i];
		struct asleep_match    m;

		print_message("  %s %s\n", s->method, s->target);
		asleep_find(str_of(s->method), str_of(s->target), &m);
		assert_int_equal(m.endpoint, s->want);
		for (unsigned k = 0; k < ASLEEP_ARGS_MAX; k++) {
			assert_int_equal(k < m.arg_count, s->args[k] != NULL);
			if (s->args[k] != NULL)
				assert_true(str_is(m.args[k], s->args[k]));
		}
	}
}

static void every_prefix(void **state)
{
	(void)state;
	for (size_t i = 0; i < N_OF(spellings); i++) {
		const char *text = spellings[i].target;

		for (size_t n = 0; n <= strlen(text); n++) {
			char               *exact = malloc(n > 0 ? n : 1);
			struct asleep_match m;

			assert_non_null(exact);
			memcpy(exact, text, n);
			asleep_find(str_of(spellings[i].method), str_span(exact, n), &m);
			assert_true(m.arg_count <= ASLEEP_ARGS_MAX);
			for (unsigned k = 0; k < m.arg_count; k++)
				assert_true(m.args[k].len > 0 && m.args[k].ptr >= exact &&
				            m.args[k].ptr + m.args[k].len <= exact + n);
			free(exact);
		}
	}
}

static void decoding(void **state)
{
	static const struct {
		struct str raw, want;
	} rows[] = {
		{ STR(""), STR("") },
		{ STR("@u:b"), STR("@u:b") },
		{ STR("%40u%3Ab"), STR("@u:b") },
		{ STR("%40u%3ab"), STR("@u:b") },
		{ STR("a%2Fb"), STR("a/b") },
		{ STR("%2540"), STR("%40") },
		{ STR("a%"), STR("a%") },
		{ STR("a%4"), STR("a%4") },
		{ STR("%zz"), STR("%zz") },
		{ STR("a%00b"), STR("a\0b") },
		{ STR("a+b"), STR("a+b") },
		{ STR("%e2%82%AC"), STR("\xe2\x82\xac") },
	};

	(void)state;
	for (size_t i = 0; i < N_OF(rows); i++) {
		char          room[32];
		struct writer w = writer_over(room, sizeof(room));

		print_message("  %.*s\n", (int)rows[i].raw.len, rows[i].raw.ptr);
		asleep_write_decoded(&w, rows[i].raw);
		assert_false(w.failed);
		assert_true(str_eq(writer_done(&w), rows[i].want));
	}
}

static void decoding_into_too_little_room(void **state)
{
	char          room[3];
	struct writer w = writer_over(room, sizeof(room));

	(void)state;
	asleep_write_decoded(&w, STRL("%41%42%43"));
	assert_false(w.failed);
	w = writer_over(room, sizeof(room));
	asleep_write_decoded(&w, STRL("%41%42%43%44"));
	assert_true(w.failed);
}

static void refusals_have_words(void **state)
{
	(void)state;
	assert_string_equal(asleep_row_of(ASLEEP_KEYS_CLAIM)->refusal->errcode, "M_UNKNOWN");
	assert_string_equal(asleep_row_of(ASLEEP_KEYS_CLAIM)->refusal->text,
	                    "homeserver temporarily asleep");
	assert_string_equal(asleep_row_of(ASLEEP_MAKE_JOIN)->refusal->errcode,
	                    "M_UNABLE_TO_GRANT_JOIN");
	assert_string_equal(asleep_row_of(ASLEEP_MAKE_JOIN)->refusal->text,
	                    "homeserver temporarily asleep");
	assert_string_equal(asleep_row_of(ASLEEP_NOWHERE)->refusal->errcode, "M_UNRECOGNIZED");
	assert_string_equal(asleep_row_of(ASLEEP_NOWHERE)->refusal->text, "Unrecognized request");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_endpoint),
		cmocka_unit_test(what_is_kept),
		cmocka_unit_test(rows_are_sound),
		cmocka_unit_test(spellings_are_told_apart),
		cmocka_unit_test(every_prefix),
		cmocka_unit_test(decoding),
		cmocka_unit_test(decoding_into_too_little_room),
		cmocka_unit_test(refusals_have_words),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
