#include "fed/snapshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "codec/http/h1.h"
#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define F1       "/_matrix/federation/v1"
#define NOW      UINT64_C(1700000000000)
#define OURS     "example.org"
#define LONG_A \
	"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

/* ---- names ---- */

static const struct name_row {
	const char *method, *target, *body,
		*want; /* want: with | between its parts; NULL: no name */
} names[] = {
	{ "GET", "/_matrix/key/v2/server", "", "key-server|example.org" },
	{ "GET", "/_matrix/key/v2/server/ed25519:a?x=1", "", "key-server|example.org" },
	{ "GET", F1 "/version", "", "version|example.org" },
	{ "GET", F1 "/version/?now", "", "version|example.org" },
	{ "GET", "/_matrix/client/versions", "", "client-versions|example.org" },
	{ "GET", F1 "/query/profile?user_id=%40a%3Aexample.org", "",
	  "profile|example.org|@a:example.org|" },
	{ "GET", F1 "/query/profile?user_id=@a:example.org&field=avatar_url", "",
	  "profile|example.org|@a:example.org|avatar_url" },
	{ "GET", F1 "/query/profile?field=displayname&user_id=@a:example.org", "",
	  "profile|example.org|@a:example.org|displayname" },
	{ "GET", F1 "/query/profile?field=%64isplayname&user_id=@a%2Bb:example.org", "",
	  "profile|example.org|@a+b:example.org|displayname" },
	/* a plus may be a blank; what is unknown, repeated, missing or another server's has no name */
	{ "GET", F1 "/query/profile?user_id=@a+b:example.org", "", NULL },
	{ "GET", F1 "/query/profile?user_id=@a;b:example.org", "", NULL },
	{ "GET", F1 "/query/profile?user_id=@a:example.com", "", NULL },
	{ "GET", F1 "/query/profile?user_id=a:example.org", "", NULL },
	{ "GET", F1 "/query/profile?user_id=@a:example.org&field=m.tz", "", NULL },
	{ "GET", F1 "/query/profile?user_id=@a:example.org&field=", "", NULL },
	{ "GET", F1 "/query/profile?user_id=@a:example.org&field", "", NULL },
	{ "GET", F1 "/query/profile?user_id=@a:example.org&user_id=@b:example.org", "", NULL },
	{ "GET", F1 "/query/profile?user_id=@a:example.org&x=1", "", NULL },
	{ "GET", F1 "/query/profile?user_id=@a%0Ab:example.org", "", NULL },
	{ "GET", F1 "/query/profile?field=displayname", "", NULL },
	{ "GET", F1 "/query/profile", "", NULL },
	{ "GET", F1 "/query/profile?user_id=@" LONG_A LONG_A LONG_A ":example.org", "", NULL },
	{ "GET", F1 "/query/directory?room_alias=%23r%3Aexample.org", "",
	  "directory|example.org|#r:example.org" },
	{ "GET", F1 "/query/directory?room_alias=%23r%3Aexample.com", "", NULL },
	{ "GET", F1 "/query/directory?room_alias=%40r%3Aexample.org", "", NULL },
	{ "GET", F1 "/media/download/a-_9?timeout_ms=5", "", "media-download|example.org|a-_9" },
	{ "GET", F1 "/media/download/a-_9", "", "media-download|example.org|a-_9" },
	{ "GET", F1 "/media/download/a%2Fb", "", NULL },
	{ "GET", F1 "/media/download/a.b", "", NULL },
	{ "GET", F1 "/media/download/a?allow_redirect=true", "", NULL },
	{ "GET", F1 "/media/thumbnail/a?height=2&width=1&timeout_ms=1", "",
	  "media-thumbnail|example.org|a|1|2||" },
	{ "GET", F1 "/media/thumbnail/a?width=1&height=2&method=crop&animated=true", "",
	  "media-thumbnail|example.org|a|1|2|crop|true" },
	{ "GET", F1 "/media/thumbnail/a?width=1&quality=2", "", NULL },
	{ "GET", "/_matrix/media/v3/download/example.org/a?allow_remote=false", "",
	  "old-download|example.org|a|" },
	{ "GET", "/_matrix/media/r0/download/example.org/a/b%20c.png", "",
	  "old-download|example.org|a|b c.png" },
	{ "GET", "/_matrix/media/v1/download/example.com/a", "", NULL },
	{ "GET", "/_matrix/media/v3/thumbnail/example.org/a?width=7&height=8", "",
	  "old-thumbnail|example.org|a||7|8||" },
	{ "GET", F1 "/user/devices/%40a%3Aexample.org", "",
	  "user-devices|example.org|@a:example.org" },
	{ "GET", F1 "/user/devices/@a:example.com", "", NULL },
	/* by who asks, and how */
	{ "GET", F1 "/publicRooms?limit=1", "",
	  "public-rooms|example.org|asker.test|" F1 "/publicRooms?limit=1" },
	{ "POST", F1 "/publicRooms", "{}",
	  "public-rooms|example.org|asker.test|" F1 "/publicRooms|{}" },
	{ "POST", F1 "/publicRooms", "{\n}", NULL },
	{ "POST", F1 "/publicRooms", LONG_A LONG_A LONG_A LONG_A, NULL },
	{ "GET", F1 "/hierarchy/%21a", "",
	  "hierarchy|example.org|asker.test|" F1 "/hierarchy/%21a" },
	{ "GET", F1 "/state/%21a?event_id=%24b", "",
	  "state|example.org|asker.test|" F1 "/state/%21a?event_id=%24b" },
	/* nothing that only the homeserver can say now */
	{ "POST", F1 "/user/keys/claim", "{}", NULL },
	{ "POST", F1 "/user/keys/query", "{}", NULL },
	{ "GET", F1 "/backfill/%21a", "", NULL },
	{ "GET", F1 "/make_join/%21a/%40b", "", NULL },
	{ "PUT", F1 "/send/1", "{}", NULL },
	{ "GET", "/_matrix/client/v3/sync", "", NULL },
	{ "GET", "/_matrix/key/v2/query/example.org", "", NULL },
	{ "GET", "/elsewhere", "", NULL },
};

static void give_one_name_to_one_answer(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(names); i++) {
		const struct name_row   *r = &names[i];
		struct exact             x;
		struct asleep_match      match;
		char                     room[SNAPSHOT_NAME_MAX];
		struct writer            w = writer_over(room, sizeof(room));
		struct snapshot_question q = { .match = &match,
			                       .server_name = STRL(OURS),
			                       .origin = STRL("asker.test"),
			                       .target = exact_copy(&x, str_of(r->target)),
			                       .body = str_of(r->body) };
		bool                     ok;

		print_message("  %s %s\n", r->method, r->target);
		asleep_find(str_of(r->method), q.target, &match);
		ok = snapshot_name(&q, &w);
		assert_int_equal(ok, r->want != NULL);
		if (ok) {
			for (char *c = room; c < w.at; c++)
				*c = *c == '\n' ? '|' : *c;
			assert_int_equal(writer_done(&w).len, strlen(r->want));
			assert_memory_equal(room, r->want, strlen(r->want));
		}
		exact_free(&x);
	}
}

static void need_an_origin_where_answers_differ(void **state)
{
	struct asleep_match      match;
	char                     room[SNAPSHOT_NAME_MAX];
	struct writer            w = writer_over(room, sizeof(room));
	struct snapshot_question q = { .match = &match,
		                       .server_name = STRL(OURS),
		                       .target = STRL(F1 "/hierarchy/%21a") };

	(void)state;
	asleep_find(STRL("GET"), q.target, &match);
	assert_false(snapshot_name(&q, &w));
}

static void name_devices_of_ours_only(void **state)
{
	char          room[SNAPSHOT_NAME_MAX];
	struct writer w = writer_over(room, sizeof(room));

	(void)state;
	assert_true(snapshot_devices_name(STRL(OURS), STRL("@a:example.org"), &w));
	assert_true(str_is(writer_done(&w), "user-devices\nexample.org\n@a:example.org"));
	w = writer_over(room, sizeof(room));
	assert_true(snapshot_keys_name(STRL(OURS), STRL("@a:example.org"), &w));
	assert_true(str_is(writer_done(&w), "keys-query\nexample.org\n@a:example.org"));
	w = writer_over(room, sizeof(room));
	assert_false(snapshot_keys_name(STRL(OURS), STRL("@a:example.com"), &w));
	assert_false(snapshot_keys_name(STRL(OURS), STRL("@a:example.org:80"), &w));
}

/* ---- kinds ---- */

static void keep_what_matters_best(void **state)
{
	static const struct {
		enum asleep_endpoint endpoint;
		enum snapshot_kind   want;
	} rows[] = {
		{ ASLEEP_KEY_SERVER, SNAPSHOT_FOUNDATION },
		{ ASLEEP_VERSION, SNAPSHOT_FOUNDATION },
		{ ASLEEP_CLIENT_VERSIONS, SNAPSHOT_FOUNDATION },
		{ ASLEEP_PROFILE, SNAPSHOT_RECORD },
		{ ASLEEP_DIRECTORY, SNAPSHOT_RECORD },
		{ ASLEEP_USER_DEVICES, SNAPSHOT_DEVICES },
		{ ASLEEP_KEYS_QUERY, SNAPSHOT_DEVICES },
		{ ASLEEP_MEDIA_DOWNLOAD, SNAPSHOT_MEDIA },
		{ ASLEEP_MEDIA_THUMBNAIL, SNAPSHOT_MEDIA },
		{ ASLEEP_OLD_DOWNLOAD, SNAPSHOT_MEDIA },
		{ ASLEEP_OLD_THUMBNAIL, SNAPSHOT_MEDIA },
		{ ASLEEP_PUBLIC_ROOMS, SNAPSHOT_PASSING },
		{ ASLEEP_HIERARCHY, SNAPSHOT_PASSING },
		{ ASLEEP_STATE, SNAPSHOT_PASSING },
		{ ASLEEP_KEYS_CLAIM, SNAPSHOT_NONE },
		{ ASLEEP_SEND, SNAPSHOT_NONE },
		{ ASLEEP_KEY_QUERY, SNAPSHOT_NONE },
		{ ASLEEP_CLIENT, SNAPSHOT_NONE },
		{ ASLEEP_FEDERATION_OTHER, SNAPSHOT_NONE },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		print_message("  %s\n", asleep_row_of(rows[i].endpoint)->slug);
		assert_int_equal(snapshot_kind_of(asleep_row_of(rows[i].endpoint)), rows[i].want);
	}
	assert_int_equal(snapshot_bytes_max(SNAPSHOT_NONE), 0);
}

static void grow_old(void **state)
{
	const struct asleep_row *profile = asleep_row_of(ASLEEP_PROFILE);
	const struct asleep_row *keys = asleep_row_of(ASLEEP_KEY_SERVER);
	const struct asleep_row *rooms = asleep_row_of(ASLEEP_PUBLIC_ROOMS);
	const struct asleep_row *event = asleep_row_of(ASLEEP_EVENT);

	(void)state;
	assert_true(snapshot_is_good(profile, DAY_MS));
	assert_false(snapshot_is_good(profile, DAY_MS + 1));
	assert_true(snapshot_is_good(keys, MS_NEVER - 1));
	assert_true(snapshot_is_good(rooms, 600 * SECOND_MS));
	assert_false(snapshot_is_good(rooms, 600 * SECOND_MS + 1));
	assert_false(snapshot_is_good(event, 1));
}

/* ---- heads ---- */

static struct field fields[H1_FIELDS_MAX];

/* text: with an empty line at its end */
static struct head parse(const char *text, enum h1_side side)
{
	static const struct h1_limits limits = { 4096, 4096, 8192, 16 };
	static struct h1_head_parser  p;
	struct head                   h;

	h1_head_init(&p, side, &limits);
	assert_int_equal(h1_head_feed(&p, str_of(text)), ERR_OK);
	assert_int_equal(h1_head_view(&p, str_of(text), HTTP_GET, fields, &h), ERR_OK);
	return h;
}

enum { TAKE = 1, REPEAT = 2, STAND_IN = 4 };

#define ASK(method, lines) method " / HTTP/1.1\r\nHost: example.org\r\n" lines "\r\n"
#define XM                 "Authorization: X-Matrix origin=a\r\n"

static const struct request_row {
	enum asleep_endpoint endpoint;
	const char          *text;
	unsigned             want;
} requests[] = {
	{ ASLEEP_VERSION, ASK("GET", ""), TAKE | REPEAT | STAND_IN },
	{ ASLEEP_VERSION, ASK("HEAD", ""), REPEAT | STAND_IN },
	{ ASLEEP_VERSION, ASK("GET", "Range: bytes=0-1\r\n"), STAND_IN },
	{ ASLEEP_VERSION, ASK("GET", "cookie: a\r\n"), STAND_IN },
	{ ASLEEP_VERSION, ASK("GET", "Cache-Control: max-age=0\r\n"), TAKE | STAND_IN },
	{ ASLEEP_VERSION, ASK("GET", "Pragma: no-cache\r\n"), TAKE | STAND_IN },
	{ ASLEEP_VERSION, ASK("GET", "If-None-Match: \"a\"\r\n"), TAKE | STAND_IN },
	{ ASLEEP_VERSION, ASK("GET", "If-Modified-Since: a\r\n"), TAKE | STAND_IN },
	{ ASLEEP_VERSION, ASK("GET", "Content-Length: 1\r\n"), STAND_IN },
	{ ASLEEP_VERSION, ASK("GET", XM), STAND_IN },
	{ ASLEEP_CLIENT_VERSIONS, ASK("GET", ""), TAKE | REPEAT | STAND_IN },
	{ ASLEEP_CLIENT_VERSIONS, ASK("GET", "Authorization: Bearer a\r\n"), 0 },
	{ ASLEEP_PROFILE, ASK("GET", XM), TAKE | REPEAT | STAND_IN },
	{ ASLEEP_MEDIA_DOWNLOAD, ASK("GET", XM), TAKE | REPEAT | STAND_IN },
	{ ASLEEP_EVENT, ASK("GET", XM), TAKE | REPEAT },
	{ ASLEEP_PUBLIC_ROOMS, ASK("POST", XM "Content-Length: 2\r\n"), TAKE | STAND_IN },
	{ ASLEEP_KEYS_QUERY, ASK("POST", XM "Content-Length: 2\r\n"), TAKE | STAND_IN },
	{ ASLEEP_KEYS_CLAIM, ASK("POST", XM "Content-Length: 2\r\n"), 0 },
	{ ASLEEP_USER_DEVICES, ASK("GET", XM), TAKE | STAND_IN },
	{ ASLEEP_SEND, ASK("PUT", XM "Content-Length: 2\r\n"), 0 },
};

static void judge_requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(requests); i++) {
		const struct request_row *r = &requests[i];
		const struct asleep_row  *row = asleep_row_of(r->endpoint);
		struct head               h = parse(r->text, H1_REQUEST);

		print_message("  %s %s\n", row->slug, r->text);
		assert_int_equal(snapshot_may_take(row, &h), (r->want & TAKE) != 0);
		assert_int_equal(snapshot_may_repeat(row, &h), (r->want & REPEAT) != 0);
		assert_int_equal(snapshot_may_stand_in(row, &h), (r->want & STAND_IN) != 0);
	}
}

#define SAYS(lines) "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" lines "\r\n"
#define CC(value)   SAYS("Cache-Control: " value "\r\n")
#define NOT_TAKEN   MS_NEVER

/* Sources: RFC 9111 3.1, 4.2.1, 5.2.2. */
static const struct answer_row {
	enum asleep_endpoint endpoint;
	const char          *text;
	msec                 fresh_ms;
} answers[] = {
	{ ASLEEP_VERSION, SAYS(""), 3600 * SECOND_MS },
	{ ASLEEP_VERSION, CC("max-age=60"), 60 * SECOND_MS },
	{ ASLEEP_VERSION, CC("max-age=7200"), 3600 * SECOND_MS },
	{ ASLEEP_VERSION, CC("max-age=60, s-maxage=30"), 30 * SECOND_MS },
	{ ASLEEP_VERSION, CC("s-maxage=30"), 30 * SECOND_MS },
	{ ASLEEP_VERSION, CC("max-age=86400,s-maxage=0,proxy-revalidate"), 0 },
	{ ASLEEP_VERSION, CC("s-maxage=x"), 0 },
	{ ASLEEP_VERSION, CC("No-Store"), 0 },
	{ ASLEEP_VERSION, CC("no-cache, no-store, must-revalidate"), 0 },
	{ ASLEEP_VERSION, CC("no-cache=\"a\""), 0 },
	{ ASLEEP_VERSION, CC("max-age=0"), 0 },
	{ ASLEEP_VERSION, SAYS("Age: 50\r\nCache-Control: max-age=60\r\n"), 10 * SECOND_MS },
	{ ASLEEP_VERSION, SAYS("Expires: 0\r\n"), 0 },
	{ ASLEEP_VERSION, CC("private"), NOT_TAKEN },
	{ ASLEEP_VERSION, CC("max-age=60, Private=\"x\""), NOT_TAKEN },
	{ ASLEEP_VERSION, SAYS("Set-Cookie: a\r\n"), NOT_TAKEN },
	{ ASLEEP_VERSION, SAYS("Content-Encoding: gzip\r\n"), NOT_TAKEN },
	{ ASLEEP_VERSION, SAYS("Vary: Origin, Accept-Encoding\r\n"), NOT_TAKEN },
	{ ASLEEP_VERSION, SAYS("Vary: accept-encoding\r\n"), 3600 * SECOND_MS },
	{ ASLEEP_VERSION, "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n", NOT_TAKEN },
	{ ASLEEP_VERSION, "HTTP/1.1 206 So\r\nContent-Length: 2\r\n\r\n", NOT_TAKEN },
	{ ASLEEP_VERSION, "HTTP/1.1 307 So\r\nLocation: x\r\nContent-Length: 2\r\n\r\n",
	  NOT_TAKEN },
	{ ASLEEP_KEY_SERVER, SAYS(""), 600 * SECOND_MS },
	{ ASLEEP_MEDIA_DOWNLOAD, SAYS(""), 3600 * SECOND_MS },
	/* what changes is fresh only if it says so */
	{ ASLEEP_PROFILE, SAYS(""), 0 },
	{ ASLEEP_PROFILE, CC("max-age=10"), 10 * SECOND_MS },
	{ ASLEEP_PROFILE, CC("max-age=1000"), 60 * SECOND_MS },
	{ ASLEEP_EVENT, SAYS(""), 0 },
	{ ASLEEP_USER_DEVICES, CC("max-age=10"), 0 },
	/* private is the same asker again, where answers differ by asker */
	{ ASLEEP_PUBLIC_ROOMS, CC("private, max-age=10"), 10 * SECOND_MS },
};

static void judge_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(answers); i++) {
		const struct answer_row *r = &answers[i];
		const struct asleep_row *row = asleep_row_of(r->endpoint);
		struct head              h = parse(r->text, H1_RESPONSE);

		print_message("  %s %s\n", row->slug, r->text);
		assert_int_equal(snapshot_takes(row, &h), r->fresh_ms != NOT_TAKEN);
		if (r->fresh_ms != NOT_TAKEN)
			assert_int_equal(snapshot_fresh_ms(row, &h, NOW), r->fresh_ms);
	}
}

static void keep_fields_that_belong_to_it(void **state)
{
	char          room[512];
	struct writer w = writer_over(room, sizeof(room));
	struct head   h = parse(SAYS("Server: x\r\nContent-Type: image/png\r\nETag: \"a\"\r\n"
	                               "Connection: etag\r\nX-Powered-By: y\r\n"
	                               "access-control-allow-origin: *\r\nAge: 7\r\n"),
	                        H1_RESPONSE);

	(void)state;
	assert_true(snapshot_fields(&h, &w));
	assert_true(str_is(writer_done(&w),
	                   "Content-Type: image/png\r\naccess-control-allow-origin: *\r\n"));
	w = writer_over(room, 10);
	assert_false(snapshot_fields(&h, &w));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(give_one_name_to_one_answer),
		cmocka_unit_test(need_an_origin_where_answers_differ),
		cmocka_unit_test(name_devices_of_ours_only),
		cmocka_unit_test(keep_what_matters_best),
		cmocka_unit_test(grow_old),
		cmocka_unit_test(judge_requests),
		cmocka_unit_test(judge_answers),
		cmocka_unit_test(keep_fields_that_belong_to_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
