#include "net/http_server_inside.h"

enum {
	CONN_FLUSH_AT = 16 * 1024,
};

static bool status_has_no_body(int status)
{
	return status == 204 || status == 304 || (status >= 100 && status < 200);
}

/* HEAD and 304 may say how long the body would have been (RFC 9110 8.6). */
static void write_would_be_length(struct writer *w, const struct head *h)
{
	const struct field *f = head_find(h, FIELD_CONTENT_LENGTH);
	uint64_t            n;

	if (h->body == BODY_LENGTH)
		h1_write_length(w, h->content_length);
	else if (f != NULL && str_to_u64(f->value, UINT64_MAX / 16, &n))
		h1_write_length(w, n);
}

static void write_framing(struct http_request *r, struct writer *w, const struct head *h)
{
	if (r->no_body) {
		if (h->status != 204 && h->status >= 200)
			write_would_be_length(w, h);
	} else if (h->body == BODY_NONE) {
		h1_write_length(w, 0);
	} else if (h->body == BODY_LENGTH) {
		h1_write_length(w, h->content_length);
	} else if (r->head.minor >= 1) {
		h1_write_field(w, STRL("Transfer-Encoding"), STRL("chunked"));
		r->chunked = true;
	} else {
		r->conn->close_after = true;
	}
}

static void write_head(struct http_request *r, struct writer *w, const struct head *h,
                       struct str extra)
{
	h1_write_status_line(w, h->status, h->reason);
	for (size_t i = 0; i < h->field_count; i++) {
		const struct field *f = &h->fields[i];

		if (f->id != FIELD_CONTENT_LENGTH && !head_is_hop_by_hop(h, f))
			h1_write_field(w, f->name, f->value);
	}
	write_str(w, extra);
	write_framing(r, w, h);
	if (r->conn->close_after)
		h1_write_field(w, STRL("Connection"), STRL("close"));
	else if (r->head.minor == 0)
		h1_write_field(w, STRL("Connection"), STRL("keep-alive"));
	write_text(w, "\r\n");
}

static size_t head_size(const struct head *h, struct str extra)
{
	size_t n = 256 + h->reason.len + extra.len;

	for (size_t i = 0; i < h->field_count; i++)
		n += h->fields[i].name.len + h->fields[i].value.len + 4;
	return n;
}

void http_respond_head(struct http_request *r, const struct head *h, struct str extra)
{
	struct http_conn *c = r->conn;
	size_t            got = 0;
	char             *to = buf_reserve(&c->out, head_size(h, extra), &got);
	struct writer     w = writer_over(to, to == NULL ? 0 : got);

	check(!r->begun);
	r->begun = true;
	deadline_clear(&c->deadline); /* of the body, or of a peer that ended its side */
	r->no_body = r->head.method == HTTP_HEAD || status_has_no_body(h->status);
	if (!r->body_done)
		c->close_after = true; /* the rest of the request will not be read */
	if (to == NULL) {
		c->cut = true;
		return;
	}
	write_head(r, &w, h, extra);
	check(!w.failed);
	buf_commit(&c->out, writer_done(&w).len);
}

bool http_respond_begun(const struct http_request *r)
{
	return r->begun;
}

size_t http_respond_room(const struct http_request *r)
{
	size_t room = stream_room(r->conn->stream);
	size_t staged = buf_len(&r->conn->out) + H1_CHUNK_OVERHEAD;

	return room > staged ? room - staged : 0;
}

void http_respond_body(struct http_request *r, struct str bytes)
{
	struct http_conn *c = r->conn;
	char              head[H1_CHUNK_OVERHEAD];
	struct writer     w = writer_over(head, sizeof(head));
	bool              ok = true;

	if (r->no_body || bytes.len == 0)
		return;
	if (r->chunked) {
		h1_write_chunk_head(&w, bytes.len);
		ok = buf_add(&c->out, writer_done(&w)) == ERR_OK;
	}
	ok = ok && buf_add(&c->out, bytes) == ERR_OK;
	if (r->chunked)
		ok = ok && buf_add(&c->out, STRL("\r\n")) == ERR_OK;
	if (!ok)
		c->cut = true;
	else if (buf_len(&c->out) >= CONN_FLUSH_AT)
		http_conn_flush(c);
}

void http_respond_flush(struct http_request *r)
{
	struct http_conn *c = r->conn;

	http_conn_flush(c);
	if (c->cut)
		http_request_break(r, ERR_RESET);
	if (r->begun && stream_room(c->stream) == 0 && !r->blocked) {
		r->blocked = true;
		deadline_in(&c->deadline, c->server->options.write_idle_ms);
	}
}

void http_respond_end(struct http_request *r)
{
	struct http_conn *c = r->conn;

	check(r->begun);
	if (r->chunked && !r->no_body && buf_add(&c->out, STRL(H1_LAST_CHUNK)) != ERR_OK)
		c->cut = true;
	http_conn_next(c);
}

void http_respond_abort(struct http_request *r)
{
	struct http_conn *c = r->conn;

	c->cut = true;
	c->out.end = c->out.at = 0;
	http_conn_next(c);
}

void http_respond_with(struct http_request *r, int status, const char *content_type,
                       struct str extra, struct str body)
{
	struct field type = { FIELD_CONTENT_TYPE, STRL("Content-Type"), str_of(content_type) };
	struct head  h = {
		 .status = status,
		 .reason = str_of(head_reason(status)),
		 .body = BODY_LENGTH,
		 .content_length = body.len,
		 .fields = &type,
		 .field_count = body.len > 0 ? 1 : 0,
	};

	http_respond_head(r, &h, extra);
	http_respond_body(r, body);
	http_respond_end(r);
}

struct stream *http_respond_tunnel(struct http_request *r)
{
	struct http_conn *c = r->conn;
	struct stream    *st = c->stream;

	(void)buf_add(&c->out, STRL("HTTP/1.1 200 Connection established\r\n\r\n"));
	http_conn_flush(c);
	stream_own(st, NULL, NULL);
	c->stream = NULL;
	http_request_free(c);
	deadline_clear(&c->deadline);
	http_conn_set_state(c, CONN_CLOSED);
	if (!c->in_pump)
		soon_call(&c->soon);
	return st;
}
