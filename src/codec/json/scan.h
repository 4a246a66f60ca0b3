/*
 * scan.h - strict JSON, read from the bytes as they came.
 *
 * Sources: RFC 8259 (grammar), RFC 3629 (UTF-8); Matrix specification, Appendices, "Canonical
 * JSON" for what an integer is.
 * Everything a peer sends passes here first. Stricter than RFC 8259 where readers are known to
 * differ: the text must be well-formed UTF-8 without byte-order mark, an escaped surrogate must
 * have its partner, and nothing but white space may follow the one value. Numbers stay text.
 * Repeated keys are not looked for here: that is the business of json_find (for the members it is
 * asked for) and of canon.h (for all of them).
 *
 * Pure: no allocation, no recursion; a scanner is a fixed-size value of some 200 bytes.
 *
 * The normal case, a body that arrives in pieces:
 *
 *	json_scan_init(&s, NULL, hold, sizeof(hold));
 *	on each piece:	while (json_scan_next(&s, &piece, false, &t) == ERR_OK && t.kind != JSON_NONE)
 *				look_at(&t);
 *	at its end:	json_scan_next(&s, &nothing, true, &t), likewise, until t.kind is JSON_END
 *
 * A document that lies in memory as a whole needs no hold and is one piece with last = true; most
 * callers then want json_items_* or json_find instead.
 */
#ifndef CODEC_JSON_SCAN_H
#define CODEC_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/cursor.h"
#include "base/err.h"
#include "base/str.h"

enum { JSON_DEPTH_MAX = 256 }; /* containers open at once, at most */

struct json_limits {
	size_t   bytes_max;  /* of the whole text, white space included */
	size_t   tokens_max; /* of everything json_scan_next reports */
	size_t   text_max;   /* bytes of one key, string or number as written */
	unsigned depth_max;  /* <= JSON_DEPTH_MAX */
};

/* What NULL stands for below: 16 MiB, a million tokens, any text, depth 256. */
extern const struct json_limits json_limits_default;

enum json_kind {
	JSON_NONE, /* no token: feed the next piece. Of a member: it is absent */
	JSON_OBJECT,
	JSON_OBJECT_END,
	JSON_ARRAY,
	JSON_ARRAY_END,
	JSON_KEY,
	JSON_STRING,
	JSON_NUMBER,
	JSON_TRUE,
	JSON_FALSE,
	JSON_NULL,
	JSON_END, /* the value and the text are complete */
};

struct json_token {
	enum json_kind kind;
	unsigned       depth;   /* containers around it; the same for the two ends of a container */
	size_t         at, end; /* offsets in the whole text, quotes included */
	bool           escaped; /* key or string: a backslash occurs in it */
	bool           cut;     /* it straddled pieces and did not fit into hold; text is empty */
	/*
	 * Key, string: what stands between the quotes, escapes as written. Number: its digits.
	 * Otherwise empty. Borrowed from the piece or from hold, until the next call.
	 */
	struct str text;
};

/* Treat as opaque; a value so that it can be embedded and copied. */
struct json_scan {
	struct json_limits limits;
	char              *hold;
	size_t             hold_size, hold_len;
	size_t             at;       /* bytes consumed */
	size_t             token_at; /* where the token in progress began */
	size_t             tokens;
	size_t             blanks; /* bytes of white space seen between tokens */
	unsigned           depth;
	unsigned           state;   /* enum of scan.c */
	enum json_kind     pending; /* kind of the text or literal in progress */
	uint32_t           code;    /* \u being read */
	uint32_t           high;    /* leading surrogate that waits for its partner, or 0 */
	uint8_t            count; /* hex digits, UTF-8 continuations or literal bytes: see scan.c */
	uint8_t            low, top; /* range of the next UTF-8 continuation */
	bool               escaped, cut;
	enum err           err;                      /* sticky */
	uint8_t            nest[JSON_DEPTH_MAX / 8]; /* bit per open container; set: object */
};

/*
 *   limits     copied; NULL: json_limits_default
 *   hold       room for a key, string or number that straddles two pieces; NULL and 0 when the text
 *              comes in one piece or such tokens do not matter
 */
void json_scan_init(struct json_scan *s, const struct json_limits *limits, void *hold,
                    size_t hold_size);

/*
 * Consumes bytes of *piece up to the end of the next token, which it reports in *t.
 *   last       nothing will follow this piece
 * ERR_SYNTAX: not JSON as defined above, or it ends too early. ERR_RANGE: too deep, too many tokens
 * or a text too long. ERR_TOO_LARGE: bytes_max. Errors repeat on every later call.
 */
enum err json_scan_next(struct json_scan *s, struct str *piece, bool last, struct json_token *t);

/* Is the whole of doc one JSON text? Errors as above. */
enum err json_check(struct str doc, const struct json_limits *limits);

/* ---- documents in memory: the members of one object, the elements of one array ---- */

struct json_item {
	struct str key; /* as written, see json_text_eq; empty in an array */
	enum json_kind
		kind; /* OBJECT, ARRAY, STRING, NUMBER, TRUE, FALSE, NULL; END after the last */
	/* String: between the quotes, as written. Otherwise the whole value: itself a document. */
	struct str value;
};

struct json_items {
	struct json_scan scan;
	struct str       doc, rest;
};

/*
 * Begins to list doc, an object or array. It is checked to its end only if listed to its end.
 *   kind   which of the two it is
 * ERR_SYNTAX also when doc is some other value.
 */
enum err json_items_begin(struct json_items *it, struct str doc, const struct json_limits *limits,
                          enum json_kind *kind);

/* The next item. Values borrow from doc. Errors as json_scan_next. */
enum err json_items_next(struct json_items *it, struct json_item *out);

enum json_repeat {
	JSON_LAST_WINS,     /* as most readers do; for m.server */
	JSON_REFUSE_REPEAT, /* a wanted member that occurs twice is ERR_SYNTAX; for what is signed */
};

struct json_member {
	struct str     key;   /* in: plain UTF-8 */
	enum json_kind kind;  /* out: JSON_NONE when absent, else as in json_item */
	struct str     value; /* out: as in json_item */
};

/*
 * Finds members of the object doc, all of which is checked. Values borrow from doc.
 * ERR_SYNTAX: not JSON, not an object, or a repeat refused. Absence is no error. Limits: default.
 */
enum err json_find(struct str doc, enum json_repeat repeat, struct json_member *members,
                   size_t count);

/*
 * One string member of the object doc, unescaped into the arena (a NUL follows; the text may
 * contain more of them). The last one wins.
 * ERR_NOT_FOUND: absent. ERR_SYNTAX: not JSON, not an object, or not a string. ERR_NOMEM.
 */
enum err json_find_string(struct str doc, struct str key, struct arena *arena, struct str *out);

/* ---- texts: what stands between the quotes of a scanned key or string ---- */

/* Writes the meaning of text, never longer than text itself. */
void json_unescape(struct str text, struct writer *w);

/* Ditto into an arena, with a NUL behind. ERR_NOMEM. */
enum err json_unescape_copy(struct str text, struct arena *arena, struct str *out);

/* Does text mean plain? */
bool json_text_eq(struct str text, struct str plain);

/* Order of two texts by meaning: code points, that is unsigned bytes of UTF-8. As memcmp. */
int json_text_cmp(struct str a, struct str b);

/*
 * One step through a scanned text: the bytes one character or escape stands for.
 *   text   advanced behind it
 *   bytes  at least 4; receives UTF-8
 * Returns how many bytes it means; 0 at the end.
 */
size_t json_text_next(struct str *text, char *bytes);

/* ERR_RANGE: number is no integer as written (1.0, 1e3) or outside +-(2^53 - 1). */
enum err json_to_integer(struct str number, int64_t *out);

#endif
