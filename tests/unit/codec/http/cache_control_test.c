#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#include "codec/http/cache_control.h"
#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define NOW_S    784111777u /* Sun, 06 Nov 1994 08:49:37 GMT */
#define NOW_MS   (NOW_S * UINT64_C(1000))
#define Y2026_MS (UINT64_C(1767225600) * 1000)

static const struct date_row {
	struct str text;
	bool       good;
	int64_t    want;
} dates[] = {
	/* RFC 9110 5.6.7 */
	{ STR("Sun, 06 Nov 1994 08:49:37 GMT"), true, NOW_S },
	{ STR("Sunday, 06-Nov-94 08:49:37 GMT"), true, NOW_S },
	{ STR("Sun Nov  6 08:49:37 1994"), true, NOW_S },
	{ STR("Sun Nov 06 08:49:37 1994"), true, NOW_S },
	{ STR("Thu, 01 Jan 1970 00:00:00 GMT"), true, 0 },
	{ STR("Wed, 31 Dec 1969 23:59:59 GMT"), true, -1 },
	{ STR("Thu, 29 Feb 2024 12:00:00 GMT"), true, 1709208000 },
	{ STR("Sat, 29 Feb 2020 00:00:00 GMT"), true, 1582934400 },
	{ STR("Wed, 01 Mar 2000 00:00:00 GMT"), true, 951868800 },
	{ STR("Tue, 29 Feb 2000 23:59:60 GMT"), true, 951868800 },
	{ STR("Fri, 31 Dec 9999 23:59:59 GMT"), true, 253402300799 },
	{ STR("Mon, 29 Feb 2023 12:00:00 GMT"), false, 0 },
	{ STR("Mon, 29 Feb 2100 12:00:00 GMT"), false, 0 },
	{ STR("Sun, 00 Nov 1994 08:49:37 GMT"), false, 0 },
	{ STR("Sun, 31 Nov 1994 08:49:37 GMT"), false, 0 },
	{ STR("Sun, 06 Nov 1994 24:49:37 GMT"), false, 0 },
	{ STR("Sun, 06 Nov 1994 08:60:37 GMT"), false, 0 },
	{ STR("Sun, 06 Nov 1994 08:49:61 GMT"), false, 0 },
	{ STR("Sun, 06 nov 1994 08:49:37 GMT"), false, 0 },
	{ STR("Son, 06 Nov 1994 08:49:37 GMT"), false, 0 },
	{ STR("Sun, 6 Nov 1994 08:49:37 GMT"), false, 0 },
	{ STR("Sun, 06 Nov 94 08:49:37 GMT"), false, 0 },
	{ STR("Sun, 06 Nov 1994 08:49:37 UTC"), false, 0 },
	{ STR("Sun, 06 Nov 1994 08:49:37 GMT "), false, 0 },
	{ STR("Sun, 06 Nov 1994 08:49:37 +0000"), false, 0 },
	{ STR("Sunday, 06 Nov 1994 08:49:37 GMT"), false, 0 },
	{ STR("Sun Nov  6 08:49:37 1994 GMT"), false, 0 },
	{ STR("06 Nov 1994 08:49:37 GMT"), false, 0 },
	{ STR("1994-11-06T08:49:37Z"), false, 0 },
	{ STR("784111777"), false, 0 },
	{ STR("0"), false, 0 },
	{ STR("Sun"), false, 0 },
	{ STR(""), false, 0 },
};

static void reads_three_forms_of_dates(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(dates); i++) {
		int64_t got = 0;

		print_message("  %.*s\n", (int)dates[i].text.len, dates[i].text.ptr);
		assert_int_equal(cache_control_date(dates[i].text, NOW_MS, &got), dates[i].good);
		if (dates[i].good)
			assert_true(got == dates[i].want);
	}
}

/* "more than 50 years in the future" is the past century. */
static void two_digits_mean_a_near_year(void **state)
{
	static const struct {
		struct str text;
		uint64_t   now;
		int64_t    want;
	} rows[] = {
		{ STR("Wednesday, 01-Jan-76 00:00:00 GMT"), Y2026_MS, 3345062400 }, /* 2076 */
		{ STR("Saturday, 01-Jan-77 00:00:00 GMT"), Y2026_MS, 220924800 },   /* 1977 */
		{ STR("Thursday, 01-Jan-26 02:00:00 GMT"), Y2026_MS, 1767232800 },  /* 2026 */
		{ STR("Friday, 01-Jan-00 00:00:00 GMT"), Y2026_MS, 946684800 },     /* 2000 */
		{ STR("Friday, 01-Jan-99 00:00:00 GMT"), Y2026_MS, 915148800 },     /* 1999 */
		{ STR("Friday, 01-Jan-00 00:00:00 GMT"), NOW_MS, 946684800 },       /* 2000 */
		{ STR("Friday, 01-Jan-44 00:00:00 GMT"), NOW_MS, 2335219200 },      /* 2044 */
		{ STR("Monday, 01-Jan-45 00:00:00 GMT"), NOW_MS, -788918400 },      /* 1945 */
		{ STR("Thursday, 01-Jan-70 00:00:00 GMT"), 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		int64_t got = 1;

		print_message("  %s\n", rows[i].text.ptr);
		assert_true(cache_control_date(rows[i].text, rows[i].now, &got));
		assert_true(got == rows[i].want);
	}
}

/* Every day of four centuries, against counting. */
static void days_are_counted_right(void **state)
{
	static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	static const int  days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	int64_t           day = 0;

	(void)state;
	for (int y = 1970; y < 2370; y++) {
		for (int m = 0; m < 12; m++) {
			bool leap = y % 4 == 0 && (y % 100 != 0 || y % 400 == 0);
			int  last = days[m] + (m == 1 && leap);

			for (int d = 1; d <= last; d++, day++) {
				char    text[40];
				int64_t got = 0;

				snprintf(text, sizeof(text), "Sun, %02d %.3s %d 00:00:01 GMT", d,
				         months + 3 * m, y);
				assert_true(cache_control_date(str_of(text), NOW_MS, &got));
				assert_true(got == day * 86400 + 1);
			}
		}
	}
}

struct pair {
	enum field_id id;
	const char   *value;
};

#define CC      FIELD_CACHE_CONTROL
#define SECS(n) ((msec)(n)*1000)

static const struct life_row {
	struct pair fields[4];
	msec        want;
} lives[] = {
	{ { { FIELD_OTHER, "" } }, MS_NEVER },
	{ { { FIELD_AGE, "10" } }, MS_NEVER },
	{ { { FIELD_DATE, "Sun, 06 Nov 1994 08:49:37 GMT" } }, MS_NEVER },
	{ { { CC, "max-age=60" } }, SECS(60) },
	{ { { CC, "MAX-AGE=60" } }, SECS(60) },
	{ { { CC, " max-age = 60 " } }, SECS(60) },
	{ { { CC, "max-age=\"60\"" } }, SECS(60) },
	{ { { CC, "public,,max-age=60,immutable" } }, SECS(60) },
	{ { { CC, "max-age=\"60" } }, MS_NEVER },
	{ { { CC, "max-age=60\"" } }, MS_NEVER },
	{ { { CC, "max-age=\"\"" } }, MS_NEVER },
	{ { { CC, "max-age=60,max-age=70" } }, SECS(70) },
	{ { { CC, "max-age=60" }, { CC, "max-age=50" } }, SECS(50) },
	{ { { CC, "max-age=60, max-age=x" } }, MS_NEVER },
	{ { { CC, "max-age" } }, MS_NEVER },
	{ { { CC, "max-age=" } }, MS_NEVER },
	{ { { CC, "max-age=6.5" } }, MS_NEVER },
	{ { { CC, "max-age=+6" } }, MS_NEVER },
	{ { { CC, "max-age=-" } }, MS_NEVER },
	{ { { CC, "max-age=-6" } }, 0 },
	{ { { CC, "max-age=0" } }, 0 },
	{ { { CC, "max-age=2147483648" } }, SECS(2147483648u) },
	{ { { CC, "max-age=4294967296" } }, SECS(2147483648u) },
	{ { { CC, "max-age=99999999999999999999999999" } }, SECS(2147483648u) },
	{ { { CC, "private; max-age=60" } }, MS_NEVER },
	{ { { CC, "s-maxage=60" } }, MS_NEVER },
	{ { { CC, "x-max-age=60" } }, MS_NEVER },
	{ { { CC, "ext=\"a,max-age=60\"" } }, MS_NEVER },
	{ { { CC, "ext=\"a,max-age=60" } }, MS_NEVER },
	{ { { CC, "no-store" } }, 0 },
	{ { { CC, "max-age=60, No-Store" } }, 0 },
	{ { { CC, "no-store=1" } }, 0 },
	{ { { CC, "no-storex" } }, MS_NEVER },
	{ { { CC, "no-cache" } }, 0 },
	{ { { CC, "No-Cache, max-age=60" } }, 0 },
	{ { { CC, "max-age=60, no-cache=\"Set-Cookie\"" } }, SECS(60) },
	{ { { FIELD_EXPIRES, "Sun, 06 Nov 1994 08:50:37 GMT" } }, SECS(60) },
	{ { { FIELD_EXPIRES, "Sun, 06 Nov 1994 08:49:37 GMT" } }, 0 },
	{ { { FIELD_EXPIRES, "Sun, 06 Nov 1994 08:49:36 GMT" } }, 0 },
	{ { { FIELD_EXPIRES, "Sun, 06 Nov 1960 08:49:36 GMT" } }, 0 },
	{ { { FIELD_EXPIRES, "0" } }, 0 },
	{ { { FIELD_EXPIRES, "" } }, 0 },
	{ { { FIELD_EXPIRES, "0" }, { FIELD_EXPIRES, "Sun, 06 Nov 1994 08:50:37 GMT" } },
	  SECS(60) },
	{ { { FIELD_EXPIRES, "Sun, 06 Nov 1994 08:50:37 GMT" }, { CC, "max-age=7" } }, SECS(7) },
	{ { { CC, "max-age=x" }, { FIELD_EXPIRES, "Sun, 06 Nov 1994 08:50:37 GMT" } }, SECS(60) },
	{ { { FIELD_EXPIRES, "Sun, 06 Nov 1994 08:50:37 GMT" }, { FIELD_AGE, "20" } }, SECS(60) },
	{ { { FIELD_EXPIRES, "Sun, 06 Nov 2022 08:50:37 GMT" },
	    { FIELD_DATE, "Sun, 06 Nov 2022 08:49:37 GMT" } },
	  SECS(60) },
	{ { { FIELD_EXPIRES, "Sun, 06 Nov 2022 08:50:37 GMT" },
	    { FIELD_DATE, "Sun, 06 Nov 2022 08:49:37 GMT" },
	    { FIELD_AGE, "20" } },
	  SECS(40) },
	{ { { FIELD_EXPIRES, "Sun, 06 Nov 1994 08:50:37 GMT" }, { FIELD_DATE, "yesterday" } },
	  SECS(60) },
	{ { { CC, "max-age=60" }, { FIELD_AGE, "20" } }, SECS(40) },
	{ { { FIELD_AGE, "60" }, { CC, "max-age=60" } }, 0 },
	{ { { CC, "max-age=60" }, { FIELD_AGE, "61" } }, 0 },
	{ { { CC, "max-age=60" }, { FIELD_AGE, "99999999999999" } }, 0 },
	{ { { CC, "max-age=60" }, { FIELD_AGE, "20" }, { FIELD_AGE, "30" } }, SECS(40) },
	{ { { CC, "max-age=60" }, { FIELD_AGE, "20, 30" } }, SECS(60) },
	{ { { CC, "max-age=60" }, { FIELD_AGE, "-20" } }, SECS(60) },
};

static void lives_follow_the_fields(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(lives); i++) {
		struct field fields[4];
		struct head  h = { .fields = fields };

		print_message("  row %zu: %s\n", i, lives[i].fields[0].value);
		while (h.field_count < 4 && lives[i].fields[h.field_count].value != NULL) {
			const struct pair *p = &lives[i].fields[h.field_count];

			fields[h.field_count++] =
				(struct field){ p->id, STR(""), str_of(p->value) };
		}
		assert_true(cache_control_of(&h, NOW_MS) == lives[i].want);
	}
}

static void prefixes_end_where_they_end(void **state)
{
	static const struct str texts[] = { STR("Sun, 06 Nov 1994 08:49:37 GMT"),
		                            STR("Sunday, 06-Nov-94 08:49:37 GMT"),
		                            STR("Sun Nov  6 08:49:37 1994"),
		                            STR("ext=\"a\", max-age=\"60\",no-store") };

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		for (size_t n = 0; n <= texts[i].len; n++) {
			struct cache_control c = { 0 };
			struct exact         x;
			struct str           s = exact_copy(&x, str_head(texts[i], n));
			int64_t              at;

			assert_int_equal(cache_control_date(s, NOW_MS, &at),
			                 i < 3 && n == texts[i].len);
			cache_control_field(&c, FIELD_CACHE_CONTROL, s, NOW_MS);
			exact_free(&x);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_three_forms_of_dates),
		cmocka_unit_test(two_digits_mean_a_near_year),
		cmocka_unit_test(days_are_counted_right),
		cmocka_unit_test(lives_follow_the_fields),
		cmocka_unit_test(prefixes_end_where_they_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
