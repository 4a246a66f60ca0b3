#include "role/drain.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/metrics.h"

enum {
	PAUSE_MIN_MS = 1000,
	PAUSE_MAX_MS = 5 * 60 * 1000,
	PARK_TRIES = 10,
	PARK_BREAKS = 5,                /* while others are taken */
	PARK_AFTER_MS = 60 * 60 * 1000, /* trouble with one item while others are taken */
	PARK_UNAUTHORIZED_MS = 6 * 60 * 60 * 1000, /* ditto; its origin's keys may come back */
	PARK_ALONE_MS = 24 * 60 * 60 * 1000, /* nothing else was taken: perhaps nothing can be */
	PAUSE_KEPT_MS = 8000,                /* shorter ones end when the homeserver is back */
	LANES_LOOKED_AT = 256,
	REST_BUCKETS = 64,
	TURNS = 256,
	HEAD_MAX = 52 * 1024,
};

/* A lane whose last try failed, and until when it rests. */
struct rest {
	struct link link;
	uint32_t    hash;
	msec        until;
	msec        pause_ms;
	uint64_t    took;   /* drain->took when it began to fail */
	uint64_t    item;   /* that fails */
	msec        since;  /* and when it did so first, on a clock that nobody sets */
	msec        before; /* for how long it had been tried then */
	uint64_t    broken; /* the item that the connection ended on */
	unsigned    breaks; /* in a row */
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
	bool                 begun;   /* something of it was sent */
	bool                 holds;   /* the item is in hand, and no verdict on it was begun */
	size_t               sent;    /* of the body */
	uint64_t             bytes;   /* counted in drain->in_hand */
	uint64_t             sequence;
	uint32_t             tries;
	msec                 tried_ms; /* by the clock on the wall, which may have been set since */
	bool                 ended;    /* the homeserver has said what it says */
	char                 server_name[256], origin[256];
};

struct drain {
	struct drain_options   o;
	bool                   open;
	struct link            deliveries, rests[REST_BUCKETS];
	uint64_t               took; /* transactions that the homeserver took */
	unsigned               running;
	uint64_t               in_hand; /* bytes of those that are running */
	struct deadline        again;   /* pace, and the end of rests */
	struct soon            look;
	msec                   paced_until;            /* no delivery starts before */
	struct queue_lane_info lanes[LANES_LOOKED_AT]; /* of drain_go() */
	uint32_t turn, turns[TURNS]; /* the latest of each origin, by hash; 0: none yet */
};

static void drain_go(void *arg);

/* ---- what an answer means ---- */

/* Long enough, and not because it takes nothing at all (a database that is away, say). */
static bool is_long_enough(const struct drain_try *t, msec ms)
{
	return t->tried_ms >= (t->others ? ms : PARK_ALONE_MS);
}

enum queue_verdict drain_verdict(const struct drain_try *t, const char **reason)
{
	bool parks = true;

	*reason = "";
	if (t->status >= 200 && t->status < 300)
		return QUEUE_DELIVERED;
	if (t->status == 401) {
		*reason = "the homeserver says 401: it cannot verify the origin's signature";
		parks = is_long_enough(t, PARK_UNAUTHORIZED_MS);
	} else if (t->status == 0) {
		*reason = "the homeserver hangs up on it again and again";
		parks = t->breaks >= PARK_BREAKS && (t->others || t->tried_ms >= PARK_ALONE_MS);
	} else if (t->status >= 500) {
		*reason = "the homeserver failed on it again and again";
		parks = t->tries + 1 >= PARK_TRIES && is_long_enough(t, PARK_AFTER_MS);
	} else if (t->status == 408 || t->status == 429) {
		*reason = "the homeserver is busy";
		parks = false;
	} else {
		*reason = "the homeserver refused it";
	}
	return parks ? QUEUE_PARK : QUEUE_RETRY;
}

/* ---- rests ---- */

static struct rest *rest_find(struct drain *d, struct str server_name, struct str origin)
{
	uint32_t     hash = str_hash(origin);
	struct link *bucket = &d->rests[hash % REST_BUCKETS];

	for (struct link *l = bucket->next; l != bucket; l = l->next) {
		struct rest *r = LIST_ENTRY(l, struct rest, link);

		if (r->hash == hash && str_is(origin, r->origin) &&
		    str_is(server_name, r->server_name))
			return r;
	}
	return NULL;
}

static void rest_end(struct rest *r)
{
	list_remove(&r->link);
	free(r);
}

/* NULL: no memory; the pace alone slows us then. */
static struct rest *rest_of(struct drain *d, const struct delivery *v)
{
	struct rest *r = rest_find(d, str_of(v->server_name), str_of(v->origin));

	if (r != NULL)
		return r;
	r = calloc(1, sizeof(*r));
	if (r == NULL)
		return NULL;
	r->hash = str_hash(str_of(v->origin));
	r->took = d->took;
	memcpy(r->server_name, v->server_name, sizeof(r->server_name));
	memcpy(r->origin, v->origin, sizeof(r->origin));
	list_push_back(&d->rests[r->hash % REST_BUCKETS], &r->link);
	return r;
}

/*
 * For how long the item of v has failed. Runs before this one are counted by the clock on the wall; for this one
 * that would be wrong, as a router learns the time some while after its start.
 */
static msec rest_failing_ms(struct rest *r, const struct delivery *v)
{
	msec now = loop_now(v->drain->o.loop);

	if (r == NULL)
		return v->tried_ms;
	if (r->item != v->sequence) {
		r->item = v->sequence;
		r->since = now;
		r->before = v->tried_ms;
	}
	return r->before + (now - r->since);
}

/* Longer each time. */
static void rest_begin(struct drain *d, const struct delivery *v)
{
	struct rest *r = rest_of(d, v);

	if (r == NULL)
		return;
	(void)rest_failing_ms(r, v);
	r->pause_ms = r->pause_ms == 0 ? PAUSE_MIN_MS : r->pause_ms * 2;
	if (r->pause_ms > PAUSE_MAX_MS)
		r->pause_ms = PAUSE_MAX_MS;
	r->until = loop_now(d->o.loop) + r->pause_ms;
}

/* One that is over is no reason to look: its lane is on its way, and the end of that looks. */
static msec rests_next(const struct drain *d, msec now)
{
	msec next = MS_NEVER;

	for (size_t i = 0; i < REST_BUCKETS; i++)
		for (const struct link *l = d->rests[i].next; l != &d->rests[i]; l = l->next) {
			const struct rest *r = LIST_ENTRY(l, struct rest, link);

			if (r->until > now && r->until - now < next)
				next = r->until - now;
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
	if (v->holds)
		queue_give_back(v->drain->o.queue, v->sequence);
	http_call_close(v->call);
	queue_item_free(v->item);
	list_remove(&v->link);
	v->drain->running--;
	v->drain->in_hand -= v->bytes;
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

/* False: none could be begun; the item is still in hand. */
static bool delivery_decide(struct delivery *v, enum queue_verdict verdict, const char *reason,
                            queue_settle_done_fn *done)
{
	v->holds = queue_settle_start(&v->settle, v->drain->o.queue, v->sequence, verdict,
	                              str_of(reason), done, v) != ERR_OK;
	return !v->holds;
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
	if (!delivery_decide(v, QUEUE_RETRY, "", on_given_back))
		delivery_over(v);
}

/* broke: it was sent, and the connection ended without an answer. */
static enum queue_verdict delivery_verdict(struct delivery *v, int status, bool broke,
                                           const char **reason)
{
	struct drain      *d = v->drain;
	struct rest       *r = rest_find(d, str_of(v->server_name), str_of(v->origin));
	struct drain_try   t = { .status = status, .tries = v->tries };
	enum queue_verdict verdict;

	if (r == NULL && broke)
		r = rest_of(d, v);
	t.tried_ms = rest_failing_ms(r, v);
	if (r != NULL && (r->broken != v->sequence || !broke))
		r->breaks = 0;
	if (r != NULL && broke) {
		r->broken = v->sequence;
		t.breaks = ++r->breaks;
	}
	t.others = r != NULL && r->took != d->took;
	verdict = drain_verdict(&t, reason);
	if (verdict == QUEUE_RETRY)
		rest_begin(d, v);
	else if (r != NULL)
		rest_end(r);
	d->took += verdict == QUEUE_DELIVERED;
	return verdict;
}

static void delivery_settle(struct delivery *v, int status, bool broke)
{
	const char        *reason;
	enum queue_verdict verdict = delivery_verdict(v, status, broke, &reason);

	v->ended = true;
	http_call_close(v->call);
	v->call = NULL;
	count(verdict == QUEUE_DELIVERED      ? COUNT_queue_delivered
	              : verdict == QUEUE_PARK ? COUNT_queue_parked
	                                      : COUNT_queue_retried);
	delivery_log(v,
	             verdict == QUEUE_DELIVERED      ? "drain.delivered"
	                     : verdict == QUEUE_PARK ? "drain.parked"
	                                             : "drain.retry",
	             status, verdict == QUEUE_DELIVERED ? "" : reason);
	if (!delivery_decide(v, verdict, reason, on_settled))
		delivery_over(v);
}

static void delivery_unreached(struct delivery *v)
{
	struct drain *d = v->drain;

	delivery_settle(v, 0, v->begun);
	d->o.heard(d->o.arg, false);
}

/* True: only room is missing. */
static bool delivery_send_some(struct delivery *v)
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
	return rest.len > 0;
}

/* What is put together counts as room taken; when it has been written there may be some again. */
static void delivery_send_body(struct delivery *v)
{
	bool more;

	v->begun = true;
	do {
		more = delivery_send_some(v);
		http_call_flush(v->call);
	} while (more && http_call_room(v->call) > 0);
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
		delivery_settle(v, h->status, false);
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
	if (e == ERR_OK && http_call_connected(v->call))
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
	v->holds = true;
	v->sequence = info->sequence;
	v->tries = info->tries;
	v->tried_ms = info->first_try_unix_ms != 0 && info->first_try_unix_ms < now
		? now - info->first_try_unix_ms
		: 0;
	delivery_start_call(v);
}

/* Of the lane's next item. */
static uint64_t bytes_of(const struct drain *d, const struct queue_lane_info *lane)
{
	struct queue_info info;

	return queue_find(d->o.queue, lane->sequence, &info) == ERR_OK ? info.bytes : 0;
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
	v->bytes = bytes_of(d, lane);
	d->in_hand += v->bytes;
	(void)str_copy(lane->server_name, v->server_name, sizeof(v->server_name));
	(void)str_copy(lane->origin, v->origin, sizeof(v->origin));
	e = queue_read_start(&v->read, d->o.queue, str_of(v->server_name), str_of(v->origin),
	                     on_read, v);
	if (e != ERR_OK)
		delivery_free(v);
	return e;
}

/* ---- which one next ---- */

enum lane_kind {
	LANE_FOREIGN, /* of another homeserver, or of none */
	LANE_BUSY,    /* one of it is on its way, or it failed a moment ago */
	LANE_RESTING, /* failing for a while: nobody waits for it */
	LANE_FREE,
};

static enum lane_kind lane_kind_of(struct drain *d, const struct queue_lane_info *lane, msec now)
{
	const struct rest *r;

	if (!d->o.serves(d->o.arg, lane->server_name))
		return LANE_FOREIGN;
	if (lane->in_hand || lanes_is_live(d->o.lanes, lane->server_name, lane->origin))
		return LANE_BUSY;
	r = rest_find(d, lane->server_name, lane->origin);
	if (r == NULL || r->until <= now)
		return LANE_FREE;
	return r->pause_ms < PAUSE_KEPT_MS ? LANE_BUSY : LANE_RESTING;
}

static void drain_set_again(struct drain *d, msec now)
{
	msec next = rests_next(d, now);

	if (next != MS_NEVER)
		deadline_in(&d->again, next > d->o.pace_ms ? next : d->o.pace_ms);
}

/* Two that share a place share their turns, no more. */
static uint32_t *turn_of(struct drain *d, const struct queue_lane_info *lane)
{
	return &d->turns[str_hash(lane->origin) % TURNS];
}

/*
 * A free lane, NULL: none. *left: some of ours are busy. They take turns: one that was not served for
 * longest, and of those the one with the oldest item, so that whoever sent a thousand keeps nobody waiting
 * who sent one.
 */
static const struct queue_lane_info *free_lane(struct drain *d, msec now, bool *left)
{
	const struct queue_lane_info *best = NULL;
	uint64_t                      after = 0;
	size_t                        n;

	*left = false;
	do {
		n = queue_lanes(d->o.queue, after, d->lanes, LANES_LOOKED_AT);
		for (size_t i = 0; i < n; i++) {
			enum lane_kind kind = lane_kind_of(d, &d->lanes[i], now);

			*left = *left || kind == LANE_BUSY;
			if (kind == LANE_FREE &&
			    (best == NULL || *turn_of(d, &d->lanes[i]) < *turn_of(d, best)))
				best = &d->lanes[i];
		}
		after = n > 0 ? d->lanes[n - 1].sequence : 0;
	} while (best == NULL && n == LANES_LOOKED_AT); /* the next ones overwrite these */
	return best;
}

/* An item is in memory while it is on its way: large ones go alone. */
static bool has_place(const struct drain *d, const struct queue_lane_info *lane)
{
	return d->running == 0 || d->o.in_hand_max == 0 ||
		d->in_hand + bytes_of(d, lane) <= d->o.in_hand_max;
}

static void drain_go(void *arg)
{
	struct drain                 *d = arg;
	const struct queue_lane_info *lane;
	bool                          left;
	msec                          now = loop_now(d->o.loop);

	if (!d->open || d->running >= d->o.parallel)
		return; /* the end of a delivery looks again */
	if (now < d->paced_until) {
		deadline_in(&d->again, d->paced_until - now);
		return;
	}
	lane = free_lane(d, now, &left);
	if (lane != NULL && !has_place(d, lane))
		return; /* it keeps its turn; the end of a delivery looks again */
	if (lane != NULL) {
		msec pause;

		*turn_of(d, lane) = ++d->turn;
		pause = delivery_start(d, lane) == ERR_NOMEM ? PAUSE_MIN_MS : d->o.pace_ms;
		d->paced_until = now + pause;
		deadline_in(&d->again, pause);
		return;
	}
	if (!left && d->running == 0)
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
	struct link *next;

	for (size_t i = 0; i < REST_BUCKETS; i++)
		for (struct link *l = d->rests[i].next; l != &d->rests[i]; l = next) {
			struct rest *r = LIST_ENTRY(l, struct rest, link);

			next = l->next;
			if (!queue_lane_waiting(d->o.queue, str_of(r->server_name),
			                        str_of(r->origin)))
				rest_end(r); /* an operator dropped what was in it */
			else if (r->pause_ms < PAUSE_KEPT_MS)
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
			delivery_settle(v, 0, false);
	}
}

void drain_took_other(struct drain *d)
{
	d->took++;
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
	for (size_t i = 0; i < REST_BUCKETS; i++)
		list_init(&d->rests[i]);
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
	for (size_t i = 0; i < REST_BUCKETS; i++)
		while (!list_empty(&d->rests[i]))
			rest_end(LIST_ENTRY(d->rests[i].next, struct rest, link));
	upstream_drop(d->o.upstream);
	free(d);
}
