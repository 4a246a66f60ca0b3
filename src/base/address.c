#include "base/address.h"

#define GROUPS 8

/* Decimal 0..255 without leading zeros. */
static enum err parse_octet(struct str s, uint8_t *out)
{
	uint64_t v;

	if (s.len == 0 || s.len > 3 || (s.len > 1 && s.ptr[0] == '0'))
		return ERR_SYNTAX;
	if (!str_to_u64(s, 999, &v))
		return ERR_SYNTAX;
	if (v > 255)
		return ERR_RANGE;
	*out = (uint8_t)v;
	return ERR_OK;
}

static enum err parse_v4(struct str s, uint8_t ip[4])
{
	enum err worst = ERR_OK;

	for (int i = 0; i < 4; i++) {
		size_t   dot = str_find(s, '.');
		enum err e = parse_octet(str_head(s, dot), &ip[i]);

		if (e == ERR_SYNTAX || (dot == s.len) != (i == 3))
			return ERR_SYNTAX;
		if (e != ERR_OK)
			worst = e;
		s = str_from(s, dot + 1);
	}
	return worst;
}

static bool parse_group(struct str s, uint16_t *out)
{
	unsigned v = 0;

	if (s.len == 0 || s.len > 4)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		int h = str_hex_digit(s.ptr[i]);

		if (h < 0)
			return false;
		v = v << 4 | (unsigned)h;
	}
	*out = (uint16_t)v;
	return true;
}

/* The groups read so far and where "::" stood among them. */
struct v6 {
	uint16_t group[GROUPS];
	int      count;
	int      gap; /* -1: no "::" yet */
};

/* One element before the next ':' (or the end): a group, or at the end a dotted quad. */
static enum err v6_element(struct v6 *v, struct str s, bool last)
{
	uint8_t  ip[4];
	enum err e;

	if (!last || str_find(s, '.') == s.len) {
		if (v->count == GROUPS || !parse_group(s, &v->group[v->count]))
			return ERR_SYNTAX;
		v->count++;
		return ERR_OK;
	}
	if (v->count > GROUPS - 2)
		return ERR_SYNTAX;
	e = parse_v4(s, ip);
	if (e != ERR_OK)
		return e;
	v->group[v->count++] = (uint16_t)(ip[0] << 8 | ip[1]);
	v->group[v->count++] = (uint16_t)(ip[2] << 8 | ip[3]);
	return ERR_OK;
}

static void v6_store(const struct v6 *v, uint8_t ip[16])
{
	int behind = v->gap < 0 ? 0 : v->count - v->gap;

	memset(ip, 0, 16);
	for (int i = 0; i < v->count; i++) {
		int at = i < v->count - behind ? i : GROUPS - v->count + i;

		ip[2 * at] = (uint8_t)(v->group[i] >> 8);
		ip[2 * at + 1] = (uint8_t)(v->group[i] & 0xff);
	}
}

static const struct str gap_text = STR("::");

static enum err parse_v6(struct str s, uint8_t ip[16])
{
	struct v6 v = { { 0 }, 0, -1 };
	enum err  e = ERR_OK;

	if (s.len < 2 || (s.ptr[0] == ':' && s.ptr[1] != ':'))
		return ERR_SYNTAX;
	while (s.len > 0) {
		size_t colon;

		if (str_starts(s, gap_text)) {
			if (v.gap >= 0)
				return ERR_SYNTAX;
			v.gap = v.count;
			s = str_from(s, 2);
			continue;
		}
		colon = str_find(s, ':');
		e = v6_element(&v, str_head(s, colon), colon == s.len);
		if (e != ERR_OK)
			return e;
		s = str_from(s, colon);
		if (s.len == 1)
			return ERR_SYNTAX; /* a lone colon at the end */
		if (s.len > 0 && !str_starts(s, gap_text))
			s = str_from(s, 1);
	}
	if (v.gap < 0 ? v.count != GROUPS : v.count == GROUPS)
		return ERR_SYNTAX;
	v6_store(&v, ip);
	return ERR_OK;
}

enum err address_parse_ip(struct str text, struct address *out)
{
	struct address a = { ADDRESS_V4, { 0 }, 0 };
	enum err       e;

	if (str_find(text, ':') != text.len) {
		a.family = ADDRESS_V6;
		e = parse_v6(text, a.ip);
	} else {
		e = parse_v4(text, a.ip);
	}
	if (e == ERR_OK)
		*out = a;
	return e;
}

/* Cuts "host:port" or "[host]:port"; brackets and an IPv6 address belong together. */
static bool cut_port(struct str text, struct str *host, struct str *port)
{
	size_t at;

	if (text.len > 0 && text.ptr[0] == '[') {
		at = str_find(text, ']');
		*host = str_head(str_from(text, 1), at == 0 ? 0 : at - 1);
		if (str_find(*host, ':') == host->len)
			return false;
		at++;
	} else {
		at = str_find(text, ':');
		*host = str_head(text, at);
	}
	if (at >= text.len || text.ptr[at] != ':')
		return false;
	*port = str_from(text, at + 1);
	return port->len > 0;
}

static enum err parse_port(struct str s, uint16_t *out)
{
	uint64_t v;

	if (s.len > 5 || !str_to_u64(s, 99999, &v))
		return ERR_SYNTAX;
	if (v == 0 || v > UINT16_MAX)
		return ERR_RANGE;
	*out = (uint16_t)v;
	return ERR_OK;
}

enum err address_parse(struct str text, struct address *out)
{
	struct str     host, port;
	struct address a;
	enum err       e;

	if (!cut_port(text, &host, &port))
		return ERR_SYNTAX;
	e = address_parse_ip(host, &a);
	if (e == ERR_OK)
		e = parse_port(port, &a.port);
	if (e == ERR_OK)
		*out = a;
	return e;
}

bool address_same_ip(const struct address *a, const struct address *b)
{
	return a->family == b->family && memcmp(a->ip, b->ip, address_ip_bytes(a)) == 0;
}

bool address_same_network(const struct address *a, const struct address *b)
{
	return a->family == b->family && memcmp(a->ip, b->ip, a->family == ADDRESS_V4 ? 4 : 8) == 0;
}

bool address_equal(const struct address *a, const struct address *b)
{
	return a->port == b->port && address_same_ip(a, b);
}

static void write_v4(struct writer *w, const uint8_t *ip)
{
	for (int i = 0; i < 4; i++) {
		if (i > 0)
			write_char(w, '.');
		write_u64(w, ip[i]);
	}
}

static unsigned group_at(const uint8_t *ip, int i)
{
	return (unsigned)ip[2 * i] << 8 | ip[2 * i + 1];
}

/* The longest run of zero groups, at least two, the first among equals (RFC 5952 4.2). */
static void longest_gap(const uint8_t *ip, int groups, int *from, int *len)
{
	int run = 0;

	*from = *len = 0;
	for (int i = 0; i < groups; i++) {
		run = group_at(ip, i) == 0 ? run + 1 : 0;
		if (run > *len) {
			*len = run;
			*from = i + 1 - run;
		}
	}
	if (*len < 2)
		*len = 0;
}

static bool is_mapped(const uint8_t *ip)
{
	static const uint8_t prefix[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(ip, prefix, sizeof(prefix)) == 0;
}

static void write_v6(struct writer *w, const uint8_t *ip)
{
	int  groups = is_mapped(ip) ? 6 : GROUPS;
	int  from, len;
	bool colon = false; /* a separator is due before the next group */

	longest_gap(ip, groups, &from, &len);
	for (int i = 0; i < groups; i++) {
		if (len > 0 && i == from) {
			write_text(w, "::");
			i += len - 1;
			colon = false;
			continue;
		}
		if (colon)
			write_char(w, ':');
		write_hex(w, group_at(ip, i));
		colon = true;
	}
	if (groups == 6) {
		if (colon)
			write_char(w, ':');
		write_v4(w, ip + 12);
	}
}

void address_write_ip(struct writer *w, const struct address *a)
{
	if (a->family == ADDRESS_V4)
		write_v4(w, a->ip);
	else
		write_v6(w, a->ip);
}

void address_write(struct writer *w, const struct address *a)
{
	if (a->family == ADDRESS_V6)
		write_char(w, '[');
	address_write_ip(w, a);
	write_text(w, a->family == ADDRESS_V6 ? "]:" : ":");
	write_u64(w, a->port);
}

const char *address_ip_text(const struct address *a, char out[ADDRESS_TEXT_SIZE])
{
	struct writer w = writer_over(out, ADDRESS_TEXT_SIZE);

	address_write_ip(&w, a);
	write_char(&w, '\0');
	return out;
}

const char *address_text(const struct address *a, char out[ADDRESS_TEXT_SIZE])
{
	struct writer w = writer_over(out, ADDRESS_TEXT_SIZE);

	address_write(&w, a);
	write_char(&w, '\0');
	return out;
}

/* The address with every bit behind the prefix cleared. */
static struct address masked(const struct address *a, unsigned bits)
{
	struct address m = *a;

	for (size_t i = 0; i < sizeof(m.ip); i++) {
		unsigned before = (unsigned)i * 8;
		unsigned keep = bits <= before ? 0 : bits - before >= 8 ? 8 : bits - before;

		m.ip[i] = (uint8_t)(m.ip[i] & (0xff00u >> keep));
	}
	return m;
}

enum err address_parse_cidr(struct str text, struct cidr *out)
{
	size_t         slash = str_find(text, '/');
	struct str     digits = str_from(text, slash + 1);
	uint64_t       bits;
	struct address a, m;
	enum err       e = address_parse_ip(str_head(text, slash), &a);

	if (e != ERR_OK)
		return e;
	bits = address_ip_bytes(&a) * 8;
	if (slash != text.len) {
		if (digits.len > 3 || (digits.len > 1 && digits.ptr[0] == '0') ||
		    !str_to_u64(digits, 999, &bits))
			return ERR_SYNTAX;
		if (bits > address_ip_bytes(&a) * 8)
			return ERR_RANGE;
	}
	m = masked(&a, (unsigned)bits);
	if (!address_same_ip(&a, &m))
		return ERR_RANGE;
	*out = (struct cidr){ a, (uint8_t)bits };
	return ERR_OK;
}

bool address_in_cidr(const struct address *a, const struct cidr *r)
{
	size_t   whole = r->bits / 8;
	unsigned part = 0xffu & (0xff00u >> r->bits % 8);

	return a->family == r->base.family && memcmp(a->ip, r->base.ip, whole) == 0 &&
		(part == 0 || ((a->ip[whole] ^ r->base.ip[whole]) & part) == 0);
}

void address_write_cidr(struct writer *w, const struct cidr *r)
{
	address_write_ip(w, &r->base);
	write_char(w, '/');
	write_u64(w, r->bits);
}
