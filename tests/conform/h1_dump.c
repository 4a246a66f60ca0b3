/*
 * Reads HTTP messages as the codec sees them, for tests that hold it against other readers.
 *
 * usage: h1_dump, with records on standard input:
 *
 *   one byte   'Q' for a request, else what is read is a response, to the request that the letter
 *              stands for: 'G' GET, 'H' HEAD, 'C' CONNECT
 *   one byte   1: the connection ends behind the message; 2: the message comes byte by byte
 *   four bytes, network order: the length of the message, and the message
 *
 * Standard output gets one line of JSON for each. Texts are in hexadecimal.
 *
 *   {"verdict":"ok"|"more"|"refused","status":N,"slug":T,"used":N,"head":null|{
 *     "method":T,"target":T,"authority":T,"scheme":T,"path":T,"host":T,"code":N,"reason":T,
 *     "minor":N,"keep_alive":B,"continue":B,"framing":T,"length":N,
 *     "fields":[[NAME,VALUE],...],"body":T}}
 */
#include <stdio.h>

#include "codec/http/h1.h"
#include "conform/http/reading.h"

enum { END = 1, BYTE_BY_BYTE = 2 };

static const struct h1_limits request_limits = { 8000, 4096, 8192, 64 };
static const struct h1_limits response_limits = { 8000, 8192, 16384, 100 };

static void print_hex(struct str s)
{
	putchar('"');
	for (size_t i = 0; i < s.len; i++)
		printf("%02x", (unsigned char)s.ptr[i]);
	putchar('"');
}

static void print_text(const char *key, struct str s)
{
	printf("\"%s\":", key);
	print_hex(s);
	putchar(',');
}

static void print_fields(const struct head *h)
{
	printf("\"fields\":[");
	for (size_t i = 0; i < h->field_count; i++) {
		printf("%s[", i > 0 ? "," : "");
		print_hex(h->fields[i].name);
		putchar(',');
		print_hex(h->fields[i].value);
		putchar(']');
	}
	printf("],");
}

static void print_head(const struct reading *r)
{
	static const char *const framings[] = { "none", "length", "chunked", "close" };
	const struct head       *h = &r->head;

	putchar('{');
	print_text("method", h->method_text);
	print_text("target", h->target);
	print_text("authority", h->authority);
	print_text("scheme", h->scheme);
	print_text("path", h->path);
	print_text("host", h->host);
	print_text("reason", h->reason);
	printf("\"code\":%d,\"minor\":%u,\"keep_alive\":%s,\"continue\":%s,", h->status, h->minor,
	       h->keep_alive ? "true" : "false", h->expect_continue ? "true" : "false");
	printf("\"framing\":\"%s\",\"length\":%llu,", framings[h->body],
	       (unsigned long long)h->content_length);
	print_fields(h);
	printf("\"body\":");
	print_hex(str_span(r->body, r->body_len));
	putchar('}');
}

static void print_reading(const struct reading *r)
{
	const char *verdict = "refused";

	if (r->verdict == ERR_OK)
		verdict = "ok";
	else if (r->verdict == ERR_BUSY)
		verdict = "more";
	printf("{\"verdict\":\"%s\",\"status\":%d,\"slug\":\"%s\",\"used\":%zu,\"head\":", verdict,
	       r->status, r->slug == NULL ? "" : r->slug, r->used);
	if (r->has_head)
		print_head(r);
	else
		printf("null");
	printf("}\n");
}

static enum http_method method_of(int kind)
{
	if (kind == 'H')
		return HTTP_HEAD;
	return kind == 'C' ? HTTP_CONNECT : HTTP_GET;
}

static void dump(int kind, int flags, struct str bytes)
{
	const size_t      size = (flags & BYTE_BY_BYTE) != 0 ? 1 : SIZE_MAX;
	const struct cuts cuts = { &size, 1 };
	struct reading    r;

	reading_init(&r, kind == 'Q' ? H1_REQUEST : H1_RESPONSE,
	             kind == 'Q' ? &request_limits : &response_limits, method_of(kind), bytes,
	             &cuts, (flags & END) != 0);
	print_reading(&r);
	reading_fini(&r);
}

int main(void)
{
	unsigned char top[6];

	while (fread(top, 1, sizeof(top), stdin) == sizeof(top)) {
		size_t n = (size_t)top[2] << 24 | (size_t)top[3] << 16 | (size_t)top[4] << 8 |
			top[5];
		char *bytes = malloc(n > 0 ? n : 1);

		if (bytes == NULL || fread(bytes, 1, n, stdin) != n) {
			fprintf(stderr, "h1_dump: a record is cut short\n");
			free(bytes);
			return 1;
		}
		dump(top[0], top[1], str_span(bytes, n));
		free(bytes);
	}
	return 0;
}
