/*
 * key_id.h - names of signing keys, such as ed25519:a_RXGa.
 *
 * Source: Matrix specification, Server-Server API, "Publishing Keys", and Appendices, "Signing
 * Details": an algorithm, a colon, a version of letters, digits and underscore.
 * Pure; borrows from the caller's text.
 */
#ifndef CODEC_MATRIX_KEY_ID_H
#define CODEC_MATRIX_KEY_ID_H

#include "base/err.h"
#include "base/str.h"

enum {
	KEY_ID_VERSION_MAX = 64,                  /* characters of version; the limit is ours */
	KEY_ID_TEXT_MAX = 8 + KEY_ID_VERSION_MAX, /* and "ed25519:" */
};

struct key_id {
	struct str text;    /* all of it */
	struct str version; /* behind the colon */
};

/*
 * ERR_UNSUPPORTED: well-formed, but of an algorithm other than ed25519; such signatures are
 * ignored, as if they were not there. ERR_SYNTAX: anything else.
 */
enum err key_id_parse(struct str text, struct key_id *out);

#endif
