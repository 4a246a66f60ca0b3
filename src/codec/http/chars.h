/*
 * chars.h - the byte classes of HTTP, in one table.
 *
 * Source: RFC 9110 5.5 and 5.6.2, RFC 3986 2 and 3. No locale, and nothing but SP and HTAB is a blank.
 */
#ifndef CODEC_HTTP_CHARS_H
#define CODEC_HTTP_CHARS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

enum chars_set {
	CHARS_TOKEN = 0x01,  /* tchar */
	CHARS_TARGET = 0x02, /* 0x21-0x7E without '#': what a request target may hold */
	CHARS_HOST = 0x04,   /* unreserved and sub-delims: reg-name without its escapes */
	CHARS_HEX = 0x08,    /* HEXDIG, both cases */
	CHARS_ALPHA = 0x10,
	CHARS_SCHEME = 0x20, /* ALPHA, DIGIT, "+-." */
	CHARS_TEXT = 0x40,   /* VCHAR, SP, HTAB */
	CHARS_VALUE = 0x80,  /* CHARS_TEXT and obs-text 0x80-0xFF: field values, reasons */
};

extern const uint8_t chars_class[256];

/* Is c in one of the sets (values of enum chars_set or'ed)? */
static inline bool chars_is(char c, unsigned set)
{
	return (chars_class[(unsigned char)c] & set) != 0;
}

/* Every byte is; true for the empty string. */
bool chars_all(struct str s, unsigned set);

static inline bool chars_is_token(struct str s)
{
	return s.len > 0 && chars_all(s, CHARS_TOKEN);
}

#endif
