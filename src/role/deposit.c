#include "role/deposit.h"

#include <stdlib.h>

#include "base/metrics.h"
#include "codec/matrix/signing.h"
#include "fed/asleep.h"
#include "fed/transaction.h"

struct deposit {
	struct deposit       **slot;
	struct loop           *loop;
	struct http_request   *request;
	struct deposit_options o;
	struct verifier_check *check;
	struct queue_put      *put;
	struct buf             body;
	size_t                 counted; /* of it, in copies */
	struct transaction     seen;
	bool                   has_key; /* the first step is done: the body may be read */
	bool                   checking;
	enum deposit_result    result; /* found out inside a call; told by soon */
	enum err               err;
	struct soon            soon;
	struct deadline        late; /* for the body */
	deposit_done_fn       *done;
	void                  *arg;
};

static void deposit_free(struct deposit *d)
{
	verifier_check_cancel(&d->check);
	queue_put_cancel(&d->put);
	soon_clear(&d->soon);
	deadline_clear(&d->late);
	buf_fini(&d->body);
	copies_give(d->o.copies, d->counted);
	free(d);
}

static void deposit_finish(struct deposit *d, enum deposit_result r, enum err e)
{
	deposit_done_fn *done = d->done;
	void            *arg = d->arg;
	unsigned         parts = d->seen.ended ? d->seen.parts : 0;

	*d->slot = NULL;
	deposit_free(d);
	if (r == DEPOSIT_REFUSED)
		count_cause(CAUSE_queue_refused, e);
	else if (r == DEPOSIT_KEPT)
		count(COUNT_queue_accepted);
	else if (r == DEPOSIT_DROPPED)
		count(COUNT_queue_dropped);
	done(arg, r, e, parts);
}

static void on_put(void *arg, enum err e)
{
	if (e == ERR_OK || e == ERR_EXISTS)
		deposit_finish(arg, DEPOSIT_KEPT, ERR_OK);
	else
		deposit_finish(arg, DEPOSIT_REFUSED, e);
}

/* ---- what goes into the store ---- */

/* The last segment of the path, percent-decoded: an opaque string. */
static struct str transaction_id(struct arena *arena, struct str target)
{
	struct str    path = str_head(target, str_find(target, '?'));
	size_t        at = path.len;
	char         *to;
	struct writer w;

	if (at > 0 && path.ptr[at - 1] == '/')
		at--; /* a slash at the end makes no difference */
	path.len = at;
	while (at > 0 && path.ptr[at - 1] != '/')
		at--;
	to = arena_alloc(arena, path.len - at + 1);
	w = writer_over(to, to == NULL ? 0 : path.len - at);
	asleep_write_decoded(&w, str_from(path, at));
	return w.failed ? STRL("") : writer_done(&w);
}

static bool is_xmatrix(const struct field *f)
{
	return f->id == FIELD_AUTHORIZATION && f->value.len > 8 &&
		str_ieq(str_head(f->value, 8), STRL("X-Matrix"));
}

static struct str authorization_lines(struct arena *arena, const struct head *h)
{
	size_t        size = 0;
	char         *to;
	struct writer w;

	for (size_t i = 0; i < h->field_count; i++)
		size += is_xmatrix(&h->fields[i]) ? h->fields[i].value.len + 1 : 0;
	to = arena_alloc(arena, size + 1);
	w = writer_over(to, to == NULL ? 0 : size);
	for (size_t i = 0; i < h->field_count; i++)
		if (is_xmatrix(&h->fields[i])) {
			write_str(&w, h->fields[i].value);
			write_char(&w, '\n');
		}
	return w.failed ? STRL("") : writer_done(&w);
}

/*
 * Who may use what is kept free of strangers: whom the homeserver wrote to. As long as it was not seen to
 * write to anybody (another outbound, or a new one), everybody who was verified before.
 */
static bool is_known(const struct deposit *d, struct str origin)
{
	return gate_has_known(d->o.gate) ? gate_is_known(d->o.gate, origin)
					 : keyring_is_vouched(d->o.keyring, origin);
}

static enum err deposit_put(struct deposit *d, struct str origin, struct buf *body)
{
	const struct head  *h = http_request_head(d->request);
	const struct field *type = head_find(h, FIELD_CONTENT_TYPE);
	struct arena       *arena = http_request_arena(d->request);
	struct queue_item   item = {
		  .server_name = d->o.server_name,
		  .origin = origin,
		  .transaction_id = transaction_id(arena, h->path),
		  .method = h->method_text,
		  .target = h->path,
		  .authorization = authorization_lines(arena, h),
		  .content_type = type == NULL ? STRL("") : type->value,
		  .peer = *http_request_peer(d->request),
		  .at_unix_ms = loop_unix_ms(d->loop),
		  .body = buf_str(body),
	};

	signing_sha256(item.body, item.body_hash);
	return queue_put_start(&d->put, d->o.queue, &item, is_known(d, origin), on_put, d);
}

/* ---- the steps ---- */

static void on_verified(void *arg, enum err e, struct str origin, struct buf *body)
{
	struct deposit *d = arg;

	if (e == ERR_OK && transaction_is_fleeting(&d->seen)) {
		deposit_finish(d, DEPOSIT_DROPPED, ERR_OK);
		return;
	}
	if (e == ERR_OK)
		e = deposit_put(d, origin, body);
	if (e != ERR_OK)
		deposit_finish(d, DEPOSIT_REFUSED, e);
}

/* From the loop: the owner must not be called from inside deposit_start(). */
static void on_soon(void *arg)
{
	struct deposit *d = arg;

	deposit_finish(d, d->result, d->err);
}

static void deposit_stop(struct deposit *d, enum deposit_result r, enum err e)
{
	d->result = r;
	d->err = e;
	soon_call(&d->soon);
}

static void on_late(void *arg)
{
	struct deposit *d = arg;

	if (!d->checking && !d->soon.queued)
		deposit_stop(d, DEPOSIT_REFUSED, ERR_SLOW_PEER);
}

/* More than 50 or 100 parts is the sender's fault, not a ceiling of ours. */
static enum err deposit_look(struct deposit *d, struct str span, bool last)
{
	enum err e = transaction_feed(&d->seen, span, last);

	return e == ERR_LIMIT ? ERR_SYNTAX : e;
}

/* What is too much to be kept is good enough for the homeserver: the sender shall repeat it. */
static enum err deposit_add(struct deposit *d, struct str span)
{
	enum err e;

	if (span.len > d->o.body_max - buf_len(&d->body) || !copies_take(d->o.copies, span.len))
		return ERR_LIMIT;
	d->counted += span.len;
	e = deposit_look(d, span, false);
	return e == ERR_OK ? buf_add(&d->body, span) : e;
}

static bool is_announced_too_large(const struct deposit *d, const struct head *h)
{
	return h->body == BODY_LENGTH && h->content_length > d->o.body_max;
}

static void deposit_read(struct deposit *d)
{
	struct str span;
	enum err   e = ERR_OK;

	while (e == ERR_OK && (span = http_request_peek(d->request)).len > 0) {
		e = deposit_add(d, span);
		http_request_consume(d->request, span.len);
	}
	if (e == ERR_OK && !http_request_body_done(d->request))
		return;
	if (e == ERR_OK)
		e = deposit_look(d, STRL(""), true);
	if (e != ERR_OK) {
		deposit_stop(d, DEPOSIT_REFUSED, e);
		return;
	}
	d->checking = true;
	verifier_check_body(&d->check, &d->body, on_verified, d);
}

static void on_request_wake(void *arg)
{
	struct deposit *d = arg;

	/* at once: when the server ends, the request must be over when this returns */
	if (http_request_broken(d->request) != ERR_OK)
		deposit_finish(d, DEPOSIT_GONE, http_request_broken(d->request));
	else if (d->has_key && !d->checking && !d->soon.queued)
		deposit_read(d);
}

static void on_ready(void *arg, enum err e, struct str origin)
{
	struct deposit *d = arg;

	(void)origin;
	if (e != ERR_OK) {
		deposit_finish(d, DEPOSIT_REFUSED, e);
		return;
	}
	d->has_key = true;
	if (d->o.patience_ms > 0)
		deadline_in(&d->late, d->o.patience_ms);
	on_request_wake(d);
}

enum err deposit_start(struct deposit **slot, struct loop *l, struct http_request *r,
                       const struct deposit_options *o, deposit_done_fn *done, void *arg)
{
	const struct head      *h = http_request_head(r);
	struct verifier_request request = { h, h->method_text, h->path, o->server_name,
		                            http_request_peer(r) };
	struct deposit         *d = calloc(1, sizeof(*d));
	enum err                e;

	if (d == NULL)
		return ERR_NOMEM;
	d->slot = slot;
	d->loop = l;
	d->request = r;
	d->o = *o;
	d->done = done;
	d->arg = arg;
	buf_init(&d->body, o->body_max);
	transaction_init(&d->seen, o->body_max);
	soon_init(&d->soon, l, on_soon, d);
	deadline_init(&d->late, l, on_late, d);
	e = is_announced_too_large(d, h) ? ERR_LIMIT : ERR_OK;
	if (e == ERR_OK)
		e = verifier_check_start(&d->check, o->verifier, &request, on_ready, d);
	if (e == ERR_OK && o->copy != NULL)
		e = deposit_add(d, *o->copy);
	if (e != ERR_OK) {
		deposit_free(d);
		return e;
	}
	*slot = d;
	http_request_own(r, on_request_wake, d);
	return ERR_OK;
}

void deposit_cancel(struct deposit **slot)
{
	struct deposit *d = *slot;

	if (d == NULL)
		return;
	*slot = NULL;
	deposit_free(d);
}

/* ---- refusals ---- */

int deposit_status(enum err e, const char **errcode, const char **text)
{
	*errcode = "M_UNKNOWN";
	switch (err_status(e)) {
	case 404:
		*errcode = "M_UNAUTHORIZED";
		*text = "the request is not signed";
		return 401;
	case 401:
	case 403:
		*errcode = "M_UNAUTHORIZED";
		*text = "the signature is not good here";
		return 401;
	case 400:
		*errcode = "M_BAD_JSON";
		*text = "the transaction cannot be read";
		return 400;
	case 413:
		*errcode = "M_TOO_LARGE";
		*text = "the transaction is too large";
		return 413;
	default:
		*text = "the homeserver is away and the transaction cannot be kept now";
		return 503;
	}
}
