#include "fed/device_watch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define EDU(type, user) \
	"{\"edu_type\":\"" type "\",\"content\":{\"stream_id\":1,\"user_id\":\"" user "\"}}"
#define BODY(edus) "{\"origin\":\"a\",\"pdus\":[],\"edus\":[" edus "]}"
#define UPDATE     "m.device_list_update"

/* Told users, each with a blank behind; "*" for any. */
static char told[512];

static void on_changed(void *arg, struct str user)
{
	size_t n = strlen(told);

	(void)arg;
	snprintf(told + n, sizeof(told) - n, "%.*s ", user.len == 0 ? 1 : (int)user.len,
	         user.len == 0 ? "*" : user.ptr);
}

static const char *look(struct str body, size_t piece)
{
	struct device_watch d;

	told[0] = '\0';
	device_watch_init(&d, on_changed, NULL);
	for (struct str rest = body; rest.len > 0; rest = str_from(rest, piece)) {
		struct exact x;

		device_watch_feed(&d, exact_copy(&x, str_head(rest, piece)));
		exact_free(&x);
	}
	device_watch_end(&d);
	device_watch_end(&d);
	return told;
}

static const struct row {
	struct str  body;
	const char *want;
} rows[] = {
	{ STR(BODY("")), "" },
	{ STR("{}"), "" },
	{ STR("{\"edus\":null}"), "" },
	{ STR(BODY(EDU(UPDATE, "@a:x"))), "@a:x " },
	{ STR(BODY(EDU("m.signing_key_update", "@a:x"))), "@a:x " },
	{ STR(BODY(EDU("org.matrix.signing_key_update", "@a:x"))), "@a:x " },
	{ STR(BODY(EDU(UPDATE, "@a:x") "," EDU("m.typing", "@b:x") "," EDU(UPDATE, "@c:x"))),
	  "@a:x @c:x " },
	{ STR(BODY(EDU("m.presence", "@a:x") "," EDU("m.device_list_updates", "@a:x"))), "" },
	{ STR(BODY(
		  "{\"content\":{\"user_id\":\"@a:x\",\"keys\":{\"user_id\":\"@b:x\"}},\"edu_type\":\"" UPDATE
		  "\"}")),
	  "@a:x " },
	{ STR(BODY(
		  "{\"content\":{\"keys\":[{\"user_id\":\"@b:x\"}],\"user_id\":\"@a:x\"},\"edu_type\":\"" UPDATE
		  "\"}")),
	  "@a:x " },
	{ STR(" {\"edus\" : [ {\"edu_type\" : \"m\\u002edevice_list_update\" , \"content\" :\n"
	      "{ \"\\u0075ser_id\" : \"@\\u0061:x\" } } ] } "),
	  "@a:x " },
	/* the user is said elsewhere, or not in words */
	{ STR(BODY("{\"edu_type\":\"" UPDATE "\",\"user_id\":\"@a:x\",\"content\":{}}")), "* " },
	{ STR(BODY("{\"edu_type\":\"" UPDATE "\"}")), "* " },
	{ STR(BODY("{\"edu_type\":\"" UPDATE "\",\"content\":{\"user_id\":7}}")), "* " },
	{ STR(BODY("{\"edu_type\":\"" UPDATE "\",\"content\":{\"user_id\":\"\"}}")), "* " },
	{ STR(BODY("{\"edu_type\":\"" UPDATE "\",\"content\":[\"user_id\",\"@a:x\"]}")), "* " },
	{ STR(BODY("{\"content\":{\"edu_type\":\"" UPDATE "\",\"user_id\":\"@a:x\"}}")), "" },
	{ STR("{\"pdus\":[" EDU(UPDATE, "@a:x") "]}"), "" },
	{ STR("{\"x\":{\"edus\":[" EDU(UPDATE, "@a:x") "]}}"), "" },
	{ STR("{\"edus\":[],\"edus\":[" EDU(UPDATE, "@a:x") "]}"), "@a:x " },
	/* two readings */
	{ STR(BODY("{\"edu_type\":\"m.typing\",\"edu_type\":\"" UPDATE
	           "\",\"content\":{\"user_id\":\"@a:x\"}}")),
	  "* " },
	{ STR(BODY("{\"edu_type\":\"" UPDATE
	           "\",\"content\":{\"user_id\":\"@a:x\",\"user_id\":\"@b:x\"}}")),
	  "* " },
	{ STR(BODY("{\"edu_type\":\"" UPDATE
	           "\",\"content\":{\"user_id\":\"@a:x\"},\"content\":{\"user_id\":\"@b:x\"}}")),
	  "* " },
	/* not seen to the end, or not understood */
	{ STR(""), "* " },
	{ STR("{"), "* " },
	{ STR("{\"edus\":[" EDU(UPDATE, "@a:x")), "@a:x * " },
	{ STR(BODY(EDU(UPDATE, "@a:x")) "x"), "@a:x * " },
	{ STR("{\"edus\":[{\"edu_type\":\"" UPDATE "\",}"), "* " },
	{ STR("{\"edus\":[\xff"), "* " },
};

static void tells_whose_devices_changed(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		print_message("  %.*s\n", (int)rows[i].body.len, rows[i].body.ptr);
		for (size_t piece = 1; piece < 9; piece++)
			assert_string_equal(look(rows[i].body, piece), rows[i].want);
		assert_string_equal(look(rows[i].body, 4096), rows[i].want);
	}
}

/* A long user id cannot be one; one of 255 bytes can, even with escapes. */
static void users_have_a_limit(void **state)
{
	char body[2500];

	(void)state;
	for (size_t n = 254; n < 258; n++) {
		size_t at = (size_t)snprintf(body, sizeof(body),
		                             "{\"edus\":[{\"edu_type\":\"" UPDATE
		                             "\",\"content\":{\"user_id\":\"");

		for (size_t i = 0; i < n; i++)
			at += (size_t)snprintf(body + at, sizeof(body) - at, "\\u0061");
		(void)snprintf(body + at, sizeof(body) - at, "\"}}]}");
		(void)look(str_of(body), 7);
		assert_int_equal(strlen(told), n <= DEVICE_WATCH_USER_MAX ? n + 1 : 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tells_whose_devices_changed),
		cmocka_unit_test(users_have_a_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
