#include "net/http_server_inside.h"

#include <stdlib.h>

enum {
	HALF_CLOSE_MS = 2000, /* a peer that ended its side may still want the answer */
};

struct http_request *http_request_new(struct http_conn *c)
{
	struct http_request *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->conn = c;
	r->body_max = UINT64_MAX;
	arena_init(&r->arena, c->server->options.arena_bytes);
	h1_head_init(&r->parser, H1_REQUEST, &c->server->options.limits);
	return r;
}

enum err http_request_read(struct http_request *r, struct str bytes)
{
	struct str    own = arena_copy(&r->arena, str_head(bytes, r->parser.length));
	struct field *fields = arena_alloc(&r->arena, (r->parser.slot_count + 1) * sizeof(*fields));

	if (arena_failed(&r->arena))
		return ERR_NOMEM;
	return h1_head_view(&r->parser, own, HTTP_OTHER, fields, &r->head);
}

void http_request_break(struct http_request *r, enum err e)
{
	if (r->broken != ERR_OK)
		return;
	r->broken = e;
	soon_call(&r->conn->soon); /* the handler hears of it from the loop */
}

void http_request_note_end(struct http_request *r)
{
	struct http_conn *c = r->conn;
	enum err          end = stream_ended(c->stream);

	if (end == ERR_OK)
		return;
	c->close_after = true;
	if (end != ERR_EOF)
		http_request_break(r, end);
	else if (r->begun)
		return;
	else if (!r->body_done && stream_peek(c->stream).len == 0)
		http_request_break(r, ERR_TRUNCATED);
	else if (r->body_done && !deadline_is_set(&c->deadline))
		deadline_in(&c->deadline, HALF_CLOSE_MS);
}

void http_request_free(struct http_conn *c)
{
	if (c->request == NULL)
		return;
	if (c->request->tap.over != NULL)
		c->request->tap.over(c->request->tap.arg);
	arena_fini(&c->request->arena);
	buf_fini(&c->request->restored);
	free(c->request);
	c->request = NULL;
}

void http_request_own(struct http_request *r, http_wake_fn *wake, void *arg)
{
	r->wake = wake;
	r->arg = arg;
}

const struct head *http_request_head(const struct http_request *r)
{
	return &r->head;
}

const struct address *http_request_peer(const struct http_request *r)
{
	return &r->conn->peer;
}

struct arena *http_request_arena(struct http_request *r)
{
	return &r->arena;
}

static void request_continue(struct http_request *r)
{
	r->continued = true;
	if (r->begun || stream_peek(r->conn->stream).len > 0)
		return; /* the peer did not wait */
	(void)buf_add(&r->conn->out, STRL("HTTP/1.1 100 Continue\r\n\r\n"));
	http_conn_flush(r->conn);
}

/* Reads framing until body bytes, the end, or nothing more is there. */
static void request_decode(struct http_request *r)
{
	while (r->span.len == 0 && !h1_body_done(&r->body)) {
		struct str in = stream_peek(r->conn->stream);
		size_t     used;

		if (in.len == 0)
			return;
		if (h1_body_feed(&r->body, in, &used, &r->span) != ERR_OK) {
			http_request_break(r, ERR_SYNTAX);
			return;
		}
		if (r->span.len > 0) {
			/* framing in front of the run is spent now, the run itself when consumed */
			size_t front = (size_t)(r->span.ptr - in.ptr);

			check(front + r->span.len == used);
			if (front > 0)
				stream_consume(r->conn->stream, front);
		} else {
			stream_consume(r->conn->stream, used);
		}
		if (r->body.seen > r->body_max)
			http_request_break(r, ERR_TOO_LARGE);
	}
}

static void request_wait_for_body(struct http_request *r)
{
	r->want_body = true;
	if (!r->blocked)
		deadline_in(&r->conn->deadline, r->conn->server->options.body_idle_ms);
	http_request_note_end(r);
}

static void request_stop_waiting(struct http_request *r)
{
	if (r->want_body && !r->blocked)
		deadline_clear(&r->conn->deadline);
	r->want_body = false;
}

static void request_body_ended(struct http_request *r)
{
	r->body_done = true;
	request_stop_waiting(r);
	http_request_note_end(r);
}

struct str http_request_peek(struct http_request *r)
{
	static const struct str none = { "", 0 };

	if (buf_len(&r->restored) > 0 && r->broken == ERR_OK)
		return buf_str(&r->restored);
	if (r->body_done || r->broken != ERR_OK)
		return none;
	if (!r->continued)
		request_continue(r);
	if (r->span.len == 0)
		request_decode(r);
	if (r->broken != ERR_OK)
		return none;
	if (r->span.len > 0) {
		request_stop_waiting(r);
		r->span.ptr =
			stream_peek(r->conn->stream).ptr; /* it may have moved its bytes since */
		return r->span;
	}
	if (h1_body_done(&r->body))
		request_body_ended(r);
	else
		request_wait_for_body(r);
	return none;
}

void http_request_consume(struct http_request *r, size_t n)
{
	if (buf_len(&r->restored) > 0) {
		buf_take(&r->restored, n);
		return;
	}
	check(n <= r->span.len);
	if (r->tap.took != NULL)
		r->tap.took(r->tap.arg, str_head(stream_peek(r->conn->stream), n));
	stream_consume(r->conn->stream, n);
	r->span.len -= n;
	if (r->span.len == 0 && h1_body_done(&r->body))
		request_body_ended(r);
}

void http_request_tap(struct http_request *r, const struct http_request_tap *tap)
{
	r->tap = *tap;
}

bool http_request_body_done(const struct http_request *r)
{
	return r->body_done && buf_len(&r->restored) == 0;
}

void http_request_restore(struct http_request *r, struct buf *body)
{
	check(buf_len(&r->restored) == 0);
	buf_fini(&r->restored);
	r->restored = *body;
	buf_init(body, body->max);
}

void http_request_body_max(struct http_request *r, uint64_t max)
{
	r->body_max = max;
}

enum err http_request_broken(const struct http_request *r)
{
	return r->broken;
}
