#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "fed/resolution.h"
#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NOW      UINT64_C(1767225600000)

static uint32_t least(void *arg, uint32_t below)
{
	(void)arg;
	(void)below;
	return 0;
}

static uint32_t most(void *arg, uint32_t below)
{
	(void)arg;
	return below - 1;
}

static const struct resolution_random low = { least, NULL }, high = { most, NULL };

/* Everything set, everything as long as it can be. */
static struct resolution full(void)
{
	struct resolution r;
	char             *d = r.delegated;

	resolution_init(&r);
	for (int i = 0; i < 255; i++)
		d[i] = i % 51 == 50 && i != 254 ? '.' : 'a';
	memcpy(d + 255, ":65535", 7);
	memcpy(r.host_header, d, sizeof(r.host_header));
	memcpy(r.tls_name, d, 255);
	r.tls_name[255] = '\0';
	r.error = ERR_OK;
	r.stale = true;
	r.tls_name_is_ip = true;
	r.count = RESOLUTION_ADDRESSES_MAX;
	for (size_t i = 0; i < r.count; i++) {
		r.addresses[i].family = i % 3 ? ADDRESS_V6 : ADDRESS_V4;
		memset(r.addresses[i].ip, (int)(i + 1), address_ip_bytes(&r.addresses[i]));
		r.addresses[i].port = (uint16_t)(65535 - i);
	}
	r.well_known_at_unix_ms = UINT64_C(0x0102030405060708);
	r.well_known_until_unix_ms = UINT64_MAX;
	r.well_known_known_unix_ms = 3;
	r.at_unix_ms = 4;
	r.until_unix_ms = 5;
	r.usable_unix_ms = 6;
	return r;
}

static struct str write(const struct resolution *r, char *room, size_t size)
{
	struct writer w = writer_over(room, size);

	resolution_write(&w, r);
	assert_false(w.failed);
	return writer_done(&w);
}

static void assert_same(const struct resolution *a, const struct resolution *b)
{
	assert_string_equal(a->delegated, b->delegated);
	assert_true(a->well_known_at_unix_ms == b->well_known_at_unix_ms);
	assert_true(a->well_known_until_unix_ms == b->well_known_until_unix_ms);
	assert_true(a->well_known_known_unix_ms == b->well_known_known_unix_ms);
	assert_int_equal(a->error, b->error);
	assert_int_equal(a->stale, b->stale);
	assert_int_equal(a->count, b->count);
	for (size_t i = 0; i < a->count; i++)
		assert_true(address_equal(&a->addresses[i], &b->addresses[i]));
	assert_string_equal(a->host_header, b->host_header);
	assert_string_equal(a->tls_name, b->tls_name);
	assert_int_equal(a->tls_name_is_ip, b->tls_name_is_ip);
	assert_true(a->at_unix_ms == b->at_unix_ms);
	assert_true(a->until_unix_ms == b->until_unix_ms);
	assert_true(a->usable_unix_ms == b->usable_unix_ms);
}

static void bytes_hold_everything(void **state)
{
	struct resolution r = full(), back, empty;
	char              room[RESOLUTION_BYTES_MAX];

	(void)state;
	assert_int_equal(resolution_read(write(&r, room, sizeof(room)), &back), ERR_OK);
	assert_same(&r, &back);
	resolution_init(&empty);
	assert_int_equal(resolution_read(write(&empty, room, sizeof(room)), &back), ERR_OK);
	assert_same(&empty, &back);
}

static void every_error_survives(void **state)
{
	char room[RESOLUTION_BYTES_MAX];

	(void)state;
	for (int e = ERR_OK + 1; e < ERR_COUNT; e++) {
		struct resolution r, back;

		resolution_init(&r);
		r.error = (enum err)e;
		assert_int_equal(resolution_read(write(&r, room, sizeof(room)), &back), ERR_OK);
		assert_int_equal(back.error, e);
	}
}

static void every_prefix_is_refused(void **state)
{
	struct resolution r = full(), back;
	char              room[RESOLUTION_BYTES_MAX + 1];
	struct str        s = write(&r, room, sizeof(room));

	(void)state;
	for (size_t n = 0; n < s.len; n++) {
		struct exact x;

		assert_int_equal(resolution_read(exact_copy(&x, str_head(s, n)), &back),
		                 ERR_SYNTAX);
		exact_free(&x);
	}
	room[s.len] = 0; /* and what is longer */
	assert_int_equal(resolution_read(str_span(room, s.len + 1), &back), ERR_SYNTAX);
}

/* Damage may go unnoticed, but what is read is always something a run could have made. */
static void damage_is_refused_or_harmless(void **state)
{
	struct resolution r = full();
	char              room[RESOLUTION_BYTES_MAX], copy[RESOLUTION_BYTES_MAX];
	struct str        s = write(&r, room, sizeof(room));

	(void)state;
	for (size_t at = 0; at < s.len; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			struct resolution  back;
			struct server_name name;

			memcpy(copy, room, s.len);
			copy[at] = (char)(copy[at] ^ (1 << bit));
			if (resolution_read(str_span(copy, s.len), &back) != ERR_OK)
				continue;
			assert_true(at > 0); /* never another version */
			assert_true(back.count <= RESOLUTION_ADDRESSES_MAX);
			assert_int_equal(server_name_parse(str_of(back.host_header), &name),
			                 ERR_OK);
			assert_int_equal(server_name_parse(str_of(back.delegated), &name), ERR_OK);
		}
	}
}

static void contradictions_are_refused(void **state)
{
	struct resolution r = full(), back;
	char              room[RESOLUTION_BYTES_MAX];

	(void)state;
	r.count = 0;
	assert_int_equal(resolution_read(write(&r, room, sizeof(room)), &back), ERR_SYNTAX);
	r = full();
	r.error = ERR_DNS;
	assert_int_equal(resolution_read(write(&r, room, sizeof(room)), &back), ERR_SYNTAX);
	r = full();
	strcpy(r.host_header, "not a name");
	assert_int_equal(resolution_read(write(&r, room, sizeof(room)), &back), ERR_SYNTAX);
	r = full();
	r.tls_name[0] = '\0';
	assert_int_equal(resolution_read(write(&r, room, sizeof(room)), &back), ERR_SYNTAX);
	r = full();
	strcpy(r.delegated, "a..b");
	assert_int_equal(resolution_read(write(&r, room, sizeof(room)), &back), ERR_SYNTAX);
}

static void freshness_has_edges(void **state)
{
	struct resolution r = full();

	(void)state;
	r.at_unix_ms = NOW;
	r.until_unix_ms = NOW + 1000;
	assert_false(resolution_is_fresh(&r, NOW - 1));
	assert_true(resolution_is_fresh(&r, NOW));
	assert_true(resolution_is_fresh(&r, NOW + 999));
	assert_false(resolution_is_fresh(&r, NOW + 1000));
	assert_false(resolution_wants_refresh(&r, NOW + 799));
	assert_true(resolution_wants_refresh(&r, NOW + 800));
	assert_true(resolution_wants_refresh(&r, NOW + 999));
	assert_false(resolution_wants_refresh(&r, NOW + 1000));
	assert_true(resolution_fresh_for(&r, NOW + 1) == 999);
	assert_true(resolution_fresh_for(&r, NOW + 1000) == 0);
	resolution_init(&r);
	assert_false(resolution_is_fresh(&r, 0));
	assert_false(resolution_well_known_is_fresh(&r, 0));
	assert_false(resolution_well_known_was_valid(&r, 0));
}

static const struct life_row {
	msec given, low, high;
} lives[] = {
	/* Server-Server API, "Resolving server names", 3: 24 h default, 48 h at most */
	{ MS_NEVER, 24 * HOUR_MS * 9 / 10, 24 * HOUR_MS * 11 / 10 },
	{ 0, 5 * MINUTE_MS, 5 * MINUTE_MS },
	{ 5 * MINUTE_MS - 1, 5 * MINUTE_MS, 5 * MINUTE_MS },
	{ 5 * MINUTE_MS + 1, 5 * MINUTE_MS + 1, 5 * MINUTE_MS + 1 },
	{ 48 * HOUR_MS - 1, 48 * HOUR_MS - 1, 48 * HOUR_MS - 1 },
	{ 48 * HOUR_MS + 1, 48 * HOUR_MS, 48 * HOUR_MS },
};

static void well_known_lives_have_edges(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(lives); i++) {
		struct resolution r;

		resolution_init(&r);
		resolution_well_known_valid(&r, STRL("a.b"), lives[i].given, NOW, &low);
		assert_true(r.well_known_until_unix_ms == NOW + lives[i].low);
		resolution_well_known_valid(&r, STRL("a.b"), lives[i].given, NOW, &high);
		assert_true(r.well_known_until_unix_ms == NOW + lives[i].high);
		assert_true(r.well_known_known_unix_ms == r.well_known_until_unix_ms + 2 * HOUR_MS);
		assert_string_equal(r.delegated, "a.b");
	}
}

static void failures_are_remembered_by_their_kind(void **state)
{
	static const struct {
		bool                  known, keep;
		enum resolution_fault fault;
		msec                  middle;
	} rows[] = {
		{ false, false, RESOLUTION_INVALID, HOUR_MS },
		{ false, false, RESOLUTION_TEMPORARY, HOUR_MS },
		{ false, false, RESOLUTION_UNKNOWN, 2 * MINUTE_MS },
		{ true, false, RESOLUTION_INVALID, 2 * MINUTE_MS },
		{ true, true, RESOLUTION_TEMPORARY, 2 * MINUTE_MS },
		{ true, true, RESOLUTION_UNKNOWN, 2 * MINUTE_MS },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct resolution r;
		uint64_t          later = NOW + 6 * MINUTE_MS;

		resolution_init(&r);
		if (rows[i].known)
			resolution_well_known_valid(&r, STRL("a.b"), 0, NOW, &low);
		assert_int_equal(resolution_well_known_failed(&r, rows[i].fault, later, &low),
		                 rows[i].keep);
		assert_true(r.well_known_until_unix_ms == later + rows[i].middle * 9 / 10);
		assert_int_equal(r.delegated[0] != '\0', rows[i].keep);
		assert_int_equal(resolution_well_known_was_valid(&r, later), rows[i].known);
	}
}

/* After 404 there is nothing to fall back to, but it was valid recently. */
static void a_revoked_delegation_does_not_come_back(void **state)
{
	struct resolution r;

	(void)state;
	resolution_init(&r);
	resolution_well_known_valid(&r, STRL("a.b"), 0, NOW, &low);
	assert_false(resolution_well_known_failed(&r, RESOLUTION_INVALID, NOW + 1, &low));
	assert_false(resolution_well_known_failed(&r, RESOLUTION_TEMPORARY, NOW + 2, &low));
	assert_string_equal(r.delegated, "");
	assert_true(resolution_well_known_was_valid(&r, NOW + 3));
}

static void records_are_clamped(void **state)
{
	(void)state;
	assert_true(resolution_record_ms(0) == MINUTE_MS);
	assert_true(resolution_record_ms(60) == MINUTE_MS);
	assert_true(resolution_record_ms(61) == 61 * SECOND_MS);
	assert_true(resolution_record_ms(86400) == DAY_MS);
	assert_true(resolution_record_ms(86401) == DAY_MS);
	assert_true(resolution_record_ms(UINT32_MAX) == DAY_MS);
	assert_true(resolution_absence_ms(0) == MINUTE_MS);
	assert_true(resolution_absence_ms(3600) == HOUR_MS);
	assert_true(resolution_absence_ms(3601) == HOUR_MS);
}

static struct resolution answered(void)
{
	struct resolution r;

	resolution_init(&r);
	r.error = ERR_OK;
	r.count = 1;
	r.addresses[0] = address_v4(192, 0, 2, 1, 8448);
	strcpy(r.host_header, "example.org");
	strcpy(r.tls_name, "example.org");
	r.at_unix_ms = NOW;
	r.until_unix_ms = NOW + HOUR_MS;
	r.usable_unix_ms = NOW + DAY_MS;
	return r;
}

static void failure_keeps_what_is_usable(void **state)
{
	static const struct {
		enum err    e;
		const char *host;
		uint64_t    now;
		enum err    want;
		bool        stale;
		uint64_t    until;
	} rows[] = {
		{ ERR_DNS, "example.org", NOW + HOUR_MS, ERR_OK, true, NOW + HOUR_MS + MINUTE_MS },
		{ ERR_TIMEOUT, "example.org", NOW + DAY_MS - 1, ERR_OK, true,
		  NOW + DAY_MS - 1 + MINUTE_MS },
		{ ERR_DNS, "example.org", NOW + 1, ERR_OK, false, NOW + HOUR_MS },
		{ ERR_DNS, "example.org", NOW + DAY_MS, ERR_DNS, false, NOW + DAY_MS + 10000 },
		{ ERR_DNS, "example.org", NOW - 1, ERR_DNS, false, NOW - 1 + 10000 },
		{ ERR_DNS, "example.net", NOW + 1, ERR_DNS, false, NOW + 1 + 10000 },
		{ ERR_NO_RECORD, "example.org", NOW + 1, ERR_NO_RECORD, false, NOW + 1 + 77000 },
		{ ERR_BLOCKED, "example.org", NOW + 1, ERR_BLOCKED, false, NOW + 1 + 77000 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		struct resolution r = answered();

		print_message("  row %zu\n", i);
		assert_int_equal(resolution_after_failure(&r, rows[i].e, str_of(rows[i].host),
		                                          77000, rows[i].now),
		                 rows[i].want);
		assert_int_equal(r.error, rows[i].want);
		assert_int_equal(r.stale, rows[i].stale);
		assert_int_equal(r.count, rows[i].want == ERR_OK ? 1 : 0);
		assert_true(r.until_unix_ms == rows[i].until);
		assert_true(resolution_is_fresh(&r, rows[i].now));
	}
}

static void kept_addresses_do_not_live_for_ever(void **state)
{
	struct resolution r = answered();
	uint64_t          now = NOW + HOUR_MS;

	(void)state;
	while (resolution_after_failure(&r, ERR_DNS, STRL("example.org"), 1, now) == ERR_OK)
		now = r.until_unix_ms;
	assert_true(now >= NOW + DAY_MS && now < NOW + DAY_MS + 2 * MINUTE_MS);
}

static void storage_keeps_the_longest_part(void **state)
{
	struct resolution r;

	(void)state;
	resolution_init(&r);
	assert_true(resolution_keep_until(&r) == 0);
	r.well_known_until_unix_ms = 1;
	assert_true(resolution_keep_until(&r) == 1);
	r.until_unix_ms = 2;
	assert_true(resolution_keep_until(&r) == 2);
	r.usable_unix_ms = 3;
	assert_true(resolution_keep_until(&r) == 3);
	r.well_known_known_unix_ms = 4;
	assert_true(resolution_keep_until(&r) == 4);
}

static void every_address_must_be_allowed(void **state)
{
	struct cidr           range;
	struct address_policy policy = { .allow = &range, .allow_count = 1 };
	struct resolution     r;

	(void)state;
	assert_int_equal(address_parse_cidr(STRL("127.24.0.0/16"), &range), ERR_OK);
	resolution_init(&r);
	assert_true(resolution_is_allowed(&r, NULL));
	r.count = 2;
	r.addresses[0] = address_v4(8, 8, 8, 8, 1);
	r.addresses[1] = address_v4(127, 24, 0, 1, 1);
	assert_true(resolution_is_allowed(&r, &policy));
	assert_false(resolution_is_allowed(&r, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_hold_everything),
		cmocka_unit_test(every_error_survives),
		cmocka_unit_test(every_prefix_is_refused),
		cmocka_unit_test(damage_is_refused_or_harmless),
		cmocka_unit_test(contradictions_are_refused),
		cmocka_unit_test(freshness_has_edges),
		cmocka_unit_test(well_known_lives_have_edges),
		cmocka_unit_test(failures_are_remembered_by_their_kind),
		cmocka_unit_test(a_revoked_delegation_does_not_come_back),
		cmocka_unit_test(records_are_clamped),
		cmocka_unit_test(failure_keeps_what_is_usable),
		cmocka_unit_test(kept_addresses_do_not_live_for_ever),
		cmocka_unit_test(storage_keeps_the_longest_part),
		cmocka_unit_test(every_address_must_be_allowed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
