#include "app/house_inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/sandbox.h"

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

/* Do we listen there ourselves, on another address with that port, or for others? */
static bool is_ours(const struct house *h, const struct endpoint *ep)
{
	for (struct link *l = h->doorways.next; l != &h->doorways; l = l->next) {
		const struct endpoint *other = &LIST_ENTRY(l, struct doorway, link)->endpoint;

		if (ep->path[0] != '\0'
		            ? strcmp(ep->path, other->path) == 0
		            : other->path[0] == '\0' && other->address.port == ep->address.port)
			return true;
	}
	return false;
}

static void explain_listen(const struct house *h, struct house_fault *fault, enum err e,
                           const struct endpoint *ep)
{
	char where[128];

	endpoint_text(ep, where, sizeof(where));
	if (e == ERR_EXISTS && is_ours(h, ep))
		house_explain(fault, "%s is open already, for another purpose: restart doorstep",
		              where);
	else if (e == ERR_EXISTS)
		house_explain(
			fault,
			"%s is in use by another program; stop that one or choose another port "
			"(`doorstep check` says who it is)",
			where);
	else if (e == ERR_DENIED && sandbox_entered())
		house_explain(fault,
		              "%s: a port below 1024 is opened at the start only: restart doorstep",
		              where);
	else if (e == ERR_DENIED)
		house_explain(
			fault,
			"%s: permission denied; ports below 1024 need root or CAP_NET_BIND_SERVICE",
			where);
	else if (e == ERR_UNREACHABLE)
		house_explain(
			fault,
			"%s: this machine has no such address; correct the listener's address",
			where);
	else
		house_explain(fault, "%s: cannot listen: %s", where, strerror(errno));
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

void house_inbound_full(void *arg, bool full)
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

void house_doorway_close(struct doorway *d)
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
		explain_listen(h, fault, e, ep);
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
		.reception = house_reception_for,
		.answers = h->answers,
		.arg = h,
		.gate = h->gate,
	};
	enum err e;

	if (d->outbound != NULL)
		return ERR_OK;
	e = outbound_new(&o, &d->outbound);
	if (e == ERR_UNSUPPORTED)
		house_explain(fault, "outbound '%s': this doorstep was built without outbound",
		              section->section);
	if (e == ERR_OK)
		outbound_on_full(d->outbound, on_full, d);
	return e;
}

/* The TCP ports alone. Their connections wait in the kernel: nobody accepts until the loop runs. */
enum err house_doorways_bind(struct house *h, const struct settings *s, struct house_fault *fault)
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

enum err house_doorways_want(struct house *h, struct settings *s, struct house_fault *fault)
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
void house_doorways_settle(struct house *h, const struct settings *s)
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
			house_doorway_close(d);
	}
}

void house_doorways_reload(struct house *h, struct settings *s)
{
	for (size_t i = 0; i < s->outbound_count; i++) {
		struct doorway *d = doorway_find(h, DOORWAY_OUTBOUND, &s->outbounds[i].endpoint);

		outbound_reload(d->outbound, s, &s->outbounds[i], h->tls_client);
	}
}
