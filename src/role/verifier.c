#include "role/verifier.h"

#include <stdlib.h>

#include "base/metrics.h"
#include "codec/matrix/key_id.h"
#include "loop/work.h"
#include "net/limits.h"

enum {
	ARENA_MAX = 64 * 1024,
	SIG_TEXT_MAX = SIGNING_SIG_TEXT + 2, /* padding included */
};

/* Counted: a job in the pool may outlive it. */
struct verifier {
	struct loop    *loop;
	struct keyring *keyring;
	struct limit    jobs;
	unsigned        refs;
};

enum check_state {
	CHECK_HEAD,    /* the keys are looked up, or the verdict waits for the loop */
	CHECK_READY,   /* the owner reads the body */
	CHECK_WAITING, /* for its turn: in the pool, or on the loop */
	CHECK_RUNNING, /* in the pool: only the job touches message and verdict */
};

/* A line whose key is known. */
struct signed_line {
	struct str         sig;
	struct signing_key key;
};

struct verifier_check {
	struct verifier        *verifier;
	struct verifier_check **slot;
	enum check_state        state;
	struct arena            arena; /* all texts */
	struct str              method, target, server_name;
	struct xmatrix_lines    lines;
	struct signed_line      known[XMATRIX_LINES_MAX];
	size_t                  known_count;
	struct key_lookup      *lookup;
	struct buf              body;
	struct work            *work;
	struct limit_wait       turn;
	struct soon             soon; /* a verdict, or a small body */
	enum err                verdict;
	verifier_ready_fn      *ready;
	verifier_done_fn       *done;
	void                   *arg;
};

static void verifier_leave(struct verifier *v)
{
	if (--v->refs == 0)
		free(v);
}

static void check_free(struct verifier_check *c)
{
	key_lookup_cancel(&c->lookup);
	limit_wait_cancel(&c->turn);
	soon_clear(&c->soon);
	buf_fini(&c->body);
	arena_fini(&c->arena);
	verifier_leave(c->verifier);
	free(c);
}

/* ---- the head ---- */

/*
 * What is worth a lookup: keys of a kind we know. Two signatures with one key cannot both be good, as
 * there is only one good signature of a message; so the second is a forgery or a mistake.
 */
static enum err useful_ids(const struct xmatrix_lines *lines, struct str ids[XMATRIX_LINES_MAX],
                           size_t *count_of)
{
	*count_of = 0;
	for (size_t i = 0; i < lines->count; i++) {
		struct key_id id;

		if (key_id_parse(lines->line[i].key, &id) != ERR_OK)
			continue;
		if (lines->line[i].sig.len > SIG_TEXT_MAX)
			return ERR_SIGNATURE;
		for (size_t j = 0; j < i; j++)
			if (str_eq(lines->line[i].key, lines->line[j].key) &&
			    !str_eq(lines->line[i].sig, lines->line[j].sig))
				return ERR_SIGNATURE;
		ids[(*count_of)++] = id.text;
	}
	return *count_of > 0 ? ERR_OK : ERR_SIGNATURE;
}

static void check_ready(struct verifier_check *c, enum err e)
{
	if (e == ERR_OK) {
		c->state = CHECK_READY;
		c->ready(c->arg, ERR_OK, c->lines.origin);
		return;
	}
	count_cause(CAUSE_verify_failures, e);
	*c->slot = NULL;
	c->ready(c->arg, e, c->lines.origin);
	check_free(c);
}

static enum err take_keys(struct verifier_check *c, const struct server_keys *keys)
{
	struct server_keys_clock clock = keyring_clock(c->verifier->keyring);

	for (size_t i = 0; i < c->lines.count; i++) {
		const struct xmatrix     *line = &c->lines.line[i];
		const struct signing_key *key = NULL;

		if (server_keys_find(keys, line->key, clock, &key) != ERR_OK)
			continue;
		c->known[c->known_count++] = (struct signed_line){ line->sig, *key };
	}
	return c->known_count > 0 ? ERR_OK : ERR_SIGNATURE;
}

/*
 * What it means for a request that the keys of its origin could not be had: the name can never be asked, or
 * it may be better later. What is no document of that server, signed by itself, says nothing about the
 * request: a hotel's portal or a half-configured web server in between answers so, too.
 */
static enum err without_keys(enum err e)
{
	switch (e) {
	case ERR_NOMEM:
		return ERR_NOMEM;
	case ERR_RANGE: /* the name */
	case ERR_DENIED:
	case ERR_BLOCKED:
		return ERR_SIGNATURE;
	case ERR_SYNTAX:
	case ERR_NOT_FOUND:
	case ERR_LIMIT:
	case ERR_UNSUPPORTED:
	case ERR_SIGNATURE:
	case ERR_TOO_LARGE:
	case ERR_OK:
	case ERR_TIMEOUT:
	case ERR_SLOW_PEER:
	case ERR_BAD_ANSWER:
	case ERR_CANCELLED:
	case ERR_EOF:
	case ERR_TRUNCATED:
	case ERR_REFUSED:
	case ERR_UNREACHABLE:
	case ERR_RESET:
	case ERR_NO_RECORD:
	case ERR_DNS:
	case ERR_SERVICE_ABSENT:
	case ERR_TLS:
	case ERR_CERTIFICATE:
	case ERR_EXISTS:
	case ERR_BUSY:
	case ERR_IO:
	case ERR_CONFIG:
	case ERR_COUNT:
		break;
	}
	return ERR_BUSY;
}

static void on_keys(void *arg, enum err e, const struct server_keys *keys)
{
	struct verifier_check *c = arg;

	check_ready(c, e == ERR_OK ? take_keys(c, keys) : without_keys(e));
}

static void on_verdict(void *arg)
{
	struct verifier_check *c = arg;

	check_ready(c, c->verdict);
}

/* All that can be said without asking anybody; the cheapest first. */
static enum err judge_head(struct verifier_check *c, const struct verifier_request *r,
                           struct str ids[XMATRIX_LINES_MAX], size_t *count_of)
{
	enum err e = xmatrix_collect(r->head, &c->arena, &c->lines);

	if (e != ERR_OK)
		return e;
	if (!xmatrix_is_for(&c->lines, c->server_name))
		return ERR_DENIED;
	return useful_ids(&c->lines, ids, count_of);
}

/* The head goes away before the body is there; of the lines only what is of use stays. */
static void keep_lines(struct verifier_check *c)
{
	struct arena *a = &c->arena;
	size_t        kept = 0;

	for (size_t i = 0; i < c->lines.count; i++) {
		const struct xmatrix *line = &c->lines.line[i];
		struct key_id         id;

		if (key_id_parse(line->key, &id) != ERR_OK || line->sig.len > SIG_TEXT_MAX)
			continue;
		c->lines.line[kept++] = (struct xmatrix){ .key = arena_copy(a, line->key),
			                                  .sig = arena_copy(a, line->sig) };
	}
	c->lines.count = kept;
	c->lines.origin = arena_copy(a, c->lines.origin);
}

static enum err start_lookup(struct verifier_check *c, const struct verifier_request *r)
{
	struct str ids[XMATRIX_LINES_MAX];
	size_t     count_of = 0;
	enum err   e = judge_head(c, r, ids, &count_of);

	if (e == ERR_OK)
		e = key_lookup_start(&c->lookup, c->verifier->keyring, c->lines.origin, ids,
		                     count_of, r->client, on_keys, c);
	keep_lines(c);
	return arena_failed(&c->arena) ? ERR_NOMEM : e;
}

static struct verifier_check *check_new(struct verifier *v, const struct verifier_request *r)
{
	struct verifier_check *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->verifier = v;
	v->refs++;
	arena_init(&c->arena, ARENA_MAX);
	buf_init(&c->body, 0);
	soon_init(&c->soon, v->loop, on_verdict, c);
	limit_wait_init(&c->turn, v->loop, NULL, c);
	c->lines.origin = STRL("");
	c->method = arena_copy(&c->arena, r->method);
	c->target = arena_copy(&c->arena, r->target);
	c->server_name = arena_copy(&c->arena, r->server_name);
	return c;
}

enum err verifier_check_start(struct verifier_check **slot, struct verifier *v,
                              const struct verifier_request *r, verifier_ready_fn *ready, void *arg)
{
	struct verifier_check *c = check_new(v, r);

	if (c == NULL)
		return ERR_NOMEM;
	c->slot = slot;
	c->ready = ready;
	c->arg = arg;
	c->verdict = start_lookup(c, r);
	if (c->verdict == ERR_NOMEM) {
		check_free(c);
		return ERR_NOMEM;
	}
	if (c->lookup == NULL)
		soon_call(&c->soon);
	*slot = c;
	return ERR_OK;
}

/* ---- the body ---- */

/* On the loop or in the pool; touches nothing but what is c's. */
static enum err verify(struct verifier_check *c)
{
	struct xmatrix_request request = { c->method, c->target, c->lines.origin, c->server_name,
		                           buf_str(&c->body) };
	struct xmatrix_message message;
	size_t parts = c->method.len + c->target.len + c->lines.origin.len + c->server_name.len +
		200;
	/* numbers may grow when they are read as integers */
	enum err e = xmatrix_open(&message, &request, parts + 2 * buf_len(&c->body) + 4096);

	if (e != ERR_OK)
		return e;
	for (size_t i = 0; i < c->known_count && e == ERR_OK; i++)
		e = xmatrix_verify(&message, c->known[i].sig, &c->known[i].key);
	xmatrix_close(&message);
	return e;
}

static void check_done(struct verifier_check *c)
{
	if (c->verdict == ERR_OK) {
		count(COUNT_verified);
		keyring_vouch(c->verifier->keyring, c->lines.origin);
	} else {
		count_cause(CAUSE_verify_failures, c->verdict);
	}
	*c->slot = NULL;
	c->done(c->arg, c->verdict, c->lines.origin, &c->body);
	check_free(c);
}

static void on_small(void *arg)
{
	struct verifier_check *c = arg;

	c->verdict = verify(c);
	check_done(c);
}

static void on_run(void *arg)
{
	struct verifier_check *c = arg;

	c->verdict = verify(c);
}

static void on_ran(void *arg)
{
	struct verifier_check *c = arg;

	limit_leave(&c->verifier->jobs);
	check_done(c);
}

/* Cancelled while it ran. */
static void on_forgotten(void *arg)
{
	struct verifier_check *c = arg;

	limit_leave(&c->verifier->jobs);
	check_free(c);
}

static void on_failed(void *arg)
{
	check_done(arg);
}

static void on_turn(void *arg)
{
	struct verifier_check *c = arg;

	c->state = CHECK_RUNNING;
	c->verdict = work_start(&c->work, c->verifier->loop, on_run, on_ran, c);
	if (c->verdict == ERR_OK)
		return;
	c->state = CHECK_WAITING;
	limit_leave(&c->verifier->jobs);
	soon_init(&c->soon, c->verifier->loop, on_failed, c);
	soon_call(&c->soon);
}

void verifier_check_body(struct verifier_check **slot, struct buf *body, verifier_done_fn *done,
                         void *arg)
{
	struct verifier_check *c = *slot;

	check(c->state == CHECK_READY);
	c->state = CHECK_WAITING;
	c->done = done;
	c->arg = arg;
	c->body = *body;
	buf_init(body, body->max);
	if (buf_len(&c->body) <= VERIFIER_INLINE_MAX) {
		soon_init(&c->soon, c->verifier->loop, on_small, c);
		soon_call(&c->soon);
		return;
	}
	limit_wait_init(&c->turn, c->verifier->loop, on_turn, c);
	if (limit_enter(&c->verifier->jobs, &c->turn))
		on_turn(c);
}

void verifier_check_cancel(struct verifier_check **slot)
{
	struct verifier_check *c = *slot;

	if (c == NULL)
		return;
	*slot = NULL;
	if (c->state == CHECK_RUNNING)
		work_cancel(&c->work, on_forgotten);
	else
		check_free(c);
}

/* ---- the service ---- */

enum err verifier_new(struct loop *l, struct keyring *k, struct verifier **out)
{
	struct verifier *v = calloc(1, sizeof(*v));

	if (v == NULL)
		return ERR_NOMEM;
	v->loop = l;
	v->keyring = k;
	v->refs = 1;
	limit_init(&v->jobs, GAUGE_verify_jobs_open, VERIFIER_JOBS_MAX);
	*out = v;
	return ERR_OK;
}

void verifier_free(struct verifier *v)
{
	if (v != NULL)
		verifier_leave(v);
}
