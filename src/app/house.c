#include "app/house_inside.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/sandbox.h"
#include "base/log.h"
#include "base/metrics.h"
#include "loop/interfaces.h"

enum {
	NAMES_PER_CLASS_MB = 2,
	SESSIONS_PER_CLASS_MB = 1,
	CACHE_PER_CLASS_BYTES = 8192, /* where there is no file */
};

void house_explain(struct house_fault *fault, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(fault->text, sizeof(fault->text), format, args);
	va_end(args);
}

const struct tls_server *house_tls(const struct house *h)
{
	return h->tls_server;
}

struct queue *house_queue(const struct house *h)
{
	return h->queue;
}

bool house_is_shut(const struct house *h)
{
	return h->is_shut;
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
		house_explain(fault, "%s", wrong.text);
	else if (warning.text[0] != '\0')
		log_say(LOG_WARN, "serve.certificate", "%s", warning.text);
	return e;
}

bool house_has_sleeper(const struct settings *s)
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

	if (!needs_authorities(s) && !house_has_sleeper(s))
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
		house_explain(fault, "%s", wrong.text);
	return e;
}

static bool same_dns(const struct settings *a, const struct settings *b)
{
	return a->has_dns == b->has_dns && (!a->has_dns || address_equal(&a->dns, &b->dns));
}

enum err house_new_dns(struct house *h, const struct settings *s, size_t queries_max,
                       struct dns **out)
{
	return dns_new(h->loop, s->has_dns ? &s->dns : NULL, queries_max, out);
}

/* A quarter, at least two: what the lookups of names cost that anybody may claim to have. */
unsigned house_keys_share(unsigned all)
{
	return all / 4 > 2 ? all / 4 : 2;
}

void house_refresh(struct house *h)
{
	h->policy.own = h->own;
	h->policy.own_count = interfaces_addresses(h->own, OWN_ADDRESSES_MAX);
	if (!h->is_shut && loop_now(h->loop) - h->opened_at >= DEATHS_SOUND_MS)
		deaths_forget(h->deaths);
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

bool house_load_resolution(void *arg, struct str name, char *bytes, size_t *len)
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
		                   .state_dir = h->is_shut ? NULL : s->state_dir,
		                   .bytes = s->limits.cache_bytes,
		                   .memory_bytes = s->limits.memory_class * CACHE_PER_CLASS_BYTES };
	enum err             e;

	deaths_opening(h->deaths);
	e = cache_open(&o, &h->cache);
	deaths_opened(h->deaths);
	return e;
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
		     .store = { house_load_resolution, save_resolution, h },
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
		e = house_new_dns(h, s, l->dns_queries, &h->dns);
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

static enum err open_roles(struct house *h, struct settings *s, struct house_fault *fault)
{
	struct gate_options    gate = { h->loop, h->cache, s->limits.memory_class };
	struct inbound_options o = {
		.loop = h->loop,
		.settings = s,
		.tls = h->tls_server,
		.upstream = house_upstream,
		.reception = house_reception_for,
		.arg = h,
	};
	enum err e = house_open_keys(h, s);

	if (e == ERR_OK)
		e = answers_new(h->loop, h->cache, s->limits.answers_bytes, &h->answers);
	if (e == ERR_OK)
		e = gate_new(&gate, &h->gate);
	o.gate = h->gate;
	o.answers = h->answers;
	o.verifier = h->verifier;
	if (e == ERR_OK)
		e = house_neighbours_add(h, s);
	if (e == ERR_OK)
		e = inbound_new(&o, &h->inbound);
	if (e == ERR_OK)
		inbound_on_full(h->inbound, house_inbound_full, h);
	return e == ERR_OK ? house_doorways_want(h, s, fault) : e;
}

enum err house_open(struct loop *l, struct settings *s, house_bound_fn *bound, void *arg,
                    struct house_fault *fault, struct house **out)
{
	struct house *h = calloc(1, sizeof(*h));
	enum err      e;

	if (h == NULL)
		return ERR_NOMEM;
	h->loop = l;
	h->opened_at = loop_now(l);
	h->settings = settings_keep(s);
	list_init(&h->neighbours);
	list_init(&h->doorways);
	e = house_doorways_bind(h, s, fault);
	if (e == ERR_OK && bound != NULL)
		e = bound(arg, fault);
	if (e == ERR_OK)
		house_look_back(h, s);
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
	limit_set_max(&h->key_handshakes, house_keys_share(s->limits.handshakes));
	resolver_set(h->key_resolver, client, h->key_dns);
	resolver_forget(h->key_resolver);
	http_pool_set(h->pool, &pool);
	http_pool_clear(h->pool);
	house_neighbours_tell(h, s);
	house_follow_queue(h, s);
	house_say_stranded(h, s);
	house_receptions_set(h, s);
	answers_set(h->answers, s->limits.answers_bytes);
	if (h->key_fetcher != NULL)
		key_fetcher_set(h->key_fetcher, client);
	keyring_set_notaries(h->keyring, s->notaries, s->notary_count);
	inbound_reload(h->inbound, s, server);
	house_doorways_reload(h, s);
	house_doorways_settle(h, s);
	house_neighbours_prune(h, s);
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
		e = house_new_dns(h, s, s->limits.dns_queries, &dns);
	if (e == ERR_OK && !same_dns(h->settings, s))
		e = house_new_dns(h, s, house_keys_share(s->limits.dns_queries), &key_dns);
	if (e == ERR_OK)
		e = house_neighbours_add(h, s);
	if (e == ERR_OK)
		e = house_doorways_want(h, s, fault);
	if (e != ERR_OK) {
		house_doorways_settle(h, h->settings);
		house_neighbours_prune(h, h->settings);
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
		house_doorway_close(LIST_ENTRY(h->doorways.next, struct doorway, link));
	inbound_free(h->inbound);
	house_neighbours_prune(h, NULL);
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
	deaths_close(h->deaths);
	settings_drop(h->settings);
	free(h);
}
