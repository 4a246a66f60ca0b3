#include "fed/client_token.h"

#include "base/cursor.h"

/* ---- finding it ---- */

/* A value of a query: "+" is a blank there. */
static struct str decode(struct str value, struct arena *arena)
{
	char         *to = arena_alloc(arena, value.len + 1);
	struct writer w = writer_over(to, to == NULL ? 0 : value.len);

	for (size_t i = 0; i < value.len; i++) {
		int hi = i + 2 < value.len && value.ptr[i] == '%' ? str_hex_digit(value.ptr[i + 1])
								  : -1;
		int lo = hi >= 0 ? str_hex_digit(value.ptr[i + 2]) : -1;

		if (lo >= 0) {
			write_char(&w, (char)(hi << 4 | lo));
			i += 2;
		} else {
			write_char(&w, (char)(value.ptr[i] == '+' ? ' ' : value.ptr[i]));
		}
	}
	return w.failed ? STRL("") : writer_done(&w);
}

/* How many there are; the first one is put into *token. */
static size_t find_in_query(struct str target, struct arena *arena, struct str *token)
{
	static const struct str name = STR("access_token");
	struct str              rest = str_from(target, str_find(target, '?') + 1);
	size_t                  n = 0;

	while (rest.len > 0) {
		size_t     end = str_find(rest, '&');
		struct str pair = str_head(rest, end);
		size_t     is = str_find(pair, '=');

		if (str_eq(decode(str_head(pair, is), arena), name) && n++ == 0)
			*token = decode(str_from(pair, is + 1), arena);
		rest = str_from(rest, end + 1);
	}
	return n;
}

static size_t find_in_fields(const struct head *h, struct str *token)
{
	static const struct str scheme = STR("Bearer ");
	size_t                  n = 0;

	for (size_t i = 0; i < h->field_count; i++) {
		struct str value = h->fields[i].value;

		if (h->fields[i].id != FIELD_AUTHORIZATION)
			continue;
		n++;
		*token = str_ieq(str_head(value, scheme.len), scheme)
			? str_trim(str_from(value, scheme.len))
			: STRL("");
	}
	return n;
}

bool client_token_find(const struct head *h, struct arena *arena, struct str *token)
{
	struct str in_fields = STR(""), in_query = STR("");
	size_t     fields = find_in_fields(h, &in_fields);
	size_t     query = find_in_query(h->path, arena, &in_query);

	if (fields + query != 1)
		return false;
	*token = fields == 1 ? in_fields : in_query;
	return token->len > 0 && token->len <= CLIENT_TOKEN_MAX;
}

/* ---- what an answer proves ---- */

static const struct {
	const char           *first; /* segment behind the version */
	const char           *rest;  /* exactly; NULL: whatever follows, or nothing */
	enum client_token_use use;
} rows[] = {
	{ "logout", NULL, CLIENT_TOKEN_ENDED },
	{ "account", "deactivate", CLIENT_TOKEN_ENDED },
	{ "account", "whoami", CLIENT_TOKEN_PROVED },
	{ "sync", "", CLIENT_TOKEN_PROVED },
	{ "org.matrix.simplified_msc3575", "sync", CLIENT_TOKEN_PROVED },
	{ "keys", NULL, CLIENT_TOKEN_PROVED },
	{ "room_keys", NULL, CLIENT_TOKEN_PROVED },
	{ "rooms", NULL, CLIENT_TOKEN_PROVED },
	{ "joined_rooms", "", CLIENT_TOKEN_PROVED },
	{ "sendToDevice", NULL, CLIENT_TOKEN_PROVED },
	{ "user", NULL, CLIENT_TOKEN_PROVED },
	{ "devices", NULL, CLIENT_TOKEN_PROVED },
	{ "pushrules", NULL, CLIENT_TOKEN_PROVED },
	{ "pushers", NULL, CLIENT_TOKEN_PROVED },
	{ "notifications", "", CLIENT_TOKEN_PROVED },
	{ "capabilities", "", CLIENT_TOKEN_PROVED },
};

/* Up to the next slash, which is taken off too. */
static struct str take_segment(struct str *path)
{
	size_t     slash = str_find(*path, '/');
	struct str segment = str_head(*path, slash);

	*path = str_from(*path, slash + 1);
	return segment;
}

static bool is_version(struct str s)
{
	return str_is(s, "r0") || str_is(s, "v1") || str_is(s, "v3") || str_is(s, "unstable");
}

enum client_token_use client_token_use(enum http_method method, struct str target)
{
	static const struct str prefix = STR("/_matrix/client/");
	struct str              path = str_head(target, str_find(target, '?')), first;

	/* preflights are answered without a look at anything */
	if (method == HTTP_OPTIONS || method == HTTP_HEAD || method == HTTP_OTHER ||
	    !str_starts(path, prefix))
		return CLIENT_TOKEN_PROVES_NOTHING;
	path = str_from(path, prefix.len);
	if (!is_version(take_segment(&path)))
		return CLIENT_TOKEN_PROVES_NOTHING;
	first = take_segment(&path);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (str_is(first, rows[i].first) &&
		    (rows[i].rest == NULL || str_is(path, rows[i].rest)))
			return rows[i].use;
	return CLIENT_TOKEN_PROVES_NOTHING;
}
