/*
 * head.h - one neutral request or response head, whichever HTTP version spoke.
 *
 * Values are slices into the bytes the head was parsed from (or into an arena) and live as long
 * as those. Nothing here reads or writes the wire: see h1.h.
 */
#ifndef CODEC_HTTP_HEAD_H
#define CODEC_HTTP_HEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum http_method {
	HTTP_GET,
	HTTP_HEAD,
	HTTP_PUT,
	HTTP_POST,
	HTTP_DELETE,
	HTTP_OPTIONS,
	HTTP_CONNECT,
	HTTP_OTHER, /* a token, but none of ours */
};

/* Field names the program acts on; every other name is FIELD_OTHER. */
#define FIELD_TABLE(X)                                                                       \
	X(FIELD_AGE, "age")                                                                  \
	X(FIELD_AUTHORIZATION, "authorization")                                              \
	X(FIELD_CACHE_CONTROL, "cache-control")                                              \
	X(FIELD_CONNECTION, "connection")                                                    \
	X(FIELD_CONTENT_LENGTH, "content-length")                                            \
	X(FIELD_CONTENT_TYPE, "content-type")                                                \
	X(FIELD_DATE, "date")                                                                \
	X(FIELD_EXPECT, "expect")                                                            \
	X(FIELD_EXPIRES, "expires")                                                          \
	X(FIELD_FORWARDED, "forwarded")                                                      \
	X(FIELD_HOST, "host")                                                                \
	X(FIELD_HTTP2_SETTINGS, "http2-settings")                                            \
	X(FIELD_KEEP_ALIVE, "keep-alive")                                                    \
	X(FIELD_LOCATION, "location")                                                        \
	X(FIELD_PROXY_AUTHENTICATE, "proxy-authenticate")                                    \
	X(FIELD_PROXY_AUTHORIZATION, "proxy-authorization")                                  \
	X(FIELD_PROXY_CONNECTION, "proxy-connection")                                        \
	X(FIELD_RETRY_AFTER, "retry-after")                                                  \
	X(FIELD_TE, "te")                                                                    \
	X(FIELD_TRAILER, "trailer")                                                          \
	X(FIELD_TRANSFER_ENCODING, "transfer-encoding")                                      \
	X(FIELD_UPGRADE, "upgrade")                                                          \
	X(FIELD_USER_AGENT, "user-agent")                                                    \
	X(FIELD_VIA, "via")                                                                  \
	X(FIELD_X_FORWARDED, "x-forwarded-*") /* every name that starts with x-forwarded- */ \
	X(FIELD_X_REAL_IP, "x-real-ip")

enum field_id {
	FIELD_OTHER,
#define X(sym, name) sym,
	FIELD_TABLE(X)
#undef X
		FIELD_COUNT
};

struct field {
	enum field_id id;
	struct str    name;  /* as received */
	struct str    value; /* without surrounding SP and HTAB */
};

enum body_kind {
	BODY_NONE,   /* no body: the message ends with its head */
	BODY_LENGTH, /* exactly content_length bytes, may be 0 */
	BODY_CHUNKED,
	BODY_TO_CLOSE, /* responses only: until the connection ends */
};

struct head {
	/* request */
	enum http_method method;
	struct str       method_text;
	struct str       target; /* raw bytes of the request target: signed, never altered */
	struct str authority;    /* absolute-form and CONNECT: what the target names; else empty */
	struct str scheme;       /* absolute-form: as written, e.g. "https"; else empty */
	struct str
		path; /* origin-form: target; absolute-form: path and query, "/" if the target has
				     * none; "*" for OPTIONS *; CONNECT: empty */
	struct str host;            /* value of Host, "" when absent (HTTP/1.0 CONNECT) */
	bool       expect_continue; /* a body comes once we said 100 */
	/* response */
	int        status;
	struct str reason;
	/* both */
	unsigned       minor;      /* HTTP/1.minor, 0 or 1 */
	bool           keep_alive; /* the sender's wish, version rules applied */
	enum body_kind body;
	uint64_t       content_length; /* BODY_LENGTH, or has_length */
	bool has_length; /* one good Content-Length was there, also when body is BODY_NONE (HEAD, 304) */
	struct field *fields;
	size_t        field_count;
};

enum http_method head_method(struct str token);

/* Which known field this is; underscores never match (they are dropped by the parsers). */
enum field_id head_field_id(struct str name);

/* First field of that id, or NULL. */
const struct field *head_find(const struct head *h, enum field_id id);

/*
 * The next member of a comma-separated list of tokens, without blanks around it; empty members are
 * skipped (RFC 9110 5.6.1). False at the end. Start with *rest = the field's value.
 */
bool head_list_next(struct str *rest, struct str *member);

/*
 * True for fields that end at this hop (RFC 9110 7.6.1): the fixed list, Expect (we answer it), and
 * every name listed in a Connection field of h.
 */
bool head_is_hop_by_hop(const struct head *h, const struct field *f);

/* Reason phrase for a status we write ourselves, "" if unknown. */
const char *head_reason(int status);

#endif
