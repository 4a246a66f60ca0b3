#include "fed/asleep.h"

/* ---- refusals ---- */

/* The harm: callers with their own back-off stop all deliveries for a while. Where nothing else works. */
static const struct asleep_refusal away = { 503, 30, "M_UNKNOWN", "homeserver temporarily asleep" };

/* Failed Dependency: an error to the caller, like 503, but no reason to stop deliveries. */
static const struct asleep_refusal spared = { 424, 0, "M_UNKNOWN",
	                                      "homeserver temporarily asleep" };

/* "Try another server that is in the room", the one error code that says so. */
static const struct asleep_refusal other_server = { 400, 0, "M_UNABLE_TO_GRANT_JOIN",
	                                            "homeserver temporarily asleep" };

static const struct asleep_refusal unknown = { 404, 0, "M_UNRECOGNIZED", "Unrecognized request" };

/* ---- what to do ---- */

/* Asked by another server, signed, and worth waking for if the owner thinks so. */
#define SIGNED(name, for_kind, seconds, refused)                                   \
	.slug = (name), .auth = ASLEEP_AUTH_XMATRIX, .wakes = ASLEEP_WAKES_ALWAYS, \
	.kind = (for_kind), .hold_s = (seconds), .refusal = &(refused)

/* Asked by anybody: nobody is woken. */
#define OPEN(name, seconds, refused) .slug = (name), .hold_s = (seconds), .refusal = &(refused)

/* Only the homeserver can answer. */
#define HELD .action = ASLEEP_HOLD

/* Ditto, and its fresh answers may be repeated; not those of yesterday, since access depends on who
   is in the room now. */
#define REPEATED(fresh) \
	HELD, .scope = ASLEEP_KEEP_ORIGIN, .key = ASLEEP_BY_TARGET, .fresh_s = (fresh)

/* An answer that it gave before may do. */
#define KEPT(whose, by, oldest, fresh)                                                  \
	.action = ASLEEP_ANSWER, .scope = (whose), .key = (by), .snapshot_s = (oldest), \
	.fresh_s = (fresh)

static const struct asleep_row rows[ASLEEP_ENDPOINT_COUNT] = {
	/* must outlive every sleep: without it others look for us elsewhere */
	[ASLEEP_WELL_KNOWN] = { .slug = "well-known", .action = ASLEEP_OWN, .refusal = &unknown },

	/*
	 * Others need it for our old events even when it has expired; no new signatures appear
	 * meanwhile. Fresh for ten minutes only, so that a changed key gets about. 503: fetching keys
	 * neither obeys nor starts back-off.
	 */
	[ASLEEP_KEY_SERVER] = { OPEN("key-server", 8, away),
	                        KEPT(ASLEEP_KEEP_PUBLIC, ASLEEP_BY_ENDPOINT, ASLEEP_FOREVER, 600),
	                        .flags = ASLEEP_HALF_LIFE },

	/* what the specification asks of a notary that cannot reach a server; about our own name the kept
	   document of ASLEEP_KEY_SERVER is the true answer */
	[ASLEEP_KEY_QUERY] = { .slug = "key-query",
	                       .action = ASLEEP_EMPTY,
	                       .empty = "{\"server_keys\":[]}",
	                       .refusal = &away },
	[ASLEEP_KEY_OTHER] = { OPEN("key-other", 8, away), HELD },

	/* asked by testers, unsigned; 503 as it is no delivery */
	[ASLEEP_VERSION] = { OPEN("version", 8, away),
	                     KEPT(ASLEEP_KEEP_PUBLIC, ASLEEP_BY_ENDPOINT, ASLEEP_FOREVER, 3600) },

	/* any error starts back-off here; 503 lets the sender repeat the same transaction for some
	   minutes, and nothing is lost, for it keeps what was not acknowledged */
	[ASLEEP_SEND] = { .slug = "send",
	                  .action = ASLEEP_QUEUE,
	                  .auth = ASLEEP_AUTH_XMATRIX,
	                  .wakes = ASLEEP_WAKES_BY_CONTENT,
	                  .kind = AWAKE_MESSAGE,
	                  .refusal = &away },

	/* on any error the next server that is in the room is asked */
	[ASLEEP_EVENT] = { SIGNED("event", AWAKE_HISTORY, 50, spared), REPEATED(30) },
	[ASLEEP_EVENT_AUTH] = { SIGNED("event-auth", AWAKE_HISTORY, 50, spared), REPEATED(30) },
	[ASLEEP_STATE] = { SIGNED("state", AWAKE_HISTORY, 50, spared), REPEATED(30) },
	[ASLEEP_STATE_IDS] = { SIGNED("state-ids", AWAKE_HISTORY, 50, spared), REPEATED(30) },
	/* ditto; Synapse gives up after five servers that refuse with 4xx */
	[ASLEEP_BACKFILL] = { SIGNED("backfill", AWAKE_HISTORY, 50, spared), HELD },
	/* 400 would mean "I do not know this request"; other 4xx are logged as a failure */
	[ASLEEP_MISSING_EVENTS] = { SIGNED("missing-events", AWAKE_HISTORY, 50, spared), HELD },
	/* the next server is asked after a 5xx only */
	[ASLEEP_TIMESTAMP_TO_EVENT] = { SIGNED("timestamp-to-event", AWAKE_HISTORY, 50, away),
	                                HELD },

	/* the template needs the state of now; the next server is tried after this code as after a
	   5xx, and this one starts no back-off. Not 404: the room exists */
	[ASLEEP_MAKE_JOIN] = { SIGNED("make-join", AWAKE_JOIN, 15, other_server), HELD },
	/* the answer bears our signature. Rooms before version 8 try the next server after a 5xx only,
	   and the request does not tell the version */
	[ASLEEP_SEND_JOIN] = { SIGNED("send-join", AWAKE_JOIN, 45, away), HELD },
	/* knocking tries the next server after a 5xx only */
	[ASLEEP_MAKE_KNOCK] = { SIGNED("make-knock", AWAKE_JOIN, 15, away), HELD },
	[ASLEEP_SEND_KNOCK] = { SIGNED("send-knock", AWAKE_JOIN, 45, away), HELD },
	/* leaving neither obeys nor starts back-off, and a 5xx is repeated or goes to another server;
	   200 would say that the leave is in the room */
	[ASLEEP_MAKE_LEAVE] = { SIGNED("make-leave", AWAKE_JOIN, 15, away), HELD },
	[ASLEEP_SEND_LEAVE] = { SIGNED("send-leave", AWAKE_JOIN, 45, away), HELD },
	/* the answer bears our signature; inviting starts no back-off, and a 5xx is repeated three times */
	[ASLEEP_INVITE] = { SIGNED("invite", AWAKE_INVITE, 45, away), HELD },
	/* no error makes the caller try elsewhere or again */
	[ASLEEP_THIRD_PARTY_INVITE] = { SIGNED("third-party-invite", AWAKE_INVITE, 45, spared),
	                                HELD },
	/* signed by an identity server in the body only, so anybody could send one */
	[ASLEEP_ONBIND] = { OPEN("3pid-onbind", 45, away), HELD },

	/* room lists differ by who asks and age fast; asking for them starts no back-off */
	[ASLEEP_PUBLIC_ROOMS] = { SIGNED("public-rooms", AWAKE_QUERY, 50, away),
	                          KEPT(ASLEEP_KEEP_ORIGIN, ASLEEP_BY_BODY, 600, 60) },
	/* the next server of the space is asked after a 5xx only */
	[ASLEEP_HIERARCHY] = { SIGNED("hierarchy", AWAKE_QUERY, 50, away),
	                       KEPT(ASLEEP_KEEP_ORIGIN, ASLEEP_BY_TARGET, 600, 60) },

	/* "could not be fetched" after any status but 403 and 404, which would be lies about the user */
	[ASLEEP_PROFILE] = { SIGNED("profile", AWAKE_QUERY, 8, spared),
	                     KEPT(ASLEEP_KEEP_PUBLIC, ASLEEP_BY_TARGET, 86400, 60) },
	/* ditto but for 404, which would make a living alias look deleted */
	[ASLEEP_DIRECTORY] = { SIGNED("directory", AWAKE_QUERY, 8, spared),
	                       KEPT(ASLEEP_KEEP_PUBLIC, ASLEEP_BY_TARGET, 86400, 60) },
	[ASLEEP_QUERY_OTHER] = { SIGNED("query-other", AWAKE_QUERY, 8, spared), HELD },

	/* an old list makes senders encrypt for devices that were removed; any error marks the list as
	   stale, and it is asked for again */
	[ASLEEP_USER_DEVICES] = { SIGNED("user-devices", AWAKE_KEYS, 25, spared),
	                          KEPT(ASLEEP_KEEP_PUBLIC, ASLEEP_BY_ARGUMENT, ASLEEP_FOREVER, 0),
	                          .flags = ASLEEP_EXACT },
	/* any error is a member of `failures`: clients see an unreachable server */
	[ASLEEP_KEYS_QUERY] = { SIGNED("keys-query", AWAKE_KEYS, 8, spared),
	                        KEPT(ASLEEP_KEEP_PUBLIC, ASLEEP_BY_USERS, ASLEEP_FOREVER, 0),
	                        .flags = ASLEEP_EXACT },
	/* ditto, and clients try again; an empty 200 would say that there are no keys, and room keys be
	   withheld. One-time keys are given out once, so nothing is kept */
	[ASLEEP_KEYS_CLAIM] = { SIGNED("keys-claim", AWAKE_KEYS, 8, spared), HELD },

	/* asked by services with a token we cannot check; not a delivery */
	[ASLEEP_USERINFO] = { OPEN("openid-userinfo", 25, away), HELD },

	/* "could not be fetched" after any status but 404, which would mean gone, or not implemented */
	[ASLEEP_MEDIA_DOWNLOAD] = { SIGNED("media-download", AWAKE_MEDIA, 15, spared),
	                            KEPT(ASLEEP_KEEP_PUBLIC, ASLEEP_BY_ARGUMENT, ASLEEP_FOREVER,
	                                 3600),
	                            .flags = ASLEEP_TWO_PARTS },
	[ASLEEP_MEDIA_THUMBNAIL] = { SIGNED("media-thumbnail", AWAKE_MEDIA, 15, spared),
	                             KEPT(ASLEEP_KEEP_PUBLIC, ASLEEP_BY_TARGET, ASLEEP_FOREVER,
	                                  3600),
	                             .flags = ASLEEP_TWO_PARTS },

	/* asked before joining; any error means "not known" */
	[ASLEEP_COMPLEXITY] = { SIGNED("complexity", AWAKE_JOIN, 8, spared), HELD },
	/* a policy server should not sleep at all: rooms wait for it; it is asked past any back-off */
	[ASLEEP_POLICY_SIGN] = { SIGNED("policy-sign", AWAKE_MESSAGE, 8, away), HELD },
	/* 404 would make callers take an older way */
	[ASLEEP_FEDERATION_OTHER] = { .slug = "federation-other",
	                              .action = ASLEEP_HOLD,
	                              .auth = ASLEEP_AUTH_OPTIONAL,
	                              .wakes = ASLEEP_WAKES_ALWAYS,
	                              .kind = AWAKE_OTHER,
	                              .hold_s = 15,
	                              .refusal = &away },

	/* media as before the signature was asked for; other servers still fall back to it */
	[ASLEEP_OLD_DOWNLOAD] = { OPEN("old-download", 15, spared),
	                          KEPT(ASLEEP_KEEP_PUBLIC, ASLEEP_BY_TARGET, ASLEEP_FOREVER, 3600),
	                          .flags = ASLEEP_CORS },
	[ASLEEP_OLD_THUMBNAIL] = { OPEN("old-thumbnail", 15, spared),
	                           KEPT(ASLEEP_KEEP_PUBLIC, ASLEEP_BY_TARGET, ASLEEP_FOREVER, 3600),
	                           .flags = ASLEEP_CORS },
	/* uploads, previews, configuration: clients */
	[ASLEEP_MEDIA_OTHER] = { .slug = "media-other",
	                         .action = ASLEEP_HOLD,
	                         .auth = ASLEEP_AUTH_TOKEN,
	                         .wakes = ASLEEP_WAKES_ALWAYS,
	                         .kind = AWAKE_CLIENT,
	                         .hold_s = 45,
	                         .flags = ASLEEP_CORS,
	                         .refusal = &away },

	/* never runs anything, so it needs nobody */
	[ASLEEP_CLIENT_PREFLIGHT] = { .slug = "client-preflight",
	                              .action = ASLEEP_PREFLIGHT,
	                              .flags = ASLEEP_CORS,
	                              .refusal = &away },
	/* without a token the same for all, and the first thing a client asks */
	[ASLEEP_CLIENT_VERSIONS] = { OPEN("client-versions", 15, away),
	                             KEPT(ASLEEP_KEEP_PUBLIC, ASLEEP_BY_ENDPOINT, ASLEEP_FOREVER,
	                                  600),
	                             .flags = ASLEEP_CORS | ASLEEP_ANONYMOUS },
	/* in a browser, before anybody is known */
	[ASLEEP_CLIENT_PAGE] = { OPEN("client-page", 45, away), HELD, .flags = ASLEEP_CORS },
	/* somebody sits in front of it; clients know what a 503 is */
	[ASLEEP_CLIENT] = { .slug = "client",
	                    .action = ASLEEP_HOLD,
	                    .auth = ASLEEP_AUTH_TOKEN,
	                    .wakes = ASLEEP_WAKES_ALWAYS,
	                    .kind = AWAKE_CLIENT,
	                    .hold_s = 45,
	                    .flags = ASLEEP_CORS,
	                    .refusal = &away },

	[ASLEEP_NOWHERE] = { .slug = "nowhere", .action = ASLEEP_REFUSE, .refusal = &unknown },
};

/* ---- what is asked ---- */

enum method { GET = 1 << 0, PUT = 1 << 1, POST = 1 << 2, OPTIONS = 1 << 3, ANY = 0xff };

/*
 * The first that fits counts. A segment of a pattern is text (alternatives parted by "|"), "*" for
 * any one segment that is not empty, or "**" for all the rest.
 */
static const struct pattern {
	uint8_t              methods;
	enum asleep_endpoint endpoint;
	const char          *path;
} patterns[] = {
	{ ANY, ASLEEP_WELL_KNOWN, "/.well-known/matrix/**" },

	{ GET, ASLEEP_KEY_SERVER, "/_matrix/key/v2/server" },
	{ GET, ASLEEP_KEY_SERVER, "/_matrix/key/v2/server/*" }, /* with a key id, until v1.6 */
	{ GET, ASLEEP_KEY_QUERY, "/_matrix/key/v2/query/*" },
	{ GET, ASLEEP_KEY_QUERY, "/_matrix/key/v2/query/*/*" }, /* ditto */
	{ POST, ASLEEP_KEY_QUERY, "/_matrix/key/v2/query" },
	{ ANY, ASLEEP_KEY_OTHER, "/_matrix/key/**" },

	{ PUT, ASLEEP_SEND, "/_matrix/federation/v1/send/*" },
	{ GET, ASLEEP_VERSION, "/_matrix/federation/v1/version" },
	{ GET, ASLEEP_EVENT, "/_matrix/federation/v1/event/*" },
	{ GET, ASLEEP_EVENT_AUTH, "/_matrix/federation/v1/event_auth/*/*" },
	{ GET, ASLEEP_STATE, "/_matrix/federation/v1/state/*" },
	{ GET, ASLEEP_STATE_IDS, "/_matrix/federation/v1/state_ids/*" },
	{ GET, ASLEEP_BACKFILL, "/_matrix/federation/v1/backfill/*" },
	{ POST, ASLEEP_MISSING_EVENTS, "/_matrix/federation/v1/get_missing_events/*" },
	{ GET, ASLEEP_TIMESTAMP_TO_EVENT, "/_matrix/federation/v1/timestamp_to_event/*" },
	{ GET, ASLEEP_MAKE_JOIN, "/_matrix/federation/v1/make_join/*/*" },
	{ PUT, ASLEEP_SEND_JOIN, "/_matrix/federation/v1|v2/send_join/*/*" }, /* v1 until v1.18 */
	{ GET, ASLEEP_MAKE_KNOCK, "/_matrix/federation/v1/make_knock/*/*" },
	{ PUT, ASLEEP_SEND_KNOCK, "/_matrix/federation/v1/send_knock/*/*" },
	{ GET, ASLEEP_MAKE_LEAVE, "/_matrix/federation/v1/make_leave/*/*" },
	{ PUT, ASLEEP_SEND_LEAVE, "/_matrix/federation/v1|v2/send_leave/*/*" }, /* ditto */
	{ PUT, ASLEEP_INVITE, "/_matrix/federation/v1|v2/invite/*/*" },
	{ PUT, ASLEEP_THIRD_PARTY_INVITE, "/_matrix/federation/v1/exchange_third_party_invite/*" },
	{ PUT | POST, ASLEEP_ONBIND, "/_matrix/federation/v1/3pid/onbind" }, /* both are seen */
	{ GET | POST, ASLEEP_PUBLIC_ROOMS, "/_matrix/federation/v1/publicRooms" },
	{ GET, ASLEEP_HIERARCHY, "/_matrix/federation/v1/hierarchy/*" },
	{ GET, ASLEEP_HIERARCHY, "/_matrix/federation/unstable/org.matrix.msc2946/hierarchy/*" },
	{ GET, ASLEEP_PROFILE, "/_matrix/federation/v1/query/profile" },
	{ GET, ASLEEP_DIRECTORY, "/_matrix/federation/v1/query/directory" },
	{ GET, ASLEEP_QUERY_OTHER, "/_matrix/federation/v1/query/*" },
	{ GET, ASLEEP_USER_DEVICES, "/_matrix/federation/v1/user/devices/*" },
	{ POST, ASLEEP_KEYS_QUERY, "/_matrix/federation/v1/user/keys/query" },
	{ POST, ASLEEP_KEYS_CLAIM, "/_matrix/federation/v1|unstable/user/keys/claim" },
	{ GET, ASLEEP_USERINFO, "/_matrix/federation/v1/openid/userinfo" },
	{ GET, ASLEEP_MEDIA_DOWNLOAD, "/_matrix/federation/v1/media/download/*" },
	{ GET, ASLEEP_MEDIA_THUMBNAIL, "/_matrix/federation/v1/media/thumbnail/*" },
	{ GET, ASLEEP_COMPLEXITY, "/_matrix/federation/unstable/rooms/*/complexity" },
	{ POST, ASLEEP_POLICY_SIGN, "/_matrix/policy/v1/sign" },
	{ POST, ASLEEP_POLICY_SIGN, "/_matrix/policy/unstable/org.matrix.msc4284/sign" },
	{ ANY, ASLEEP_FEDERATION_OTHER, "/_matrix/federation/**" },
	{ ANY, ASLEEP_FEDERATION_OTHER, "/_matrix/policy/**" },

	{ OPTIONS, ASLEEP_CLIENT_PREFLIGHT, "/_matrix/media|client/**" },
	{ OPTIONS, ASLEEP_CLIENT_PREFLIGHT, "/_synapse/client/**" },
	{ GET, ASLEEP_OLD_DOWNLOAD, "/_matrix/media/r0|v1|v3/download/*/*" },
	{ GET, ASLEEP_OLD_DOWNLOAD, "/_matrix/media/r0|v1|v3/download/*/*/*" },
	{ GET, ASLEEP_OLD_THUMBNAIL, "/_matrix/media/r0|v1|v3/thumbnail/*/*" },
	{ ANY, ASLEEP_MEDIA_OTHER, "/_matrix/media/**" },
	{ GET, ASLEEP_CLIENT_VERSIONS, "/_matrix/client/versions" },
	{ ANY, ASLEEP_CLIENT, "/_matrix/client/**" },
	{ ANY, ASLEEP_CLIENT_PAGE, "/_matrix/static|consent/**" },
	{ ANY, ASLEEP_CLIENT_PAGE, "/_synapse/client/**" },
};

/* The byte at the head of *s, percent-decoded, which is taken off. *s is not empty. */
static char take_decoded(struct str *s)
{
	char c = s->ptr[0];

	if (c == '%' && s->len >= 3 && str_hex_digit(s->ptr[1]) >= 0 &&
	    str_hex_digit(s->ptr[2]) >= 0) {
		c = (char)(str_hex_digit(s->ptr[1]) << 4 | str_hex_digit(s->ptr[2]));
		*s = str_from(*s, 3);
	} else {
		*s = str_from(*s, 1);
	}
	return c;
}

void asleep_write_decoded(struct writer *w, struct str segment)
{
	while (segment.len > 0)
		write_char(w, take_decoded(&segment));
}

static bool is_text(struct str segment, struct str text)
{
	while (segment.len > 0 && text.len > 0) {
		if (take_decoded(&segment) != text.ptr[0])
			return false;
		text = str_from(text, 1);
	}
	return segment.len == 0 && text.len == 0;
}

static bool is_one_of(struct str segment, struct str alternatives)
{
	while (alternatives.len > 0) {
		size_t bar = str_find(alternatives, '|');

		if (is_text(segment, str_head(alternatives, bar)))
			return true;
		alternatives = str_from(alternatives, bar + 1);
	}
	return false;
}

/* Up to the next slash, which is taken off too. */
static struct str take_segment(struct str *rest)
{
	size_t     slash = str_find(*rest, '/');
	struct str segment = str_head(*rest, slash);

	*rest = slash < rest->len ? str_from(*rest, slash + 1) : (struct str){ NULL, 0 };
	return segment;
}

/* Both without the slash in front; rest.ptr is NULL behind the last segment. */
static bool pattern_fits(struct str pattern, struct str rest, struct asleep_match *out)
{
	out->arg_count = 0;
	while (pattern.ptr != NULL) {
		struct str want = take_segment(&pattern), got;

		if (str_is(want, "**"))
			return true;
		if (rest.ptr == NULL)
			return false;
		got = take_segment(&rest);
		if (str_is(want, "*") && got.len > 0)
			out->args[out->arg_count++] = got;
		else if (str_is(want, "*") || !is_one_of(got, want))
			return false;
	}
	return rest.ptr == NULL;
}

static uint8_t method_of(struct str method)
{
	static const struct {
		const char *name;
		uint8_t     method;
	} methods[] = { { "GET", GET },   { "HEAD", GET },        { "PUT", PUT },
		        { "POST", POST }, { "OPTIONS", OPTIONS }, { "", 0x80 } };
	size_t i = 0;

	while (methods[i].name[0] != '\0' && !str_is(method, methods[i].name))
		i++;
	return methods[i].method;
}

void asleep_find(struct str method, struct str target, struct asleep_match *out)
{
	struct str path = str_head(target, str_find(target, '?'));
	uint8_t    wanted = method_of(method);
	bool       rooted = path.len > 0 && path.ptr[0] == '/';

	path = str_from(path, 1);
	if (path.len > 0 && path.ptr[path.len - 1] == '/')
		path.len--;
	*out = (struct asleep_match){ .endpoint = ASLEEP_NOWHERE };
	for (size_t i = 0; rooted && i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		const struct pattern *p = &patterns[i];

		if ((p->methods & wanted) && pattern_fits(str_of(p->path + 1), path, out)) {
			out->endpoint = p->endpoint;
			break;
		}
	}
	if (out->endpoint == ASLEEP_NOWHERE)
		out->arg_count = 0;
	out->row = &rows[out->endpoint];
}

const struct asleep_row *asleep_row_of(enum asleep_endpoint e)
{
	return &rows[e];
}
