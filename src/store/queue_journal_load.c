#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "store/queue_journal.h"
#include "store/queue_store.h"

static enum err load_record(struct journal *j, uint32_t number,
                            const struct queue_segment_record *r)
{
	struct place *p;

	if (r->removes) {
		journal_place_remove(j, &r->key);
		return ERR_OK;
	}
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return ERR_NOMEM;
	*p = (struct place){ .key = r->key,
		             .segment = number,
		             .at = (uint32_t)r->at + QUEUE_SEGMENT_RECORD,
		             .len = (uint32_t)r->value.len };
	journal_place_set(j, p);
	return ERR_OK;
}

static enum err load_records(struct journal *j, struct segment *s, struct queue_segment_scan scan)
{
	struct queue_segment_record r;
	uint32_t                    number = s->number;
	enum err                    e = ERR_OK;

	while (e == ERR_OK && queue_segment_next(&scan, &r)) {
		s->is_damaged |= r.gap;
		e = load_record(j, number, &r);
	}
	s->is_damaged |= scan.at != scan.bytes.len;
	if (scan.expected > j->next_sequence)
		j->next_sequence = scan.expected;
	return e;
}

/* The torn end of what was written last goes, for good. */
static enum err cut(struct journal *j, const struct segment *s)
{
	char     name[JOURNAL_NAME_BYTES];
	int      fd = open(journal_name(j, s->number, name), O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	enum err e = ERR_OK;

	if (fd < 0)
		return place_err(errno);
	if (ftruncate(fd, s->length) != 0 || fsync(fd) != 0)
		e = place_err(errno);
	close(fd);
	return e;
}

static enum err set_aside(struct journal *j, uint32_t number, struct queue_fault *fault)
{
	char name[JOURNAL_NAME_BYTES], aside[JOURNAL_NAME_BYTES + 16];

	journal_name(j, number, name);
	snprintf(aside, sizeof(aside), "%s.damaged", name);
	queue_fault_add(fault, "%s is damaged: moved aside", name);
	if (rename(name, aside) != 0)
		return place_err(errno);
	return place_sync_directory(j->path);
}

/* A file as it was found. */
struct found {
	uint32_t                  number;
	char                     *bytes;
	size_t                    len;
	off_t                     file_len;
	struct queue_segment_head head;
	bool                      is_readable, is_good; /* is_good: its head */
};

/* counts: how much the next segment says there is; SIZE_MAX: it is the last one. */
static enum err load_segment(struct journal *j, const struct found *f, size_t counts,
                             struct queue_fault *fault)
{
	struct segment            s = { .number = f->number, .salt = f->head.salt };
	struct queue_segment_scan scan;
	size_t                    end = counts < f->len ? counts : f->len;
	enum err                  e = ERR_OK;

	scan = queue_segment_scan_over(str_span(f->bytes, end), &f->head);
	if (counts == SIZE_MAX)
		scan.bytes.len = end = queue_segment_end(scan, &s.is_damaged);
	s.is_damaged |= counts != SIZE_MAX && counts > f->len;
	s.length = (uint32_t)end;
	if (!journal_segment_add(j, &s))
		return ERR_NOMEM;
	if ((off_t)end < f->file_len) {
		fault->cut_bytes += counts == SIZE_MAX ? (uint64_t)f->file_len - end : 0;
		e = cut(j, &s);
	}
	return e == ERR_OK ? load_records(j, journal_last(j), scan) : e;
}

static int by_segment_number(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return x->number < y->number ? -1 : x->number > y->number;
}

static enum err list_segments(const char *path, struct found **out, size_t *count)
{
	DIR           *d = opendir(path);
	struct dirent *en;
	size_t         size = 0;
	uint32_t       number;

	if (d == NULL)
		return place_err(errno);
	while ((en = readdir(d)) != NULL) {
		if (!journal_number_of(en->d_name, &number))
			continue;
		if (*count == size) {
			struct found *more = realloc(*out, (size = size * 2 + 16) * sizeof(**out));

			if (more == NULL)
				break;
			*out = more;
		}
		(*out)[(*count)++] = (struct found){ .number = number };
	}
	closedir(d);
	if (en != NULL)
		return ERR_NOMEM;
	if (*count > 1)
		qsort(*out, *count, sizeof(**out), by_segment_number);
	return ERR_OK;
}

static enum err read_found(struct journal *j, struct found *f)
{
	enum err e = journal_slurp(j, f->number, &f->bytes, &f->len, &f->file_len);

	if (f->number > j->last_number)
		j->last_number = f->number;
	if (e != ERR_OK)
		return e == ERR_NOMEM ? e : ERR_OK;
	f->is_readable = true;
	e = queue_segment_read_head(str_span(f->bytes, f->len), &f->head);
	if (e == ERR_OK && f->head.number != f->number)
		e = ERR_SYNTAX;
	f->is_good = e == ERR_OK;
	return e == ERR_SYNTAX ? ERR_OK : e;
}

/* A segment whose head is not good: one that was being made when the power went, or damage. */
static enum err load_bad(struct journal *j, const struct found *f, bool is_last,
                         struct queue_fault *fault)
{
	char name[JOURNAL_NAME_BYTES];

	journal_name(j, f->number, name);
	if (!f->is_readable) {
		queue_fault_add(fault, "%s cannot be read; it is left where it is", name);
		return ERR_OK;
	}
	if (!is_last || f->file_len > QUEUE_SEGMENT_HEAD)
		return set_aside(j, f->number, fault);
	fault->cut_bytes += (uint64_t)f->file_len + 1;
	if (unlink(name) != 0)
		return place_err(errno);
	return place_sync_directory(j->path);
}

/* next: the segment behind it; NULL: none. */
static enum err load_found(struct journal *j, const struct found *f, const struct found *next,
                           struct queue_fault *fault)
{
	bool tells = next != NULL && next->is_good && next->head.number_before == f->number;

	if (!f->is_good)
		return load_bad(j, f, next == NULL, fault);
	if (j->count > 0 && f->head.number_before != journal_last(j)->number)
		queue_fault_add(fault, "a segment before journal.%08lx is missing",
		                (unsigned long)f->number);
	return load_segment(j, f, tells ? next->head.length_before : SIZE_MAX, fault);
}

static enum err load_all(struct journal *j, struct found *found, size_t count,
                         struct queue_fault *fault)
{
	enum err e = count > 0 ? read_found(j, &found[0]) : ERR_OK;

	for (size_t i = 0; i < count && e == ERR_OK; i++) {
		struct found *next = i + 1 < count ? &found[i + 1] : NULL;

		if (next != NULL)
			e = read_found(j, next);
		if (e == ERR_OK)
			e = load_found(j, &found[i], next, fault);
		free(found[i].bytes);
		found[i].bytes = NULL;
	}
	for (size_t i = 0; i < count; i++)
		free(found[i].bytes);
	return e;
}

static void say_damage(struct journal *j, struct queue_fault *fault)
{
	for (size_t i = 0; i < j->count; i++)
		if (j->segments[i].is_damaged)
			queue_fault_add(fault,
			                "journal.%08lx is damaged, what can be read of it is kept",
			                (unsigned long)j->segments[i].number);
}

enum err journal_load(struct journal *j, struct queue_fault *fault)
{
	struct found *found = NULL;
	size_t        count = 0;
	enum err      e = list_segments(j->path, &found, &count);

	if (e == ERR_OK)
		e = load_all(j, found, count, fault);
	free(found);
	if (e == ERR_OK)
		say_damage(j, fault);
	return e;
}

bool queue_journal_exists(const char *path)
{
	struct found *found = NULL;
	size_t        count = 0;
	bool          is_there = list_segments(path, &found, &count) == ERR_OK && count > 0;

	free(found);
	return is_there;
}
