#include "net/limits.h"

static void limit_take(struct limit *l)
{
	l->used++;
	if (l->gauge != GAUGE_COUNT)
		gauge_up(l->gauge);
}

static void limit_serve(struct limit *l)
{
	while (l->used < l->max && !list_empty(&l->waiting)) {
		struct limit_wait *w = LIST_ENTRY(list_pop(&l->waiting), struct limit_wait, link);

		gauge_down(GAUGE_waiting_requests);
		limit_take(l);
		w->granted = true;
		soon_call(&w->soon);
	}
}

void limit_init(struct limit *l, enum gauge gauge, size_t max)
{
	*l = (struct limit){ .max = max, .gauge = gauge };
	if (gauge != GAUGE_COUNT)
		metrics.gauges[gauge].limit = max;
	list_init(&l->waiting);
}

void limit_set_max(struct limit *l, size_t max)
{
	l->max = max;
	if (l->gauge != GAUGE_COUNT)
		metrics.gauges[l->gauge].limit = max;
	limit_serve(l);
}

void limit_wait_init(struct limit_wait *w, struct loop *loop, deadline_fn *granted, void *arg)
{
	*w = (struct limit_wait){ .limit = NULL };
	list_init(&w->link);
	soon_init(&w->soon, loop, granted, arg);
}

bool limit_enter(struct limit *l, struct limit_wait *w)
{
	w->limit = l;
	w->granted = false;
	if (l->used < l->max && list_empty(&l->waiting)) {
		limit_take(l);
		return true;
	}
	list_push_back(&l->waiting, &w->link);
	gauge_up(GAUGE_waiting_requests);
	return false;
}

void limit_leave(struct limit *l)
{
	check(l->used > 0);
	l->used--;
	if (l->gauge != GAUGE_COUNT)
		gauge_down(l->gauge);
	limit_serve(l);
}

void limit_wait_cancel(struct limit_wait *w)
{
	if (!list_empty(&w->link)) {
		list_remove(&w->link);
		gauge_down(GAUGE_waiting_requests);
	} else if (w->soon.queued && w->granted) {
		soon_clear(&w->soon);
		limit_leave(w->limit);
	}
}
