#include "role/resolver.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/metrics.h"
#include "codec/matrix/well_known.h"
#include "net/fetch.h"

enum {
	FETCH_MS = 5000, /* one .well-known request, unless told otherwise */
	CONNECT_MS = 5000,
	QUERY_MS = 4000,
	RUNS_MAX = 64, /* lookups at once; those beyond wait for a place */
};

/* A remembered result. */
struct known {
	struct link       link; /* on resolver->known, least recently used first */
	struct resolution result;
	char              name[SERVER_NAME_TEXT_MAX + 1];
};

/* A lookup under way: the machine and what it is waiting for. */
struct run {
	struct resolver  *rv;
	struct link       link; /* on resolver->runs */
	enum resolve_how  how;
	struct link       waiters; /* struct lookup */
	struct resolve    machine;
	struct dns_query *srv, *a, *aaaa;
	struct fetch     *fetch;
	struct dns_answer answers[2]; /* A and AAAA */
	bool              for_fetch;  /* the addresses are of a .well-known host */
	struct deadline   deadline, pause;
	struct limit_wait turn;
	bool              begun; /* has a place among the lookups at once */
	struct soon       step;  /* an outcome found while asking: told from the loop */
	enum err          step_error;
	const char       *step_why;
	bool              finished;
	char              name[SERVER_NAME_TEXT_MAX + 1];
};

struct lookup {
	struct link     link;
	struct lookup **slot;
	lookup_done_fn *done;
	void           *arg;
};

struct resolver {
	struct resolver_options o;
	struct http_pool       *pool; /* for fetches; keeps nothing */
	struct link             runs, known;
	size_t                  known_count;
	struct limit            places;
};

static void run_need(struct run *r, enum resolve_need need);

static uint32_t draw(void *arg, uint32_t below)
{
	uint32_t v;

	(void)arg;
	loop_random(&v, sizeof(v));
	return v % below;
}

static uint64_t now_unix(const struct resolver *rv)
{
	return loop_unix_ms(rv->o.loop);
}

/* ---- memory ---- */

static struct known *known_find(struct resolver *rv, struct str name)
{
	for (struct link *l = rv->known.prev; l != &rv->known; l = l->prev) {
		struct known *k = LIST_ENTRY(l, struct known, link);

		if (!str_is(name, k->name))
			continue;
		list_remove(&k->link);
		list_push_back(&rv->known, &k->link);
		return k;
	}
	return NULL;
}

static void known_drop(struct resolver *rv, struct known *k)
{
	list_remove(&k->link);
	rv->known_count--;
	free(k);
}

static struct known *known_add(struct resolver *rv, struct str name)
{
	struct known *k = known_find(rv, name);

	if (k != NULL)
		return k;
	if (rv->known_count >= rv->o.names_max && rv->known_count > 0)
		known_drop(rv, LIST_ENTRY(rv->known.next, struct known, link));
	k = calloc(1, sizeof(*k));
	if (k == NULL)
		return NULL;
	if (!str_copy(name, k->name, sizeof(k->name))) {
		free(k);
		return NULL;
	}
	list_push_back(&rv->known, &k->link);
	rv->known_count++;
	return k;
}

/* From memory, else from the store. NULL: never heard of. */
static const struct resolution *recall(struct resolver *rv, struct str name)
{
	char          bytes[RESOLUTION_BYTES_MAX];
	size_t        len = sizeof(bytes);
	struct known *k = known_find(rv, name);

	if (k != NULL)
		return &k->result;
	if (rv->o.store.load == NULL || !rv->o.store.load(rv->o.store.arg, name, bytes, &len))
		return NULL;
	k = known_add(rv, name);
	if (k == NULL)
		return NULL;
	if (resolution_read(str_span(bytes, len), &k->result) != ERR_OK) {
		known_drop(rv, k);
		return NULL;
	}
	return &k->result;
}

static void remember(struct resolver *rv, struct str name, const struct resolution *result)
{
	char          bytes[RESOLUTION_BYTES_MAX];
	struct writer w = writer_over(bytes, sizeof(bytes));
	struct known *k = known_add(rv, name);

	if (k != NULL)
		k->result = *result;
	resolution_write(&w, result);
	if (!w.failed && rv->o.store.save != NULL)
		rv->o.store.save(rv->o.store.arg, name, writer_done(&w),
		                 resolution_keep_until(result));
}

/* ---- a run ---- */

static void run_stop_asking(struct run *r)
{
	dns_query_cancel(&r->srv);
	dns_query_cancel(&r->a);
	dns_query_cancel(&r->aaaa);
	fetch_cancel(&r->fetch);
	deadline_clear(&r->deadline);
	deadline_clear(&r->pause);
	soon_clear(&r->step);
}

static void run_free(struct run *r)
{
	run_stop_asking(r);
	limit_wait_cancel(&r->turn);
	list_remove(&r->link);
	if (r->begun)
		limit_leave(&r->rv->places);
	free(r);
}

static void run_tell(struct run *r)
{
	struct link *l;

	while ((l = list_pop(&r->waiters)) != NULL) {
		struct lookup *w = LIST_ENTRY(l, struct lookup, link);

		*w->slot = NULL;
		w->done(w->arg, &r->machine);
		free(w);
	}
}

static void run_log(const struct run *r, enum resolve_need need)
{
	if (!log_begin(need == RESOLVE_DONE ? LOG_DEBUG : LOG_INFO, "resolve"))
		return;
	log_text("name", r->name);
	if (need == RESOLVE_DONE)
		log_text("host", r->machine.result.host_header);
	else
		log_err("error", r->machine.result.error);
	log_end();
}

static void run_finish(struct run *r, enum resolve_need need)
{
	run_stop_asking(r);
	r->finished = true;
	run_log(r, need);
	if (need == RESOLVE_FAILED)
		count_cause(CAUSE_resolve_failures, r->machine.result.error);
	else if (r->machine.result.stale)
		count(COUNT_resolve_stale);
	if (r->how == RESOLVE_FOR_FEDERATION)
		remember(r->rv, str_of(r->name), &r->machine.result);
	run_tell(r);
	run_free(r);
}

static void run_answer(struct run *r, const struct resolve_answer *a)
{
	run_need(r, resolve_answer(&r->machine, a, now_unix(r->rv)));
}

/* Nothing could be asked, or what was asked failed: an outcome all the same. */
static void on_step(void *arg)
{
	struct run           *r = arg;
	struct resolve_answer a = { .outcome = RESOLVE_ERROR,
		                    .error = r->step_error,
		                    .why = r->step_why };

	run_answer(r, &a);
}

static void run_error(struct run *r, enum err e, const char *why)
{
	r->step_error = e;
	r->step_why = why;
	soon_call(&r->step);
}

static enum resolve_outcome outcome_of(const struct dns_answer *a)
{
	switch (a->outcome) {
	case DNS_FOUND:
		return RESOLVE_FOUND;
	case DNS_NO_DATA:
		return RESOLVE_NO_DATA;
	case DNS_NO_NAME:
		return RESOLVE_NO_NAME;
	case DNS_FAILED:
		break;
	}
	return RESOLVE_ERROR;
}

static struct resolve_answer answer_of(const struct dns_answer *a)
{
	return (struct resolve_answer){
		.outcome = outcome_of(a),
		.error = a->outcome == DNS_FAILED ? ERR_DNS : ERR_OK,
		.why = a->why,
		.ttl_s = a->ttl_s,
		.count = a->count,
		.addresses = a->records.address,
	};
}

/* ---- SRV ---- */

static void on_srv(void *arg, const struct dns_answer *d)
{
	struct run           *r = arg;
	struct resolve_answer a = answer_of(d);
	struct resolve_srv    srv[DNS_RECORDS_MAX];

	for (size_t i = 0; i < d->count; i++)
		srv[i] = (struct resolve_srv){ d->records.srv[i].priority, d->records.srv[i].weight,
			                       d->records.srv[i].port,
			                       str_of(d->records.srv[i].target) };
	a.addresses = NULL;
	a.srv = srv;
	run_answer(r, &a);
}

static void run_ask_srv(struct run *r)
{
	enum err e = dns_query_start(&r->srv, r->rv->o.dns, r->machine.question.name, DNS_SRV,
	                             QUERY_MS, on_srv, r);

	count(COUNT_dns_queries);
	if (e != ERR_OK)
		run_error(r, e, "no memory for a DNS question");
}

/* ---- addresses ---- */

static void run_fetch(struct run *r, const struct resolve_answer *addresses);

static void run_addresses_known(struct run *r)
{
	struct resolve_answer a = answer_of(&r->answers[0]), aaaa = answer_of(&r->answers[1]),
			      merged;
	struct address room[2 * RESOLVE_PER_NAME_MAX];

	resolve_merge(&a, &aaaa, room, &merged);
	if (r->for_fetch)
		run_fetch(r, &merged);
	else
		run_answer(r, &merged);
}

static void on_a(void *arg, const struct dns_answer *d)
{
	struct run *r = arg;

	r->answers[0] = *d;
	if (r->aaaa == NULL)
		run_addresses_known(r);
}

static void on_aaaa(void *arg, const struct dns_answer *d)
{
	struct run *r = arg;

	r->answers[1] = *d;
	if (r->a == NULL)
		run_addresses_known(r);
}

static void run_ask_addresses(struct run *r, bool for_fetch)
{
	const char *name = r->machine.question.name;
	enum err    e = dns_query_start(&r->a, r->rv->o.dns, name, DNS_A, QUERY_MS, on_a, r);

	r->for_fetch = for_fetch;
	if (e == ERR_OK)
		e = dns_query_start(&r->aaaa, r->rv->o.dns, name, DNS_AAAA, QUERY_MS, on_aaaa, r);
	count_add(COUNT_dns_queries, 2);
	if (e == ERR_OK)
		return;
	dns_query_cancel(&r->a);
	run_error(r, e, "no memory for a DNS question");
}

/* ---- .well-known ---- */

static void on_fetched(void *arg, const struct fetch_result *res)
{
	struct run           *r = arg;
	struct resolve_answer a = { .outcome = RESOLVE_FOUND,
		                    .head = res->head,
		                    .body = res->body };

	if (res->err == ERR_OK) {
		run_answer(r, &a);
		return;
	}
	a = (struct resolve_answer){ .outcome = RESOLVE_ERROR,
		                     .error = res->err,
		                     .why = err_slug(res->err) };
	run_answer(r, &a);
}

static size_t fetch_endpoints(const struct run *r, const struct resolve_answer *found,
                              struct endpoint *to)
{
	size_t n = 0;

	for (size_t i = 0; i < found->count && n < DIAL_ADDRESSES_MAX; i++) {
		to[n] = (struct endpoint){ .address = found->addresses[i] };
		to[n++].address.port = r->machine.question.port;
	}
	return n;
}

/* One bad address refuses the whole name, so that a mixed answer cannot fall through. */
static bool addresses_allowed(const struct run *r, const struct resolve_answer *found,
                              const char **why)
{
	for (size_t i = 0; i < found->count; i++)
		if (address_check_ip(r->rv->o.policy, &found->addresses[i], why) != ERR_OK)
			return false;
	return true;
}

static void write_fetch_host(struct writer *w, const struct resolve_question *q)
{
	bool v6 = q->kind == HOST_IPV6;

	write_text(w, v6 ? "[" : "");
	write_text(w, q->name);
	write_text(w, v6 ? "]" : "");
	if (q->port == 443)
		return;
	write_char(w, ':');
	write_u64(w, q->port);
}

static void run_fetch_from(struct run *r, const struct endpoint *to, size_t count_to)
{
	const struct resolve_question *q = &r->machine.question;
	char                           host[SERVER_NAME_TEXT_MAX + 4];
	struct writer                  w = writer_over(host, sizeof(host));
	struct fetch_options           o = {
			  .target = { .to = to,
		                      .count = count_to,
		                      .tls = r->rv->o.tls,
		                      .tls_name = str_of(q->name),
		                      .tls_name_is_address = q->kind != HOST_DNS,
		                      .connect_ms = CONNECT_MS },
			  .path = str_of(q->path),
			  .body_max = WELL_KNOWN_BODY_MAX,
			  .deadline_ms = r->rv->o.fetch_ms,
			  .self_delimiting = true, /* JSON */
	};
	enum err e;

	write_fetch_host(&w, q);
	o.host = writer_done(&w);
	count(COUNT_well_known_fetches);
	e = fetch_start(&r->fetch, r->rv->o.loop, r->rv->pool, &o, on_fetched, r);
	if (e != ERR_OK)
		run_error(r, e, "no memory for a fetch");
}

static void run_fetch(struct run *r, const struct resolve_answer *found)
{
	struct endpoint to[DIAL_ADDRESSES_MAX];
	const char     *why = NULL;

	if (found->outcome == RESOLVE_ERROR)
		run_error(r, found->error, found->why);
	else if (found->outcome != RESOLVE_FOUND || found->count == 0)
		run_error(r, ERR_NO_RECORD, "no address");
	else if (!addresses_allowed(r, found, &why))
		run_error(r, ERR_BLOCKED, why);
	else
		run_fetch_from(r, to, fetch_endpoints(r, found, to));
}

static void run_fetch_literal(struct run *r)
{
	struct address        ip;
	struct resolve_answer found = { .outcome = RESOLVE_FOUND, .count = 1, .addresses = &ip };

	if (address_parse_ip(str_of(r->machine.question.name), &ip) == ERR_OK)
		run_fetch(r, &found);
	else
		run_error(r, ERR_SYNTAX, "not an address");
}

static void run_ask_well_known(void *arg)
{
	struct run *r = arg;

	if (r->rv->o.tls == NULL)
		run_error(r, ERR_CONFIG, "no certificate authorities");
	else if (r->machine.question.kind != HOST_DNS)
		run_fetch_literal(r);
	else
		run_ask_addresses(r, true);
}

/* ---- what the machine wants ---- */

static void run_need(struct run *r, enum resolve_need need)
{
	switch (need) {
	case RESOLVE_WELL_KNOWN:
		if (r->machine.question.wait_ms > 0)
			deadline_in(&r->pause, r->machine.question.wait_ms);
		else
			run_ask_well_known(r);
		break;
	case RESOLVE_SRV:
		run_ask_srv(r);
		break;
	case RESOLVE_ADDRESS:
		run_ask_addresses(r, false);
		break;
	case RESOLVE_DONE:
	case RESOLVE_FAILED:
		run_finish(r, need);
		break;
	}
}

/* The waiters are told of a timeout, nothing is remembered. */
static void run_expire(struct run *r)
{
	resolution_init(&r->machine.result);
	r->machine.result.error = ERR_TIMEOUT;
	r->finished = true;
	count_cause(CAUSE_resolve_failures, ERR_TIMEOUT);
	run_tell(r);
	run_free(r);
}

static void on_run_deadline(void *arg)
{
	struct run *r = arg;

	run_stop_asking(r);
	if (!r->begun) { /* never got its turn: that says nothing about the name */
		run_expire(r);
		return;
	}
	run_need(r, resolve_give_up(&r->machine, ERR_TIMEOUT, now_unix(r->rv)));
}

static void run_begin(void *arg)
{
	struct run              *r = arg;
	struct resolver         *rv = r->rv;
	struct resolution_random rnd = { draw, NULL };
	const struct resolution *known =
		r->how == RESOLVE_FOR_FEDERATION ? recall(rv, str_of(r->name)) : NULL;

	r->begun = true;
	count(COUNT_resolve_lookups);
	if (r->how == RESOLVE_FOR_FEDERATION)
		run_need(r,
		         resolve_begin(&r->machine, str_of(r->name), known, rv->o.policy, rnd,
		                       now_unix(rv)));
	else
		run_need(r,
		         resolve_begin_connect(&r->machine, str_of(r->name), known, rv->o.policy,
		                               rnd, now_unix(rv)));
}

static struct run *run_new(struct resolver *rv, struct str name, enum resolve_how how)
{
	struct run *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return NULL;
	r->rv = rv;
	r->how = how;
	(void)str_copy(str_head(name, sizeof(r->name) - 1), r->name, sizeof(r->name));
	list_init(&r->waiters);
	deadline_init(&r->deadline, rv->o.loop, on_run_deadline, r);
	deadline_init(&r->pause, rv->o.loop, run_ask_well_known, r);
	soon_init(&r->step, rv->o.loop, on_step, r);
	limit_wait_init(&r->turn, rv->o.loop, run_begin, r);
	list_push_back(&rv->runs, &r->link);
	deadline_in(&r->deadline, rv->o.deadline_ms);
	/* always from the loop, so that nobody is called from inside lookup_start() */
	if (limit_enter(&rv->places, &r->turn)) {
		r->turn.granted = true;
		soon_call(&r->turn.soon);
	}
	return r;
}

static struct run *run_find(struct resolver *rv, struct str name)
{
	for (struct link *l = rv->runs.next; l != &rv->runs; l = l->next) {
		struct run *r = LIST_ENTRY(l, struct run, link);

		if (r->how == RESOLVE_FOR_FEDERATION && !r->finished && str_is(name, r->name))
			return r;
	}
	return NULL;
}

/* ---- what others call ---- */

const struct resolution *resolver_known(struct resolver *rv, struct str name)
{
	const struct resolution *known = recall(rv, name);
	uint64_t                 now = now_unix(rv);

	if (known == NULL || !resolution_is_fresh(known, now))
		return NULL;
	if (!resolution_is_allowed(known, rv->o.policy)) /* rules or interfaces changed */
		return NULL;
	if (resolution_wants_refresh(known, now) && run_find(rv, name) == NULL)
		(void)run_new(rv, name, RESOLVE_FOR_FEDERATION);
	count(COUNT_resolve_cached);
	return known;
}

enum err lookup_start(struct lookup **slot, struct resolver *rv, struct str name,
                      enum resolve_how how, lookup_done_fn *done, void *arg)
{
	struct lookup *w;
	struct run    *r = how == RESOLVE_FOR_FEDERATION ? run_find(rv, name) : NULL;

	if (name.len > SERVER_NAME_TEXT_MAX)
		return ERR_SYNTAX;
	if (r != NULL)
		count(COUNT_resolve_joined);
	w = calloc(1, sizeof(*w));
	if (w != NULL && r == NULL)
		r = run_new(rv, name, how);
	if (w == NULL || r == NULL) {
		free(w);
		return ERR_NOMEM;
	}
	*w = (struct lookup){ .slot = slot, .done = done, .arg = arg };
	list_push_back(&r->waiters, &w->link);
	*slot = w;
	return ERR_OK;
}

void lookup_cancel(struct lookup **slot)
{
	struct lookup *w = *slot;

	if (w == NULL)
		return;
	*slot = NULL;
	list_remove(&w->link);
	free(w);
}

enum err resolver_new(const struct resolver_options *o, struct resolver **out)
{
	struct http_pool_options pool = {
		.limits = { 4096, 8192, 16384, H1_FIELDS_MAX },
		.handshakes = o->handshakes,
	};
	struct resolver *rv = calloc(1, sizeof(*rv));
	uint64_t         others = metrics.gauges[GAUGE_resolve_open].limit;

	if (rv == NULL)
		return ERR_NOMEM;
	rv->o = *o;
	if (o->fetch_ms == 0)
		rv->o.fetch_ms = FETCH_MS;
	rv->pool = http_pool_new(o->loop, &pool);
	if (rv->pool == NULL) {
		free(rv);
		return ERR_NOMEM;
	}
	if (o->tls != NULL)
		tls_client_keep(o->tls);
	list_init(&rv->runs);
	list_init(&rv->known);
	limit_init(&rv->places, GAUGE_resolve_open, RUNS_MAX);
	metrics.gauges[GAUGE_resolve_open].limit += others; /* there may be several */
	*out = rv;
	return ERR_OK;
}

void resolver_forget(struct resolver *rv)
{
	while (!list_empty(&rv->known))
		known_drop(rv, LIST_ENTRY(rv->known.next, struct known, link));
}

void resolver_set(struct resolver *rv, struct tls_client *tls, struct dns *dns)
{
	if (tls != NULL)
		tls_client_keep(tls);
	if (rv->o.tls != NULL)
		tls_client_drop(rv->o.tls);
	rv->o.tls = tls;
	rv->o.dns = dns; /* questions under way end where they were asked */
}

void resolver_free(struct resolver *rv)
{
	if (rv == NULL)
		return;
	while (!list_empty(&rv->runs)) {
		struct run *r = LIST_ENTRY(rv->runs.next, struct run, link);

		check(list_empty(&r->waiters));
		run_free(r);
	}
	resolver_forget(rv);
	metrics.gauges[GAUGE_resolve_open].limit -= RUNS_MAX;
	http_pool_free(rv->pool);
	if (rv->o.tls != NULL)
		tls_client_drop(rv->o.tls);
	free(rv);
}
