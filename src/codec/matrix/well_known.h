/*
 * well_known.h - the documents below /.well-known/matrix/: reading the one of another server,
 * writing our own.
 *
 * Sources: Matrix specification, Server-Server API, "Resolving server names" and
 * GET /.well-known/matrix/server; Client-Server API, "Well-known URIs".
 * Pure: allocates nothing; written JSON is UTF-8 whatever the configuration contained.
 */
#ifndef CODEC_MATRIX_WELL_KNOWN_H
#define CODEC_MATRIX_WELL_KNOWN_H

#include <stddef.h>

#include "base/cursor.h"
#include "base/err.h"
#include "base/str.h"
#include "codec/matrix/server_name.h"

#define WELL_KNOWN_SERVER_PATH  "/.well-known/matrix/server"
#define WELL_KNOWN_CLIENT_PATH  "/.well-known/matrix/client"
#define WELL_KNOWN_SUPPORT_PATH "/.well-known/matrix/support"

/* Largest body that is read: 50 KiB is too large already, as for the other readers there are. */
#define WELL_KNOWN_BODY_MAX 51199

/*
 * Reads m.server, whatever the content type said. Of several m.server members the last counts, as
 * for other readers; nothing but white space may follow the object.
 *   out  the value as written, NUL-terminated; "" unless ERR_OK
 * ERR_TOO_LARGE.  ERR_SYNTAX: not one JSON object, or m.server is no string or no server name.
 * ERR_RANGE: a server name with an impossible port or address.  ERR_NOT_FOUND: no m.server.
 */
enum err well_known_read_server(struct str body, char out[SERVER_NAME_TEXT_MAX + 1]);

/* {"m.server":"<delegate>"} */
void well_known_write_server(struct writer *w, struct str delegate);

/*
 * {"m.homeserver":{"base_url":"<base_url>"}, <members of extra>}
 *   extra  a JSON object, or empty; its m.homeserver, if any, is left out
 * ERR_SYNTAX: extra is not a JSON object. A writer without room reports through itself.
 */
enum err well_known_write_client(struct writer *w, struct str base_url, struct str extra);

struct well_known_contact {
	struct str matrix_id; /* empty: left out */
	struct str email;
	struct str role; /* "m.role.admin", "m.role.security" or another */
};

/* {"contacts":[...],"support_page":"..."}; empty parts are left out. */
void well_known_write_support(struct writer *w, const struct well_known_contact *contacts,
                              size_t count, struct str support_page);

#endif
