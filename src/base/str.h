/*
 * str.h - borrowed slices of bytes: a pointer and a length, never NUL-terminated.
 *
 * A slice owns nothing and lives as long as what it points into. Case folding is ASCII only and
 * never consults the locale.
 */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
	const char *ptr;
	size_t      len;
};

/* From a string literal (may contain NUL), usable in initialisers; from a C string. */
/* clang-format off */
#define STR(lit)  { (lit), sizeof(lit) - 1 }
/* clang-format on */
#define STRL(lit) ((struct str){ (lit), sizeof(lit) - 1 })

static inline struct str str_of(const char *c)
{
	return (struct str){ c, strlen(c) };
}

static inline struct str str_span(const void *p, size_t n)
{
	return (struct str){ p, n };
}

bool str_eq(struct str a, struct str b);
bool str_is(struct str a, const char *c);

/* text[from..], empty when from is past the end. */
static inline struct str str_from(struct str s, size_t from)
{
	return from >= s.len ? (struct str){ s.ptr + s.len, 0 }
			     : (struct str){ s.ptr + from, s.len - from };
}

static inline struct str str_head(struct str s, size_t n)
{
	return (struct str){ s.ptr, n < s.len ? n : s.len };
}

bool str_ieq(struct str a, struct str b); /* equal but for ASCII case */
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_iends(struct str s, struct str suffix); /* ditto, ASCII case ignored */
int  str_cmp(struct str a,
             struct str b); /* unsigned bytes, shorter first: code-point order for UTF-8 */

/* Position of the first c, or s.len. */
size_t str_find(struct str s, char c);

/* Without leading and trailing SP and HTAB (nothing else is white space in HTTP). */
struct str str_trim(struct str s);

/* Decimal digits only, no sign, no blanks, value <= max. False otherwise; *out set only on true. */
bool str_to_u64(struct str s, uint64_t max, uint64_t *out);

/* Of either case; -1: none. */
int str_hex_digit(char c);

/* A NUL-terminated copy into dst; false if it does not fit or s contains NUL (dst is then ""). */
bool str_copy(struct str s, char *dst, size_t size);

/* malloc'ed NUL-terminated copy, NULL when memory is gone. Embedded NULs are copied as they are. */
char *str_dup(struct str s);

/* Upper case to lower case, in place. */
void str_lower(char *c);

/* FNV-1a, for tables of trusted size; not for defence against chosen keys. */
uint32_t str_hash(struct str s);

#endif
