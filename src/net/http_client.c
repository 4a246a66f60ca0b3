#include "net/http_client.h"

#include <stdlib.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/metrics.h"
#include "net/http_pool.h"

enum {
	CALL_OUT_MAX = 64 * 1024,
	CALL_FLUSH_AT = 16 * 1024,
	CALL_HELD_MAX = 64 *
		1024, /* of a request, to be sent again when a kept connection is dead */
	CALL_ARENA_MAX = 24 * 1024, /* one answer's head */
	INFORMATIONAL_MAX = 8,
};

enum call_state {
	CALL_DIALING,  /* the dial operation runs */
	CALL_QUEUING,  /* connected, waits until it may begin a TLS handshake */
	CALL_SECURING, /* the TLS handshake runs */
	CALL_TALKING,  /* the stream is ours: sending, reading */
	CALL_FAILED,   /* c->failed says why; the owner has been or will be woken */
};

struct http_call {
	struct http_pool        *pool;
	enum call_state          state;
	struct http_call_options options; /* pointers inside are into own memory */
	char                     tls_name[256];
	struct arena             arena; /* the request head, then the answer's */
	struct dial             *dial;
	struct tls_handshake    *handshake;
	struct stream           *bare; /* CALL_QUEUING: connected, not yet secure */
	struct limit_wait        turn; /* for the handshake */
	struct http_kept        *kept; /* the connection, CALL_TALKING */
	struct endpoint          reached;
	msec                     connect_by; /* addresses, turn and handshakes together */
	bool                     reused;
	bool                     retried;
	bool                     held_complete; /* held has all that was sent */
	bool                     sent_end;
	bool                     has_answer;
	bool                     done;
	unsigned                 informational;
	struct buf               out;  /* to be written at the next flush */
	struct buf               held; /* all that was sent, while it may have to be sent again */
	struct h1_head_parser   *parser;
	struct head              answer;
	struct h1_body           body;
	struct str               span;
	enum err                 failed;
	char                     fault[96];
	http_call_wake_fn       *wake;
	void                    *arg;
	struct deadline          deadline; /* the answer's head; progress */
	struct soon              soon;
	struct endpoint          to[]; /* the target's, as many as it had */
};

static void call_read(struct http_call *c);
static void call_dial(struct http_call *c);
static void call_connect(struct http_call *c);

/* ---- the call's course ---- */

static void call_wake(void *arg)
{
	struct http_call *c = arg;

	c->wake(c->arg);
}

static void call_leave_handshake(struct http_call *c)
{
	if (c->pool->options.handshakes != NULL)
		limit_leave(c->pool->options.handshakes);
}

static void call_drop_connection(struct http_call *c)
{
	dial_cancel(&c->dial);
	limit_wait_cancel(&c->turn);
	if (c->bare != NULL)
		stream_close(c->bare);
	c->bare = NULL;
	if (c->handshake != NULL) {
		tls_handshake_cancel(&c->handshake);
		call_leave_handshake(c);
	}
	if (c->kept != NULL)
		http_kept_free(c->kept);
	c->kept = NULL;
	if (c->parser != NULL)
		free(c->parser);
	c->parser = NULL;
}

/* The owner is told from the loop: failing may happen inside one of his own calls. */
static void call_fail(struct http_call *c, enum err e, const char *fault)
{
	if (c->state == CALL_FAILED)
		return;
	(void)str_copy(str_head(str_of(fault), sizeof(c->fault) - 1), c->fault, sizeof(c->fault));
	c->failed = e;
	c->state = CALL_FAILED;
	deadline_clear(&c->deadline);
	call_drop_connection(c);
	soon_call(&c->soon);
}

static bool method_repeatable(enum http_method m)
{
	return m == HTTP_GET || m == HTTP_HEAD || m == HTTP_PUT || m == HTTP_DELETE ||
		m == HTTP_OPTIONS;
}

/* A kept connection died under us. True: another one is being opened. */
static bool call_retry(struct http_call *c)
{
	bool nothing_sent = buf_len(&c->held) == 0 && c->held_complete;

	if (!c->reused || c->retried || c->has_answer || c->parser != NULL || !c->held_complete)
		return false; /* a parser: some of an answer came */
	if (!nothing_sent && !method_repeatable(c->options.method))
		return false;
	count(COUNT_retried);
	c->retried = true;
	c->reused = false;
	call_drop_connection(c);
	/* what was sent comes before what waits */
	if (buf_add(&c->held, buf_str(&c->out)) != ERR_OK)
		return false;
	buf_take(&c->out, buf_len(&c->out));
	if (buf_add(&c->out, buf_str(&c->held)) != ERR_OK)
		return false;
	buf_fini(&c->held);
	c->held_complete = false;
	call_connect(c);
	return true;
}

static void call_broken(struct http_call *c, enum err e, const char *fault)
{
	if (!call_retry(c))
		call_fail(c, e, fault);
}

/* Keeps what is about to be sent; returns it. The first of it, often all, is not copied: the bytes change hands. */
static struct str call_hold(struct http_call *c)
{
	struct buf none = c->held;

	if (c->held_complete && buf_len(&c->held) == 0) {
		c->held = c->out;
		c->out = none;
		return buf_str(&c->held);
	}
	if (c->held_complete && buf_add(&c->held, buf_str(&c->out)) != ERR_OK) {
		c->held_complete = false;
		buf_fini(&c->held);
	}
	return buf_str(&c->out);
}

void http_call_flush(struct http_call *c)
{
	struct str bytes;
	enum err   e;

	if (c->state != CALL_TALKING || buf_len(&c->out) == 0)
		return;
	bytes = call_hold(c);
	deadline_in(&c->deadline, c->options.response_head_ms);
	e = stream_write(c->kept->stream, bytes);
	buf_take(&c->out, buf_len(&c->out)); /* what may be sent again is held */
	if (c->sent_end || stream_room(c->kept->stream) == 0)
		buf_rest(&c->out);
	if (e != ERR_OK)
		call_broken(c, e == ERR_NOMEM ? e : ERR_RESET, "connection lost while sending");
}

/* The stream said look: read what is there, then let the owner look. */
static void on_stream_wake(void *arg)
{
	struct http_call *c = arg;

	call_read(c);
	if (c->state == CALL_TALKING)
		c->wake(c->arg);
}

static void call_talk(struct http_call *c, struct http_kept *k)
{
	c->kept = k;
	c->state = CALL_TALKING;
	c->reached = k->to;
	stream_own(k->stream, on_stream_wake, c);
	deadline_in(&c->deadline, c->options.response_head_ms);
}

static void call_connected(struct http_call *c, struct stream *st)
{
	struct http_kept *k = http_kept_new(c->pool, st, &c->reached, c->tls_name);

	if (k == NULL) {
		call_fail(c, ERR_NOMEM, "no memory for a connection");
		return;
	}
	call_talk(c, k);
	/* Otherwise the owner adds the body and flushes both. What is sent again may be more than there is room
	   for: it has to be gone before he looks for room. */
	if (c->sent_end || c->retried)
		http_call_flush(c);
	if (c->state == CALL_TALKING)
		c->wake(c->arg);
}

static msec connect_left(const struct http_call *c)
{
	msec now = loop_now(c->pool->loop);

	return now < c->connect_by ? c->connect_by - now : 1;
}

/* TLS failed with this address: the ones not yet reached may do better. */
static bool call_try_next(struct http_call *c)
{
	size_t i = 0;

	while (i < c->options.target.count &&
	       !address_equal(&c->to[i].address, &c->reached.address))
		i++;
	if (i + 1 > c->options.target.count || c->options.target.count == 1)
		return false;
	c->options.target.count--;
	memmove(&c->to[i], &c->to[i + 1], (c->options.target.count - i) * sizeof(c->to[0]));
	call_dial(c);
	return true;
}

static void on_secured(void *arg, enum err e, struct stream *secure, const char *detail)
{
	struct http_call *c = arg;
	struct tls_info   info;

	call_leave_handshake(c);
	if (e != ERR_OK) {
		if (!call_try_next(c))
			call_fail(c, e, detail);
		return;
	}
	tls_stream_info(secure, &info);
	count(COUNT_outbound_handshakes);
	if (info.resumed)
		count(COUNT_outbound_handshakes_resumed);
	call_connected(c, secure);
}

/* One address must not use up the time of the others. */
static msec handshake_patience(const struct http_call *c)
{
	return c->options.target.count > 1 ? connect_left(c) / 2 + 1 : connect_left(c);
}

static void call_secure(struct http_call *c)
{
	struct stream *st = c->bare;
	char           key[400];
	struct writer  w = writer_over(key, sizeof(key));
	enum err       e;

	write_text(&w, c->tls_name);
	write_char(&w, '|');
	address_write(&w, &c->reached.address);
	c->state = CALL_SECURING;
	e = tls_connect_start(&c->handshake, c->pool->loop, c->options.target.tls, st,
	                      str_of(c->tls_name), c->options.target.tls_name_is_address,
	                      writer_done(&w), handshake_patience(c), on_secured, c);
	if (e == ERR_OK) {
		c->bare = NULL;
		return;
	}
	call_leave_handshake(c);
	call_fail(c, e, "TLS cannot begin");
}

/* Nothing a server says before the handshake matters; that it left does. */
static void on_bare_wake(void *arg)
{
	struct http_call *c = arg;

	if (stream_ended(c->bare) != ERR_OK)
		call_fail(c, ERR_RESET, "closed before the handshake");
}

static void on_turn(void *arg)
{
	call_secure(arg);
}

static void call_queue(struct http_call *c, struct stream *st)
{
	c->state = CALL_QUEUING;
	c->bare = st;
	stream_own(st, on_bare_wake, c);
	if (c->pool->options.handshakes == NULL ||
	    limit_enter(c->pool->options.handshakes, &c->turn))
		call_secure(c);
}

static void on_dialed(void *arg, enum err e, struct stream *st, const struct endpoint *reached)
{
	struct http_call *c = arg;

	if (e != ERR_OK) {
		call_fail(c, e, "no connection");
		return;
	}
	c->reached = *reached;
	if (c->options.target.tls != NULL)
		call_queue(c, st);
	else
		call_connected(c, st);
}

static void call_dial(struct http_call *c)
{
	enum err e;

	c->state = CALL_DIALING;
	e = dial_start(&c->dial, c->pool->loop, c->to, c->options.target.count, connect_left(c),
	               on_dialed, c);
	if (e != ERR_OK)
		call_fail(c, e, "no connection");
}

static void call_connect(struct http_call *c)
{
	c->connect_by = loop_now(c->pool->loop) + c->options.target.connect_ms;
	deadline_in(&c->deadline, c->options.target.connect_ms);
	call_dial(c);
}

static void on_call_deadline(void *arg)
{
	struct http_call *c = arg;

	if (c->state != CALL_TALKING)
		call_fail(c, ERR_TIMEOUT, "no connection in time");
	else
		call_fail(c, ERR_TIMEOUT,
		          c->has_answer ? "the answer stopped" : "no answer in time");
}

static bool call_take_kept(struct http_call *c)
{
	struct http_kept *k = NULL;

	if (!c->options.keep)
		return false;
	for (size_t i = 0; k == NULL && i < c->options.target.count; i++)
		k = http_pool_take(c->pool, &c->to[i], c->tls_name);
	if (k == NULL)
		return false;
	c->reused = true;
	c->held_complete = true;
	call_talk(c, k);
	return true;
}

static enum err call_init(struct http_call *c, const struct http_call_options *o)
{
	c->options = *o;
	c->options.target.tls = NULL; /* held below */
	c->options.head = (struct str){ NULL, 0 };
	memcpy(c->to, o->target.to, o->target.count * sizeof(c->to[0]));
	c->options.target.to = c->to;
	if (!str_copy(o->target.tls_name, c->tls_name, sizeof(c->tls_name)))
		return ERR_RANGE;
	if (o->target.tls != NULL)
		c->options.target.tls = tls_client_keep(o->target.tls);
	c->sent_end = !o->has_body;
	return buf_add(&c->out, o->head);
}

enum err http_call_open(struct http_pool *p, const struct http_call_options *o,
                        http_call_wake_fn *wake, void *arg, struct http_call **out)
{
	size_t            count_to = o->target.count;
	struct http_call *c;
	enum err          e;

	if (count_to == 0 || count_to > DIAL_ADDRESSES_MAX)
		return ERR_RANGE;
	c = calloc(1, sizeof(*c) + count_to * sizeof(c->to[0]));
	if (c == NULL)
		return ERR_NOMEM;
	c->pool = p;
	c->wake = wake;
	c->arg = arg;
	buf_init(&c->out, CALL_OUT_MAX + CALL_HELD_MAX);
	buf_init(&c->held, CALL_HELD_MAX + CALL_OUT_MAX);
	arena_init(&c->arena, CALL_ARENA_MAX);
	deadline_init(&c->deadline, p->loop, on_call_deadline, c);
	soon_init(&c->soon, p->loop, call_wake, c);
	limit_wait_init(&c->turn, p->loop, on_turn, c);
	e = call_init(c, o);
	if (e != ERR_OK) {
		http_call_close(c);
		return e;
	}
	if (!call_take_kept(c))
		call_connect(c);
	*out = c;
	return ERR_OK;
}

/* May the next call have this connection? */
static bool call_is_clean(const struct http_call *c)
{
	return c->state == CALL_TALKING && c->options.keep && c->has_answer && c->done &&
		c->sent_end && buf_len(&c->out) == 0 && c->answer.keep_alive &&
		c->answer.body != BODY_TO_CLOSE && stream_ended(c->kept->stream) == ERR_OK &&
		stream_peek(c->kept->stream).len == 0;
}

void http_call_close(struct http_call *c)
{
	if (c == NULL)
		return;
	if (call_is_clean(c)) {
		http_pool_put(c->pool, c->kept);
		c->kept = NULL;
	}
	call_drop_connection(c);
	if (c->options.target.tls != NULL)
		tls_client_drop(c->options.target.tls);
	deadline_clear(&c->deadline);
	soon_clear(&c->soon);
	buf_fini(&c->out);
	buf_fini(&c->held);
	arena_fini(&c->arena);
	free(c);
}

/* ---- sending ---- */

size_t http_call_room(const struct http_call *c)
{
	size_t room, staged = buf_len(&c->out) + H1_CHUNK_OVERHEAD;

	if (c->state != CALL_TALKING)
		return 0;
	room = stream_room(c->kept->stream);
	return room > staged ? room - staged : 0;
}

void http_call_send(struct http_call *c, struct str framed)
{
	if (c->state == CALL_FAILED)
		return;
	if (buf_add(&c->out, framed) != ERR_OK)
		call_fail(c, ERR_NOMEM, "no memory for the request");
	else if (buf_len(&c->out) >= CALL_FLUSH_AT)
		http_call_flush(c);
}

void http_call_send_end(struct http_call *c)
{
	c->sent_end = true;
}

/* ---- reading ---- */

static enum err answer_view(struct http_call *c, struct str bytes)
{
	struct str    own;
	struct field *fields;

	own = arena_copy(&c->arena, str_head(bytes, c->parser->length));
	fields = arena_alloc(&c->arena, (c->parser->slot_count + 1) * sizeof(*fields));
	if (arena_failed(&c->arena))
		return ERR_NOMEM;
	return h1_head_view(c->parser, own, c->options.method, fields, &c->answer);
}

static void answer_begin(struct http_call *c)
{
	c->has_answer = true;
	free(c->parser);
	c->parser = NULL;
	buf_fini(&c->held);
	c->held_complete = false;
	c->done = c->answer.body == BODY_NONE ||
		(c->answer.body == BODY_LENGTH && c->answer.content_length == 0);
	if (!c->done)
		h1_body_init(&c->body, &c->answer);
	deadline_in(&c->deadline, c->options.response_head_ms);
	if (c->done)
		deadline_clear(&c->deadline);
}

static bool call_ensure_parser(struct http_call *c)
{
	if (c->parser != NULL)
		return true;
	c->parser = malloc(sizeof(*c->parser));
	if (c->parser == NULL) {
		call_fail(c, ERR_NOMEM, "no memory for the answer");
		return false;
	}
	h1_head_init(c->parser, H1_RESPONSE, &c->pool->options.limits);
	return true;
}

/* One head, final or informational. True: look for more. */
static bool call_read_head(struct http_call *c)
{
	struct str bytes = stream_peek(c->kept->stream);
	enum err   e;

	if (bytes.len == 0 || !call_ensure_parser(c))
		return false;
	e = h1_head_feed(c->parser, bytes);
	if (e == ERR_BUSY && bytes.len >= STREAM_RX_MAX)
		e = ERR_SYNTAX, c->parser->fault.slug = "head-too-large";
	if (e == ERR_BUSY)
		return false;
	if (e == ERR_OK)
		e = answer_view(c, bytes);
	if (e != ERR_OK) {
		call_fail(c, e == ERR_SYNTAX ? ERR_BAD_ANSWER : e,
		          e == ERR_NOMEM ? "no memory for the answer" : c->parser->fault.slug);
		return false;
	}
	stream_consume(c->kept->stream, c->parser->length);
	if (c->answer.status == 101) {
		call_fail(c, ERR_BAD_ANSWER, "101-without-upgrade");
	} else if (c->answer.status >= 200) {
		answer_begin(c);
	} else if (++c->informational > INFORMATIONAL_MAX) {
		call_fail(c, ERR_BAD_ANSWER, "too-many-1xx");
	} else {
		arena_fini(&c->arena);
		arena_init(&c->arena, CALL_ARENA_MAX);
		h1_head_init(c->parser, H1_RESPONSE, &c->pool->options.limits);
		return true;
	}
	return false;
}

static void call_read(struct http_call *c)
{
	enum err end;

	while (!c->has_answer && c->state == CALL_TALKING && call_read_head(c))
		;
	if (c->state != CALL_TALKING)
		return;
	end = stream_ended(c->kept->stream);
	if (end == ERR_OK || c->has_answer)
		return;
	if (c->parser != NULL && c->parser->at > 0)
		call_broken(c, ERR_TRUNCATED, "closed within the head of an answer");
	else
		call_broken(c, end == ERR_EOF ? ERR_RESET : end, "closed without an answer");
}

enum err http_call_failed(const struct http_call *c)
{
	return c->failed;
}

const char *http_call_fault(const struct http_call *c)
{
	return c->fault;
}

bool http_call_connected(const struct http_call *c)
{
	return c->state == CALL_TALKING;
}

bool http_call_reused(const struct http_call *c)
{
	return c->reused;
}

const struct head *http_call_answer(const struct http_call *c)
{
	return c->has_answer ? &c->answer : NULL;
}

static void body_ended(struct http_call *c)
{
	enum err end = stream_ended(c->kept->stream);
	bool     orderly = end == ERR_EOF || (end == ERR_TRUNCATED && c->options.self_delimiting);

	if (end == ERR_OK)
		return;
	/* without a length only an orderly end is an end */
	if (orderly && h1_body_end(&c->body) == ERR_OK)
		c->done = true;
	else
		call_fail(c, end == ERR_EOF ? ERR_TRUNCATED : end, "the answer was cut short");
}

static void body_decode(struct http_call *c)
{
	while (c->span.len == 0 && !h1_body_done(&c->body)) {
		struct str in = stream_peek(c->kept->stream);
		size_t     used, front;

		if (in.len == 0) {
			body_ended(c);
			return;
		}
		if (h1_body_feed(&c->body, in, &used, &c->span) != ERR_OK) {
			call_fail(c, ERR_BAD_ANSWER, c->body.fault);
			return;
		}
		front = c->span.len > 0 ? (size_t)(c->span.ptr - in.ptr) : used;
		check(c->span.len == 0 || front + c->span.len == used);
		if (front > 0)
			stream_consume(c->kept->stream, front);
		deadline_in(&c->deadline, c->options.response_head_ms);
	}
	if (c->span.len == 0 && h1_body_done(&c->body))
		c->done = true;
}

struct str http_call_peek(struct http_call *c)
{
	static const struct str none = { "", 0 };

	if (!c->has_answer || c->done || c->state != CALL_TALKING)
		return none;
	if (c->span.len == 0)
		body_decode(c);
	if (c->done)
		deadline_clear(&c->deadline);
	if (c->state != CALL_TALKING || c->span.len == 0)
		return none;
	c->span.ptr = stream_peek(c->kept->stream).ptr; /* it may have moved its bytes since */
	return c->span;
}

void http_call_consume(struct http_call *c, size_t n)
{
	check(n <= c->span.len);
	stream_consume(c->kept->stream, n);
	c->span.len -= n;
	if (c->span.len == 0 && h1_body_done(&c->body)) {
		c->done = true;
		deadline_clear(&c->deadline);
	}
}

bool http_call_done(const struct http_call *c)
{
	return c->done;
}
