/* What scripts in tests/replay/resolve cannot say: bounds, merged answers, the trail's text. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#include "codec/matrix/well_known.h"
#include "fed/resolve.h"
#include "fed/srv_order.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NOW      UINT64_C(1767225600000)

static uint32_t middle(void *arg, uint32_t below)
{
	(void)arg;
	return below / 2;
}

static const struct resolution_random rnd = { middle, NULL };

static struct resolve run; /* large */

static enum resolve_need begin(const char *name, const struct resolution *known)
{
	return resolve_begin(&run, str_of(name), known, NULL, rnd, NOW);
}

static enum resolve_need give_status(int status, const char *location, const char *body)
{
	struct field          fields[] = { { FIELD_LOCATION, STR("Location"), STR("") } };
	struct head           head = { .status = status, .fields = fields };
	struct resolve_answer a = { .outcome = RESOLVE_FOUND, .head = &head, .body = str_of(body) };

	if (location != NULL) {
		fields[0].value = str_of(location);
		head.field_count = 1;
	}
	return resolve_answer(&run, &a, NOW);
}

static enum resolve_need give_error(enum err e)
{
	struct resolve_answer a = { .outcome = RESOLVE_ERROR, .error = e };

	return resolve_answer(&run, &a, NOW);
}

static enum resolve_need give_absence(void)
{
	struct resolve_answer a = { .outcome = RESOLVE_NO_DATA };

	return resolve_answer(&run, &a, NOW);
}

static enum resolve_need give_address(void)
{
	struct address        ip = address_v4(8, 8, 8, 8, 0);
	struct resolve_answer a = { .outcome = RESOLVE_FOUND, .count = 1, .addresses = &ip };

	return resolve_answer(&run, &a, NOW);
}

static void text_is_printable(void)
{
	assert_true(run.step_count <= RESOLVE_STEPS_MAX);
	assert_true(run.text_len <= RESOLVE_TEXT_MAX);
	for (size_t i = 0; i < run.text_len; i++)
		assert_in_range((unsigned char)run.text[i], 0x20, 0x7e);
	for (size_t i = 0; i < run.step_count; i++) {
		assert_non_null(run.steps[i].outcome);
		assert_non_null(run.steps[i].why);
		assert_true(strlen(resolve_step_kind_slug(run.steps[i].kind)) > 0);
	}
}

/* Three attempts of six requests each, with the longest URLs there are. */
static void the_trail_is_bounded(void **state)
{
	struct resolution known;
	char              location[600];
	unsigned          asked = 0;
	enum resolve_need need;

	(void)state;
	resolution_init(&known);
	resolution_well_known_valid(&known, STRL("192.0.2.1"), 0, NOW - 6 * MINUTE_MS, &rnd);
	need = begin("example.org", &known);
	while (need == RESOLVE_WELL_KNOWN && asked < 100) {
		snprintf(location, sizeof(location), "/%04u%0*d", asked++, 500, 0);
		need = run.redirects == RESOLVE_REDIRECTS_MAX ? give_error(ERR_TIMEOUT)
							      : give_status(302, location, "");
	}
	assert_int_equal(asked, 18);
	for (size_t i = 0; i < run.step_count - 3; i++)
		assert_true(run.steps[i].kind == RESOLVE_STEP_NAME ||
		            run.steps[i].kind == RESOLVE_STEP_WELL_KNOWN ||
		            run.steps[i].kind == RESOLVE_STEP_REDIRECT);
	assert_int_equal(run.step_count, 1 + 18 + 3); /* nothing of it was cut */
	assert_int_equal(need, RESOLVE_FAILED); /* what was known is a documentation address */
	assert_int_equal(run.result.error, ERR_BLOCKED);
	assert_int_equal(run.steps[run.step_count - 1].kind, RESOLVE_STEP_RESULT);
	text_is_printable();
}

static void the_trail_ends_with_the_result(void **state)
{
	static const char *const names[] = { "example.org", "8.8.8.8",          "10.0.0.1",
		                             "a..b",        "example.org:8448", "example.org:22",
		                             "localhost" };

	(void)state;
	for (size_t i = 0; i < COUNT(names); i++) {
		enum resolve_need need = begin(names[i], NULL);

		while (need == RESOLVE_WELL_KNOWN || need == RESOLVE_SRV)
			need = give_absence();
		if (need == RESOLVE_ADDRESS)
			need = give_address();
		assert_true(need == RESOLVE_DONE || need == RESOLVE_FAILED);
		assert_int_equal(run.steps[run.step_count - 1].kind, RESOLVE_STEP_RESULT);
		text_is_printable();
	}
}

static void hostile_text_is_made_printable(void **state)
{
	static const struct str names[] = { STR("a\nb"), STR("a\0b"), STR("\x1b[2J"), STR("\xff"),
		                            STR("") };
	char                    many[1000];

	(void)state;
	for (size_t i = 0; i < COUNT(names); i++) {
		assert_int_equal(resolve_begin(&run, names[i], NULL, NULL, rnd, NOW),
		                 RESOLVE_FAILED);
		assert_int_equal(run.result.error, ERR_SYNTAX);
		text_is_printable();
	}
	(void)resolve_begin(&run, STRL("a b\tc\x7f~\xff"), NULL, NULL, rnd, NOW);
	assert_true(str_is(resolve_step_question(&run, 0), "a b?c?~?"));
	memset(many, 'a', sizeof(many));
	for (size_t n = 250; n < sizeof(many); n++) {
		assert_int_equal(resolve_begin(&run, str_span(many, n), NULL, NULL, rnd, NOW),
		                 RESOLVE_FAILED);
		text_is_printable();
	}
}

static void after_the_end_answers_are_ignored(void **state)
{
	struct resolution before;

	(void)state;
	assert_int_equal(begin("example.org:8448", NULL), RESOLVE_ADDRESS);
	assert_int_equal(give_address(), RESOLVE_DONE);
	before = run.result;
	assert_int_equal(give_error(ERR_DNS), RESOLVE_DONE);
	assert_int_equal(give_absence(), RESOLVE_DONE);
	assert_int_equal(resolve_give_up(&run, ERR_TIMEOUT, NOW), RESOLVE_DONE);
	assert_memory_equal(&before, &run.result, sizeof(before));
	assert_int_equal(begin("example.org:8448", NULL), RESOLVE_ADDRESS);
	assert_int_equal(resolve_give_up(&run, ERR_TIMEOUT, NOW), RESOLVE_FAILED);
	assert_int_equal(give_address(), RESOLVE_FAILED);
}

/* More records than the machine looks at, all of the longest names. */
static void floods_of_records_are_cut(void **state)
{
	static char           names[200][254];
	struct resolve_srv    srv[200];
	struct resolve_answer a = { .outcome = RESOLVE_FOUND, .count = 200, .srv = srv };
	unsigned              asked = 0;
	enum resolve_need     need;

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		memset(names[i], 'a', 253);
		for (size_t at = 49; at < 250; at += 50)
			names[i][at] = '.';
		snprintf(names[i], 5, "%04u", i);
		names[i][4] = 'a';
		srv[i] = (struct resolve_srv){ 1, 1, 8448, str_of(names[i]) };
	}
	(void)begin("example.org", NULL);
	(void)give_status(404, NULL, "");
	need = resolve_answer(&run, &a, NOW);
	while (need == RESOLVE_ADDRESS && asked < 100) {
		asked++;
		need = give_absence();
	}
	assert_int_equal(asked, RESOLVE_TARGETS_MAX);
	assert_int_equal(need, RESOLVE_FAILED);
	assert_int_equal(run.steps[run.step_count - 1].kind, RESOLVE_STEP_RESULT);
	text_is_printable();
}

/* Which bytes may stand in a target: those of host names, and "_". */
static void only_these_bytes_occur_in_targets(void **state)
{
	(void)state;
	for (unsigned c = 0; c < 256; c++) {
		char                  text[] = { 'a', (char)c, 'b', '.', 'o', 'r', 'g' };
		struct resolve_srv    srv = { 1, 1, 8448, { text, sizeof(text) } };
		struct resolve_answer a = { .outcome = RESOLVE_FOUND, .count = 1, .srv = &srv };
		bool                  good = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
			(c >= 'A' && c <= 'Z') || c == '-' || c == '_' || c == '.';

		(void)begin("example.org", NULL);
		(void)give_status(404, NULL, "");
		assert_int_equal(resolve_answer(&run, &a, NOW),
		                 good ? RESOLVE_ADDRESS : RESOLVE_FAILED);
		text_is_printable();
	}
}

static void targets_have_whole_labels(void **state)
{
	static const struct str bad[] = { STR(".a.b"), STR("a.b."), STR("a..b"), STR("..") };

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct resolve_srv    srv = { 1, 1, 8448, bad[i] };
		struct resolve_answer a = { .outcome = RESOLVE_FOUND, .count = 1, .srv = &srv };

		(void)begin("example.org", NULL);
		(void)give_status(404, NULL, "");
		assert_int_equal(resolve_answer(&run, &a, NOW), RESOLVE_FAILED);
		assert_int_equal(run.result.error, ERR_NO_RECORD);
	}
}

static bool trail_says(enum resolve_step_kind kind, const char *question, const char *why)
{
	for (size_t i = 0; i < run.step_count; i++)
		if (run.steps[i].kind == kind && strstr(run.steps[i].why, why) != NULL &&
		    str_is(resolve_step_question(&run, i), question))
			return true;
	return false;
}

/* What a user reads when .well-known was not usable. */
static void the_trail_names_the_reason(void **state)
{
	static const struct {
		int         status;
		const char *location, *body, *why;
	} rows[] = {
		{ 200, NULL, "{}", "no m.server" },
		{ 200, NULL, "{\"m.server\":1}", "not JSON with a server name" },
		{ 404, NULL, "", "404" },
		{ 429, NULL, "", "429" },
		{ 500, NULL, "", "5xx" },
		{ 403, NULL, "", "other than 200" },
		{ 302, NULL, "", "Location" },
		{ 302, "http://example.org/", "", "https" },
		{ 302, "https://router.lan/", "", ".lan" },
		{ 302, "https://10.0.0.1/", "", "10.0.0.0/8" },
		{ 302, "https://example.net:25/", "", "port" },
		{ 302, "/.well-known/matrix/server", "", "circles" },
	};
	char large[51201];

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		(void)begin("example.org", NULL);
		(void)give_status(rows[i].status, rows[i].location, rows[i].body);
		assert_true(trail_says(RESOLVE_STEP_WELL_KNOWN,
		                       "https://example.org/.well-known/matrix/server",
		                       rows[i].why));
	}
	memset(large, ' ', sizeof(large));
	large[sizeof(large) - 1] = '\0';
	(void)begin("example.org", NULL);
	(void)give_status(200, NULL, large);
	assert_true(trail_says(RESOLVE_STEP_WELL_KNOWN,
	                       "https://example.org/.well-known/matrix/server", "50 KiB"));
	(void)begin("example.org", NULL);
	(void)give_status(302, "https://[2a00:1450::1]:8443/x", "");
	(void)give_status(404, NULL, "");
	assert_true(trail_says(RESOLVE_STEP_WELL_KNOWN, "https://[2a00:1450::1]:8443/x", "404"));
}

/* Records that are all worth a line: the last line is still the result. */
static void floods_of_steps_leave_room_for_the_result(void **state)
{
	struct resolve_srv    srv[SRV_ORDER_MAX];
	struct resolve_answer a = { .outcome = RESOLVE_FOUND, .count = SRV_ORDER_MAX, .srv = srv };
	enum resolve_need     need;

	(void)state;
	for (uint16_t i = 0; i < SRV_ORDER_MAX; i++)
		srv[i] = (struct resolve_srv){ i, 1, i < 20 ? 0 : 8448, STR("a.example.net") };
	(void)begin("example.org", NULL);
	(void)give_status(302, "/next", "");
	(void)give_status(404, NULL, "");
	need = resolve_answer(&run, &a, NOW);
	for (int i = 0; i < 7; i++, need = give_absence())
		assert_int_equal(need, RESOLVE_ADDRESS);
	assert_int_equal(give_address(), RESOLVE_DONE);
	assert_int_equal(run.step_count, RESOLVE_STEPS_MAX);
	assert_int_equal(run.steps[RESOLVE_STEPS_MAX - 1].kind, RESOLVE_STEP_RESULT);
	text_is_printable();
}

static void floods_of_addresses_are_cut(void **state)
{
	struct address        many[200];
	struct resolve_srv    srv[] = { { 1, 1, 8448, STR("a.example.net") },
		                        { 2, 1, 8449, STR("b.example.net") },
		                        { 3, 1, 8450, STR("c.example.net") } };
	struct resolve_answer records = { .outcome = RESOLVE_FOUND, .count = 3, .srv = srv };
	struct resolve_answer a = { .outcome = RESOLVE_FOUND, .count = 200, .addresses = many };

	(void)state;
	for (unsigned i = 0; i < 200; i++)
		many[i] = address_v4(8, 8, 8, (uint8_t)i, 1);
	(void)begin("example.org", NULL);
	(void)give_status(404, NULL, "");
	assert_int_equal(resolve_answer(&run, &records, NOW), RESOLVE_ADDRESS);
	assert_int_equal(resolve_answer(&run, &a, NOW), RESOLVE_ADDRESS);
	assert_int_equal(resolve_answer(&run, &a, NOW), RESOLVE_DONE); /* c is not needed */
	assert_int_equal(run.result.count, RESOLUTION_ADDRESSES_MAX);
	assert_int_equal(run.result.addresses[7].port, 8448);
	assert_int_equal(run.result.addresses[8].port, 8449);
	/* one bad address at the very end of the list still refuses the name */
	many[199] = address_v4(10, 0, 0, 1, 0);
	(void)begin("example.org:8448", NULL);
	assert_int_equal(resolve_answer(&run, &a, NOW), RESOLVE_FAILED);
	assert_int_equal(run.result.error, ERR_BLOCKED);
}

/* ---- A and AAAA as one ---- */

enum half { SOME, NODATA, NXDOMAIN, FAILED };

static struct resolve_answer half_of(enum half h, struct address *ip)
{
	static const enum resolve_outcome outcomes[] = { RESOLVE_FOUND, RESOLVE_NO_DATA,
		                                         RESOLVE_NO_NAME, RESOLVE_ERROR };
	struct resolve_answer             a = { .outcome = outcomes[h], .addresses = ip };

	a.count = h == SOME ? 1 : 0;
	a.error = h == FAILED ? ERR_DNS : ERR_OK;
	a.ttl_s = ip->family == ADDRESS_V4 ? 100 : 200;
	return a;
}

static const struct merge_row {
	enum half            a, aaaa;
	enum resolve_outcome want;
	size_t               count;
	bool                 partial;
	uint32_t             ttl_s;
} merges[] = {
	{ SOME, SOME, RESOLVE_FOUND, 2, false, 100 },
	{ SOME, NODATA, RESOLVE_FOUND, 1, false, 100 },
	{ SOME, NXDOMAIN, RESOLVE_FOUND, 1, false, 100 },
	{ SOME, FAILED, RESOLVE_FOUND, 1, true, 100 },
	{ NODATA, SOME, RESOLVE_FOUND, 1, false, 200 },
	{ NODATA, NODATA, RESOLVE_NO_DATA, 0, false, 100 },
	{ NODATA, NXDOMAIN, RESOLVE_NO_NAME, 0, false, 200 },
	{ NODATA, FAILED, RESOLVE_ERROR, 0, false, 200 },
	{ NXDOMAIN, SOME, RESOLVE_FOUND, 1, false, 200 },
	{ NXDOMAIN, NODATA, RESOLVE_NO_NAME, 0, false, 100 },
	{ NXDOMAIN, NXDOMAIN, RESOLVE_NO_NAME, 0, false, 100 },
	{ NXDOMAIN, FAILED, RESOLVE_NO_NAME, 0, false, 100 },
	{ FAILED, SOME, RESOLVE_FOUND, 1, true, 200 },
	{ FAILED, NODATA, RESOLVE_ERROR, 0, false, 100 },
	{ FAILED, NXDOMAIN, RESOLVE_NO_NAME, 0, false, 200 },
	{ FAILED, FAILED, RESOLVE_ERROR, 0, false, 100 },
};

static void two_families_are_one_answer(void **state)
{
	(void)state;
	assert_int_equal(COUNT(merges), 16);
	for (size_t i = 0; i < COUNT(merges); i++) {
		struct address four = address_v4(8, 8, 8, 8, 0), six = { ADDRESS_V6, { 32 }, 0 };
		struct address room[2 * RESOLVE_PER_NAME_MAX];
		struct resolve_answer a = half_of(merges[i].a, &four);
		struct resolve_answer aaaa = half_of(merges[i].aaaa, &six), out;

		print_message("  row %zu\n", i);
		resolve_merge(&a, &aaaa, room, &out);
		assert_int_equal(out.outcome, merges[i].want);
		assert_int_equal(out.count, merges[i].count);
		assert_int_equal(out.partial, merges[i].partial);
		assert_int_equal(out.ttl_s, merges[i].ttl_s);
		if (out.count == 2)
			assert_int_equal(out.addresses[0].family, ADDRESS_V6);
	}
}

static void long_families_alternate_within_the_room(void **state)
{
	struct address        four[20], six[20], room[2 * RESOLVE_PER_NAME_MAX];
	struct resolve_answer a = { .count = 20, .addresses = four };
	struct resolve_answer aaaa = { .count = 20, .addresses = six }, out;

	(void)state;
	for (uint8_t i = 0; i < 20; i++) {
		four[i] = address_v4(8, 8, 8, i, 0);
		six[i] = (struct address){ ADDRESS_V6, { 32, i }, 0 };
	}
	resolve_merge(&a, &aaaa, room, &out);
	assert_int_equal(out.count, 16);
	for (size_t i = 0; i < 16; i++)
		assert_int_equal(out.addresses[i].family, i % 2 ? ADDRESS_V4 : ADDRESS_V6);
	aaaa.count = 1;
	resolve_merge(&a, &aaaa, room, &out);
	assert_int_equal(out.count, 9);
}

/* The longest names that are looked up leave no buffer too small. */
static void longest_names_fit(void **state)
{
	char name[300], body[400];

	(void)state;
	memset(name, 'a', sizeof(name));
	for (size_t at = 50; at < 250; at += 51)
		name[at] = '.';
	strcpy(name + 240, ".org");
	snprintf(body, sizeof(body), "{\"m.server\":\"%s:65535\"}", name);
	(void)begin("example.org", NULL);
	assert_int_equal(give_status(200, NULL, body), RESOLVE_ADDRESS);
	assert_string_equal(run.question.name, name);
	assert_int_equal(give_address(), RESOLVE_DONE);
	assert_true(str_ends(str_of(run.result.host_header), STRL(":65535")));
	name[236] = '\0'; /* the longest that has room for _matrix-fed._tcp. */
	assert_int_equal(begin(name, NULL), RESOLVE_WELL_KNOWN);
	assert_int_equal(give_status(404, NULL, ""), RESOLVE_SRV);
	assert_int_equal(strlen(run.question.name), 253);
}

static void the_machine_is_small(void **state)
{
	(void)state;
	assert_true(sizeof(struct resolve) <= 9 * 1024);
	assert_true(sizeof(struct resolution) <= 1280);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_trail_is_bounded),
		cmocka_unit_test(the_trail_ends_with_the_result),
		cmocka_unit_test(hostile_text_is_made_printable),
		cmocka_unit_test(after_the_end_answers_are_ignored),
		cmocka_unit_test(floods_of_records_are_cut),
		cmocka_unit_test(only_these_bytes_occur_in_targets),
		cmocka_unit_test(targets_have_whole_labels),
		cmocka_unit_test(the_trail_names_the_reason),
		cmocka_unit_test(floods_of_steps_leave_room_for_the_result),
		cmocka_unit_test(floods_of_addresses_are_cut),
		cmocka_unit_test(two_families_are_one_answer),
		cmocka_unit_test(long_families_alternate_within_the_room),
		cmocka_unit_test(longest_names_fit),
		cmocka_unit_test(the_machine_is_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
