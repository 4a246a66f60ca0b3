#include "role/drain.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/metrics.h"

enum {
	PAUSE_MIN_MS = 1000,
	PAUSE_MAX_MS = 5 * 60 * 1000,
	PARK_TRIES = 10,
	PARK_AFTER_MS = 60 * 60 * 1000,            /* trouble with one item */
	PARK_UNAUTHORIZED_MS = 6 * 60 * 60 * 1000, /* its origin's keys may come back */
	PAUSE_KEPT_MS = 8000, /* shorter ones end when the homeserver is back */
	LANES_LOOKED_AT = 256,
	HEAD_MAX = 52 * 1024,
};

/* A lane whose last try failed, and until when it rests. */
struct rest {
	struct link link;
	msec        until;
	msec        pause_ms;
	char        server_name[256], origin[256];
};

/* One item on its way. */
struct delivery {
	struct link          link;
	struct drain        *drain;
	struct queue_read   *read;
	struct queue_settle *settle;
	struct queue_item   *item;
	struct http_call    *call;
	struct upstream_wait wait;
	bool                 waiting; /* for the upstream's address */
	size_t               sent;    /* of the body */
	uint64_t             sequence;
	uint32_t             tries;
	msec                 tried_ms;
	bool                 ended; /* the homeserver has said what it says */
	char                 server_name[256], origin[256];
};

struct drain {
	struct drain_options   o;
	bool                   open;
	struct link            deliveries, rests;
	unsigned               running;
	struct deadline        again; /* pace, and the end of rests */
	struct soon            look;
	msec                   paced_until;            /* no delivery starts before */
	struct queue_lane_info lanes[LANES_LOOKED_AT]; /* of drain_go() */
};

static void drain_go(void *arg);

/* ---- what an answer means ---- */

enum queue_verdict drain_verdict(int status, uint32_t tries, msec tried_ms, const char **reason)
{
	*reason = "";
	if (status >= 200 && status < 300)
		return QUEUE_DELIVERED;
	if (status == 401) {
		*reason = "the homeserver says 401: it cannot verify the origin's signature";
		return tried_ms >= PARK_UNAUTHORIZED_MS ? QUEUE_PARK : QUEUE_RETRY;
	}
	if (status == 0 || status == 408 || status == 429 || status >= 500) {
		*reason = "the homeserver failed on it again and again";
		return status >= 500 && tries + 1 >= PARK_TRIES && tried_ms >= PARK_AFTER_MS
			? QUEUE_PARK
			: QUEUE_RETRY;
	}
	*reason = "the homeserver refused it";
	return QUEUE_PARK;
}

/* ---- rests ---- */

static struct rest *rest_find(struct drain *d, struct str server_name, struct str origin)
{
	for (struct link *l = d->rests.next; l != &d->rests; l = l->next) {
		struct rest *r = LIST_ENTRY(l, struct rest, link);

		if (str_is(origin, r->origin) && str_is(server_name, r->server_name))
			return r;
	}
	return NULL;
}

static void rest_end(struct rest *r)
{
	list_remove(&r->link);
	free(r);
}

/* Longer each time; without memory for it the pace alone slows us. */
static void rest_begin(struct drain *d, const struct delivery *v)
{
	struct rest *r = rest_find(d, str_of(v->server_name), str_of(v->origin));

	if (r == NULL) {
		r = calloc(1, sizeof(*r));
		if (r == NULL)
			return;
		memcpy(r->server_name, v->server_name, sizeof(r->server_name));
		memcpy(r->origin, v->origin, sizeof(r->origin));
		list_push_back(&d->rests, &r->link);
	}
	r->pause_ms = r->pause_ms == 0 ? PAUSE_MIN_MS : r->pause_ms * 2;
	if (r->pause_ms > PAUSE_MAX_MS)
		r->pause_ms = PAUSE_MAX_MS;
	r->until = loop_now(d->o.loop) + r->pause_ms;
}

static msec rests_next(const struct drain *d, msec now)
{
	msec next = MS_NEVER;

	for (const struct link *l = d->rests.next; l != &d->rests; l = l->next) {
		const struct rest *r = LIST_ENTRY(l, struct rest, link);
		msec               left = r->until > now ? r->until - now : 0;

		next = left < next ? left : next;
	}
	return next;
}

/* ---- a delivery ---- */

static void delivery_free(struct delivery *v)
{
	if (v->waiting)
		upstream_wait_cancel(&v->wait);
	queue_read_cancel(&v->read);
	queue_settle_cancel(&v->settle);
	http_call_close(v->call);
	queue_item_free(v->item);
	list_remove(&v->link);
	v->drain->running--;
	free(v);
}

static void delivery_log(const struct delivery *v, const char *event, int status,
                         const char *reason)
{
	if (!log_begin(LOG_INFO, event))
		return;
	log_text("domain", v->server_name);
	log_text("origin", v->origin);
	log_num("item", (int64_t)v->sequence);
	log_num("status", status);
	if (reason[0] != '\0')
		log_text("why", reason);
	log_end();
}

/* On to the next one, after the pace. */
static void delivery_over(struct delivery *v)
{
	struct drain *d = v->drain;

	delivery_free(v);
	deadline_in(&d->again, d->o.pace_ms);
}

static void on_given_back(void *arg, enum err e)
{
	(void)e;
	delivery_over(arg);
}

/* The verdict could not be written: back to its place, for the lane must not stand still. */
static void on_settled(void *arg, enum err e)
{
	struct delivery *v = arg;

	if (e == ERR_OK) {
		delivery_over(v);
		return;
	}
	log_say(LOG_ERROR, "drain.store",
	        "item %llu could not be settled (%s); it is delivered again",
	        (unsigned long long)v->sequence, err_slug(e));
	rest_begin(v->drain, v);
	if (queue_settle_start(&v->settle, v->drain->o.queue, v->sequence, QUEUE_RETRY, STRL(""),
	                       on_given_back, v) != ERR_OK)
		delivery_over(v);
}

static void delivery_settle(struct delivery *v, int status)
{
	struct drain      *d = v->drain;
	struct rest       *r = rest_find(d, str_of(v->server_name), str_of(v->origin));
	const char        *reason;
	enum queue_verdict verdict = drain_verdict(status, v->tries, v->tried_ms, &reason);

	v->ended = true;
	http_call_close(v->call);
	v->call = NULL;
	if (verdict == QUEUE_RETRY)
		rest_begin(d, v);
	else if (r != NULL)
		rest_end(r);
	count(verdict == QUEUE_DELIVERED      ? COUNT_queue_delivered
	              : verdict == QUEUE_PARK ? COUNT_queue_parked
	                                      : COUNT_queue_retried);
	delivery_log(v,
	             verdict == QUEUE_DELIVERED      ? "drain.delivered"
	                     : verdict == QUEUE_PARK ? "drain.parked"
	                                             : "drain.retry",
	             status, verdict == QUEUE_DELIVERED ? "" : reason);
	if (queue_settle_start(&v->settle, d->o.queue, v->sequence, verdict, str_of(reason),
	                       on_settled, v) != ERR_OK)
		delivery_over(v);
}

static void delivery_unreached(struct delivery *v)
{
	struct drain *d = v->drain;

	delivery_settle(v, 0);
	d->o.heard(d->o.arg, false);
}

static void delivery_send_body(struct delivery *v)
{
	struct str rest = str_from(v->item->body, v->sent);
	size_t     room;

	while (rest.len > 0 && (room = http_call_room(v->call)) > 0) {
		struct str piece = str_head(rest, room);

		http_call_send(v->call, piece);
		v->sent += piece.len;
		rest = str_from(rest, piece.len);
	}
	if (rest.len == 0)
		http_call_send_end(v->call);
	http_call_flush(v->call);
}

/* Of a gateway in front of it: says nothing about the homeserver. */
static bool is_gateway_trouble(int status)
{
	return status >= 502 && status <= 504;
}

static void on_call(void *arg)
{
	struct delivery   *v = arg;
	const struct head *h;
	struct str         span;

	if (v->ended)
		return;
	if (http_call_answer(v->call) == NULL && http_call_connected(v->call))
		delivery_send_body(v);
	h = http_call_answer(v->call);
	while ((span = http_call_peek(v->call)).len >
	       0) /* what is said of single events is nobody's business here */
		http_call_consume(v->call, span.len);
	if (h != NULL && http_call_done(v->call)) {
		if (!is_gateway_trouble(h->status))
			v->drain->o.heard(v->drain->o.arg, true);
		delivery_settle(v, h->status);
	} else if (http_call_failed(v->call) != ERR_OK) {
		delivery_unreached(v);
	}
}

/* Authorization values are kept one per line. */
static void write_authorization(struct writer *w, struct str lines)
{
	while (lines.len > 0) {
		size_t end = str_find(lines, '\n');

		h1_write_field(w, STRL("Authorization"), str_head(lines, end));
		lines = str_from(lines, end + 1);
	}
}

static struct str write_head(char *room, size_t size, const struct queue_item *item)
{
	struct writer w = writer_over(room, size);

	h1_write_request_line(&w, item->method, item->target);
	h1_write_field(&w, STRL("Host"), item->server_name);
	write_authorization(&w, item->authorization);
	if (item->content_type.len > 0)
		h1_write_field(&w, STRL("Content-Type"), item->content_type);
	if (item->peer.family == ADDRESS_V4 || item->peer.family == ADDRESS_V6) {
		write_text(&w, "X-Forwarded-For: ");
		address_write_ip(&w, &item->peer);
		write_text(&w, "\r\nX-Forwarded-Proto: https\r\n");
	}
	h1_write_length(&w, item->body.len);
	write_text(&w, "\r\n");
	return w.failed ? (struct str){ NULL, 0 } : writer_done(&w);
}

static enum err delivery_open_call(struct delivery *v, const struct http_target *target)
{
	char                    *room = malloc(HEAD_MAX);
	struct http_call_options call = {
		.target = *target,
		.method = HTTP_PUT,
		.has_body = v->item->body.len > 0,
		.response_head_ms = v->drain->o.answer_ms,
		.keep = true,
	};
	enum err e = ERR_NOMEM;

	if (room != NULL)
		call.head = write_head(room, HEAD_MAX, v->item);
	if (call.head.ptr != NULL)
		e = http_call_open(upstream_pool(v->drain->o.upstream), &call, on_call, v,
		                   &v->call);
	free(room);
	if (e == ERR_OK)
		delivery_send_body(v);
	return e;
}

static void delivery_start_call(struct delivery *v)
{
	struct http_target target;
	enum err           e = upstream_target(v->drain->o.upstream, &target, &v->wait);

	if (e == ERR_BUSY) {
		v->waiting = true;
		return;
	}
	if (e == ERR_OK)
		e = delivery_open_call(v, &target);
	if (e != ERR_OK)
		delivery_unreached(v);
}

static void on_address(void *arg, enum err e)
{
	struct delivery *v = arg;

	(void)e; /* asking again tells */
	v->waiting = false;
	delivery_start_call(v);
}

static void on_read(void *arg, enum err e, const struct queue_info *info, struct queue_item *item)
{
	struct delivery *v = arg;
	uint64_t         now = loop_unix_ms(v->drain->o.loop);

	if (e != ERR_OK) {
		if (e != ERR_NOT_FOUND) {
			rest_begin(v->drain, v);
			log_say(LOG_ERROR, "drain.store", "the queue cannot be read: %s",
			        err_slug(e));
		}
		delivery_over(v);
		return;
	}
	v->item = item;
	v->sequence = info->sequence;
	v->tries = info->tries;
	v->tried_ms = info->first_try_unix_ms != 0 && info->first_try_unix_ms < now
		? now - info->first_try_unix_ms
		: 0;
	delivery_start_call(v);
}

static enum err delivery_start(struct drain *d, const struct queue_lane_info *lane)
{
	struct delivery *v = calloc(1, sizeof(*v));
	enum err         e;

	if (v == NULL)
		return ERR_NOMEM;
	v->drain = d;
	v->wait.ready = on_address;
	v->wait.arg = v;
	list_init(&v->wait.link);
	list_push_back(&d->deliveries, &v->link);
	d->running++;
	(void)str_copy(lane->server_name, v->server_name, sizeof(v->server_name));
	(void)str_copy(lane->origin, v->origin, sizeof(v->origin));
	e = queue_read_start(&v->read, d->o.queue, str_of(v->server_name), str_of(v->origin),
	                     on_read, v);
	if (e != ERR_OK)
		delivery_free(v);
	return e;
}

/* ---- which one next ---- */

static bool lane_is_free(struct drain *d, const struct queue_lane_info *lane, msec now)
{
	struct rest *r = rest_find(d, lane->server_name, lane->origin);

	if (lane->in_hand || !d->o.serves(d->o.arg, lane->server_name) ||
	    lanes_is_live(d->o.lanes, lane->server_name, lane->origin))
		return false;
	return r == NULL || r->until <= now;
}

static void drain_set_again(struct drain *d, msec now)
{
	msec next = rests_next(d, now);

	if (next != MS_NEVER)
		deadline_in(&d->again, next > d->o.pace_ms ? next : d->o.pace_ms);
}

static void drain_go(void *arg)
{
	struct drain           *d = arg;
	struct queue_lane_info *lanes = d->lanes;
	size_t                  count_of, mine = 0;
	msec                    now = loop_now(d->o.loop);

	if (!d->open)
		return;
	if (now < d->paced_until) {
		deadline_in(&d->again, d->paced_until - now);
		return;
	}
	count_of = queue_lanes(d->o.queue, lanes, LANES_LOOKED_AT);
	for (size_t i = 0; i < count_of; i++) {
		mine += d->o.serves(d->o.arg, lanes[i].server_name);
		if (d->running >= d->o.parallel || !lane_is_free(d, &lanes[i], now))
			continue;
		if (delivery_start(d, &lanes[i]) == ERR_NOMEM)
			break;
		d->paced_until = now + d->o.pace_ms;
		deadline_in(&d->again, d->o.pace_ms);
		return; /* starting one changes what the slices of the others point to */
	}
	if (mine == 0 && d->running == 0)
		d->o.emptied(d->o.arg);
	drain_set_again(d, now);
}

void drain_look(struct drain *d)
{
	if (d->open)
		soon_call(&d->look);
}

/* It is back: no reason to rest after a failure or two. What failed again and again rests on. */
static void rests_shorten(struct drain *d)
{
	for (struct link *l = d->rests.next; l != &d->rests; l = l->next) {
		struct rest *r = LIST_ENTRY(l, struct rest, link);

		if (r->pause_ms < PAUSE_KEPT_MS)
			r->until = 0;
	}
}

void drain_open(struct drain *d)
{
	if (!d->open)
		rests_shorten(d);
	d->open = true;
	soon_call(&d->look);
}

void drain_close(struct drain *d)
{
	d->open = false;
	deadline_clear(&d->again);
	soon_clear(&d->look);
}

void drain_abandon(struct drain *d)
{
	struct link *next;

	for (struct link *l = d->deliveries.next; l != &d->deliveries; l = next) {
		struct delivery *v = LIST_ENTRY(l, struct delivery, link);

		next = l->next;
		if (v->call != NULL && !v->ended)
			delivery_settle(v, 0);
	}
}

bool drain_is_busy(const struct drain *d)
{
	return d->running > 0;
}

enum err drain_new(const struct drain_options *o, struct drain **out)
{
	struct drain *d = calloc(1, sizeof(*d));

	if (d == NULL)
		return ERR_NOMEM;
	d->o = *o;
	upstream_keep(o->upstream);
	list_init(&d->deliveries);
	list_init(&d->rests);
	deadline_init(&d->again, o->loop, drain_go, d);
	soon_init(&d->look, o->loop, drain_go, d);
	*out = d;
	return ERR_OK;
}

void drain_free(struct drain *d)
{
	if (d == NULL)
		return;
	drain_close(d);
	while (!list_empty(&d->deliveries))
		delivery_free(LIST_ENTRY(d->deliveries.next, struct delivery, link));
	while (!list_empty(&d->rests))
		rest_end(LIST_ENTRY(d->rests.next, struct rest, link));
	upstream_drop(d->o.upstream);
	free(d);
}
