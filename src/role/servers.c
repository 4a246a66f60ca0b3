#include "role/servers.h"

#include <stdlib.h>

/* The ceiling of one server, as long as anybody has a place below it or waits. */
struct server_entry {
	struct link  link;
	size_t       refs;
	struct limit limit;
	char         name[256];
};

struct servers {
	struct loop *loop;
	struct limit all;
	size_t       each_max;
	struct link  entries;
};

struct servers *servers_new(struct loop *l, size_t all_max, size_t each_max)
{
	struct servers *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	s->loop = l;
	s->each_max = each_max;
	list_init(&s->entries);
	limit_init(&s->all, GAUGE_server_connections_open, all_max);
	return s;
}

void servers_free(struct servers *s)
{
	if (s == NULL)
		return;
	check(list_empty(&s->entries));
	free(s);
}

void servers_set(struct servers *s, size_t all_max, size_t each_max)
{
	s->each_max = each_max;
	limit_set_max(&s->all, all_max);
	for (struct link *l = s->entries.next; l != &s->entries; l = l->next)
		limit_set_max(&LIST_ENTRY(l, struct server_entry, link)->limit, each_max);
}

static struct server_entry *entry_of(struct servers *s, struct str name)
{
	struct server_entry *e;

	for (struct link *l = s->entries.next; l != &s->entries; l = l->next)
		if (str_is(name, LIST_ENTRY(l, struct server_entry, link)->name))
			return LIST_ENTRY(l, struct server_entry, link);
	e = calloc(1, sizeof(*e));
	if (e == NULL)
		return NULL;
	(void)str_copy(str_head(name, sizeof(e->name) - 1), e->name, sizeof(e->name));
	limit_init(&e->limit, GAUGE_COUNT, s->each_max);
	list_push_back(&s->entries, &e->link);
	return e;
}

static void entry_drop(struct server_entry *e)
{
	if (--e->refs > 0)
		return;
	list_remove(&e->link);
	free(e);
}

static void on_all(void *arg)
{
	struct servers_place *p = arg;

	p->has_all = true;
	p->granted(p->arg);
}

static void on_each(void *arg)
{
	struct servers_place *p = arg;

	p->has_each = true;
	if (limit_enter(&p->servers->all, &p->all))
		on_all(p);
}

void servers_place_init(struct servers_place *p, struct loop *l, struct servers *s,
                        deadline_fn *granted, void *arg)
{
	*p = (struct servers_place){ .servers = s, .granted = granted, .arg = arg };
	limit_wait_init(&p->each, l, on_each, p);
	limit_wait_init(&p->all, l, on_all, p);
}

bool servers_enter(struct servers_place *p, struct str name)
{
	p->entry = entry_of(p->servers, name);
	if (p->entry != NULL) {
		p->entry->refs++;
		p->has_each = limit_enter(&p->entry->limit, &p->each);
		if (!p->has_each)
			return false;
	}
	p->has_all = limit_enter(&p->servers->all, &p->all);
	return p->has_all;
}

void servers_leave(struct servers_place *p)
{
	limit_wait_cancel(&p->all);
	limit_wait_cancel(&p->each);
	if (p->has_all)
		limit_leave(&p->servers->all);
	if (p->has_each)
		limit_leave(&p->entry->limit);
	if (p->entry != NULL)
		entry_drop(p->entry);
	p->has_all = p->has_each = false;
	p->entry = NULL;
}

void servers_move(struct servers_place *p, struct servers_place *to)
{
	check(p->has_all && to->entry == NULL);
	to->entry = p->entry;
	to->has_each = p->has_each;
	to->has_all = true;
	p->entry = NULL;
	p->has_each = p->has_all = false;
}
