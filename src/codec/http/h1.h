/*
 * h1.h - HTTP/1.1 on the wire: a strict, incremental, bounded reader and the writer's pieces.
 *
 * Source: RFC 9112 (messages, framing), RFC 9110 (fields, hop-by-hop). Where the RFCs let a
 * recipient be lenient, we refuse: everything that could be read in two ways is one half of a
 * request smuggling attack.  Pure: no I/O, no clock, no allocation.
 *
 * Reading a head: the caller keeps the unread bytes contiguous and offers them from the start
 * each time more have arrived; h1_head_feed() remembers how far it looked and validates line by
 * line, so a bad line is refused as soon as it is complete (a bare LF or a control byte at once).
 * The verdict never depends on how the bytes were split. When it says ERR_OK the first
 * p->length bytes are the head; h1_head_view() then turns them (at their present address, or
 * a copy's) into a struct head.
 */
#ifndef CODEC_HTTP_H1_H
#define CODEC_HTTP_H1_H

#include "base/cursor.h"
#include "codec/http/head.h"

enum { H1_FIELDS_MAX = 100 };

struct h1_limits {
	size_t line_max;   /* request or status line, without CRLF */
	size_t field_max;  /* one field line */
	size_t head_max;   /* the whole head with its final empty line; at most 65000 */
	size_t fields_max; /* at most H1_FIELDS_MAX */
};

enum h1_side { H1_REQUEST, H1_RESPONSE };

/* What is wrong with a message: the status to answer a request with, and a slug for the log. */
struct h1_fault {
	int         status; /* 400, 405, 414, 417, 431, 501, 505 ... ; responses: 502 */
	const char *slug;   /* static text such as "bare-lf", "two-lengths" */
};

struct h1_slot { /* one parsed field line, as offsets from the start of the head */
	uint16_t name_at, name_len, value_at, value_len;
};

struct h1_head_parser {
	enum h1_side     side;
	struct h1_limits limits;
	size_t           at;          /* bytes looked at so far */
	size_t           line_at;     /* start of the line being read */
	size_t           length;      /* ERR_OK: bytes of the head */
	unsigned         empty_lines; /* skipped before a request line (at most 1, RFC 9112 2.2) */
	bool             have_first;  /* request or status line has been read */
	uint16_t         first_at, first_len;
	uint16_t         method_len, target_len; /* requests: parts of the first line */
	size_t           slot_count;
	struct h1_slot   slots[H1_FIELDS_MAX];
	struct h1_fault  fault; /* set with ERR_SYNTAX */
};

void h1_head_init(struct h1_head_parser *p, enum h1_side side, const struct h1_limits *limits);

/*
 * bytes  everything unread so far, from the first byte of the message
 * ERR_OK: complete, p->length bytes.  ERR_BUSY: more bytes are needed.
 * ERR_SYNTAX: refuse and close, p->fault says how. The verdict is final.
 */
enum err h1_head_feed(struct h1_head_parser *p, struct str bytes);

/*
 * The finished head as values: slices of `bytes` (p->length bytes, same content as fed).
 *   fields    room for at least p->slot_count entries; out->fields points there. Fields whose
 *             name contains an underscore are left out.
 *   method    responses: the method of the request being answered (HEAD and CONNECT have no body);
 *             requests: ignored
 * Checks what concerns the head as a whole:
 *   Host        one, well-formed, equal to the authority of an absolute target. CONNECT and the
 *               scheme matrix-federation name their goal in the target: there Host may say
 *               anything, and be absent in HTTP/1.0.
 *   framing     RFC 9112 6.3 without its leniency. Responses to HEAD, 1xx, 204, 304 and 2xx to
 *               CONNECT are BODY_NONE whatever their fields say.
 *   Connection  tokens only; a request may not name Host, Content-Length, Content-Type,
 *               Authorization or X-Forwarded-* in it.
 *   Expect      100-continue or nothing.
 * ERR_SYNTAX: p->fault.
 */
enum err h1_head_view(struct h1_head_parser *p, struct str bytes, enum http_method method,
                      struct field *fields, struct head *out);

/* Body decoder: turns wire bytes into body bytes. */
enum h1_body_state {
	H1_BODY_LENGTH,
	H1_BODY_TO_CLOSE,
	H1_BODY_CHUNK_SIZE,
	H1_BODY_CHUNK_EXT,
	H1_BODY_CHUNK_SIZE_LF,
	H1_BODY_CHUNK_DATA,
	H1_BODY_CHUNK_CR,
	H1_BODY_CHUNK_LF,
	H1_BODY_TRAILER,
	H1_BODY_DONE,
};

struct h1_body {
	enum h1_body_state state;
	uint64_t           left;        /* of the length or of the current chunk */
	uint64_t           seen;        /* body bytes delivered so far */
	unsigned           digits;      /* of the chunk size being read */
	unsigned           line_bytes;  /* extension bytes on this line */
	unsigned           total_bytes; /* extension and trailer bytes in this message */
	unsigned           flags;       /* private to h1_body.c */
	const char        *fault;       /* slug, set with ERR_SYNTAX */
};

void h1_body_init(struct h1_body *b, const struct head *h);

/*
 * Looks at in, reports the next run of body bytes.
 *   *used  wire bytes to take off in before the next call (includes those of *data)
 *   *data  body bytes, a slice of in; may be empty while framing was read
 * ERR_OK: go on (call again while bytes are left and the state is not H1_BODY_DONE).
 * ERR_SYNTAX: broken framing, b->fault.
 */
enum err h1_body_feed(struct h1_body *b, struct str in, size_t *used, struct str *data);

static inline bool h1_body_done(const struct h1_body *b)
{
	return b->state == H1_BODY_DONE;
}

/* The connection ended: ERR_OK only if the body is complete (or was to end so), else ERR_TRUNCATED. */
enum err h1_body_end(struct h1_body *b);

#define H1_CRLF "\r\n"

/* Writing. Nothing here checks syntax: values come from parsed heads or from us. */
void h1_write_request_line(struct writer *w, struct str method, struct str target);
void h1_write_status_line(struct writer *w, int status, struct str reason);
void h1_write_field(struct writer *w, struct str name, struct str value);
void h1_write_length(struct writer *w, uint64_t content_length);
void h1_write_chunk_head(struct writer *w, size_t n); /* "N CRLF"; data and H1_CRLF follow */
enum { H1_CHUNK_OVERHEAD = 20 };                      /* head and end of one chunk, at most */
#define H1_LAST_CHUNK "0\r\n\r\n"

#endif
