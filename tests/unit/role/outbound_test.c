#include "role/outbound.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#ifdef CONFIG_DOORSTEP_OUTBOUND

static const struct {
	const char     *method, *path;
	enum awake_sent want;
} sent[] = {
	{ "PUT", "/_matrix/federation/v1/send/123", AWAKE_SENT_EVENT },
	{ "PUT", "/_matrix/federation/v1/send/12%2F3?x=1", AWAKE_SENT_EVENT },
	{ "GET", "/_matrix/federation/v1/send/123", AWAKE_SENT_OTHER },
	{ "PUT", "/_matrix/federation/v1/invite/!r/$e", AWAKE_SENT_EVENT },
	{ "PUT", "/_matrix/federation/v2/invite/!r/$e", AWAKE_SENT_EVENT },
	{ "PUT", "/_matrix/federation/v1/send_join/!r/$e", AWAKE_SENT_EVENT },
	{ "PUT", "/_matrix/federation/v2/send_join/!r/$e?omit_members=true", AWAKE_SENT_EVENT },
	{ "PUT", "/_matrix/federation/v2/send_leave/!r/$e", AWAKE_SENT_EVENT },
	{ "PUT", "/_matrix/federation/v1/send_knock/!r/$e", AWAKE_SENT_EVENT },
	{ "PUT", "/_matrix/federation/v1/exchange_third_party_invite/!r", AWAKE_SENT_EVENT },
	{ "GET", "/_matrix/federation/v1/make_join/!r/@u:x?ver=1", AWAKE_SENT_OTHER },
	{ "GET", "/_matrix/key/v2/server", AWAKE_SENT_OTHER },
	{ "GET", "/_matrix/federation/v1/query/profile?user_id=@u:x", AWAKE_SENT_OTHER },
	{ "POST", "/_matrix/federation/v1/user/keys/claim", AWAKE_SENT_OTHER },
	{ "GET", "/_matrix/federation/v1/media/download/abc", AWAKE_SENT_OTHER },
	{ "PUT", "/_matrix/federation/v1/send", AWAKE_SENT_OTHER },
	{ "", "/", AWAKE_SENT_OTHER },
};

static void what_others_come_back_for(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(sent) / sizeof(sent[0]); i++) {
		print_message("  %s %s\n", sent[i].method, sent[i].path);
		assert_int_equal(outbound_sent_kind(str_of(sent[i].method), str_of(sent[i].path)),
		                 sent[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(what_others_come_back_for) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else /* built without */

int main(void)
{
	return 0;
}

#endif
