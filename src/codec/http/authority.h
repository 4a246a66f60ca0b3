/*
 * authority.h - "host" and "host:port" as HTTP writes them, as text.
 *
 * Source: RFC 3986 3.2.2, RFC 9110 7.2; narrower than those: the host is never empty, a port is 1 to
 * 5 digits of value 1..65535, a literal in brackets is IPv6 without zone, and there is no user part.
 * Wider than Matrix server names (see codec/matrix/server_name.h): any registered name will do.
 */
#ifndef CODEC_HTTP_AUTHORITY_H
#define CODEC_HTTP_AUTHORITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/*
 * uri-host [ ":" port ]
 *   host  without brackets; a slice of text
 *   port  0 when the text names none
 * False: not that, nothing is set.
 */
bool authority_split(struct str text, struct str *host, uint16_t *port);

/*
 * The target of CONNECT: the port must be there, and IPv6 may come without brackets
 * ("2001:db8::1:8448" as Twisted writes it): what follows the last colon is the port.
 */
bool authority_split_connect(struct str text, struct str *host, uint16_t *port);

#endif
