/*
 * address.h - an IP address with a port, and ranges of addresses, as plain values.
 *
 * Text follows RFC 4291 2.2 and is printed as RFC 5952 says. Reading is strict: dotted IPv4 means
 * four decimal parts 0..255 without leading zeros (never the shorthand of inet_aton), and there is
 * no zone. Nothing here looks a name up or knows which addresses are good: see fed/address.h.
 */
#ifndef BASE_ADDRESS_H
#define BASE_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"
#include "base/err.h"
#include "base/str.h"

enum address_family { ADDRESS_V4 = 4, ADDRESS_V6 = 6 };

struct address {
	enum address_family family;
	uint8_t             ip[16]; /* network order; IPv4 uses the first four, the others are 0 */
	uint16_t            port;   /* host byte order; 0: none */
};

/* "[" 45 "]:65535" and a NUL. */
#define ADDRESS_TEXT_SIZE 54

/*
 * An IP of either family without brackets and port; out->port becomes 0.
 * ERR_SYNTAX: not an address.  ERR_RANGE: dotted, but a part is above 255.
 */
enum err address_parse_ip(struct str text, struct address *out);

/*
 * "192.0.2.1:8448" or "[2001:db8::1]:8448"; the port must be there, 1..65535.
 * ERR_SYNTAX, ERR_RANGE (port or a dotted part).
 */
enum err address_parse(struct str text, struct address *out);

static inline struct address address_v4(uint8_t a, uint8_t b, uint8_t c, uint8_t d, uint16_t port)
{
	return (struct address){ ADDRESS_V4, { a, b, c, d }, port };
}

static inline size_t address_ip_bytes(const struct address *a)
{
	return a->family == ADDRESS_V4 ? 4 : 16;
}

bool address_equal(const struct address *a, const struct address *b);   /* with the port */
bool address_same_ip(const struct address *a, const struct address *b); /* without it */
/* One customer of a provider, as far as can be told: the same IPv4 address or IPv6 /64. */
bool address_same_network(const struct address *a, const struct address *b);

/* The IP alone, no brackets; the IP and the port, IPv6 in brackets (also when the port is 0). */
void address_write_ip(struct writer *w, const struct address *a);
void address_write(struct writer *w, const struct address *a);

/* The same as C strings; both return out. */
const char *address_ip_text(const struct address *a, char out[ADDRESS_TEXT_SIZE]);
const char *address_text(const struct address *a, char out[ADDRESS_TEXT_SIZE]);

/* A range: all addresses whose first bits equal those of base. */
struct cidr {
	struct address base; /* bits behind the prefix are 0, port is 0 */
	uint8_t        bits; /* 0..32 or 0..128 */
};

/*
 * "10.0.0.0/8", "fd00::/8"; an address alone is a range of one. Host bits behind the prefix are
 * refused, because they are a slip more often than a wish.
 * ERR_SYNTAX, ERR_RANGE (prefix too long, host bits, dotted part).
 */
enum err address_parse_cidr(struct str text, struct cidr *out);
bool     address_in_cidr(const struct address *a, const struct cidr *r);
void     address_write_cidr(struct writer *w, const struct cidr *r);

#endif
