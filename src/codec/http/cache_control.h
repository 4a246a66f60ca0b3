/*
 * cache_control.h - how long a response may be kept, from its header fields.
 *
 * Source: RFC 9111 4.2 (freshness) and 5 (fields), RFC 9110 5.6.7 (dates); where readers of
 * .well-known documents differ, what Synapse does: the last max-age counts and beats Expires, one
 * that is no number counts as absent, no-store means no life at all, a bad Expires means "expired".
 * Unlike there, no-cache means the same as no-store: not to be used again unasked (RFC 9111 5.2.2.4).
 * Age is subtracted. Directives are separated by commas only. Pure.
 */
#ifndef CODEC_HTTP_CACHE_CONTROL_H
#define CODEC_HTTP_CACHE_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/str.h"
#include "codec/http/head.h"

/* What the fields said so far; begins as { 0 }. Seconds, saturated at 2^31 (RFC 9111 1.2.2). */
struct cache_control {
	bool     no_store;
	bool     has_max_age, has_age, has_expires, has_date;
	bool     expires_bad; /* has_expires, but not a date */
	uint32_t max_age_s, age_s;
	int64_t  expires_unix_s, date_unix_s;
};

/* Takes one field; ids without a meaning here are ignored. now: for years of two digits. */
void cache_control_field(struct cache_control *c, enum field_id id, struct str value,
                         uint64_t now_unix_ms);

/* Milliseconds from now, possibly 0; MS_NEVER when the fields say nothing (not: "for ever"). */
msec cache_control_lifetime(const struct cache_control *c, uint64_t now_unix_ms);

/* Both for a whole response head. */
msec cache_control_of(const struct head *h, uint64_t now_unix_ms);

/*
 * An HTTP date in any of its three forms: "Sun, 06 Nov 1994 08:49:37 GMT",
 * "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994". The name of the day must be a name
 * but need not be the right one. False if it is no date; *out is seconds since 1970, also negative.
 */
bool cache_control_date(struct str text, uint64_t now_unix_ms, int64_t *out);

#endif
