#include "net/http_server.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/log.h"

enum {
	CONN_OUT_MAX = 64 * 1024, /* head and body put together before one stream_write() */
	CONN_FLUSH_AT = 16 * 1024,
	CONN_BURST = 32, /* requests answered in one turn before others get theirs */
	LINGER_MS = 2000,
	LINGER_BYTES = 64 * 1024,
	HALF_CLOSE_MS = 2000, /* a peer that ended its side may still want the answer */
	DRAIN_HEAD_MS = 1000,
};

enum conn_state {
	CONN_IDLE,    /* between requests; the idle deadline runs */
	CONN_HEAD,    /* some of a head has arrived; the head deadline runs */
	CONN_REQUEST, /* the handler has it */
	CONN_LINGER,  /* answered and shut down; input is thrown away for a moment */
	CONN_CLOSED,  /* to be freed by conn_pump() */
};

struct http_request {
	struct http_conn     *conn;
	struct arena          arena;
	struct head           head;
	struct h1_head_parser parser;
	struct h1_body        body;
	uint64_t              body_max;
	struct buf            restored; /* given back by the handler, comes before the span */
	struct str            span; /* decoded bytes at the front of the stream, not yet consumed */
	enum err              broken;
	bool                  body_done;
	bool                  want_body; /* the handler asked for body bytes and there were none */
	bool                  continued; /* 100 Continue was sent or is not wanted */
	bool                  begun;     /* final head written */
	bool                  chunked;   /* the answer is */
	bool                  no_body;   /* HEAD, 204, 304: body bytes are dropped */
	bool                  blocked;   /* the answer waits for room */
	struct http_request_tap tap;
	http_wake_fn           *wake;
	void                   *arg;
};

struct http_conn {
	struct http_server *server;
	struct link         link;      /* on server->conns */
	struct link         idle_link; /* on server->idle while CONN_IDLE */
	enum conn_state     state;
	bool                in_pump;
	bool                close_after; /* no further request on this connection */
	bool                cut;         /* close without farewell */
	unsigned            served;
	size_t              lingered;
	size_t              linger_unsent; /* of the answer, when the deadline was set */
	struct stream      *stream;
	struct address      peer;
	void               *context;
	void (*drop_context)(void *context);
	struct http_request *request; /* CONN_HEAD, CONN_REQUEST */
	struct buf           out;
	struct deadline      deadline;
	struct soon          soon;
};

struct http_server {
	struct loop               *loop;
	struct http_server_options options;
	struct http_handler        handler;
	http_wake_fn              *idle_fn;     /* may be NULL */
	struct link                conns, idle; /* idle: longest first */
	size_t                     count;
	bool                       draining;
};

static void conn_pump(void *arg);
static void on_deadline(void *arg);

/* ---- life of a connection ---- */

static void conn_set_state(struct http_conn *c, enum conn_state state)
{
	if (c->state == CONN_IDLE)
		list_remove(&c->idle_link);
	c->state = state;
	if (state == CONN_IDLE)
		list_push_back(&c->server->idle, &c->idle_link);
}

static void request_free(struct http_conn *c)
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

static void conn_free(struct http_conn *c)
{
	struct http_server *s = c->server;

	request_free(c);
	deadline_clear(&c->deadline);
	soon_clear(&c->soon);
	buf_fini(&c->out);
	if (c->stream != NULL)
		stream_close(c->stream);
	if (c->drop_context != NULL)
		c->drop_context(c->context);
	list_remove(&c->idle_link);
	list_remove(&c->link);
	s->count--;
	free(c);
	if (s->handler.closed != NULL)
		s->handler.closed(s->handler.arg);
}

static void conn_flush(struct http_conn *c)
{
	if (buf_len(&c->out) == 0)
		return;
	if (!c->cut && stream_write(c->stream, buf_str(&c->out)) != ERR_OK)
		c->cut = true;
	buf_take(&c->out, buf_len(&c->out));
	if (stream_room(c->stream) == 0)
		buf_rest(&c->out); /* it may be long until there is more to put together */
}

enum err http_server_take(struct http_server *s, struct stream *st, const struct address *peer,
                          void *context, void (*drop_context)(void *context))
{
	struct http_conn *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		stream_close(st);
		if (drop_context != NULL)
			drop_context(context);
		return ERR_NOMEM;
	}
	c->server = s;
	c->state = CONN_HEAD;
	c->stream = st;
	c->peer = *peer;
	c->context = context;
	c->drop_context = drop_context;
	buf_init(&c->out, CONN_OUT_MAX);
	deadline_init(&c->deadline, s->loop, on_deadline, c);
	soon_init(&c->soon, s->loop, conn_pump, c);
	list_init(&c->idle_link);
	list_push_back(&s->conns, &c->link);
	s->count++;
	conn_set_state(c, CONN_IDLE);
	stream_own(st, conn_pump, c);
	deadline_in(&c->deadline, s->options.head_ms);
	soon_call(&c->soon); /* bytes may be waiting already */
	return ERR_OK;
}

/* ---- reading heads ---- */

/* Nothing of the answers waits in our own queue; the kernel sends its part after close. */
static bool is_sent(const struct http_conn *c)
{
	return stream_unsent(c->stream) == 0;
}

static void conn_linger(struct http_conn *c)
{
	conn_flush(c);
	buf_rest(&c->out);
	if (c->cut || (stream_ended(c->stream) != ERR_OK && stream_ended(c->stream) != ERR_EOF)) {
		conn_set_state(c, CONN_CLOSED);
		return;
	}
	stream_shutdown(c->stream);
	conn_set_state(c, CONN_LINGER);
	c->lingered = 0;
	c->linger_unsent = stream_unsent(c->stream);
	deadline_in(&c->deadline, is_sent(c) ? LINGER_MS : c->server->options.write_idle_ms);
}

/* Between two requests, with nothing left to send: the peer sees an end in good order (RFC 8446 6.1). */
static void conn_dismiss(struct http_conn *c)
{
	stream_shutdown(c->stream);
	conn_set_state(c, CONN_CLOSED);
}

/* No further request: closes, when the peer has had the answers to the earlier ones. */
static void conn_leave(struct http_conn *c)
{
	request_free(c);
	if (is_sent(c))
		conn_dismiss(c);
	else
		conn_linger(c);
}

/* An answer of the connection itself, to what never became a request. */
static void conn_refuse(struct http_conn *c, int status, const char *slug)
{
	char          text[512];
	char          json[160];
	struct writer body = writer_over(json, sizeof(json));
	struct writer w = writer_over(text, sizeof(text));

	write_text(&body, "{\"errcode\":\"M_UNRECOGNIZED\",\"error\":\"request refused: ");
	write_text(&body, slug);
	write_text(&body, "\"}");
	h1_write_status_line(&w, status, str_of(head_reason(status)));
	h1_write_field(&w, STRL("Content-Type"), STRL("application/json"));
	h1_write_field(&w, STRL("Connection"), STRL("close"));
	h1_write_length(&w, writer_done(&body).len);
	write_text(&w, "\r\n");
	write_str(&w, writer_done(&body));
	(void)buf_add(&c->out, writer_done(&w));
	request_free(c);
	conn_linger(c);
}

static void conn_malformed(struct http_conn *c, int status, const char *slug)
{
	const struct http_handler *h = &c->server->handler;

	if (h->malformed != NULL)
		h->malformed(h->arg, &c->peer, status, slug);
	conn_refuse(c, status, slug);
}

static struct http_request *request_new(struct http_conn *c)
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

/* The head moves into the request's arena, so that the stream can go on. */
static enum err request_read(struct http_request *r, struct str bytes)
{
	struct str    own = arena_copy(&r->arena, str_head(bytes, r->parser.length));
	struct field *fields = arena_alloc(&r->arena, (r->parser.slot_count + 1) * sizeof(*fields));

	if (arena_failed(&r->arena))
		return ERR_NOMEM;
	return h1_head_view(&r->parser, own, HTTP_OTHER, fields, &r->head);
}

static void request_break(struct http_request *r, enum err e)
{
	if (r->broken != ERR_OK)
		return;
	r->broken = e;
	soon_call(&r->conn->soon); /* the handler hears of it from the loop */
}

/*
 * What the end of the peer's side means for the request. Without its body it is none; with it, the peer
 * may still want the answer, but not for long unless it comes.
 */
static void request_note_end(struct http_request *r)
{
	struct http_conn *c = r->conn;
	enum err          end = stream_ended(c->stream);

	if (end == ERR_OK)
		return;
	c->close_after = true;
	if (end != ERR_EOF)
		request_break(r, end);
	else if (r->begun)
		return;
	else if (!r->body_done && stream_peek(c->stream).len == 0)
		request_break(r, ERR_TRUNCATED);
	else if (r->body_done && !deadline_is_set(&c->deadline))
		deadline_in(&c->deadline, HALF_CLOSE_MS);
}

static void conn_dispatch(struct http_conn *c)
{
	struct http_request *r = c->request;
	struct http_server  *s = c->server;

	c->served++;
	r->body_done = r->head.body == BODY_NONE;
	if (r->head.body == BODY_LENGTH || r->head.body == BODY_CHUNKED)
		h1_body_init(&r->body, &r->head);
	if (r->head.body == BODY_LENGTH && r->head.content_length == 0)
		r->body_done = true;
	r->continued = !r->head.expect_continue || r->body_done;
	c->close_after = !r->head.keep_alive || s->draining ||
		c->served >= s->options.requests_max ||
		r->head.method == HTTP_CONNECT; /* what follows was meant for a tunnel */
	conn_set_state(c, CONN_REQUEST);
	deadline_clear(&c->deadline);
	request_note_end(r);
	s->handler.request(s->handler.arg, r);
}

/* Feeds waiting bytes to the head parser. True: a request was dispatched. */
static bool conn_read_head(struct http_conn *c)
{
	struct str bytes = stream_peek(c->stream);
	enum err   e;

	if (bytes.len == 0)
		return false;
	if (c->request == NULL) {
		c->request = request_new(c);
		if (c->request == NULL) {
			conn_refuse(c, 503, "no-memory");
			return false;
		}
		if (c->served > 0)
			deadline_in(&c->deadline, c->server->options.head_ms);
		conn_set_state(c, CONN_HEAD);
	}
	e = h1_head_feed(&c->request->parser, bytes);
	if (e == ERR_BUSY) {
		if (bytes.len >= STREAM_RX_MAX)
			conn_malformed(c, 431, "head-too-large");
		return false;
	}
	if (e == ERR_OK)
		e = request_read(c->request, bytes);
	if (e == ERR_NOMEM)
		conn_refuse(c, 503, "no-memory");
	else if (e != ERR_OK)
		conn_malformed(c, c->request->parser.fault.status, c->request->parser.fault.slug);
	if (e != ERR_OK)
		return false;
	stream_consume(c->stream, c->request->parser.length);
	conn_dispatch(c);
	return true;
}

/* ---- the request while the handler has it ---- */

static void conn_watch_request(struct http_conn *c)
{
	struct http_request *r = c->request;

	request_note_end(r);
	if (r->blocked && stream_room(c->stream) > 0) {
		r->blocked = false;
		deadline_clear(&c->deadline);
	}
	r->wake(r->arg);
}

static void conn_discard(struct http_conn *c)
{
	struct str bytes;
	enum err   end;

	while (c->lingered <= LINGER_BYTES && (bytes = stream_peek(c->stream)).len > 0) {
		c->lingered += bytes.len;
		stream_consume(c->stream, bytes.len);
	}
	end = stream_ended(c->stream);
	if (end != ERR_OK && end != ERR_EOF)
		conn_set_state(c, CONN_CLOSED);
	else if (is_sent(c) && (end == ERR_EOF || c->lingered > LINGER_BYTES))
		conn_set_state(c, CONN_CLOSED);
	else if (is_sent(c) && c->linger_unsent > 0) {
		c->linger_unsent = 0;
		deadline_in(&c->deadline, LINGER_MS);
	}
}

/* A slow reader keeps his time as long as he reads. */
static void conn_linger_expired(struct http_conn *c)
{
	size_t unsent = stream_unsent(c->stream);

	if (unsent == 0 || unsent >= c->linger_unsent) {
		conn_set_state(c, CONN_CLOSED);
		return;
	}
	c->linger_unsent = unsent;
	deadline_in(&c->deadline, c->server->options.write_idle_ms);
}

static bool is_listening(const struct http_conn *c)
{
	return c->state == CONN_IDLE || c->state == CONN_HEAD;
}

/* Answers that nobody reads must not pile up: without room for one, no further request is taken. */
static void conn_read(struct http_conn *c)
{
	unsigned burst = 0;

	while (is_listening(c) && stream_room(c->stream) > 0 && conn_read_head(c))
		if (++burst == CONN_BURST) {
			soon_call(&c->soon);
			return;
		}
	if (!is_listening(c) || stream_ended(c->stream) == ERR_OK)
		return;
	if (stream_ended(c->stream) == ERR_EOF && stream_room(c->stream) == 0 &&
	    stream_peek(c->stream).len > 0)
		return; /* requests wait for room */
	conn_leave(c);
}

/* The one place that frees: runs on wake of the stream, from soon, and after deadlines. */
static void conn_pump(void *arg)
{
	struct http_conn *c = arg;

	c->in_pump = true;
	switch (c->state) {
	case CONN_IDLE:
	case CONN_HEAD:
		conn_read(c);
		break;
	case CONN_REQUEST:
		conn_watch_request(c);
		if (c->state == CONN_IDLE)
			conn_read(c);
		break;
	case CONN_LINGER:
	case CONN_CLOSED:
		break;
	}
	if (c->state == CONN_LINGER) /* what has come already wakes nobody */
		conn_discard(c);
	c->in_pump = false;
	if (c->state == CONN_CLOSED)
		conn_free(c);
}

static void on_deadline(void *arg)
{
	struct http_conn *c = arg;

	switch (c->state) {
	case CONN_IDLE:
		conn_leave(c);
		break;
	case CONN_LINGER:
		conn_linger_expired(c);
		break;
	case CONN_HEAD:
		conn_refuse(c, 408, "head-timed-out");
		break;
	case CONN_REQUEST:
		request_break(c->request,
		              stream_ended(c->stream) == ERR_EOF ? ERR_EOF : ERR_SLOW_PEER);
		break;
	case CONN_CLOSED:
		break;
	}
	conn_pump(c);
}

/* ---- what handlers see ---- */

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

void *http_request_context(const struct http_request *r)
{
	return r->conn->context;
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
	conn_flush(r->conn);
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
			request_break(r, ERR_SYNTAX);
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
			request_break(r, ERR_TOO_LARGE);
	}
}

static void request_wait_for_body(struct http_request *r)
{
	r->want_body = true;
	if (!r->blocked)
		deadline_in(&r->conn->deadline, r->conn->server->options.body_idle_ms);
	request_note_end(r);
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
	request_note_end(r);
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

uint64_t http_request_body_seen(const struct http_request *r)
{
	return r->head.body == BODY_NONE ? 0 : r->body.seen - r->span.len;
}

void http_request_body_max(struct http_request *r, uint64_t max)
{
	r->body_max = max;
}

enum err http_request_broken(const struct http_request *r)
{
	return r->broken;
}

/* ---- answers ---- */

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
		conn_flush(c);
}

void http_respond_flush(struct http_request *r)
{
	struct http_conn *c = r->conn;

	conn_flush(c);
	if (c->cut)
		request_break(r, ERR_RESET);
	if (r->begun && stream_room(c->stream) == 0 && !r->blocked) {
		r->blocked = true;
		deadline_in(&c->deadline, c->server->options.write_idle_ms);
	}
}

/* After an answer: the next request, or the end. May run inside or outside conn_pump(). */
static void conn_next(struct http_conn *c)
{
	request_free(c);
	conn_flush(c);
	if (c->cut) {
		conn_set_state(c, CONN_CLOSED);
	} else if (c->close_after || c->server->draining) {
		conn_linger(c);
	} else {
		buf_rest(&c->out);
		conn_set_state(c, CONN_IDLE);
		deadline_in(&c->deadline, c->server->options.idle_ms);
		if (c->server->idle_fn != NULL)
			c->server->idle_fn(c->server->handler.arg);
	}
	if (c->in_pump)
		return;
	if (c->state == CONN_CLOSED || stream_peek(c->stream).len > 0 ||
	    stream_ended(c->stream) != ERR_OK)
		soon_call(&c->soon);
}

void http_respond_end(struct http_request *r)
{
	struct http_conn *c = r->conn;

	check(r->begun);
	if (r->chunked && !r->no_body && buf_add(&c->out, STRL(H1_LAST_CHUNK)) != ERR_OK)
		c->cut = true;
	conn_next(c);
}

void http_respond_abort(struct http_request *r)
{
	struct http_conn *c = r->conn;

	c->cut = true;
	c->out.end = c->out.at = 0;
	conn_next(c);
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
	conn_flush(c);
	stream_own(st, NULL, NULL);
	c->stream = NULL;
	request_free(c);
	deadline_clear(&c->deadline);
	conn_set_state(c, CONN_CLOSED);
	if (!c->in_pump)
		soon_call(&c->soon);
	return st;
}

/* ---- the server ---- */

struct http_server *http_server_new(struct loop *l, const struct http_server_options *o,
                                    const struct http_handler *h)
{
	struct http_server *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->loop = l;
	s->options = *o;
	s->handler = *h;
	list_init(&s->conns);
	list_init(&s->idle);
	return s;
}

void http_server_set_options(struct http_server *s, const struct http_server_options *o)
{
	s->options = *o;
}

size_t http_server_connections(const struct http_server *s)
{
	return s->count;
}

size_t http_server_connections_of(const struct http_server *s, const struct address *peer)
{
	size_t n = 0;

	for (struct link *l = s->conns.next; l != &s->conns; l = l->next)
		n += address_same_network(&LIST_ENTRY(l, struct http_conn, link)->peer, peer);
	return n;
}

void http_server_on_idle(struct http_server *s, http_wake_fn *idle)
{
	s->idle_fn = idle;
}

bool http_server_close_idle(struct http_server *s)
{
	for (struct link *l = s->idle.next; l != &s->idle; l = l->next) {
		struct http_conn *c = LIST_ENTRY(l, struct http_conn, idle_link);

		/* one that has not asked yet, or does not read, is not idle but slow */
		if (c->in_pump || c->served == 0 || !is_sent(c))
			continue;
		conn_dismiss(c);
		soon_call(&c->soon);
		return true;
	}
	return false;
}

/* What is not yet a request is not waited for as long as one: its peer asks somebody else, or later. */
static void drain_heads(struct http_server *s)
{
	for (struct link *l = s->conns.next; l != &s->conns; l = l->next) {
		struct http_conn *c = LIST_ENTRY(l, struct http_conn, link);

		if (c->state == CONN_HEAD && s->options.head_ms > DRAIN_HEAD_MS)
			deadline_in(&c->deadline, DRAIN_HEAD_MS);
	}
}

void http_server_drain(struct http_server *s)
{
	s->draining = true;
	drain_heads(s);
	while (!list_empty(&s->idle)) {
		struct http_conn *c = LIST_ENTRY(s->idle.next, struct http_conn, idle_link);

		conn_leave(c);
		soon_call(&c->soon);
	}
}

void http_server_free(struct http_server *s)
{
	struct link *l;

	while ((l = s->conns.next) != &s->conns) {
		struct http_conn *c = LIST_ENTRY(l, struct http_conn, link);

		if (c->state == CONN_REQUEST) {
			request_break(c->request, ERR_CANCELLED);
			c->in_pump = true;
			c->request->wake(c->request->arg);
			c->in_pump = false;
			check(c->state != CONN_REQUEST);
		}
		conn_free(c);
	}
	free(s);
}
