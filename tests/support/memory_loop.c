#include "support/memory_loop.h"

#include <stdlib.h>
#include <string.h>

#include "loop/work.h"
#include "net/dns.h"
#include "net/tls.h"

struct loop {
	msec             now;
	struct link      streams; /* struct memory_stream, in order of appearance */
	struct link      pending; /* struct pending */
	struct soon      soon_head;
	struct deadline *deadlines[256];
	size_t           deadline_count;
	enum err         dials, handshakes;
	uint64_t         unix_at_zero;
	struct link      jobs; /* struct work */
	bool             jobs_held;
};

/* A dial or a handshake under way. */
struct pending {
	struct link     link;
	struct loop    *loop;
	void          **slot;
	dial_done_fn   *dialed;
	tls_done_fn    *secured;
	void           *arg;
	struct stream  *lower;
	struct endpoint to;
	struct deadline deadline;
};

/* ---- bytes ---- */

void bytes_add(struct bytes *b, struct str s)
{
	if (s.len == 0)
		return;
	if (b->size - b->len < s.len) {
		b->size = 2 * (b->len + s.len);
		b->ptr = realloc(b->ptr, b->size);
		check(b->ptr != NULL);
	}
	memcpy(b->ptr + b->len, s.ptr, s.len);
	b->len += s.len;
}

void bytes_take(struct bytes *b, size_t n)
{
	check(n <= b->len);
	if (n == 0)
		return;
	memmove(b->ptr, b->ptr + n, b->len - n);
	b->len -= n;
}

struct str bytes_str(const struct bytes *b)
{
	return b->len == 0 ? (struct str){ "", 0 } : str_span(b->ptr, b->len);
}

void bytes_fini(struct bytes *b)
{
	free(b->ptr);
	*b = (struct bytes){ NULL, 0, 0 };
}

/* A new block of exactly the size, so that an old pointer is seen by the sanitizer. */
static void bytes_move(struct bytes *b)
{
	char *ptr = malloc(b->len > 0 ? b->len : 1);

	check(ptr != NULL);
	if (b->len > 0)
		memcpy(ptr, b->ptr, b->len);
	free(b->ptr);
	b->ptr = ptr;
	b->size = b->len;
}

/* ---- streams ---- */

static struct memory_stream *memory_of(const struct stream *s)
{
	struct memory_stream *m = (struct memory_stream *)(uintptr_t)s;

	check(!m->closed);
	return m;
}

static struct str memory_peek(struct stream *stream)
{
	struct memory_stream *m = memory_of(stream);

	bytes_move(&m->shown);
	return bytes_str(&m->shown);
}

static void memory_consume(struct stream *stream, size_t n)
{
	struct memory_stream *m = memory_of(stream);

	bytes_take(&m->shown, n);
	bytes_move(&m->shown);
}

static bool is_broken(const struct memory_stream *m)
{
	return m->base.end != ERR_OK && m->base.end != ERR_EOF;
}

static size_t memory_room(const struct stream *stream)
{
	const struct memory_stream *m = memory_of(stream);

	if (is_broken(m) || m->ending || m->queue.len + STREAM_ROOM_LEAST > STREAM_TX_MAX)
		return 0;
	return STREAM_TX_MAX - m->queue.len;
}

static size_t memory_unsent(const struct stream *stream)
{
	const struct memory_stream *m = memory_of(stream);

	return is_broken(m) ? 0 : m->queue.len;
}

static void queue_move(struct memory_stream *m, size_t n)
{
	n = n < m->queue.len ? n : m->queue.len;
	bytes_add(&m->taken, str_head(bytes_str(&m->queue), n));
	bytes_take(&m->queue, n);
	if (m->ending && m->queue.len == 0)
		m->ended = true;
}

static enum err memory_write(struct stream *stream, struct str bytes)
{
	struct memory_stream *m = memory_of(stream);

	if (is_broken(m))
		return m->base.end;
	if (m->ending)
		return ERR_EOF;
	bytes_add(&m->queue, bytes);
	queue_move(m, m->accepts);
	if (m->queue.len > m->queue_peak)
		m->queue_peak = m->queue.len;
	if (memory_room(stream) == 0)
		m->full = true;
	bytes_move(&m->shown);
	return ERR_OK;
}

static void memory_shutdown(struct stream *stream)
{
	struct memory_stream *m = memory_of(stream);

	if (m->ending)
		return;
	m->ending = true;
	m->full = m->queue.len > 0;
	m->ended = m->queue.len == 0;
}

static void memory_close(struct stream *stream)
{
	struct memory_stream *m = memory_of(stream);

	bytes_fini(&m->shown);
	bytes_fini(&m->coming);
	bytes_fini(&m->queue);
	m->base.wake = NULL;
	m->closed = true;
}

static const struct stream_ops memory_ops = {
	.peek = memory_peek,
	.consume = memory_consume,
	.room = memory_room,
	.unsent = memory_unsent,
	.write = memory_write,
	.shutdown = memory_shutdown,
	.close = memory_close,
};

struct memory_stream *memory_stream_new(struct loop *l, bool upstream)
{
	struct memory_stream *m = calloc(1, sizeof(*m));

	check(m != NULL);
	m->base.ops = &memory_ops;
	m->loop = l;
	m->accepts = SIZE_MAX;
	m->is_upstream = upstream;
	list_push_back(&l->streams, &m->link);
	return m;
}

void memory_stream_send(struct memory_stream *m, struct str bytes)
{
	if (!m->closed && m->ends == ERR_OK)
		bytes_add(&m->coming, bytes);
}

void memory_stream_end(struct memory_stream *m, enum err e)
{
	if (m->ends == ERR_OK)
		m->ends = e;
}

void memory_stream_accept(struct memory_stream *m, size_t n)
{
	if (m->closed || is_broken(m))
		return;
	queue_move(m, n);
	if (!m->full || (m->ending ? m->queue.len > 0 : m->queue.len >= STREAM_TX_MAX / 2))
		return;
	m->full = false;
	m->news = true;
}

/* What came becomes visible as far as there is place; an end that is no EOF overtakes nothing. */
static void show(struct memory_stream *m)
{
	size_t n = STREAM_RX_MAX - m->shown.len;

	n = n < m->coming.len ? n : m->coming.len;
	if (n > 0) {
		bytes_add(&m->shown, str_head(bytes_str(&m->coming), n));
		bytes_take(&m->coming, n);
		m->news = true;
	} else if (m->coming.len == 0 && m->base.end != m->ends) {
		m->base.end = m->ends;
		m->news = true;
	}
}

struct memory_stream *memory_stream_at(struct loop *l, bool upstream, size_t index)
{
	for (struct link *k = l->streams.next; k != &l->streams; k = k->next) {
		struct memory_stream *m = LIST_ENTRY(k, struct memory_stream, link);

		if (m->is_upstream == upstream && index-- == 0)
			return m;
	}
	return NULL;
}

size_t memory_streams(const struct loop *l, bool upstream)
{
	size_t n = 0;

	for (struct link *k = l->streams.next; k != &l->streams; k = k->next)
		n += LIST_ENTRY(k, struct memory_stream, link)->is_upstream == upstream;
	return n;
}

/* ---- time ---- */

msec loop_now(const struct loop *l)
{
	return l->now;
}

msec loop_unix_ms(const struct loop *l)
{
	return l->unix_at_zero + l->now;
}

void memory_loop_set_unix(struct loop *l, uint64_t unix_ms)
{
	l->unix_at_zero = unix_ms - l->now;
}

/* The same in every run. */
void loop_random(void *p, size_t n)
{
	static uint32_t state = 1;

	for (size_t i = 0; i < n; i++) {
		state = state * 1664525u + 1013904223u;
		((unsigned char *)p)[i] = (unsigned char)(state >> 24);
	}
}

void deadline_init(struct deadline *d, struct loop *l, deadline_fn *expired, void *arg)
{
	*d = (struct deadline){ l, expired, arg, MS_NEVER, MS_NEVER, SIZE_MAX };
}

void deadline_in(struct deadline *d, msec from_now_ms)
{
	struct loop *l = d->loop;

	if (d->index == SIZE_MAX) {
		check(l->deadline_count < sizeof(l->deadlines) / sizeof(l->deadlines[0]));
		d->index = l->deadline_count;
		l->deadlines[l->deadline_count++] = d;
	}
	d->at = l->now + from_now_ms;
}

void deadline_clear(struct deadline *d)
{
	struct loop *l = d->loop;

	d->at = MS_NEVER;
	if (d->index == SIZE_MAX)
		return;
	l->deadlines[d->index] = l->deadlines[--l->deadline_count];
	l->deadlines[d->index]->index = d->index;
	d->index = SIZE_MAX;
}

/* The soonest, if it is due by then. */
static struct deadline *deadline_due(struct loop *l, msec by)
{
	struct deadline *first = NULL;

	for (size_t i = 0; i < l->deadline_count; i++)
		if (l->deadlines[i]->at <= by && (first == NULL || l->deadlines[i]->at < first->at))
			first = l->deadlines[i];
	return first;
}

void soon_init(struct soon *s, struct loop *l, deadline_fn *fn, void *arg)
{
	*s = (struct soon){ l, fn, arg, NULL, NULL, false };
}

void soon_call(struct soon *s)
{
	struct soon *head = &s->loop->soon_head;

	if (s->queued)
		return;
	s->prev = head->prev;
	s->next = head;
	s->prev->next = s;
	head->prev = s;
	s->queued = true;
}

void soon_clear(struct soon *s)
{
	if (!s->queued)
		return;
	s->prev->next = s->next;
	s->next->prev = s->prev;
	s->queued = false;
}

/* ---- jobs ---- */

struct work {
	struct link   link;
	struct work **slot; /* NULL once cancelled */
	work_run_fn  *run;
	work_done_fn *done;
	void         *arg;
};

enum err work_start(struct work **slot, struct loop *l, work_run_fn *run, work_done_fn *done,
                    void *arg)
{
	struct work *w = calloc(1, sizeof(*w));

	check(w != NULL);
	*w = (struct work){ .slot = slot, .run = run, .done = done, .arg = arg };
	list_push_back(&l->jobs, &w->link);
	*slot = w;
	return ERR_OK;
}

void work_cancel(struct work **slot, work_done_fn *forget)
{
	struct work *w = *slot;

	if (w == NULL)
		return;
	*slot = NULL;
	w->slot = NULL;
	w->done = forget;
}

static bool turn_jobs(struct loop *l)
{
	struct link *k = l->jobs_held ? NULL : list_pop(&l->jobs);
	struct work *w, was;

	if (k == NULL)
		return false;
	w = LIST_ENTRY(k, struct work, link);
	w->run(w->arg);
	was = *w;
	free(w);
	if (was.slot != NULL)
		*was.slot = NULL;
	if (was.done != NULL)
		was.done(was.arg);
	return true;
}

void memory_loop_hold_jobs(struct loop *l, bool held)
{
	l->jobs_held = held;
}

size_t memory_loop_jobs(const struct loop *l)
{
	size_t n = 0;

	for (const struct link *k = l->jobs.next; k != &l->jobs; k = k->next)
		n++;
	return n;
}

/* ---- dials and handshakes ---- */

static struct pending *pending_of(struct link *k)
{
	return LIST_ENTRY(k, struct pending, link);
}

static void pending_free(struct pending *p)
{
	*p->slot = NULL;
	deadline_clear(&p->deadline);
	list_remove(&p->link);
	free(p);
}

static void pending_end(struct pending *p, enum err e)
{
	struct pending        was = *p;
	struct memory_stream *m;

	pending_free(p);
	if (was.dialed != NULL) {
		m = e == ERR_OK ? memory_stream_new(was.loop, true) : NULL;
		if (m != NULL)
			m->to = was.to;
		was.dialed(was.arg, e, m != NULL ? &m->base : NULL, m != NULL ? &was.to : NULL);
		return;
	}
	if (e != ERR_OK)
		stream_close(was.lower);
	else
		stream_own(was.lower, NULL, NULL);
	was.secured(was.arg, e, e == ERR_OK ? was.lower : NULL, "");
}

static void on_pending_late(void *arg)
{
	pending_end(arg, ERR_TIMEOUT);
}

static struct pending *pending_new(struct loop *l, void **slot, void *arg, msec deadline_ms)
{
	struct pending *p = calloc(1, sizeof(*p));

	check(p != NULL);
	p->loop = l;
	p->slot = slot;
	p->arg = arg;
	deadline_init(&p->deadline, l, on_pending_late, p);
	deadline_in(&p->deadline, deadline_ms);
	list_push_back(&l->pending, &p->link);
	*slot = p;
	return p;
}

enum err dial_start(struct dial **slot, struct loop *l, const struct endpoint *to, size_t count,
                    msec deadline_ms, dial_done_fn *done, void *arg)
{
	struct pending *p = pending_new(l, (void **)slot, arg, deadline_ms);

	p->dialed = done;
	if (count > 0)
		p->to = to[0];
	return ERR_OK;
}

void dial_cancel(struct dial **slot)
{
	if (*slot != NULL)
		pending_free((struct pending *)(void *)*slot);
}

static void on_lower_ignored(void *arg)
{
	(void)arg; /* the handshake would find out by itself */
}

static enum err handshake_start(struct tls_handshake **slot, struct loop *l, struct stream *lower,
                                msec deadline_ms, tls_done_fn *done, void *arg)
{
	struct pending *p = pending_new(l, (void **)slot, arg, deadline_ms);

	p->secured = done;
	p->lower = lower;
	stream_own(lower, on_lower_ignored, NULL);
	return ERR_OK;
}

enum err tls_accept_start(struct tls_handshake **slot, struct loop *l, struct tls_server *t,
                          struct stream *lower, msec deadline_ms, tls_done_fn *done, void *arg)
{
	check(t != NULL);
	if (l->handshakes == ERR_NOMEM)
		return ERR_NOMEM;
	return handshake_start(slot, l, lower, deadline_ms, done, arg);
}

enum err tls_connect_start(struct tls_handshake **slot, struct loop *l, struct tls_client *t,
                           struct stream *lower, struct str name, bool is_address,
                           struct str session_key, msec deadline_ms, tls_done_fn *done, void *arg)
{
	(void)is_address, (void)session_key;
	check(t != NULL);
	if (name.len == 0)
		return ERR_SYNTAX;
	if (l->handshakes == ERR_NOMEM)
		return ERR_NOMEM;
	return handshake_start(slot, l, lower, deadline_ms, done, arg);
}

void tls_handshake_cancel(struct tls_handshake **slot)
{
	struct pending *p = (struct pending *)(void *)*slot;

	if (p == NULL)
		return;
	stream_close(p->lower);
	pending_free(p);
}

void tls_stream_info(const struct stream *secure, struct tls_info *out)
{
	(void)memory_of(secure);
	*out = (struct tls_info){ .version = "", .suite = "" };
}

void tls_idle(struct stream *secure)
{
	(void)memory_of(secure);
}

/* These stand for themselves: a count of how often they are held. */
struct tls_client *tls_client_keep(struct tls_client *t)
{
	++*(int *)(void *)t;
	return t;
}

void tls_client_drop(struct tls_client *t)
{
	check(--*(int *)(void *)t >= 0);
}

struct tls_server *tls_server_keep(struct tls_server *t)
{
	++*(int *)(void *)t;
	return t;
}

void tls_server_drop(struct tls_server *t)
{
	if (t != NULL)
		check(--*(int *)(void *)t >= 0);
}

enum err dns_query_start(struct dns_query **slot, struct dns *d, const char *name,
                         enum dns_type type, msec deadline_ms, dns_done_fn *done, void *arg)
{
	(void)slot, (void)d, (void)name, (void)type, (void)deadline_ms, (void)done, (void)arg;
	return ERR_BUSY;
}

void dns_query_cancel(struct dns_query **slot)
{
	check(*slot == NULL);
}

/* ---- the loop ---- */

struct loop *memory_loop_new(void)
{
	struct loop *l = calloc(1, sizeof(*l));

	check(l != NULL);
	l->now = 1000;
	list_init(&l->streams);
	list_init(&l->pending);
	list_init(&l->jobs);
	l->soon_head.prev = l->soon_head.next = &l->soon_head;
	return l;
}

void memory_loop_free(struct loop *l)
{
	check(l->deadline_count == 0);
	check(l->soon_head.next == &l->soon_head);
	check(list_empty(&l->pending));
	check(list_empty(&l->jobs));
	while (!list_empty(&l->streams)) {
		struct memory_stream *m = LIST_ENTRY(l->streams.next, struct memory_stream, link);

		check(m->closed);
		list_remove(&m->link);
		bytes_fini(&m->taken);
		free(m);
	}
	free(l);
}

static bool turn_soon(struct loop *l)
{
	struct soon *s = l->soon_head.next;

	if (s == &l->soon_head)
		return false;
	soon_clear(s);
	s->fn(s->arg);
	return true;
}

static bool turn_pending(struct loop *l)
{
	for (struct link *k = l->pending.next; k != &l->pending; k = k->next) {
		struct pending *p = pending_of(k);
		enum err        e = p->dialed != NULL ? l->dials : l->handshakes;

		if (e == ERR_BUSY)
			continue;
		pending_end(p, e);
		return true;
	}
	return false;
}

static bool turn_streams(struct loop *l)
{
	for (struct link *k = l->streams.next; k != &l->streams; k = k->next) {
		struct memory_stream *m = LIST_ENTRY(k, struct memory_stream, link);

		if (m->closed)
			continue;
		show(m);
		if (!m->news)
			continue;
		m->news = false;
		bytes_move(&m->shown);
		if (m->base.wake != NULL)
			m->base.wake(m->base.arg);
		return true;
	}
	return false;
}

void memory_loop_settle(struct loop *l)
{
	unsigned turns = 0;

	while (turn_soon(l) || turn_pending(l) || turn_streams(l) || turn_jobs(l))
		check(++turns < 1000000); /* somebody runs in circles */
}

void memory_loop_pass(struct loop *l, msec ms)
{
	msec             until = l->now + ms;
	struct deadline *d;

	memory_loop_settle(l);
	while ((d = deadline_due(l, until)) != NULL) {
		l->now = d->at > l->now ? d->at : l->now;
		deadline_clear(d);
		d->expired(d->arg);
		memory_loop_settle(l);
	}
	l->now = until;
}

void memory_loop_dials(struct loop *l, enum err e)
{
	l->dials = e;
}

void memory_loop_handshakes(struct loop *l, enum err e)
{
	l->handshakes = e;
}

size_t memory_loop_pending(const struct loop *l)
{
	size_t n = 0;

	for (struct link *k = l->pending.next; k != &l->pending; k = k->next)
		n++;
	return n;
}
