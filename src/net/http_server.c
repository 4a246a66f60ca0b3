#include "net/http_server_inside.h"

#include <stdlib.h>

#include "base/log.h"

enum {
	CONN_OUT_MAX = 64 * 1024, /* head and body put together before one stream_write() */
	CONN_BURST = 32,          /* requests answered in one turn before others get theirs */
	LINGER_MS = 2000,
	LINGER_BYTES = 64 * 1024,
	DRAIN_HEAD_MS = 1000,
};

static void conn_pump(void *arg);
static void on_deadline(void *arg);

/* ---- life of a connection ---- */

void http_conn_set_state(struct http_conn *c, enum conn_state state)
{
	if (c->state == CONN_IDLE)
		list_remove(&c->idle_link);
	c->state = state;
	if (state == CONN_IDLE)
		list_push_back(&c->server->idle, &c->idle_link);
}

static void conn_free(struct http_conn *c)
{
	struct http_server *s = c->server;

	http_request_free(c);
	deadline_clear(&c->deadline);
	soon_clear(&c->soon);
	buf_fini(&c->out);
	if (c->stream != NULL)
		stream_close(c->stream);
	list_remove(&c->idle_link);
	list_remove(&c->link);
	s->count--;
	free(c);
	if (s->handler.closed != NULL)
		s->handler.closed(s->handler.arg);
}

void http_conn_flush(struct http_conn *c)
{
	if (buf_len(&c->out) == 0)
		return;
	if (!c->cut && stream_write(c->stream, buf_str(&c->out)) != ERR_OK)
		c->cut = true;
	buf_take(&c->out, buf_len(&c->out));
	if (stream_room(c->stream) == 0)
		buf_rest(&c->out); /* it may be long until there is more to put together */
}

enum err http_server_take(struct http_server *s, struct stream *st, const struct address *peer)
{
	struct http_conn *c = calloc(1, sizeof(*c));

	if (c == NULL) {
		stream_close(st);
		return ERR_NOMEM;
	}
	c->server = s;
	c->state = CONN_HEAD;
	c->stream = st;
	c->peer = *peer;
	buf_init(&c->out, CONN_OUT_MAX);
	deadline_init(&c->deadline, s->loop, on_deadline, c);
	soon_init(&c->soon, s->loop, conn_pump, c);
	list_init(&c->idle_link);
	list_push_back(&s->conns, &c->link);
	s->count++;
	http_conn_set_state(c, CONN_IDLE);
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
	http_conn_flush(c);
	buf_rest(&c->out);
	if (c->cut || (stream_ended(c->stream) != ERR_OK && stream_ended(c->stream) != ERR_EOF)) {
		http_conn_set_state(c, CONN_CLOSED);
		return;
	}
	stream_shutdown(c->stream);
	http_conn_set_state(c, CONN_LINGER);
	c->lingered = 0;
	c->linger_unsent = stream_unsent(c->stream);
	deadline_in(&c->deadline, is_sent(c) ? LINGER_MS : c->server->options.write_idle_ms);
}

/* Between two requests, with nothing left to send: the peer sees an end in good order (RFC 8446 6.1). */
static void conn_dismiss(struct http_conn *c)
{
	stream_shutdown(c->stream);
	http_conn_set_state(c, CONN_CLOSED);
}

/* No further request: closes, when the peer has had the answers to the earlier ones. */
static void conn_leave(struct http_conn *c)
{
	http_request_free(c);
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
	http_request_free(c);
	conn_linger(c);
}

static void conn_malformed(struct http_conn *c, int status, const char *slug)
{
	const struct http_handler *h = &c->server->handler;

	if (h->malformed != NULL)
		h->malformed(h->arg, &c->peer, status, slug);
	conn_refuse(c, status, slug);
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
	http_conn_set_state(c, CONN_REQUEST);
	deadline_clear(&c->deadline);
	http_request_note_end(r);
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
		c->request = http_request_new(c);
		if (c->request == NULL) {
			conn_refuse(c, 503, "no-memory");
			return false;
		}
		if (c->served > 0)
			deadline_in(&c->deadline, c->server->options.head_ms);
		http_conn_set_state(c, CONN_HEAD);
	}
	e = h1_head_feed(&c->request->parser, bytes);
	if (e == ERR_BUSY) {
		if (bytes.len >= STREAM_RX_MAX)
			conn_malformed(c, 431, "head-too-large");
		return false;
	}
	if (e == ERR_OK)
		e = http_request_read(c->request, bytes);
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

	http_request_note_end(r);
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
		http_conn_set_state(c, CONN_CLOSED);
	else if (is_sent(c) && (end == ERR_EOF || c->lingered > LINGER_BYTES))
		http_conn_set_state(c, CONN_CLOSED);
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
		http_conn_set_state(c, CONN_CLOSED);
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
		http_request_break(c->request,
		                   stream_ended(c->stream) == ERR_EOF ? ERR_EOF : ERR_SLOW_PEER);
		break;
	case CONN_CLOSED:
		break;
	}
	conn_pump(c);
}

/* May run inside or outside conn_pump(). */
void http_conn_next(struct http_conn *c)
{
	http_request_free(c);
	http_conn_flush(c);
	if (c->cut) {
		http_conn_set_state(c, CONN_CLOSED);
	} else if (c->close_after || c->server->draining) {
		conn_linger(c);
	} else {
		buf_rest(&c->out);
		http_conn_set_state(c, CONN_IDLE);
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
			http_request_break(c->request, ERR_CANCELLED);
			c->in_pump = true;
			c->request->wake(c->request->arg);
			c->in_pump = false;
			check(c->state != CONN_REQUEST);
		}
		conn_free(c);
	}
	free(s);
}
