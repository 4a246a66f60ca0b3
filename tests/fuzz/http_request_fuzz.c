/*
 * Requests: the same verdict however the bytes arrive; what is accepted keeps the promises of
 * head.h, and its head written anew reads the same.
 */
#include "fuzz/http_fuzz.h"

static const struct fuzz_side side = { H1_REQUEST, { 8000, 4096, 8192, 64 }, HTTP_GET };

static void check_request(const struct reading *r)
{
	const struct head *h = &r->head;

	fuzz_check_head(r, &side.limits);
	check(chars_is_token(h->method_text) && h->method == head_method(h->method_text));
	check(h->target.len > 0 && fuzz_has_only(h->target, CHARS_TARGET));
	check(h->body != BODY_TO_CLOSE && h->status == 0);
	if (h->method == HTTP_CONNECT) {
		check(h->path.len == 0 && h->authority.len > 0 && r->body_len == 0);
		return;
	}
	check(h->path.len > 0 && (h->path.ptr[0] == '/' || str_is(h->path, "*")));
	check(str_is(h->path, "*") <= (h->method == HTTP_OPTIONS));
	if (!str_ieq(h->scheme, STRL("matrix-federation")))
		check(h->host.len > 0 && (h->authority.len == 0 || str_ieq(h->authority, h->host)));
}

static void write_again(const struct head *h)
{
	static char   text[FUZZ_HEAD_SIZE];
	struct writer w = writer_over(text, sizeof(text));

	if (h->minor == 1) {
		h1_write_request_line(&w, h->method_text, h->target);
	} else {
		write_str(&w, h->method_text);
		write_char(&w, ' ');
		write_str(&w, h->target);
		write_text(&w, " HTTP/1.0\r\n");
	}
	fuzz_write_fields(&w, h);
	fuzz_read_again(&side, &w, h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct fuzz_input in = fuzz_input_of(data, size);
	struct reading          r;

	reading_init(&r, side.side, &side.limits, side.method, in.bytes, &fuzz_whole, false);
	fuzz_splits(&side, &in, &r);
	if (r.has_head) {
		check_request(&r);
		write_again(&r.head);
	}
	reading_fini(&r);
	return 0;
}
