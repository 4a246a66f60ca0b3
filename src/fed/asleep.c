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
 * Of the patterns under one path the first that fits counts, then those under the next path are looked
 * at. A segment is text, "*" for any one that is not empty, or "**" for all the rest, even if there is
 * none.
 */
struct pattern {
	uint8_t              methods;
	enum asleep_endpoint endpoint;
	const char          *path;
};

static const struct pattern federation_v1[] = {
	{ PUT, ASLEEP_SEND, "send/*" },
	{ GET, ASLEEP_VERSION, "version" },
	{ GET, ASLEEP_EVENT, "event/*" },
	{ GET, ASLEEP_EVENT_AUTH, "event_auth/*/*" },
	{ GET, ASLEEP_STATE, "state/*" },
	{ GET, ASLEEP_STATE_IDS, "state_ids/*" },
	{ GET, ASLEEP_BACKFILL, "backfill/*" },
	{ POST, ASLEEP_MISSING_EVENTS, "get_missing_events/*" },
	{ GET, ASLEEP_TIMESTAMP_TO_EVENT, "timestamp_to_event/*" },
	{ GET, ASLEEP_MAKE_JOIN, "make_join/*/*" },
	{ PUT, ASLEEP_SEND_JOIN, "send_join/*/*" }, /* until v1.18 */
	{ GET, ASLEEP_MAKE_KNOCK, "make_knock/*/*" },
	{ PUT, ASLEEP_SEND_KNOCK, "send_knock/*/*" },
	{ GET, ASLEEP_MAKE_LEAVE, "make_leave/*/*" },
	{ PUT, ASLEEP_SEND_LEAVE, "send_leave/*/*" }, /* ditto */
	{ PUT, ASLEEP_INVITE, "invite/*/*" },
	{ PUT, ASLEEP_THIRD_PARTY_INVITE, "exchange_third_party_invite/*" },
	{ PUT | POST, ASLEEP_ONBIND, "3pid/onbind" }, /* both are seen */
	{ GET | POST, ASLEEP_PUBLIC_ROOMS, "publicRooms" },
	{ GET, ASLEEP_HIERARCHY, "hierarchy/*" },
	{ GET, ASLEEP_PROFILE, "query/profile" },
	{ GET, ASLEEP_DIRECTORY, "query/directory" },
	{ GET, ASLEEP_QUERY_OTHER, "query/*" },
	{ GET, ASLEEP_USER_DEVICES, "user/devices/*" },
	{ POST, ASLEEP_KEYS_QUERY, "user/keys/query" },
	{ POST, ASLEEP_KEYS_CLAIM, "user/keys/claim" },
	{ GET, ASLEEP_USERINFO, "openid/userinfo" },
	{ GET, ASLEEP_MEDIA_DOWNLOAD, "media/download/*" },
	{ GET, ASLEEP_MEDIA_THUMBNAIL, "media/thumbnail/*" },
};

static const struct pattern federation[] = {
	{ PUT, ASLEEP_SEND_JOIN, "v2/send_join/*/*" },
	{ PUT, ASLEEP_SEND_LEAVE, "v2/send_leave/*/*" },
	{ PUT, ASLEEP_INVITE, "v2/invite/*/*" },
	{ GET, ASLEEP_HIERARCHY, "unstable/org.matrix.msc2946/hierarchy/*" },
	{ POST, ASLEEP_KEYS_CLAIM, "unstable/user/keys/claim" },
	{ GET, ASLEEP_COMPLEXITY, "unstable/rooms/*/complexity" },
	{ ANY, ASLEEP_FEDERATION_OTHER, "**" },
};

static const struct pattern policy[] = {
	{ POST, ASLEEP_POLICY_SIGN, "v1/sign" },
	{ POST, ASLEEP_POLICY_SIGN, "unstable/org.matrix.msc4284/sign" },
	{ ANY, ASLEEP_FEDERATION_OTHER, "**" },
};

static const struct pattern key[] = {
	{ GET, ASLEEP_KEY_SERVER, "v2/server" },
	{ GET, ASLEEP_KEY_SERVER, "v2/server/*" }, /* with a key id, until v1.6 */
	{ GET, ASLEEP_KEY_QUERY, "v2/query/*" },
	{ GET, ASLEEP_KEY_QUERY, "v2/query/*/*" }, /* ditto */
	{ POST, ASLEEP_KEY_QUERY, "v2/query" },
	{ ANY, ASLEEP_KEY_OTHER, "**" },
};

static const struct pattern client[] = {
	{ OPTIONS, ASLEEP_CLIENT_PREFLIGHT, "**" },
	{ GET, ASLEEP_CLIENT_VERSIONS, "versions" },
	{ ANY, ASLEEP_CLIENT, "**" },
};

static const struct pattern media[] = {
	{ OPTIONS, ASLEEP_CLIENT_PREFLIGHT, "**" },
	{ GET, ASLEEP_OLD_DOWNLOAD, "r0/download/*/*" },
	{ GET, ASLEEP_OLD_DOWNLOAD, "r0/download/*/*/*" },
	{ GET, ASLEEP_OLD_THUMBNAIL, "r0/thumbnail/*/*" },
	{ GET, ASLEEP_OLD_DOWNLOAD, "v1/download/*/*" },
	{ GET, ASLEEP_OLD_DOWNLOAD, "v1/download/*/*/*" },
	{ GET, ASLEEP_OLD_THUMBNAIL, "v1/thumbnail/*/*" },
	{ GET, ASLEEP_OLD_DOWNLOAD, "v3/download/*/*" },
	{ GET, ASLEEP_OLD_DOWNLOAD, "v3/download/*/*/*" },
	{ GET, ASLEEP_OLD_THUMBNAIL, "v3/thumbnail/*/*" },
	{ ANY, ASLEEP_MEDIA_OTHER, "**" },
};

static const struct pattern well_known[] = { { ANY, ASLEEP_WELL_KNOWN, "**" } };

static const struct pattern page[] = { { ANY, ASLEEP_CLIENT_PAGE, "**" } };

static const struct pattern synapse_client[] = {
	{ OPTIONS, ASLEEP_CLIENT_PREFLIGHT, "**" },
	{ ANY, ASLEEP_CLIENT_PAGE, "**" },
};

#define UNDER(path, patterns)                                          \
	{                                                              \
		path, patterns, sizeof(patterns) / sizeof(patterns[0]) \
	}

static const struct {
	const char           *path;
	const struct pattern *patterns;
	size_t                count;
} groups[] = {
	UNDER("_matrix/federation/v1", federation_v1),
	UNDER("_matrix/federation", federation),
	UNDER("_matrix/client", client),
	UNDER("_matrix/media", media),
	UNDER("_matrix/key", key),
	UNDER("_matrix/policy", policy),
	UNDER("_matrix/static", page),
	UNDER("_matrix/consent", page),
	UNDER("_synapse/client", synapse_client),
	UNDER(".well-known/matrix", well_known),
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

/* One segment; both move on behind it. */
static bool text_fits(const char **text, struct str *path)
{
	while (**text != '\0' && **text != '/') {
		if (path->len == 0 || path->ptr[0] == '/' || take_decoded(path) != **text)
			return false;
		++*text;
	}
	return path->len == 0 || path->ptr[0] == '/';
}

/* A pattern and the head of *path, of which the rest is left: empty, or from a slash on. */
static bool pattern_fits(const char *pattern, struct str *path, struct asleep_match *out)
{
	for (;; pattern++) {
		struct str got;

		if (pattern[0] == '*' && pattern[1] == '*')
			return path->len = 0, true;
		if (path->len == 0)
			return false;
		*path = str_from(*path, 1); /* the slash */
		if (pattern[0] == '*') {
			got = str_head(*path, str_find(*path, '/'));
			if (got.len == 0)
				return false;
			out->args[out->arg_count++] = got;
			*path = str_from(*path, got.len);
			pattern++;
		} else if (!text_fits(&pattern, path)) {
			return false;
		}
		if (*pattern == '\0')
			return true;
	}
}

/* True: out->endpoint is what it is. */
static bool group_has(const struct pattern *p, size_t count, uint8_t wanted, struct str path,
                      struct asleep_match *out)
{
	for (; count > 0; count--, p++) {
		struct str rest = path;

		out->arg_count = 0;
		if ((p->methods & wanted) && pattern_fits(p->path, &rest, out) && rest.len == 0) {
			out->endpoint = p->endpoint;
			return true;
		}
	}
	return false;
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
	size_t     i, count = sizeof(groups) / sizeof(groups[0]);

	if (path.len > 0 && path.ptr[0] != '/')
		path.len = 0;
	if (path.len > 0 && path.ptr[path.len - 1] == '/')
		path.len--;
	*out = (struct asleep_match){ .endpoint = ASLEEP_NOWHERE };
	for (i = 0; i < count; i++) {
		struct str rest = path;

		if (pattern_fits(groups[i].path, &rest, out) &&
		    group_has(groups[i].patterns, groups[i].count, wanted, rest, out))
			break;
	}
	if (i == count)
		out->arg_count = 0;
	out->row = &rows[out->endpoint];
}

const struct asleep_row *asleep_row_of(enum asleep_endpoint e)
{
	return &rows[e];
}
