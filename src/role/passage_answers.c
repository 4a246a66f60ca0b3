#include "role/passage_inside.h"

#include "base/metrics.h"

/* ---- what is asked ---- */

static struct snapshot_question question_of(struct passage *p, struct str origin, struct str body)
{
	return (struct snapshot_question){
		.match = &p->match,
		.server_name = str_of(p->domain->server_name),
		.origin = origin,
		.target = http_request_head(p->request)->path,
		.body = body,
	};
}

/* Whose signature it bears, by its own word; empty: nobody's. */
static struct str claimed_origin(struct passage *p)
{
	struct xmatrix_lines lines;

	if (xmatrix_collect(http_request_head(p->request), http_request_arena(p->request),
	                    &lines) != ERR_OK)
		return STRL("");
	return lines.origin;
}

/* ---- giving ---- */

static void on_repeated(void *arg, enum err e)
{
	struct passage *p = arg;

	if (e != ERR_OK)
		count_cause(CAUSE_inbound_failures, e);
	passage_end(p, e == ERR_OK ? 200 : err_status(e));
}

bool passage_answers_give(struct passage *p)
{
	struct shelf_item *i = p->kept;

	p->kept = NULL;
	return i != NULL &&
		repeat_start(&p->repeat, p->ground->loop, p->request, i,
	                     answers_age_s(p->ground->answers, i), on_repeated, p) == ERR_OK;
}

void passage_answers_forget(struct passage *p)
{
	verifier_check_cancel(&p->check);
	shelf_drop(p->kept);
	p->kept = NULL;
	answers_taken(&p->taking, false);
}

/* ---- while the homeserver is there ---- */

static void passage_give_fresh(struct passage *p)
{
	if (passage_answers_give(p))
		count(COUNT_answers_fresh);
	else
		passage_go(p);
}

/* What we cannot confirm, the homeserver judges. */
static void passage_ask_it(struct passage *p)
{
	shelf_drop(p->kept);
	p->kept = NULL;
	passage_go(p);
}

static void on_verified(void *arg, enum err e, struct str origin, struct buf *body)
{
	struct passage *p = arg;

	(void)origin; /* the same as claimed */
	(void)body;   /* there is none */
	if (e != ERR_OK) {
		passage_ask_it(p);
		return;
	}
	gate_verified(&p->visit);
	passage_give_fresh(p);
}

static void on_ready(void *arg, enum err e, struct str origin)
{
	struct passage *p = arg;
	struct buf      none;

	(void)origin;
	buf_init(&none, 1);
	if (e == ERR_OK)
		verifier_check_body(&p->check, &none, on_verified, p);
	else
		passage_ask_it(p);
}

static void on_checking_wake(void *arg)
{
	struct passage *p = arg;
	enum err        e = http_request_broken(p->request);

	if (e == ERR_OK)
		return;
	count_cause(CAUSE_inbound_failures, e);
	http_respond_abort(p->request);
	passage_end(p, err_status(e));
}

static bool passage_check(struct passage *p)
{
	const struct head      *h = http_request_head(p->request);
	struct verifier_request request = { h, h->method_text, h->path,
		                            str_of(p->domain->server_name),
		                            http_request_peer(p->request) };

	if (p->ground->verifier == NULL)
		return false;
	http_request_own(p->request, on_checking_wake, p);
	return verifier_check_start(&p->check, p->ground->verifier, &request, on_ready, p) ==
		ERR_OK;
}

void passage_answers_go(struct passage *p)
{
	const struct asleep_row *row = p->match.row;
	bool                     is_signed = row->auth == ASLEEP_AUTH_XMATRIX;
	struct snapshot_question q;

	if (p->ground->answers == NULL || !p->domain->homeserver->repeats || row->fresh_s == 0) {
		passage_go(p);
		return;
	}
	q = question_of(p, is_signed ? claimed_origin(p) : STRL(""), STRL(""));
	if (!is_signed || q.origin.len > 0)
		p->kept = answers_fresh(p->ground->answers, &q, http_request_head(p->request));
	if (p->kept == NULL)
		passage_go(p);
	else if (!is_signed)
		passage_give_fresh(p);
	else if (!passage_check(p))
		passage_ask_it(p);
}

/* ---- while it is away ---- */

bool passage_answers_know(struct passage *p, struct str origin, struct str body)
{
	struct snapshot_question q;
	bool                     exact;

	if (p->ground->answers == NULL)
		return false;
	q = question_of(p, origin, body);
	exact = sleeper_is_exact(p->reception->sleeper) && reception_sees_all(p->reception);
	p->kept = answers_asleep(p->ground->answers, &q, http_request_head(p->request), exact);
	return p->kept != NULL;
}

/* ---- taking ---- */

static void on_answer_begun(void *arg, const struct head *answer, const struct str *sent)
{
	struct passage          *p = arg;
	struct snapshot_question q = question_of(p, claimed_origin(p), STRL(""));

	if (sent != NULL)
		q.body = *sent;
	answers_take(&p->taking, p->ground->answers, &q, http_request_head(p->request), answer);
}

static void on_answer_bytes(void *arg, struct str bytes)
{
	struct passage *p = arg;

	answers_take_more(&p->taking, bytes);
}

/* Answers about devices only where their changes are seen. */
static bool passage_may_take(const struct passage *p)
{
	const struct asleep_row *row = p->match.row;

	if (p->ground->answers == NULL || row->scope == ASLEEP_KEEP_NOTHING)
		return false;
	if ((row->flags & ASLEEP_EXACT) != 0)
		return p->reception != NULL && reception_sees_all(p->reception);
	return p->reception != NULL || p->domain->homeserver->repeats;
}

bool passage_answers_tap(struct passage *p, struct relay_tap *out)
{
	if (!passage_may_take(p))
		return false;
	answers_expect(&p->taking, p->ground->answers);
	*out = (struct relay_tap){ .begun = on_answer_begun, .got = on_answer_bytes, .arg = p };
	return true;
}
