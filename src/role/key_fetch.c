#include "role/key_fetch.h"

#include <stdlib.h>

#include "net/fetch.h"

enum {
	DEADLINE_MS = 10 * 1000,
	BODY_MAX = 64 * 1024,
	HEAD_MAX = 16 * 1024,
};

struct key_fetcher {
	struct key_fetcher_options o;
	struct http_pool          *pool; /* keeps nothing */
};

struct key_fetch {
	struct key_fetcher  *fetcher;
	struct key_fetch   **slot;
	key_fetch_done_fn   *done;
	void                *arg;
	struct lookup       *lookup;
	struct fetch        *fetch;
	struct deadline      deadline; /* of all of it */
	struct soon          again;    /* what was known or found out at once: told from the loop */
	enum err             found;
	struct resolution    where;
	struct upstream     *local;   /* served here; else NULL */
	struct upstream_wait wait;    /* for its address */
	size_t               path_at; /* in text, behind the name */
	char                 text[];  /* name, path */
};

static struct str name_of(const struct key_fetch *k)
{
	return str_head(str_of(k->text), k->path_at);
}

static void key_fetch_free(struct key_fetch *k)
{
	lookup_cancel(&k->lookup);
	fetch_cancel(&k->fetch);
	deadline_clear(&k->deadline);
	soon_clear(&k->again);
	upstream_wait_cancel(&k->wait);
	upstream_drop(k->local);
	free(k);
}

static void key_fetch_finish(struct key_fetch *k, enum err e, struct str body)
{
	*k->slot = NULL;
	k->done(k->arg, e, body);
	key_fetch_free(k);
}

static void on_deadline(void *arg)
{
	key_fetch_finish(arg, ERR_TIMEOUT, STRL(""));
}

/* ---- the document ---- */

static void on_fetched(void *arg, const struct fetch_result *res)
{
	struct key_fetch *k = arg;
	enum err          e = res->err;

	if (e == ERR_OK && res->head->status != 200)
		e = ERR_BAD_ANSWER;
	key_fetch_finish(k, e, e == ERR_OK ? res->body : STRL(""));
}

static size_t endpoints_of(const struct resolution *where, struct endpoint *to)
{
	size_t n = 0;

	for (; n < where->count && n < DIAL_ADDRESSES_MAX; n++)
		to[n] = (struct endpoint){ .address = where->addresses[n] };
	return n;
}

static enum err ask(struct key_fetch *k)
{
	const struct key_fetcher *f = k->fetcher;
	struct endpoint           to[DIAL_ADDRESSES_MAX];
	struct fetch_options      o = {
		     .target = { .to = to,
		                 .count = endpoints_of(&k->where, to),
		                 .tls = f->o.tls,
		                 .tls_name = str_of(k->where.tls_name),
		                 .tls_name_is_address = k->where.tls_name_is_ip,
		                 .connect_ms = f->o.deadline_ms },
		     .host = str_of(k->where.host_header),
		     .path = str_of(k->text + k->path_at),
		     .body_max = f->o.body_max,
		     .deadline_ms = f->o.deadline_ms, /* ours, which began earlier, comes first */
		     .self_delimiting = true,         /* JSON */
	};

	if (f->o.tls == NULL)
		return ERR_TLS;
	return fetch_start(&k->fetch, f->o.loop, f->pool, &o, on_fetched, k);
}

/* ---- a name served here ---- */

/* ERR_OK: it is asked, or its address is on the way. */
static enum err ask_local(struct key_fetch *k)
{
	const struct key_fetcher *f = k->fetcher;
	struct fetch_options      o = {
		     .host = name_of(k),
		     .path = str_of(k->text + k->path_at),
		     .body_max = f->o.body_max,
		     .deadline_ms = f->o.deadline_ms,
		     .self_delimiting = true,
	};
	enum err e = upstream_target(k->local, &o.target, &k->wait);

	if (e == ERR_BUSY)
		return ERR_OK;
	return e == ERR_OK ? fetch_start(&k->fetch, f->o.loop, f->pool, &o, on_fetched, k) : e;
}

static void on_local_address(void *arg, enum err e)
{
	struct key_fetch *k = arg;

	if (e == ERR_CANCELLED)
		return;
	e = ask_local(k);
	if (e != ERR_OK)
		key_fetch_finish(k, e, STRL(""));
}

/* ---- where it is ---- */

static void on_resolved(void *arg, const struct resolve *run)
{
	struct key_fetch *k = arg;
	enum err          e = run->result.error;

	k->where = run->result;
	if (e == ERR_OK)
		e = ask(k);
	if (e != ERR_OK)
		key_fetch_finish(k, e, STRL(""));
}

static void on_again(void *arg)
{
	struct key_fetch *k = arg;
	enum err          e = k->where.error;

	if (e == ERR_OK)
		e = ask(k);
	if (e != ERR_OK)
		key_fetch_finish(k, e, STRL(""));
}

static enum err find(struct key_fetch *k)
{
	const struct key_fetcher *f = k->fetcher;
	const struct resolution  *known;

	k->local = f->o.local == NULL ? NULL : f->o.local(f->o.arg, name_of(k));
	if (k->local != NULL) {
		upstream_keep(k->local);
		return ask_local(k);
	}
	known = resolver_known(f->o.resolver, name_of(k));
	if (known == NULL)
		return lookup_start(&k->lookup, f->o.resolver, name_of(k), RESOLVE_FOR_FEDERATION,
		                    on_resolved, k);
	k->where = *known;
	soon_call(&k->again);
	return ERR_OK;
}

enum err key_fetch_start(struct key_fetch **slot, struct key_fetcher *f, struct str server_name,
                         struct str path, key_fetch_done_fn *done, void *arg)
{
	struct key_fetch *k = calloc(1, sizeof(*k) + server_name.len + path.len + 1);
	enum err          e;

	if (k == NULL)
		return ERR_NOMEM;
	k->fetcher = f;
	k->slot = slot;
	k->done = done;
	k->arg = arg;
	k->path_at = server_name.len;
	memcpy(k->text, server_name.ptr, server_name.len);
	memcpy(k->text + server_name.len, path.ptr, path.len);
	deadline_init(&k->deadline, f->o.loop, on_deadline, k);
	soon_init(&k->again, f->o.loop, on_again, k);
	k->wait = (struct upstream_wait){ .ready = on_local_address, .arg = k };
	list_init(&k->wait.link);
	e = find(k);
	if (e != ERR_OK) {
		key_fetch_free(k);
		return e;
	}
	deadline_in(&k->deadline, f->o.deadline_ms);
	*slot = k;
	return ERR_OK;
}

void key_fetch_cancel(struct key_fetch **slot)
{
	struct key_fetch *k = *slot;

	if (k == NULL)
		return;
	*slot = NULL;
	key_fetch_free(k);
}

/* ---- the fetcher ---- */

enum err key_fetcher_new(const struct key_fetcher_options *o, struct key_fetcher **out)
{
	struct http_pool_options pool = {
		.limits = { HEAD_MAX, HEAD_MAX, HEAD_MAX, H1_FIELDS_MAX },
		/* no ceiling but the keyring's own: who is slow must not hold back other connections */
	};
	struct key_fetcher *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return ERR_NOMEM;
	f->o = *o;
	f->o.deadline_ms = o->deadline_ms != 0 ? o->deadline_ms : DEADLINE_MS;
	f->o.body_max = o->body_max != 0 ? o->body_max : BODY_MAX;
	f->pool = http_pool_new(o->loop, &pool);
	if (f->pool == NULL) {
		free(f);
		return ERR_NOMEM;
	}
	if (o->tls != NULL)
		tls_client_keep(o->tls);
	*out = f;
	return ERR_OK;
}

void key_fetcher_set(struct key_fetcher *f, struct tls_client *tls)
{
	if (tls != NULL)
		tls_client_keep(tls);
	if (f->o.tls != NULL)
		tls_client_drop(f->o.tls);
	f->o.tls = tls;
}

void key_fetcher_free(struct key_fetcher *f)
{
	if (f == NULL)
		return;
	http_pool_free(f->pool);
	if (f->o.tls != NULL)
		tls_client_drop(f->o.tls);
	free(f);
}
