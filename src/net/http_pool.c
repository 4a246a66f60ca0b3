#include "net/http_pool.h"

#include <stdlib.h>

struct http_pool *http_pool_new(struct loop *l, const struct http_pool_options *o)
{
	struct http_pool *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->loop = l;
	p->options = *o;
	list_init(&p->idle);
	return p;
}

void http_kept_free(struct http_kept *k)
{
	if (!list_empty(&k->link)) {
		list_remove(&k->link);
		k->pool->count--;
	}
	deadline_clear(&k->deadline);
	soon_clear(&k->soon);
	stream_close(k->stream);
	free(k);
}

static void on_kept_over(void *arg)
{
	http_kept_free(arg);
}

/* Whatever an idle connection says, it has nothing to say. */
static void on_kept_wake(void *arg)
{
	struct http_kept *k = arg;

	if (stream_ended(k->stream) == ERR_OK && stream_peek(k->stream).len == 0)
		return;
	if (!list_empty(&k->link)) { /* out of reach at once, freed outside its own callback */
		list_remove(&k->link);
		k->pool->count--;
	}
	soon_call(&k->soon);
}

static bool is_to(const struct http_kept *k, const struct endpoint *to, const char *tls_name)
{
	return address_equal(&k->to.address, &to->address) && strcmp(k->to.path, to->path) == 0 &&
		strcmp(k->tls_name, tls_name) == 0;
}

static size_t pool_count_target(const struct http_pool *p, const struct http_kept *like)
{
	size_t n = 0;

	for (struct link *l = p->idle.next; l != &p->idle; l = l->next)
		n += is_to(LIST_ENTRY(l, struct http_kept, link), &like->to, like->tls_name);
	return n;
}

void http_pool_put(struct http_pool *p, struct http_kept *k)
{
	if (p->options.idle_max == 0 || k->era != p->era ||
	    pool_count_target(p, k) >= p->options.idle_per_target_max) {
		http_kept_free(k);
		return;
	}
	if (p->count >= p->options.idle_max)
		http_kept_free(LIST_ENTRY(p->idle.next, struct http_kept, link));
	list_push_back(&p->idle, &k->link);
	p->count++;
	stream_own(k->stream, on_kept_wake, k);
	deadline_in(&k->deadline, p->options.idle_ms);
}

struct http_kept *http_pool_take(struct http_pool *p, const struct endpoint *to,
                                 const char *tls_name)
{
	/* the most recently used is the most likely to be alive */
	for (struct link *l = p->idle.prev, *next; l != &p->idle; l = next) {
		struct http_kept *k = LIST_ENTRY(l, struct http_kept, link);

		next = l->prev;
		if (!is_to(k, to, tls_name))
			continue;
		if (!stream_is_quiet(k->stream)) { /* its wake is still to come */
			http_kept_free(k);
			continue;
		}
		list_remove(&k->link);
		p->count--;
		deadline_clear(&k->deadline);
		return k;
	}
	return NULL;
}

size_t http_pool_idle(const struct http_pool *p)
{
	return p->count;
}

void http_pool_clear(struct http_pool *p)
{
	p->era++;
	while (!list_empty(&p->idle))
		http_kept_free(LIST_ENTRY(p->idle.next, struct http_kept, link));
}

void http_pool_set(struct http_pool *p, const struct http_pool_options *o)
{
	p->options = *o;
	while (p->count > o->idle_max)
		http_kept_free(LIST_ENTRY(p->idle.next, struct http_kept, link));
}

void http_pool_free(struct http_pool *p)
{
	if (p == NULL)
		return;
	http_pool_clear(p);
	free(p);
}

struct http_kept *http_kept_new(struct http_pool *p, struct stream *st,
                                const struct endpoint *reached, const char *tls_name)
{
	struct http_kept *k = calloc(1, sizeof(*k));

	if (k == NULL) {
		stream_close(st);
		return NULL;
	}
	k->pool = p;
	k->stream = st;
	k->era = p->era;
	k->to = *reached;
	(void)str_copy(str_of(tls_name), k->tls_name, sizeof(k->tls_name));
	list_init(&k->link);
	deadline_init(&k->deadline, p->loop, on_kept_over, k);
	soon_init(&k->soon, p->loop, on_kept_over, k);
	return k;
}
