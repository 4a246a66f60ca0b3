/*
 * snapshot.h - which answers of a homeserver may be kept, under what name, and how long each is good.
 *
 * A snapshot is the last 200 that the homeserver itself gave through us. While it is there, a snapshot is
 * given again as HTTP allows it to a shared cache (RFC 9111 3, 4.2, 5.2) and at most as long as the
 * row of asleep.h says; while it is away, as long as the row says, whatever Cache-Control said: homeservers
 * forbid all caching of JSON as a matter of course, and what they said last is better than silence.
 *
 * The name of a snapshot is made of what the answer depends on, decoded, so that an id has one name in
 * all its spellings, and so that no asker can have the same answer kept under many names: unknown
 * parameters, and values that no homeserver of ours would know, have no name. Nothing but what belongs to
 * our own server_name is kept.
 *
 * Pure: no clock, no allocation.
 */
#ifndef FED_SNAPSHOT_H
#define FED_SNAPSHOT_H

#include "base/clock.h"
#include "base/cursor.h"
#include "codec/http/head.h"
#include "fed/asleep.h"

enum {
	SNAPSHOT_NAME_MAX = 384,    /* bytes of a name */
	SNAPSHOT_FIELDS_MAX = 2048, /* of the header fields that are kept with an answer */
};

/* What is kept how well, the best first. */
enum snapshot_kind {
	SNAPSHOT_FOUNDATION, /* server keys, versions: one of each */
	SNAPSHOT_RECORD,     /* profiles, aliases */
	SNAPSHOT_DEVICES,    /* device lists and keys: never across a restart, see device_watch.h */
	SNAPSHOT_MEDIA,
	SNAPSHOT_PASSING, /* good for minutes */
	SNAPSHOT_NONE,    /* not kept */
};

enum snapshot_kind snapshot_kind_of(const struct asleep_row *row);

/* The largest answer of that kind, in bytes, whatever memory there is. */
size_t snapshot_bytes_max(enum snapshot_kind kind);

struct snapshot_question {
	const struct asleep_match *match;
	struct str                 server_name; /* ours */
	struct str
		origin; /* who asks, as claimed when an answer is taken in, as verified when given */
	struct str target; /* as sent, in origin-form */
	struct str body;
};

/* Writes the name; false: no answer to this question is kept. Not for ASLEEP_BY_USERS. */
bool snapshot_name(const struct snapshot_question *q, struct writer *w);

/* The names under which one user's devices are kept: user/devices, and his part of user/keys/query. */
bool snapshot_devices_name(struct str server_name, struct str user, struct writer *w);
bool snapshot_keys_name(struct str server_name, struct str user, struct writer *w);

/* Could the answer to this request be kept, as far as the request goes? */
bool snapshot_may_take(const struct asleep_row *row, const struct head *request);

/* Ditto, as far as the answer goes. The check of its body is another matter. */
bool snapshot_takes(const struct asleep_row *row, const struct head *answer);

/* The header fields that belong to the answer, as finished lines. False: too many. */
bool snapshot_fields(const struct head *answer, struct writer *w);

/*
 * How long the answer may be given again while the homeserver is there; 0: not at all. When it says nothing
 * about that, as long as the row says for keys, versions and media, otherwise not at all.
 */
msec snapshot_fresh_ms(const struct asleep_row *row, const struct head *answer,
                       uint64_t now_unix_ms);

/* May a kept answer serve this request while the homeserver is there; while it is away? */
bool snapshot_may_repeat(const struct asleep_row *row, const struct head *request);
bool snapshot_may_stand_in(const struct asleep_row *row, const struct head *request);

/* While it is away: is a snapshot of that age still good? */
bool snapshot_is_good(const struct asleep_row *row, msec age_ms);

#endif
