/*
 * signed_json.h - signatures inside JSON objects: {..., "signatures": {server: {key_id: sig}}}.
 *
 * Source: Matrix specification, Appendices, "Signing JSON" and "Checking for a Signature". What is
 * signed is the canonical form of the object without its members signatures and unsigned.
 *
 * Memory while running: a copy of doc, and what canon.h says. Give documents of bounded size.
 */
#ifndef CODEC_MATRIX_SIGNED_JSON_H
#define CODEC_MATRIX_SIGNED_JSON_H

#include "base/arena.h"
#include "codec/json/scan.h"
#include "codec/matrix/signing.h"

/*
 * Does doc carry a good signature by server with the key of that id?
 *   server, key_id  plain text, compared byte for byte
 * ERR_NOT_FOUND: no such signature. ERR_SIGNATURE: there is one, and it is wrong or unreadable.
 * ERR_SYNTAX: not a JSON object, or with repeated keys. ERR_RANGE, ERR_TOO_LARGE, ERR_LIMIT,
 * ERR_NOMEM: see canon.h.
 */
enum err signed_json_verify(struct str doc, struct str server, struct str key_id,
                            const struct signing_key *key);

/*
 * The signature as text.
 *   out  set only on ERR_OK, allocated in arena
 * ERR_NOT_FOUND, ERR_SYNTAX, ERR_NOMEM as above.
 */
enum err signed_json_find(struct str doc, struct str server, struct str key_id, struct arena *arena,
                          struct str *out);

/* What a member "signatures" would say of doc. Errors as signed_json_verify. */
enum err signed_json_sign(struct str doc, const struct signing_pair *pair, struct signing_sig *out);

#endif
