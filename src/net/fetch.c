#include "net/fetch.h"

#include <stdlib.h>

#include "base/buf.h"

struct fetch {
	struct fetch    **slot;
	struct http_call *call;
	struct buf        body;
	struct deadline   deadline;
	struct soon       over; /* freeing, outside the call's wake */
	fetch_done_fn    *done;
	void             *arg;
};

static void fetch_free(void *arg)
{
	struct fetch *f = arg;

	http_call_close(f->call);
	deadline_clear(&f->deadline);
	soon_clear(&f->over);
	buf_fini(&f->body);
	free(f);
}

static void fetch_finish(struct fetch *f, enum err e, const char *fault)
{
	struct fetch_result res = { .err = e, .fault = fault };

	*f->slot = NULL;
	deadline_clear(&f->deadline);
	soon_call(&f->over);
	if (e == ERR_OK) {
		res.head = http_call_answer(f->call);
		res.body = buf_str(&f->body);
	}
	f->done(f->arg, &res);
}

static void on_deadline(void *arg)
{
	fetch_finish(arg, ERR_TIMEOUT, "no answer in time");
}

static void on_call(void *arg)
{
	struct fetch *f = arg;
	struct str    span;

	if (f->over.queued)
		return;
	while ((span = http_call_peek(f->call)).len > 0) {
		enum err e = buf_add(&f->body, span);

		if (e != ERR_OK) {
			fetch_finish(f, e == ERR_LIMIT ? ERR_TOO_LARGE : e, "body");
			return;
		}
		http_call_consume(f->call, span.len);
	}
	if (http_call_failed(f->call) != ERR_OK)
		fetch_finish(f, http_call_failed(f->call), http_call_fault(f->call));
	else if (http_call_answer(f->call) != NULL && http_call_done(f->call))
		fetch_finish(f, ERR_OK, "");
}

static struct str fetch_head(char *text, size_t size, const struct fetch_options *o)
{
	struct writer w = writer_over(text, size);

	h1_write_request_line(&w, STRL("GET"), o->path);
	h1_write_field(&w, STRL("Host"), o->host);
	h1_write_field(&w, STRL("Accept"), STRL("application/json"));
	h1_write_field(&w, STRL("User-Agent"), STRL("doorstep"));
	h1_write_field(&w, STRL("Connection"), STRL("close"));
	write_text(&w, "\r\n");
	return w.failed ? (struct str){ NULL, 0 } : writer_done(&w);
}

enum err fetch_start(struct fetch **slot, struct loop *l, struct http_pool *p,
                     const struct fetch_options *o, fetch_done_fn *done, void *arg)
{
	char                     text[2048];
	struct http_call_options call = {
		.target = o->target,
		.method = HTTP_GET,
		.head = fetch_head(text, sizeof(text), o),
		.response_head_ms = o->deadline_ms,
		.self_delimiting = o->self_delimiting,
	};
	struct fetch *f = call.head.ptr == NULL ? NULL : calloc(1, sizeof(*f));
	enum err      e;

	if (f == NULL)
		return ERR_NOMEM;
	f->slot = slot;
	f->done = done;
	f->arg = arg;
	buf_init(&f->body, o->body_max);
	deadline_init(&f->deadline, l, on_deadline, f);
	soon_init(&f->over, l, fetch_free, f);
	e = http_call_open(p, &call, on_call, f, &f->call);
	if (e != ERR_OK) {
		free(f);
		return e;
	}
	deadline_in(&f->deadline, o->deadline_ms);
	*slot = f;
	return ERR_OK;
}

void fetch_cancel(struct fetch **slot)
{
	struct fetch *f = *slot;

	if (f == NULL)
		return;
	*slot = NULL;
	fetch_free(f);
}
