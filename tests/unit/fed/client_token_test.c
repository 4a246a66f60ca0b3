#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fed/client_token.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct {
	const char *target, *first, *second; /* fields; NULL: none */
	const char *token;                   /* NULL: none is found */
} places[] = {
	{ "/_matrix/client/v3/sync", "Bearer syt_abc", NULL, "syt_abc" },
	{ "/_matrix/client/v3/sync", "bearer   syt_abc ", NULL, "syt_abc" },
	{ "/_matrix/client/v3/sync?since=1&access_token=syt_abc", NULL, NULL, "syt_abc" },
	{ "/_matrix/client/v3/sync?access_token=s%79t%5fabc&x=y", NULL, NULL, "syt_abc" },
	{ "/_matrix/client/v3/sync?access%5Ftoken=a+b%2B", NULL, NULL, "a b+" },
	{ "/_matrix/client/v3/sync?access_token=%4", NULL, NULL, "%4" },
	{ "/_matrix/client/v3/sync?access_token", NULL, NULL, NULL },
	{ "/_matrix/client/v3/sync?access_token=", NULL, NULL, NULL },
	{ "/_matrix/client/v3/sync?xaccess_token=a", NULL, NULL, NULL },
	{ "/_matrix/client/v3/access_token=a", NULL, NULL, NULL },
	{ "/_matrix/client/v3/sync", "Bearer", NULL, NULL },
	{ "/_matrix/client/v3/sync", "Bearer ", NULL, NULL },
	{ "/_matrix/client/v3/sync", "Basic abc", NULL, NULL },
	{ "/_matrix/client/v3/sync", NULL, NULL, NULL },
	/* homeservers differ in which they take */
	{ "/_matrix/client/v3/sync", "Bearer a", "Bearer b", NULL },
	{ "/_matrix/client/v3/sync?access_token=b", "Bearer a", NULL, NULL },
	{ "/_matrix/client/v3/sync?access_token=a&access_token=b", NULL, NULL, NULL },
};

static void where_it_is(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(places); i++) {
		struct field fields[3] = { { FIELD_HOST, STR("Host"), STR("x") } };
		struct head  h = { .path = str_of(places[i].target), .fields = fields };
		struct arena arena;
		struct str   token;

		h.field_count = 1;
		if (places[i].first != NULL)
			fields[h.field_count++] = (struct field){ FIELD_AUTHORIZATION, STR("A"),
				                                  str_of(places[i].first) };
		if (places[i].second != NULL)
			fields[h.field_count++] = (struct field){ FIELD_AUTHORIZATION, STR("A"),
				                                  str_of(places[i].second) };
		arena_init(&arena, 65536);
		print_message("  %s\n", places[i].target);
		assert_int_equal(client_token_find(&h, &arena, &token), places[i].token != NULL);
		if (places[i].token != NULL)
			assert_true(str_is(token, places[i].token));
		arena_fini(&arena);
	}
}

static void too_long(void **state)
{
	static char  text[8 + CLIENT_TOKEN_MAX];
	struct field f = { FIELD_AUTHORIZATION, STR("A"), { text, 7 + CLIENT_TOKEN_MAX } };
	struct head  h = { .path = STR("/"), .fields = &f, .field_count = 1 };
	struct arena arena;
	struct str   token;

	(void)state;
	memset(text, 'x', sizeof(text));
	memcpy(text, "Bearer ", 7);
	arena_init(&arena, 100);
	assert_true(client_token_find(&h, &arena, &token));
	f.value.len++;
	assert_false(client_token_find(&h, &arena, &token));
	arena_fini(&arena);
}

static const struct {
	enum http_method      method;
	const char           *target;
	enum client_token_use use;
} uses[] = {
	{ HTTP_GET, "/_matrix/client/v3/sync", CLIENT_TOKEN_PROVED },
	{ HTTP_GET, "/_matrix/client/r0/sync?timeout=1", CLIENT_TOKEN_PROVED },
	{ HTTP_POST, "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync",
	  CLIENT_TOKEN_PROVED },
	{ HTTP_GET, "/_matrix/client/v3/account/whoami", CLIENT_TOKEN_PROVED },
	{ HTTP_POST, "/_matrix/client/v3/keys/upload", CLIENT_TOKEN_PROVED },
	{ HTTP_PUT, "/_matrix/client/v3/rooms/!a:b/send/m.room.message/1", CLIENT_TOKEN_PROVED },
	{ HTTP_GET, "/_matrix/client/v1/rooms/!a:b/threads", CLIENT_TOKEN_PROVED },
	{ HTTP_POST, "/_matrix/client/v3/logout", CLIENT_TOKEN_ENDED },
	{ HTTP_POST, "/_matrix/client/v3/logout/all", CLIENT_TOKEN_ENDED },
	{ HTTP_POST, "/_matrix/client/v3/account/deactivate", CLIENT_TOKEN_ENDED },
	/* what anybody may ask, whatever he calls himself */
	{ HTTP_GET, "/_matrix/client/versions", CLIENT_TOKEN_PROVES_NOTHING },
	{ HTTP_GET, "/_matrix/client/v3/login", CLIENT_TOKEN_PROVES_NOTHING },
	{ HTTP_POST, "/_matrix/client/v3/register", CLIENT_TOKEN_PROVES_NOTHING },
	{ HTTP_GET, "/_matrix/client/v3/publicRooms", CLIENT_TOKEN_PROVES_NOTHING },
	{ HTTP_GET, "/_matrix/client/v3/profile/@a:b", CLIENT_TOKEN_PROVES_NOTHING },
	{ HTTP_GET, "/_matrix/client/v3/directory/room/%23a:b", CLIENT_TOKEN_PROVES_NOTHING },
	{ HTTP_GET, "/_matrix/client/v1/room_summary/!a:b", CLIENT_TOKEN_PROVES_NOTHING },
	{ HTTP_GET, "/_matrix/client/unstable/im.nheko.summary/rooms/!a:b/summary",
	  CLIENT_TOKEN_PROVES_NOTHING },
	{ HTTP_GET, "/_matrix/client/v3/account/password", CLIENT_TOKEN_PROVES_NOTHING },
	{ HTTP_GET, "/_matrix/client/v3/syncs", CLIENT_TOKEN_PROVES_NOTHING },
	{ HTTP_GET, "/_matrix/client/v3/sync/x", CLIENT_TOKEN_PROVES_NOTHING },
	{ HTTP_GET, "/_matrix/client/v9/sync", CLIENT_TOKEN_PROVES_NOTHING },
	{ HTTP_GET, "/_matrix/client/v3//sync", CLIENT_TOKEN_PROVES_NOTHING },
	{ HTTP_GET, "/_matrix/client/v3/s%79nc", CLIENT_TOKEN_PROVES_NOTHING },
	{ HTTP_GET, "/_matrix/media/v3/config", CLIENT_TOKEN_PROVES_NOTHING },
	{ HTTP_GET, "/_synapse/client/sync", CLIENT_TOKEN_PROVES_NOTHING },
	/* answered without a look at the token */
	{ HTTP_OPTIONS, "/_matrix/client/v3/sync", CLIENT_TOKEN_PROVES_NOTHING },
	{ HTTP_HEAD, "/_matrix/client/v3/sync", CLIENT_TOKEN_PROVES_NOTHING },
};

static void what_it_proves(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(uses); i++) {
		print_message("  %s\n", uses[i].target);
		assert_int_equal(client_token_use(uses[i].method, str_of(uses[i].target)),
		                 uses[i].use);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(where_it_is),
		                            cmocka_unit_test(too_long),
		                            cmocka_unit_test(what_it_proves) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
