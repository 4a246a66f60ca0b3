#include "app/house_inside.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

static struct neighbour *neighbour_find(const struct house *h, const char *url)
{
	for (struct link *l = h->neighbours.next; l != &h->neighbours; l = l->next) {
		struct neighbour *n = LIST_ENTRY(l, struct neighbour, link);

		if (strcmp(n->url, url) == 0)
			return n;
	}
	return NULL;
}

struct upstream *house_upstream(void *arg, const struct homeserver_settings *hs)
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

struct reception *house_reception_for(void *arg, const struct homeserver_settings *hs)
{
	return house_reception(arg, hs);
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

enum err house_neighbours_add(struct house *h, const struct settings *s)
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

void house_neighbours_tell(struct house *h, const struct settings *s)
{
	for (struct link *l = h->neighbours.next; l != &h->neighbours; l = l->next) {
		struct neighbour                 *n = LIST_ENTRY(l, struct neighbour, link);
		const struct homeserver_settings *hs = homeserver_of(s, n->url);

		upstream_set(n->upstream, h->tls_client, h->dns);
		if (hs != NULL)
			upstream_limit(n->upstream, hs, &s->limits);
	}
}

/*
 * Receptions follow the settings: made where a homeserver now sleeps, retired where it no longer does; and made
 * anew where the earlier one had no queue, and there is one now.
 */
void house_receptions_set(struct house *h, const struct settings *s)
{
	for (struct link *l = h->neighbours.next; l != &h->neighbours; l = l->next) {
		struct neighbour                 *n = LIST_ENTRY(l, struct neighbour, link);
		const struct homeserver_settings *hs = homeserver_of(s, n->url);

		if (n->reception != NULL && n->reception->queue == h->queue && hs != NULL &&
		    hs->sleeps) {
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
void house_neighbours_prune(struct house *h, const struct settings *s)
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
