/*
 * The C side of test_json_differential.py: canonical forms of the documents on standard input.
 *
 * In:  for each document 4 bytes of length (most significant first) and its bytes.
 * Out: for each document three answers: canonical with numbers as received, canonical with integers,
 *      strict check. An answer is one byte of enum err, 4 bytes of length and the result.
 */
#include <stdio.h>
#include <stdlib.h>

#include "codec/json/canon.h"

static bool read_length(size_t *out)
{
	unsigned char b[4];

	if (fread(b, 1, sizeof(b), stdin) != sizeof(b))
		return false;
	*out = (size_t)b[0] << 24 | (size_t)b[1] << 16 | (size_t)b[2] << 8 | b[3];
	return true;
}

static void answer(enum err e, struct str result)
{
	unsigned char b[5] = { (unsigned char)e, (unsigned char)(result.len >> 24),
		               (unsigned char)(result.len >> 16), (unsigned char)(result.len >> 8),
		               (unsigned char)result.len };

	fwrite(b, 1, sizeof(b), stdout);
	fwrite(result.ptr, 1, result.len, stdout);
}

static void answer_canonical(struct str doc, enum canon_numbers numbers)
{
	struct buf out;
	enum err   e;

	buf_init(&out, (size_t)1 << 24);
	e = canon_write(doc, NULL, numbers, &out);
	answer(e, e == ERR_OK ? buf_str(&out) : STRL(""));
	buf_fini(&out);
}

int main(void)
{
	size_t n;

	while (read_length(&n)) {
		char *block = malloc(n == 0 ? 1 : n); /* exact, for the address sanitizer */

		if (block == NULL || fread(block, 1, n, stdin) != n)
			return 1;
		answer_canonical(str_span(block, n), CANON_AS_RECEIVED);
		answer_canonical(str_span(block, n), CANON_INTEGERS);
		answer(canon_check(str_span(block, n), NULL), STRL(""));
		free(block);
	}
	return fflush(stdout) == 0 ? 0 : 1;
}
