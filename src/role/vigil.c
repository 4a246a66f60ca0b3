#include "role/vigil.h"

#include <stdlib.h>

#include "base/metrics.h"
#include "codec/matrix/server_name.h"

enum vigil_state {
	VIGIL_KEYS,     /* the first step of the verifier */
	VIGIL_BODY,     /* the body comes in */
	VIGIL_CHECKING, /* the second step */
	VIGIL_WAITING,  /* for the homeserver */
	VIGIL_TELLING,  /* the result is known, the owner hears of it from the loop */
};

struct vigil {
	struct vigil         **slot;
	struct link            link; /* on all->waiting, in every state */
	enum vigil_state       state;
	struct http_request   *request;
	struct vigil_options   o;
	struct verifier_check *check;
	struct sleeper_wait   *wait;
	struct buf             body;
	enum vigil_result      result;
	enum err               err;
	struct soon            soon;
	struct deadline        late; /* of a stranger's body */
	vigil_done_fn         *done;
	void                  *arg;
	char whose[SERVER_NAME_TEXT_MAX + 1]; /* origin, or token; "": anybody's */
};

void vigils_init(struct vigils *v, size_t max)
{
	list_init(&v->waiting);
	v->count = 0;
	v->max = max;
}

static void vigil_free(struct vigil *v)
{
	verifier_check_cancel(&v->check);
	sleeper_wait_cancel(&v->wait);
	soon_clear(&v->soon);
	deadline_clear(&v->late);
	buf_fini(&v->body);
	list_remove(&v->link);
	v->o.all->count--;
	free(v);
}

static void vigil_finish(struct vigil *v, enum vigil_result r, enum err e)
{
	vigil_done_fn *done = v->done;
	void          *arg = v->arg;

	if (r == VIGIL_REFUSE)
		count_cause(CAUSE_held_refused, e);
	*v->slot = NULL;
	vigil_free(v);
	done(arg, r, e);
}

static void on_soon(void *arg)
{
	struct vigil *v = arg;

	vigil_finish(v, v->result, v->err);
}

static void vigil_tell(struct vigil *v, enum vigil_result r, enum err e)
{
	v->state = VIGIL_TELLING;
	v->result = r;
	v->err = e;
	soon_call(&v->soon);
}

/* ---- waiting ---- */

static size_t waiting_of(const struct vigils *all, const char *whose)
{
	size_t n = 0;

	for (struct link *l = all->waiting.next; l != &all->waiting; l = l->next) {
		const struct vigil *v = LIST_ENTRY(l, struct vigil, link);

		n += v->state == VIGIL_WAITING && strcmp(v->whose, whose) == 0;
	}
	return n;
}

static size_t unverified_from(const struct vigils *all, const struct address *network)
{
	size_t n = 0;

	for (struct link *l = all->waiting.next; l != &all->waiting; l = l->next) {
		const struct vigil *v = LIST_ENTRY(l, struct vigil, link);

		n += v->state < VIGIL_WAITING && v->o.stranger != NULL &&
			address_same_network(v->o.stranger, network);
	}
	return n;
}

/* A quarter of the places is for others. */
static bool is_full_for(const struct vigils *all, const struct address *stranger)
{
	if (stranger == NULL)
		return all->count >= all->max;
	return all->count >= all->max - all->max / 4 ||
		unverified_from(all, stranger) >= VIGIL_PER_STRANGER;
}

static void on_awake(void *arg, enum err e)
{
	vigil_finish(arg, e == ERR_OK ? VIGIL_RELAY : VIGIL_REFUSE, e);
}

static bool has_company(const struct vigil *v)
{
	return v->whose[0] != '\0' && waiting_of(v->o.all, v->whose) >= VIGIL_PER_ORIGIN;
}

static void vigil_wait(struct vigil *v, bool may_wake)
{
	enum awake_kind kind = may_wake ? v->o.row->kind : AWAKE_NO_WISH;
	enum err        e = ERR_BUSY;

	if (sleeper_relays(v->o.sleeper)) {
		vigil_tell(v, VIGIL_RELAY, ERR_OK);
		return;
	}
	if (v->o.row->hold_s > 0 && !has_company(v))
		e = sleeper_wait_start(&v->wait, v->o.sleeper, kind,
		                       (msec)v->o.row->hold_s * SECOND_MS, on_awake, v);
	if (e == ERR_OK)
		v->state = VIGIL_WAITING;
	else
		vigil_tell(v, VIGIL_REFUSE, e);
}

/* ---- checking ---- */

static void on_verified(void *arg, enum err e, struct str origin, struct buf *body)
{
	struct vigil *v = arg;

	if (e != ERR_OK) {
		vigil_finish(v, VIGIL_DENY, e);
		return;
	}
	if (v->o.knows != NULL && !sleeper_relays(v->o.sleeper) &&
	    v->o.knows(v->arg, origin, buf_str(body))) {
		vigil_finish(v, VIGIL_ANSWER, ERR_OK);
		return;
	}
	(void)str_copy(origin, v->whose, sizeof(v->whose));
	if (buf_len(body) > 0)
		http_request_restore(v->request, body);
	vigil_wait(v, v->o.row->wakes != ASLEEP_WAKES_NEVER);
}

static void vigil_read(struct vigil *v)
{
	struct str span;

	while ((span = http_request_peek(v->request)).len > 0) {
		if (buf_add(&v->body, span) != ERR_OK) {
			vigil_tell(v, VIGIL_REFUSE, ERR_TOO_LARGE); /* too much to be held */
			return;
		}
		http_request_consume(v->request, span.len);
	}
	if (!http_request_body_done(v->request))
		return;
	v->state = VIGIL_CHECKING;
	verifier_check_body(&v->check, &v->body, on_verified, v);
}

static void on_request_wake(void *arg)
{
	struct vigil *v = arg;

	/* at once: when the server ends, the request must be over when this returns */
	if (http_request_broken(v->request) != ERR_OK)
		vigil_finish(v, VIGIL_GONE, http_request_broken(v->request));
	else if (v->state == VIGIL_BODY)
		vigil_read(v);
}

static void on_ready(void *arg, enum err e, struct str origin)
{
	struct vigil *v = arg;

	(void)origin;
	if (e != ERR_OK) {
		vigil_finish(v, VIGIL_DENY, e);
		return;
	}
	v->state = VIGIL_BODY;
	if (v->o.stranger != NULL)
		deadline_in(&v->late, VIGIL_STRANGER_MS);
	vigil_read(v);
}

static void on_late(void *arg)
{
	struct vigil *v = arg;

	if (v->state == VIGIL_BODY)
		vigil_finish(v, VIGIL_REFUSE, ERR_SLOW_PEER);
}

static bool is_signed(const struct head *h)
{
	for (size_t i = 0; i < h->field_count; i++)
		if (h->fields[i].id == FIELD_AUTHORIZATION && h->fields[i].value.len > 8 &&
		    str_ieq(str_head(h->fields[i].value, 8), STRL("X-Matrix")))
			return true;
	return false;
}

/* The mark of a token as text: no server name has blanks. */
static void name_client(struct vigil *v)
{
	struct writer w = writer_over(v->whose, sizeof(v->whose) - 1);

	for (size_t i = 0; i < LEDGER_MARK_BYTES; i++) {
		write_char(&w, ' ');
		write_hex(&w, v->o.client->bytes[i]);
	}
	v->o.client = NULL; /* the caller's */
}

/* It is being found out, or has answered again: nobody need be woken, and it takes moments. */
static bool is_about_to_be_known(const struct sleeper *s)
{
	return sleeper_state(s) == AWAKE_SUSPECT || sleeper_state(s) == AWAKE_DRAINING;
}

static void vigil_client(struct vigil *v)
{
	if (v->o.client != NULL) {
		name_client(v);
		vigil_wait(v, v->o.row->wakes != ASLEEP_WAKES_NEVER);
	} else if (is_about_to_be_known(v->o.sleeper)) {
		vigil_wait(v, false);
	} else {
		vigil_tell(v, VIGIL_REFUSE, ERR_DENIED);
	}
}

static enum err vigil_begin(struct vigil *v)
{
	const struct head      *h = http_request_head(v->request);
	struct verifier_request request = { h, h->method_text, h->path, v->o.server_name,
		                            http_request_peer(v->request) };

	if (v->o.row->auth == ASLEEP_AUTH_TOKEN) {
		vigil_client(v);
		return ERR_OK;
	}
	if (v->o.row->auth != ASLEEP_AUTH_XMATRIX &&
	    !(v->o.row->auth == ASLEEP_AUTH_OPTIONAL && is_signed(h))) {
		vigil_wait(v, false);
		return ERR_OK;
	}
	v->state = VIGIL_KEYS;
	return verifier_check_start(&v->check, v->o.verifier, &request, on_ready, v);
}

enum err vigil_start(struct vigil **slot, struct loop *l, struct http_request *r,
                     const struct vigil_options *o, vigil_done_fn *done, void *arg)
{
	struct vigil *v;
	enum err      e;

	if (is_full_for(o->all, o->stranger)) {
		count_cause(CAUSE_held_refused, ERR_BUSY);
		return ERR_BUSY;
	}
	v = calloc(1, sizeof(*v));
	if (v == NULL)
		return ERR_NOMEM;
	v->slot = slot;
	v->request = r;
	v->o = *o;
	v->done = done;
	v->arg = arg;
	buf_init(&v->body, VIGIL_BODY_MAX);
	soon_init(&v->soon, l, on_soon, v);
	deadline_init(&v->late, l, on_late, v);
	list_push_back(&o->all->waiting, &v->link);
	o->all->count++;
	*slot = v;
	http_request_own(r, on_request_wake, v);
	e = vigil_begin(v);
	if (e != ERR_OK) {
		*slot = NULL;
		vigil_free(v);
	}
	return e;
}

void vigil_cancel(struct vigil **slot)
{
	struct vigil *v = *slot;

	if (v == NULL)
		return;
	*slot = NULL;
	vigil_free(v);
}
