/*
 * Responses to a request whose method the first byte chooses: as http_request_fuzz.c, and a body
 * is never longer than its length.
 */
#include "fuzz/http_fuzz.h"

static void check_response(const struct reading *r, const struct fuzz_side *s)
{
	const struct head *h = &r->head;
	bool               none = h->status < 200 || h->status == 204 || h->status == 304 ||
		s->method == HTTP_HEAD || (s->method == HTTP_CONNECT && h->status < 300);

	fuzz_check_head(r, &s->limits);
	check(h->status >= 100 && h->status <= 599);
	check(fuzz_has_only(h->reason, CHARS_VALUE));
	check(none == (h->body == BODY_NONE));
	check(!(h->body == BODY_TO_CLOSE && h->keep_alive));
}

static void write_again(const struct head *h, const struct fuzz_side *s)
{
	static char   text[FUZZ_HEAD_SIZE];
	struct writer w = writer_over(text, sizeof(text));

	if (h->minor == 1) {
		h1_write_status_line(&w, h->status, h->reason);
	} else {
		write_text(&w, "HTTP/1.0 ");
		write_u64(&w, (uint64_t)h->status);
		write_char(&w, ' ');
		write_str(&w, h->reason);
		write_text(&w, H1_CRLF);
	}
	fuzz_write_fields(&w, h);
	fuzz_read_again(s, &w, h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct fuzz_input in = fuzz_input_of(data, size);
	const struct fuzz_side  side = { H1_RESPONSE,
		                         { 8000, 8192, 16384, 100 },
		                         (enum http_method)(in.bits % (HTTP_OTHER + 1)) };
	struct reading          r;

	reading_init(&r, side.side, &side.limits, side.method, in.bytes, &fuzz_whole, false);
	fuzz_splits(&side, &in, &r);
	if (r.has_head) {
		check_response(&r, &side);
		write_again(&r.head, &side);
	}
	reading_fini(&r);
	return 0;
}
