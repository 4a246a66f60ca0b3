#include "role/keyring_inside.h"

#include <stdlib.h>

#include "base/log.h"
#include "base/metrics.h"

#define ASK_AGAIN_MS    (5 * MINUTE_MS)
#define NOTARY_PAUSE_MS MINUTE_MS

enum { QUERY_PATH_MAX = 32 + 3 * SERVER_NAME_TEXT_MAX };

/* A fetch under way. */
struct asking {
	struct keyring   *ring;
	struct link       link;    /* on keyring->asking */
	struct link       waiters; /* struct key_lookup */
	size_t            waiting;
	struct key_fetch *fetch;
	enum err          why;    /* the origin itself did not do */
	size_t            notary; /* the next to be asked */
	bool              has_client;
	struct address    client; /* of a prefix */
	char              name[SERVER_NAME_TEXT_MAX + 1];
};

struct key_lookup {
	struct keyring     *ring;
	struct link         link; /* on asking->waiters, or on none */
	struct asking      *asking;
	struct key_lookup **slot;
	key_lookup_done_fn *done;
	void               *arg;
	struct soon         answer; /* what is known at once is told from the loop */
	enum err            err;
	char                name[SERVER_NAME_TEXT_MAX + 1];
};

struct server_keys_clock keyring_clock(const struct keyring *k)
{
	struct server_keys_clock c = { .now_unix_ms = loop_unix_ms(k->o.loop) };

	c.is_set = server_keys_is_plausible(c.now_unix_ms) &&
		(k->o.clock_is_set == NULL || k->o.clock_is_set(k->o.arg));
	return c;
}

/* ---- a fetch ---- */

static size_t client_fetches(const struct keyring *k, const struct address *prefix)
{
	size_t n = 0;

	for (const struct link *l = k->asking.next; l != &k->asking; l = l->next) {
		const struct asking *a = LIST_ENTRY(l, struct asking, link);

		n += a->has_client && address_equal(&a->client, prefix);
	}
	return n;
}

static void ask_notary(struct asking *a);

static struct asking *asking_find(struct keyring *k, struct str name)
{
	for (struct link *l = k->asking.next; l != &k->asking; l = l->next) {
		struct asking *a = LIST_ENTRY(l, struct asking, link);

		if (str_is(name, a->name))
			return a;
	}
	return NULL;
}

/* Off the list, so that nobody joins it any more. */
static void asking_leave(struct asking *a)
{
	list_remove(&a->link);
	a->ring->asking_count--;
	gauge_down(GAUGE_key_fetches_open);
}

static void asking_tell(struct asking *a, enum err e, const struct server_keys *keys)
{
	struct link *l;

	while ((l = list_pop(&a->waiters)) != NULL) {
		struct key_lookup *w = LIST_ENTRY(l, struct key_lookup, link);

		gauge_down(GAUGE_key_lookups_waiting);
		*w->slot = NULL;
		w->done(w->arg, e, keys);
		free(w);
	}
	free(a);
}

static void asking_fail(struct asking *a)
{
	count_cause(CAUSE_key_failures, a->why);
	if (log_begin(LOG_INFO, "keyring.failed")) {
		log_text("origin", a->name);
		log_err("error", a->why);
		log_end();
	}
	if (a->why != ERR_NOMEM)
		keyring_failed_note(a->ring, str_of(a->name), a->why);
	asking_leave(a);
	asking_tell(a, a->why, NULL);
}

static void log_changed(const char *name, size_t ids)
{
	count_add(COUNT_key_changed, ids);
	if (ids == 0 || !log_begin(LOG_WARN, "keyring.changed"))
		return;
	log_text("origin", name);
	log_num("ids", (int64_t)ids);
	log_end();
}

/* Adds what is fresh to what is known; keys becomes both. */
static void learn(struct keyring *k, struct server_keys *keys)
{
	char               bytes[SERVER_KEYS_BYTES_MAX];
	struct writer      w = writer_over(bytes, sizeof(bytes));
	struct str         name = str_of(keys->server_name);
	struct known      *old = keyring_known_get(k, name), *kn;
	struct failed     *failed = keyring_failed_find(k, name);
	uint64_t           vouched = old != NULL ? old->vouched_unix_ms : 0;
	struct server_keys all;

	if (failed != NULL)
		keyring_failed_drop(k, failed);
	if (old != NULL && keyring_known_keys(old, &all) == ERR_OK) {
		log_changed(all.server_name, server_keys_merge(&all, keys));
		*keys = all;
	}
	if (old != NULL)
		keyring_known_drop(k, old);
	server_keys_write(&w, keys);
	kn = keyring_known_add(k, str_of(keys->server_name), writer_done(&w), vouched);
	if (kn == NULL)
		return;
	kn->was_asked = true;
	kn->asked_at = keyring_now(k);
	if (vouched != 0)
		keyring_known_save(k, kn);
}

static void asking_succeed(struct asking *a, struct server_keys *keys)
{
	learn(a->ring, keys);
	asking_leave(a);
	asking_tell(a, ERR_OK, keys);
}

static void on_document(void *arg, enum err e, struct str body)
{
	struct asking     *a = arg;
	struct server_keys keys;

	if (e == ERR_OK)
		e = server_keys_parse(body, str_of(a->name), keyring_clock(a->ring), &keys);
	if (e == ERR_OK) {
		asking_succeed(a, &keys);
		return;
	}
	a->why = e;
	ask_notary(a);
}

static void on_notary(void *arg, enum err e, struct str body)
{
	struct asking                   *a = arg;
	struct keyring                  *k = a->ring;
	const struct server_keys_notary *n = &k->notaries[a->notary - 1];
	struct server_keys               keys;

	if (e != ERR_OK)
		k->notary_at[a->notary - 1] = keyring_now(k) + NOTARY_PAUSE_MS;
	else
		e = server_keys_parse_notary(body, str_of(a->name), n, keyring_clock(k), &keys);
	if (e == ERR_OK)
		asking_succeed(a, &keys);
	else
		ask_notary(a);
}

/* Server names hold nothing that needs escaping in a path but brackets. */
static void write_path_segment(struct writer *w, const char *name)
{
	for (; *name != '\0'; name++) {
		if (*name == '[')
			write_text(w, "%5B");
		else if (*name == ']')
			write_text(w, "%5D");
		else
			write_char(w, *name);
	}
}

static struct str notary_path(const struct asking *a, char room[QUERY_PATH_MAX])
{
	struct writer w = writer_over(room, QUERY_PATH_MAX);

	write_text(&w, "/_matrix/key/v2/query/");
	write_path_segment(&w, a->name);
	return writer_done(&w);
}

/* The next notary that may be asked; without one it is over. */
static void ask_notary(struct asking *a)
{
	struct keyring *k = a->ring;
	char            path[QUERY_PATH_MAX];

	while (a->notary < k->notary_count) {
		size_t i = a->notary++;

		if (keyring_now(k) < k->notary_at[i] ||
		    str_eq(str_of(a->name), str_of(k->notaries[i].name)))
			continue;
		count(COUNT_key_fetches_notary);
		if (key_fetch_start(&a->fetch, k->o.fetcher, str_of(k->notaries[i].name),
		                    notary_path(a, path), on_notary, a) == ERR_OK)
			return;
	}
	asking_fail(a);
}

static enum err ask(struct keyring *k, struct str name, const struct address *prefix,
                    struct asking **out)
{
	struct asking *a = calloc(1, sizeof(*a));
	enum err       e;

	if (a == NULL)
		return ERR_NOMEM;
	a->ring = k;
	a->has_client = prefix != NULL;
	if (prefix != NULL)
		a->client = *prefix;
	(void)str_copy(name, a->name, sizeof(a->name));
	list_init(&a->waiters);
	e = key_fetch_start(&a->fetch, k->o.fetcher, name, STRL("/_matrix/key/v2/server"),
	                    on_document, a);
	if (e != ERR_OK) {
		free(a);
		return e;
	}
	count(COUNT_key_fetches);
	list_push_back(&k->asking, &a->link);
	k->asking_count++;
	gauge_up(GAUGE_key_fetches_open);
	*out = a;
	return ERR_OK;
}

/* ---- a lookup ---- */

static bool has_good(const struct server_keys *keys, const struct str *ids, size_t count,
                     struct server_keys_clock clock, struct str *which)
{
	const struct signing_key *key;

	for (size_t i = 0; i < count; i++) {
		*which = ids[i];
		if (server_keys_find(keys, ids[i], clock, &key) == ERR_OK)
			return true;
	}
	return false;
}

static bool was_asked_lately(const struct keyring *k, const struct known *kn)
{
	return kn->was_asked && keyring_now(k) - kn->asked_at < ASK_AGAIN_MS;
}

static bool is_paused(struct keyring *k, struct str name, enum err *why)
{
	const struct failed *f = keyring_failed_find(k, name);

	if (f == NULL || keyring_now(k) >= f->until_at)
		return false;
	*why = f->why;
	return true;
}

static size_t places_left(const struct keyring *k, bool vouched)
{
	size_t max = KEYRING_FETCHES_MAX - (vouched ? 0 : KEYRING_FETCHES_RESERVED);

	return k->asking_count < max ? max - k->asking_count : 0;
}

/* Good keys late in their life, in the background. The reserved place is not for that. */
static void refresh(struct keyring *k, struct known *kn)
{
	struct asking *a;
	enum err       why;

	if (kn->vouched_unix_ms == 0 || was_asked_lately(k, kn) || places_left(k, false) == 0 ||
	    asking_find(k, keyring_known_name(kn)) != NULL ||
	    is_paused(k, keyring_known_name(kn), &why))
		return;
	(void)ask(k, keyring_known_name(kn), NULL, &a);
}

static enum err join(struct key_lookup *w, struct asking *a)
{
	if (a->waiting == KEYRING_WAITERS_MAX) {
		count(COUNT_key_refused_waiters);
		return ERR_BUSY;
	}
	a->waiting++;
	w->asking = a;
	list_push_back(&a->waiters, &w->link);
	gauge_up(GAUGE_key_lookups_waiting);
	return ERR_OK;
}

/* May there be one more fetch, for this client? */
static bool admit(struct keyring *k, const struct address *prefix, bool vouched)
{
	if (places_left(k, vouched) == 0) {
		count(COUNT_key_refused_places);
		return false;
	}
	if (prefix == NULL)
		return true;
	if (client_fetches(k, prefix) >= KEYRING_CLIENT_FETCHES_MAX ||
	    !keyring_client_take(k, prefix)) {
		count(COUNT_key_refused_client);
		return false;
	}
	return true;
}

static enum err ask_for(struct key_lookup *w, struct known *kn, const struct address *client)
{
	struct keyring *k = w->ring;
	struct str      name = str_of(w->name);
	struct address  prefix;
	bool            has_prefix = keyring_client_prefix(client, &prefix);
	struct asking  *a = asking_find(k, name);
	enum err        e;

	if (a != NULL) {
		count(COUNT_key_joined);
		return join(w, a);
	}
	if (is_paused(k, name, &e)) {
		count(COUNT_key_refused_paused);
		return e;
	}
	if (!admit(k, has_prefix ? &prefix : NULL, kn != NULL && kn->vouched_unix_ms != 0))
		return ERR_BUSY;
	e = ask(k, name, has_prefix ? &prefix : NULL, &a);
	return e == ERR_OK ? join(w, a) : e;
}

/* Without it no signature can be checked, so nothing is kept: worth one line. */
static void say_clock(struct keyring *k, bool is_set)
{
	if (k->lacks_clock == !is_set)
		return;
	k->lacks_clock = !is_set;
	log_say(is_set ? LOG_INFO : LOG_ERROR, "keyring.clock",
	        is_set ? "the clock is set now"
	               : "the clock is not set, so no signature can be checked and nothing is kept: "
	                 "let NTP or the hardware clock set it");
}

/* ERR_OK: w waits for a fetch, or what is known is the answer. Otherwise that is the answer. */
static enum err decide(struct key_lookup *w, const struct str *ids, size_t count_of,
                       const struct address *client)
{
	struct keyring          *k = w->ring;
	struct server_keys_clock clock = keyring_clock(k);
	struct known            *kn;
	struct server_keys       keys;
	struct str               id;

	say_clock(k, clock.is_set);
	if (!clock.is_set) {
		count(COUNT_key_refused_clock);
		return ERR_BUSY;
	}
	kn = keyring_known_get(k, str_of(w->name));
	if (kn == NULL || keyring_known_keys(kn, &keys) != ERR_OK)
		return ask_for(w, kn, client);
	if (has_good(&keys, ids, count_of, clock, &id)) {
		count(COUNT_key_cached);
		if (server_keys_wants_refresh(&keys, id, clock))
			refresh(k, kn);
		return ERR_OK;
	}
	if (asking_find(k, str_of(w->name)) == NULL && was_asked_lately(k, kn))
		return ERR_OK;
	return ask_for(w, kn, client);
}

static void on_answer(void *arg)
{
	struct key_lookup  *w = arg;
	const struct known *kn = w->err == ERR_OK ? keyring_known_get(w->ring, str_of(w->name))
						  : NULL;
	struct server_keys  keys;
	enum err            e = w->err;

	if (e == ERR_OK && (kn == NULL || keyring_known_keys(kn, &keys) != ERR_OK))
		e = ERR_BUSY; /* driven out since */
	*w->slot = NULL;
	w->done(w->arg, e, e == ERR_OK ? &keys : NULL);
	free(w);
}

enum err key_lookup_start(struct key_lookup **slot, struct keyring *k, struct str origin,
                          const struct str *key_ids, size_t count_of, const struct address *client,
                          key_lookup_done_fn *done, void *arg)
{
	struct key_lookup *w = calloc(1, sizeof(*w));
	struct server_name parsed;

	if (w == NULL)
		return ERR_NOMEM;
	if (server_name_parse(origin, &parsed) != ERR_OK ||
	    !str_copy(origin, w->name, sizeof(w->name))) {
		free(w);
		return ERR_SYNTAX;
	}
	w->ring = k;
	w->slot = slot;
	w->done = done;
	w->arg = arg;
	list_init(&w->link);
	soon_init(&w->answer, k->o.loop, on_answer, w);
	w->err = decide(w, key_ids, count_of, client);
	if (w->asking == NULL)
		soon_call(&w->answer);
	*slot = w;
	return ERR_OK;
}

void key_lookup_cancel(struct key_lookup **slot)
{
	struct key_lookup *w = *slot;

	if (w == NULL)
		return;
	*slot = NULL;
	soon_clear(&w->answer);
	if (w->asking != NULL) {
		w->asking->waiting--;
		list_remove(&w->link);
		gauge_down(GAUGE_key_lookups_waiting);
	}
	free(w);
}

/* ---- the keyring ---- */

void keyring_set_notaries(struct keyring *k, const struct server_keys_notary *n, size_t count_of)
{
	k->notary_count = 0;
	for (size_t i = 0; i < count_of && k->notary_count < KEYRING_NOTARIES_MAX; i++)
		if (n[i].count > 0) {
			k->notaries[k->notary_count] = n[i];
			k->notary_at[k->notary_count++] = 0;
		}
}

enum err keyring_new(const struct keyring_options *o, struct keyring **out)
{
	struct keyring *k = calloc(1, sizeof(*k));

	if (k == NULL)
		return ERR_NOMEM;
	k->o = *o;
	keyring_set_notaries(k, o->notaries, o->notary_count);
	k->o.notaries = NULL;
	list_init(&k->vouched);
	list_init(&k->strangers);
	list_init(&k->failed);
	list_init(&k->asking);
	metrics.gauges[GAUGE_key_fetches_open].limit = KEYRING_FETCHES_MAX;
	metrics.gauges[GAUGE_key_lookups_waiting].limit = KEYRING_FETCHES_MAX * KEYRING_WAITERS_MAX;
	*out = k;
	return ERR_OK;
}

void keyring_figures(const struct keyring *k, struct keyring_figures *out)
{
	*out = (struct keyring_figures){ .known = k->vouched_count + k->stranger_count,
		                         .known_bytes = k->known_bytes,
		                         .vouched = k->vouched_count,
		                         .failed = k->failed_count,
		                         .failed_bytes = k->failed_bytes,
		                         .fetches = k->asking_count,
		                         .clients = k->client_count };
	for (const struct link *l = k->asking.next; l != &k->asking; l = l->next)
		out->waiting += LIST_ENTRY(l, struct asking, link)->waiting;
}

void keyring_free(struct keyring *k)
{
	struct link *l;

	if (k == NULL)
		return;
	while ((l = k->asking.next) != &k->asking) {
		struct asking *a = LIST_ENTRY(l, struct asking, link);

		check(list_empty(&a->waiters));
		key_fetch_cancel(&a->fetch);
		asking_leave(a);
		free(a);
	}
	while ((l = k->failed.next) != &k->failed)
		keyring_failed_drop(k, LIST_ENTRY(l, struct failed, link));
	while ((l = k->strangers.next) != &k->strangers)
		keyring_known_drop(k, LIST_ENTRY(l, struct known, link));
	while ((l = k->vouched.next) != &k->vouched)
		keyring_known_drop(k, LIST_ENTRY(l, struct known, link));
	free(k);
}
