#include "store/queue.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "store/place.h"
#include "store/queue_inside.h"

enum {
	READS_AT_ONCE = 4,
	TIDY_EVERY = 8, /* commits, when the writer is never idle */
};

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

static void info_of(const struct queue_entry *en, struct queue_info *out)
{
	static const enum queue_state states[] = {
		[ENTRY_WAITING] = QUEUE_WAITING,
		[ENTRY_IN_HAND] = QUEUE_IN_HAND,
		[ENTRY_PARKED] = QUEUE_PARKED,
	};

	*out = (struct queue_info){
		.sequence = en->sequence,
		.state = states[en->state],
		.server_name = queue_lane_name(en->lane),
		.origin = queue_lane_origin(en->lane),
		.at_unix_ms = en->at_unix_ms,
		.bytes = queue_entry_bytes(en),
		.tries = en->tries,
		.first_try_unix_ms = en->first_try_unix_ms,
		.reason = en->reason == NULL ? STRL("") : str_of(en->reason),
	};
}

static void deliver_read(struct queue_read *r)
{
	struct queue_entry *en = queue_index_find(&r->op.q->store.index, r->sequence);
	queue_read_done_fn *done = r->done;
	struct queue_item  *item = r->item;
	struct queue_info   info;
	enum err            e = r->op.result;
	void               *arg = r->arg;

	if (e == ERR_OK && (en == NULL || en->state == ENTRY_SEEN)) { /* dropped meanwhile */
		queue_item_free(item);
		e = ERR_NOT_FOUND;
	}
	*r->slot = NULL;
	free(r);
	if (e != ERR_OK) {
		done(arg, e, NULL, NULL);
		return;
	}
	info_of(en, &info);
	info.server_name = item->server_name;
	info.origin = item->origin;
	done(arg, ERR_OK, &info, item);
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
			deliver_read((struct queue_read *)(void *)op);
			break;
		case OP_SETTLE:
			deliver_settle((struct queue_settle *)(void *)op);
			break;
		}
	}
	q->delivering--;
}

/* --- jobs --- */

/* An item that cannot be read is set aside, so that those behind it can go on. */
static void set_aside(struct queue *q, struct queue_entry *en)
{
	if (log_begin(LOG_ERROR, "store.queue.damaged")) {
		log_num("sequence", (int64_t)en->sequence);
		log_str("origin", queue_lane_origin(en->lane));
		log_end();
	}
	q->counts.damaged++;
	free(en->reason);
	en->reason = str_dup(STRL("damaged on the disk"));
	queue_index_move(&q->store.index, en, ENTRY_PARKED);
	queue_set_due(q, en, true);
}

static void take_in_hand(struct queue *q, struct queue_entry *en)
{
	en->was_given = true; /* from now on another body with its id is another item */
	queue_index_move(&q->store.index, en, ENTRY_IN_HAND);
}

/* The next one of the lane instead. True: it waits to be read. */
static bool read_next_instead(struct queue *q, struct queue_read *r, struct queue_lane *lane)
{
	struct queue_entry *en = queue_lane_first(lane);

	if (en == NULL || en->state != ENTRY_WAITING || en->settling)
		return false;
	take_in_hand(q, en);
	r->sequence = en->sequence;
	list_remove(&r->op.link);
	list_push_back(&q->reads, &r->op.link);
	r->op.state = OP_WAITING;
	return true;
}

static void after_read(struct queue *q, struct queue_read *r)
{
	struct queue_entry *en = queue_index_find(&q->store.index, r->sequence);
	struct queue_lane  *lane;

	if (r->slot == NULL) { /* cancelled while it was read */
		queue_item_free(r->item);
		if (!r->shows && en != NULL && en->state == ENTRY_IN_HAND && !en->settling)
			queue_index_move(&q->store.index, en, ENTRY_WAITING);
		list_remove(&r->op.link);
		free(r);
		return;
	}
	if (!r->shows && en != NULL && en->state == ENTRY_IN_HAND && r->op.result != ERR_OK) {
		lane = en->lane;
		if (r->op.result == ERR_SYNTAX) {
			set_aside(q, en);
			if (read_next_instead(q, r, lane))
				return;
			r->op.result = ERR_NOT_FOUND;
		} else {
			queue_index_move(&q->store.index, en, ENTRY_WAITING);
		}
	}
	queue_finish(&r->op, r->op.result);
}

static void reads_done(struct queue *q)
{
	struct link *l;

	while ((l = q->job.ops.next) != &q->job.ops) {
		struct op *op = LIST_ENTRY(l, struct op, link);

		after_read(q, (struct queue_read *)(void *)op);
	}
}

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
		for (struct link *l = q->job.ops.next; l != &q->job.ops; l = l->next) {
			struct op         *op = LIST_ENTRY(l, struct op, link);
			struct queue_read *r = (struct queue_read *)(void *)op;

			op->result = queue_store_read(&q->store, &r->at, &r->item);
		}
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
		reads_done(q);
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

/* Which items to read, as they are now; those that are gone are told so. */
static bool gather_reads(struct queue *q)
{
	list_init(&q->job.ops);
	q->job.kind = JOB_READ;
	for (unsigned n = 0; n < READS_AT_ONCE && !list_empty(&q->reads);) {
		struct op          *op = LIST_ENTRY(q->reads.next, struct op, link);
		struct queue_read  *r = (struct queue_read *)(void *)op;
		struct queue_entry *en = queue_index_find(&q->store.index, r->sequence);

		if (en == NULL || en->state == ENTRY_SEEN) {
			queue_finish(op, ERR_NOT_FOUND);
			continue;
		}
		r->at = queue_address_of(en);
		list_remove(&op->link);
		list_push_back(&q->job.ops, &op->link);
		op->state = OP_IN_JOB;
		n++;
	}
	return !list_empty(&q->job.ops);
}

static bool start_reading(struct queue *q)
{
	if (list_empty(&q->reads) || !gather_reads(q))
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
	return item->body.len + QUEUE_HEAD_MAX > q->o.pending_bytes_max - q->pending_bytes
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

/* --- read --- */

static enum err read_start(struct queue_read **slot, struct queue *q, const struct queue_entry *en,
                           bool shows, queue_read_done_fn *done, void *arg)
{
	struct queue_read *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return ERR_NOMEM;
	r->op.kind = OP_READ;
	r->op.q = q;
	r->slot = slot;
	r->done = done;
	r->arg = arg;
	r->shows = shows;
	r->sequence = en->sequence;
	list_push_back(&q->reads, &r->op.link);
	*slot = r;
	soon_call(&q->kick);
	return ERR_OK;
}

enum err queue_read_start(struct queue_read **slot, struct queue *q, struct str server_name,
                          struct str origin, queue_read_done_fn *done, void *arg)
{
	struct queue_lane  *lane = queue_lane_find(&q->store.index, server_name, origin);
	struct queue_entry *en = lane == NULL ? NULL : queue_lane_first(lane);
	enum err            e;

	if (en == NULL)
		return ERR_NOT_FOUND;
	if (en->state == ENTRY_IN_HAND || en->settling)
		return ERR_BUSY;
	e = read_start(slot, q, en, false, done, arg);
	if (e == ERR_OK)
		take_in_hand(q, en);
	return e;
}

enum err queue_show_start(struct queue_read **slot, struct queue *q, uint64_t sequence,
                          queue_read_done_fn *done, void *arg)
{
	struct queue_entry *en = queue_index_find(&q->store.index, sequence);

	if (en == NULL || en->state == ENTRY_SEEN)
		return ERR_NOT_FOUND;
	return read_start(slot, q, en, true, done, arg);
}

void queue_read_cancel(struct queue_read **slot)
{
	struct queue_read *r = *slot;

	if (r == NULL)
		return;
	*slot = NULL;
	r->slot = NULL;
	if (r->op.state != OP_IN_JOB)
		after_read(r->op.q, r);
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

/* --- looking --- */

bool queue_lane_waiting(const struct queue *q, struct str server_name, struct str origin)
{
	const struct queue_lane *lane = queue_lane_find(&q->store.index, server_name, origin);

	return lane != NULL && (lane->pending > 0 || lane->waiting > 0);
}

static void lane_info(const struct queue_lane *lane, struct queue_lane_info *out)
{
	const struct queue_entry *first = queue_lane_first(lane);

	*out = (struct queue_lane_info){
		.server_name = queue_lane_name(lane),
		.origin = queue_lane_origin(lane),
		.items = lane->waiting,
		.bytes = lane->bytes,
		.oldest_unix_ms = first->at_unix_ms,
		.tries = first->tries,
		.in_hand = first->state == ENTRY_IN_HAND || first->settling,
		.sequence = first->sequence,
	};
}

/* Puts a lane where it belongs among the oldest so far. */
static size_t lane_insert(struct queue_lane_info *out, size_t count, size_t max,
                          const struct queue_lane *lane)
{
	uint64_t sequence = queue_lane_first(lane)->sequence;
	size_t   at = count;

	while (at > 0 && out[at - 1].sequence > sequence)
		at--;
	if (at == max)
		return count;
	count += count < max;
	memmove(out + at + 1, out + at, (count - at - 1) * sizeof(*out));
	lane_info(lane, &out[at]);
	return count;
}

size_t queue_lanes(const struct queue *q, uint64_t after, struct queue_lane_info *out, size_t max)
{
	const struct link *lanes = &q->store.index.lanes;
	size_t             count = 0;

	for (struct link *l = lanes->next; l != lanes; l = l->next) {
		struct queue_lane *lane = LIST_ENTRY(l, struct queue_lane, all);

		if (lane->waiting > 0 && queue_lane_first(lane)->sequence > after)
			count = lane_insert(out, count, max, lane);
	}
	return count;
}

size_t queue_list(const struct queue *q, uint64_t after, bool parked_only, struct queue_info *out,
                  size_t max)
{
	const struct link *items = &q->store.index.items;
	size_t             count = 0;

	for (struct link *l = items->next; l != items && count < max; l = l->next) {
		struct queue_entry *en = LIST_ENTRY(l, struct queue_entry, all);

		if (en->sequence > after && (!parked_only || en->state == ENTRY_PARKED))
			info_of(en, &out[count++]);
	}
	return count;
}

enum err queue_find(const struct queue *q, uint64_t sequence, struct queue_info *out)
{
	struct queue_entry *en = queue_index_find(&q->store.index, sequence);

	if (en == NULL || en->state == ENTRY_SEEN)
		return ERR_NOT_FOUND;
	info_of(en, out);
	return ERR_OK;
}

void queue_counts(const struct queue *q, struct queue_counts *out)
{
	*out = q->counts;
	out->waiting = q->store.index.waiting_count;
	out->parked = q->store.index.parked_count;
	out->seen = q->store.index.seen_count;
	out->bytes = q->store.index.charged_bytes;
	out->bytes_max = q->o.bytes_max;
}

const char *queue_kind_name(const struct queue *q)
{
	return q->store.backend->ops->name;
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

static void fill_quotas(struct queue_options *o)
{
	uint64_t half = o->map_bytes / 2, left = place_free_bytes(o->state_dir) / 2;

	o->bytes_max = or_default_u64(o->bytes_max, left < half ? left : half);
	o->origin_bytes_max = or_default_u64(o->origin_bytes_max, o->bytes_max / 4);
	o->reserve_bytes = or_default_u64(o->reserve_bytes, o->bytes_max / 4);
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

/* Whether they were published or not is known at the next start. */
static void disown_parts(struct link *ops)
{
	for (struct link *l = ops->next; l != ops; l = l->next) {
		struct op        *op = LIST_ENTRY(l, struct op, link);
		struct queue_put *p = (struct queue_put *)(void *)op;

		if (op->kind == OP_PUT)
			p->parts_written = p->parts_in_job = 0;
	}
}

static void close_now(struct queue *q)
{
	if (q->delivering > 0 || q->running)
		return;
	disown_parts(&q->job.ops);
	free_ops(&q->puts);
	free_ops(&q->settles);
	free_ops(&q->reads);
	free_ops(&q->finished);
	free_ops(&q->job.ops);
	free_leftovers(&q->job.leftovers);
	if (queue_group_build_last(q))
		queue_group_run(q);
	free_leftovers(&q->job.leftovers);
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
