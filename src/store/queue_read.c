#include <stdlib.h>

#include "base/log.h"
#include "store/queue_inside.h"

enum { READS_AT_ONCE = 4 };

/* --- starting --- */

static void take_in_hand(struct queue *q, struct queue_entry *en)
{
	en->was_given = true; /* from now on another body with its id is another item */
	queue_index_move(&q->store.index, en, ENTRY_IN_HAND);
}

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

/* --- the job --- */

/* Which items to read, as they are now; those that are gone are told so. */
bool queue_reads_gather(struct queue *q)
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

void queue_reads_run(struct queue *q)
{
	for (struct link *l = q->job.ops.next; l != &q->job.ops; l = l->next) {
		struct op         *op = LIST_ENTRY(l, struct op, link);
		struct queue_read *r = (struct queue_read *)(void *)op;

		op->result = queue_store_read(&q->store, &r->at, &r->item);
	}
}

/* --- what came of it --- */

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

void queue_reads_done(struct queue *q)
{
	struct link *l;

	while ((l = q->job.ops.next) != &q->job.ops) {
		struct op *op = LIST_ENTRY(l, struct op, link);

		after_read(q, (struct queue_read *)(void *)op);
	}
}

void queue_read_deliver(struct queue_read *r)
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
	queue_info_of(en, &info);
	info.server_name = item->server_name;
	info.origin = item->origin;
	done(arg, ERR_OK, &info, item);
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

void queue_give_back(struct queue *q, uint64_t sequence)
{
	struct queue_entry *en = queue_index_find(&q->store.index, sequence);

	if (en != NULL && en->state == ENTRY_IN_HAND && !en->settling)
		queue_index_move(&q->store.index, en, ENTRY_WAITING);
}
