/*
 * ids.h - identifiers of users, rooms, aliases, events and media, as far as a proxy must see.
 *
 * Source: Matrix specification, Appendices, "Common Identifier Format" and the sections behind it;
 * Client-Server API, "Matrix Content (mxc://) URIs". Generous with the local part, which
 * homeservers judge by room version: any bytes but NUL and colon. Strict with the server name.
 * Pure; borrows from the caller's text, which is already percent-decoded.
 */
#ifndef CODEC_MATRIX_IDS_H
#define CODEC_MATRIX_IDS_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

enum { IDS_BYTES_MAX = 255 }; /* of an identifier, sigil and server name included */

enum ids_kind {
	IDS_USER,  /* @local:server */
	IDS_ALIAS, /* #local:server */
	IDS_ROOM,  /* !opaque:server, from room version 12 !opaque */
	IDS_EVENT, /* $opaque:server in room versions 1 and 2, then $opaque */
};

struct ids {
	struct str local;  /* without sigil; for users it may be empty (historical) */
	struct str server; /* a valid server name; empty if there is none */
};

/* ERR_SYNTAX: not an identifier of this kind. ERR_RANGE: see server_name_parse. */
enum err ids_parse(enum ids_kind kind, struct str text, struct ids *out);

/*
 * mxc://server/media_id. The media id becomes part of a path, so it is held to the characters the
 * specification tells servers to generate: letters, digits, - and _, at most 255.
 * ERR_SYNTAX, ERR_RANGE as above.
 */
enum err ids_parse_mxc(struct str text, struct str *server, struct str *media_id);

bool ids_is_media_id(struct str text);

#endif
