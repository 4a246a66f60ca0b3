/*
 * base64.h - unpadded base64 as Matrix writes keys, signatures and hashes.
 *
 * Source: Matrix specification, Appendices, "Unpadded Base64"; RFC 4648 section 4.
 * Strict: no characters outside the alphabet, no white space, no impossible length. Padding is
 * accepted if it is complete, never written. Bits behind the last byte are ignored, because the
 * specification's own example of a signing key has one set.
 * Pure, no allocation.
 */
#ifndef CODEC_MATRIX_BASE64_H
#define CODEC_MATRIX_BASE64_H

#include "base/cursor.h"
#include "base/err.h"
#include "base/str.h"

/* Characters that n bytes become, without padding; n below SIZE_MAX / 4. */
#define BASE64_TEXT(n) (((n)*4 + 2) / 3)

void base64_write(struct writer *w, struct str bytes);

/* Appends what text means. ERR_SYNTAX; a writer without room reports through itself. */
enum err base64_read(struct str text, struct writer *w);

/* Ditto, of exactly n bytes; out is undefined after ERR_SYNTAX. */
enum err base64_read_exactly(struct str text, void *out, size_t n);

#endif
