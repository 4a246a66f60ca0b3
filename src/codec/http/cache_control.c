#include "codec/http/cache_control.h"

#include <stddef.h>
#include <string.h>

#include "base/cursor.h"

#define SECONDS_MAX 2147483648u /* RFC 9111 1.2.2 */

/* ---- dates ---- */

struct date {
	unsigned year, month, day, hour, minute, second; /* month 0..11 */
};

/* Days since 1970-01-01 of the proleptic Gregorian calendar; month 0..11, day 1..31. */
static int64_t days_of(unsigned year, unsigned month, unsigned day)
{
	static const uint16_t before[12] = {
		0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334
	};
	int64_t y = (int64_t)year - (month < 2 ? 1 : 0); /* years whose leap day has passed */
	int64_t leaps = y / 4 - y / 100 + y / 400;

	return ((int64_t)year - 1970) * 365 + leaps - 477 + before[month] + day - 1;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
	static const uint8_t days[12] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	bool                 leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

	return days[month] + (month == 1 && leap ? 1u : 0u);
}

static bool date_seconds(const struct date *d, int64_t *out)
{
	if (d->day < 1 || d->day > days_in_month(d->year, d->month) || d->hour > 23 ||
	    d->minute > 59 || d->second > 60)
		return false;
	*out = days_of(d->year, d->month, d->day) * 86400 + d->hour * 3600 + d->minute * 60 +
		d->second;
	return true;
}

static void expect(struct reader *r, const char *text)
{
	if (!str_is(read_bytes(r, strlen(text)), text))
		r->failed = true;
}

static unsigned read_digits(struct reader *r, size_t n)
{
	uint64_t v = 0;

	if (!str_to_u64(read_bytes(r, n), 9999, &v))
		r->failed = true;
	return (unsigned)v;
}

static unsigned read_month(struct reader *r)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	struct str        s = read_bytes(r, 3);

	for (unsigned i = 0; i < 12; i++)
		if (str_eq(s, str_span(names + 3 * i, 3)))
			return i;
	r->failed = true;
	return 0;
}

static void read_time(struct reader *r, struct date *d)
{
	d->hour = read_digits(r, 2);
	expect(r, ":");
	d->minute = read_digits(r, 2);
	expect(r, ":");
	d->second = read_digits(r, 2);
}

/* A year of two digits is the latest one that is not more than 50 years ahead (RFC 9110 5.6.7). */
static unsigned full_year(unsigned two, uint64_t now_unix_ms)
{
	unsigned now = 1970 + (unsigned)(now_unix_ms / (DAY_MS * UINT64_C(146097) / 400) % 8000);
	unsigned year = now - now % 100 + two;

	if (year > now + 50)
		return year - 100;
	return year + 100 <= now + 50 ? year + 100 : year;
}

/* Each reads what follows the name of the day. */
static struct date read_imf(struct reader *r,
                            uint64_t       now_unix_ms) /* " 06 Nov 1994 08:49:37 GMT" */
{
	struct date d;

	(void)now_unix_ms;
	expect(r, ", ");
	d.day = read_digits(r, 2);
	expect(r, " ");
	d.month = read_month(r);
	expect(r, " ");
	d.year = read_digits(r, 4);
	expect(r, " ");
	read_time(r, &d);
	expect(r, " GMT");
	return d;
}

static struct date read_rfc850(struct reader *r,
                               uint64_t       now_unix_ms) /* " 06-Nov-94 08:49:37 GMT" */
{
	struct date d;

	expect(r, ", ");
	d.day = read_digits(r, 2);
	expect(r, "-");
	d.month = read_month(r);
	expect(r, "-");
	d.year = full_year(read_digits(r, 2), now_unix_ms);
	expect(r, " ");
	read_time(r, &d);
	expect(r, " GMT");
	return d;
}

static struct date read_asctime(struct reader *r,
                                uint64_t       now_unix_ms) /* " Nov  6 08:49:37 1994" */
{
	struct date d;

	(void)now_unix_ms;
	expect(r, " ");
	d.month = read_month(r);
	expect(r, " ");
	if (!r->failed && r->at < r->end && *r->at == ' ') {
		expect(r, " ");
		d.day = read_digits(r, 1);
	} else {
		d.day = read_digits(r, 2);
	}
	expect(r, " ");
	read_time(r, &d);
	expect(r, " ");
	d.year = read_digits(r, 4);
	return d;
}

static const char *const day_names[] = { "Monday", "Tuesday",  "Wednesday", "Thursday",
	                                 "Friday", "Saturday", "Sunday" };

/* How many letters of text name a day: 0, 3 (short) or the whole name. */
static size_t day_name_len(struct str text, bool *is_long)
{
	size_t n = 0;

	while (n < text.len && ((text.ptr[n] | 0x20) >= 'a' && (text.ptr[n] | 0x20) <= 'z'))
		n++;
	for (size_t i = 0; i < sizeof(day_names) / sizeof(day_names[0]); i++) {
		*is_long = str_eq(str_head(text, n), str_of(day_names[i]));
		if (*is_long || (n == 3 && memcmp(text.ptr, day_names[i], 3) == 0))
			return n;
	}
	return 0;
}

bool cache_control_date(struct str text, uint64_t now_unix_ms, int64_t *out)
{
	bool          is_long;
	size_t        name = day_name_len(text, &is_long);
	struct reader r = reader_over(str_from(text, name));
	struct date   d;

	if (name == 0 || name == text.len)
		return false;
	if (is_long)
		d = read_rfc850(&r, now_unix_ms);
	else
		d = text.ptr[name] == ',' ? read_imf(&r, now_unix_ms)
					  : read_asctime(&r, now_unix_ms);
	return !r.failed && r.at == r.end && date_seconds(&d, out);
}

/* ---- fields ---- */

static bool all_digits(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return false;
	return s.len > 0;
}

/* delta-seconds; too large is "very long" (RFC 9111 1.2.2). */
static bool parse_seconds(struct str s, uint32_t *out)
{
	uint64_t v;

	if (!all_digits(s))
		return false;
	*out = str_to_u64(s, SECONDS_MAX, &v) ? (uint32_t)v : SECONDS_MAX;
	return true;
}

static struct str without_quotes(struct str s)
{
	if (s.len >= 2 && s.ptr[0] == '"' && s.ptr[s.len - 1] == '"')
		return str_span(s.ptr + 1, s.len - 2);
	return s;
}

/* A later max-age takes the place of an earlier one even if it is no number. */
static void take_directive(struct cache_control *c, struct str directive)
{
	static const struct str no_store = STR("no-store"), no_cache = STR("no-cache");
	static const struct str max_age = STR("max-age");
	size_t                  eq = str_find(directive, '=');
	struct str              name = str_trim(str_head(directive, eq));
	struct str              value = str_trim(str_from(directive, eq + 1));

	if (str_ieq(name, no_store) || (str_ieq(name, no_cache) && eq == directive.len))
		c->no_store = true; /* no-cache="field" speaks of that field alone */
	if (!str_ieq(name, max_age))
		return;
	value = without_quotes(value);
	if (value.len > 1 && value.ptr[0] == '-' && all_digits(str_from(value, 1)))
		value = STRL("0"); /* a negative life is over */
	c->has_max_age = parse_seconds(value, &c->max_age_s);
}

/* Splits at commas outside quotes. */
static void take_directives(struct cache_control *c, struct str value)
{
	size_t from = 0;
	bool   quoted = false;

	for (size_t i = 0; i <= value.len; i++) {
		if (i < value.len && value.ptr[i] == '"')
			quoted = !quoted;
		if (i < value.len && (value.ptr[i] != ',' || quoted))
			continue;
		take_directive(c, str_span(value.ptr + from, i - from));
		from = i + 1;
	}
}

void cache_control_field(struct cache_control *c, enum field_id id, struct str value,
                         uint64_t now_unix_ms)
{
	uint32_t age;

	if (id == FIELD_CACHE_CONTROL) {
		take_directives(c, value);
	} else if (id == FIELD_EXPIRES) {
		c->has_expires = true;
		c->expires_bad = !cache_control_date(value, now_unix_ms, &c->expires_unix_s);
	} else if (id == FIELD_DATE) {
		c->has_date = cache_control_date(value, now_unix_ms, &c->date_unix_s);
	} else if (id == FIELD_AGE && !c->has_age && parse_seconds(value, &age)) {
		c->has_age = true;
		c->age_s = age;
	}
}

static msec remaining(int64_t lifetime_s, uint32_t age_s)
{
	int64_t left = lifetime_s - (int64_t)age_s;

	if (left <= 0)
		return 0;
	return (msec)(left < SECONDS_MAX ? left : SECONDS_MAX) * SECOND_MS;
}

/*
 * Expires counts from the response's own Date (RFC 9111 4.2.1), which also serves boxes whose clock
 * is not set yet; without Date from now, and then Age is in it already.
 */
static msec expires_lifetime(const struct cache_control *c, uint64_t now_unix_ms)
{
	if (c->expires_bad)
		return 0;
	if (c->has_date)
		return remaining(c->expires_unix_s - c->date_unix_s, c->age_s);
	return remaining(c->expires_unix_s - (int64_t)(now_unix_ms / SECOND_MS), 0);
}

msec cache_control_lifetime(const struct cache_control *c, uint64_t now_unix_ms)
{
	if (c->no_store)
		return 0;
	if (c->has_max_age)
		return remaining((int64_t)c->max_age_s, c->age_s);
	if (c->has_expires)
		return expires_lifetime(c, now_unix_ms);
	return MS_NEVER;
}

msec cache_control_of(const struct head *h, uint64_t now_unix_ms)
{
	struct cache_control c = { 0 };

	for (size_t i = 0; i < h->field_count; i++)
		cache_control_field(&c, h->fields[i].id, h->fields[i].value, now_unix_ms);
	return cache_control_lifetime(&c, now_unix_ms);
}
