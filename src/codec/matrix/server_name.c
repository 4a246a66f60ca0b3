#include "codec/matrix/server_name.h"

#include <stdbool.h>

#include "base/address.h"

#define LABEL_MAX 63

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_label_char(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
}

static bool is_label(struct str s)
{
	if (s.len == 0 || s.len > LABEL_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!is_label_char(s.ptr[i]))
			return false;
	return true;
}

static bool is_number(struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_digit(s.ptr[i]))
			return false;
	return true;
}

/* Labels separated by single dots; *last is the last one. */
static bool is_dns_name(struct str s, struct str *last)
{
	if (s.len == 0 || s.len > SERVER_NAME_HOST_MAX)
		return false;
	for (;;) {
		size_t dot = str_find(s, '.');

		*last = str_head(s, dot);
		if (!is_label(*last))
			return false;
		if (dot == s.len)
			return true;
		s = str_from(s, dot + 1);
	}
}

static enum err parse_plain_host(struct str host, struct server_name *out)
{
	struct address ip;
	struct str     last;

	if (!is_dns_name(host, &last))
		return ERR_SYNTAX;
	out->host = host;
	out->kind = HOST_DNS;
	if (!is_number(last))
		return ERR_OK;
	out->kind = HOST_IPV4;
	return address_parse_ip(host, &ip);
}

static enum err parse_bracketed_host(struct str host, struct server_name *out)
{
	struct address ip;

	if (str_find(host, ':') == host.len)
		return ERR_SYNTAX;
	out->host = host;
	out->kind = HOST_IPV6;
	return address_parse_ip(host, &ip);
}

/* rest is what follows the host: nothing, or a colon and digits. */
static enum err parse_port(struct str rest, uint16_t *out)
{
	struct str digits = str_from(rest, 1);
	uint64_t   v;

	*out = 0;
	if (rest.len == 0)
		return ERR_OK;
	if (rest.ptr[0] != ':' || digits.len > 5 || !str_to_u64(digits, 99999, &v))
		return ERR_SYNTAX;
	if (v == 0 || v > UINT16_MAX)
		return ERR_RANGE;
	*out = (uint16_t)v;
	return ERR_OK;
}

enum err server_name_parse(struct str text, struct server_name *out)
{
	struct server_name n;
	enum err           host_err, port_err;
	size_t             end;

	if (text.len == 0)
		return ERR_SYNTAX;
	if (text.ptr[0] == '[') {
		end = str_find(text, ']');
		if (end == text.len)
			return ERR_SYNTAX;
		host_err = parse_bracketed_host(str_head(str_from(text, 1), end - 1), &n);
		end++;
	} else {
		end = str_find(text, ':');
		host_err = parse_plain_host(str_head(text, end), &n);
	}
	port_err = parse_port(str_from(text, end), &n.port);
	if (host_err == ERR_SYNTAX || port_err == ERR_SYNTAX)
		return ERR_SYNTAX;
	if (host_err != ERR_OK || port_err != ERR_OK)
		return ERR_RANGE;
	*out = n;
	return ERR_OK;
}
