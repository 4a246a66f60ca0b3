/*
 * The machine of the homeserver's state: whatever is seen and in whatever order, it ends, keeps to its limits on
 * packets, never probes after an announced sleep and never wakes without a wish.
 */
#include <stddef.h>
#include <string.h>

#include "base/cursor.h"
#include "base/err.h"
#include "fed/awake.h"

enum { PACKETS_MAX = 256, EVENTS_MAX = 400, STEPS_MAX = 40000 };

struct world {
	struct reader in;
	struct awake  a;
	msec          now;
	bool          can_wake, wished; /* since it was last up or said that it sleeps */
	msec          packets[PACKETS_MAX];
	size_t        packet_count;
	unsigned      orders;
};

static void check_packet(struct world *w)
{
	size_t hour = 0;

	check(w->can_wake && w->wished);
	if (w->packet_count == PACKETS_MAX)
		w->packet_count = 0; /* forgets: the check below only becomes weaker */
	w->packets[w->packet_count++] = w->now;
	for (size_t i = 0; i < w->packet_count; i++)
		hour += w->packets[i] + HOUR_MS > w->now + AWAKE_PACKETS * AWAKE_PACKET_MS;
	check(hour <= (size_t)AWAKE_PACKETS * (AWAKE_ROUNDS_PER_HOUR + w->orders));
}

static void take(struct world *w, unsigned todo)
{
	const struct awake *a = &w->a;

	check((todo & ~(unsigned)(AWAKE_PROBE | AWAKE_PACKET | AWAKE_DRAIN)) == 0);
	check(awake_state_slug(a->state)[0] != '\0' && awake_why(a)[0] != '\0');
	check(!awake_is_exact(a) || a->state == AWAKE_ASLEEP || a->state == AWAKE_WAKING);
	check(!(awake_is_exact(a) && a->state == AWAKE_ASLEEP) ||
	      (!(todo & (AWAKE_PROBE | AWAKE_PACKET)) && awake_next(a) == MS_NEVER));
	check((todo & AWAKE_DRAIN) == 0 || a->state == AWAKE_DRAINING);
	check(!awake_relays(a) || a->packets_left == 0);
	check(awake_is_exact(a) || awake_next(a) <= w->now + HOUR_MS + AWAKE_LOST_MS);
	if (todo & AWAKE_PACKET)
		check_packet(w);
	if (awake_relays(a) || (a->state == AWAKE_ASLEEP && awake_is_exact(a)))
		w->wished = false;
}

static void pass(struct world *w, msec ms)
{
	msec     until = w->now + ms;
	unsigned steps = 0;

	while (awake_next(&w->a) <= until) {
		check(++steps < STEPS_MAX);
		if (awake_next(&w->a) > w->now)
			w->now = awake_next(&w->a);
		take(w, awake_tick(&w->a, w->now));
	}
	w->now = until;
}

static void wish(struct world *w, uint8_t kind)
{
	enum awake_kind    k = (enum awake_kind)(kind % (AWAKE_KIND_COUNT + 1));
	enum awake_verdict v;
	unsigned           todo;

	w->wished |= k != AWAKE_NO_WISH && (w->a.options.wake_on >> k & 1u) != 0;
	todo = awake_wish(&w->a, k, w->now, &v);
	check((v == AWAKE_GO) == awake_relays(&w->a));
	check(v != AWAKE_HOPELESS || w->a.state == AWAKE_ASLEEP);
	take(w, todo);
}

static void order(struct world *w)
{
	w->orders++;
	w->wished = true;
	take(w, awake_order(&w->a, w->now));
}

static struct awake_options options(struct world *w)
{
	uint8_t              flags = read_u8(&w->in);
	struct awake_options o = {
		.probe_ms = 1000u + (msec)read_u16(&w->in) * 50, /* an option is 1 s to 1 h */
		.grace_ms = (msec)read_u16(&w->in) * 50,
		.wake_on = read_u16(&w->in),
		.can_wake = flags & 1,
	};

	w->can_wake = o.can_wake;
	return o;
}

static void event(struct world *w)
{
	uint8_t              what = read_u8(&w->in), value = read_u8(&w->in);
	struct awake_options o;
	msec                 wait;
	const char          *why;

	switch (what % 14) {
	case 0:
		take(w, awake_succeeded(&w->a, w->now));
		break;
	case 1:
		take(w, awake_failed(&w->a, w->now));
		break;
	case 2:
		take(w, awake_probed(&w->a, (enum awake_probe_end)(value % 3), w->now));
		break;
	case 3:
		take(w, awake_sleeps(&w->a, w->now));
		break;
	case 4:
		take(w, awake_wakes(&w->a, w->now));
		break;
	case 5:
		take(w, awake_sent(&w->a, value & 1 ? AWAKE_SENT_EVENT : AWAKE_SENT_OTHER, w->now));
		break;
	case 6:
		take(w, awake_asked(&w->a, w->now));
		break;
	case 7:
		wish(w, value);
		break;
	case 8:
		order(w);
		break;
	case 9:
		take(w, awake_drained(&w->a, w->now));
		break;
	case 10:
		pass(w, (msec)value * 100);
		break;
	case 11:
		pass(w, (msec)value * 10000);
		break;
	case 12:
		take(w, awake_doubt(&w->a, w->now));
		break;
	default:
		o = options(w);
		take(w, awake_set(&w->a, &o, w->now));
	}
	why = awake_must_stay(&w->a, w->now, &wait);
	check((why == NULL) == (wait == 0));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world  w;
	struct awake_options o;

	memset(&w, 0, sizeof(w));
	w.in = reader_over(str_span(data, size));
	o = options(&w);
	w.now = (msec)read_u8(&w.in) << 24;
	memset(&w.a, 0xa5, sizeof(w.a));
	take(&w, awake_init(&w.a, &o, w.now));
	for (unsigned i = 0; i < EVENTS_MAX && w.in.at < w.in.end; i++)
		event(&w);
	return 0;
}
