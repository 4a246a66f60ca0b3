/*
 * list.h - intrusive doubly linked list; an object is on exactly one list per link.
 *
 * A link that is on no list points to itself. The list head is a link too.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
	struct link *prev, *next;
};

#define LIST_ENTRY(link_ptr, type, member) \
	((type *)(void *)((char *)(link_ptr)-offsetof(type, member)))

static inline void list_init(struct link *l)
{
	l->prev = l->next = l;
}

static inline bool list_empty(const struct link *l)
{
	return l->next == l;
}

static inline void list_remove(struct link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	list_init(l);
}

static inline void list_push_back(struct link *head, struct link *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

static inline void list_push_front(struct link *head, struct link *l)
{
	list_push_back(head->next, l);
}

/* The first link, taken off; NULL when empty. */
static inline struct link *list_pop(struct link *head)
{
	struct link *l = head->next;

	if (l == head)
		return NULL;
	list_remove(l);
	return l;
}

#endif
