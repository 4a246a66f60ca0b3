#include "role/sleeper.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/metrics.h"
#include "codec/http/h1.h"

enum { CHECK_ANSWER_MS = 30000, CHECK_HEAD_MAX = 512 };

struct sleeper {
	struct sleeper_options o; /* hs is not kept in it */
	struct awake           awake;
	struct deadline        next;
	struct soon            tell;
	char                   section[64], host[256];
	bool                   can_wake;
	struct wol_mac         mac;
	struct address         wake_address; /* family 0: near the homeserver */
	struct dial           *dial;         /* the probe under way */
	struct http_call      *check;        /* the first question after an outage */
	bool                   checking;     /* it is wanted, or under way */
	bool                   check_passed; /* the handing over is still to be announced */
	struct upstream_wait   dial_wait, check_wait;
	struct link            waits;
	unsigned               held;
	enum awake_state       told_state;
	bool                   told_relays;
	bool                   telling, ended; /* in changed(); freed meanwhile */
	uint64_t               probes, packets;
	enum err               packet_error;
};

struct sleeper_wait {
	struct sleeper_wait **slot;
	struct sleeper       *sleeper;
	struct link           link;
	struct deadline       limit;
	enum awake_kind       kind;
	sleeper_wait_done_fn *done;
	void                 *arg;
};

static void take(struct sleeper *s, unsigned todo);

static msec now_of(const struct sleeper *s)
{
	return loop_now(s->o.loop);
}

/* ---- probes ---- */

/* Trouble of our own is no sign of anything. */
static void probe_over(struct sleeper *s, enum err e)
{
	bool                 ours = e == ERR_NOMEM || e == ERR_LIMIT;
	enum awake_probe_end end = e == ERR_REFUSED ? AWAKE_REFUSED : AWAKE_SILENT;

	if (e == ERR_OK || (ours && awake_relays(&s->awake)))
		end = AWAKE_ANSWERED;
	take(s, awake_probed(&s->awake, end, now_of(s)));
}

static void on_dial(void *arg, enum err e, struct stream *stream, const struct endpoint *reached)
{
	(void)reached;
	if (stream != NULL)
		stream_close(stream);
	probe_over(arg, e);
}

static void probe_stop(struct sleeper *s)
{
	dial_cancel(&s->dial);
	upstream_wait_cancel(&s->dial_wait);
}

static void probe_start(struct sleeper *s)
{
	struct http_target target;
	enum err           e;

	probe_stop(s);
	e = upstream_target(s->o.upstream, &target, &s->dial_wait);
	if (e == ERR_OK)
		e = dial_start(&s->dial, s->o.loop, target.to, target.count, AWAKE_PROBE_MS,
		               on_dial, s);
	if (e != ERR_OK && e != ERR_BUSY)
		probe_over(s, e);
}

static void on_dial_address(void *arg, enum err e)
{
	if (e == ERR_OK)
		probe_start(arg);
	else if (e != ERR_CANCELLED)
		probe_over(arg, e);
}

/* ---- magic packets ---- */

static enum err packet_target(struct sleeper *s, struct wol_target *out)
{
	struct upstream_wait wait = { .ready = NULL };
	struct http_target   target;
	enum err             e;

	*out = (struct wol_target){ .to = s->wake_address };
	if (s->wake_address.family != 0)
		return ERR_OK;
	list_init(&wait.link);
	e = upstream_target(s->o.upstream, &target, &wait);
	upstream_wait_cancel(&wait);
	if (e == ERR_OK && target.to[0].path[0] == '\0')
		return wol_target_near(&target.to[0].address, out);
	return e == ERR_OK ? ERR_UNREACHABLE : e;
}

static void packet_failed(struct sleeper *s, enum err e)
{
	count_cause(CAUSE_wake_failures, e);
	if (s->packet_error == e)
		return; /* said already */
	if (s->wake_address.family == 0 && e == ERR_UNREACHABLE)
		log_say(LOG_WARN, "sleep.packet",
		        "homeserver '%s' cannot be woken: it is on no network of this machine; set "
		        "wake_address to the broadcast address of its network",
		        s->section);
	else
		log_say(LOG_WARN, "sleep.packet",
		        "homeserver '%s' cannot be woken: the magic packet cannot be sent (%s)",
		        s->section, err_slug(e));
}

static void packet_send(struct sleeper *s)
{
	struct wol_target target;
	enum err          e = packet_target(s, &target);

	if (e == ERR_OK)
		e = wol_send(&s->mac, &target);
	if (e == ERR_OK) {
		s->packets++;
		count(COUNT_wake_packets);
	} else {
		packet_failed(s, e);
	}
	s->packet_error = e;
}

/* ---- the first question after an outage ---- */

static void check_stop(struct sleeper *s)
{
	upstream_wait_cancel(&s->check_wait);
	http_call_close(s->check);
	s->check = NULL;
	s->checking = s->check_passed = false;
}

static void check_over(struct sleeper *s, bool answered)
{
	check_stop(s);
	s->check_passed = answered;
	take(s,
	     answered ? awake_succeeded(&s->awake, now_of(s)) : awake_failed(&s->awake, now_of(s)));
}

/* A gateway in front of the homeserver answers for it with these. */
static bool is_gateway(int status)
{
	return status == 502 || status == 503 || status == 504;
}

static void on_check(void *arg)
{
	struct sleeper    *s = arg;
	const struct head *h = http_call_answer(s->check);
	struct str         span;

	while ((span = http_call_peek(s->check)).len > 0)
		http_call_consume(s->check, span.len);
	if (http_call_done(s->check) && h != NULL)
		check_over(s, !is_gateway(h->status));
	else if (http_call_failed(s->check) != ERR_OK)
		check_over(s, false);
}

static enum err check_open(struct sleeper *s, const struct http_target *target)
{
	char                     room[CHECK_HEAD_MAX];
	struct writer            w = writer_over(room, sizeof(room));
	struct http_call_options call = {
		.target = *target,
		.method = HTTP_GET,
		.response_head_ms = CHECK_ANSWER_MS,
		.keep = true,
	};

	h1_write_request_line(&w, STRL("GET"), STRL("/_matrix/federation/v1/version"));
	h1_write_field(&w, STRL("Host"), str_of(s->host));
	write_text(&w, "\r\n");
	if (w.failed)
		return ERR_TOO_LARGE;
	call.head = writer_done(&w);
	return http_call_open(upstream_pool(s->o.upstream), &call, on_check, s, &s->check);
}

static void check_start(struct sleeper *s)
{
	struct http_target target;
	enum err           e;

	check_stop(s);
	s->checking = true;
	e = upstream_target(s->o.upstream, &target, &s->check_wait);
	if (e == ERR_OK)
		e = check_open(s, &target);
	if (e == ERR_OK)
		http_call_flush(s->check);
	else if (e != ERR_BUSY)
		check_over(s, false);
}

static void on_check_address(void *arg, enum err e)
{
	if (e == ERR_OK)
		check_start(arg);
	else if (e != ERR_CANCELLED)
		check_over(arg, false);
}

/* ---- what the machine wants ---- */

static void log_state(const struct sleeper *s)
{
	if (!log_begin(LOG_INFO, "sleep.state"))
		return;
	log_text("homeserver", s->section);
	log_text("from", awake_state_slug(s->told_state));
	log_text("to", awake_state_slug(s->awake.state));
	log_text("why", awake_why(&s->awake));
	log_end();
}

static void settle_wait(struct sleeper_wait *w, enum err e)
{
	sleeper_wait_done_fn *done = w->done;
	void                 *arg = w->arg;

	*w->slot = NULL;
	deadline_clear(&w->limit);
	list_remove(&w->link);
	w->sleeper->held--;
	gauge_down(GAUGE_held_requests_open);
	free(w);
	if (e != ERR_CANCELLED)
		done(arg, e);
}

/* ERR_BUSY: it goes on waiting. */
static enum err wait_verdict(struct sleeper *s, enum awake_kind kind)
{
	enum awake_verdict v;

	take(s, awake_wish(&s->awake, kind, now_of(s), &v));
	if (v == AWAKE_GO)
		return sleeper_relays(s) ? ERR_OK : ERR_BUSY;
	return v == AWAKE_HOLD ? ERR_BUSY : ERR_UNREACHABLE;
}

/* Everybody is looked at once; who comes back meanwhile waits for the next time. The last may free s. */
static void settle_waits(struct sleeper *s)
{
	struct link queue;

	list_init(&queue);
	while (!list_empty(&s->waits))
		list_push_back(&queue, list_pop(&s->waits));
	while (!list_empty(&queue)) {
		struct sleeper_wait *w = LIST_ENTRY(list_pop(&queue), struct sleeper_wait, link);
		enum err             e = wait_verdict(s, w->kind);

		list_push_back(&s->waits, &w->link);
		if (e != ERR_BUSY)
			settle_wait(w, e);
	}
}

/* A sleeper's answering port is no news until the first question is answered: it is asked every few seconds. */
static bool has_news(const struct sleeper *s)
{
	bool open = s->told_state == AWAKE_ASLEEP && s->awake.state == AWAKE_DRAINING &&
		s->checking;

	return (s->told_state != s->awake.state && !open) || s->told_relays != sleeper_relays(s);
}

/* False: that was the end of s. */
static bool tell_changed(struct sleeper *s)
{
	bool ended;

	s->telling = true;
	if (s->o.changed != NULL)
		s->o.changed(s->o.arg);
	s->telling = false;
	ended = s->ended;
	if (ended)
		free(s);
	return !ended;
}

static void on_tell(void *arg)
{
	struct sleeper *s = arg;
	bool            drain = s->check_passed;

	s->check_passed = false;
	if (has_news(s)) {
		if (s->told_state != s->awake.state)
			log_state(s);
		s->told_state = s->awake.state;
		s->told_relays = sleeper_relays(s);
		if (!tell_changed(s))
			return;
	}
	if (drain && s->awake.state == AWAKE_DRAINING) {
		if (s->o.drain != NULL)
			s->o.drain(s->o.arg);
		else
			sleeper_drained(s);
	}
	settle_waits(s); /* last: after a reload the last of them may be the last to need us */
}

static void set_next(struct sleeper *s)
{
	msec at = awake_next(&s->awake), now = now_of(s);

	if (at == MS_NEVER)
		deadline_clear(&s->next);
	else
		deadline_in(&s->next, at > now ? at - now : 0);
}

static void take(struct sleeper *s, unsigned todo)
{
	if (!s->awake.probing)
		probe_stop(s);
	if (!awake_relays(&s->awake))
		check_stop(s);
	if (s->awake.state != s->told_state && !awake_relays(&s->awake) &&
	    s->awake.state != AWAKE_SUSPECT) /* else they would swallow the first requests later */
		http_pool_clear(upstream_pool(s->o.upstream));
	if (todo & AWAKE_DRAIN)
		check_start(s);
	if (todo & AWAKE_PACKET)
		packet_send(s);
	if (todo & AWAKE_PROBE) {
		s->probes++;
		count(COUNT_homeserver_probes);
		probe_start(s);
	}
	if (has_news(s) || s->check_passed)
		soon_call(&s->tell);
	set_next(s);
}

static void on_next(void *arg)
{
	struct sleeper *s = arg;

	take(s, awake_tick(&s->awake, now_of(s)));
}

/* ---- from outside ---- */

static struct awake_options machine_options(const struct homeserver_settings *hs)
{
	return (struct awake_options){
		.probe_ms = hs->probe_ms,
		.grace_ms = hs->sleep_grace_ms,
		.wake_on = hs->wake_on,
		.can_wake = hs->can_wake,
	};
}

static void sleeper_fill(struct sleeper *s, const struct homeserver_settings *hs)
{
	(void)str_copy(str_head(str_of(hs->section), sizeof(s->section) - 1), s->section,
	               sizeof(s->section));
	if (hs->host == NULL || hs->host[0] == '\0' ||
	    !str_copy(str_of(hs->host), s->host, sizeof(s->host)))
		(void)str_copy(STRL("localhost"), s->host, sizeof(s->host));
	s->can_wake = hs->can_wake;
	s->mac = hs->wake_mac;
	s->wake_address = hs->wake_address;
	s->packet_error = ERR_OK;
}

static void wait_init(struct upstream_wait *w, void (*ready)(void *arg, enum err e), void *arg)
{
	*w = (struct upstream_wait){ .ready = ready, .arg = arg };
	list_init(&w->link);
}

enum err sleeper_new(const struct sleeper_options *o, struct sleeper **out)
{
	struct awake_options machine = machine_options(o->hs);
	struct sleeper      *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return ERR_NOMEM;
	s->o = *o;
	s->o.hs = NULL;
	s->o.upstream = upstream_keep(o->upstream);
	sleeper_fill(s, o->hs);
	deadline_init(&s->next, o->loop, on_next, s);
	soon_init(&s->tell, o->loop, on_tell, s);
	list_init(&s->waits);
	wait_init(&s->dial_wait, on_dial_address, s);
	wait_init(&s->check_wait, on_check_address, s);
	s->told_state = AWAKE_SUSPECT;
	take(s, awake_init(&s->awake, &machine, now_of(s)));
	*out = s;
	return ERR_OK;
}

void sleeper_free(struct sleeper *s)
{
	if (s == NULL)
		return;
	check(list_empty(&s->waits));
	probe_stop(s);
	check_stop(s);
	deadline_clear(&s->next);
	soon_clear(&s->tell);
	upstream_drop(s->o.upstream);
	s->ended = true;
	if (!s->telling)
		free(s);
}

void sleeper_set(struct sleeper *s, const struct homeserver_settings *hs, struct upstream *u)
{
	struct awake_options machine = machine_options(hs);
	bool                 was_checking = s->checking, was_probing = s->awake.probing;

	sleeper_fill(s, hs);
	if (u != s->o.upstream) {
		probe_stop(s);
		check_stop(s);
		upstream_keep(u);
		upstream_drop(s->o.upstream);
		s->o.upstream = u;
		if (was_checking)
			check_start(s);
		if (was_probing)
			probe_start(s);
	}
	take(s, awake_set(&s->awake, &machine, now_of(s)));
}

void sleeper_succeeded(struct sleeper *s)
{
	take(s, awake_succeeded(&s->awake, now_of(s)));
}

void sleeper_failed(struct sleeper *s)
{
	take(s, awake_failed(&s->awake, now_of(s)));
}

void sleeper_doubt(struct sleeper *s)
{
	take(s, awake_doubt(&s->awake, now_of(s)));
}

void sleeper_sleeps(struct sleeper *s)
{
	take(s, awake_sleeps(&s->awake, now_of(s)));
}

void sleeper_wakes(struct sleeper *s)
{
	take(s, awake_wakes(&s->awake, now_of(s)));
}

void sleeper_sent(struct sleeper *s, enum awake_sent what)
{
	take(s, awake_sent(&s->awake, what, now_of(s)));
}

void sleeper_asked(struct sleeper *s)
{
	take(s, awake_asked(&s->awake, now_of(s)));
}

void sleeper_order(struct sleeper *s)
{
	take(s, awake_order(&s->awake, now_of(s)));
}

void sleeper_drained(struct sleeper *s)
{
	take(s, awake_drained(&s->awake, now_of(s)));
}

void sleeper_wish(struct sleeper *s, enum awake_kind kind)
{
	enum awake_verdict ignored;

	take(s, awake_wish(&s->awake, kind, now_of(s), &ignored));
}

enum awake_state sleeper_state(const struct sleeper *s)
{
	return s->awake.state;
}

bool sleeper_relays(const struct sleeper *s)
{
	return awake_relays(&s->awake) && !s->checking;
}

bool sleeper_is_exact(const struct sleeper *s)
{
	return awake_is_exact(&s->awake);
}

const char *sleeper_must_stay(const struct sleeper *s, msec *wait_ms)
{
	return awake_must_stay(&s->awake, now_of(s), wait_ms);
}

void sleeper_status(const struct sleeper *s, struct sleeper_status *out)
{
	msec now = now_of(s), next = awake_next(&s->awake);

	*out = (struct sleeper_status){
		.state = awake_state_slug(s->awake.state),
		.why = awake_why(&s->awake),
		.since_ms = now - s->awake.since,
		.next_ms = next == MS_NEVER ? MS_NEVER
			: next > now        ? next - now
					    : 0,
		.announced = awake_is_exact(&s->awake),
		.can_wake = s->can_wake,
		.held = s->held,
		.probes = s->probes,
		.packets = s->packets,
		.packet_error = s->packet_error,
	};
}

/* ---- holding requests ---- */

static void on_wait_limit(void *arg)
{
	settle_wait(arg, ERR_TIMEOUT);
}

enum err sleeper_wait_start(struct sleeper_wait **slot, struct sleeper *s, enum awake_kind kind,
                            msec hold_ms, sleeper_wait_done_fn *done, void *arg)
{
	struct sleeper_wait *w;

	if (wait_verdict(s, kind) == ERR_UNREACHABLE)
		return ERR_UNREACHABLE;
	w = calloc(1, sizeof(*w));
	if (w == NULL)
		return ERR_NOMEM;
	*w = (struct sleeper_wait){
		.slot = slot, .sleeper = s, .kind = kind, .done = done, .arg = arg
	};
	deadline_init(&w->limit, s->o.loop, on_wait_limit, w);
	deadline_in(&w->limit, hold_ms);
	list_push_back(&s->waits, &w->link);
	s->held++;
	gauge_up(GAUGE_held_requests_open);
	if (sleeper_relays(s))
		soon_call(&s->tell);
	*slot = w;
	return ERR_OK;
}

void sleeper_wait_cancel(struct sleeper_wait **slot)
{
	if (*slot != NULL)
		settle_wait(*slot, ERR_CANCELLED);
}
