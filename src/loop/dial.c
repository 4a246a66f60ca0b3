/*
 * dial.c - connecting to the first of several addresses that answers (RFC 8305, section 5).
 */
#include <stdlib.h>

#include "loop/inside.h"
#include "loop/socket.h"

enum {
	DIAL_STAGGER_MS = 250,
	DIAL_ATTEMPT_MS = 5000,
};

struct attempt {
	struct dial    *dial;
	uv_connect_t    request;
	struct sock    *sock; /* NULL: not begun, failed or handed over */
	struct deadline limit;
	struct endpoint to;
};

struct dial {
	struct dial   **slot; /* the owner's pointer to us; cleared on the way out */
	struct loop    *loop;
	dial_done_fn   *done;
	void           *arg;
	bool            finished;
	unsigned        open;    /* connect requests that libuv still holds */
	unsigned        running; /* attempts that may still succeed */
	enum err        last;    /* why the latest attempt failed */
	struct deadline deadline, stagger;
	struct soon     advance;     /* the first step, and failures found inside a call */
	size_t          next, count; /* attempts[next] is begun next */
	struct attempt  attempts[];
};

static void dial_release(struct dial *d)
{
	if (d->finished && d->open == 0)
		free(d);
}

static void attempt_drop(struct attempt *a)
{
	deadline_clear(&a->limit);
	if (a->sock == NULL)
		return;
	stream_close(sock_stream(a->sock));
	a->sock = NULL;
	a->dial->running--;
}

/* The only way out. */
static void dial_finish(struct dial *d, enum err e, struct attempt *winner)
{
	dial_done_fn   *done = d->done;
	void           *arg = d->arg;
	struct stream  *s = NULL;
	struct endpoint reached = { .path = "" };

	*d->slot = NULL;
	d->finished = true;
	if (winner != NULL) {
		s = sock_stream(winner->sock);
		winner->sock = NULL;
		reached = winner->to;
	}
	for (size_t i = 0; i < d->count; i++)
		attempt_drop(&d->attempts[i]);
	deadline_clear(&d->deadline);
	deadline_clear(&d->stagger);
	soon_clear(&d->advance);
	dial_release(d);
	if (e != ERR_CANCELLED)
		done(arg, e, s, winner != NULL ? &reached : NULL);
}

static void attempt_failed(struct attempt *a, enum err e)
{
	struct dial *d = a->dial;

	d->last = e;
	attempt_drop(a);
	soon_call(&d->advance);
}

static void on_attempt_limit(void *arg)
{
	attempt_failed(arg, ERR_TIMEOUT);
}

static void on_connect(uv_connect_t *request, int status)
{
	struct attempt *a = request->data;
	struct dial    *d = a->dial;

	d->open--;
	if (d->finished) {
		dial_release(d);
		return;
	}
	if (a->sock == NULL)
		return; /* given up: the abandoned request comes home */
	if (status == 0) {
		sock_tune(a->sock);
		if (sock_begin(a->sock) == ERR_OK) {
			dial_finish(d, ERR_OK, a);
			return;
		}
	}
	attempt_failed(a, status != 0 ? loop_err(status) : ERR_IO);
}

static void attempt_begin(struct attempt *a)
{
	struct dial            *d = a->dial;
	bool                    is_unix = a->to.path[0] != '\0';
	struct sockaddr_storage ss;
	int                     status = 0;

	a->sock = sock_new(d->loop, is_unix);
	if (a->sock == NULL) {
		d->last = ERR_NOMEM;
		soon_call(&d->advance);
		return;
	}
	d->running++;
	a->request.data = a;
	if (is_unix) {
		uv_pipe_connect(&a->request, (uv_pipe_t *)sock_uv(a->sock), a->to.path, on_connect);
	} else {
		sock_address_out(&a->to.address, &ss);
		status = uv_tcp_connect(&a->request, (uv_tcp_t *)sock_uv(a->sock),
		                        (struct sockaddr *)&ss, on_connect);
	}
	if (status != 0) {
		attempt_failed(a, loop_err(status));
		return;
	}
	d->open++;
	deadline_in(&a->limit, DIAL_ATTEMPT_MS);
}

static void on_advance(void *arg)
{
	struct dial *d = arg;

	if (d->next < d->count) {
		if (d->next + 1 < d->count)
			deadline_in(&d->stagger, DIAL_STAGGER_MS);
		attempt_begin(&d->attempts[d->next++]);
		return;
	}
	deadline_clear(&d->stagger);
	if (d->running == 0)
		dial_finish(d, d->last, NULL);
}

static void on_deadline(void *arg)
{
	dial_finish(arg, ERR_TIMEOUT, NULL);
}

enum err dial_start(struct dial **slot, struct loop *l, const struct endpoint *to, size_t count,
                    msec deadline_ms, dial_done_fn *done, void *arg)
{
	struct dial *d;

	if (count > DIAL_ADDRESSES_MAX)
		count = DIAL_ADDRESSES_MAX;
	d = calloc(1, sizeof(*d) + count * sizeof(struct attempt));
	if (d == NULL)
		return ERR_NOMEM;
	d->slot = slot;
	d->loop = l;
	d->done = done;
	d->arg = arg;
	d->last = ERR_UNREACHABLE; /* what no addresses at all amount to */
	d->count = count;
	for (size_t i = 0; i < count; i++) {
		d->attempts[i].dial = d;
		d->attempts[i].to = to[i];
		deadline_init(&d->attempts[i].limit, l, on_attempt_limit, &d->attempts[i]);
	}
	uv_update_time(&l->uv); /* a turn with handshakes in it may have taken seconds */
	deadline_init(&d->deadline, l, on_deadline, d);
	deadline_init(&d->stagger, l, on_advance, d);
	soon_init(&d->advance, l, on_advance, d);
	deadline_in(&d->deadline, deadline_ms);
	soon_call(&d->advance);
	*slot = d;
	return ERR_OK;
}

void dial_cancel(struct dial **slot)
{
	if (*slot != NULL)
		dial_finish(*slot, ERR_CANCELLED, NULL);
}
