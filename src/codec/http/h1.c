#include "codec/http/h1.h"

#include "codec/http/head.h"

void h1_write_request_line(struct writer *w, struct str method, struct str target)
{
	write_str(w, method);
	write_char(w, ' ');
	write_str(w, target);
	write_text(w, " HTTP/1.1\r\n");
}

void h1_write_status_line(struct writer *w, int status, struct str reason)
{
	write_text(w, "HTTP/1.1 ");
	write_u64(w, (uint64_t)status);
	write_char(w, ' ');
	write_str(w, reason);
	write_text(w, H1_CRLF);
}

void h1_write_field(struct writer *w, struct str name, struct str value)
{
	write_str(w, name);
	write_text(w, ": ");
	write_str(w, value);
	write_text(w, H1_CRLF);
}

void h1_write_length(struct writer *w, uint64_t content_length)
{
	write_text(w, "Content-Length: ");
	write_u64(w, content_length);
	write_text(w, H1_CRLF);
}

void h1_write_chunk_head(struct writer *w, size_t n)
{
	write_hex(w, n);
	write_text(w, H1_CRLF);
}
