/*
 * cursor.h - bounded reader and bounded writer with sticky failure.
 *
 * Bytes from peers are read and written only through these: a writer that ran out of room writes
 * nothing more and remembers, so a caller may finish its sequence and look once.
 */
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/str.h"

struct writer {
	char *begin, *at, *end; /* begin <= at <= end, always */
	bool  failed;           /* something did not fit; never resets */
};

static inline struct writer writer_over(void *p, size_t n)
{
	return (struct writer){ p, p, (char *)p + n, false };
}

void write_bytes(struct writer *w, const void *p, size_t n);
void write_text(struct writer *w, const char *c);
void write_char(struct writer *w, char c);

static inline void write_str(struct writer *w, struct str s)
{
	write_bytes(w, s.ptr, s.len);
}

void write_be(struct writer *w, uint64_t v, unsigned bytes); /* the lowest ones, network order */
void write_u64(struct writer *w, uint64_t v);                /* shortest decimal */
void write_hex(struct writer *w, uint64_t v);                /* shortest lower-case hexadecimal */
void write_json_string(struct writer *w,
                       struct str     s); /* quoted; control bytes and invalid UTF-8 escaped */

static inline size_t writer_room(const struct writer *w)
{
	return w->failed ? 0 : (size_t)(w->end - w->at);
}

static inline struct str writer_done(const struct writer *w)
{
	return str_span(w->begin, (size_t)(w->at - w->begin));
}

struct reader {
	const uint8_t *at, *end;
	bool           failed;
};

static inline struct reader reader_over(struct str s)
{
	return (struct reader){ (const uint8_t *)s.ptr, (const uint8_t *)s.ptr + s.len, false };
}

struct str read_bytes(struct reader *r, size_t n); /* empty after failure, or when there are less */

uint8_t  read_u8(struct reader *r);  /* 0 after failure */
uint16_t read_u16(struct reader *r); /* network order */
uint32_t read_u32(struct reader *r);
uint64_t read_u64(struct reader *r);

#endif
