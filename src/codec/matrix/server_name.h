/*
 * server_name.h - Matrix server names as text, before any lookup.
 *
 * Source: Matrix specification, Appendices, "Server Name"; where its grammar is wider than what can
 * ever be looked up, RFC 1123 2.1 decides: labels are 1..63 bytes, and a name whose last label is
 * all digits must be an IPv4 address (so "127.1" never reaches a resolver that would accept it).
 * Pure: allocates nothing; results borrow from the caller's text.
 */
#ifndef CODEC_MATRIX_SERVER_NAME_H
#define CODEC_MATRIX_SERVER_NAME_H

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

enum host_kind { HOST_DNS, HOST_IPV4, HOST_IPV6 };

#define SERVER_NAME_HOST_MAX 255 /* bytes of host */
#define SERVER_NAME_TEXT_MAX 261 /* and ":65535"; brackets occur only with 45 bytes of IPv6 */

struct server_name {
	struct str     host; /* no brackets, no port; case kept: names compare byte for byte */
	enum host_kind kind;
	uint16_t       port; /* host byte order; 0 when the text names none */
};

/*
 * Splits text, at most 255 bytes of host and an optional ":port" of 1 to 5 digits.
 *   out  set only on ERR_OK; lives as long as text does
 * ERR_SYNTAX: not a server name.  ERR_RANGE: port 0 or above 65535, or an IPv4 part above 255.
 */
enum err server_name_parse(struct str text, struct server_name *out);

#endif
