#include "role/passage.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/metrics.h"
#include "role/answer.h"
#include "role/deposit.h"
#include "role/path_class.h"
#include "role/relay.h"

/* One request under way. */
struct passage {
	struct passage_ground        *ground;
	struct settings              *settings; /* under which it began */
	const struct domain_settings *domain;
	struct http_request          *request;
	struct relay                 *relay;
	struct upstream              *upstream;
	struct reception             *reception; /* NULL: none */
	struct asleep_match           match;     /* with reception */
	struct lane                   lane;      /* PUT /send: taken while it is live */
	struct reception_guest        guest;     /* while it is relayed */
	struct deadline               doubt;     /* is the homeserver still there? */
	msec                          doubt_ms;
	struct deposit               *deposit; /* it is being kept */
	struct vigil                 *vigil;   /* it waits for the homeserver */
	struct upstream_wait          wait;
	bool                          waiting; /* for the upstream's address */
	struct limit_wait             turn;    /* for a connection to it */
	bool                          has_place;
	bool                          failed_once; /* it was held after a failure: not again */
	enum path_class class;
	msec began_at;
	int  status;                /* of our own answer; 0: none */
	char method[16], path[208]; /* for the log; cut to fit */
	char peer[ADDRESS_TEXT_SIZE];
};

static void on_waiting_wake(void *arg);
static void passage_go(struct passage *p);
static bool passage_keep_or_hold(struct passage *p, enum err e, const struct str *copy);

/* ---- ends ---- */

static void passage_log(struct passage *p, int status, const struct relay_result *res)
{
	if (!log_begin(LOG_INFO, "inbound.request"))
		return;
	log_text("peer", p->peer);
	log_text("domain", p->domain == NULL ? NULL : p->domain->server_name);
	log_text("method", p->method);
	log_text("path", p->path);
	log_num("status", status);
	if (res != NULL) {
		log_num("up", (int64_t)res->up_bytes);
		log_num("down", (int64_t)res->down_bytes);
	}
	log_num("ms", (int64_t)(loop_now(p->ground->loop) - p->began_at));
	if (res != NULL && res->err != ERR_OK) {
		log_err("error", res->err);
		log_text("fault", res->fault);
	}
	log_end();
}

static void passage_leave_place(struct passage *p)
{
	if (p->has_place)
		limit_leave(upstream_calls(p->upstream));
	p->has_place = false;
}

static void passage_leave_homeserver(struct passage *p)
{
	guest_leave(&p->guest);
	deadline_clear(&p->doubt);
	p->relay = NULL;
}

static void passage_free(struct passage *p)
{
	gauge_down(GAUGE_inbound_requests_open);
	limit_wait_cancel(&p->turn);
	passage_leave_place(p);
	passage_leave_homeserver(p);
	lane_leave(&p->lane);
	deposit_cancel(&p->deposit);
	vigil_cancel(&p->vigil);
	if (p->reception != NULL && p->match.endpoint == ASLEEP_SEND)
		reception_lane_left(p->reception);
	reception_drop(p->reception);
	upstream_drop(p->upstream);
	settings_drop(p->settings);
	free(p);
}

static bool wants_cors(enum path_class c)
{
	return c == PATH_CLIENT || c == PATH_MEDIA || c == PATH_WELL_KNOWN;
}

/* An answer of our own, and the end of the passage. */
static void passage_answer(struct passage *p, int status, const char *errcode, const char *text)
{
	answer_error(p->request, status, errcode, text, wants_cors(p->class));
	passage_log(p, status, NULL);
	passage_free(p);
}

/* Failures that say the homeserver is not there, not that it or the peer did something wrong. */
static bool is_away(enum err e)
{
	return e == ERR_REFUSED || e == ERR_UNREACHABLE || e == ERR_RESET || e == ERR_TIMEOUT ||
		e == ERR_EOF || e == ERR_DNS || e == ERR_TRUNCATED;
}

static void on_relay_failed(void *arg, struct http_request *r, enum err e, const char *fault,
                            const struct str *copy)
{
	struct passage *p = arg;

	(void)fault;
	if (p->reception == NULL || !is_away(e) || !passage_keep_or_hold(p, e, copy))
		p->status = answer_failure(r, e, "homeserver", wants_cors(p->class));
}

static bool is_gateway_trouble(int status)
{
	return status >= 502 && status <= 504;
}

static void on_relay_ended(void *arg, const struct relay_result *res)
{
	struct passage *p = arg;

	count_add(COUNT_inbound_bytes_in, res->up_bytes);
	count_add(COUNT_inbound_bytes_out, res->down_bytes);
	if (res->err == ERR_OK)
		count(COUNT_inbound_relayed);
	else
		count_cause(CAUSE_inbound_failures, res->err);
	upstream_note(p->upstream, res->err);
	passage_leave_homeserver(p);
	if (p->reception != NULL && res->status != 0 && !is_gateway_trouble(res->status))
		reception_heard(p->reception, true);
	if (p->deposit != NULL || p->vigil != NULL) {
		passage_leave_place(p); /* the request goes another way */
		return;
	}
	if (res->status != 0)
		p->status = res->status;
	passage_log(p, p->status != 0 ? p->status : err_status(res->err), res);
	passage_free(p);
}

/* ---- while the homeserver is away ---- */

static void passage_refuse(struct passage *p, const struct asleep_refusal *refusal)
{
	passage_answer(p, refusal->status, refusal->errcode, refusal->text);
}

/* The peer left, or what it sent was broken. */
static void passage_gone(struct passage *p, enum err e)
{
	if (e == ERR_SYNTAX || e == ERR_TOO_LARGE || e == ERR_SLOW_PEER)
		answer_failure(p->request, e, "homeserver", wants_cors(p->class));
	else
		http_respond_abort(p->request);
	count_cause(CAUSE_inbound_failures, e);
	passage_log(p, err_status(e), NULL);
	passage_free(p);
}

static void passage_deny(struct passage *p, enum err e)
{
	const char *errcode, *text;
	int         status = deposit_status(e, &errcode, &text);

	passage_answer(p, status, errcode, text);
}

static void on_deposit(void *arg, enum deposit_result r, enum err e, unsigned parts)
{
	struct passage   *p = arg;
	struct reception *reception = p->reception;

	if (r == DEPOSIT_GONE) {
		passage_gone(p, e);
		return;
	}
	if (r == DEPOSIT_REFUSED) {
		passage_deny(p, e);
		return;
	}
	http_respond_with(p->request, 200, "application/json", STRL(""), STRL("{\"pdus\":{}}"));
	passage_log(p, 200, NULL);
	reception_keep(reception);
	passage_free(p);
	if (r == DEPOSIT_KEPT)
		reception_kept(reception, parts);
	reception_drop(reception);
}

static bool passage_deposit(struct passage *p, const struct str *copy)
{
	struct deposit_options o = {
		.queue = p->reception->queue,
		.verifier = p->reception->verifier,
		.keyring = p->reception->keyring,
		.server_name = str_of(p->domain->server_name),
		.copy = copy,
		.body_max = p->reception->early_max,
		.copies = &p->reception->copies,
	};

	return o.queue != NULL &&
		deposit_start(&p->deposit, p->ground->loop, p->request, &o, on_deposit, p) ==
		ERR_OK;
}

static void on_vigil(void *arg, enum vigil_result r, enum err e)
{
	struct passage *p = arg;

	switch (r) {
	case VIGIL_RELAY:
		passage_go(p);
		break;
	case VIGIL_REFUSE:
		passage_refuse(p, p->match.row->refusal);
		break;
	case VIGIL_DENY:
		passage_deny(p, e);
		break;
	case VIGIL_GONE:
		passage_gone(p, e);
		break;
	}
}

static bool passage_hold(struct passage *p)
{
	struct vigil_options o = {
		.all = &p->reception->vigils,
		.sleeper = p->reception->sleeper,
		.verifier = p->reception->verifier,
		.server_name = str_of(p->domain->server_name),
		.row = p->match.row,
	};

	return vigil_start(&p->vigil, p->ground->loop, p->request, &o, on_vigil, p) == ERR_OK;
}

/*
 * A POST may have done something before the homeserver went, such as give out one-time keys or make a
 * room: it is repeated only if it never got there. Nothing is repeated more than once: a request
 * that brings the homeserver down would do so again.
 */
static bool passage_may_repeat(const struct passage *p, enum err e)
{
	bool never_sent = e == ERR_REFUSED || e == ERR_UNREACHABLE || e == ERR_DNS;

	return !p->failed_once &&
		(never_sent || http_request_head(p->request)->method != HTTP_POST);
}

/* The homeserver was found to be away only now. True: the request goes on without it. */
static bool passage_keep_or_hold(struct passage *p, enum err e, const struct str *copy)
{
	struct buf body;

	reception_heard(p->reception, false);
	if (p->match.endpoint == ASLEEP_SEND)
		return copy != NULL && passage_deposit(p, copy);
	if (copy == NULL || p->match.row->action == ASLEEP_REFUSE || !passage_may_repeat(p, e))
		return false;
	p->failed_once = true;
	buf_init(&body, VIGIL_BODY_MAX);
	if (buf_add(&body, *copy) != ERR_OK)
		return false;
	if (copy->len > 0)
		http_request_restore(p->request, &body);
	return passage_hold(p);
}

static void passage_asleep(struct passage *p)
{
	const struct asleep_row *row = p->match.row;

	switch (row->action) {
	case ASLEEP_EMPTY:
		http_respond_with(p->request, 200, "application/json", STRL(""),
		                  str_of(row->empty));
		passage_log(p, 200, NULL);
		passage_free(p);
		return;
	case ASLEEP_PREFLIGHT:
		answer_preflight(p->request);
		passage_log(p, 204, NULL);
		passage_free(p);
		return;
	case ASLEEP_OWN:
	case ASLEEP_ANSWER:
	case ASLEEP_HOLD:
		if (passage_hold(p))
			return;
		break;
	case ASLEEP_QUEUE:
	case ASLEEP_REFUSE:
		break;
	}
	passage_refuse(p, row->refusal);
}

/*
 * A transaction takes its lane and goes live, if the homeserver is there and nothing of its origin is on
 * the way or waits; otherwise it is kept and goes behind the others.
 */
static void passage_send(struct passage *p)
{
	struct reception    *r = p->reception;
	struct str           name = str_of(p->domain->server_name);
	struct xmatrix_lines lines;
	enum err e = xmatrix_collect(http_request_head(p->request), http_request_arena(p->request),
	                             &lines);
	bool     there = sleeper_relays(r->sleeper);

	if (e != ERR_OK && !there)
		passage_deny(p, e);
	else if (e != ERR_OK) /* the homeserver says what is wrong with it */
		passage_go(p);
	else if (there &&
	         (r->queue == NULL ||
	          (!queue_lane_waiting(r->queue, name, lines.origin) &&
	           lane_take(&r->lanes, &p->lane, name, lines.origin))))
		passage_go(p);
	else if (!passage_deposit(p, NULL))
		passage_refuse(p, p->match.row->refusal);
}

static void passage_receive(struct passage *p)
{
	const struct head *h = http_request_head(p->request);

	asleep_find(h->method_text, h->path, &p->match);
	if (p->match.endpoint == ASLEEP_SEND)
		passage_send(p);
	else if (sleeper_relays(p->reception->sleeper))
		passage_go(p);
	else
		passage_asleep(p);
}

/* What strangers may not say about where a request came from, and what is for us only. */
static bool keeps_field(const struct field *f)
{
	return f->id != FIELD_FORWARDED && f->id != FIELD_X_FORWARDED && f->id != FIELD_X_REAL_IP &&
		f->id != FIELD_VIA;
}

static struct str forwarding_fields(struct passage *p, const struct head *h)
{
	size_t                size = 160 + ADDRESS_TEXT_SIZE + h->host.len;
	char                 *to = arena_alloc(http_request_arena(p->request), size);
	struct writer         w = writer_over(to, to == NULL ? 0 : size);
	const struct address *peer = http_request_peer(p->request);

	write_text(&w, "X-Forwarded-For: ");
	address_write_ip(&w, peer);
	write_text(&w, "\r\nX-Forwarded-Proto: https\r\n");
	h1_write_field(&w, STRL("X-Forwarded-Host"), h->host);
	return w.failed ? STRL("") : writer_done(&w);
}

/* A gateway's 502 to a transaction would stop its sender for long; it is kept instead. */
static bool is_kept(const struct passage *p)
{
	return p->reception != NULL && p->reception->queue != NULL &&
		p->match.endpoint == ASLEEP_SEND;
}

/* What of a body is kept until the answer begins, in case there is none. */
static size_t passage_copy_max(const struct passage *p)
{
	if (p->reception == NULL)
		return 0;
	return p->match.endpoint == ASLEEP_SEND ? p->reception->early_max : VIGIL_BODY_MAX;
}

static void on_homeserver_left(void *arg)
{
	struct passage *p = arg;

	if (p->relay != NULL)
		relay_give_up(p->relay, ERR_TIMEOUT, "it went to sleep");
}

/* It takes long. That may be as it should be, so the next doubt comes later. */
static void on_doubt(void *arg)
{
	struct passage *p = arg;

	p->doubt_ms *= 2;
	deadline_in(&p->doubt, p->doubt_ms);
	sleeper_doubt(p->reception->sleeper);
}

/* Clients wait long for news as a matter of course. */
static void passage_enter_homeserver(struct passage *p)
{
	if (p->reception == NULL)
		return;
	guest_enter(p->reception, &p->guest);
	p->doubt_ms = AWAKE_DOUBT_MS;
	if (p->class == PATH_FEDERATION)
		deadline_in(&p->doubt, p->doubt_ms);
}

static void passage_relay(void *arg)
{
	struct passage      *p = arg;
	const struct head   *h = http_request_head(p->request);
	struct http_target   target;
	struct relay_options o;
	struct relay_owner   owner = { on_relay_failed, on_relay_ended, p };
	enum err             e;

	p->has_place = true;
	e = upstream_target(p->upstream, &target, &p->wait);
	if (e == ERR_BUSY) {
		p->waiting = true;
		return;
	}
	if (e == ERR_OK) {
		o = (struct relay_options){
			.pool = upstream_pool(p->upstream),
			.target = &target,
			.path = h->path,
			.host = h->host.len > 0 ? h->host : str_of(p->domain->server_name),
			.keep = keeps_field,
			.fields = forwarding_fields(p, h),
			.answer_fields = STRL(""),
			.response_head_ms = p->settings->limits.response_head_ms,
			.keep_connection = true,
			.copy_max = passage_copy_max(p),
			.fails = is_kept(p) ? is_gateway_trouble : NULL,
			.copies = p->reception == NULL ? NULL : &p->reception->copies,
		};
		e = relay_start(p->request, &o, &owner, &p->relay);
	}
	if (e == ERR_OK) {
		passage_enter_homeserver(p);
		return;
	}
	count_cause(CAUSE_inbound_failures, e);
	upstream_note(p->upstream, e);
	passage_log(p, answer_failure(p->request, e, "homeserver", wants_cors(p->class)), NULL);
	passage_free(p);
}

static void on_upstream_ready(void *arg, enum err e)
{
	struct passage *p = arg;

	(void)e; /* asking again tells */
	p->waiting = false;
	passage_relay(p);
}

/* To the homeserver, as soon as there is a connection for it. */
static void passage_go(struct passage *p)
{
	http_request_own(p->request, on_waiting_wake, p);
	if (limit_enter(upstream_calls(p->upstream), &p->turn))
		passage_relay(p);
}

/* The peer may leave while we wait for the homeserver's address or a connection to it. */
static void on_waiting_wake(void *arg)
{
	struct passage *p = arg;

	if (http_request_broken(p->request) == ERR_OK)
		return;
	if (p->waiting)
		upstream_wait_cancel(&p->wait);
	http_respond_abort(p->request);
	passage_free(p);
}

static const char *well_known_document(const struct domain_settings *d, struct str path)
{
	if (str_is(path, "/.well-known/matrix/server"))
		return d->well_known_server;
	if (str_is(path, "/.well-known/matrix/client"))
		return d->well_known_client;
	if (str_is(path, "/.well-known/matrix/support"))
		return d->well_known_support;
	return NULL;
}

static void passage_well_known(struct passage *p)
{
	const struct head *h = http_request_head(p->request);
	enum http_method   method = h->method; /* h ends with the request */
	const char        *doc = well_known_document(p->domain, path_without_query(h->path));

	if (method == HTTP_OPTIONS)
		answer_preflight(p->request);
	else if (method != HTTP_GET && method != HTTP_HEAD)
		return passage_answer(p, 405, "M_UNRECOGNIZED", "only GET is served here");
	else if (doc == NULL)
		return passage_answer(p, 404, "M_NOT_FOUND", "this document is not served here");
	else
		answer_document(p->request, str_of(doc));
	passage_log(p, method == HTTP_OPTIONS ? 204 : 200, NULL);
	passage_free(p);
}

static enum counter class_counter(enum path_class c)
{
	switch (c) {
	case PATH_WELL_KNOWN:
		return COUNT_inbound_requests_well_known;
	case PATH_FEDERATION:
		return COUNT_inbound_requests_federation;
	case PATH_MEDIA:
		return COUNT_inbound_requests_media;
	case PATH_CLIENT:
		return COUNT_inbound_requests_client;
	case PATH_FORBIDDEN:
		break;
	}
	return COUNT_inbound_requests_forbidden;
}

static bool is_exposed(const struct domain_settings *d, enum path_class c)
{
	static const unsigned bits[] = { [PATH_FEDERATION] = EXPOSE_FEDERATION,
		                         [PATH_MEDIA] = EXPOSE_MEDIA,
		                         [PATH_CLIENT] = EXPOSE_CLIENT,
		                         [PATH_FORBIDDEN] = 0 };

	return d->homeserver != NULL && (d->expose & bits[c]) != 0;
}

static uint64_t body_limit(const struct passage *p, const struct head *h)
{
	const struct limit_settings *l = &p->settings->limits;

	if (p->class == PATH_FEDERATION)
		return h->method == HTTP_PUT && path_is_send(h->path) ? l->send_body_max
								      : l->body_max;
	return l->upload_max == 0 ? UINT64_MAX : l->upload_max;
}

/* PUT and POST that announce no body: guessing what a server meant would be half of a smuggled request. */
static bool lacks_length(const struct passage *p, const struct head *h)
{
	return p->class == PATH_FEDERATION && h->body == BODY_NONE &&
		(h->method == HTTP_PUT || h->method == HTTP_POST);
}

static void passage_decide(struct passage *p)
{
	const struct head *h = http_request_head(p->request);

	if (p->domain == NULL) {
		count(COUNT_inbound_requests_misdirected);
		passage_answer(p, 421, "M_UNRECOGNIZED", "this host is not served here");
	} else if (h->scheme.len > 0 && !str_ieq(h->scheme, STRL("https"))) {
		passage_answer(p, 400, "M_UNRECOGNIZED", "only https is served here");
	} else if (h->method == HTTP_CONNECT || h->method == HTTP_OTHER) {
		passage_answer(p, 405, "M_UNRECOGNIZED", "unknown method");
	} else if (p->class == PATH_WELL_KNOWN) {
		passage_well_known(p);
	} else if (!is_exposed(p->domain, p->class)) {
		if (p->class != PATH_FORBIDDEN)
			count(COUNT_inbound_requests_forbidden);
		passage_answer(p, 404, "M_UNRECOGNIZED", "unrecognized request");
	} else if (lacks_length(p, h)) {
		passage_answer(p, 411, "M_UNRECOGNIZED", "Content-Length is required");
	} else if (h->body == BODY_LENGTH && h->content_length > body_limit(p, h)) {
		passage_answer(p, 413, "M_TOO_LARGE", "the request body is too large");
	} else {
		http_request_body_max(p->request, body_limit(p, h));
		p->upstream =
			upstream_keep(p->ground->upstream(p->ground->arg, p->domain->homeserver));
		if (p->ground->reception != NULL)
			p->reception = p->ground->reception(p->ground->arg, p->domain->homeserver);
		if (p->reception == NULL) {
			passage_go(p);
			return;
		}
		reception_keep(p->reception);
		passage_receive(p);
	}
}

static void passage_describe(struct passage *p, const struct head *h)
{
	(void)str_copy(str_head(h->method_text, sizeof(p->method) - 1), p->method,
	               sizeof(p->method));
	(void)str_copy(str_head(path_without_query(h->path), sizeof(p->path) - 1), p->path,
	               sizeof(p->path));
	answer_peer_text(http_request_peer(p->request), p->peer);
}

void passage_begin(struct passage_ground *g, struct http_request *r)
{
	const struct head *h = http_request_head(r);
	struct passage    *p = calloc(1, sizeof(*p));

	count(COUNT_inbound_requests);
	if (p == NULL) {
		http_respond_with(r, 503, "application/json", STRL(""), STRL(""));
		return;
	}
	p->ground = g;
	p->settings = settings_keep(g->settings);
	p->request = r;
	p->began_at = loop_now(g->loop);
	p->class = path_class_of(h->path);
	p->domain = settings_domain_by_host(p->settings, h->host);
	p->wait.ready = on_upstream_ready;
	p->wait.arg = p;
	list_init(&p->wait.link);
	limit_wait_init(&p->turn, g->loop, passage_relay, p);
	lane_init(&p->lane);
	guest_init(&p->guest, on_homeserver_left, p);
	deadline_init(&p->doubt, g->loop, on_doubt, p);
	passage_describe(p, h);
	gauge_up(GAUGE_inbound_requests_open);
	count(class_counter(p->class));
	http_request_own(r, on_waiting_wake, p);
	passage_decide(p);
}
