/*
 * reading.h - one HTTP message read from bytes that arrive in given pieces, for tests.
 *
 * Every piece is offered in a heap block of exactly its size, so that the address sanitizer sees
 * a reader that looks one byte too far.
 */
#ifndef CONFORM_HTTP_READING_H
#define CONFORM_HTTP_READING_H

#include <stdlib.h>
#include <string.h>

#include "codec/http/h1.h"

struct reading {
	enum err     verdict; /* ERR_OK: a whole message; ERR_BUSY: more is needed; ERR_SYNTAX */
	int          status;  /* ERR_SYNTAX: as h1_fault */
	const char  *slug;
	char        *head_bytes; /* what the slices of head point into */
	struct field fields[H1_FIELDS_MAX];
	bool         has_head; /* the head was good, whatever the verdict on the body is */
	struct head  head;
	char        *body;
	size_t       body_len;
	size_t       used; /* bytes of the message that were read */
};

/* Sizes of the pieces; the last one repeats. {1}: byte by byte; {SIZE_MAX}: whole. */
struct cuts {
	const size_t *size;
	size_t        count;
};

static inline size_t cuts_size(const struct cuts *c, size_t i)
{
	return c->size[i < c->count ? i : c->count - 1];
}

static inline char *reading_copy(struct str s)
{
	char *copy = malloc(s.len > 0 ? s.len : 1);

	if (copy == NULL)
		abort();
	if (s.len > 0)
		memcpy(copy, s.ptr, s.len);
	return copy;
}

static inline void reading_refuse(struct reading *r, int status, const char *slug)
{
	r->verdict = ERR_SYNTAX;
	r->status = status;
	r->slug = slug;
}

/* Feeds the head; *at is how far pieces have been offered, *piece the number of the next one. */
static inline enum err reading_feed_head(struct h1_head_parser *p, struct str bytes,
                                         const struct cuts *cuts, size_t *at, size_t *piece)
{
	enum err e;

	do {
		size_t n = cuts_size(cuts, (*piece)++);
		char  *block;

		*at += n < bytes.len - *at ? n : bytes.len - *at;
		block = reading_copy(str_head(bytes, *at));
		e = h1_head_feed(p, str_span(block, *at));
		free(block);
	} while (e == ERR_BUSY && *at < bytes.len);
	return e;
}

/* Feeds one piece of the body as a caller would: until the piece is used up or the body ends. */
static inline enum err reading_feed_piece(struct reading *r, struct h1_body *b, struct str piece)
{
	char    *block = reading_copy(piece);
	size_t   at = 0;
	enum err e = ERR_OK;

	while (e == ERR_OK && at < piece.len && !h1_body_done(b)) {
		size_t     used;
		struct str data;

		e = h1_body_feed(b, str_span(block + at, piece.len - at), &used, &data);
		check(used <= piece.len - at && data.len <= used && (e != ERR_OK || used > 0));
		if (data.len > 0)
			memcpy(r->body + r->body_len, data.ptr, data.len);
		r->body_len += data.len;
		at += used;
	}
	free(block);
	r->used += at;
	return e;
}

/*
 * The body: what stands behind the head, up to where pieces were offered, comes as one piece
 * first; then the others.  end: the connection ends behind bytes.
 */
static inline void reading_body(struct reading *r, struct str bytes, size_t at,
                                const struct cuts *cuts, size_t piece, bool end)
{
	struct h1_body b;
	enum err       e;

	h1_body_init(&b, &r->head);
	r->body = reading_copy(bytes); /* never longer than what came */
	e = reading_feed_piece(r, &b, str_from(str_head(bytes, at), r->used));
	while (e == ERR_OK && !h1_body_done(&b) && at < bytes.len) {
		size_t n = cuts_size(cuts, piece++);

		n = n < bytes.len - at ? n : bytes.len - at;
		e = reading_feed_piece(r, &b, str_span(bytes.ptr + at, n));
		at += n;
	}
	check(b.seen == r->body_len);
	if (e != ERR_OK)
		reading_refuse(r, r->head.status != 0 ? 502 : 400, b.fault);
	else if (h1_body_done(&b) || (end && h1_body_end(&b) == ERR_OK))
		r->verdict = ERR_OK;
	else
		r->verdict = ERR_BUSY;
}

static inline void reading_init(struct reading *r, enum h1_side side,
                                const struct h1_limits *limits, enum http_method method,
                                struct str bytes, const struct cuts *cuts, bool end)
{
	struct h1_head_parser p;
	size_t                at = 0, piece = 0;

	memset(r, 0, sizeof(*r));
	h1_head_init(&p, side, limits);
	r->verdict = reading_feed_head(&p, bytes, cuts, &at, &piece);
	if (r->verdict == ERR_OK) {
		check(p.length > 0 && p.length <= at && p.slot_count <= limits->fields_max);
		r->head_bytes = reading_copy(str_head(bytes, p.length));
		r->verdict = h1_head_view(&p, str_span(r->head_bytes, p.length), method, r->fields,
		                          &r->head);
	}
	if (r->verdict == ERR_SYNTAX)
		reading_refuse(r, p.fault.status, p.fault.slug);
	if (r->verdict != ERR_OK)
		return;
	r->has_head = true;
	r->used = p.length;
	reading_body(r, bytes, at, cuts, piece, end);
}

static inline void reading_fini(struct reading *r)
{
	free(r->head_bytes);
	free(r->body);
}

static inline bool reading_same_head(const struct head *a, const struct head *b)
{
	bool same = a->method == b->method && str_eq(a->method_text, b->method_text) &&
		str_eq(a->target, b->target) && str_eq(a->authority, b->authority) &&
		str_eq(a->scheme, b->scheme) && str_eq(a->path, b->path) &&
		str_eq(a->host, b->host) && a->expect_continue == b->expect_continue &&
		a->status == b->status && str_eq(a->reason, b->reason) && a->minor == b->minor &&
		a->keep_alive == b->keep_alive && a->body == b->body &&
		a->content_length == b->content_length && a->has_length == b->has_length &&
		a->field_count == b->field_count;

	for (size_t i = 0; same && i < a->field_count; i++)
		same = a->fields[i].id == b->fields[i].id &&
			str_eq(a->fields[i].name, b->fields[i].name) &&
			str_eq(a->fields[i].value, b->fields[i].value);
	return same;
}

/* The same verdict, and where a head was good the same head, body and length. */
static inline bool reading_same(const struct reading *a, const struct reading *b)
{
	bool same = a->verdict == b->verdict && a->status == b->status &&
		a->has_head == b->has_head && a->used == b->used;

	if (!same || (a->slug != b->slug && strcmp(a->slug, b->slug) != 0))
		return false;
	return !a->has_head ||
		(reading_same_head(&a->head, &b->head) &&
	         str_eq(str_span(a->body, a->body_len), str_span(b->body, b->body_len)));
}

#endif
