/*
 * asleep.h - what to do with a request while the homeserver sleeps, endpoint by endpoint.
 *
 * Sources: Matrix specification, Server-Server API ("Transactions", "Retrieving server keys",
 * "Content Repository" and the other sections that define the paths below) and Client-Server API ("Web
 * Browser Clients"); for the statuses, what homeservers make of them: Synapse (retryutils.py,
 * federation_client.py, handlers/) stops all its deliveries to a server for ten minutes and more after
 * one 5xx, 429 or 401, or any error on /send, while other 4xx neither start nor end that; only where
 * a caller tries another server after a 5xx alone is 503 the lesser harm. 404 and 405 say something
 * about the thing asked for or about our abilities, and 421 and 418 about our address, so they
 * are never used for sleep.
 *
 * The table says nothing that only the homeserver may say: no signature, no acceptance, no one-time
 * key. Pure: lookups in constant tables.
 */
#ifndef FED_ASLEEP_H
#define FED_ASLEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/cursor.h"
#include "base/str.h"
#include "fed/awake.h"

enum asleep_endpoint {
	ASLEEP_WELL_KNOWN,
	ASLEEP_KEY_SERVER,
	ASLEEP_KEY_QUERY,
	ASLEEP_KEY_OTHER,
	ASLEEP_VERSION,
	ASLEEP_SEND,
	ASLEEP_EVENT,
	ASLEEP_EVENT_AUTH,
	ASLEEP_STATE,
	ASLEEP_STATE_IDS,
	ASLEEP_BACKFILL,
	ASLEEP_MISSING_EVENTS,
	ASLEEP_TIMESTAMP_TO_EVENT,
	ASLEEP_MAKE_JOIN,
	ASLEEP_SEND_JOIN,
	ASLEEP_MAKE_KNOCK,
	ASLEEP_SEND_KNOCK,
	ASLEEP_MAKE_LEAVE,
	ASLEEP_SEND_LEAVE,
	ASLEEP_INVITE,
	ASLEEP_THIRD_PARTY_INVITE,
	ASLEEP_ONBIND,
	ASLEEP_PUBLIC_ROOMS,
	ASLEEP_HIERARCHY,
	ASLEEP_PROFILE,
	ASLEEP_DIRECTORY,
	ASLEEP_QUERY_OTHER,
	ASLEEP_USER_DEVICES,
	ASLEEP_KEYS_QUERY,
	ASLEEP_KEYS_CLAIM,
	ASLEEP_USERINFO,
	ASLEEP_MEDIA_DOWNLOAD,
	ASLEEP_MEDIA_THUMBNAIL,
	ASLEEP_COMPLEXITY,
	ASLEEP_POLICY_SIGN,
	ASLEEP_FEDERATION_OTHER,
	ASLEEP_OLD_DOWNLOAD,
	ASLEEP_OLD_THUMBNAIL,
	ASLEEP_MEDIA_OTHER,
	ASLEEP_CLIENT_PREFLIGHT,
	ASLEEP_CLIENT_VERSIONS,
	ASLEEP_CLIENT_PAGE,
	ASLEEP_CLIENT,
	ASLEEP_NOWHERE, /* nothing of ours */
	ASLEEP_ENDPOINT_COUNT
};

enum asleep_action {
	ASLEEP_OWN,       /* doorstep's own document, asleep or awake */
	ASLEEP_ANSWER,    /* from a snapshot; without one as ASLEEP_HOLD */
	ASLEEP_EMPTY,     /* the document in `empty`, which is true whether it sleeps or not */
	ASLEEP_PREFLIGHT, /* 204 to a CORS preflight */
	ASLEEP_QUEUE,     /* store, 200 {"pdus":{}}; refused only if it cannot be stored */
	ASLEEP_HOLD,      /* as long as hold_s, then pass it on or refuse */
	ASLEEP_REFUSE,
};

enum asleep_auth {
	ASLEEP_AUTH_NONE,    /* anybody may ask, so asking wakes nobody */
	ASLEEP_AUTH_XMATRIX, /* 401 without a valid signature, whatever else the row says */
	ASLEEP_AUTH_OPTIONAL, /* we cannot know; only what carries a valid signature wakes or is held */
	ASLEEP_AUTH_TOKEN, /* only an access token that got a 2xx before wakes; others are refused */
};

enum asleep_wakes {
	ASLEEP_WAKES_NEVER,
	ASLEEP_WAKES_ALWAYS,     /* if wake_on holds the kind, see awake_wish() */
	ASLEEP_WAKES_BY_CONTENT, /* AWAKE_MESSAGE, AWAKE_TO_DEVICE or not at all: look at the body */
};

/* Whose answer may serve whom. */
enum asleep_scope {
	ASLEEP_KEEP_NOTHING,
	ASLEEP_KEEP_PUBLIC, /* one answer for all */
	ASLEEP_KEEP_ORIGIN, /* answers differ by who asks: the origin belongs to the key */
};

/* What identifies a kept answer, besides the server_name and, by scope, the origin. */
enum asleep_key {
	ASLEEP_BY_NOTHING,
	ASLEEP_BY_ENDPOINT, /* one answer for each server_name */
	ASLEEP_BY_ARGUMENT, /* args[0], decoded: spellings of an id are many */
	ASLEEP_BY_TARGET,   /* the raw target with its query */
	ASLEEP_BY_BODY,     /* the raw target and the body */
	ASLEEP_BY_USERS,    /* each user in device_keys of the body; all of them must be known */
};

enum {
	ASLEEP_ARGS_MAX = 3,
	ASLEEP_EXACT = 1 << 0, /* the snapshot only while awake_is_exact() */
	ASLEEP_HALF_LIFE =
		1 << 1, /* fresh for half of what is left until valid_until_ts, at most */
	ASLEEP_TWO_PARTS = 1 << 2, /* keep complete two-part answers only, without Location */
	ASLEEP_CORS = 1 << 3,      /* every answer of ours carries the CORS fields */
	ASLEEP_ANONYMOUS = 1 << 4, /* keep and use only for requests without Authorization */
};

#define ASLEEP_FOREVER UINT32_MAX /* seconds */

struct asleep_refusal {
	uint16_t    status;
	uint16_t    retry_s; /* Retry-After; 0: none */
	const char *errcode;
	const char *text;
};

struct asleep_row {
	const char        *slug; /* for logs and counters */
	enum asleep_action action;
	enum asleep_auth   auth;
	enum asleep_wakes  wakes;
	enum awake_kind    kind;
	enum asleep_scope  scope;
	enum asleep_key    key;
	uint32_t           snapshot_s; /* oldest snapshot while asleep */
	uint32_t    fresh_s; /* while awake: at most; Cache-Control of the answer may say less */
	uint16_t    hold_s;  /* less than the asker's own patience; 0: refuse at once */
	uint16_t    flags;
	const char *empty;
	const struct asleep_refusal *refusal;
};

struct asleep_match {
	enum asleep_endpoint     endpoint;
	const struct asleep_row *row;
	struct str args[ASLEEP_ARGS_MAX]; /* segments where the pattern has "*", raw */
	unsigned   arg_count;
};

/*
 * The row for a request. method: as sent (HEAD is found as GET); target: origin-form with or
 * without query. Segments are split on the raw path and percent-decoded one by one for comparing only;
 * one slash at the end makes no difference. Always finds one: ASLEEP_NOWHERE at last. The slices in
 * *out borrow from target.
 */
void asleep_find(struct str method, struct str target, struct asleep_match *out);

const struct asleep_row *asleep_row_of(enum asleep_endpoint e);

/* A raw segment percent-decoded. What is no escape is copied as it is. */
void asleep_write_decoded(struct writer *w, struct str segment);

#endif
