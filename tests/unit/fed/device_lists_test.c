#include "fed/device_lists.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct device_lists lists;

static const struct asked_row {
	struct str body;
	enum err   want;
	size_t     count;
} asked[] = {
	{ STR("{\"device_keys\":{}}"), ERR_OK, 0 },
	{ STR("{\"device_keys\":{\"@a:x\":[]}}"), ERR_OK, 1 },
	{ STR("{\"x\":1,\"device_keys\":{\"@a:x\":[\"A\"],\"@b:x\":[ ]}}"), ERR_OK, 2 },
	{ STR("{}"), ERR_SYNTAX, 0 },
	{ STR(""), ERR_SYNTAX, 0 },
	{ STR("{\"device_keys\":[]}"), ERR_SYNTAX, 0 },
	{ STR("{\"device_keys\":{\"@a:x\":{}}}"), ERR_SYNTAX, 0 },
	{ STR("{\"device_keys\":{\"@a:x\":null}}"), ERR_SYNTAX, 0 },
	{ STR("{\"device_keys\":{\"@a:x\":[]},\"device_keys\":{}}"), ERR_SYNTAX, 0 },
	{ STR("{\"device_keys\":{\"@a:x\":[],\"@\\u0061:x\":[]}}"), ERR_SYNTAX, 0 },
	{ STR("{\"device_keys\":{\"@a:x\":[]}"), ERR_SYNTAX, 0 },
};

static void understand_questions(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(asked); i++) {
		struct exact x;
		enum err     e;

		print_message("  %.*s\n", (int)asked[i].body.len, asked[i].body.ptr);
		e = device_lists_asked(exact_copy(&x, asked[i].body), &lists);
		assert_int_equal(e, asked[i].want);
		if (e == ERR_OK)
			assert_int_equal(lists.count, asked[i].count);
		exact_free(&x);
	}
}

static void questions_have_a_limit(void **state)
{
	char body[4096];

	(void)state;
	for (unsigned n = DEVICE_LISTS_USERS_MAX; n <= DEVICE_LISTS_USERS_MAX + 1; n++) {
		size_t at = (size_t)snprintf(body, sizeof(body), "{\"device_keys\":{");

		for (unsigned i = 0; i < n; i++)
			at += (size_t)snprintf(body + at, sizeof(body) - at, "%s\"@u%u:x\":[]",
			                       i == 0 ? "" : ",", i);
		(void)snprintf(body + at, sizeof(body) - at, "}}");
		assert_int_equal(device_lists_asked(str_of(body), &lists),
		                 n <= DEVICE_LISTS_USERS_MAX ? ERR_OK : ERR_LIMIT);
	}
}

/* ---- taken apart, put together ---- */

#define A_KEYS   "{\"A1\": {\"n\":1e3,\"\\u0061\":[ 1 ]},\"A2\":{\"b\":\"\\u00e9\"} }"
#define B_KEYS   "{}"
#define A_MASTER "{\"usage\":[\"master\"],\"x\" : -0}"
#define ANSWER                                                                    \
	"{\"device_keys\":{\"@a:x\":" A_KEYS ",\"@b:x\":" B_KEYS ",\"@z:x\":{}}," \
	"\"failures\":{},\"master_keys\":{\"@\\u0061:x\":" A_MASTER               \
	"},\"self_signing_keys\":null}"

/* The parts of users a and b as they are kept. */
static char parts[2][512];

static void take_apart(struct str answer)
{
	assert_int_equal(
		device_lists_asked(STRL("{\"device_keys\":{\"@a:x\":[],\"@b:x\":[]}}"), &lists),
		ERR_OK);
	assert_int_equal(device_lists_answered(answer, &lists), ERR_OK);
	for (size_t i = 0; i < 2; i++) {
		struct writer w = writer_over(parts[i], sizeof(parts[i]) - 1);

		assert_true(device_lists_write_part(&lists.user[i], &w));
		*w.at = '\0';
	}
}

static void are_taken_apart_byte_for_byte(void **state)
{
	char          id[DEVICE_LISTS_ID_MAX];
	struct writer w = writer_over(id, sizeof(id));

	(void)state;
	take_apart(STRL(ANSWER));
	assert_string_equal(parts[0], "{\"device_keys\":" A_KEYS ",\"master_keys\":" A_MASTER "}");
	assert_string_equal(parts[1], "{\"device_keys\":" B_KEYS "}");
	assert_true(device_lists_id(&lists.user[0], &w));
	assert_true(str_is(writer_done(&w), "@a:x"));
}

static const struct composed_row {
	const char *asked, *want;
} composed[] = {
	{ "{\"device_keys\":{\"@a:x\":[]}}",
	  "{\"device_keys\":{\"@a:x\":" A_KEYS "},\"master_keys\":{\"@a:x\":" A_MASTER
	  "},\"self_signing_keys\":{}}" },
	{ "{\"device_keys\":{\"@b:x\":[],\"@a:x\":[\"A2\",\"none\",7]}}",
	  "{\"device_keys\":{\"@b:x\":{},\"@a:x\":{\"A2\":{\"b\":\"\\u00e9\"}}},\"master_keys\":{\"@a:x\":" A_MASTER
	  "},\"self_signing_keys\":{}}" },
	{ "{\"device_keys\":{\"@\\u0062:x\":[\"B\"]}}",
	  "{\"device_keys\":{\"@\\u0062:x\":{}},\"master_keys\":{},\"self_signing_keys\":{}}" },
	{ "{\"device_keys\":{\"@a:x\":[\"\\u0041\\u0031\",\"A2\"]}}",
	  "{\"device_keys\":{\"@a:x\":{\"A1\":{\"n\":1e3,\"\\u0061\":[ 1 ]},\"A2\":{\"b\":\"\\u00e9\"}}},"
	  "\"master_keys\":{\"@a:x\":" A_MASTER "},\"self_signing_keys\":{}}" },
};

static void are_put_together(void **state)
{
	(void)state;
	take_apart(STRL(ANSWER));
	for (size_t i = 0; i < COUNT(composed); i++) {
		char          out[1024];
		struct writer w = writer_over(out, sizeof(out) - 1);

		print_message("  %s\n", composed[i].asked);
		assert_int_equal(device_lists_asked(str_of(composed[i].asked), &lists), ERR_OK);
		for (size_t u = 0; u < lists.count; u++) {
			bool is_a = json_text_eq(lists.user[u].id, STRL("@a:x"));

			assert_int_equal(
				device_lists_read_part(str_of(parts[is_a ? 0 : 1]), &lists.user[u]),
				ERR_OK);
		}
		device_lists_write(&lists, &w);
		assert_false(w.failed);
		*w.at = '\0';
		assert_string_equal(out, composed[i].want);
	}
}

static const struct answer_row {
	struct str answer;
	enum err   want;
	bool       has_part;
} answers[] = {
	{ STR("{\"device_keys\":{\"@a:x\":{}}}"), ERR_OK, true },
	{ STR("{\"device_keys\":{}}"), ERR_OK, false },
	{ STR("{\"master_keys\":{\"@a:x\":{}}}"), ERR_OK, false },
	{ STR("{}"), ERR_OK, false },
	{ STR("{\"device_keys\":{\"@a:x\":[]}}"), ERR_SYNTAX, false },
	{ STR("{\"device_keys\":[]}"), ERR_SYNTAX, false },
	{ STR("{\"device_keys\":{\"@a:x\":{},\"@a:x\":{}}}"), ERR_SYNTAX, false },
	{ STR("{\"device_keys\":{},\"device_keys\":{}}"), ERR_SYNTAX, false },
	{ STR("{\"device_keys\":{\"@a:x\":{}}"), ERR_SYNTAX, false },
	{ STR("<html>"), ERR_SYNTAX, false },
};

static void understand_answers(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(answers); i++) {
		struct exact  x;
		char          room[256];
		struct writer w = writer_over(room, sizeof(room));

		print_message("  %.*s\n", (int)answers[i].answer.len, answers[i].answer.ptr);
		assert_int_equal(
			device_lists_asked(STRL("{\"device_keys\":{\"@a:x\":[]}}"), &lists),
			ERR_OK);
		assert_int_equal(device_lists_answered(exact_copy(&x, answers[i].answer), &lists),
		                 answers[i].want);
		if (answers[i].want == ERR_OK)
			assert_int_equal(device_lists_write_part(&lists.user[0], &w),
			                 answers[i].has_part);
		exact_free(&x);
	}
}

static void read_only_their_own_parts(void **state)
{
	static const char *const bad[] = { "",
		                           "{}",
		                           "[]",
		                           "{\"device_keys\":1}",
		                           "{\"device_keys\":{},\"master_keys\":1}",
		                           "{\"device_keys\":{}" };
	struct device_lists_user u = { .id = STRL("@a:x") };

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(device_lists_read_part(str_of(bad[i]), &u), ERR_SYNTAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(understand_questions),
		cmocka_unit_test(questions_have_a_limit),
		cmocka_unit_test(are_taken_apart_byte_for_byte),
		cmocka_unit_test(are_put_together),
		cmocka_unit_test(understand_answers),
		cmocka_unit_test(read_only_their_own_parts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
