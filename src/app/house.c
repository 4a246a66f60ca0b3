#include "app/house.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/sandbox.h"
#include "base/list.h"
#include "base/log.h"
#include "base/metrics.h"
#include "loop/interfaces.h"
#include "role/answers.h"
#include "role/gate.h"
#include "role/inbound.h"
#include "role/outbound.h"
#include "role/reception.h"
#include "role/resolver.h"
#include "role/stranded.h"
#include "role/upstream.h"
#include "store/cache.h"

enum {
	OWN_ADDRESSES_MAX = 64,
	NAMES_PER_CLASS_MB = 2,
	SESSIONS_PER_CLASS_MB = 1,
	CACHE_PER_CLASS_BYTES = 8192, /* where there is no file */
};

/* One homeserver of the present settings, or of earlier ones. */
struct neighbour {
	struct link       link;
	struct upstream  *upstream;
	struct reception *reception;
	char              url[512];
};

enum doorway_kind { DOORWAY_INBOUND, DOORWAY_OUTBOUND };

/* One listener and what is behind it. */
struct doorway {
	struct link       link;
	struct house     *house;
	enum doorway_kind kind;
	struct endpoint   endpoint;
	struct listener  *listener;
	struct outbound  *outbound; /* DOORWAY_OUTBOUND */
	bool              wanted;   /* by the settings being taken over */
};

struct house {
	struct loop          *loop;
	struct settings      *settings;
	struct tls_server    *tls_server;
	struct tls_client    *tls_client;
	struct dns           *dns;
	struct dns           *old_dns[16]; /* replaced by reloads; questions may be under way */
	size_t                old_dns_count;
	struct address        own[OWN_ADDRESSES_MAX];
	struct address_policy policy;
	struct limit          handshakes;
	struct http_pool     *pool;    /* connections to other servers */
	struct servers       *servers; /* places for them */
	struct cache         *cache;   /* of resolutions, across restarts */
	struct resolver      *resolver;
	struct dns           *key_dns; /* of key_resolver */
	struct limit          key_handshakes;
	struct resolver      *key_resolver; /* for names that strangers claim to have */
	struct key_fetcher   *key_fetcher;
	struct keyring       *keyring;
	struct verifier      *verifier;
	struct answers       *answers;
	struct queue         *queue; /* NULL: nothing is acknowledged early */
	struct gate          *gate;
	struct inbound       *inbound;
	struct link           neighbours, doorways;
	bool                  draining;
};

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
explain(struct house_fault *fault, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(fault->text, sizeof(fault->text), format, args);
	va_end(args);
}

/* ---- homeservers ---- */

static struct neighbour *neighbour_find(const struct house *h, const char *url)
{
	for (struct link *l = h->neighbours.next; l != &h->neighbours; l = l->next) {
		struct neighbour *n = LIST_ENTRY(l, struct neighbour, link);

		if (strcmp(n->url, url) == 0)
			return n;
	}
	return NULL;
}

static struct upstream *upstream_for(void *arg, const struct homeserver_settings *hs)
{
	struct neighbour *n = neighbour_find(arg, hs->url);

	check(n != NULL); /* every homeserver of the settings has one */
	return n->upstream;
}

struct reception *house_reception(const struct house *h, const struct homeserver_settings *hs)
{
	const struct neighbour *n = neighbour_find(h, hs->url);

	return n == NULL ? NULL : n->reception;
}

static struct reception *reception_for(void *arg, const struct homeserver_settings *hs)
{
	return house_reception(arg, hs);
}

const struct tls_server *house_tls(const struct house *h)
{
	return h->tls_server;
}

struct queue *house_queue(const struct house *h)
{
	return h->queue;
}

static enum err neighbour_reception(struct house *h, struct neighbour *n, const struct settings *s,
                                    const struct homeserver_settings *hs)
{
	struct reception_options o = {
		.loop = h->loop,
		.settings = s,
		.homeserver = hs,
		.upstream = n->upstream,
		.queue = h->queue,
		.verifier = h->verifier,
		.keyring = h->keyring,
		.answers = h->answers,
	};

	return reception_new(&o, &n->reception);
}

static enum err neighbours_add(struct house *h, const struct settings *s)
{
	for (size_t i = 0; i < s->homeserver_count; i++) {
		const struct homeserver_settings *hs = &s->homeservers[i];
		struct neighbour                 *n;
		enum err                          e;

		if (neighbour_find(h, hs->url) != NULL)
			continue;
		n = calloc(1, sizeof(*n));
		if (n == NULL)
			return ERR_NOMEM;
		if (!str_copy(str_of(hs->url), n->url, sizeof(n->url)))
			e = ERR_RANGE;
		else
			e = upstream_new(h->loop, hs, &s->limits, h->tls_client, h->dns,
			                 &n->upstream);
		if (e == ERR_OK && hs->sleeps)
			e = neighbour_reception(h, n, s, hs);
		if (e != ERR_OK) {
			upstream_drop(n->upstream);
			free(n);
			return e;
		}
		list_push_back(&h->neighbours, &n->link);
	}
	return ERR_OK;
}

static const struct homeserver_settings *homeserver_of(const struct settings *s, const char *url)
{
	for (size_t i = 0; i < s->homeserver_count; i++)
		if (strcmp(s->homeservers[i].url, url) == 0)
			return &s->homeservers[i];
	return NULL;
}

static void neighbours_tell(struct house *h, const struct settings *s)
{
	for (struct link *l = h->neighbours.next; l != &h->neighbours; l = l->next) {
		struct neighbour                 *n = LIST_ENTRY(l, struct neighbour, link);
		const struct homeserver_settings *hs = homeserver_of(s, n->url);

		upstream_set(n->upstream, h->tls_client, h->dns);
		if (hs != NULL)
			upstream_limit(n->upstream, hs, &s->limits);
	}
}

/* Receptions follow the settings: made where a homeserver now sleeps, retired where it no longer does. */
static void receptions_set(struct house *h, const struct settings *s)
{
	for (struct link *l = h->neighbours.next; l != &h->neighbours; l = l->next) {
		struct neighbour                 *n = LIST_ENTRY(l, struct neighbour, link);
		const struct homeserver_settings *hs = homeserver_of(s, n->url);

		if (n->reception != NULL && hs != NULL && hs->sleeps) {
			reception_set(n->reception, s, hs, n->upstream);
			continue;
		}
		reception_retire(n->reception);
		n->reception = NULL;
		if (hs != NULL && hs->sleeps && neighbour_reception(h, n, s, hs) != ERR_OK)
			log_say(LOG_ERROR, "serve.reload", "no memory to keep deliveries for %s",
			        n->url);
	}
}

/* Those the settings no longer name; requests under way keep theirs. s NULL: all. */
static void neighbours_prune(struct house *h, const struct settings *s)
{
	struct link *next;

	for (struct link *l = h->neighbours.next; l != &h->neighbours; l = next) {
		struct neighbour *n = LIST_ENTRY(l, struct neighbour, link);

		next = l->next;
		if (s != NULL && homeserver_of(s, n->url) != NULL)
			continue;
		list_remove(&n->link);
		reception_retire(n->reception);
		upstream_drop(n->upstream);
		free(n);
	}
}

/* ---- listeners ---- */

static bool same_endpoint(const struct endpoint *a, const struct endpoint *b)
{
	return strcmp(a->path, b->path) == 0 && a->v6_only == b->v6_only &&
		(a->path[0] != '\0' || address_equal(&a->address, &b->address));
}

static void endpoint_text(const struct endpoint *ep, char *out, size_t size)
{
	char text[ADDRESS_TEXT_SIZE];

	if (ep->path[0] != '\0')
		snprintf(out, size, "unix:%s", ep->path);
	else
		snprintf(out, size, "%s", address_text(&ep->address, text));
}

static void explain_listen(struct house_fault *fault, enum err e, const struct endpoint *ep)
{
	char where[128];

	endpoint_text(ep, where, sizeof(where));
	if (e == ERR_EXISTS)
		explain(fault,
		        "%s is in use by another program; stop that one or choose another port "
		        "(`doorstep check` says who it is)",
		        where);
	else if (e == ERR_DENIED && sandbox_entered())
		explain(fault,
		        "%s: a port below 1024 is opened at the start only: restart doorstep",
		        where);
	else if (e == ERR_DENIED)
		explain(fault,
		        "%s: permission denied; ports below 1024 need root or CAP_NET_BIND_SERVICE",
		        where);
	else if (e == ERR_UNREACHABLE)
		explain(fault,
		        "%s: this machine has no such address; correct the listener's address",
		        where);
	else
		explain(fault, "%s: cannot listen: %s", where, strerror(errno));
}

static void on_full(void *arg, bool full)
{
	struct doorway *d = arg;

	if (d->listener == NULL)
		return;
	if (full)
		listener_pause(d->listener);
	else
		listener_resume(d->listener);
}

static void on_inbound_full(void *arg, bool full)
{
	struct house *h = arg;

	for (struct link *l = h->doorways.next; l != &h->doorways; l = l->next) {
		struct doorway *d = LIST_ENTRY(l, struct doorway, link);

		if (d->kind == DOORWAY_INBOUND)
			on_full(d, full);
	}
}

static void on_accept(void *arg, struct stream *s, const struct address *peer)
{
	struct doorway *d = arg;

	if (d->kind == DOORWAY_INBOUND)
		inbound_accept(d->house->inbound, s, peer);
	else
		outbound_accept(d->outbound, s, peer);
}

static struct doorway *doorway_find(const struct house *h, enum doorway_kind kind,
                                    const struct endpoint *ep)
{
	for (struct link *l = h->doorways.next; l != &h->doorways; l = l->next) {
		struct doorway *d = LIST_ENTRY(l, struct doorway, link);

		if (d->kind == kind && same_endpoint(&d->endpoint, ep))
			return d;
	}
	return NULL;
}

static void doorway_close(struct doorway *d)
{
	list_remove(&d->link);
	if (d->listener != NULL)
		listener_close(d->listener);
	outbound_free(d->outbound);
	free(d);
}

/* The doorway for this endpoint, opened if it is not there; marked as wanted. */
static enum err doorway_want(struct house *h, enum doorway_kind kind, const struct endpoint *ep,
                             struct house_fault *fault, struct doorway **out)
{
	struct doorway *d = doorway_find(h, kind, ep);
	enum err        e;

	*out = d;
	if (d != NULL) {
		d->wanted = true;
		return ERR_OK;
	}
	d = calloc(1, sizeof(*d));
	if (d == NULL)
		return ERR_NOMEM;
	*d = (struct doorway){ .house = h, .kind = kind, .endpoint = *ep, .wanted = true };
	e = listener_open(h->loop, ep, on_accept, d, &d->listener);
	if (e != ERR_OK) {
		explain_listen(fault, e, ep);
		free(d);
		return e;
	}
	list_push_back(&h->doorways, &d->link);
	*out = d;
	return ERR_OK;
}

static void take_local(void *arg, struct http_request *r, struct str name)
{
	struct house *h = arg;

	inbound_take_local(h->inbound, r, name);
}

static enum err doorway_outbound(struct house *h, struct settings *s,
                                 const struct outbound_settings *section, struct doorway *d,
                                 struct house_fault *fault)
{
	struct outbound_options o = {
		.loop = h->loop,
		.settings = s,
		.section = section,
		.resolver = h->resolver,
		.pool = h->pool,
		.servers = h->servers,
		.tls = h->tls_client,
		.local = take_local,
		.reception = reception_for,
		.answers = h->answers,
		.arg = h,
		.gate = h->gate,
	};
	enum err e;

	if (d->outbound != NULL)
		return ERR_OK;
	e = outbound_new(&o, &d->outbound);
	if (e == ERR_UNSUPPORTED)
		explain(fault, "outbound '%s': this doorstep was built without outbound",
		        section->section);
	if (e == ERR_OK)
		outbound_on_full(d->outbound, on_full, d);
	return e;
}

/* The TCP ports alone. Their connections wait in the kernel: nobody accepts until the loop runs. */
static enum err doorways_bind(struct house *h, const struct settings *s, struct house_fault *fault)
{
	struct doorway *d;
	enum err        e = ERR_OK;

	for (size_t i = 0; e == ERR_OK && i < s->listen_count; i++)
		if (s->listens[i].endpoint.path[0] == '\0')
			e = doorway_want(h, DOORWAY_INBOUND, &s->listens[i].endpoint, fault, &d);
	for (size_t i = 0; e == ERR_OK && i < s->outbound_count; i++)
		if (s->outbounds[i].endpoint.path[0] == '\0')
			e = doorway_want(h, DOORWAY_OUTBOUND, &s->outbounds[i].endpoint, fault, &d);
	return e;
}

static enum err doorways_want(struct house *h, struct settings *s, struct house_fault *fault)
{
	struct doorway *d;
	enum err        e = ERR_OK;

	for (struct link *l = h->doorways.next; l != &h->doorways; l = l->next)
		LIST_ENTRY(l, struct doorway, link)->wanted = false;
	for (size_t i = 0; e == ERR_OK && i < s->listen_count; i++)
		e = doorway_want(h, DOORWAY_INBOUND, &s->listens[i].endpoint, fault, &d);
	for (size_t i = 0; e == ERR_OK && i < s->outbound_count; i++) {
		e = doorway_want(h, DOORWAY_OUTBOUND, &s->outbounds[i].endpoint, fault, &d);
		if (e == ERR_OK)
			e = doorway_outbound(h, s, &s->outbounds[i], d, fault);
	}
	return e;
}

/* After success those no longer wanted go; after failure those just opened. */
static void doorways_settle(struct house *h, const struct settings *s)
{
	struct link *next;

	for (struct link *l = h->doorways.next; l != &h->doorways; l = next) {
		struct doorway *d = LIST_ENTRY(l, struct doorway, link);
		bool            keep = false;

		next = l->next;
		for (size_t i = 0; s != NULL && i < s->listen_count; i++)
			keep |= d->kind == DOORWAY_INBOUND &&
				same_endpoint(&d->endpoint, &s->listens[i].endpoint);
		for (size_t i = 0; s != NULL && i < s->outbound_count; i++)
			keep |= d->kind == DOORWAY_OUTBOUND &&
				same_endpoint(&d->endpoint, &s->outbounds[i].endpoint);
		if (!keep)
			doorway_close(d);
	}
}

static void doorways_reload(struct house *h, struct settings *s)
{
	for (size_t i = 0; i < s->outbound_count; i++) {
		struct doorway *d = doorway_find(h, DOORWAY_OUTBOUND, &s->outbounds[i].endpoint);

		outbound_reload(d->outbound, s, &s->outbounds[i], h->tls_client);
	}
}

/* ---- shared things ---- */

static enum err load_tls_server(struct house *h, const struct settings *s,
                                struct house_fault *fault, struct tls_server **out)
{
	const char             *certificates[64], *keys[64];
	struct tls_server_files f = { certificates, 0, keys, 0, DAY_MS };
	struct tls_fault        wrong = { "" }, warning = { "" };
	enum err                e;

	for (size_t i = 0; i < s->domain_count; i++) {
		const struct domain_settings *d = &s->domains[i];

		for (size_t k = 0; k < d->certificate_count && f.certificate_count < 64; k++)
			certificates[f.certificate_count++] = d->certificates[k];
		for (size_t k = 0; k < d->key_count && f.key_count < 64; k++)
			keys[f.key_count++] = d->keys[k];
	}
	if (s->listen_count == 0 || f.certificate_count == 0)
		return ERR_OK;
	e = tls_server_load(h->loop, &f, out, &wrong, &warning);
	if (e != ERR_OK)
		explain(fault, "%s", wrong.text);
	else if (warning.text[0] != '\0')
		log_say(LOG_WARN, "serve.certificate", "%s", warning.text);
	return e;
}

static bool has_sleeper(const struct settings *s)
{
	for (size_t i = 0; i < s->homeserver_count; i++)
		if (s->homeservers[i].sleeps)
			return true;
	return false;
}

/* For other servers, and for a homeserver with https. */
static bool needs_authorities(const struct settings *s)
{
	bool needs = s->outbound_count > 0;

	for (size_t i = 0; i < s->homeserver_count; i++)
		needs |= s->homeservers[i].tls;
	return needs;
}

/* Without authorities: all but the keys of other servers, so that nothing new is kept. */
static enum err load_tls_client(struct house *h, const struct settings *s,
                                struct house_fault *fault, struct tls_client **out)
{
	struct tls_fault wrong = { "" };
	enum err         e;

	if (!needs_authorities(s) && !has_sleeper(s))
		return ERR_OK;
	e = tls_client_load(h->loop, s->ca_file, s->limits.memory_class * SESSIONS_PER_CLASS_MB,
	                    out, &wrong);
	if (e != ERR_OK && !needs_authorities(s)) {
		log_say(LOG_ERROR, "serve.queue",
		        "deliveries are not kept while a homeserver is away: %s (ca_file)",
		        wrong.text);
		return ERR_OK;
	}
	if (e != ERR_OK)
		explain(fault, "%s", wrong.text);
	return e;
}

static bool same_dns(const struct settings *a, const struct settings *b)
{
	return a->has_dns == b->has_dns && (!a->has_dns || address_equal(&a->dns, &b->dns));
}

static enum err new_dns(struct house *h, const struct settings *s, size_t queries_max,
                        struct dns **out)
{
	return dns_new(h->loop, s->has_dns ? &s->dns : NULL, queries_max, out);
}

/* A quarter, at least two: what the lookups of names cost that anybody may claim to have. */
static unsigned keys_share(unsigned all)
{
	return all / 4 > 2 ? all / 4 : 2;
}

void house_refresh(struct house *h)
{
	h->policy.own = h->own;
	h->policy.own_count = interfaces_addresses(h->own, OWN_ADDRESSES_MAX);
}

static void apply_policy(struct house *h, const struct settings *s)
{
	h->policy.allow = s->allow_ranges;
	h->policy.allow_count = s->allow_range_count;
	house_refresh(h);
}

const struct settings *house_settings(const struct house *h)
{
	return h->settings;
}

/* ---- what is kept across restarts ---- */

static struct str resolution_key(struct str name, char *room, size_t size)
{
	struct writer w = writer_over(room, size);

	write_text(&w, "resolution/");
	write_str(&w, name);
	return w.failed ? STRL("") : writer_done(&w);
}

static bool load_resolution(void *arg, struct str name, char *bytes, size_t *len)
{
	struct house *h = arg;
	char          room[CACHE_KEY_MAX];

	return cache_get(h->cache, resolution_key(name, room, sizeof(room)), bytes, *len, len);
}

static void save_resolution(void *arg, struct str name, struct str bytes, uint64_t until_unix_ms)
{
	struct house *h = arg;
	char          room[CACHE_KEY_MAX];

	(void)cache_put(h->cache, resolution_key(name, room, sizeof(room)), bytes, until_unix_ms);
}

static enum err open_cache(struct house *h, const struct settings *s)
{
	struct cache_options o = { .loop = h->loop,
		                   .state_dir = s->state_dir,
		                   .bytes = s->limits.cache_bytes,
		                   .memory_bytes = s->limits.memory_class * CACHE_PER_CLASS_BYTES };

	return cache_open(&o, &h->cache);
}

static struct http_pool_options pool_options(struct house *h, const struct limit_settings *l)
{
	return (struct http_pool_options){
		.limits = { l->response_head_max, l->response_head_max, l->response_head_max,
		            H1_FIELDS_MAX },
		.idle_max = l->outbound_connections,
		.idle_per_target_max = l->outbound_per_server,
		.idle_ms = l->pool_idle_ms,
		.handshakes = &h->handshakes,
	};
}

/* ---- opening ---- */

static enum err open_shared(struct house *h, struct settings *s, struct house_fault *fault)
{
	const struct limit_settings *l = &s->limits;
	struct http_pool_options     pool = pool_options(h, l);
	struct resolver_options      resolver = {
		     .loop = h->loop,
		     .policy = &h->policy,
		     .handshakes = &h->handshakes,
		     .store = { load_resolution, save_resolution, h },
		     .names_max = l->memory_class * NAMES_PER_CLASS_MB,
		     .deadline_ms = l->resolve_connect_ms,
	};
	enum err e;

	limit_init(&h->handshakes, GAUGE_server_handshakes_open, l->handshakes);
	apply_policy(h, s);
	e = load_tls_server(h, s, fault, &h->tls_server);
	if (e == ERR_OK)
		e = load_tls_client(h, s, fault, &h->tls_client);
	if (e == ERR_OK)
		e = new_dns(h, s, l->dns_queries, &h->dns);
	h->pool = http_pool_new(h->loop, &pool);
	h->servers = servers_new(h->loop, l->outbound_connections, l->outbound_per_server);
	if (e == ERR_OK && (h->servers == NULL || h->pool == NULL))
		e = ERR_NOMEM;
	if (e == ERR_OK)
		e = open_cache(h, s);
	resolver.dns = h->dns;
	resolver.tls = h->tls_client;
	return e == ERR_OK ? resolver_new(&resolver, &h->resolver) : e;
}

/* ---- for homeservers that sleep ---- */

enum {
	KEYS_PER_CLASS_BYTES = 4096,
	QUEUE_FILE_MIN = 4 * 1024 * 1024,
	PENDING_PER_CLASS_MB = 64 * 1024,
	PENDING_PER_SMALL_MB = 32 * 1024 /* in the class of 64 MB */
};

/* Of all that sleep together; the file is twice that. */
static uint64_t queue_bytes(const struct settings *s)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < s->homeserver_count; i++)
		sum += s->homeservers[i].sleeps ? s->homeservers[i].queue_bytes : 0;
	return sum;
}

static void open_queue(struct house *h, const struct settings *s)
{
	uint64_t             map = 2 * queue_bytes(s);
	struct queue_options o = { .loop = h->loop,
		                   .state_dir = s->state_dir,
		                   .bytes_max = queue_bytes(s),
		                   .map_bytes = map < QUEUE_FILE_MIN ? QUEUE_FILE_MIN : (size_t)map,
		                   .pending_bytes_max = s->limits.memory_class *
		                           (s->limits.memory_class < 128 ? PENDING_PER_SMALL_MB
		                                                         : PENDING_PER_CLASS_MB) };
	struct queue_fault   fault = { .text = "" };
	enum err             e = ERR_UNSUPPORTED;

	if (s->state_dir != NULL)
		e = queue_open(&o, &h->queue, &fault);
	if (e != ERR_OK)
		log_say(LOG_ERROR, "serve.queue",
		        "deliveries are not kept while a homeserver is away: %s",
		        fault.text[0] != '\0' ? fault.text : "option state_dir is not set");
	else if (fault.text[0] != '\0')
		log_say(LOG_ERROR, "serve.queue", "%s", fault.text);
	if (fault.cut_bytes > 0)
		log_say(LOG_INFO, "serve.queue",
		        "%llu bytes that a power cut left unfinished were taken off; nothing "
		        "acknowledged was among them",
		        (unsigned long long)fault.cut_bytes);
}

/* What was acknowledged is never given up in silence. */
static void say_stranded(const struct house *h, const struct settings *s)
{
	struct stranded st;

	if (h->queue == NULL)
		return;
	stranded_look(h->queue, s, &st);
	if (st.items > 0)
		log_say(LOG_WARN, "serve.stranded",
		        "%zu deliveries are kept and handed over to nobody: %s %s; put that back, or "
		        "see 'doorstep queue list' and drop them",
		        st.items, st.server_name, st.why);
}

/* Also what nobody sleeps for any more, unless nothing is left in it. */
static void follow_queue(struct house *h, const struct settings *s)
{
	struct queue_counts c;

	if (h->queue == NULL &&
	    (has_sleeper(s) || (s->state_dir != NULL && queue_is_there(s->state_dir))))
		open_queue(h, s);
	if (h->queue == NULL || has_sleeper(s))
		return;
	queue_counts(h->queue, &c);
	if (c.waiting == 0 && c.parked == 0 && list_empty(&h->neighbours)) { /* nobody has it yet */
		queue_close(h->queue);
		h->queue = NULL;
	}
}

/* The homeserver of a name that is served here. */
static struct upstream *local_upstream(void *arg, struct str name)
{
	struct house                 *h = arg;
	const struct domain_settings *d = settings_domain(h->settings, name);

	return d == NULL || d->homeserver == NULL ? NULL : upstream_for(h, d->homeserver);
}

/*
 * Names that strangers claim to have are looked up apart from those that our homeservers ask for: slow name servers and slow web servers
 * of a forged origin take no place of theirs. What is known is shared through the cache, but claims
 * alone are not written to it.
 */
static enum err open_key_resolver(struct house *h, const struct settings *s)
{
	struct resolver_options o = {
		.loop = h->loop,
		.tls = h->tls_client,
		.handshakes = &h->key_handshakes,
		.policy = &h->policy,
		.store = { load_resolution, NULL, h },
		.names_max = s->limits.memory_class,
		.deadline_ms = s->limits.resolve_connect_ms,
	};
	enum err e = new_dns(h, s, keys_share(s->limits.dns_queries), &h->key_dns);

	limit_init(&h->key_handshakes, GAUGE_key_handshakes_open, keys_share(s->limits.handshakes));
	o.dns = h->key_dns;
	return e == ERR_OK ? resolver_new(&o, &h->key_resolver) : e;
}

static enum err open_keys(struct house *h, const struct settings *s)
{
	struct key_fetcher_options fetcher = {
		.loop = h->loop, .tls = h->tls_client, .local = local_upstream, .arg = h
	};
	struct keyring_options keyring = {
		.loop = h->loop,
		.cache = h->cache,
		.bytes_max = s->limits.memory_class * KEYS_PER_CLASS_BYTES,
		.notaries = s->notaries,
		.notary_count = s->notary_count,
	};
	enum err e = open_key_resolver(h, s);

	fetcher.resolver = h->key_resolver;
	if (e == ERR_OK)
		e = key_fetcher_new(&fetcher, &h->key_fetcher);
	keyring.fetcher = h->key_fetcher;
	if (e == ERR_OK)
		e = keyring_new(&keyring, &h->keyring);
	if (e == ERR_OK)
		e = verifier_new(h->loop, h->keyring, &h->verifier);
	if (e == ERR_OK) {
		follow_queue(h, s);
		say_stranded(h, s);
	}
	return e;
}

static enum err open_roles(struct house *h, struct settings *s, struct house_fault *fault)
{
	struct gate_options    gate = { h->loop, h->cache, s->limits.memory_class };
	struct inbound_options o = {
		.loop = h->loop,
		.settings = s,
		.tls = h->tls_server,
		.upstream = upstream_for,
		.reception = reception_for,
		.arg = h,
	};
	enum err e = open_keys(h, s);

	if (e == ERR_OK)
		e = answers_new(h->loop, h->cache, s->limits.answers_bytes, &h->answers);
	if (e == ERR_OK)
		e = gate_new(&gate, &h->gate);
	o.gate = h->gate;
	o.answers = h->answers;
	o.verifier = h->verifier;
	if (e == ERR_OK)
		e = neighbours_add(h, s);
	if (e == ERR_OK)
		e = inbound_new(&o, &h->inbound);
	if (e == ERR_OK)
		inbound_on_full(h->inbound, on_inbound_full, h);
	return e == ERR_OK ? doorways_want(h, s, fault) : e;
}

enum err house_open(struct loop *l, struct settings *s, house_bound_fn *bound, void *arg,
                    struct house_fault *fault, struct house **out)
{
	struct house *h = calloc(1, sizeof(*h));
	enum err      e;

	if (h == NULL)
		return ERR_NOMEM;
	h->loop = l;
	h->settings = settings_keep(s);
	list_init(&h->neighbours);
	list_init(&h->doorways);
	e = doorways_bind(h, s, fault);
	if (e == ERR_OK && bound != NULL)
		e = bound(arg, fault);
	if (e == ERR_OK)
		e = open_shared(h, s, fault);
	if (e == ERR_OK)
		e = open_roles(h, s, fault);
	if (e != ERR_OK) {
		house_close(h);
		return e;
	}
	*out = h;
	return ERR_OK;
}

/* ---- reload ---- */

static void swap_dns(struct house *h, struct dns *fresh, struct dns **used)
{
	if (fresh == NULL)
		return;
	if (h->old_dns_count == sizeof(h->old_dns) / sizeof(h->old_dns[0])) {
		log_say(LOG_WARN, "serve.reload", "dns changed too often; restart to take it over");
		dns_free(fresh);
		return;
	}
	h->old_dns[h->old_dns_count++] = *used;
	*used = fresh;
}

static void take_over(struct house *h, struct settings *s, struct tls_server *server,
                      struct tls_client *client)
{
	struct http_pool_options pool = pool_options(h, &s->limits);

	tls_server_drop(h->tls_server);
	h->tls_server = server;
	if (h->tls_client != NULL)
		tls_client_drop(h->tls_client);
	h->tls_client = client;
	apply_policy(h, s);
	limit_set_max(&h->handshakes, s->limits.handshakes);
	servers_set(h->servers, s->limits.outbound_connections, s->limits.outbound_per_server);
	resolver_set(h->resolver, client, h->dns);
	resolver_forget(h->resolver);
	limit_set_max(&h->key_handshakes, keys_share(s->limits.handshakes));
	resolver_set(h->key_resolver, client, h->key_dns);
	resolver_forget(h->key_resolver);
	http_pool_set(h->pool, &pool);
	http_pool_clear(h->pool);
	neighbours_tell(h, s);
	follow_queue(h, s);
	say_stranded(h, s);
	receptions_set(h, s);
	answers_set(h->answers, s->limits.answers_bytes);
	if (h->key_fetcher != NULL)
		key_fetcher_set(h->key_fetcher, client);
	keyring_set_notaries(h->keyring, s->notaries, s->notary_count);
	inbound_reload(h->inbound, s, server);
	doorways_reload(h, s);
	doorways_settle(h, s);
	neighbours_prune(h, s);
	settings_keep(s);
	settings_drop(h->settings);
	h->settings = s;
}

enum err house_renew(struct house *h, struct house_fault *fault)
{
	struct tls_server *server = NULL;
	enum err           e = load_tls_server(h, h->settings, fault, &server);

	if (e != ERR_OK)
		return e;
	tls_server_drop(h->tls_server);
	h->tls_server = server;
	inbound_reload(h->inbound, h->settings, server);
	return ERR_OK;
}

enum err house_reload(struct house *h, struct settings *s, struct house_fault *fault)
{
	struct tls_server *server = NULL;
	struct tls_client *client = NULL;
	struct dns        *dns = NULL, *key_dns = NULL;
	enum err           e = load_tls_server(h, s, fault, &server);

	if (e == ERR_OK)
		e = load_tls_client(h, s, fault, &client);
	if (e == ERR_OK && !same_dns(h->settings, s))
		e = new_dns(h, s, s->limits.dns_queries, &dns);
	if (e == ERR_OK && !same_dns(h->settings, s))
		e = new_dns(h, s, keys_share(s->limits.dns_queries), &key_dns);
	if (e == ERR_OK)
		e = neighbours_add(h, s);
	if (e == ERR_OK)
		e = doorways_want(h, s, fault);
	if (e != ERR_OK) {
		doorways_settle(h, h->settings);
		neighbours_prune(h, h->settings);
		tls_server_drop(server);
		if (client != NULL)
			tls_client_drop(client);
		dns_free(dns);
		dns_free(key_dns);
		return e;
	}
	swap_dns(h, dns, &h->dns);
	swap_dns(h, key_dns, &h->key_dns);
	take_over(h, s, server, client);
	return ERR_OK;
}

/* ---- closing ---- */

void house_drain(struct house *h)
{
	h->draining = true;
	for (struct link *l = h->doorways.next; l != &h->doorways; l = l->next) {
		struct doorway *d = LIST_ENTRY(l, struct doorway, link);

		if (d->listener != NULL)
			listener_close(d->listener);
		d->listener = NULL;
		if (d->outbound != NULL)
			outbound_drain(d->outbound);
	}
	inbound_drain(h->inbound);
}

bool house_is_empty(const struct house *h)
{
	bool empty = inbound_is_empty(h->inbound);

	for (struct link *l = h->doorways.next; l != &h->doorways; l = l->next) {
		const struct doorway *d = LIST_ENTRY(l, struct doorway, link);

		empty = empty && (d->outbound == NULL || outbound_is_empty(d->outbound));
	}
	return empty;
}

void house_close(struct house *h)
{
	while (!list_empty(&h->doorways))
		doorway_close(LIST_ENTRY(h->doorways.next, struct doorway, link));
	inbound_free(h->inbound);
	neighbours_prune(h, NULL);
	answers_free(h->answers);
	verifier_free(h->verifier);
	keyring_free(h->keyring);
	key_fetcher_free(h->key_fetcher);
	queue_close(h->queue);
	resolver_free(h->key_resolver);
	resolver_free(h->resolver);
	gate_free(h->gate);
	cache_close(h->cache);
	http_pool_free(h->pool);
	servers_free(h->servers);
	dns_free(h->dns);
	dns_free(h->key_dns);
	for (size_t i = 0; i < h->old_dns_count; i++)
		dns_free(h->old_dns[i]);
	tls_server_drop(h->tls_server);
	if (h->tls_client != NULL)
		tls_client_drop(h->tls_client);
	settings_drop(h->settings);
	free(h);
}
