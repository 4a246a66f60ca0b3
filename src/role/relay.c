#include "role/relay.h"

#include <stdlib.h>

#include "base/buf.h"

enum { RELAY_SPAN_MAX = 16 * 1024 };

struct relay {
	struct http_request *request;
	struct http_call    *call;
	struct relay_owner   owner;
	struct relay_result  result;
	struct str           answer_fields; /* in the request's arena */
	bool                 chunked;       /* the request body is sent in chunks */
	bool                 up_done;
	bool                 copying; /* copy holds all that was consumed of the body */
	struct buf           copy;
	bool (*fails)(int status);
	struct copies   *copies;
	size_t           counted; /* of the copy, there */
	struct relay_tap tap;
};

static void relay_pump(void *arg);

/* ---- the head we send ---- */

static size_t fields_size(const struct head *h)
{
	size_t n = 0;

	for (size_t i = 0; i < h->field_count; i++)
		n += h->fields[i].name.len + h->fields[i].value.len + 4;
	return n;
}

static void write_request_fields(struct writer *w, const struct head *h,
                                 const struct relay_options *o)
{
	for (size_t i = 0; i < h->field_count; i++) {
		const struct field *f = &h->fields[i];

		if (f->id == FIELD_HOST || f->id == FIELD_CONTENT_LENGTH || f->id == FIELD_EXPECT)
			continue;
		if (!head_is_hop_by_hop(h, f) && o->keep(f))
			h1_write_field(w, f->name, f->value);
	}
}

static void write_request_head(struct writer *w, const struct head *h,
                               const struct relay_options *o)
{
	h1_write_request_line(w, h->method_text, o->path);
	h1_write_field(w, STRL("Host"), o->host);
	write_request_fields(w, h, o);
	write_str(w, o->fields);
	if (h->body == BODY_LENGTH)
		h1_write_length(w, h->content_length);
	else if (h->body == BODY_CHUNKED)
		h1_write_field(w, STRL("Transfer-Encoding"), STRL("chunked"));
	if (!o->keep_connection)
		h1_write_field(w, STRL("Connection"), STRL("close"));
	write_text(w, "\r\n");
}

static struct str request_head(struct http_request *r, const struct relay_options *o)
{
	const struct head *h = http_request_head(r);
	size_t size = 192 + h->method_text.len + o->path.len + o->host.len + o->fields.len +
		fields_size(h);
	char         *to = arena_alloc(http_request_arena(r), size);
	struct writer w = writer_over(to, to == NULL ? 0 : size);

	write_request_head(&w, h, o);
	/* the arena may have failed before: for fields that would be missing now */
	return w.failed || arena_failed(http_request_arena(r)) ? (struct str){ NULL, 0 }
							       : writer_done(&w);
}

/* ---- its course ---- */

static void relay_uncount(struct relay *r)
{
	copies_give(r->copies, r->counted);
	r->counted = 0;
}

static void relay_stop_copying(struct relay *r)
{
	relay_uncount(r);
	r->copying = false;
	buf_fini(&r->copy);
}

static void relay_copy(struct relay *r, struct str span)
{
	if (!copies_take(r->copies, span.len)) {
		relay_stop_copying(r);
		return;
	}
	r->counted += span.len;
	if (buf_add(&r->copy, span) != ERR_OK)
		relay_stop_copying(r);
}

static void relay_end(struct relay *r, enum err e, const char *fault)
{
	struct relay_owner  owner = r->owner;
	struct relay_result result = r->result;
	char                text[128];

	(void)str_copy(str_head(str_of(fault), sizeof(text) - 1), text, sizeof(text));
	result.err = e;
	result.fault = text;
	result.reused = http_call_reused(r->call);
	http_call_close(r->call);
	relay_stop_copying(r);
	free(r);
	owner.ended(owner.arg, &result);
}

static void relay_hand_back(struct relay *r, enum err e, const char *fault)
{
	struct str copy = buf_str(&r->copy);

	relay_uncount(r); /* whoever goes on with it counts it for himself */
	r->owner.failed(r->owner.arg, r->request, e, fault, r->copying ? &copy : NULL);
}

/* Nothing more to pass on. An answer that has begun is cut, otherwise the owner answers. */
static void relay_fail(struct relay *r, enum err e, const char *fault)
{
	if (http_respond_begun(r->request))
		http_respond_abort(r->request);
	else
		relay_hand_back(r, e, fault);
	relay_end(r, e, fault);
}

static void relay_request_broken(struct relay *r, enum err e)
{
	bool answerable = e == ERR_SYNTAX || e == ERR_TOO_LARGE || e == ERR_SLOW_PEER;

	if (answerable && !http_respond_begun(r->request)) {
		relay_fail(r, e, "request body");
		return;
	}
	http_respond_abort(r->request);
	relay_end(r, e, "the peer left");
}

static void relay_send_span(struct relay *r, struct str span)
{
	char          head[H1_CHUNK_OVERHEAD];
	struct writer w = writer_over(head, sizeof(head));

	if (r->chunked) {
		h1_write_chunk_head(&w, span.len);
		http_call_send(r->call, writer_done(&w));
	}
	http_call_send(r->call, span);
	if (r->chunked)
		http_call_send(r->call, STRL("\r\n"));
	r->result.up_bytes += span.len;
	if (r->tap.sent != NULL)
		r->tap.sent(r->tap.arg, span);
	if (r->copying)
		relay_copy(r, span);
}

static void relay_up_end(struct relay *r)
{
	if (r->chunked)
		http_call_send(r->call, STRL(H1_LAST_CHUNK));
	http_call_send_end(r->call);
	r->up_done = true;
}

/* True: only room is missing. */
static bool relay_up_some(struct relay *r)
{
	size_t room;

	while (!r->up_done && (room = http_call_room(r->call)) > 0) {
		struct str span = http_request_peek(r->request);

		if (http_request_body_done(r->request)) {
			relay_up_end(r);
			break;
		}
		if (span.len == 0)
			return false;
		span = str_head(span, room < RELAY_SPAN_MAX ? room : RELAY_SPAN_MAX);
		relay_send_span(r, span);
		http_request_consume(r->request, span.len);
	}
	return !r->up_done;
}

/* What is staged counts as room taken; when it has been written there may be some again. */
static void relay_up(struct relay *r)
{
	bool more;

	do {
		more = relay_up_some(r);
		http_call_flush(r->call);
	} while (more && http_call_room(r->call) > 0);
}

/* True: only room is missing. */
static bool relay_down_some(struct relay *r)
{
	size_t room;

	while ((room = http_respond_room(r->request)) > 0) {
		struct str span = http_call_peek(r->call);

		if (span.len == 0)
			return false;
		span = str_head(span, room < RELAY_SPAN_MAX ? room : RELAY_SPAN_MAX);
		http_respond_body(r->request, span);
		if (r->tap.got != NULL)
			r->tap.got(r->tap.arg, span);
		r->result.down_bytes += span.len;
		http_call_consume(r->call, span.len);
	}
	return true;
}

static void relay_begin_answer(struct relay *r, const struct head *h)
{
	struct str copy = buf_str(&r->copy);

	r->result.status = h->status;
	if (r->tap.begun != NULL)
		r->tap.begun(r->tap.arg, h, r->copying && r->up_done ? &copy : NULL);
	relay_stop_copying(r);
	http_respond_head(r->request, h, r->answer_fields);
}

/* True: the answer is complete. */
static bool relay_down(struct relay *r)
{
	const struct head *h = http_call_answer(r->call);

	if (h == NULL)
		return false;
	if (!http_respond_begun(r->request))
		relay_begin_answer(r, h);
	while (relay_down_some(r)) {
		http_respond_flush(r->request);
		if (http_respond_room(r->request) == 0)
			break;
	}
	return http_call_done(r->call);
}

static bool relay_is_as_good_as_none(const struct relay *r)
{
	const struct head *h = http_call_answer(r->call);

	return r->fails != NULL && h != NULL && !http_respond_begun(r->request) &&
		r->fails(h->status);
}

static void relay_pump(void *arg)
{
	struct relay *r = arg;
	enum err      e;
	bool          complete;

	e = http_request_broken(r->request);
	if (e != ERR_OK) {
		relay_request_broken(r, e);
		return;
	}
	if (http_call_answer(r->call) == NULL)
		relay_up(r);
	if (relay_is_as_good_as_none(r)) {
		relay_fail(r, ERR_RESET, "a gateway answered for it");
		return;
	}
	complete = relay_down(r);
	if (complete) {
		http_respond_end(r->request);
		relay_end(r, ERR_OK, "");
		return;
	}
	e = http_call_failed(r->call);
	if (e != ERR_OK) {
		relay_fail(r, e, http_call_fault(r->call));
		return;
	}
	http_respond_flush(r->request);
}

enum err relay_start(struct http_request *request, const struct relay_options *o,
                     const struct relay_owner *owner, struct relay **out)
{
	const struct head       *h = http_request_head(request);
	struct http_call_options call = {
		.target = *o->target,
		.method = h->method,
		.head = request_head(request, o),
		.has_body = !http_request_body_done(request),
		.response_head_ms = o->response_head_ms,
		.keep = o->keep_connection,
	};
	struct relay *r = calloc(1, sizeof(*r));
	enum err      e = r == NULL || call.head.ptr == NULL ? ERR_NOMEM : ERR_OK;

	if (e == ERR_OK) {
		r->request = request;
		r->owner = *owner;
		r->answer_fields = o->answer_fields;
		r->copying = o->copy_max > 0;
		r->copies = o->copies;
		r->fails = o->fails;
		if (o->tap != NULL)
			r->tap = *o->tap;
		buf_init(&r->copy, o->copy_max);
		r->chunked = h->body == BODY_CHUNKED;
		r->up_done = !call.has_body;
		e = http_call_open(o->pool, &call, relay_pump, r, &r->call);
	}
	if (e != ERR_OK) {
		free(r);
		return e;
	}
	*out = r;
	http_request_own(request, relay_pump, r);
	relay_up(r);
	return ERR_OK;
}

void relay_give_up(struct relay *r, enum err e, const char *fault)
{
	if (!http_respond_begun(r->request))
		relay_fail(r, e, fault);
}
