#include "role/passage_inside.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/metrics.h"
#include "role/answer.h"

static void on_waiting_wake(void *arg);

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
	gate_leave(&p->visit);
	limit_wait_cancel(&p->turn);
	deadline_clear(&p->turn_limit);
	passage_leave_place(p);
	passage_leave_homeserver(p);
	lane_leave(&p->lane);
	deposit_cancel(&p->deposit);
	vigil_cancel(&p->vigil);
	passage_answers_forget(p);
	if (p->reception != NULL && p->match.endpoint == ASLEEP_SEND)
		reception_lane_left(p->reception);
	reception_drop(p->reception);
	upstream_drop(p->upstream);
	settings_drop(p->settings);
	free(p);
}

void passage_end(struct passage *p, int status)
{
	passage_log(p, status, NULL);
	passage_free(p);
}

bool passage_wants_cors(enum path_class c)
{
	return c == PATH_CLIENT || c == PATH_MEDIA || c == PATH_WELL_KNOWN;
}

void passage_answer(struct passage *p, int status, const char *errcode, const char *text)
{
	answer_error(p->request, status, errcode, text, passage_wants_cors(p->class));
	passage_end(p, status);
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
	if (p->reception == NULL || !is_away(e) || !passage_asleep_failed(p, e, copy))
		p->status = answer_failure(r, e, "homeserver", passage_wants_cors(p->class));
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
	answers_taken(&p->taking, res->err == ERR_OK);
	gate_answered(&p->visit, res->status);
	passage_leave_homeserver(p);
	if (p->reception != NULL && res->status != 0 && !is_gateway_trouble(res->status))
		reception_heard(p->reception, true);
	if (p->reception != NULL && p->match.endpoint == ASLEEP_SEND && res->status == 200)
		reception_took(p->reception);
	if (p->deposit != NULL || p->vigil != NULL || p->repeat != NULL) {
		passage_leave_place(p); /* the request goes another way */
		return;
	}
	if (res->status != 0)
		p->status = res->status;
	passage_log(p, p->status != 0 ? p->status : err_status(res->err), res);
	passage_free(p);
}

/* What strangers may not say about where a request came from, and what is for us only. */
static bool keeps_field(const struct field *f)
{
	return f->id != FIELD_FORWARDED && f->id != FIELD_X_FORWARDED && f->id != FIELD_X_REAL_IP &&
		f->id != FIELD_VIA;
}

/* Of a homeserver of ours: as if it went to another server. */
static bool keeps_local_field(const struct field *f)
{
	return f->id == FIELD_AUTHORIZATION || f->id == FIELD_CONTENT_TYPE ||
		f->id == FIELD_USER_AGENT;
}

static struct str passage_host(const struct passage *p, const struct head *h)
{
	return h->host.len > 0 && !p->is_local ? h->host : str_of(p->domain->server_name);
}

static struct str forwarding_fields(struct passage *p, const struct head *h)
{
	struct str            host = passage_host(p, h);
	size_t                size = 160 + ADDRESS_TEXT_SIZE + host.len;
	char                 *to = arena_alloc(http_request_arena(p->request), size);
	struct writer         w = writer_over(to, to == NULL ? 0 : size);
	const struct address *peer = http_request_peer(p->request);

	write_text(&w, "X-Forwarded-For: ");
	if (peer->family == ADDRESS_V4 || peer->family == ADDRESS_V6)
		address_write_ip(&w, peer);
	else
		write_text(&w, "127.0.0.1"); /* a homeserver of ours, on a unix socket */
	write_text(&w, "\r\nX-Forwarded-Proto: https\r\n");
	h1_write_field(&w, STRL("X-Forwarded-Host"), host);
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
	struct relay_tap     tap;
	struct relay_owner   owner = { on_relay_failed, on_relay_ended, p };
	enum err             e;

	p->has_place = true;
	deadline_clear(&p->turn_limit);
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
			.host = passage_host(p, h),
			.keep = p->is_local ? keeps_local_field : keeps_field,
			.fields = forwarding_fields(p, h),
			.answer_fields = STRL(""),
			.response_head_ms = p->settings->limits.response_head_ms,
			.keep_connection = true,
			.copy_max = passage_copy_max(p),
			.fails = is_kept(p) ? is_gateway_trouble : NULL,
			.copies = p->reception == NULL ? NULL
						       : reception_copies(p->reception, &p->visit),
			.tap = passage_answers_tap(p, &tap) ? &tap : NULL,
		};
		e = relay_start(p->request, &o, &owner, &p->relay);
	}
	if (e == ERR_OK) {
		passage_enter_homeserver(p);
		return;
	}
	count_cause(CAUSE_inbound_failures, e);
	upstream_note(p->upstream, e);
	passage_log(p, answer_failure(p->request, e, "homeserver", passage_wants_cors(p->class)),
	            NULL);
	passage_free(p);
}

static void on_upstream_ready(void *arg, enum err e)
{
	struct passage *p = arg;

	(void)e; /* asking again tells */
	p->waiting = false;
	passage_relay(p);
}

/* All connections to the homeserver are taken, and none became free. */
static void on_turn_limit(void *arg)
{
	struct passage *p = arg;

	count_cause(CAUSE_inbound_failures, ERR_TIMEOUT);
	passage_end(p,
	            answer_failure(p->request, ERR_TIMEOUT, "homeserver",
	                           passage_wants_cors(p->class)));
}

void passage_go(struct passage *p)
{
	http_request_own(p->request, on_waiting_wake, p);
	if (limit_enter(upstream_calls(p->upstream), &p->turn))
		passage_relay(p);
	else
		deadline_in(&p->turn_limit, p->settings->limits.response_head_ms);
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
	passage_end(p, method == HTTP_OPTIONS ? 204 : 200);
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

/* The gate let it pass. */
static void passage_pass(void *arg)
{
	struct passage *p = arg;

	if (p->reception == NULL)
		passage_answers_go(p);
	else
		passage_asleep_receive(p);
}

static void passage_enter(struct passage *p)
{
	struct passage_ground     *g = p->ground;
	const struct head         *h = http_request_head(p->request);
	const struct gate_refusal *no;
	enum gate_word             w;

	/* now: after a reload there may be none any more */
	p->upstream = upstream_keep(g->upstream(g->arg, p->domain->homeserver));
	if (g->reception != NULL)
		p->reception = g->reception(g->arg, p->domain->homeserver);
	if (p->reception != NULL)
		reception_keep(p->reception);
	asleep_find(h->method_text, h->path, &p->match);
	w = gate_enter(&p->visit, p->settings, p->domain, &p->match, p->request);
	if (w == GATE_GO) {
		passage_pass(p);
	} else if (w != GATE_WAIT) {
		no = gate_refusal(w);
		passage_answer(p, no->status, no->errcode, no->text);
	}
}

static void passage_decide(struct passage *p)
{
	const struct head *h = http_request_head(p->request);

	if (p->domain == NULL) {
		count(COUNT_inbound_requests_misdirected);
		passage_answer(p, 421, "M_UNRECOGNIZED", "this host is not served here");
	} else if (h->scheme.len > 0 && !p->is_local && !str_ieq(h->scheme, STRL("https"))) {
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
		passage_enter(p);
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

/* NULL: no memory, and answered. */
static struct passage *passage_new(struct passage_ground *g, struct http_request *r)
{
	const struct head *h = http_request_head(r);
	struct passage    *p = calloc(1, sizeof(*p));

	count(COUNT_inbound_requests);
	if (p == NULL) {
		http_respond_with(r, 503, "application/json", STRL(""), STRL(""));
		return NULL;
	}
	p->ground = g;
	p->settings = settings_keep(g->settings);
	p->request = r;
	p->began_at = loop_now(g->loop);
	p->class = path_class_of(h->path);
	p->wait.ready = on_upstream_ready;
	p->wait.arg = p;
	list_init(&p->wait.link);
	limit_wait_init(&p->turn, g->loop, passage_relay, p);
	deadline_init(&p->turn_limit, g->loop, on_turn_limit, p);
	lane_init(&p->lane);
	gate_visit_init(&p->visit, g->gate, g->loop, passage_pass, p);
	guest_init(&p->guest, on_homeserver_left, p);
	answers_taking_init(&p->taking);
	deadline_init(&p->doubt, g->loop, on_doubt, p);
	passage_describe(p, h);
	gauge_up(GAUGE_inbound_requests_open);
	count(class_counter(p->class));
	http_request_own(r, on_waiting_wake, p);
	return p;
}

void passage_begin(struct passage_ground *g, struct http_request *r)
{
	struct passage *p = passage_new(g, r);

	if (p == NULL)
		return;
	p->domain = settings_domain_by_host(p->settings, http_request_head(r)->host);
	passage_decide(p);
}

void passage_begin_local(struct passage_ground *g, struct http_request *r, struct str server_name)
{
	struct passage *p = passage_new(g, r);

	if (p == NULL)
		return;
	p->is_local = true;
	p->domain = settings_domain(p->settings, server_name);
	passage_decide(p);
}
