#include "fed/address.h"

#include <stdbool.h>

#define V4(a, b, c, d, n)                            \
	{                                            \
		{ ADDRESS_V4, { a, b, c, d }, 0 }, n \
	}
#define V6(n, ...)                                    \
	{                                             \
		{ ADDRESS_V6, { __VA_ARGS__ }, 0 }, n \
	}

struct refused_range {
	struct cidr range;
	const char *why;
};

/* IANA IPv4 and IPv6 special-purpose address registries, and multicast. */
static const struct refused_range refused[] = {
	{ V4(0, 0, 0, 0, 8), "this network (0.0.0.0/8)" },
	{ V4(10, 0, 0, 0, 8), "private network (10.0.0.0/8)" },
	{ V4(100, 64, 0, 0, 10), "shared by a provider's customers (100.64.0.0/10)" },
	{ V4(127, 0, 0, 0, 8), "this machine (127.0.0.0/8)" },
	{ V4(169, 254, 0, 0, 16), "link-local (169.254.0.0/16)" },
	{ V4(172, 16, 0, 0, 12), "private network (172.16.0.0/12)" },
	{ V4(192, 0, 0, 0, 24), "protocol assignments (192.0.0.0/24)" },
	{ V4(192, 0, 2, 0, 24), "documentation (192.0.2.0/24)" },
	{ V4(192, 88, 99, 0, 24), "6to4 relays (192.88.99.0/24)" },
	{ V4(192, 168, 0, 0, 16), "private network (192.168.0.0/16)" },
	{ V4(198, 18, 0, 0, 15), "benchmarks (198.18.0.0/15)" },
	{ V4(198, 51, 100, 0, 24), "documentation (198.51.100.0/24)" },
	{ V4(203, 0, 113, 0, 24), "documentation (203.0.113.0/24)" },
	{ V4(224, 0, 0, 0, 4), "multicast (224.0.0.0/4)" },
	{ V4(240, 0, 0, 0, 4), "reserved (240.0.0.0/4)" },
	{ V6(96, 0), "this machine, or IPv4 in disguise (::/96)" },
	{ V6(96, [10] = 0xff, 0xff), "IPv4 in disguise (::ffff:0:0/96)" },
	{ V6(96, [8] = 0xff, 0xff), "IPv4 in disguise (::ffff:0:0:0/96)" },
	{ V6(48, 0, 0x64, 0xff, 0x9b, 0, 1), "local translation (64:ff9b:1::/48)" },
	{ V6(64, 1), "discard (100::/64)" },
	{ V6(23, 0x20, 1), "protocol assignments, Teredo (2001::/23)" },
	{ V6(32, 0x20, 1, 0x0d, 0xb8), "documentation (2001:db8::/32)" },
	{ V6(16, 0x20, 2), "6to4 (2002::/16)" },
	{ V6(20, 0x3f, 0xff), "documentation (3fff::/20)" },
	{ V6(16, 0x5f), "segment routing (5f00::/16)" },
	{ V6(7, 0xfc), "private network (fc00::/7)" },
	{ V6(10, 0xfe, 0x80), "link-local (fe80::/10)" },
	{ V6(10, 0xfe, 0xc0), "site-local (fec0::/10)" },
	{ V6(8, 0xff), "multicast (ff00::/8)" },
};

static const struct cidr well_known_nat64 = V6(96, 0, 0x64, 0xff, 0x9b);

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static enum err blocked(const char **why, const char *text)
{
	if (why != NULL)
		*why = text;
	return ERR_BLOCKED;
}

static bool in_any(const struct address *a, const struct cidr *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (address_in_cidr(a, &list[i]))
			return true;
	return false;
}

/* The IPv4 address a NAT64 of this line would connect to (RFC 6052 2.2, /96 prefixes). */
static bool nat64_inner(const struct address_policy *p, const struct address *a,
                        struct address *inner)
{
	if (!address_in_cidr(a, &well_known_nat64) && !in_any(a, p->nat64, p->nat64_count))
		return false;
	*inner = address_v4(a->ip[12], a->ip[13], a->ip[14], a->ip[15], a->port);
	return true;
}

static bool is_own(const struct address_policy *p, const struct address *a)
{
	for (size_t i = 0; i < p->own_count; i++)
		if (address_same_ip(a, &p->own[i]))
			return true;
	return false;
}

static enum err check_plain(const struct address_policy *p, const struct address *a,
                            const char **why)
{
	if (in_any(a, p->allow, p->allow_count))
		return ERR_OK;
	if (is_own(p, a))
		return blocked(why, "an address of this box");
	for (size_t i = 0; i < COUNT(refused); i++)
		if (address_in_cidr(a, &refused[i].range))
			return blocked(why, refused[i].why);
	return ERR_OK;
}

enum err address_check_ip(const struct address_policy *policy, const struct address *a,
                          const char **why)
{
	static const struct address_policy none = { 0 };
	const struct address_policy       *p = policy == NULL ? &none : policy;
	struct address                     inner;

	if (in_any(a, p->allow, p->allow_count))
		return ERR_OK;
	if (is_own(p, a))
		return blocked(why, "an address of this box");
	if (nat64_inner(p, a, &inner))
		return check_plain(p, &inner, why);
	return check_plain(p, a, why);
}

/* ---- names ---- */

struct refused_suffix {
	struct str  suffix; /* with its leading dot */
	const char *why;
};

static const struct refused_suffix suffixes[] = {
	{ STR(".localhost"), "this machine (localhost)" },
	{ STR(".localdomain"), "a name of the local network (.localdomain)" },
	{ STR(".local"), "a name of the local network (.local)" },
	{ STR(".lan"), "a name of the local network (.lan)" },
	{ STR(".home.arpa"), "a name of the local network (.home.arpa)" },
	{ STR(".internal"), "a name of the local network (.internal)" },
	{ STR(".onion"), "not in DNS (.onion)" },
};

static struct str last_label(struct str host)
{
	size_t dot = host.len;

	while (dot > 0 && host.ptr[dot - 1] != '.')
		dot--;
	return str_from(host, dot);
}

static bool is_digits(struct str s, bool hex)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];
		char lower = (char)(c | 0x20);

		if (!(c >= '0' && c <= '9') && !(hex && lower >= 'a' && lower <= 'f'))
			return false;
	}
	return true;
}

/* What inet_aton() would take for the last part of an address: 1, 01, 0x7f, and "0x". */
static bool is_numeric(struct str label)
{
	if (label.len >= 2 && label.ptr[0] == '0' && (label.ptr[1] | 0x20) == 'x')
		return is_digits(str_from(label, 2), true);
	return is_digits(label, false);
}

/* host is suffix without its dot, or ends with suffix. */
static bool is_below(struct str host, struct str suffix)
{
	return str_iends(host, suffix) || str_ieq(host, str_from(suffix, 1));
}

enum err address_check_name(struct str host, const char **why)
{
	if (host.len > 253)
		return blocked(why, "longer than a DNS name can be");
	for (size_t i = 0; i < COUNT(suffixes); i++)
		if (is_below(host, suffixes[i].suffix))
			return blocked(why, suffixes[i].why);
	if (is_numeric(last_label(host)))
		return blocked(why, "looks like an address but is none");
	if (str_find(host, '.') == host.len)
		return blocked(why, "a name without a dot belongs to the local network");
	return ERR_OK;
}

/* ---- ports ---- */

/* Source: Fetch standard, "port blocking"; ascending. */
static const uint16_t bad_ports[] = {
	0,    1,    7,    9,    11,   13,   15,   17,   19,   20,   21,   22,   23,    25,
	37,   42,   43,   53,   69,   77,   79,   87,   95,   101,  102,  103,  104,   109,
	110,  111,  113,  115,  117,  119,  123,  135,  137,  139,  143,  161,  179,   389,
	427,  465,  512,  513,  514,  515,  526,  530,  531,  532,  540,  548,  554,   556,
	563,  587,  601,  636,  989,  990,  993,  995,  1719, 1720, 1723, 2049, 3659,  4045,
	4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
};

enum err address_check_port(uint16_t port, const char **why)
{
	for (size_t i = 0; i < COUNT(bad_ports); i++)
		if (port == bad_ports[i])
			return blocked(why, "the port of another protocol");
	return ERR_OK;
}
