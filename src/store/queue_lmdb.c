/*
 * queue_lmdb.c - the records of the queue in an LMDB environment that is never opened with relaxed
 * flags.
 *
 * A key is kind, number and part, big-endian: new items go to the end. LMDB needs free pages to delete
 * too, so admission ends at four fifths of the map (env.h).
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/cursor.h"
#include "store/env.h"
#include "store/place.h"
#include "store/queue_backend.h"

enum {
	KEY_BYTES = 11,
	DISK_RESERVE = 256 * 1024, /* left free on the disk by admission */
};

struct lmdb {
	struct queue_backend base;
	struct env          *env;
	char                 path[PLACE_PATH_MAX];
};

/* A group as env.h takes it. */
struct group {
	size_t             bytes;
	struct env_change *changes;
	char (*keys)[KEY_BYTES];
};

static struct lmdb *of(struct queue_backend *b)
{
	return (struct lmdb *)(void *)b;
}

static struct str write_key(char room[KEY_BYTES], const struct queue_key *key)
{
	struct writer w = writer_over(room, KEY_BYTES);

	write_be(&w, key->kind, 1);
	write_be(&w, key->number, 8);
	write_be(&w, key->part, 2);
	return writer_done(&w);
}

static bool read_key(struct str text, struct queue_key *key)
{
	struct reader r = reader_over(text);
	unsigned      kind = read_u8(&r);

	key->number = read_u64(&r);
	key->part = read_u16(&r);
	if (r.failed || r.at != r.end || kind == 0 || kind >= QUEUE_RECORD_KIND_COUNT)
		return false;
	key->kind = (enum queue_record_kind)kind;
	return true;
}

static void group_free(struct group *g)
{
	free(g->changes);
	free(g->keys);
}

static bool group_make(struct group *g, const struct queue_change *changes, size_t count)
{
	*g = (struct group){ 0, calloc(count, sizeof(*g->changes)), calloc(count, KEY_BYTES) };
	if (g->changes == NULL || g->keys == NULL)
		return false;
	for (size_t i = 0; i < count; i++) {
		g->bytes += QUEUE_CHANGE_OVERHEAD + changes[i].len;
		g->changes[i] = (struct env_change){
			.key = write_key(g->keys[i], &changes[i].key),
			.value = str_span(changes[i].value, changes[i].len),
			.remove = changes[i].value == NULL,
		};
	}
	return true;
}

static enum err lmdb_commit(struct queue_backend *base, const struct queue_change *changes,
                            size_t count, bool admits)
{
	struct lmdb *b = of(base);
	struct group g;
	enum err     e = ERR_NOMEM;

	if (group_make(&g, changes, count)) {
		if (!admits)
			e = env_apply_settling(b->env, g.changes, count);
		else if (place_free_bytes(b->path) < g.bytes + g.bytes / 4 + DISK_RESERVE)
			e = ERR_LIMIT;
		else
			e = env_apply(b->env, g.changes, count);
	}
	group_free(&g);
	return e;
}

static enum err lmdb_read(struct queue_backend *base, const struct queue_key *key, char *room,
                          size_t size, size_t *len)
{
	char     text[KEY_BYTES];
	enum err e = env_get(of(base)->env, write_key(text, key), room, size, len);

	return e == ERR_TOO_LARGE ? ERR_SYNTAX : e;
}

struct walk {
	enum queue_record_kind kind;
	queue_record_fn       *fn;
	void                  *arg;
};

static bool on_entry(void *arg, struct str text, struct str value)
{
	struct walk     *w = arg;
	struct queue_key key;

	if (!read_key(text, &key))
		return true;
	return key.kind == w->kind && w->fn(w->arg, &key, value);
}

static enum err lmdb_walk(struct queue_backend *base, enum queue_record_kind kind,
                          queue_record_fn *fn, void *arg)
{
	struct walk w = { kind, fn, arg };
	char        after = (char)kind; /* before all keys of the kind, behind those of others */

	return env_walk(of(base)->env, str_span(&after, 1), on_entry, &w);
}

static void lmdb_usage(struct queue_backend *base, uint64_t *used, uint64_t *max)
{
	struct env_usage usage = { 0 };

	(void)env_usage(of(base)->env, &usage);
	*used = usage.used_bytes;
	*max = usage.limit_bytes;
}

static void lmdb_close(struct queue_backend *base)
{
	struct lmdb *b = of(base);

	env_close(b->env);
	free(b);
}

static const struct queue_backend_ops lmdb_ops = {
	.name = "lmdb",
	.ballast_bytes = 64 * 1024,
	.commit = lmdb_commit,
	.read = lmdb_read,
	.walk = lmdb_walk,
	.usage = lmdb_usage,
	.close = lmdb_close,
};

enum err queue_lmdb_open(const struct queue_backend_options *o, struct queue_backend **out,
                         struct queue_fault *fault)
{
	struct env_options eo = {
		.path = o->path, .bytes = o->bytes, .schema = QUEUE_SCHEMA, .durable = true
	};
	struct env_notice notice;
	struct lmdb      *b = calloc(1, sizeof(*b));
	enum err          e;

	if (b == NULL)
		return ERR_NOMEM;
	b->base.ops = &lmdb_ops;
	snprintf(b->path, sizeof(b->path), "%s", o->path);
	e = env_open(&eo, &b->env, &notice);
	snprintf(fault->text, sizeof(fault->text), "%s", notice.text);
	if (e != ERR_OK) {
		free(b);
		return e;
	}
	*out = &b->base;
	return ERR_OK;
}
