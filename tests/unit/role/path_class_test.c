#include "role/path_class.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct row {
	struct str      path;
	enum path_class want;
} rows[] = {
	/* Source: Matrix specification, the paths of its APIs */
	{ STR("/_matrix/federation/v1/version"), PATH_FEDERATION },
	{ STR("/_matrix/federation/v1/send/1?x=/../"), PATH_FEDERATION },
	{ STR("/_matrix/federation/unstable/rooms/!a:b/complexity"), PATH_FEDERATION },
	{ STR("/_matrix/federation/v1/media/download/abc"), PATH_FEDERATION },
	{ STR("/_matrix/key/v2/server"), PATH_FEDERATION },
	{ STR("/_matrix/policy/v1/sign"), PATH_FEDERATION },
	{ STR("/_matrix/media/v3/download/a.example/b"), PATH_MEDIA },
	{ STR("/_matrix/client/versions"), PATH_CLIENT },
	{ STR("/_matrix/client/v1/media/download/a/b"), PATH_CLIENT },
	{ STR("/_synapse/client/oidc/callback?code=1"), PATH_CLIENT },
	{ STR("/.well-known/matrix/server"), PATH_WELL_KNOWN },
	/* identifiers with odd but harmless content */
	{ STR("/_matrix/federation/v1/event/%24abc%2Fdef"), PATH_FEDERATION },
	{ STR("/_matrix/federation/v1/event/$..x"), PATH_FEDERATION },
	{ STR("/_matrix/federation/v1/event/..."), PATH_FEDERATION },
	{ STR("/_matrix/federation/v1/event/.a"), PATH_FEDERATION },
	{ STR("/_matrix/federation/v1/event/100%"), PATH_FEDERATION },
	{ STR("/_matrix/federation/v1/event/%zz"), PATH_FEDERATION },
	{ STR("/_matrix/federation//v1/x"), PATH_FEDERATION },
	/* administrative paths, plainly and deviously */
	{ STR("/_synapse/admin/v1/users"), PATH_FORBIDDEN },
	{ STR("/_synapse/replication/x"), PATH_FORBIDDEN },
	{ STR("/_synapse/metrics"), PATH_FORBIDDEN },
	{ STR("/_synapse/mas/x"), PATH_FORBIDDEN },
	{ STR("/_dendrite/admin"), PATH_FORBIDDEN },
	{ STR("/%5Fsynapse/admin"), PATH_FORBIDDEN },
	{ STR("/_SYNAPSE/admin"), PATH_FORBIDDEN },
	{ STR("//_synapse/admin"), PATH_FORBIDDEN },
	{ STR("/_synapse/client/../admin/v1"), PATH_FORBIDDEN },
	{ STR("/_synapse/client/%2e%2e/admin/v1"), PATH_FORBIDDEN },
	{ STR("/_synapse/client/%2E./admin/v1"), PATH_FORBIDDEN },
	{ STR("/_synapse/client/%252e%252e/admin"), PATH_FORBIDDEN },
	{ STR("/_synapse/client/x%2f..%2f..%2fadmin"), PATH_FORBIDDEN },
	{ STR("/_synapse/client/..;/admin"), PATH_FORBIDDEN },
	{ STR("/_synapse/client/..;a=b/admin"), PATH_FORBIDDEN },
	{ STR("/_synapse/client/..\\admin"), PATH_FORBIDDEN },
	{ STR("/_synapse/client/..%5cadmin"), PATH_FORBIDDEN },
	{ STR("/_synapse/client/./x"), PATH_FORBIDDEN },
	{ STR("/_matrix/client/.."), PATH_FORBIDDEN },
	{ STR("/_matrix/client/..?x"), PATH_FORBIDDEN },
	{ STR("/_matrix/federation/../../_synapse/admin"), PATH_FORBIDDEN },
	{ STR("/_matrix"), PATH_FORBIDDEN },
	{ STR("/_matrix/identity/v2"), PATH_FORBIDDEN },
	{ STR("/_matrix/push/v1/notify"), PATH_FORBIDDEN },
	{ STR("/_matrix/federationx/v1"), PATH_FORBIDDEN },
	{ STR("/metrics"), PATH_FORBIDDEN },
	{ STR("/health"), PATH_FORBIDDEN },
	{ STR("/"), PATH_FORBIDDEN },
	{ STR("*"), PATH_FORBIDDEN },
	{ STR(""), PATH_FORBIDDEN },
};

static void classes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("  %.*s\n", (int)rows[i].path.len, rows[i].path.ptr);
		assert_int_equal(path_class_of(rows[i].path), rows[i].want);
	}
}

static void knows_send(void **state)
{
	(void)state;
	assert_true(path_is_send(STRL("/_matrix/federation/v1/send/123")));
	assert_true(path_is_send(STRL("/_matrix/federation/unstable/send/x")));
	assert_false(path_is_send(STRL("/_matrix/federation/v1/send_join/x")));
	assert_false(path_is_send(STRL("/_matrix/federation/send/x")));
	assert_false(path_is_send(STRL("/_matrix/client/v1/send/x")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(classes),
		cmocka_unit_test(knows_send),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
