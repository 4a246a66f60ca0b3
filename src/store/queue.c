#include "store/queue.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "store/place.h"
#include "store/queue_inside.h"

enum { TIDY_EVERY = 8 }; /* commits, when the writer is never idle */

static const uint64_t clock_is_set_ms = 1577836800ull * 1000; /* 2020 */

static void start_next(struct queue *q);

/* --- telling --- */

void queue_put_free(struct queue_put *p)
{
	struct queue    *q = p->op.q;
	struct leftover *lo;

	if (p->parts_written + p->parts_in_job > 0 && (lo = malloc(sizeof(*lo))) != NULL) {
		lo->body = p->body;
		lo->parts = p->parts_written + p->parts_in_job;
		list_push_back(&q->leftovers, &lo->link);
	}
	if (p->entry != NULL)
		queue_index_uncharge(&q->store.index, p->lane,
		                     queue_entry_cost(p->record_len, p->body_len));
	free(p->entry);
	p->lane->pending--;
	queue_lane_drop(&q->store.index, p->lane);
	q->pending_bytes -= p->block_len;
	list_remove(&p->op.link);
	free(p->block);
	free(p);
}

static void deliver_put(struct queue_put *p)
{
	queue_put_done_fn *done = p->slot == NULL ? NULL : p->done;
	struct queue      *q = p->op.q;
	enum err           e = p->op.result;
	void              *arg = p->arg;

	if (p->slot != NULL)
		*p->slot = NULL;
	q->counts.refused += e == ERR_LIMIT;
	q->counts.failed += e != ERR_OK && e != ERR_LIMIT && e != ERR_EXISTS;
	queue_put_free(p);
	if (done != NULL)
		done(arg, e);
}

static void deliver_settle(struct queue_settle *s)
{
	queue_settle_done_fn *done = s->slot == NULL ? NULL : s->done;
	enum err              e = s->op.result;
	void                 *arg = s->arg;

	if (s->slot != NULL)
		*s->slot = NULL;
	free(s);
	if (done != NULL)
		done(arg, e);
}

static void close_now(struct queue *q);

static void deliver(struct queue *q)
{
	struct link *l;

	q->delivering++;
	while (!q->closing && (l = list_pop(&q->finished)) != NULL) {
		struct op *op = LIST_ENTRY(l, struct op, link);

		switch (op->kind) {
		case OP_PUT:
			deliver_put((struct queue_put *)(void *)op);
			break;
		case OP_READ:
			queue_read_deliver((struct queue_read *)(void *)op);
			break;
		case OP_SETTLE:
			deliver_settle((struct queue_settle *)(void *)op);
			break;
		}
	}
	q->delivering--;
}

/* --- jobs --- */

static void run(void *arg)
{
	struct queue         *q = arg;
	struct queue_backend *b = q->store.backend;

	switch (q->job.kind) {
	case JOB_COMMIT:
		queue_group_run(q);
		break;
	case JOB_TIDY:
		q->job.more = b->ops->tidy(b);
		break;
	case JOB_READ:
		queue_reads_run(q);
		break;
	}
}

static void job_over(struct queue *q)
{
	q->last = q->job.kind;
	switch (q->job.kind) {
	case JOB_COMMIT:
		queue_group_done(q);
		q->tidy_due = q->store.backend->ops->tidy != NULL;
		q->commits_since_tidy++;
		break;
	case JOB_TIDY:
		q->tidy_due = q->job.more;
		q->commits_since_tidy = 0;
		break;
	case JOB_READ:
		queue_reads_done(q);
		break;
	}
}

static void on_job(void *arg)
{
	struct queue *q = arg;

	q->running = false;
	job_over(q);
	start_next(q); /* the writer first, then the answers */
	deliver(q);
	if (q->closing)
		close_now(q);
}

static void start_job(struct queue *q)
{
	q->running = true;
	if (work_start(&q->work, q->loop, run, on_job, q) == ERR_OK)
		return;
	q->job.put_result = q->job.settle_result = ERR_NOMEM;
	for (struct link *l = q->job.ops.next; q->job.kind == JOB_READ && l != &q->job.ops;
	     l = l->next)
		LIST_ENTRY(l, struct op, link)->result = ERR_NOMEM;
	q->job.more = false;
	q->running = false;
	job_over(q);
	soon_call(&q->kick); /* to tell, and to try again */
}

static bool start_reading(struct queue *q)
{
	if (list_empty(&q->reads) || !queue_reads_gather(q))
		return false;
	start_job(q);
	return true;
}

static bool start_writing(struct queue *q)
{
	if (list_empty(&q->puts) && list_empty(&q->settles) && list_empty(&q->leftovers))
		return false;
	if (!queue_group_build(q))
		return false;
	start_job(q);
	return true;
}

static bool start_tidying(struct queue *q)
{
	if (!q->tidy_due)
		return false;
	q->job.kind = JOB_TIDY;
	start_job(q);
	return true;
}

/* A job for what waits, reading and writing in turn. */
static void start_next(struct queue *q)
{
	if (q->running || q->closing)
		return;
	if (q->last != JOB_READ && start_reading(q))
		return;
	if (q->commits_since_tidy >= TIDY_EVERY && start_tidying(q))
		return;
	if (start_writing(q) || start_reading(q))
		return;
	(void)start_tidying(q);
}

static void on_kick(void *arg)
{
	struct queue *q = arg;

	start_next(q);
	deliver(q);
	if (q->closing)
		close_now(q);
}

/* --- put --- */

static enum err put_check(const struct queue *q, const struct queue_item *item)
{
	enum err e = queue_record_check_item(item);

	if (e != ERR_OK)
		return e;
	if (item->at_unix_ms < clock_is_set_ms)
		return ERR_BUSY;
	/* the largest head is a little more with what is written around it */
	return item->body.len + QUEUE_HEAD_MAX + q->pending_bytes > q->o.pending_bytes_max
		? ERR_LIMIT
		: ERR_OK;
}

static void copy_body(struct queue_put *p, struct str body)
{
	char *to = p->block + p->record_len;

	for (size_t i = 0; i < p->parts; i++) {
		struct str part =
			str_head(str_from(body, i * (size_t)QUEUE_PART_BYTES), QUEUE_PART_BYTES);

		memcpy(to + QUEUE_PART_ROOM, part.ptr, part.len);
		to += QUEUE_PART_ROOM + part.len;
	}
}

/* All that can be known without looking at what is there. */
static struct queue_put *put_new(struct queue *q, const struct queue_item *item)
{
	struct queue_put *p = calloc(1, sizeof(*p));

	if (p == NULL)
		return NULL;
	p->op.kind = OP_PUT;
	p->op.q = q;
	p->record_len = queue_record_item_size(item);
	p->body_len = item->body.len;
	p->parts = queue_record_parts(p->body_len);
	p->block_len = p->record_len;
	if (p->parts > 0)
		p->block_len += p->body_len + p->parts * QUEUE_PART_ROOM;
	p->block = malloc(p->block_len);
	p->lane = p->block == NULL
		? NULL
		: queue_lane_hold(&q->store.index, item->server_name, item->origin);
	if (p->lane == NULL) {
		free(p->block);
		free(p);
		return NULL;
	}
	queue_record_write_item(p->block, item);
	copy_body(p, item->body);
	p->id_mark = queue_mark_of(item->transaction_id);
	memcpy(p->body_mark.bytes, item->body_hash, sizeof(p->body_mark.bytes));
	p->at_unix_ms = item->at_unix_ms;
	return p;
}

enum err queue_put_start(struct queue_put **slot, struct queue *q, const struct queue_item *item,
                         bool known, queue_put_done_fn *done, void *arg)
{
	struct queue_put *p;
	enum err          e = put_check(q, item);

	q->counts.refused += e == ERR_LIMIT;
	if (e != ERR_OK)
		return e;
	p = put_new(q, item);
	if (p == NULL)
		return ERR_NOMEM;
	p->known = known;
	p->slot = slot;
	p->done = done;
	p->arg = arg;
	p->lane->pending++;
	q->pending_bytes += p->block_len;
	list_push_back(&q->puts, &p->op.link);
	*slot = p;
	soon_call(&q->kick);
	return ERR_OK;
}

void queue_put_cancel(struct queue_put **slot)
{
	struct queue_put *p = *slot;

	if (p == NULL)
		return;
	*slot = NULL;
	p->slot = NULL;
	if (p->op.state == OP_WAITING) {
		soon_call(&p->op.q->kick); /* parts may be left over */
		queue_put_free(p);
	} else if (p->op.state == OP_IN_JOB && !p->publishes) {
		p->abandoned = true;
	}
}

/* --- settle --- */

/* Waits again; the count of tries goes to the disk with whatever goes there next. */
static void note_retry(struct queue *q, struct queue_entry *en)
{
	if (en->state == ENTRY_PARKED)
		return;
	en->tries++;
	en->was_given = true;
	if (en->first_try_unix_ms == 0)
		en->first_try_unix_ms = loop_unix_ms(q->loop);
	queue_set_due(q, en, true);
	if (en->state == ENTRY_IN_HAND)
		queue_index_move(&q->store.index, en, ENTRY_WAITING);
}

enum err queue_settle_start(struct queue_settle **slot, struct queue *q, uint64_t sequence,
                            enum queue_verdict verdict, struct str reason,
                            queue_settle_done_fn *done, void *arg)
{
	struct queue_entry  *en = queue_index_find(&q->store.index, sequence);
	struct queue_settle *s;

	if (en == NULL || en->state == ENTRY_SEEN)
		return ERR_NOT_FOUND;
	if (en->settling)
		return ERR_BUSY;
	s = calloc(1, sizeof(*s));
	if (s == NULL)
		return ERR_NOMEM;
	s->op.kind = OP_SETTLE;
	s->op.q = q;
	s->slot = slot;
	s->done = done;
	s->arg = arg;
	s->sequence = sequence;
	s->verdict = verdict;
	s->reason_len = reason.len < QUEUE_REASON_MAX ? reason.len : QUEUE_REASON_MAX;
	if (s->reason_len > 0)
		memcpy(s->reason, reason.ptr, s->reason_len);
	list_push_back(&q->settles, &s->op.link);
	*slot = s;
	if (verdict == QUEUE_RETRY) {
		note_retry(q, en);
		queue_finish(&s->op, ERR_OK);
	} else {
		en->settling = true;
	}
	soon_call(&q->kick);
	return ERR_OK;
}

void queue_settle_cancel(struct queue_settle **slot)
{
	if (*slot == NULL)
		return;
	(*slot)->slot = NULL;
	*slot = NULL;
}

/* --- opening and closing --- */

static size_t or_default(size_t given, size_t otherwise)
{
	return given != 0 ? given : otherwise;
}

static uint64_t or_default_u64(uint64_t given, uint64_t otherwise)
{
	return given != 0 ? given : otherwise;
}

static void fill_options(struct queue_options *o)
{
	o->map_bytes = or_default(o->map_bytes, 16 * 1024 * 1024);
	o->items_max = or_default(o->items_max, 4096);
	o->origin_items_max = or_default(o->origin_items_max, o->items_max / 4);
	o->seen_max = or_default(o->seen_max, 4096);
	o->pending_bytes_max = or_default(o->pending_bytes_max, 4 * 1024 * 1024);
}

static void fill_shares(struct queue_options *o)
{
	o->origin_bytes_max = or_default_u64(o->origin_bytes_max, o->bytes_max / 4);
	o->reserve_bytes = or_default_u64(o->reserve_bytes, o->bytes_max / 4);
}

void queue_set_bytes_max(struct queue *q, uint64_t bytes_max)
{
	if (bytes_max == 0 || bytes_max == q->o.bytes_max)
		return;
	q->o.bytes_max = bytes_max;
	q->o.origin_bytes_max = q->o.reserve_bytes = 0;
	fill_shares(&q->o);
}

static void fill_quotas(struct queue_options *o)
{
	uint64_t half = o->map_bytes / 2, left = place_free_bytes(o->state_dir) / 2;

	o->bytes_max = or_default_u64(o->bytes_max, left < half ? left : half);
	fill_shares(o);
	if (o->reserve_bytes > o->bytes_max)
		o->reserve_bytes = o->bytes_max;
}

enum err queue_open(const struct queue_options *o, struct queue **out, struct queue_fault *fault)
{
	struct queue *q = calloc(1, sizeof(*q));
	enum err      e;

	fault->text[0] = '\0';
	if (q == NULL)
		return ERR_NOMEM;
	q->loop = o->loop;
	q->o = *o;
	fill_options(&q->o);
	e = queue_store_open(&q->store, &q->o, fault);
	if (e != ERR_OK) {
		free(q);
		return e;
	}
	fill_quotas(&q->o);
	q->o.state_dir = NULL;
	q->counts.damaged = q->store.damaged;
	q->store.backend->ops->usage(q->store.backend, &q->counts.disk_bytes, &q->counts.disk_max);
	soon_init(&q->kick, q->loop, on_kick, q);
	list_init(&q->puts);
	list_init(&q->settles);
	list_init(&q->reads);
	list_init(&q->finished);
	list_init(&q->leftovers);
	list_init(&q->job.ops);
	list_init(&q->job.leftovers);
	*out = q;
	return ERR_OK;
}

static void free_ops(struct link *list)
{
	struct link *l;

	while ((l = list_pop(list)) != NULL) {
		struct op *op = LIST_ENTRY(l, struct op, link);

		switch (op->kind) {
		case OP_PUT:
			queue_put_free((struct queue_put *)(void *)op);
			break;
		case OP_READ:
			queue_item_free(((struct queue_read *)(void *)op)->item);
			free(op);
			break;
		case OP_SETTLE:
			free(op);
			break;
		}
	}
}

static void free_leftovers(struct link *list)
{
	struct link *l;

	while ((l = list_pop(list)) != NULL)
		free(LIST_ENTRY(l, struct leftover, link));
}

/*
 * Of a job that may have begun or not. Whether parts were published is known at the next start; a verdict can be
 * written twice.
 */
static void take_back(struct queue *q)
{
	struct link *l = q->job.ops.next, *next;

	for (; l != &q->job.ops; l = next) {
		struct op        *op = LIST_ENTRY(l, struct op, link);
		struct queue_put *p = (struct queue_put *)(void *)op;

		next = l->next;
		if (op->kind == OP_PUT) {
			p->parts_written = p->parts_in_job = 0;
		} else if (op->kind == OP_SETTLE) {
			list_remove(l);
			list_push_back(&q->settles, l);
		}
	}
	free_ops(&q->job.ops);
	free_leftovers(&q->job.leftovers);
}

static void close_now(struct queue *q)
{
	if (q->delivering > 0 || q->running)
		return;
	take_back(q);
	free_ops(&q->puts);
	free_ops(&q->reads);
	free_ops(&q->finished);
	while (queue_group_build_last(q)) {
		queue_group_run(q);
		free_ops(&q->job.ops);
		free_leftovers(&q->job.leftovers);
	}
	free_leftovers(&q->leftovers);
	soon_clear(&q->kick);
	queue_store_close(&q->store);
	free(q);
}

/* The job that ran when the queue was closed is over, or did not begin. */
static void on_forget(void *arg)
{
	struct queue *q = arg;

	q->running = false;
	close_now(q);
}

void queue_close(struct queue *q)
{
	if (q == NULL)
		return;
	q->closing = true;
	soon_clear(&q->kick);
	if (q->running)
		work_cancel(&q->work, on_forget);
	else
		close_now(q);
}
