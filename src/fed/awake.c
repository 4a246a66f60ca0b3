#include "fed/awake.h"

#include <stddef.h>
#include <string.h>

static msec soonest(msec a, msec b)
{
	return a < b ? a : b;
}

static msec latest(msec a, msec b)
{
	return a > b ? a : b;
}

/* No pause is longer than the owner's. */
static msec pause_of(const struct awake *a, msec ms)
{
	return soonest(ms, a->options.probe_ms);
}

static void state_set(struct awake *a, enum awake_state s, const char *why, msec now)
{
	a->state = s;
	a->why = why;
	a->since = now;
}

/* A probe under way is forgotten: its driver sees that another one is wanted, or none. */
static void probe_from(struct awake *a, msec at)
{
	a->probing = false;
	a->probe_at = at;
}

/* Not before it is really down. */
static msec after_settling(const struct awake *a, msec now)
{
	return a->announced ? latest(now, a->settle_at) : now;
}

static bool is_settling(const struct awake *a, msec now)
{
	return a->announced && now < a->settle_at;
}

/* ---- rounds of magic packets ---- */

/* The earliest time at which another round is within the limits. */
static msec round_allowed_at(const struct awake *a)
{
	msec at = a->round_count > 0 ? a->round_at + AWAKE_ROUND_MS : 0;

	if (a->round_count == AWAKE_ROUNDS_PER_HOUR)
		at = latest(at, a->rounds[a->round_next] + HOUR_MS);
	return at;
}

/* When the next round begins; MS_NEVER: there is no reason for one. */
static msec round_due_at(const struct awake *a)
{
	if (a->state != AWAKE_WAKING || !a->wanted || !a->options.can_wake || a->packets_left > 0)
		return MS_NEVER;
	return after_settling(a, round_allowed_at(a));
}

static void round_begin(struct awake *a, msec at)
{
	a->packets_left = AWAKE_PACKETS;
	a->packet_at = at;
	a->round_at = at;
	a->rounds[a->round_next] = at;
	a->round_next = (uint8_t)((a->round_next + 1) % AWAKE_ROUNDS_PER_HOUR);
	if (a->round_count < AWAKE_ROUNDS_PER_HOUR)
		a->round_count++;
}

static void waking_over(struct awake *a)
{
	a->wanted = false;
	a->packets_left = 0;
}

/* ---- states ---- */

static unsigned enter_draining(struct awake *a, const char *why, msec now)
{
	waking_over(a);
	a->announced = false;
	state_set(a, AWAKE_DRAINING, why, now);
	probe_from(a, now + a->options.probe_ms);
	return AWAKE_DRAIN;
}

static void enter_suspect(struct awake *a, const char *why, msec probe_at, msec now)
{
	state_set(a, AWAKE_SUSPECT, why, now);
	probe_from(a, probe_at);
}

static void enter_waking(struct awake *a, const char *why, msec now)
{
	msec begin = after_settling(a, now);

	state_set(a, AWAKE_WAKING, why, now);
	a->window_at = begin + AWAKE_WINDOW_MS;
	probe_from(a, begin);
}

/* Found out, not announced. */
static void enter_asleep(struct awake *a, const char *why, msec now)
{
	waking_over(a);
	a->announced = false;
	a->pause_ms = pause_of(a, AWAKE_AGAIN_MS);
	if (a->strikes >=
	    AWAKE_STRIKES) { /* its port answers: a second look at once would tell nothing */
		a->pause_ms = pause_of(a, AWAKE_NEAR_MS);
		a->rest_at = now + a->options.probe_ms;
	}
	state_set(a, AWAKE_ASLEEP, why, now);
	probe_from(a, now + a->pause_ms);
}

/* The second sign that a suspect is gone. */
static void suspect_is_gone(struct awake *a, const char *why, msec now)
{
	if (a->wanted)
		enter_waking(a, "wanted", now);
	else
		enter_asleep(a, why, now);
}

/* A sign of life of an unsuspected homeserver: no probe is needed for a while. */
static void heard(struct awake *a, msec now)
{
	if (!a->probing)
		a->probe_at = now + a->options.probe_ms;
}

static unsigned probe_answered(struct awake *a, msec now)
{
	switch (a->state) {
	case AWAKE_AWAKE:
	case AWAKE_DRAINING:
		a->probe_at = now + a->options.probe_ms;
		return 0;
	case AWAKE_SUSPECT:
	case AWAKE_ASLEEP:
	case AWAKE_WAKING:
		break;
	}
	return enter_draining(a, "answered", now);
}

/* Twice as long each time, up to what suits how soon it may be back. */
static msec pause_after(const struct awake *a, bool is_up, msec now)
{
	bool near = is_up || now < a->since + AWAKE_NEAR_FOR_MS;

	return pause_of(a, near ? soonest(2 * a->pause_ms, AWAKE_NEAR_MS) : 2 * a->pause_ms);
}

static void probe_failed(struct awake *a, bool is_up, msec now)
{
	switch (a->state) {
	case AWAKE_AWAKE:
	case AWAKE_DRAINING:
		enter_suspect(a, "refused", now + pause_of(a, AWAKE_AGAIN_MS), now);
		break;
	case AWAKE_SUSPECT:
		suspect_is_gone(a, "refused", now);
		break;
	case AWAKE_ASLEEP:
		a->pause_ms = pause_after(a, is_up, now);
		a->probe_at = now + a->pause_ms;
		break;
	case AWAKE_WAKING:
		a->probe_at = now + pause_of(a, AWAKE_WAKING_MS);
		break;
	}
}

/* ---- time ---- */

static unsigned probe_due(struct awake *a, msec now)
{
	if (now < a->probe_at)
		return 0;
	if (a->probing) { /* nobody reported */
		a->probing = false;
		probe_failed(a, false, now);
		return 0;
	}
	a->probing = true;
	a->probe_at = now + AWAKE_LOST_MS;
	return AWAKE_PROBE;
}

static unsigned packet_due(struct awake *a, msec now)
{
	if (now >= round_due_at(a))
		round_begin(a, now);
	if (a->packets_left == 0 || now < a->packet_at)
		return 0;
	a->packets_left--;
	a->packet_at = now + AWAKE_PACKET_MS;
	return AWAKE_PACKET;
}

unsigned awake_tick(struct awake *a, msec now)
{
	unsigned todo = 0;

	if (a->state == AWAKE_WAKING && now >= a->window_at) {
		enter_asleep(a, "no-answer", now);
		a->rest_at = now + AWAKE_REST_MS;
		a->pause_ms = pause_of(a, AWAKE_NEAR_MS); /* it may have heard and be slow */
		a->probe_at = now + a->pause_ms;
	}
	todo |= packet_due(a, now);
	todo |= probe_due(a, now);
	return todo;
}

msec awake_next(const struct awake *a)
{
	msec at = soonest(a->probe_at, round_due_at(a));

	if (a->packets_left > 0)
		at = soonest(at, a->packet_at);
	return a->state == AWAKE_WAKING ? soonest(at, a->window_at) : at;
}

/* ---- what is seen ---- */

unsigned awake_init(struct awake *a, const struct awake_options *o, msec now)
{
	memset(a, 0, sizeof(*a));
	a->options = *o;
	enter_suspect(a, "start", now, now);
	return awake_tick(a, now);
}

unsigned awake_set(struct awake *a, const struct awake_options *o, msec now)
{
	a->options = *o;
	if (!a->probing && a->probe_at != MS_NEVER)
		a->probe_at = soonest(a->probe_at, now + o->probe_ms);
	if (!o->can_wake)
		a->packets_left = 0;
	return awake_tick(a, now);
}

unsigned awake_succeeded(struct awake *a, msec now)
{
	unsigned todo = 0;

	if (is_settling(a, now))
		return awake_tick(a, now);
	a->strikes = 0;
	if (awake_relays(a))
		heard(a, now);
	else
		todo = enter_draining(a, "answered", now);
	return todo | awake_tick(a, now);
}

unsigned awake_failed(struct awake *a, msec now)
{
	if (awake_relays(a)) { /* later failures belong to the same outage */
		if (a->strikes < AWAKE_STRIKES)
			a->strikes++;
		if (a->strikes == AWAKE_STRIKES)
			enter_asleep(a, "failing", now);
		else
			enter_suspect(a, "failed", now, now);
	}
	return awake_tick(a, now);
}

unsigned awake_doubt(struct awake *a, msec now)
{
	if (awake_relays(a) && !a->probing) {
		msec heard_at = a->probe_at - a->options.probe_ms;

		a->probe_at = soonest(a->probe_at, heard_at + AWAKE_DOUBT_MS);
	}
	return awake_tick(a, now);
}

unsigned awake_probed(struct awake *a, enum awake_probe_end end, msec now)
{
	unsigned todo = 0;

	if (a->probing) {
		a->probing = false;
		if (end == AWAKE_ANSWERED)
			todo = probe_answered(a, now);
		else
			probe_failed(a, end == AWAKE_REFUSED, now);
	}
	return todo | awake_tick(a, now);
}

unsigned awake_sleeps(struct awake *a, msec now)
{
	waking_over(a);
	a->strikes = 0;
	a->announced = true;
	a->settle_at = now + AWAKE_SETTLE_MS;
	a->event_until = a->flush_until = a->question_until = 0;
	state_set(a, AWAKE_ASLEEP, "announced", now);
	probe_from(a, MS_NEVER);
	return awake_tick(a, now);
}

/* It came back without our doing, or says so: see whether its port answers. */
static void comes_back(struct awake *a, const char *why, msec now)
{
	switch (a->state) {
	case AWAKE_AWAKE:
	case AWAKE_DRAINING:
		heard(a, now);
		break;
	case AWAKE_SUSPECT:
	case AWAKE_WAKING:
		a->announced = false;
		if (!a->probing)
			a->probe_at = now;
		break;
	case AWAKE_ASLEEP:
		a->announced = false;
		enter_waking(a, why, now);
		break;
	}
}

unsigned awake_wakes(struct awake *a, msec now)
{
	a->strikes = 0;
	comes_back(a, "said-so", now);
	return awake_tick(a, now);
}

unsigned awake_sent(struct awake *a, enum awake_sent what, msec now)
{
	if (is_settling(a, now))
		return awake_tick(a, now);
	a->flush_until = now + AWAKE_FLUSH_MS;
	if (what == AWAKE_SENT_EVENT)
		a->event_until = now + a->options.grace_ms;
	if (a->state == AWAKE_WAKING)
		a->announced = false; /* the next probe is soon enough, however often it sends */
	else
		comes_back(a, "sends", now);
	return awake_tick(a, now);
}

unsigned awake_asked(struct awake *a, msec now)
{
	a->question_until = now + AWAKE_QUESTION_MS;
	return awake_tick(a, now);
}

/* ---- what is wanted ---- */

/* Is there anything to be done that could bring it back? */
static bool waking_helps(const struct awake *a, msec now)
{
	if (now < a->rest_at)
		return false;
	if (!a->announced)
		return true; /* probing often */
	return a->options.can_wake && round_allowed_at(a) <= now + AWAKE_ROUND_MS;
}

static enum awake_verdict wish_asleep(struct awake *a, bool counts, enum awake_kind kind, msec now)
{
	if (counts && waking_helps(a, now)) {
		a->wanted = true;
		enter_waking(a, awake_kind_slug(kind), now);
		return AWAKE_HOLD;
	}
	return !a->announced && now < a->since + AWAKE_RESTART_MS ? AWAKE_HOLD : AWAKE_HOPELESS;
}

unsigned awake_wish(struct awake *a, enum awake_kind kind, msec now, enum awake_verdict *verdict)
{
	bool counts = kind < AWAKE_KIND_COUNT && (a->options.wake_on >> kind & 1u) != 0;

	*verdict = AWAKE_HOLD;
	switch (a->state) {
	case AWAKE_AWAKE:
	case AWAKE_DRAINING:
		*verdict = AWAKE_GO;
		break;
	case AWAKE_SUSPECT:
	case AWAKE_WAKING:
		a->wanted |= counts;
		break;
	case AWAKE_ASLEEP:
		*verdict = wish_asleep(a, counts, kind, now);
		break;
	}
	return awake_tick(a, now);
}

unsigned awake_order(struct awake *a, msec now)
{
	if (awake_relays(a))
		return awake_tick(a, now);
	a->wanted = true;
	if (a->state != AWAKE_SUSPECT) {
		enter_waking(a, "ordered", now);
		if (a->options.can_wake && a->packets_left == 0)
			round_begin(a, after_settling(a, now));
	}
	return awake_tick(a, now);
}

unsigned awake_drained(struct awake *a, msec now)
{
	if (a->state == AWAKE_DRAINING)
		state_set(a, AWAKE_AWAKE, "handed-over", now);
	return awake_tick(a, now);
}

const char *awake_must_stay(const struct awake *a, msec now, msec *wait_ms)
{
	msec questions = 0;

	if (a->event_until > 0)
		questions = soonest(a->question_until, a->event_until + a->options.grace_ms);
	*wait_ms = AWAKE_FLUSH_MS;
	if (a->state == AWAKE_DRAINING)
		return "handing-over";
	if (a->state == AWAKE_WAKING && a->wanted)
		return "wanted";
	if (now < a->flush_until) {
		*wait_ms = a->flush_until - now;
		return "sending";
	}
	questions = latest(questions, a->event_until);
	if (now < questions) {
		*wait_ms = questions - now;
		return "questions";
	}
	*wait_ms = 0;
	return NULL;
}

const char *awake_state_slug(enum awake_state s)
{
	static const char *const slugs[] = { "awake", "suspect", "asleep", "waking", "draining" };

	return slugs[s];
}

const char *awake_kind_slug(enum awake_kind k)
{
	static const char *const slugs[AWAKE_KIND_COUNT] = {
		"message", "to_device", "invite",  "keys",  "client",
		"join",    "query",     "history", "media", "other",
	};

	return slugs[k];
}
