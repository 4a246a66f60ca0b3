/*
 * location.h - where a redirect leads: a Location value read against the URL that was asked.
 *
 * Source: RFC 9110 10.2.2, RFC 3986 4.2 (relative references) and 5.2 (resolution). Only https
 * URLs with a host that is a Matrix server name are understood, because nothing else is followed.
 * Pure: allocates nothing.
 */
#ifndef CODEC_HTTP_LOCATION_H
#define CODEC_HTTP_LOCATION_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "codec/matrix/server_name.h"

enum { LOCATION_PATH_MAX = 512 };

struct location {
	char host[SERVER_NAME_HOST_MAX + 1]; /* lower case (RFC 3986 6.2.2.1), no brackets */
	enum host_kind kind;
	uint16_t       port;                        /* 443 unless the URL says otherwise */
	char           path[LOCATION_PATH_MAX + 1]; /* path and query, begins with '/' */
};

/*
 * Moves at to where value leads. The fragment is dropped, dot segments are removed from the path.
 *   why  static text on error
 * ERR_SYNTAX: empty, not a URI reference, no host, a user part, a host that is no server name.
 * ERR_UNSUPPORTED: another scheme than https.  ERR_RANGE: impossible port or too long a path.
 * On error at is unchanged.
 */
enum err location_follow(struct location *at, struct str value, const char **why);

#endif
