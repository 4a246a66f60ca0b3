#include "codec/http/authority.h"

#include "base/address.h"
#include "codec/http/chars.h"

static bool is_ipv6(struct str s)
{
	struct address a;

	return address_parse_ip(s, &a) == ERR_OK && a.family == ADDRESS_V6;
}

/* reg-name with its escapes checked; IPv4 is one by shape. */
static bool is_reg_name(struct str s)
{
	for (size_t i = 0; i < s.len; i++) {
		if (chars_is(s.ptr[i], CHARS_HOST))
			continue;
		if (s.ptr[i] != '%' || s.len - i < 3 || !chars_is(s.ptr[i + 1], CHARS_HEX) ||
		    !chars_is(s.ptr[i + 2], CHARS_HEX))
			return false;
		i += 2;
	}
	return s.len > 0;
}

static bool parse_port(struct str s, uint16_t *out)
{
	uint64_t v;

	if (s.len > 5 || !str_to_u64(s, UINT16_MAX, &v) || v == 0)
		return false;
	*out = (uint16_t)v;
	return true;
}

/* Length of the host with its brackets: up to the colon of a port, or all. */
static size_t host_length(struct str text)
{
	size_t close;

	if (text.len == 0 || text.ptr[0] != '[')
		return str_find(text, ':');
	close = str_find(text, ']');
	return close == text.len ? close : close + 1;
}

/* "[2001:db8::1]" or a registered name; *host is what is in the brackets. */
static bool parse_host(struct str text, struct str *host)
{
	if (text.len < 2 || text.ptr[0] != '[') {
		*host = text;
		return is_reg_name(text);
	}
	*host = (struct str){ text.ptr + 1, text.len - 2 };
	return text.ptr[text.len - 1] == ']' && is_ipv6(*host);
}

bool authority_split(struct str text, struct str *host, uint16_t *port)
{
	size_t     n = host_length(text);
	struct str h;
	uint16_t   p = 0;

	if (!parse_host(str_head(text, n), &h))
		return false;
	if (n < text.len && (text.ptr[n] != ':' || !parse_port(str_from(text, n + 1), &p)))
		return false;
	*host = h;
	*port = p;
	return true;
}

bool authority_split_connect(struct str text, struct str *host, uint16_t *port)
{
	size_t     n = text.len;
	struct str h;
	uint16_t   p;

	while (n > 0 && text.ptr[n - 1] != ':')
		n--;
	if (n == 0 || !parse_port(str_from(text, n), &p))
		return false;
	h = str_head(text, n - 1);
	if (!is_ipv6(h) && !parse_host(h, &h))
		return false;
	*host = h;
	*port = p;
	return true;
}
