/*
 * http_fuzz.h - what the HTTP targets share.
 *
 * An input is one byte (low three bits: how many sizes follow; the others are the target's own),
 * the sizes of the pieces less one, then what a peer sends. No sizes: all of it at once.
 */
#ifndef FUZZ_HTTP_FUZZ_H
#define FUZZ_HTTP_FUZZ_H

#include "codec/http/chars.h"
#include "codec/http/h1.h"
#include "conform/http/reading.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FUZZ_CUTS_MAX = 7, FUZZ_BYTEWISE_MAX = 2048 };

struct fuzz_input {
	unsigned   bits; /* the upper five of the first byte */
	size_t     size[FUZZ_CUTS_MAX];
	size_t     count;
	struct str bytes;
};

static const size_t      fuzz_whole_size[] = { SIZE_MAX }, fuzz_byte_size[] = { 1 };
static const struct cuts fuzz_whole = { fuzz_whole_size, 1 }, fuzz_by_bytes = { fuzz_byte_size, 1 };

static inline struct fuzz_input fuzz_input_of(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { .bytes = str_span(data, size) };

	if (size == 0)
		return in;
	in.bits = data[0] >> 3;
	in.count = data[0] & 7;
	if (in.count > size - 1)
		in.count = size - 1;
	for (size_t i = 0; i < in.count; i++)
		in.size[i] = data[1 + i] + 1u;
	in.bytes = str_span(data + 1 + in.count, size - 1 - in.count);
	return in;
}

struct fuzz_side {
	enum h1_side     side;
	struct h1_limits limits;
	enum http_method method;
};

static inline void fuzz_compare(const struct fuzz_side *s, struct str bytes,
                                const struct reading *expected, const struct cuts *cuts)
{
	struct reading r;

	reading_init(&r, s->side, &s->limits, s->method, bytes, cuts, false);
	check(reading_same(expected, &r));
	reading_fini(&r);
}

/* The verdict does not depend on how the bytes arrive. */
static inline void fuzz_splits(const struct fuzz_side *s, const struct fuzz_input *in,
                               const struct reading *expected)
{
	const struct cuts cuts = { in->size, in->count };

	if (in->count > 0)
		fuzz_compare(s, in->bytes, expected, &cuts);
	if (in->bytes.len <= FUZZ_BYTEWISE_MAX)
		fuzz_compare(s, in->bytes, expected, &fuzz_by_bytes);
}

static inline bool fuzz_has_only(struct str s, unsigned set)
{
	return chars_all(s, set) && str_find(s, '\0') == s.len && str_find(s, '\n') == s.len &&
		str_find(s, '\r') == s.len;
}

/* What every accepted head promises, whichever rules let it through. */
static inline void fuzz_check_head(const struct reading *r, const struct h1_limits *limits)
{
	const struct head *h = &r->head;
	unsigned           lengths = 0, codings = 0;

	check(h->field_count <= limits->fields_max && h->minor <= 1);
	for (size_t i = 0; i < h->field_count; i++) {
		const struct field *f = &h->fields[i];

		check(fuzz_has_only(f->name, CHARS_TOKEN) && f->name.len > 0);
		check(fuzz_has_only(f->value, CHARS_VALUE));
		check(str_find(f->name, '_') == f->name.len);
		check(str_eq(f->value, str_trim(f->value)));
		check(f->id == head_field_id(f->name));
		lengths += f->id == FIELD_CONTENT_LENGTH;
		codings += f->id == FIELD_TRANSFER_ENCODING;
	}
	if (h->body == BODY_LENGTH)
		check(lengths == 1 && codings == 0 && r->body_len <= h->content_length);
	if (h->body == BODY_CHUNKED)
		check(lengths == 0 && codings == 1 && h->minor == 1);
	if (h->body == BODY_NONE)
		check(r->body_len == 0);
	if (r->verdict == ERR_OK && h->body == BODY_LENGTH)
		check(r->body_len == h->content_length);
}

/* Room for any head once more with ": " in every line, and limits that let it pass. */
enum { FUZZ_HEAD_SIZE = 65000 };
static const struct h1_limits fuzz_wide = { 64000, 64000, 65000, H1_FIELDS_MAX };

static inline void fuzz_write_fields(struct writer *w, const struct head *h)
{
	for (size_t i = 0; i < h->field_count; i++)
		h1_write_field(w, h->fields[i].name, h->fields[i].value);
	write_text(w, H1_CRLF);
	check(!w->failed);
}

/* The head that stands in w reads as h does. */
static inline void fuzz_read_again(const struct fuzz_side *s, const struct writer *w,
                                   const struct head *h)
{
	struct reading r;

	reading_init(&r, s->side, &fuzz_wide, s->method, writer_done(w), &fuzz_whole, false);
	check(r.has_head && reading_same_head(h, &r.head));
	reading_fini(&r);
}

#endif
