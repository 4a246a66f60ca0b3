#include "codec/http/head.h"

#include "codec/http/chars.h"

static const struct str method_names[HTTP_OTHER] = {
	[HTTP_GET] = STR("GET"),         [HTTP_HEAD] = STR("HEAD"),
	[HTTP_PUT] = STR("PUT"),         [HTTP_POST] = STR("POST"),
	[HTTP_DELETE] = STR("DELETE"),   [HTTP_OPTIONS] = STR("OPTIONS"),
	[HTTP_CONNECT] = STR("CONNECT"),
};

enum http_method head_method(struct str token)
{
	enum http_method m = HTTP_GET;

	while (m < HTTP_OTHER && !str_eq(token, method_names[m]))
		m++;
	return m;
}

static const struct str field_names[FIELD_COUNT] = {
#define X(sym, name) [sym] = STR(name),
	FIELD_TABLE(X)
#undef X
};

/* The known names of each length; a test holds this against FIELD_TABLE. */
enum { NAME_MAX_LENGTH = 19, NAMES_PER_LENGTH = 3 };
static const uint8_t by_length[NAME_MAX_LENGTH + 1][NAMES_PER_LENGTH + 1] = {
	[2] = { FIELD_TE },
	[3] = { FIELD_AGE, FIELD_VIA },
	[4] = { FIELD_DATE, FIELD_HOST },
	[6] = { FIELD_EXPECT },
	[7] = { FIELD_EXPIRES, FIELD_TRAILER, FIELD_UPGRADE },
	[8] = { FIELD_LOCATION },
	[9] = { FIELD_FORWARDED, FIELD_X_REAL_IP },
	[10] = { FIELD_CONNECTION, FIELD_KEEP_ALIVE, FIELD_USER_AGENT },
	[11] = { FIELD_RETRY_AFTER },
	[12] = { FIELD_CONTENT_TYPE },
	[13] = { FIELD_AUTHORIZATION, FIELD_CACHE_CONTROL },
	[14] = { FIELD_CONTENT_LENGTH, FIELD_HTTP2_SETTINGS },
	[16] = { FIELD_PROXY_CONNECTION },
	[17] = { FIELD_TRANSFER_ENCODING },
	[18] = { FIELD_PROXY_AUTHENTICATE },
	[19] = { FIELD_PROXY_AUTHORIZATION },
};

static const struct str x_forwarded = STR("x-forwarded-");

enum field_id head_field_id(struct str name)
{
	const uint8_t *candidate;

	if (name.len >= x_forwarded.len && (name.ptr[0] | 0x20) == 'x')
		return str_ieq(str_head(name, x_forwarded.len), x_forwarded) ? FIELD_X_FORWARDED
									     : FIELD_OTHER;
	if (name.len > NAME_MAX_LENGTH)
		return FIELD_OTHER;
	for (candidate = by_length[name.len]; *candidate != FIELD_OTHER; candidate++) {
		struct str known = field_names[*candidate];

		if ((name.ptr[0] | 0x20) == known.ptr[0] && str_ieq(name, known))
			return (enum field_id) * candidate;
	}
	return FIELD_OTHER;
}

const struct field *head_find(const struct head *h, enum field_id id)
{
	for (size_t i = 0; i < h->field_count; i++)
		if (h->fields[i].id == id)
			return &h->fields[i];
	return NULL;
}

bool head_list_next(struct str *rest, struct str *member)
{
	while (rest->len > 0) {
		size_t comma = str_find(*rest, ',');

		*member = str_trim(str_head(*rest, comma));
		*rest = str_from(*rest, comma + 1);
		if (member->len > 0)
			return true;
	}
	return false;
}

static bool is_fixed_hop_by_hop(enum field_id id)
{
	switch (id) {
	case FIELD_CONNECTION:
	case FIELD_EXPECT:
	case FIELD_HTTP2_SETTINGS:
	case FIELD_KEEP_ALIVE:
	case FIELD_PROXY_AUTHENTICATE:
	case FIELD_PROXY_AUTHORIZATION:
	case FIELD_PROXY_CONNECTION:
	case FIELD_TE:
	case FIELD_TRAILER:
	case FIELD_TRANSFER_ENCODING:
	case FIELD_UPGRADE:
		return true;
	case FIELD_OTHER:
	case FIELD_AGE:
	case FIELD_AUTHORIZATION:
	case FIELD_CACHE_CONTROL:
	case FIELD_CONTENT_LENGTH:
	case FIELD_CONTENT_TYPE:
	case FIELD_DATE:
	case FIELD_EXPIRES:
	case FIELD_FORWARDED:
	case FIELD_HOST:
	case FIELD_LOCATION:
	case FIELD_RETRY_AFTER:
	case FIELD_USER_AGENT:
	case FIELD_VIA:
	case FIELD_X_FORWARDED:
	case FIELD_X_REAL_IP:
	case FIELD_COUNT:
		return false;
	}
	return false;
}

static bool connection_names(const struct head *h, struct str name)
{
	for (size_t i = 0; i < h->field_count; i++) {
		struct str rest = h->fields[i].value, member;

		if (h->fields[i].id != FIELD_CONNECTION)
			continue;
		while (head_list_next(&rest, &member))
			if (str_ieq(member, name))
				return true;
	}
	return false;
}

bool head_is_hop_by_hop(const struct head *h, const struct field *f)
{
	return is_fixed_hop_by_hop(f->id) || connection_names(h, f->name);
}

/* RFC 9110 15; the codes that doorstep itself may send. */
#define REASON_TABLE(X)                           \
	X(100, "Continue")                        \
	X(101, "Switching Protocols")             \
	X(200, "OK")                              \
	X(201, "Created")                         \
	X(202, "Accepted")                        \
	X(204, "No Content")                      \
	X(206, "Partial Content")                 \
	X(301, "Moved Permanently")               \
	X(302, "Found")                           \
	X(303, "See Other")                       \
	X(304, "Not Modified")                    \
	X(307, "Temporary Redirect")              \
	X(308, "Permanent Redirect")              \
	X(400, "Bad Request")                     \
	X(401, "Unauthorized")                    \
	X(403, "Forbidden")                       \
	X(404, "Not Found")                       \
	X(405, "Method Not Allowed")              \
	X(406, "Not Acceptable")                  \
	X(407, "Proxy Authentication Required")   \
	X(408, "Request Timeout")                 \
	X(409, "Conflict")                        \
	X(410, "Gone")                            \
	X(411, "Length Required")                 \
	X(412, "Precondition Failed")             \
	X(413, "Content Too Large")               \
	X(414, "URI Too Long")                    \
	X(415, "Unsupported Media Type")          \
	X(416, "Range Not Satisfiable")           \
	X(417, "Expectation Failed")              \
	X(421, "Misdirected Request")             \
	X(426, "Upgrade Required")                \
	X(429, "Too Many Requests")               \
	X(431, "Request Header Fields Too Large") \
	X(500, "Internal Server Error")           \
	X(501, "Not Implemented")                 \
	X(502, "Bad Gateway")                     \
	X(503, "Service Unavailable")             \
	X(504, "Gateway Timeout")                 \
	X(505, "HTTP Version Not Supported")      \
	X(507, "Insufficient Storage")

const char *head_reason(int status)
{
	static const struct {
		int         status;
		const char *reason;
	} rows[] = {
#define X(code, text) { code, text },
		REASON_TABLE(X)
#undef X
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].status == status)
			return rows[i].reason;
	return "";
}
