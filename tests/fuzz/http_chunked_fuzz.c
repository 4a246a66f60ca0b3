/*
 * Chunked bodies: the same verdict however the bytes arrive, the same body as a plain reader of
 * well-formed input finds, and the body chunked anew reads the same.
 */
#include "fuzz/http_fuzz.h"

static const struct head chunked = { .body = BODY_CHUNKED, .minor = 1, .keep_alive = true };

static struct reading read_body(struct str bytes, const struct cuts *cuts)
{
	struct reading r;

	memset(&r, 0, sizeof(r));
	r.head = chunked;
	r.has_head = true;
	reading_body(&r, bytes, 0, cuts, 0, false);
	return r;
}

static void compare(struct str bytes, const struct reading *expected, const struct cuts *cuts)
{
	struct reading r = read_body(bytes, cuts);

	check(reading_same(expected, &r));
	reading_fini(&r);
}

/* One chunk, for input that was accepted: the rules are no longer its business. */
static size_t plain_chunk(struct str *in, struct str *data)
{
	char   digits[17] = "";
	size_t n = 0, line = str_find(*in, '\n') + 1;

	while (n < 16 && n < in->len && chars_is(in->ptr[n], CHARS_HEX))
		n++;
	memcpy(digits, in->ptr, n);
	n = strtoul(digits, NULL, 16);
	*data = str_head(str_from(*in, line), n);
	check(data->len == n);
	*in = str_from(*in, n == 0 ? line : line + n + 2);
	return n;
}

static void check_accepted(const struct reading *r, struct str bytes)
{
	struct str in = str_head(bytes, r->used), data;
	size_t     at = 0;

	while (plain_chunk(&in, &data) > 0) {
		check(at + data.len <= r->body_len);
		check(memcmp(r->body + at, data.ptr, data.len) == 0);
		at += data.len;
	}
	check(at == r->body_len);
	check(str_ends(bytes.len == r->used ? bytes : str_head(bytes, r->used), STRL("\r\n")));
}

/* In two chunks, or one where there is one byte, or none. */
static void chunk_again(const struct reading *r)
{
	size_t         size = r->body_len + 2 * H1_CHUNK_OVERHEAD + 8, half = r->body_len / 2;
	char          *text = malloc(size);
	struct writer  w = writer_over(text, size);
	struct reading again;

	check(text != NULL);
	for (size_t at = 0, n = half; at < r->body_len; at += n, n = r->body_len - at) {
		if (n == 0)
			n = r->body_len;
		h1_write_chunk_head(&w, n);
		write_bytes(&w, r->body + at, n);
		write_text(&w, H1_CRLF);
	}
	write_text(&w, H1_LAST_CHUNK);
	check(!w.failed);
	again = read_body(writer_done(&w), &fuzz_whole);
	check(again.verdict == ERR_OK && again.used == writer_done(&w).len);
	check(str_eq(str_span(again.body, again.body_len), str_span(r->body, r->body_len)));
	reading_fini(&again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct fuzz_input in = fuzz_input_of(data, size);
	const struct cuts       cuts = { in.size, in.count };
	struct reading          r = read_body(in.bytes, &fuzz_whole);

	if (in.count > 0)
		compare(in.bytes, &r, &cuts);
	compare(in.bytes, &r, &fuzz_by_bytes);
	if (r.verdict == ERR_OK) {
		check_accepted(&r, in.bytes);
		chunk_again(&r);
	}
	reading_fini(&r);
	return 0;
}
