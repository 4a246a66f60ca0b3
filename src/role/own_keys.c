#include "role/own_keys.h"

#include <stdlib.h>

#include "base/metrics.h"

enum { HEAD_MAX = 512, ANSWER_MS = 30 * 1000 };

#define TARGET "/_matrix/key/v2/server"

struct own_keys {
	struct own_keys_options o;
	bool                    is_there;
	struct deadline         next;
	size_t                  at; /* the name being asked for */
	struct upstream_wait    wait;
	struct http_call       *call;
	bool                    begun; /* its answer */
	struct answers_taking   taking;
	struct asleep_match     match;
};

static void ask_next(struct own_keys *k);

static void stop(struct own_keys *k)
{
	upstream_wait_cancel(&k->wait);
	http_call_close(k->call);
	k->call = NULL;
	answers_taken(&k->taking, false);
}

static void pause(struct own_keys *k)
{
	stop(k);
	deadline_in(&k->next, OWN_KEYS_AGAIN_MS);
}

static void next_name(struct own_keys *k)
{
	k->at++;
	ask_next(k);
}

static void begin_taking(struct own_keys *k, const struct head *answer)
{
	struct head              asked = { .method = HTTP_GET, .body = BODY_NONE };
	const char              *name = k->o.name(k->o.arg, k->at);
	struct snapshot_question q = { .match = &k->match, .target = STRL(TARGET) };

	k->begun = true;
	if (name == NULL) /* a reload took it away */
		return;
	q.server_name = str_of(name);
	answers_take(&k->taking, k->o.answers, &q, &asked, answer);
}

static void on_call(void *arg)
{
	struct own_keys   *k = arg;
	const struct head *h = http_call_answer(k->call);
	struct str         span;

	if (h != NULL && !k->begun)
		begin_taking(k, h);
	while ((span = http_call_peek(k->call)).len > 0) {
		answers_take_more(&k->taking, span);
		http_call_consume(k->call, span.len);
	}
	if (h != NULL && http_call_done(k->call)) {
		answers_taken(&k->taking, true);
		stop(k);
		next_name(k);
	} else if (http_call_failed(k->call) != ERR_OK) {
		pause(k);
	}
}

static enum err open_call(struct own_keys *k, const struct http_target *target, const char *name)
{
	char                     room[HEAD_MAX];
	struct writer            w = writer_over(room, sizeof(room));
	struct http_call_options call = {
		.target = *target,
		.method = HTTP_GET,
		.response_head_ms = ANSWER_MS,
		.keep = true,
	};
	enum err e;

	h1_write_request_line(&w, STRL("GET"), STRL(TARGET));
	h1_write_field(&w, STRL("Host"), str_of(name));
	write_text(&w, "\r\n");
	if (w.failed)
		return ERR_TOO_LARGE;
	call.head = writer_done(&w);
	k->begun = false;
	answers_expect(&k->taking, k->o.answers);
	e = http_call_open(upstream_pool(k->o.upstream), &call, on_call, k, &k->call);
	if (e == ERR_OK)
		http_call_flush(k->call);
	return e;
}

static void ask(struct own_keys *k, const char *name)
{
	struct http_target target;
	enum err           e = upstream_target(k->o.upstream, &target, &k->wait);

	if (e == ERR_BUSY)
		return;
	if (e == ERR_OK)
		e = open_call(k, &target, name);
	if (e == ERR_OK)
		count(COUNT_answers_own_keys);
	else
		pause(k);
}

static void ask_next(struct own_keys *k)
{
	const char *name;

	while ((name = k->o.name(k->o.arg, k->at)) != NULL) {
		if (answers_want_keys(k->o.answers, str_of(name))) {
			ask(k, name);
			return;
		}
		k->at++;
	}
	pause(k);
}

static void on_next(void *arg)
{
	struct own_keys *k = arg;

	k->at = 0;
	ask_next(k);
}

/* Asking for the address again tells. */
static void on_address(void *arg, enum err e)
{
	if (e != ERR_CANCELLED)
		ask_next(arg);
}

void own_keys_set(struct own_keys *k, bool is_there)
{
	if (is_there == k->is_there)
		return;
	k->is_there = is_there;
	stop(k);
	if (is_there)
		deadline_in(&k->next, OWN_KEYS_FIRST_MS);
	else
		deadline_clear(&k->next);
}

void own_keys_upstream(struct own_keys *k, struct upstream *u)
{
	if (u == k->o.upstream)
		return;
	stop(k);
	upstream_keep(u);
	upstream_drop(k->o.upstream);
	k->o.upstream = u;
	if (k->is_there)
		deadline_in(&k->next, OWN_KEYS_FIRST_MS);
}

enum err own_keys_new(const struct own_keys_options *o, struct own_keys **out)
{
	struct own_keys *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return ERR_NOMEM;
	k->o = *o;
	upstream_keep(o->upstream);
	deadline_init(&k->next, o->loop, on_next, k);
	k->wait = (struct upstream_wait){ .ready = on_address, .arg = k };
	list_init(&k->wait.link);
	answers_taking_init(&k->taking);
	asleep_find(STRL("GET"), STRL(TARGET), &k->match);
	*out = k;
	return ERR_OK;
}

void own_keys_free(struct own_keys *k)
{
	if (k == NULL)
		return;
	stop(k);
	deadline_clear(&k->next);
	upstream_drop(k->o.upstream);
	free(k);
}
