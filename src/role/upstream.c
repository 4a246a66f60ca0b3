#include "role/upstream.h"

#include <stdlib.h>

#include "base/log.h"

enum {
	UPSTREAM_ADDRESSES_MAX = 4,
	LOOKUP_MS = 5000,
	LIFE_MIN_S = 10,
	LIFE_MAX_S = 600,
	RETRY_S = 5
};

struct upstream {
	unsigned           refs;
	bool               secure;  /* https */
	enum err           trouble; /* why it could not be reached the last time */
	char               url[300];
	struct loop       *loop;
	struct http_pool  *pool;
	struct limit       calls;
	struct tls_client *tls;
	struct dns        *dns;
	msec               connect_ms;
	char               host[256];
	uint16_t           port;
	bool               is_name, host_is_address;
	struct endpoint    to[UPSTREAM_ADDRESSES_MAX];
	size_t             count;
	msec               until; /* of the addresses; MS_NEVER when configured as numbers */
	struct endpoint    found[UPSTREAM_ADDRESSES_MAX]; /* of the lookup under way */
	size_t             found_count;
	uint32_t           found_ttl_s;
	struct dns_query  *a, *aaaa;
	struct link        waiting;
};

static void upstream_tell(struct upstream *u, enum err e)
{
	struct link told;

	list_init(&told);
	while (!list_empty(&u->waiting)) /* those who ask again go to the end of a new queue */
		list_push_back(&told, list_pop(&u->waiting));
	while (!list_empty(&told)) {
		struct upstream_wait *w = LIST_ENTRY(list_pop(&told), struct upstream_wait, link);

		w->ready(w->arg, e);
	}
}

static void upstream_found(struct upstream *u)
{
	uint32_t life = u->found_ttl_s;

	if (u->found_count > 0) {
		memcpy(u->to, u->found, sizeof(u->to));
		u->count = u->found_count;
		life = life < LIFE_MIN_S ? LIFE_MIN_S : life > LIFE_MAX_S ? LIFE_MAX_S : life;
	} else {
		life = RETRY_S; /* keep what we had */
	}
	u->until = loop_now(u->loop) + (msec)life * SECOND_MS;
	upstream_tell(u, u->count > 0 ? ERR_OK : ERR_DNS);
}

static void upstream_add(struct upstream *u, const struct dns_answer *a)
{
	if (a->outcome != DNS_FOUND)
		return;
	if (u->found_count == 0 || a->ttl_s < u->found_ttl_s)
		u->found_ttl_s = a->ttl_s;
	for (size_t i = 0; i < a->count && u->found_count < UPSTREAM_ADDRESSES_MAX; i++) {
		struct endpoint *to = &u->found[u->found_count++];

		*to = (struct endpoint){ .address = a->records.address[i] };
		to->address.port = u->port;
	}
}

static void on_lookup(void *arg, const struct dns_answer *a)
{
	struct upstream *u = arg;

	upstream_add(u, a);
	if (u->a == NULL && u->aaaa == NULL)
		upstream_found(u);
}

static enum err upstream_lookup(struct upstream *u)
{
	enum err e;

	u->found_count = 0;
	u->found_ttl_s = 0;
	e = dns_query_start(&u->a, u->dns, u->host, DNS_A, LOOKUP_MS, on_lookup, u);
	if (e == ERR_OK)
		(void)dns_query_start(&u->aaaa, u->dns, u->host, DNS_AAAA, LOOKUP_MS, on_lookup, u);
	return e;
}

enum err upstream_target(struct upstream *u, struct http_target *target, struct upstream_wait *w)
{
	bool     running = u->a != NULL || u->aaaa != NULL;
	enum err e = ERR_OK;

	if (loop_now(u->loop) >= u->until && !running)
		e = upstream_lookup(u);
	if (u->count == 0 && e == ERR_OK && loop_now(u->loop) >= u->until) {
		list_push_back(&u->waiting, &w->link);
		return ERR_BUSY;
	}
	if (u->count == 0)
		return e == ERR_OK ? ERR_DNS : e;
	*target = (struct http_target){
		.to = u->to,
		.count = u->count,
		.tls = u->tls,
		.tls_name = u->tls != NULL ? str_of(u->host) : STRL(""),
		.tls_name_is_address = u->host_is_address,
		.connect_ms = u->connect_ms,
	};
	return ERR_OK;
}

/* What the owner should look at. */
static const struct {
	enum err    e;
	const char *text;
} troubles[] = {
	{ ERR_REFUSED,
	  "refuses connections: is the homeserver running, and does it listen there?" },
	{ ERR_UNREACHABLE, "cannot be reached: is the machine on, and is this its address?" },
	{ ERR_TIMEOUT,
	  "does not answer in time: is the machine on, and does a firewall let doorstep through?" },
	{ ERR_DNS,
	  "has a name that cannot be looked up: check option dns, or configure its address" },
	{ ERR_NO_RECORD, "has a name without an address: check it, or configure its address" },
	{ ERR_TLS, "does not speak TLS as it should: is https right, and this its port?" },
	{ ERR_CERTIFICATE,
	  "has a certificate that ca_file does not vouch for, or one for another name" },
};

void upstream_note(struct upstream *u, enum err e)
{
	if (e == ERR_OK && u->trouble != ERR_OK) {
		u->trouble = ERR_OK;
		log_say(LOG_WARN, "homeserver.back", "%s answers again", u->url);
	}
	for (size_t i = 0; i < sizeof(troubles) / sizeof(troubles[0]); i++)
		if (troubles[i].e == e && u->trouble != e) {
			u->trouble = e;
			log_say(LOG_WARN, "homeserver.away", "%s %s", u->url, troubles[i].text);
		}
}

void upstream_wait_cancel(struct upstream_wait *w)
{
	list_remove(&w->link);
}

struct limit *upstream_calls(struct upstream *u)
{
	return &u->calls;
}

struct http_pool *upstream_pool(struct upstream *u)
{
	return u->pool;
}

bool upstream_is_local(const struct upstream *u)
{
	return u->count > 0 && u->to[0].path[0] != '\0';
}

static void upstream_fill(struct upstream *u, const struct homeserver_settings *hs)
{
	struct address ip;

	(void)str_copy(str_head(str_of(hs->url), sizeof(u->url) - 1), u->url, sizeof(u->url));
	u->port = hs->port;
	u->is_name = hs->host_is_name;
	if (hs->host != NULL)
		(void)str_copy(str_of(hs->host), u->host, sizeof(u->host));
	u->host_is_address = address_parse_ip(str_of(u->host), &ip) == ERR_OK;
	if (hs->host_is_name) {
		u->until = 0;
		return;
	}
	u->to[0] = hs->endpoint;
	u->count = 1;
	u->until = MS_NEVER;
}

static struct http_pool_options pool_options(const struct homeserver_settings *hs,
                                             const struct limit_settings      *limits)
{
	return (struct http_pool_options){
		.limits = { .line_max = limits->response_head_max,
		            .field_max = limits->response_head_max,
		            .head_max = limits->response_head_max,
		            .fields_max = H1_FIELDS_MAX },
		.idle_max = hs->connections_max,
		.idle_per_target_max = hs->connections_max,
		.idle_ms = limits->homeserver_idle_ms,
	};
}

void upstream_limit(struct upstream *u, const struct homeserver_settings *hs,
                    const struct limit_settings *limits)
{
	struct http_pool_options pool = pool_options(hs, limits);

	u->connect_ms = limits->connect_ms;
	limit_set_max(&u->calls, hs->connections_max);
	http_pool_set(u->pool, &pool);
}

enum err upstream_new(struct loop *l, const struct homeserver_settings *hs,
                      const struct limit_settings *limits, struct tls_client *tls, struct dns *dns,
                      struct upstream **out)
{
	struct http_pool_options pool = pool_options(hs, limits);
	struct upstream         *u = calloc(1, sizeof(*u));

	if (u == NULL)
		return ERR_NOMEM;
	u->refs = 1;
	u->loop = l;
	u->secure = hs->tls;
	upstream_set(u, tls, dns);
	u->connect_ms = limits->connect_ms;
	list_init(&u->waiting);
	limit_init(&u->calls, GAUGE_homeserver_connections_open, hs->connections_max);
	upstream_fill(u, hs);
	u->pool = http_pool_new(l, &pool);
	if (u->pool == NULL) {
		upstream_drop(u);
		return ERR_NOMEM;
	}
	*out = u;
	return ERR_OK;
}

struct upstream *upstream_keep(struct upstream *u)
{
	u->refs++;
	return u;
}

void upstream_set(struct upstream *u, struct tls_client *tls, struct dns *dns)
{
	if (tls != NULL && u->secure)
		tls_client_keep(tls);
	if (u->tls != NULL)
		tls_client_drop(u->tls);
	u->tls = u->secure ? tls : NULL;
	u->dns = dns;
	if (u->secure && u->pool != NULL)
		http_pool_clear(u->pool); /* they were made under other authorities */
}

void upstream_drop(struct upstream *u)
{
	if (u == NULL || --u->refs > 0)
		return;
	dns_query_cancel(&u->a);
	dns_query_cancel(&u->aaaa);
	upstream_tell(u, ERR_CANCELLED);
	http_pool_free(u->pool);
	if (u->tls != NULL)
		tls_client_drop(u->tls);
	free(u);
}
