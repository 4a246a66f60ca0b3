/*
 * canon.h - canonical JSON, the bytes that Matrix signs.
 *
 * Source: Matrix specification, Appendices, "Canonical JSON": no white space, members sorted by the
 * code points of their keys, shortest escapes, everything else raw UTF-8. A repeated key has no
 * canonical form and is refused at any depth.
 *
 * Works on spans of the document, without a tree: canon_open checks it with scan.h and notes the
 * objects whose members are out of order, canon_emit walks it once more and writes. What is in
 * order already passes through in runs as long as possible, a wholly canonical document in one.
 *
 * Numbers have no canonical form in practice when they are not integers: senders print 1e10 in
 * different ways and sign that. So the number text as received is the first reading to try and the
 * integer it equals (canon_numbers) the second. Integers of any size go out digit for digit.
 *
 * Memory while open: 4 bytes per member of the objects that are open at one point of the document,
 * and for each object out of order 16 bytes and 4 per member: nothing but the first for documents
 * from most senders, twice the document for the worst. Blocks grow by doubling, up to index_max in
 * sum. Time is O(n log n) for any input. Some 10 KiB of stack; no recursion.
 */
#ifndef CODEC_JSON_CANON_H
#define CODEC_JSON_CANON_H

#include "base/buf.h"
#include "codec/json/scan.h"

enum canon_numbers {
	CANON_AS_RECEIVED, /* -0, 1e10, 1.50 as they stand */
	CANON_INTEGERS,    /* 0, 10000000000, and 1.50 is ERR_RANGE */
};

struct canon_options {
	const struct json_limits *limits;    /* NULL: json_limits_default */
	size_t                    index_max; /* bytes of heap; 0: CANON_INDEX_MAX */
	bool for_signature; /* leave out the top-level members signatures, unsigned */
};

#define CANON_INDEX_MAX ((size_t)4 << 20)

/* A growing list of offsets or other words; private. */
struct canon_words {
	uint32_t *at;
	size_t    count, size;
};

struct canon {
	struct str         doc;
	enum json_kind     kind;        /* of the value: JSON_OBJECT, JSON_STRING, ... */
	bool               odd_numbers; /* at least one number differs between the two readings */
	bool               in_form;     /* order, white space and escapes are canonical already */
	struct canon_words objects;     /* private: objects to reorder, sorted by offset */
	struct canon_words members;     /* private: their keys' offsets, sorted by key */
};

/*
 * Checks doc, which must stay in place until canon_close, and prepares to emit it.
 *   options    NULL: all defaults
 * ERR_SYNTAX: not JSON, or a repeated key. ERR_RANGE, ERR_TOO_LARGE: see scan.h. ERR_LIMIT: more
 * than index_max would be needed. ERR_NOMEM. After an error nothing is open.
 */
enum err canon_open(struct canon *c, struct str doc, const struct canon_options *options);
void     canon_close(struct canon *c);

/* Takes the next bytes of the result; what it returns other than ERR_OK ends canon_emit. */
typedef enum err canon_sink_fn(void *arg, struct str piece);

/*
 * Writes the canonical form, in pieces of any size. May be called more than once.
 * ERR_RANGE: CANON_INTEGERS and a number is no integer, or one written with point or exponent is
 * outside +-(2^53 - 1). Otherwise the sink's error.
 */
enum err canon_emit(const struct canon *c, enum canon_numbers numbers, canon_sink_fn *sink,
                    void *arg);

/* Ditto, appended to out. As received, the result is never longer than doc. */
enum err canon_emit_buf(const struct canon *c, enum canon_numbers numbers, struct buf *out);

/* canon_open, canon_emit_buf and canon_close in one. */
enum err canon_write(struct str doc, const struct canon_options *options,
                     enum canon_numbers numbers, struct buf *out);

/*
 * Appends plain as a canonical string, quotes included; control characters may occur.
 * ERR_SYNTAX: not UTF-8 (out then holds part of it). ERR_LIMIT, ERR_NOMEM: see buf.h.
 */
enum err canon_add_text(struct buf *out, struct str plain);

/*
 * Is doc, byte for byte, strictly canonical JSON, numbers included (integers within +-(2^53 - 1))?
 * ERR_SYNTAX: no. ERR_RANGE: a number outside, or as in scan.h.  Memory as canon_open.
 */
enum err canon_check(struct str doc, const struct json_limits *limits);

#endif
