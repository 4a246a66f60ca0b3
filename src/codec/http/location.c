#include "codec/http/location.h"

#include <stdbool.h>

#include "base/cursor.h"

static enum err fail(const char **why, enum err e, const char *text)
{
	*why = text;
	return e;
}

static bool is_alpha(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_scheme_char(char c)
{
	return is_alpha(c) || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
}

/* Characters of a URI (RFC 3986 2): unreserved, reserved and '%'. */
static bool is_uri_char(char c)
{
	return is_alpha(c) || (c >= '0' && c <= '9') ||
		(c != '\0' && strchr("-._~:/?#[]@!$&'()*+,;=%", c) != NULL);
}

static bool is_uri(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_uri_char(s.ptr[i]))
			return false;
	return s.len > 0;
}

/* Length of the scheme in front of the first ':', 0 if there is none. */
static size_t scheme_len(struct str s)
{
	size_t n = 0;

	if (s.len == 0 || !is_alpha(s.ptr[0]))
		return 0;
	while (n < s.len && is_scheme_char(s.ptr[n]))
		n++;
	return n < s.len && s.ptr[n] == ':' ? n : 0;
}

/* Position of the first of two characters, or s.len. */
static size_t find_either(struct str s, char a, char b)
{
	size_t i = str_find(s, a), j = str_find(s, b);

	return i < j ? i : j;
}

/* Takes "//host:port" off *ref, if it is there. */
static enum err take_authority(struct str *ref, struct location *l, const char **why)
{
	struct server_name name;
	struct str         text;
	enum err           e;

	*ref = str_from(*ref, 2);
	text = str_head(*ref, find_either(*ref, '/', '?'));
	*ref = str_from(*ref, text.len);
	if (str_find(text, '@') != text.len)
		return fail(why, ERR_SYNTAX, "the redirect names a user");
	if (text.len > 0 && text.ptr[text.len - 1] == ':')
		text.len--; /* an empty port is the default port */
	e = server_name_parse(text, &name);
	if (e != ERR_OK)
		return fail(why, e, "the redirect's host is no server name");
	str_copy(name.host, l->host, sizeof(l->host));
	str_lower(l->host);
	l->kind = name.kind;
	l->port = name.port == 0 ? 443 : name.port;
	return ERR_OK;
}

/* RFC 3986 5.2.4, in place; the path begins with '/'. Returns its new length. */
static size_t remove_dot_segments(char *p, size_t len)
{
	size_t out = 0, end;

	for (size_t at = 0; at < len; at = end) {
		struct str segment;

		for (end = at + 1; end < len && p[end] != '/';)
			end++;
		segment = str_span(p + at + 1, end - at - 1);
		if (str_is(segment, "..")) {
			while (out > 0 && p[--out] != '/') {
			}
		} else if (!str_is(segment, ".")) {
			memmove(p + out, p + at, end - at);
			out += end - at;
			continue;
		}
		if (end == len)
			p[out++] = '/';
	}
	return out;
}

/* Everything of path before its query; its directory, with the final '/'. */
static struct str without_query(struct str path)
{
	return str_head(path, str_find(path, '?'));
}

static struct str directory(struct str path)
{
	struct str p = without_query(path);

	while (p.len > 0 && p.ptr[p.len - 1] != '/')
		p.len--;
	return p;
}

/* Merges ref (path and query) with base and writes the clean result over l->path. */
static enum err set_path(struct location *l, struct str base, struct str ref, const char **why)
{
	char          room[LOCATION_PATH_MAX + 1];
	struct writer w = writer_over(room, sizeof(room));
	struct str    path = without_query(ref);
	size_t        n;

	if (path.len == 0)
		write_str(&w, without_query(base));
	else if (path.ptr[0] != '/')
		write_str(&w, directory(base));
	write_str(&w, path);
	n = remove_dot_segments(room, writer_done(&w).len);
	if (!w.failed)
		w.at = room + n;
	write_str(&w, str_from(ref, path.len));
	write_char(&w, '\0');
	if (w.failed)
		return fail(why, ERR_RANGE, "the redirect's path is too long");
	memcpy(l->path, room, writer_done(&w).len);
	return ERR_OK;
}

static const struct str https = STR("https"), slashes = STR("//"), root = STR("/");

enum err location_follow(struct location *at, struct str value, const char **why)
{
	struct str      ref = str_head(value, str_find(value, '#'));
	size_t          scheme = scheme_len(ref);
	struct location next = *at;
	struct str      base = str_of(at->path);
	enum err        e = ERR_OK;

	if (!is_uri(value))
		return fail(why, ERR_SYNTAX, "the redirect's Location is no URL");
	if (scheme > 0) {
		if (!str_ieq(str_head(ref, scheme), https))
			return fail(why, ERR_UNSUPPORTED, "the redirect leaves https");
		ref = str_from(ref, scheme + 1);
		if (!str_starts(ref, slashes))
			return fail(why, ERR_SYNTAX, "the redirect names no host");
	}
	if (str_starts(ref, slashes)) {
		e = take_authority(&ref, &next, why);
		if (e != ERR_OK)
			return e;
		base = root;
	}
	if (ref.len > 0 || str_eq(base, root)) /* else a fragment only: the same URL */
		e = set_path(&next, base, ref, why);
	if (e == ERR_OK)
		*at = next;
	return e;
}
