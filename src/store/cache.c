#include "store/cache.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/cursor.h"
#include "base/list.h"
#include "base/log.h"
#include "loop/work.h"
#include "store/env.h"

enum {
	CACHE_SCHEMA = 1,
	FLUSH_MS = 5 * 1000,
	FRONT_BYTES_MAX = 512 * 1024, /* memory when there is a file behind */
	WAITING_MAX = 256,            /* changes of one group */
	PURGE_BATCH = 64,
	PURGE_EVERY_MS = 60 * 60 * 1000,
	BUCKETS_MIN = 64,
	STAMP_BYTES = 8, /* until_unix_ms in front of each value in the file */
};

/* One key in memory. In the file its value has the stamp in front, so it has here too. */
struct entry {
	struct link   recent; /* of cache.recent, used latest first */
	struct entry *next;   /* of the bucket */
	uint32_t      hash;
	uint64_t
		change; /* number of the change that made it; above cache.written: not in the file */
	bool    removed;            /* what the file may still hold is void */
	size_t  key_len, value_len; /* value with its stamp */
	char    bytes[];
};

/* What a job works on; touched by nobody else meanwhile. */
struct flush {
	struct cache     *cache; /* for when the job is over, not for the job */
	struct env       *env;
	uint64_t          now_unix_ms;
	bool              purge;
	bool              emptied;
	uint64_t          last_change; /* the latest change in it */
	size_t            count;
	enum err          result;
	struct env_change changes[WAITING_MAX];
	char             *bytes[WAITING_MAX]; /* malloc'ed: key, then value */
};

struct cache {
	struct loop    *loop;
	struct env     *env; /* NULL: memory only */
	msec            flush_ms;
	size_t          memory_max, memory_used;
	uint32_t        seed;
	struct entry  **buckets;
	size_t          bucket_count, entry_count;
	struct link     recent;
	uint64_t        change, written;
	size_t          waiting, waiting_bytes; /* entries that are not in the file yet */
	size_t          waiting_bytes_max;      /* a group must always fit into an empty file */
	struct deadline flush_at;
	msec            purge_at;
	struct work    *work;
	bool            closing;
};

/* --- entries --- */

static struct str entry_key(const struct entry *en)
{
	return str_span(en->bytes, en->key_len);
}

static struct str entry_value(const struct entry *en)
{
	return str_span(en->bytes + en->key_len, en->value_len);
}

static size_t entry_cost(const struct entry *en)
{
	return sizeof(*en) + en->key_len + en->value_len;
}

/* Peers choose keys: the seed keeps them from choosing buckets. */
static uint32_t hash_of(const struct cache *c, struct str key)
{
	uint32_t h = c->seed;

	for (size_t i = 0; i < key.len; i++) {
		h = (h ^ (uint8_t)key.ptr[i]) * 0x01000193u;
		h ^= h >> 15;
	}
	return h ^ c->seed;
}

static struct entry **bucket_of(const struct cache *c, uint32_t hash)
{
	return &c->buckets[hash & (c->bucket_count - 1)];
}

static struct entry *find(const struct cache *c, struct str key)
{
	uint32_t      hash = hash_of(c, key);
	struct entry *en = *bucket_of(c, hash);

	while (en != NULL && (en->hash != hash || !str_eq(entry_key(en), key)))
		en = en->next;
	return en;
}

static bool is_waiting(const struct cache *c, const struct entry *en)
{
	return c->env != NULL && en->change > c->written;
}

/* Counts the entries that wait: in (sign 1) or out (sign -1). */
static void count_waiting(struct cache *c, const struct entry *en, int sign)
{
	if (!is_waiting(c, en))
		return;
	c->waiting += (size_t)sign;
	c->waiting_bytes += (size_t)sign * entry_cost(en);
}

static void forget(struct cache *c, struct entry *en)
{
	struct entry **at = bucket_of(c, en->hash);

	while (*at != en)
		at = &(*at)->next;
	*at = en->next;
	list_remove(&en->recent);
	c->memory_used -= entry_cost(en);
	c->entry_count--;
	count_waiting(c, en, -1);
	free(en);
}

/* From the end of the list, what is not waiting to be written; true when size fits in. */
static bool make_room(struct cache *c, size_t size)
{
	struct link *l = c->recent.prev, *before;

	for (; l != &c->recent && c->memory_used + size > c->memory_max; l = before) {
		struct entry *en = LIST_ENTRY(l, struct entry, recent);

		before = l->prev;
		if (!is_waiting(c, en))
			forget(c, en);
	}
	return c->memory_used + size <= c->memory_max;
}

static void grow_buckets(struct cache *c)
{
	size_t         old_count = c->bucket_count;
	struct entry **old = c->buckets, **fresh;

	if (c->entry_count < old_count)
		return;
	fresh = calloc(old_count * 2, sizeof(*fresh));
	if (fresh == NULL)
		return; /* longer chains will do */
	c->buckets = fresh;
	c->bucket_count = old_count * 2;
	for (size_t i = 0; i < old_count; i++)
		while (old[i] != NULL) {
			struct entry *en = old[i];

			old[i] = en->next;
			en->next = *bucket_of(c, en->hash);
			*bucket_of(c, en->hash) = en;
		}
	free(old);
}

static struct entry *entry_new(struct cache *c, struct str key, struct str value, uint64_t until)
{
	size_t        len = key.len + STAMP_BYTES + value.len;
	struct entry *en = malloc(sizeof(*en) + len);
	struct writer w;

	if (en == NULL)
		return NULL;
	*en = (struct entry){ .hash = hash_of(c, key),
		              .key_len = key.len,
		              .value_len = STAMP_BYTES + value.len };
	w = writer_over(en->bytes, len);
	write_str(&w, key);
	write_be(&w, until, STAMP_BYTES);
	write_str(&w, value);
	return en;
}

static void add(struct cache *c, struct entry *en)
{
	grow_buckets(c);
	en->next = *bucket_of(c, en->hash);
	*bucket_of(c, en->hash) = en;
	list_push_front(&c->recent, &en->recent);
	c->memory_used += entry_cost(en);
	c->entry_count++;
	en->change = ++c->change;
	count_waiting(c, en, 1);
}

/* The value behind the stamp, or false when its time is over. */
static bool is_fresh(struct str stamped, uint64_t now, struct str *value)
{
	struct reader r = reader_over(stamped);
	uint64_t      until = read_u64(&r);

	*value = str_from(stamped, STAMP_BYTES);
	return !r.failed && now < until;
}

/* --- the job --- */

struct purge {
	uint64_t          now;
	size_t            count;
	struct env_change changes[PURGE_BATCH];
	char              keys[PURGE_BATCH][CACHE_KEY_MAX];
	char              last[CACHE_KEY_MAX]; /* where to go on */
	size_t            last_len;
};

static bool collect_expired(void *arg, struct str key, struct str stamped)
{
	struct purge *p = arg;
	struct str    value;

	if (key.len > CACHE_KEY_MAX)
		return true;
	memcpy(p->last, key.ptr, key.len);
	p->last_len = key.len;
	if (is_fresh(stamped, p->now, &value))
		return true;
	memcpy(p->keys[p->count], key.ptr, key.len);
	p->changes[p->count] =
		(struct env_change){ .key = str_span(p->keys[p->count], key.len), .remove = true };
	return ++p->count < PURGE_BATCH;
}

/* Takes out everything whose time is over, some at a time. */
static enum err purge_expired(struct flush *f)
{
	struct purge *p = calloc(1, sizeof(*p));
	char          after[CACHE_KEY_MAX];
	size_t        after_len = 0;
	enum err      e = ERR_OK;

	if (p == NULL)
		return ERR_NOMEM;
	p->now = f->now_unix_ms;
	do {
		p->count = 0;
		e = env_walk(f->env, str_span(after, after_len), collect_expired, p);
		memcpy(after, p->last, p->last_len);
		after_len = p->last_len;
		if (e == ERR_OK && p->count > 0)
			e = env_apply(f->env, p->changes, p->count);
	} while (e == ERR_OK && p->count == PURGE_BATCH);
	free(p);
	return e;
}

static void flush_run(void *arg)
{
	struct flush *f = arg;

	if (f->purge)
		(void)purge_expired(f);
	f->result = env_apply(f->env, f->changes, f->count);
	if (f->result == ERR_LIMIT && !f->purge) {
		(void)purge_expired(f);
		f->result = env_apply(f->env, f->changes, f->count);
	}
	if (f->result == ERR_LIMIT) { /* full of what is good: begin again */
		f->emptied = true;
		f->result = env_empty(f->env);
		if (f->result == ERR_OK)
			f->result = env_apply(f->env, f->changes, f->count);
	}
}

static void flush_free(struct flush *f)
{
	for (size_t i = 0; i < f->count; i++)
		free(f->bytes[i]);
	free(f);
}

static bool flush_take(struct flush *f, const struct entry *en)
{
	size_t len = en->key_len + en->value_len;
	char  *copy = malloc(len);

	if (copy == NULL)
		return false;
	memcpy(copy, en->bytes, len);
	f->bytes[f->count] = copy;
	f->changes[f->count++] = (struct env_change){
		.key = str_span(copy, en->key_len),
		.value = str_span(copy + en->key_len, en->value_len),
		.remove = en->removed,
	};
	return true;
}

/* Copies of all that waits. */
static struct flush *flush_new(struct cache *c)
{
	struct flush *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return NULL;
	f->cache = c;
	f->env = c->env;
	f->now_unix_ms = loop_unix_ms(c->loop);
	f->last_change = c->change;
	for (struct link *l = c->recent.next; l != &c->recent; l = l->next) {
		const struct entry *en = LIST_ENTRY(l, const struct entry, recent);

		if (is_waiting(c, en) && (f->count == WAITING_MAX || !flush_take(f, en))) {
			flush_free(f);
			return NULL;
		}
	}
	return f;
}

static void give_up_file(struct cache *c, enum err why)
{
	log_say(LOG_WARN, "store.cache", "writing failed (%s): going on in memory only",
	        err_slug(why));
	env_close(c->env);
	c->env = NULL;
	c->waiting = c->waiting_bytes = 0;
}

/* Everything up to the job's last change is in the file now; what came since still waits. */
static void flush_settle(struct cache *c, const struct flush *f)
{
	if (f->emptied)
		log_say(LOG_INFO, "store.cache", "the cache was full and begins anew");
	if (f->result != ERR_OK) {
		give_up_file(c, f->result);
		return;
	}
	c->written = f->last_change;
	c->waiting = c->waiting_bytes = 0;
	for (struct link *l = c->recent.next; l != &c->recent; l = l->next)
		count_waiting(c, LIST_ENTRY(l, struct entry, recent), 1);
	(void)make_room(c, 0);
}

static void cache_release(struct cache *c)
{
	while (!list_empty(&c->recent))
		forget(c, LIST_ENTRY(c->recent.next, struct entry, recent));
	env_close(c->env);
	free(c->buckets);
	free(c);
}

/* The rest, without a job: at the end. */
static void flush_now(struct cache *c)
{
	struct flush *f = c->env != NULL && c->waiting > 0 ? flush_new(c) : NULL;

	if (f == NULL)
		return;
	flush_run(f);
	flush_settle(c, f);
	flush_free(f);
}

static void on_flushed(void *arg)
{
	struct flush *f = arg;
	struct cache *c = f->cache;

	flush_settle(c, f);
	flush_free(f);
	if (c->closing) {
		flush_now(c);
		cache_release(c);
	} else if (c->waiting > 0) {
		deadline_in(&c->flush_at, c->flush_ms);
	}
}

static void on_flush(void *arg)
{
	struct cache *c = arg;
	struct flush *f;

	if (c->env == NULL || c->work != NULL || c->waiting == 0)
		return;
	f = flush_new(c);
	if (f != NULL && loop_now(c->loop) >= c->purge_at) {
		f->purge = true;
		c->purge_at = loop_now(c->loop) + PURGE_EVERY_MS;
	}
	if (f != NULL && work_start(&c->work, c->loop, flush_run, on_flushed, f) == ERR_OK)
		return;
	if (f != NULL)
		flush_free(f);
	deadline_in(&c->flush_at, c->flush_ms); /* no memory now */
}

/* --- the outside --- */

static void open_file(struct cache *c, const struct cache_options *o)
{
	char               path[1024];
	struct env_options eo = { .path = path, .bytes = o->bytes, .schema = CACHE_SCHEMA };
	struct env_notice  notice;
	struct env_usage   usage = { 0 };

	snprintf(path, sizeof(path), "%s/cache", o->state_dir);
	if (env_open(&eo, &c->env, &notice) != ERR_OK) {
		c->env = NULL;
		log_say(LOG_WARN, "store.cache", "%s; going on in memory only", notice.text);
	} else if (notice.text[0] != '\0') {
		log_say(LOG_WARN, "store.cache", "%s", notice.text);
	}
	if (c->env != NULL && env_usage(c->env, &usage) == ERR_OK)
		c->waiting_bytes_max = (size_t)(usage.limit_bytes / 3);
}

enum err cache_open(const struct cache_options *o, struct cache **out)
{
	struct cache *c = calloc(1, sizeof(*c));
	size_t        most;

	if (c == NULL)
		return ERR_NOMEM;
	*c = (struct cache){
		.loop = o->loop,
		.flush_ms = o->flush_ms == 0 ? FLUSH_MS : o->flush_ms,
		.memory_max = o->bytes,
		.bucket_count = BUCKETS_MIN,
		.buckets = calloc(BUCKETS_MIN, sizeof(*c->buckets)),
	};
	if (c->buckets == NULL) {
		free(c);
		return ERR_NOMEM;
	}
	loop_random(&c->seed, sizeof(c->seed));
	list_init(&c->recent);
	deadline_init(&c->flush_at, c->loop, on_flush, c);
	if (o->state_dir != NULL)
		open_file(c, o);
	most = c->env != NULL ? FRONT_BYTES_MAX : o->memory_bytes;
	if (most != 0 && c->memory_max > most)
		c->memory_max = most;
	*out = c;
	return ERR_OK;
}

void cache_close(struct cache *c)
{
	if (c == NULL)
		return;
	deadline_clear(&c->flush_at);
	if (c->work != NULL) {
		c->closing = true;
		return;
	}
	flush_now(c);
	cache_release(c);
}

static bool copy_out(struct str stamped, uint64_t now, void *room, size_t size, size_t *len)
{
	struct str value;

	if (!is_fresh(stamped, now, &value) || value.len > size)
		return false;
	if (value.len > 0)
		memmove(room, value.ptr, value.len);
	*len = value.len;
	return true;
}

/* From the file, through a room that has space for the stamp too. */
static bool get_kept(struct cache *c, struct str key, void *room, size_t size, size_t *len)
{
	char     small[2048];
	char    *stamped = small;
	size_t   got = 0;
	bool     ok;
	enum err e = env_get(c->env, key, small, sizeof(small), &got);

	if (e == ERR_TOO_LARGE && got <= STAMP_BYTES + size) {
		stamped = malloc(got);
		e = stamped == NULL ? ERR_NOMEM : env_get(c->env, key, stamped, got, &got);
	}
	ok = e == ERR_OK &&
		copy_out(str_span(stamped, got), loop_unix_ms(c->loop), room, size, len);
	if (stamped != small)
		free(stamped);
	return ok;
}

static bool is_key(struct str key)
{
	return key.len > 0 && key.len <= CACHE_KEY_MAX && key.ptr[0] != '\0';
}

bool cache_get(struct cache *c, struct str key, void *room, size_t size, size_t *len)
{
	struct entry *en;

	if (!is_key(key))
		return false;
	en = find(c, key);
	if (en == NULL)
		return c->env != NULL && get_kept(c, key, room, size, len);
	list_remove(&en->recent);
	list_push_front(&c->recent, &en->recent);
	return !en->removed && copy_out(entry_value(en), loop_unix_ms(c->loop), room, size, len);
}

/* Whether one more of that cost may wait beside what does, `old` being replaced. */
static bool may_wait(const struct cache *c, const struct entry *old, size_t cost)
{
	size_t n = c->waiting, bytes = c->waiting_bytes;

	if (c->env == NULL)
		return true;
	if (old != NULL && is_waiting(c, old)) {
		n--;
		bytes -= entry_cost(old);
	}
	return n < WAITING_MAX && bytes + cost <= c->waiting_bytes_max;
}

static enum err change(struct cache *c, struct str key, struct str value, uint64_t until,
                       bool removed)
{
	struct entry *old = find(c, key), *en;
	size_t        cost = sizeof(*en) + key.len + STAMP_BYTES + value.len;

	if (cost > c->memory_max)
		return ERR_TOO_LARGE;
	if (!may_wait(c, old, cost))
		return ERR_BUSY;
	en = entry_new(c, key, value, until);
	if (en == NULL)
		return ERR_NOMEM;
	if (old != NULL)
		forget(c, old);
	if (!make_room(c, cost)) {
		free(en);
		return ERR_BUSY;
	}
	en->removed = removed;
	add(c, en);
	if (c->env != NULL && c->work == NULL && !deadline_is_set(&c->flush_at))
		deadline_in(&c->flush_at, c->flush_ms);
	return ERR_OK;
}

enum err cache_put(struct cache *c, struct str key, struct str value, uint64_t until_unix_ms)
{
	if (!is_key(key))
		return ERR_RANGE;
	if (value.len > CACHE_VALUE_MAX)
		return ERR_TOO_LARGE;
	return change(c, key, value, until_unix_ms, false);
}

void cache_del(struct cache *c, struct str key)
{
	struct entry *old;

	if (!is_key(key))
		return;
	if (c->env != NULL) {
		/* even when it cannot be noted now: the file's own copy expires some day */
		(void)change(c, key, STRL(""), 0, true);
		return;
	}
	old = find(c, key);
	if (old != NULL)
		forget(c, old);
}

bool cache_is_kept(const struct cache *c)
{
	return c->env != NULL;
}
