/*
 * xmatrix.h - Authorization: X-Matrix, by which homeservers sign their requests.
 *
 * Source: Matrix specification, Server-Server API, "Request Authentication"; RFC 9110 5.6.1, 5.6.2,
 * 5.6.4, 11.4 for the form of the field. The specification's parameter list says "signature", its
 * examples and every implementation say "sig"; so do we.
 *
 * A request is checked in this order: xmatrix_collect its head, look whether it is meant for us
 * (xmatrix_is_for), get the keys that its lines name, xmatrix_open the signed message once and
 * xmatrix_verify each line for which there is a key. What counts as enough is the caller's rule.
 *
 * Nothing in the message says when it was signed: whoever captured it can send it again.
 */
#ifndef CODEC_MATRIX_XMATRIX_H
#define CODEC_MATRIX_XMATRIX_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/cursor.h"
#include "codec/http/head.h"
#include "codec/json/canon.h"
#include "codec/matrix/signing.h"

enum {
	XMATRIX_LINES_MAX = 8, /* Authorization fields of one request; a sender has a key or two */
	XMATRIX_PARAMS_MAX = 32, /* of one field */
};

/* One field, without quotes and backslashes. */
struct xmatrix {
	struct str origin;      /* a valid server name */
	struct str destination; /* empty: not said (before v1.3 of the specification) */
	struct str key;         /* key id as written; see key_id_parse */
	struct str sig;         /* base64 as written */
};

/*
 * Reads one field value in any spelling: scheme and names in any case, blanks around commas and
 * equal signs, values quoted or not; unquoted ones may contain : / = [ ] too, as old senders write
 * them. Unknown parameters are ignored.
 *   arena  takes values that were written with backslashes; all others borrow from value
 * ERR_NOT_FOUND: another scheme. ERR_SYNTAX: not in this form; a known parameter twice or empty;
 * origin, key or sig missing; origin is no server name. ERR_NOMEM.
 */
enum err xmatrix_parse(struct str value, struct arena *arena, struct xmatrix *out);

struct xmatrix_lines {
	struct str     origin; /* the same in all lines */
	struct xmatrix line[XMATRIX_LINES_MAX];
	size_t         count; /* >= 1 */
};

/*
 * All X-Matrix fields of a head, in order; those of other schemes are passed over.
 * ERR_NOT_FOUND: none (answer 401). ERR_SYNTAX (400): one cannot be read, more Authorization fields
 * than XMATRIX_LINES_MAX, or two different origins. ERR_NOMEM.
 */
enum err xmatrix_collect(const struct head *head, struct arena *arena, struct xmatrix_lines *out);

/* Every line says server_name or nothing: otherwise the request must be answered with 401. */
bool xmatrix_is_for(const struct xmatrix_lines *lines, struct str server_name);

/*
 * The field value as we send it: always quoted, in the order origin, destination, key, sig.
 * ERR_SYNTAX: a value holds a byte that occurs in no server name, key id or base64. A writer
 * without room reports through itself.
 */
enum err xmatrix_write(struct writer *w, const struct xmatrix *line);

/* What is signed. */
struct xmatrix_request {
	struct str method; /* as sent, that is in upper case */
	struct str uri;    /* request target as on the wire, in origin-form */
	struct str origin;
	struct str destination; /* the server name it is for, whether or not the line said it */
	struct str content;     /* body; empty: there is none */
};

struct xmatrix_message {
	struct xmatrix_request request;
	struct canon           canon; /* of the body, if there is one */
	struct buf             bytes; /* signed, with numbers as received */
};

/*
 * Builds the bytes that were signed. The parts of request stay in place until xmatrix_close.
 *   bytes_max  of the message; it is never longer than the parts of request with their quotes and
 *              200 bytes, but for the second reading of numbers (canon.h), which is held to it too
 * ERR_SYNTAX: content is not a JSON object, or one with repeated keys; or a part is not UTF-8.
 * ERR_TOO_LARGE: bytes_max. ERR_RANGE, ERR_LIMIT, ERR_NOMEM: see canon.h. After an error nothing is
 * open.
 */
enum err xmatrix_open(struct xmatrix_message *m, const struct xmatrix_request *request,
                      size_t bytes_max);
void     xmatrix_close(struct xmatrix_message *m);

/*
 * Is sig (base64) the signature of the message with key? Numbers are tried as received, then as
 * integers.
 * ERR_SIGNATURE: no. ERR_NOMEM.
 */
enum err xmatrix_verify(const struct xmatrix_message *m, struct str sig,
                        const struct signing_key *key);

/* Our own signature of it, with numbers as received. */
void xmatrix_sign(const struct xmatrix_message *m, const struct signing_pair *pair,
                  struct signing_sig *out);

#endif
