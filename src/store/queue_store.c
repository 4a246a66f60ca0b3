#include "store/queue_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store/env.h"
#include "store/place.h"

void queue_fault_add(struct queue_fault *fault, const char *format, ...)
{
	size_t  len = strlen(fault->text);
	va_list args;

	if (len > 0 && len + 2 < sizeof(fault->text)) {
		memcpy(fault->text + len, "; ", 3);
		len += 2;
	}
	va_start(args, format);
	vsnprintf(fault->text + len, sizeof(fault->text) - len, format, args);
	va_end(args);
}

/* --- reading it into memory --- */

struct orphans {
	struct queue_key *keys;
	size_t            count, size;
};

struct load {
	struct queue_store *store;
	struct orphans      orphans;
	uint64_t           *bodies; /* numbers of large bodies that belong to an item */
	size_t              body_count, body_size;
	enum err            result;
};

static bool load_fails(struct load *l, enum err e)
{
	l->result = e;
	return false;
}

static bool add_orphan(struct load *l, const struct queue_key *key)
{
	struct orphans *o = &l->orphans;

	if (o->count == o->size) {
		size_t            size = o->size == 0 ? 64 : o->size * 2;
		struct queue_key *keys = realloc(o->keys, size * sizeof(*keys));

		if (keys == NULL)
			return load_fails(l, ERR_NOMEM);
		o->keys = keys;
		o->size = size;
	}
	o->keys[o->count++] = *key;
	return true;
}

static bool add_body(struct load *l, uint64_t body)
{
	if (l->body_count == l->body_size) {
		size_t    size = l->body_size == 0 ? 64 : l->body_size * 2;
		uint64_t *bodies = realloc(l->bodies, size * sizeof(*bodies));

		if (bodies == NULL)
			return load_fails(l, ERR_NOMEM);
		l->bodies = bodies;
		l->body_size = size;
	}
	l->bodies[l->body_count++] = body;
	return true;
}

/* Numbers are never given twice, whatever becomes of what they were given to. */
static void saw_number(struct load *l, uint64_t number)
{
	if (number >= l->store->next_sequence && number < UINT64_MAX)
		l->store->next_sequence = number + 1;
}

static bool bad_record(struct load *l, enum err e)
{
	if (e == ERR_UNSUPPORTED)
		return load_fails(l, e);
	l->store->damaged++;
	return true;
}

static struct queue_entry *entry_new(struct queue_index *x, const struct queue_key *key,
                                     struct str name, struct str origin)
{
	struct queue_entry *en = calloc(1, sizeof(*en));

	if (en == NULL)
		return NULL;
	en->sequence = key->number;
	en->lane = queue_lane_hold(x, name, origin);
	if (en->lane != NULL)
		return en;
	free(en);
	return NULL;
}

static bool load_item(void *arg, const struct queue_key *key, struct str value)
{
	struct load             *l = arg;
	struct queue_index      *x = &l->store->index;
	struct queue_record_item r;
	struct queue_entry      *en;
	enum err e = value.ptr == NULL ? ERR_SYNTAX : queue_record_read_item(key, value, false, &r);

	saw_number(l, key->number);
	if (e != ERR_OK)
		return bad_record(l, e);
	en = entry_new(x, key, r.item.server_name, r.item.origin);
	if (en == NULL)
		return load_fails(l, ERR_NOMEM);
	en->body = r.body;
	en->at_unix_ms = r.item.at_unix_ms;
	en->record_len = (uint32_t)value.len;
	en->body_len = (uint32_t)r.body_len;
	en->id_mark = queue_mark_of(r.item.transaction_id);
	memcpy(en->body_mark.bytes, r.item.body_hash, sizeof(en->body_mark.bytes));
	queue_index_charge(x, en->lane, queue_entry_bytes(en));
	queue_index_add(x, en);
	return en->body == 0 || add_body(l, en->body);
}

static bool load_state(void *arg, const struct queue_key *key, struct str value)
{
	struct load              *l = arg;
	struct queue_index       *x = &l->store->index;
	struct queue_entry       *en = queue_index_find(x, key->number);
	struct queue_record_state s;
	enum err e = value.ptr == NULL ? ERR_SYNTAX : queue_record_read_state(key, value, &s);

	saw_number(l, key->number);
	if (en == NULL)
		return add_orphan(l, key);
	en->has_state = en->was_given = true;
	if (e != ERR_OK)
		return bad_record(l, e); /* as if it had never been tried */
	en->tries = s.tries;
	en->first_try_unix_ms = s.first_try_unix_ms;
	if (s.parked) {
		en->reason = str_dup(s.reason);
		queue_index_move(x, en, ENTRY_PARKED);
	}
	return true;
}

static bool load_seen(void *arg, const struct queue_key *key, struct str value)
{
	struct load             *l = arg;
	struct queue_index      *x = &l->store->index;
	struct queue_record_seen s;
	struct queue_entry      *en;
	enum err e = value.ptr == NULL ? ERR_SYNTAX : queue_record_read_seen(key, value, &s);

	saw_number(l, key->number);
	if (e != ERR_OK)
		return bad_record(l, e);
	if (queue_index_find(x, key->number) !=
	    NULL) { /* twice delivered is better than not at all */
		l->store->clashes++;
		return add_orphan(l, key);
	}
	en = entry_new(x, key, s.server_name, s.origin);
	if (en == NULL)
		return load_fails(l, ERR_NOMEM);
	en->id_mark = s.id;
	en->body_mark = s.body;
	en->at_unix_ms = s.at_unix_ms;
	en->state = ENTRY_SEEN;
	queue_index_add(x, en);
	return true;
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static bool load_part(void *arg, const struct queue_key *key, struct str value)
{
	struct load *l = arg;

	(void)value; /* read when it is needed */
	saw_number(l, key->number);
	if (l->body_count > 0 &&
	    bsearch(&key->number, l->bodies, l->body_count, sizeof(*l->bodies), by_number) != NULL)
		return true;
	return add_orphan(l, key);
}

static bool load_meta(void *arg, const struct queue_key *key, struct str value)
{
	struct load *l = arg;
	uint64_t     next = 0;
	enum err     e = value.ptr == NULL ? ERR_SYNTAX : queue_record_read_meta(key, value, &next);

	if (e != ERR_OK)
		return bad_record(l, e);
	if (next > l->store->next_sequence)
		l->store->next_sequence = next;
	return true;
}

static const struct {
	enum queue_record_kind kind;
	queue_record_fn       *load;
} steps[] = {
	/* in this order: states belong to items, parts to bodies */
	{ QUEUE_RECORD_META, load_meta },   { QUEUE_RECORD_ITEM, load_item },
	{ QUEUE_RECORD_STATE, load_state }, { QUEUE_RECORD_SEEN, load_seen },
	{ QUEUE_RECORD_PART, load_part },
};

static enum err load_all(struct load *l)
{
	struct queue_backend *b = l->store->backend;
	enum err              e = ERR_OK;

	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]) && e == ERR_OK; i++) {
		if (steps[i].kind == QUEUE_RECORD_PART && l->body_count > 0)
			qsort(l->bodies, l->body_count, sizeof(*l->bodies), by_number);
		e = b->ops->walk(b, steps[i].kind, steps[i].load, l);
		if (e == ERR_OK)
			e = l->result;
	}
	return e;
}

static enum err remove_orphans(struct load *l)
{
	struct queue_backend *b = l->store->backend;
	struct queue_change   changes[128];
	enum err              e = ERR_OK;

	for (size_t done = 0; done < l->orphans.count && e == ERR_OK;) {
		size_t n = 0;

		while (n < sizeof(changes) / sizeof(changes[0]) && done < l->orphans.count)
			changes[n++] = (struct queue_change){ .key = l->orphans.keys[done++] };
		e = b->ops->commit(b, changes, n, false);
	}
	l->store->orphans = l->orphans.count;
	return e;
}

static enum err load(struct queue_store *s, struct queue_fault *fault)
{
	struct load l = { .store = s };
	enum err    e = load_all(&l);

	if (e == ERR_OK && remove_orphans(&l) != ERR_OK)
		queue_fault_add(fault, "what a crash left behind could not be removed");
	if (e == ERR_OK && s->damaged > 0)
		queue_fault_add(fault, "%zu records of the queue are damaged and left aside",
		                s->damaged);
	if (e == ERR_UNSUPPORTED)
		queue_fault_add(fault,
		                "the queue was written by a newer doorstep; it is left alone");
	else if (e != ERR_OK)
		queue_fault_add(fault, "the queue cannot be read: %s", err_slug(e));
	free(l.orphans.keys);
	free(l.bodies);
	return e;
}

/* --- finding the place --- */

struct site {
	const struct queue_options *o;
	char                        path[PLACE_PATH_MAX];   /* state_dir/queue */
	char                        marker[PLACE_PATH_MAX]; /* state_dir/queue.store */
	enum queue_kind             kind;                   /* by the marker; QUEUE_AUTO: none */
};

static const char *const marker_texts[] = {
	[QUEUE_LMDB] = "doorstep queue, schema 1, lmdb\n",
	[QUEUE_JOURNAL] = "doorstep queue, schema 1, journal\n",
};

static enum err name_site(struct site *at, const struct queue_options *o, struct queue_fault *fault)
{
	*at = (struct site){ .o = o, .kind = QUEUE_AUTO };
	if (strlen(o->state_dir) > PLACE_PATH_MAX - 64) {
		queue_fault_add(fault, "the path of state_dir is too long");
		return ERR_IO;
	}
	snprintf(at->path, sizeof(at->path), "%s/queue", o->state_dir);
	snprintf(at->marker, sizeof(at->marker), "%s/queue.store", o->state_dir);
	return ERR_OK;
}

bool queue_is_there(const char *state_dir)
{
	struct queue_options o = { .state_dir = state_dir };
	struct queue_fault   fault = { .text = "" };
	struct site          at;

	return name_site(&at, &o, &fault) == ERR_OK && access(at.marker, F_OK) == 0;
}

/* Only if need be: on flash that is full even this has no room. */
static enum err close_to_others(const char *path)
{
	struct stat st;

	if (stat(path, &st) == 0 && (st.st_mode & 07777) == 0700)
		return ERR_OK;
	return chmod(path, 0700) == 0 ? ERR_OK : place_err(errno);
}

static enum err make_site(const struct site *at, struct queue_fault *fault)
{
	enum err e = place_make(at->path);

	if (e == ERR_OK)
		e = close_to_others(at->path);
	if (e != ERR_OK)
		queue_fault_add(fault, "%s cannot be made ready: %s", at->path, strerror(errno));
	if (e != ERR_OK || at->o->allow_volatile || !place_is_volatile(at->path))
		return e;
	queue_fault_add(fault, "%s is in memory: what is kept there dies with the power", at->path);
	return ERR_UNSUPPORTED;
}

static enum err lock_site(const struct site *at, int *lock, struct queue_fault *fault)
{
	char     name[PLACE_PATH_MAX + 8];
	enum err e = ERR_OK;

	snprintf(name, sizeof(name), "%s/lock", at->path);
	*lock = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*lock < 0) {
		e = place_err(errno);
		queue_fault_add(fault, "%s cannot be written: %s", at->path, strerror(errno));
	} else if (flock(*lock, LOCK_EX | LOCK_NB) != 0) {
		e = errno == EWOULDBLOCK ? ERR_BUSY : place_err(errno);
		queue_fault_add(fault, "%s %s", at->path,
		                e == ERR_BUSY ? "is used by another doorstep" : strerror(errno));
	}
	return e;
}

static enum err read_marker(struct site *at, struct queue_fault *fault)
{
	char    text[128];
	int     fd = open(at->marker, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? ERR_OK : place_err(errno);
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n < 0 ? 0 : n] = '\0';
	if (strcmp(text, marker_texts[QUEUE_LMDB]) == 0)
		at->kind = QUEUE_LMDB;
	else if (strcmp(text, marker_texts[QUEUE_JOURNAL]) == 0)
		at->kind = QUEUE_JOURNAL;
	else if (strncmp(text, "doorstep queue, ", 16) == 0) {
		queue_fault_add(fault, "%s was written by a newer doorstep; it is left alone",
		                at->path);
		return ERR_UNSUPPORTED;
	}
	return ERR_OK; /* unreadable: what lies there tells */
}

/* What lies there, marked or not. */
static enum queue_kind kind_of_data(const struct site *at)
{
	char        name[PLACE_PATH_MAX + 16];
	struct stat st;

	snprintf(name, sizeof(name), "%s/data.mdb", at->path);
	if (stat(name, &st) == 0 && st.st_size > 0)
		return QUEUE_LMDB;
	return queue_journal_exists(at->path) ? QUEUE_JOURNAL : QUEUE_AUTO;
}

/* A try of LMDB where it cannot be leaves its empty files. */
static void remove_lmdb(const struct site *at)
{
	static const char *const names[] = { "data.mdb", "lock.mdb" };
	char                     name[PLACE_PATH_MAX + 16];

	for (size_t i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "%s/%s", at->path, names[i]);
		(void)unlink(name);
	}
}

static enum err open_backend(struct queue_store *s, const struct site *at, enum queue_kind *kind,
                             struct queue_fault *fault)
{
	struct queue_backend_options bo = { .path = at->path, .bytes = at->o->map_bytes };
	bool                         is_free = *kind == QUEUE_AUTO;
	enum err                     e;

	if (*kind != QUEUE_JOURNAL) {
		struct queue_fault why = { .cut_bytes = 0 };

		*kind = QUEUE_LMDB;
		e = queue_lmdb_open(&bo, &s->backend, &why);
		if (e != ERR_UNSUPPORTED || !is_free) {
			if (why.text[0] != '\0')
				queue_fault_add(fault, "%s", why.text);
			return e;
		}
		remove_lmdb(at);
	}
	*kind = QUEUE_JOURNAL;
	return queue_journal_open(&bo, &s->backend, fault);
}

static enum err choose_and_open(struct queue_store *s, struct site *at, struct queue_fault *fault)
{
	enum queue_kind found = kind_of_data(at);
	enum queue_kind kind = at->kind != QUEUE_AUTO ? at->kind : found;
	enum err        e;

	if (at->o->kind != QUEUE_AUTO && kind != QUEUE_AUTO && kind != at->o->kind) {
		queue_fault_add(fault, "%s holds a queue of the other kind", at->path);
		return ERR_UNSUPPORTED;
	}
	if (at->kind != QUEUE_AUTO && found != at->kind)
		queue_fault_add(fault, "the queue that was in %s is gone, starting empty",
		                at->path);
	if (kind == QUEUE_AUTO)
		kind = at->o->kind;
	e = open_backend(s, at, &kind, fault);
	if (e != ERR_OK && fault->text[0] == '\0')
		queue_fault_add(fault, "%s cannot be opened: %s", at->path, err_slug(e));
	if (e == ERR_OK && at->kind != kind)
		e = place_write(at->marker, marker_texts[kind]);
	if (e != ERR_OK && fault->text[0] == '\0')
		queue_fault_add(fault, "%s cannot be written: %s", at->marker, err_slug(e));
	return e;
}

enum err queue_store_open(struct queue_store *s, const struct queue_options *o,
                          struct queue_fault *fault)
{
	struct site at;
	uint32_t    seed;
	enum err    e;

	*s = (struct queue_store){ .next_sequence = 1, .lock = -1 };
	*fault = (struct queue_fault){ .cut_bytes = 0 };
	loop_random(&seed, sizeof(seed));
	e = queue_index_init(&s->index, o->items_max + o->seen_max, seed);
	if (e == ERR_OK)
		e = name_site(&at, o, fault);
	if (e == ERR_OK)
		memcpy(s->path, at.path, sizeof(s->path));
	if (e == ERR_OK)
		e = make_site(&at, fault);
	if (e == ERR_OK)
		e = lock_site(&at, &s->lock, fault);
	if (e == ERR_OK)
		e = read_marker(&at, fault);
	if (e == ERR_OK)
		e = choose_and_open(s, &at, fault);
	if (e == ERR_OK)
		e = load(s, fault);
	if (e == ERR_OK)
		queue_store_keep_ballast(s);
	if (e != ERR_OK && fault->text[0] == '\0')
		queue_fault_add(fault, "%s", err_slug(e));
	if (e != ERR_OK)
		queue_store_close(s);
	return e;
}

void queue_store_close(struct queue_store *s)
{
	queue_index_fini(&s->index);
	if (s->backend != NULL)
		s->backend->ops->close(s->backend);
	if (s->lock >= 0)
		close(s->lock);
	s->backend = NULL;
	s->lock = -1;
}

/* --- ballast --- */

enum {
	BALLAST_PIECE = 32 * 1024,
	BALLAST_SHARE_MAX = 512 * 1024,
	BALLAST_REST = 448 * 1024, /* left free beside it, or there is none */
};

static size_t ballast_bytes(const struct queue_store *s)
{
	const struct queue_backend_ops *ops = s->backend->ops;
	uint64_t share = ops->ballast_share > 0 ? place_size_bytes(s->path) / ops->ballast_share
						: 0;

	return ops->ballast_bytes + (size_t)(share < BALLAST_SHARE_MAX ? share : BALLAST_SHARE_MAX);
}

static void ballast_name(const struct queue_store *s, char name[PLACE_PATH_MAX + 16])
{
	snprintf(name, PLACE_PATH_MAX + 16, "%s/ballast", s->path);
}

bool queue_store_spend_ballast(struct queue_store *s)
{
	char name[PLACE_PATH_MAX + 16];

	if (!s->has_ballast)
		return false;
	s->has_ballast = false;
	ballast_name(s, name);
	return unlink(name) == 0 && place_sync_directory(s->path) == ERR_OK;
}

/* Random, because JFFS2 compresses. */
static bool write_ballast(const char *name, size_t size)
{
	char *bytes = malloc(BALLAST_PIECE);
	int   fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool  ok = bytes != NULL && fd >= 0;

	while (ok && size > 0) {
		size_t n = size < BALLAST_PIECE ? size : BALLAST_PIECE;

		loop_random(bytes, n);
		ok = write(fd, bytes, n) == (ssize_t)n;
		size -= n;
	}
	ok = ok && fsync(fd) == 0;
	if (fd >= 0)
		close(fd);
	free(bytes);
	return ok;
}

void queue_store_keep_ballast(struct queue_store *s)
{
	char        name[PLACE_PATH_MAX + 16];
	size_t      size;
	struct stat st;

	if (s->has_ballast)
		return;
	ballast_name(s, name);
	size = ballast_bytes(s);
	if (stat(name, &st) == 0 && (uint64_t)st.st_size >= size)
		s->has_ballast = true;
	else if (place_free_bytes(s->path) >= (uint64_t)size + BALLAST_REST)
		s->has_ballast = write_ballast(name, size);
	if (!s->has_ballast)
		(void)unlink(name); /* half of it is of no use */
}

/* --- reading items --- */

/* In one block, behind each other: this, the record, the body if it was in parts. */
struct whole {
	struct queue_item item; /* first: it is what the receiver frees */
	char              bytes[];
};

void queue_item_free(struct queue_item *item)
{
	free(item);
}

static enum err read_parts(struct queue_store *s, const struct queue_address *at, char *body)
{
	char    *room = malloc(QUEUE_PART_ROOM + QUEUE_PART_BYTES);
	size_t   have = 0, len;
	enum err e = room == NULL ? ERR_NOMEM : ERR_OK;

	for (size_t i = 0; e == ERR_OK && i < queue_record_parts(at->body_len); i++) {
		struct queue_key key = { QUEUE_RECORD_PART, at->body, (uint16_t)i };
		struct str       bytes = { "", 0 };

		e = s->backend->ops->read(s->backend, &key, room,
		                          QUEUE_PART_ROOM + QUEUE_PART_BYTES, &len);
		if (e == ERR_OK)
			e = queue_record_read_part(&key, str_span(room, len), &bytes);
		if (e == ERR_OK && bytes.len > at->body_len - have)
			e = ERR_SYNTAX;
		if (e != ERR_OK)
			break;
		memcpy(body + have, bytes.ptr, bytes.len);
		have += bytes.len;
	}
	free(room);
	return e == ERR_OK && have != at->body_len ? ERR_SYNTAX : e;
}

static enum err read_into(struct queue_store *s, const struct queue_address *at, struct whole *w)
{
	struct queue_key         key = { QUEUE_RECORD_ITEM, at->sequence, 0 };
	struct queue_record_item r;
	size_t                   len;
	enum err                 e;

	e = s->backend->ops->read(s->backend, &key, w->bytes, at->record_len, &len);
	if (e == ERR_OK)
		e = queue_record_read_item(&key, str_span(w->bytes, len), true, &r);
	if (e == ERR_OK &&
	    (len != at->record_len || r.body != at->body || r.body_len != at->body_len))
		e = ERR_SYNTAX;
	if (e != ERR_OK)
		return e;
	w->item = r.item;
	if (at->body == 0)
		return ERR_OK;
	w->item.body = str_span(w->bytes + at->record_len, at->body_len);
	return read_parts(s, at, w->bytes + at->record_len);
}

enum err queue_store_read(struct queue_store *s, const struct queue_address *at,
                          struct queue_item **out)
{
	size_t        parts = at->body == 0 ? 0 : at->body_len;
	struct whole *w = malloc(sizeof(*w) + at->record_len + parts);
	enum err      e;

	if (w == NULL)
		return ERR_NOMEM;
	e = read_into(s, at, w);
	if (e == ERR_NOT_FOUND)
		e = ERR_SYNTAX;
	if (e != ERR_OK)
		free(w);
	else
		*out = &w->item;
	return e;
}
