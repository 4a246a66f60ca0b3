/*
 * two_parts.h - is an answer with media one of two complete parts, with the bytes themselves in it?
 *
 * Sources: Matrix specification, Server-Server API, "Content Repository": multipart/mixed of exactly two
 * parts, JSON and then the bytes, or a Location field instead of them, which must not be kept since it
 * may expire. RFC 2046 5.1.1 for boundaries.
 *
 * Pure, no allocation; looks at the bytes as they stream by.
 */
#ifndef FED_TWO_PARTS_H
#define FED_TWO_PARTS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

enum { TWO_PARTS_BOUNDARY_MAX = 70 };

struct two_parts {
	/* private */
	char     delimiter[4 + TWO_PARTS_BOUNDARY_MAX]; /* CR LF - - boundary */
	size_t   delimiter_len, matched;
	unsigned state;    /* enum of two_parts.c */
	unsigned parts;    /* begun */
	bool     was_cr;   /* the last byte of a part's head */
	bool     moved;    /* a part has a Location */
	bool     is_json;  /* the first one says so */
	char     line[64]; /* of a part's head, cut */
	size_t   line_len, head_len;
};

/* False: content_type is not multipart/mixed with a boundary. */
bool two_parts_init(struct two_parts *p, struct str content_type);
void two_parts_feed(struct two_parts *p, struct str piece);

/* After the last piece. */
bool two_parts_is_complete(const struct two_parts *p);

#endif
