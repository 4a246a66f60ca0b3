#include "role/passage_inside.h"

#include "base/metrics.h"
#include "role/answer.h"

static void passage_refuse(struct passage *p, const struct asleep_refusal *refusal)
{
	passage_answer(p, refusal->status, refusal->errcode, refusal->text);
}

/* The peer left, or what it sent was broken. */
static void passage_gone(struct passage *p, enum err e)
{
	if (e == ERR_SYNTAX || e == ERR_TOO_LARGE || e == ERR_SLOW_PEER)
		answer_failure(p->request, e, "homeserver", passage_wants_cors(p->class));
	else
		http_respond_abort(p->request);
	count_cause(CAUSE_inbound_failures, e);
	passage_end(p, err_status(e));
}

static void passage_deny(struct passage *p, enum err e)
{
	const char *errcode, *text;
	int         status = deposit_status(e, &errcode, &text);

	passage_answer(p, status, errcode, text);
}

/* Whoever hands over now: a reload may have given the domain another homeserver meanwhile. */
static struct reception *reception_now(const struct passage *p)
{
	const struct passage_ground  *g = p->ground;
	const struct domain_settings *d =
		settings_domain(g->settings, str_of(p->domain->server_name));
	struct reception *r = NULL;

	if (d != NULL && d->homeserver != NULL)
		r = g->reception(g->arg, d->homeserver);
	return r == NULL ? p->reception : r;
}

static void on_deposit(void *arg, enum deposit_result r, enum err e, unsigned parts)
{
	struct passage   *p = arg;
	struct reception *reception = reception_now(p);

	if (r == DEPOSIT_GONE) {
		passage_gone(p, e);
		return;
	}
	if (r == DEPOSIT_REFUSED) {
		passage_deny(p, e);
		return;
	}
	gate_verified(&p->visit);
	http_respond_with(p->request, 200, "application/json", STRL(""), STRL("{\"pdus\":{}}"));
	reception_keep(reception);
	passage_end(p, 200);
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
		.copies = reception_copies(p->reception, &p->visit),
		.patience_ms = gate_is_verified(&p->visit) ? 0 : DEPOSIT_STRANGER_MS,
		.gate = p->ground->gate,
	};

	return o.queue != NULL &&
		deposit_start(&p->deposit, p->ground->loop, p->request, &o, on_deposit, p) ==
		ERR_OK;
}

/* True: it is being given, or as good as. */
static bool passage_give_kept(struct passage *p)
{
	if (!passage_answers_give(p))
		return false;
	count(COUNT_answers_asleep);
	return true;
}

static void on_vigil(void *arg, enum vigil_result r, enum err e)
{
	struct passage *p = arg;

	switch (r) {
	case VIGIL_RELAY:
		passage_go(p);
		break;
	case VIGIL_ANSWER:
		gate_verified(&p->visit);
		if (passage_give_kept(p))
			break;
		/* fall through */
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

static bool is_known(void *arg, struct str origin, struct str body)
{
	return passage_answers_know(arg, origin, body);
}

static bool passage_hold(struct passage *p)
{
	struct vigil_options o = {
		.all = &p->reception->vigils,
		.sleeper = p->reception->sleeper,
		.verifier = p->reception->verifier,
		.server_name = str_of(p->domain->server_name),
		.row = p->match.row,
		.stranger = gate_is_verified(&p->visit) || gate_is_client(&p->visit)
			? NULL
			: gate_public_peer(p->request),
		.client = gate_is_client(&p->visit) ? &p->visit.token : NULL,
		.knows = is_known,
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

/* The body, if it came with the head: it is not waited for. */
static struct str whole_body(struct passage *p)
{
	const struct head *h = http_request_head(p->request);
	struct str         span = STRL("");

	if (h->body == BODY_LENGTH)
		span = http_request_peek(p->request);
	return span.len == h->content_length ? span : STRL("");
}

/* What anybody may ask for; for the rest see is_known(). */
static bool passage_answer_openly(struct passage *p)
{
	struct str body;

	if (p->match.row->auth != ASLEEP_AUTH_NONE)
		return false;
	body = p->match.endpoint == ASLEEP_KEY_QUERY ? whole_body(p) : STRL("");
	if (!passage_answers_know(p, STRL(""), body))
		return false;
	if (body.len > 0)
		http_request_consume(p->request, body.len);
	return passage_give_kept(p);
}

bool passage_asleep_failed(struct passage *p, enum err e, const struct str *copy)
{
	struct buf body;

	reception_heard(p->reception, false);
	if (p->match.endpoint == ASLEEP_SEND)
		return copy != NULL && passage_deposit(p, copy);
	if (passage_answer_openly(p))
		return true;
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

static void passage_without(struct passage *p)
{
	const struct asleep_row *row = p->match.row;

	if (passage_answer_openly(p))
		return;
	switch (row->action) {
	case ASLEEP_EMPTY:
		http_respond_with(p->request, 200, "application/json", STRL(""),
		                  str_of(row->empty));
		passage_end(p, 200);
		return;
	case ASLEEP_PREFLIGHT:
		answer_preflight(p->request);
		passage_end(p, 204);
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
 * Only who was verified lately takes the lane: in the name of X anybody could, and hold up what is kept
 * of X with a body that never ends. A server sends one transaction at a time, so where none of its
 * waits, one that goes without a lane overtakes nobody.
 */
static bool may_go_live(struct passage *p, struct str name, struct str origin)
{
	struct reception *r = p->reception;

	if (r->queue == NULL)
		return true;
	return !queue_lane_waiting(r->queue, name, origin) &&
		(!gate_is_verified(&p->visit) || lane_take(&r->lanes, &p->lane, name, origin));
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
	else if (there && may_go_live(p, name, lines.origin))
		passage_go(p);
	else if (!passage_deposit(p, NULL))
		passage_refuse(p, p->match.row->refusal);
}

void passage_asleep_receive(struct passage *p)
{
	if (p->match.endpoint == ASLEEP_SEND)
		passage_send(p);
	else if (sleeper_relays(p->reception->sleeper))
		passage_answers_go(p);
	else
		passage_without(p);
}
