#include "store/env_look.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/str.h"

/* A tree, as both heads describe it. */
struct tree {
	uint32_t page_size; /* of the first tree: the file's */
	uint16_t flags, depth;
	size_t   branch_pages, leaf_pages, overflow_pages, entries, root;
};

/* The first two pages. Only read here, never written. */
struct meta_page {
	size_t      number;
	uint16_t    pad, flags;
	uint32_t    bounds;
	uint32_t    magic, version;
	size_t      address, map_bytes;
	struct tree trees[2]; /* what is free; what is stored */
	size_t      last_page, transaction;
};

enum {
	PAGE_BRANCH = 0x01,
	PAGE_LEAF = 0x02,
	PAGE_OVERFLOW = 0x04,
	PAGE_META = 0x08,
	PAGE_KINDS = PAGE_BRANCH | PAGE_LEAF | PAGE_OVERFLOW | PAGE_META |
		0x60,    /* and of duplicates */
	NODE_BIG = 0x01, /* its value is on pages of its own */
	NODE_KINDS = 0x07,
	NODE_HEAD = 8,
	META_VERSION = 1,
	DEPTH_MAX = 32, /* LMDB's */
	KEY_MAX = 511,
	FIRST_PAGE = 2, /* behind the heads */
};

static const uint32_t meta_magic = 0xBEEFC0DE;

struct page_head { /* of every page */
	size_t   number;
	uint16_t pad, flags;
	uint16_t lower, upper; /* free space; or, as one number, how many pages a value has */
};

struct key {
	char   bytes[KEY_MAX];
	size_t len;
	bool   is_set;
};

struct look {
	int        fd;
	size_t     page_size, last_page;
	uint8_t   *used; /* a bit for each page */
	bool       free_tree;
	size_t     entries;
	struct key before,
		at_least; /* the latest key; what the branch above promises of the next one */
	const char *why;
};

/* --- heads --- */

static bool is_page_size(uint32_t n)
{
	return n >= 512 && n <= 65536 && (n & (n - 1)) == 0;
}

static bool read_at(int fd, void *room, size_t len, uint64_t at)
{
	char *to = room;

	while (len > 0) {
		ssize_t n = pread(fd, to, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		to += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return true;
}

static bool read_meta(int fd, uint64_t at, struct meta_page *m)
{
	return read_at(fd, m, sizeof(*m), at) && (m->flags & PAGE_META) && m->magic == meta_magic &&
		m->version == META_VERSION && is_page_size(m->trees[0].page_size);
}

/* A root is a page of the file, or absent. */
static bool is_root(const struct meta_page *m, size_t root)
{
	return root == SIZE_MAX || (root >= FIRST_PAGE && root <= m->last_page);
}

/* --- pages --- */

static bool bad(struct look *l, const char *why)
{
	if (l->why == NULL)
		l->why = why;
	return false;
}

static bool take_page(struct look *l, size_t number)
{
	uint8_t bit = (uint8_t)(1u << (number & 7));

	if (number < FIRST_PAGE || number > l->last_page)
		return bad(l, "points outside itself");
	if (l->used[number >> 3] & bit)
		return bad(l, "uses a page twice");
	l->used[number >> 3] |= bit;
	return true;
}

static bool take_pages(struct look *l, size_t number, size_t count)
{
	if (count == 0 || number > l->last_page || count > l->last_page - number + 1)
		return bad(l, "points outside itself");
	while (count-- > 0)
		if (!take_page(l, number++))
			return false;
	return true;
}

static struct page_head head_of(const char *page)
{
	struct page_head h;

	memcpy(&h, page, sizeof(h));
	return h;
}

static size_t node_count(const char *page)
{
	return (head_of(page).lower - sizeof(struct page_head)) / 2;
}

/* LMDB aborts on a branch of one, but for the tree of what is free. */
static size_t least_nodes(const struct look *l, uint16_t kind)
{
	return kind == PAGE_BRANCH && !l->free_tree ? 2 : 1;
}

/* A page of a tree, with bounds that make sense. */
static bool read_page(struct look *l, size_t number, uint16_t kind, char *page)
{
	struct page_head h;

	if (!take_page(l, number))
		return false;
	if (!read_at(l->fd, page, l->page_size, (uint64_t)number * l->page_size))
		return bad(l, "cannot be read");
	h = head_of(page);
	if (h.number != number || (h.flags & PAGE_KINDS) != kind || h.lower < sizeof(h) ||
	    h.lower > h.upper || h.upper > l->page_size || (h.lower & 1) ||
	    node_count(page) < least_nodes(l, kind))
		return bad(l, "has a damaged page");
	return true;
}

struct node {
	uint16_t    flags;
	size_t      size;            /* on the page */
	size_t      data_len, child; /* of a leaf; of a branch */
	struct str  key;
	const char *data;
};

static size_t align_even(size_t n)
{
	return (n + 1) & ~(size_t)1;
}

static uint16_t u16_at(const char *at)
{
	uint16_t n;

	memcpy(&n, at, sizeof(n));
	return n;
}

/* The two halves of a length stand in the order that makes them one number. */
static size_t length_at(const char *at)
{
	uint32_t n;

	memcpy(&n, at, sizeof(n));
	return n;
}

static bool read_node(struct look *l, const char *page, size_t i, struct node *node)
{
	size_t      at = u16_at(page + sizeof(struct page_head) + 2 * i);
	const char *p = page + at;
	bool        is_leaf = (head_of(page).flags & PAGE_LEAF) != 0;

	if (at < head_of(page).upper || (at & 1) || at + NODE_HEAD > l->page_size)
		return bad(l, "has a damaged page");
	node->flags = u16_at(p + 4);
	node->key = str_span(p + NODE_HEAD, u16_at(p + 6));
	node->data_len = node->child = length_at(p);
#if SIZE_MAX > 0xffffffff
	node->child |= (size_t)node->flags << 32;
#endif
	node->size = NODE_HEAD + node->key.len;
	if (is_leaf)
		node->size += node->flags & NODE_BIG ? sizeof(size_t) : node->data_len;
	if (node->key.len > KEY_MAX || (is_leaf && (node->flags & NODE_KINDS & ~NODE_BIG)) ||
	    node->size > l->page_size - at)
		return bad(l, "has a damaged page");
	node->data = p + NODE_HEAD + node->key.len;
	return true;
}

/* Nodes do not lie over each other. */
static bool check_sizes(struct look *l, const char *page)
{
	size_t      sum = 0;
	struct node node;

	for (size_t i = 0; i < node_count(page); i++) {
		if (!read_node(l, page, i, &node))
			return false;
		sum += align_even(node.size);
	}
	return sum <= l->page_size - head_of(page).upper || bad(l, "has a damaged page");
}

/* --- keys --- */

static int compare(const struct look *l, struct str a, struct str b)
{
	size_t n = a.len < b.len ? a.len : b.len, x, y;
	int    d;

	if (l->free_tree && a.len == sizeof(x) && b.len == sizeof(y)) {
		memcpy(&x, a.ptr, sizeof(x));
		memcpy(&y, b.ptr, sizeof(y));
		return x < y ? -1 : x > y;
	}
	d = n == 0 ? 0 : memcmp(a.ptr, b.ptr, n);
	return d != 0 ? d : a.len < b.len ? -1 : a.len > b.len;
}

static void set_key(struct key *k, struct str s)
{
	memcpy(k->bytes, s.ptr, s.len);
	k->len = s.len;
	k->is_set = true;
}

static bool check_leaf_key(struct look *l, struct str key)
{
	if (key.len == 0 || (l->free_tree && key.len != sizeof(size_t)))
		return bad(l, "has a damaged key");
	if (l->before.is_set && compare(l, key, str_span(l->before.bytes, l->before.len)) <= 0)
		return bad(l, "has its keys out of order");
	if (l->at_least.is_set && compare(l, key, str_span(l->at_least.bytes, l->at_least.len)) < 0)
		return bad(l, "has its keys out of order");
	l->at_least.is_set = false;
	set_key(&l->before, key);
	return true;
}

/* The key in a branch stands for all below it; the first one of each branch stands for nothing. */
static bool check_branch_key(struct look *l, size_t i, struct str key)
{
	if (i == 0)
		return true;
	if (key.len == 0 || (l->free_tree && key.len != sizeof(size_t)) ||
	    (l->before.is_set && compare(l, key, str_span(l->before.bytes, l->before.len)) <= 0))
		return bad(l, "has its keys out of order");
	set_key(&l->at_least, key);
	return true;
}

/* --- values --- */

static bool check_big(struct look *l, const struct node *node, size_t *number)
{
	struct page_head h;
	uint32_t         pages;

	memcpy(number, node->data, sizeof(*number));
	if (*number < FIRST_PAGE || *number > l->last_page)
		return bad(l, "points outside itself");
	if (!read_at(l->fd, &h, sizeof(h), (uint64_t)*number * l->page_size))
		return bad(l, "cannot be read");
	memcpy(&pages, &h.lower, sizeof(pages));
	if (h.number != *number || (h.flags & PAGE_KINDS) != PAGE_OVERFLOW || pages == 0 ||
	    node->data_len > (uint64_t)pages * l->page_size - sizeof(h))
		return bad(l, "has a damaged page");
	return take_pages(l, *number, pages);
}

/* A list of free pages: how many, then their numbers, falling. None may be in use. */
static bool check_free_list(struct look *l, const char *data, size_t len)
{
	size_t count, number, before = SIZE_MAX;

	if (len < sizeof(count))
		return bad(l, "has a damaged list of free pages");
	memcpy(&count, data, sizeof(count));
	if (count > len / sizeof(count) - 1)
		return bad(l, "has a damaged list of free pages");
	for (size_t i = 1; i <= count; i++) {
		memcpy(&number, data + i * sizeof(number), sizeof(number));
		if (number >= before)
			return bad(l, "has a damaged list of free pages");
		before = number;
		if (!take_page(l, number))
			return false;
	}
	return true;
}

static bool check_big_free_list(struct look *l, size_t number, size_t len)
{
	char *data = malloc(len + 1);
	bool  ok = data != NULL &&
		read_at(l->fd, data, len,
	                (uint64_t)number * l->page_size + sizeof(struct page_head));

	if (ok)
		ok = check_free_list(l, data, len);
	else
		bad(l, "cannot be read");
	free(data);
	return ok;
}

static bool check_leaf_node(struct look *l, const struct node *node)
{
	size_t number;

	l->entries++;
	if (!check_leaf_key(l, node->key))
		return false;
	if (!(node->flags & NODE_BIG))
		return !l->free_tree || check_free_list(l, node->data, node->data_len);
	if (!check_big(l, node, &number))
		return false;
	return !l->free_tree || check_big_free_list(l, number, node->data_len);
}

static bool check_leaf(struct look *l, const char *page)
{
	struct node node;

	for (size_t i = 0; i < node_count(page); i++)
		if (!read_node(l, page, i, &node) || !check_leaf_node(l, &node))
			return false;
	return true;
}

/* --- trees --- */

/* Where we are in each level; the root is level 0. */
struct walk {
	char  *pages[DEPTH_MAX];
	size_t next[DEPTH_MAX]; /* node to look at */
};

static bool enter(struct look *l, struct walk *w, unsigned level, size_t number, bool is_leaf)
{
	if (w->pages[level] == NULL)
		w->pages[level] = malloc(l->page_size);
	if (w->pages[level] == NULL)
		return bad(l, "is too much for the memory");
	w->next[level] = 0;
	return read_page(l, number, is_leaf ? PAGE_LEAF : PAGE_BRANCH, w->pages[level]) &&
		check_sizes(l, w->pages[level]);
}

static bool walk_tree(struct look *l, struct walk *w, const struct tree *t)
{
	unsigned    bottom = t->depth - 1u, level = 0;
	struct node node;

	if (!enter(l, w, 0, t->root, bottom == 0))
		return false;
	for (;;) {
		if (level == bottom) {
			if (!check_leaf(l, w->pages[level]))
				return false;
		} else if (w->next[level] < node_count(w->pages[level])) {
			size_t i = w->next[level]++;

			if (!read_node(l, w->pages[level], i, &node) ||
			    !check_branch_key(l, i, node.key) ||
			    !enter(l, w, level + 1, node.child, level + 1 == bottom))
				return false;
			level++;
			continue;
		}
		if (level-- == 0)
			return true;
	}
}

static bool check_tree(struct look *l, const struct tree *t, bool free_tree)
{
	struct walk w = { { NULL }, { 0 } };
	bool        ok;

	l->free_tree = free_tree;
	l->entries = 0;
	l->before.is_set = l->at_least.is_set = false;
	if (t->root == SIZE_MAX)
		return t->entries == 0 || bad(l, "has lost its entries");
	if (t->depth == 0 || t->depth > DEPTH_MAX)
		return bad(l, "has no valid head");
	ok = walk_tree(l, &w, t);
	for (unsigned i = 0; i < DEPTH_MAX; i++)
		free(w.pages[i]);
	return ok && (l->entries == t->entries || bad(l, "has lost entries"));
}

static const char *check_trees(int fd, const struct meta_page *m)
{
	struct look l = { .fd = fd, .page_size = m->trees[0].page_size, .last_page = m->last_page };

	l.used = calloc(m->last_page / 8 + 1, 1);
	if (l.used == NULL)
		return "is too much for the memory";
	if (check_tree(&l, &m->trees[1], false))
		(void)check_tree(&l, &m->trees[0], true);
	free(l.used);
	return l.why;
}

const char *env_look(int fd)
{
	struct meta_page first, second, *m;
	struct stat      st;

	if (fstat(fd, &st) != 0)
		return "cannot be looked at";
	if (st.st_size == 0)
		return NULL;
	if (!read_meta(fd, 0, &first) || !read_meta(fd, first.trees[0].page_size, &second) ||
	    first.trees[0].page_size != second.trees[0].page_size)
		return "has no valid head";
	m = second.transaction > first.transaction ? &second : &first;
	if (m->transaction % 2 != (m == &second)) /* LMDB finds the head by that, too */
		return "has no valid head";
	if (m->last_page >= (uint64_t)INT64_MAX / m->trees[0].page_size ||
	    (uint64_t)st.st_size < ((uint64_t)m->last_page + 1) * m->trees[0].page_size)
		return "is shorter than its last page";
	if (!is_root(m, m->trees[0].root) || !is_root(m, m->trees[1].root))
		return "points outside itself";
	return check_trees(fd, m);
}
