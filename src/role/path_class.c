#include "role/path_class.h"

enum { DECODE_ROUNDS_MAX = 3, PATH_MAX_BYTES = 8192 };

static const struct {
	struct str prefix;
	enum path_class class;
} rows[] = {
	{ STR("/.well-known/matrix/"), PATH_WELL_KNOWN },
	{ STR("/_matrix/federation/"), PATH_FEDERATION },
	{ STR("/_matrix/key/"), PATH_FEDERATION },
	{ STR("/_matrix/policy/"), PATH_FEDERATION },
	{ STR("/_matrix/media/"), PATH_MEDIA },
	{ STR("/_matrix/client/"), PATH_CLIENT },
	{ STR("/_matrix/static/"), PATH_CLIENT },
	{ STR("/_matrix/consent"), PATH_CLIENT },
	{ STR("/_synapse/client/"), PATH_CLIENT },
};

/* Percent-decodes in place once; true if anything changed. */
static bool decode_once(char *text, size_t *len)
{
	size_t to = 0;

	for (size_t at = 0; at < *len; at++) {
		int hi = at + 2 < *len && text[at] == '%' ? str_hex_digit(text[at + 1]) : -1;
		int lo = hi >= 0 ? str_hex_digit(text[at + 2]) : -1;

		if (lo >= 0) {
			text[to++] = (char)(hi << 4 | lo);
			at += 2;
		} else {
			text[to++] = text[at];
		}
	}
	if (to == *len)
		return false;
	*len = to;
	return true;
}

static bool is_separator(char c)
{
	return c == '/' || c == '\\';
}

/* "." or "..", alone or before a ";parameter", between separators of either kind. */
static bool has_dot_segment(struct str s)
{
	size_t start = 0;

	for (size_t at = 0; at <= s.len; at++) {
		if (at < s.len && !is_separator(s.ptr[at]) && s.ptr[at] != ';')
			continue;
		struct str segment = str_span(s.ptr + start, at - start);

		if (str_is(segment, ".") || str_is(segment, ".."))
			return true;
		while (at < s.len && !is_separator(s.ptr[at])) /* past the parameter */
			at++;
		start = at + 1;
	}
	return false;
}

/*
 * Identifiers may hold any escaped byte, so decoded text is not a path any more; but however often
 * somebody behind us decodes it, no part of it may lead upwards.
 */
static bool is_devious(struct str path)
{
	char   text[PATH_MAX_BYTES];
	size_t len = path.len;

	if (str_find(path, '%') == path.len)
		return has_dot_segment(path);
	if (len > sizeof(text))
		return true;
	memcpy(text, path.ptr, len);
	for (unsigned round = 0; round < DECODE_ROUNDS_MAX && decode_once(text, &len); round++)
		if (has_dot_segment(str_span(text, len)))
			return true;
	return has_dot_segment(path);
}

struct str path_without_query(struct str path)
{
	return str_head(path, str_find(path, '?'));
}

enum path_class path_class_of(struct str path)
{
	path = path_without_query(path);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (str_starts(path, rows[i].prefix))
			return is_devious(path) ? PATH_FORBIDDEN : rows[i].class;
	return PATH_FORBIDDEN;
}

const char *path_class_slug(enum path_class c)
{
	static const char *const slugs[] = { "well-known", "federation", "media", "client",
		                             "forbidden" };

	return slugs[c];
}

bool path_is_send(struct str path)
{
	static const struct str prefix = STR("/_matrix/federation/");
	struct str              rest;

	if (!str_starts(path, prefix))
		return false;
	rest = str_from(path, prefix.len);
	return str_starts(str_from(rest, str_find(rest, '/')), STRL("/send/"));
}
