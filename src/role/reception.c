#include "role/reception.h"

#include <stdio.h>
#include <stdlib.h>

#include "fed/transaction.h"

enum { DRAIN_PARALLEL = 3, DRAIN_PACE_MS = 20, DRAIN_ANSWER_MS = 5 * 60 * 1000, KB = 1024 };

/* Body bytes: of one that is acknowledged early, and of all that are held together. tests/support/budget.py
   adds them up with everything else. */
static const struct ceilings {
	unsigned memory_class;
	size_t   early, copies;
} ceilings[] = {
	{ 512, 12800 * KB, 28 * 1024 * KB },
	{ 256, 12800 * KB, 14 * 1024 * KB },
	{ 128, 4096 * KB, 8 * 1024 * KB },
	{ 64, 1024 * KB, 2560 * KB },
};

static const struct ceilings *ceilings_of(unsigned memory_class)
{
	const struct ceilings *c = ceilings;

	while (c->memory_class > memory_class && c->memory_class > 64)
		c++;
	return c;
}

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* A single body of the largest kind fits everywhere. */
static void reception_share(struct reception *r, unsigned memory_class)
{
	size_t all = ceilings_of(memory_class)->copies, one = ceilings_of(memory_class)->early;

	r->early_max = one;
	r->copies.max = all;
	r->strangers.max = larger(all / 4 * 3, one);
	r->strangers.whole = &r->copies;
	for (size_t i = 0; i < RECEPTION_NETWORKS; i++) {
		r->networks[i].max = larger(all / 4, one);
		r->networks[i].whole = &r->strangers;
	}
}

struct copies *reception_copies(struct reception *r, const struct gate_visit *v)
{
	if (gate_is_verified(v))
		return &r->copies;
	return v->network == 0 ? &r->strangers : &r->networks[v->network % RECEPTION_NETWORKS];
}

static bool serves(void *arg, struct str server_name)
{
	struct reception             *r = arg;
	const struct domain_settings *d =
		r->settings == NULL ? NULL : settings_domain(r->settings, server_name);

	return d != NULL && d->homeserver != NULL && strcmp(d->homeserver->url, r->url) == 0;
}

static void on_heard(void *arg, bool reached)
{
	reception_heard(arg, reached);
}

static void on_emptied(void *arg)
{
	struct reception *r = arg;

	sleeper_drained(r->sleeper);
}

static void on_drain(void *arg)
{
	struct reception *r = arg;

	drain_open(r->drain);
}

/*
 * A machine that was suspended or lost its power says nothing: connections to it stay open, and what was
 * asked on them would wait for an answer longer than the askers do.
 */
static void reception_gone(struct reception *r)
{
	struct link leaving;

	list_init(&leaving);
	while (!list_empty(&r->guests))
		list_push_back(&leaving, list_pop(&r->guests));
	while (!list_empty(&leaving)) {
		struct reception_guest *g =
			LIST_ENTRY(list_pop(&leaving), struct reception_guest, link);

		g->left(g->arg);
	}
	if (r->drain != NULL)
		drain_abandon(r->drain);
}

/* A server_name that this homeserver has. */
static const char *name_of(void *arg, size_t n)
{
	const struct reception *r = arg;
	const struct settings  *s = r->settings;

	for (size_t i = 0; s != NULL && i < s->domain_count; i++) {
		const struct domain_settings *d = &s->domains[i];

		if (d->homeserver != NULL && strcmp(d->homeserver->url, r->url) == 0 && n-- == 0)
			return d->server_name;
	}
	return NULL;
}

/* After a reload the last who leaves may be the last to need us. */
static void on_changed(void *arg)
{
	struct reception *r = reception_keep(arg);

	if (r->own_keys != NULL)
		own_keys_set(r->own_keys, sleeper_state(r->sleeper) == AWAKE_AWAKE);

	if (r->drain != NULL && !sleeper_relays(r->sleeper))
		drain_close(r->drain);
	if (sleeper_state(r->sleeper) == AWAKE_ASLEEP || sleeper_state(r->sleeper) == AWAKE_WAKING)
		reception_gone(r);
	reception_drop(r);
}

void guest_init(struct reception_guest *g, void (*left)(void *arg), void *arg)
{
	list_init(&g->link);
	g->left = left;
	g->arg = arg;
}

void guest_enter(struct reception *r, struct reception_guest *g)
{
	list_push_back(&r->guests, &g->link);
}

void guest_leave(struct reception_guest *g)
{
	list_remove(&g->link);
}

void reception_heard(struct reception *r, bool reached)
{
	if (reached)
		sleeper_succeeded(r->sleeper);
	else
		sleeper_failed(r->sleeper);
}

void reception_took(struct reception *r)
{
	if (r->drain != NULL)
		drain_took_other(r->drain);
}

void reception_kept(struct reception *r, unsigned parts)
{
	if ((parts & TRANSACTION_TO_DEVICE) != 0)
		sleeper_wish(r->sleeper, AWAKE_TO_DEVICE);
	if ((parts & TRANSACTION_MESSAGE) != 0)
		sleeper_wish(r->sleeper, AWAKE_MESSAGE);
	reception_lane_left(r);
}

void reception_lane_left(struct reception *r)
{
	if (r->drain == NULL)
		return;
	/* also what was found in the way of a live one while it is awake */
	if (sleeper_relays(r->sleeper))
		drain_open(r->drain);
}

static bool has_outbound(const struct settings *s, const struct homeserver_settings *hs)
{
	for (size_t i = 0; i < s->outbound_count; i++)
		if (s->outbounds[i].homeserver != NULL &&
		    strcmp(s->outbounds[i].homeserver->url, hs->url) == 0 &&
		    s->outbounds[i].mode == OUTBOUND_MATRIX_FEDERATION)
			return true;
	return false;
}

void reception_set(struct reception *r, const struct settings *s,
                   const struct homeserver_settings *hs, struct upstream *u)
{
	r->settings = s;
	r->is_hidden = false;
	r->is_seen = r->is_seen && has_outbound(s, hs);
	reception_share(r, s->limits.memory_class);
	r->vigils.max = s->limits.inbound_connections / 4;
	sleeper_set(r->sleeper, hs, u);
	if (r->own_keys != NULL)
		own_keys_upstream(r->own_keys, u);
	reception_lane_left(r); /* a domain that came back may have left something */
}

void reception_saw(struct reception *r, bool hidden)
{
	r->is_seen = r->is_seen || !hidden;
	r->is_hidden = r->is_hidden || hidden;
}

bool reception_sees_all(const struct reception *r)
{
	return r->is_seen && !r->is_hidden;
}

struct reception *reception_keep(struct reception *r)
{
	r->refs++;
	return r;
}

void reception_retire(struct reception *r)
{
	if (r == NULL)
		return;
	r->settings = NULL;
	if (r->drain != NULL)
		drain_close(r->drain);
	if (r->own_keys != NULL)
		own_keys_set(r->own_keys, false);
	reception_drop(r);
}

enum err reception_new(const struct reception_options *o, struct reception **out)
{
	struct reception      *r = calloc(1, sizeof(*r));
	struct sleeper_options sleeper = { .loop = o->loop,
		                           .hs = o->homeserver,
		                           .upstream = o->upstream,
		                           .drain = o->queue == NULL ? NULL : on_drain,
		                           .changed = on_changed,
		                           .arg = r };
	struct drain_options   drain = {
		  .loop = o->loop,
		  .queue = o->queue,
		  .upstream = o->upstream,
		  .parallel = DRAIN_PARALLEL,
		  .in_hand_max = ceilings_of(o->settings->limits.memory_class)->early,
		  .pace_ms = DRAIN_PACE_MS,
		  .answer_ms = DRAIN_ANSWER_MS,
		  .serves = serves,
		  .heard = on_heard,
		  .emptied = on_emptied,
		  .arg = r,
	};
	struct own_keys_options own_keys = { .loop = o->loop,
		                             .answers = o->answers,
		                             .upstream = o->upstream,
		                             .name = name_of,
		                             .arg = r };
	enum err                e = ERR_OK;

	if (r == NULL)
		return ERR_NOMEM;
	r->refs = 1;
	r->settings = o->settings;
	snprintf(r->url, sizeof(r->url), "%s", o->homeserver->url);
	r->queue = o->queue;
	r->verifier = o->verifier;
	r->keyring = o->keyring;
	reception_share(r, o->settings->limits.memory_class);
	list_init(&r->guests);
	lanes_init(&r->lanes);
	vigils_init(&r->vigils, o->settings->limits.inbound_connections / 4);
	drain.lanes = &r->lanes;
	if (o->queue != NULL)
		e = drain_new(&drain, &r->drain);
	if (e == ERR_OK && o->answers != NULL)
		e = own_keys_new(&own_keys, &r->own_keys);
	if (e == ERR_OK)
		e = sleeper_new(&sleeper, &r->sleeper);
	if (e != ERR_OK) {
		reception_drop(r);
		return e;
	}
	*out = r;
	return ERR_OK;
}

void reception_drop(struct reception *r)
{
	if (r == NULL || --r->refs > 0)
		return;
	drain_free(r->drain);
	own_keys_free(r->own_keys);
	sleeper_free(r->sleeper);
	free(r);
}
