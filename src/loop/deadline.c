/*
 * deadline.c - deadlines and the soon queue of a loop.
 *
 * The heap is ordered by heap_at, which is never later than the deadline's true time: moving a
 * deadline later touches only `at`, and when the heap reaches the old place it puts the deadline
 * where it belongs by then. The one timer is likewise never later than the head of the heap.
 *
 * The timer only says that something is due. What is due expires behind the input of the same turn:
 * a process that stood still, or was busy for longer than somebody's time, finds an answer and the end
 * of the wait for it at once, and the answer came first. A timer that is very late tells of a machine
 * that stands still; there the answers may still be under way inside the machine, and get DEADLINE_GRACE_MS.
 */
#include <stdlib.h>

#include "loop/inside.h"

enum {
	SOON_ROUNDS = 8, /* of calls that ask for further calls, before input has its turn */
	VERY_LATE_MS = 500,
};

static void heap_put(struct deadline_heap *h, size_t i, struct deadline *d)
{
	h->at[i] = d;
	d->index = i;
}

static void heap_up(struct deadline_heap *h, size_t i, struct deadline *d)
{
	while (i > 0 && h->at[(i - 1) / 2]->heap_at > d->heap_at) {
		heap_put(h, i, h->at[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_put(h, i, d);
}

static void heap_down(struct deadline_heap *h, size_t i, struct deadline *d)
{
	size_t child;

	while ((child = 2 * i + 1) < h->count) {
		if (child + 1 < h->count && h->at[child + 1]->heap_at < h->at[child]->heap_at)
			child++;
		if (h->at[child]->heap_at >= d->heap_at)
			break;
		heap_put(h, i, h->at[child]);
		i = child;
	}
	heap_put(h, i, d);
}

static void heap_remove(struct deadline_heap *h, struct deadline *d)
{
	struct deadline *last = h->at[--h->count];
	size_t           i = d->index;

	d->index = SIZE_MAX;
	if (last == d)
		return;
	if (i > 0 && h->at[(i - 1) / 2]->heap_at > last->heap_at)
		heap_up(h, i, last);
	else
		heap_down(h, i, last);
}

static void heap_ensure(struct deadline_heap *h)
{
	size_t            size = h->size == 0 ? 64 : h->size * 2;
	struct deadline **at;

	if (h->count < h->size)
		return;
	at = realloc(h->at, size * sizeof(struct deadline *));
	check(at !=
	      NULL); /* a few bytes per connection, and its absence would mean waiting for ever */
	h->at = at;
	h->size = size;
}

static void on_timer(uv_timer_t *timer);

static void timer_arm(struct loop *l)
{
	struct deadline_heap *h = &l->heap;
	msec                  now = uv_now(&l->uv), head;

	if (h->count == 0) {
		uv_timer_stop(&l->timer);
		h->armed_at = MS_NEVER;
		h->spared = false;
		return;
	}
	head = h->at[0]->heap_at;
	if (head >= h->armed_at)
		return; /* fires early or in time, and looks */
	uv_timer_start(&l->timer, on_timer, head > now ? head - now : 0, 0);
	h->armed_at = head;
}

/* The deadline at the head of the heap that has expired, taken out; NULL: none. */
static struct deadline *heap_expired(struct deadline_heap *h, msec now)
{
	struct deadline *d;

	while (h->count > 0 && h->at[0]->heap_at <= now) {
		d = h->at[0];
		if (d->at <= now) {
			heap_remove(h, d);
			return d;
		}
		d->heap_at = d->at; /* was moved later */
		heap_down(h, 0, d);
	}
	return NULL;
}

static void on_idle(uv_idle_t *idle)
{
	(void)idle; /* its being active is what counts */
}

/* There is work behind the input of this turn, for which the loop must not wait. */
static void loop_hurry(struct loop *l)
{
	uv_idle_start(&l->idle, on_idle);
}

static void loop_hurry_no_more(struct loop *l)
{
	if (!l->heap.due && l->soon_head.next == &l->soon_head)
		uv_idle_stop(&l->idle);
}

static void on_timer(uv_timer_t *timer)
{
	struct loop          *l = timer->data;
	struct deadline_heap *h = &l->heap;

	if (!h->spared && uv_now(&l->uv) > h->armed_at + VERY_LATE_MS) {
		h->spared = true;
		uv_timer_start(&l->timer, on_timer, DEADLINE_GRACE_MS, 0);
		return;
	}
	h->spared = false;
	h->due = true;
	loop_hurry(l);
}

static void heap_expire(struct loop *l)
{
	struct deadline *d;
	size_t most = l->heap.count; /* one set for now again and again must not keep us */
	msec   now = uv_now(&l->uv);

	l->heap.due = false;
	l->heap.armed_at = MS_NEVER;
	while (most-- > 0 && (d = heap_expired(&l->heap, now)) != NULL) {
		d->at = MS_NEVER;
		d->expired(d->arg); /* may set, move and clear any deadline, also its own */
	}
	timer_arm(l);
}

void deadline_init(struct deadline *d, struct loop *l, deadline_fn *expired, void *arg)
{
	*d = (struct deadline){ l, expired, arg, MS_NEVER, MS_NEVER, SIZE_MAX };
}

void deadline_in(struct deadline *d, msec from_now_ms)
{
	struct deadline_heap *h = &d->loop->heap;
	msec                  now = uv_now(&d->loop->uv);

	d->at = from_now_ms < MS_NEVER - 1 - now ? now + from_now_ms : MS_NEVER - 1;
	if (d->index != SIZE_MAX && d->at >= d->heap_at)
		return;
	d->heap_at = d->at;
	if (d->index != SIZE_MAX) {
		heap_up(h, d->index, d);
	} else {
		heap_ensure(h);
		heap_up(h, h->count++, d);
	}
	timer_arm(d->loop);
}

void deadline_clear(struct deadline *d)
{
	d->at = MS_NEVER;
	if (d->index == SIZE_MAX)
		return;
	heap_remove(&d->loop->heap, d);
	if (d->loop->heap.count == 0)
		timer_arm(d->loop); /* nothing must keep the loop waiting */
}

/* The queue is a ring through soon_head. */
static void soon_unlink(struct soon *s)
{
	s->prev->next = s->next;
	s->next->prev = s->prev;
	s->queued = false;
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
	if (head->next == head)
		loop_hurry(s->loop);
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
	soon_unlink(s);
	loop_hurry_no_more(s->loop);
}

/* Runs up to and with `last`, or until the queue is empty: what is queued meanwhile waits. */
static void soon_round(struct loop *l)
{
	struct soon *s, *head = &l->soon_head, mark = { .queued = true };

	mark.prev = head->prev;
	mark.next = head;
	head->prev->next = &mark;
	head->prev = &mark;
	while ((s = head->next) != &mark) {
		soon_unlink(s);
		s->fn(s->arg);
	}
	soon_unlink(&mark);
}

static void soon_run(struct loop *l)
{
	for (int i = 0; i < SOON_ROUNDS && l->soon_head.next != &l->soon_head; i++)
		soon_round(l);
	loop_hurry_no_more(l);
}

static void on_prepare(uv_prepare_t *prepare)
{
	soon_run(prepare->data);
}

static void on_check(uv_check_t *handle)
{
	struct loop *l = handle->data;

	if (l->heap.due)
		heap_expire(l);
	soon_run(l);
}

void deadline_open(struct loop *l)
{
	l->heap.armed_at = MS_NEVER;
	l->soon_head.prev = l->soon_head.next = &l->soon_head;
	uv_timer_init(&l->uv, &l->timer);
	uv_idle_init(&l->uv, &l->idle);
	uv_prepare_init(&l->uv, &l->prepare);
	uv_check_init(&l->uv, &l->check);
	l->timer.data = l->idle.data = l->prepare.data = l->check.data = l;
	uv_prepare_start(&l->prepare, on_prepare);
	uv_check_start(&l->check, on_check);
	uv_unref((uv_handle_t *)&l->prepare);
	uv_unref((uv_handle_t *)&l->check);
}

void deadline_close(struct loop *l)
{
	uv_close((uv_handle_t *)&l->timer, NULL);
	uv_close((uv_handle_t *)&l->idle, NULL);
	uv_close((uv_handle_t *)&l->prepare, NULL);
	uv_close((uv_handle_t *)&l->check, NULL);
}

void deadline_soon(struct loop *l)
{
	soon_run(l);
}

void deadline_release(struct loop *l)
{
	check(l->heap.count == 0);
	free(l->heap.at);
}
