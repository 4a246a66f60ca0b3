#include "store/queue_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loop/loop.h"
#include "store/queue_store.h"

/* Left free on the disk by admission: JFFS2 needs free erase blocks, we a segment. */
enum { DISK_RESERVE = 3 * 64 * 1024 + QUEUE_SEGMENT_MAX };

static struct journal *of(struct queue_backend *b)
{
	return (struct journal *)(void *)b;
}

/* --- writing --- */

static enum err write_all(int fd, const char *bytes, size_t len, off_t at)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, bytes, len, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? ERR_IO : place_err(errno);
		bytes += n;
		len -= (size_t)n;
		at += n;
	}
	return ERR_OK;
}

static void stop_writing(struct journal *j)
{
	if (j->fd >= 0)
		close(j->fd);
	j->fd = -1;
}

static enum err write_new(int fd, const struct queue_segment_head *h)
{
	char     head[QUEUE_SEGMENT_HEAD];
	enum err e;

	queue_segment_write_head(head, h);
	e = write_all(fd, head, sizeof(head), 0);
	return e == ERR_OK && fsync(fd) != 0 ? place_err(errno) : e;
}

static enum err open_new(struct journal *j, const struct queue_segment_head *h)
{
	char     name[JOURNAL_NAME_BYTES];
	enum err e;

	(void)unlink(journal_name(j, h->number, name)); /* of a try that failed */
	j->fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (j->fd < 0)
		return place_err(errno);
	e = write_new(j->fd, h);
	if (e == ERR_OK)
		e = place_sync_directory(j->path);
	if (e == ERR_OK)
		return ERR_OK;
	stop_writing(j);
	(void)unlink(name);
	return e;
}

enum err journal_new_segment(struct journal *j)
{
	struct queue_segment_head h = { .number = j->last_number + 1,
		                        .first_sequence = j->next_sequence };
	struct segment            s = { .number = h.number, .length = QUEUE_SEGMENT_HEAD };
	enum err                  e;

	stop_writing(j);
	if (j->count > 0) {
		h.number_before = journal_last(j)->number;
		h.length_before = journal_last(j)->length;
	}
	loop_random(&h.salt, sizeof(h.salt));
	e = open_new(j, &h);
	if (e != ERR_OK)
		return e;
	j->last_number = h.number;
	s.salt = h.salt;
	if (journal_segment_add(j, &s))
		return ERR_OK;
	stop_writing(j);
	return ERR_NOMEM;
}

/* What is about to be written, and where it will be. */
struct group {
	struct queue_segment_record *records;
	struct place               **places; /* one for each record that puts; NULL */
	size_t                       count, size;
};

static void group_free(struct group *g)
{
	for (size_t i = 0; g->places != NULL && i < g->count; i++)
		free(g->places[i]);
	free(g->places);
	free(g->records);
}

static bool group_init(struct group *g, size_t count)
{
	count++; /* calloc(0) may be NULL */
	*g = (struct group){ .records = calloc(count, sizeof(*g->records)),
		             .places = calloc(count, sizeof(*g->places)) };
	return g->records != NULL && g->places != NULL;
}

static bool group_add(struct group *g, const struct queue_key *key, struct str value, bool removes)
{
	struct queue_segment_record *r = &g->records[g->count];

	*r = (struct queue_segment_record){
		.key = *key, .value = value, .removes = removes, .position = (uint32_t)g->count
	};
	if (!removes && (g->places[g->count] = calloc(1, sizeof(struct place))) == NULL)
		return false;
	g->size += queue_segment_record_size(value.len);
	g->count++;
	return true;
}

static void lay_out(struct journal *j, const struct group *g, char *bytes)
{
	struct segment *s = journal_last(j);
	size_t          at = s->length;

	for (size_t i = 0; i < g->count; i++) {
		struct queue_segment_record *r = &g->records[i];

		r->sequence = j->next_sequence++;
		r->is_last = i + 1 == g->count;
		if (!r->removes)
			*g->places[i] = (struct place){ .key = r->key,
				                        .segment = s->number,
				                        .at = (uint32_t)at + QUEUE_SEGMENT_RECORD,
				                        .len = (uint32_t)r->value.len };
		at += queue_segment_write_record(bytes + at - s->length, s->salt, r);
	}
}

static enum err flush_group(struct journal *j, const char *bytes, size_t size)
{
	struct segment *s = journal_last(j);
	enum err        e = write_all(j->fd, bytes, size, s->length);

	if (e == ERR_OK && fdatasync(j->fd) != 0)
		e = place_err(errno);
	if (e == ERR_OK)
		return ERR_OK;
	/* what the disk has of it is not known: nothing more into this file */
	if (ftruncate(j->fd, s->length) != 0) {
		/* the next segment tells what counts */
	}
	stop_writing(j);
	return e;
}

/* Its places belong to the journal then. */
static void group_apply(struct journal *j, struct group *g)
{
	journal_last(j)->length += (uint32_t)g->size;
	j->total += g->size;
	for (size_t i = 0; i < g->count; i++) {
		if (g->records[i].removes)
			journal_place_remove(j, &g->records[i].key);
		else
			journal_place_set(j, g->places[i]);
		g->places[i] = NULL;
	}
}

static enum err group_write(struct journal *j, struct group *g)
{
	char    *bytes;
	enum err e = ERR_OK;

	if (g->count == 0)
		return ERR_OK;
	check(g->size <= QUEUE_SEGMENT_MAX - QUEUE_SEGMENT_HEAD);
	if (j->fd < 0 || journal_last(j)->length + g->size > QUEUE_SEGMENT_MAX)
		e = journal_new_segment(j);
	if (e != ERR_OK)
		return e;
	bytes = malloc(g->size);
	if (bytes == NULL)
		return ERR_NOMEM;
	lay_out(j, g, bytes);
	e = flush_group(j, bytes, g->size);
	if (e == ERR_OK)
		group_apply(j, g);
	free(bytes);
	return e;
}

static uint64_t admission_end(const struct journal *j)
{
	return j->bytes_max / 5 * 3; /* live bytes; the rest is garbage and room to tidy it up */
}

static bool has_room(const struct journal *j, size_t size)
{
	return j->live + size <= admission_end(j) && j->total + size <= j->bytes_max &&
		place_free_bytes(j->path) >= size + size / 4 + DISK_RESERVE;
}

static enum err journal_commit(struct queue_backend *base, const struct queue_change *changes,
                               size_t count, bool admits)
{
	struct journal *j = of(base);
	struct group    g;
	bool            ok = group_init(&g, count);
	enum err        e = ERR_NOMEM;

	for (size_t i = 0; i < count && ok; i++) {
		bool removes = changes[i].value == NULL;

		if (!removes || *journal_place_find(j, &changes[i].key) != NULL)
			ok = group_add(&g, &changes[i].key,
			               str_span(changes[i].value, changes[i].len), removes);
	}
	if (ok && admits && !has_room(j, g.size))
		e = ERR_LIMIT;
	else if (ok)
		e = group_write(j, &g);
	group_free(&g);
	return e;
}

/* --- reading --- */

static enum err open_for_reading(struct journal *j, uint32_t number)
{
	char name[JOURNAL_NAME_BYTES];

	if (j->read_fd >= 0 && j->read_number == number)
		return ERR_OK;
	if (j->read_fd >= 0)
		close(j->read_fd);
	j->read_fd = open(journal_name(j, number, name), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	j->read_number = number;
	if (j->read_fd >= 0)
		return ERR_OK;
	return errno == ENOENT ? ERR_SYNTAX : place_err(errno);
}

static enum err read_value(struct journal *j, const struct place *p, char *room)
{
	enum err e = open_for_reading(j, p->segment);
	size_t   have = 0;

	while (e == ERR_OK && have < p->len) {
		ssize_t n = pread(j->read_fd, room + have, p->len - have, (off_t)(p->at + have));

		if (n > 0)
			have += (size_t)n;
		else if (n == 0)
			e = ERR_SYNTAX; /* shorter than it was */
		else if (errno != EINTR)
			e = ERR_IO;
	}
	return e;
}

static enum err journal_read(struct queue_backend *base, const struct queue_key *key, char *room,
                             size_t size, size_t *len)
{
	struct journal *j = of(base);
	struct place   *p = *journal_place_find(j, key);

	if (p == NULL)
		return ERR_NOT_FOUND;
	if (p->len > size)
		return ERR_SYNTAX;
	*len = p->len;
	return read_value(j, p, room);
}

static int by_key(const void *a, const void *b)
{
	const struct place *const *x = a, *const *y = b;

	if ((*x)->key.number != (*y)->key.number)
		return (*x)->key.number < (*y)->key.number ? -1 : 1;
	return (*x)->key.part < (*y)->key.part ? -1 : (*x)->key.part > (*y)->key.part;
}

static size_t places_of(const struct journal *j, enum queue_record_kind kind, struct place **out)
{
	size_t n = 0;

	for (size_t i = 0; i < j->bucket_count; i++)
		for (struct place *p = j->buckets[i]; p != NULL; p = p->next)
			if (p->key.kind == kind)
				out[n++] = p;
	return n;
}

static enum err journal_walk(struct queue_backend *base, enum queue_record_kind kind,
                             queue_record_fn *fn, void *arg)
{
	struct journal *j = of(base);
	struct place  **places = calloc(j->place_count + 1, sizeof(struct place *));
	char           *room = malloc(QUEUE_VALUE_MAX);
	bool            ok = places != NULL && room != NULL;
	size_t          count = ok ? places_of(j, kind, places) : 0;

	if (count > 1)
		qsort(places, count, sizeof(struct place *), by_key);
	for (size_t i = 0; i < count; i++) {
		struct place *p = places[i];
		struct str    value = { NULL, 0 };

		if (p->len <= QUEUE_VALUE_MAX && read_value(j, p, room) == ERR_OK)
			value = str_span(room, p->len);
		if (!fn(arg, &p->key, value))
			break;
	}
	free(places);
	free(room);
	return ok ? ERR_OK : ERR_NOMEM;
}

/* --- housekeeping --- */

/* The name goes for good; what is damaged is kept under another one. */
static enum err drop_oldest(struct journal *j)
{
	struct segment *s = &j->segments[0];
	char            name[JOURNAL_NAME_BYTES], aside[JOURNAL_NAME_BYTES + 16];
	enum err        e;

	journal_name(j, s->number, name);
	snprintf(aside, sizeof(aside), "%s.damaged", name);
	if ((s->is_damaged ? rename(name, aside) : unlink(name)) != 0 && errno != ENOENT)
		return place_err(errno);
	e = place_sync_directory(j->path);
	if (e != ERR_OK)
		return e;
	if (j->read_fd >= 0 && j->read_number == s->number) {
		close(j->read_fd);
		j->read_fd = -1;
	}
	j->total -= s->length;
	j->count--;
	memmove(s, s + 1, j->count * sizeof(*s));
	return ERR_OK;
}

enum err journal_slurp(struct journal *j, uint32_t number, char **out, size_t *len, off_t *file_len)
{
	struct place all = { .segment = number };
	struct stat  st;
	enum err     e = open_for_reading(j, number);

	if (e == ERR_OK && fstat(j->read_fd, &st) != 0)
		e = ERR_IO;
	if (e != ERR_OK)
		return e;
	*file_len = st.st_size;
	all.len = st.st_size < QUEUE_SEGMENT_MAX ? (uint32_t)st.st_size : QUEUE_SEGMENT_MAX;
	*len = all.len;
	*out = malloc(all.len + 1u);
	e = *out == NULL ? ERR_NOMEM : read_value(j, &all, *out);
	if (e != ERR_OK) {
		free(*out);
		*out = NULL;
	}
	return e;
}

static bool is_live(const struct journal *j, uint32_t number, const struct queue_segment_record *r)
{
	const struct place *p = *journal_place_find(j, &r->key);

	return p != NULL && !r->removes && p->segment == number &&
		p->at == r->at + QUEUE_SEGMENT_RECORD;
}

/* The live records of a segment, into g; or, g being NULL, only counts them. */
static bool gather_live(struct journal *j, uint32_t number, struct queue_segment_scan scan,
                        struct group *g, size_t *count)
{
	struct queue_segment_record r;

	for (*count = 0; queue_segment_next(&scan, &r);)
		if (is_live(j, number, &r)) {
			++*count;
			if (g != NULL && !group_add(g, &r.key, r.value, false))
				return false;
		}
	return true;
}

static enum err copy_live(struct journal *j, uint32_t number, struct str bytes)
{
	struct queue_segment_head h;
	struct queue_segment_scan scan;
	struct group              g;
	size_t                    count;
	enum err                  e = queue_segment_read_head(bytes, &h);

	if (e != ERR_OK)
		return ERR_OK; /* rotten since it was opened: nothing of it can be told */
	scan = queue_segment_scan_over(bytes, &h);
	gather_live(j, number, scan, NULL, &count);
	e = group_init(&g, count) && gather_live(j, number, scan, &g, &count) ? group_write(j, &g)
									      : ERR_NOMEM;
	group_free(&g);
	return e;
}

/* Live records of the oldest segment go to the end; all of them, or it stays. */
static enum err move_oldest(struct journal *j)
{
	struct segment s = j->segments[0];
	size_t         len;
	off_t          file_len;
	char          *bytes;
	enum err       e = journal_slurp(j, s.number, &bytes, &len, &file_len);

	if (e != ERR_OK)
		return e;
	e = copy_live(j, s.number, str_span(bytes, len < s.length ? len : s.length));
	free(bytes);
	if (e == ERR_OK && j->segments[0].live > 0)
		journal_places_give_up(j, &j->segments[0]);
	return e;
}

static bool needs_tidying(const struct journal *j)
{
	uint64_t garbage = j->total - j->live;

	if (j->count < 2)
		return false;
	return j->segments[0].live == 0 || garbage > j->live + 2 * QUEUE_SEGMENT_MAX ||
		(j->total + QUEUE_SEGMENT_MAX > j->bytes_max && garbage > QUEUE_SEGMENT_MAX);
}

static bool journal_tidy(struct queue_backend *base)
{
	struct journal *j = of(base);

	if (!needs_tidying(j))
		return false;
	if (j->segments[0].live > 0 && move_oldest(j) != ERR_OK)
		return false;
	return drop_oldest(j) == ERR_OK && needs_tidying(j);
}

static void journal_usage(struct queue_backend *base, uint64_t *used, uint64_t *max)
{
	*used = of(base)->total;
	*max = admission_end(of(base));
}

/* --- opening and closing --- */

/* Goes on in the last one if it is as it should be. */
static void open_last(struct journal *j)
{
	char name[JOURNAL_NAME_BYTES];

	if (j->count > 0 && !journal_last(j)->is_damaged)
		j->fd = open(journal_name(j, journal_last(j)->number, name),
		             O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
}

static enum err open_in(struct journal *j, struct queue_fault *fault)
{
	enum err e = journal_load(j, fault);

	if (e == ERR_UNSUPPORTED)
		queue_fault_add(fault, "%s was written by another doorstep; it is left alone",
		                j->path);
	if (e != ERR_OK)
		return e;
	open_last(j);
	if (j->count ==
	    0) /* now, so that what cannot be written is known before anything is promised */
		e = journal_new_segment(j);
	if (e != ERR_OK && fault->text[0] == '\0')
		queue_fault_add(fault, "%s cannot be written: %s", j->path, strerror(errno));
	return e;
}

static void journal_close(struct queue_backend *base)
{
	struct journal *j = of(base);

	stop_writing(j);
	if (j->read_fd >= 0)
		close(j->read_fd);
	journal_places_fini(j);
	free(j);
}

/*
 * JFFS2 refuses to write where it could not win back more than an erase block and a hundredth of the chip.
 * (jffs2_reserve_space() in Linux: nospc_dirty_size)
 */
static const struct queue_backend_ops journal_ops = {
	.name = "journal",
	.ballast_bytes = 3 * 64 * 1024,
	.ballast_share = 100,
	.commit = journal_commit,
	.read = journal_read,
	.walk = journal_walk,
	.tidy = journal_tidy,
	.usage = journal_usage,
	.close = journal_close,
};

enum err queue_journal_open(const struct queue_backend_options *o, struct queue_backend **out,
                            struct queue_fault *fault)
{
	struct journal *j = calloc(1, sizeof(*j));
	enum err        e;

	if (j == NULL)
		return ERR_NOMEM;
	j->base.ops = &journal_ops;
	j->fd = j->read_fd = -1;
	j->next_sequence = 1;
	j->bytes_max = o->bytes;
	snprintf(j->path, sizeof(j->path), "%s", o->path);
	e = journal_places_init(j) ? open_in(j, fault) : ERR_NOMEM;
	if (e == ERR_OK)
		*out = &j->base;
	else
		journal_close(&j->base);
	return e;
}
