/*
 * queue_group.c - what goes into a commit, and what comes of it.
 */
#include <stdlib.h>

#include "base/log.h"
#include "store/queue_inside.h"

enum { COMPLAIN_EVERY_MS = 10 * MINUTE_MS };

static const uint64_t remember_ms = 7ull * DAY_MS;

void queue_set_due(struct queue *q, struct queue_entry *en, bool due)
{
	if (en->state_due == due)
		return;
	en->state_due = due;
	q->due_count += due ? 1 : (size_t)-1;
}

void queue_finish(struct op *op, enum err result)
{
	list_remove(&op->link);
	op->state = OP_FINISHED;
	op->result = result;
	list_push_back(&op->q->finished, &op->link);
}

/* --- changes --- */

static bool fits(const struct job *j, size_t changes, size_t bytes)
{
	return changes <= QUEUE_CHANGES_MAX - j->count &&
		bytes + changes * QUEUE_CHANGE_OVERHEAD <= QUEUE_GROUP_MAX - j->bytes;
}

static void change(struct job *j, enum queue_record_kind kind, uint64_t number, size_t part,
                   char *value, size_t len)
{
	check(fits(j, 1, len));
	j->changes[j->count++] = (struct queue_change){ .key = { kind, number, (uint16_t)part },
		                                        .value = value,
		                                        .len = len };
	j->bytes += len + QUEUE_CHANGE_OVERHEAD;
}

static void remove_record(struct job *j, enum queue_record_kind kind, uint64_t number)
{
	change(j, kind, number, 0, NULL, 0);
}

static void remove_parts(struct job *j, uint64_t body, size_t parts)
{
	for (size_t i = 0; i < parts; i++)
		change(j, QUEUE_RECORD_PART, body, i, NULL, 0);
}

/* --- what makes room --- */

static void settle_away(struct queue *q, struct queue_settle *s, const struct queue_entry *en)
{
	struct queue_record_seen seen = {
		.server_name = queue_lane_name(en->lane),
		.origin = queue_lane_origin(en->lane),
		.id = en->id_mark,
		.body = en->body_mark,
		.at_unix_ms = loop_unix_ms(q->loop),
	};

	remove_record(&q->job, QUEUE_RECORD_ITEM, en->sequence);
	remove_parts(&q->job, en->body, queue_record_parts(en->body_len));
	if (en->has_state)
		remove_record(&q->job, QUEUE_RECORD_STATE, en->sequence);
	change(&q->job, QUEUE_RECORD_SEEN, en->sequence, 0, s->record,
	       queue_record_write_seen(s->record, &seen));
}

/* Parked, or not any more; that there is a record tells that somebody was given it. */
static void settle_state(struct queue *q, struct queue_settle *s, const struct queue_entry *en)
{
	struct queue_record_state state = { .parked = s->verdict == QUEUE_PARK };

	if (state.parked) {
		state.tries = en->tries;
		state.first_try_unix_ms = en->first_try_unix_ms;
		state.reason = str_span(s->reason, s->reason_len);
	}
	change(&q->job, QUEUE_RECORD_STATE, en->sequence, 0, s->record,
	       queue_record_write_state(s->record, &state));
}

static void settle_take(struct queue *q, struct queue_settle *s, const struct queue_entry *en)
{
	switch (s->verdict) {
	case QUEUE_DELIVERED:
	case QUEUE_DROP:
		settle_away(q, s, en);
		break;
	case QUEUE_PARK:
	case QUEUE_UNPARK:
		settle_state(q, s, en);
		break;
	case QUEUE_RETRY: /* only noted */
		break;
	}
	list_remove(&s->op.link);
	list_push_back(&q->job.ops, &s->op.link);
	s->op.state = OP_IN_JOB;
}

static void take_settles(struct queue *q)
{
	while (!list_empty(&q->settles)) {
		struct op           *op = LIST_ENTRY(q->settles.next, struct op, link);
		struct queue_settle *s = (struct queue_settle *)(void *)op;
		struct queue_entry  *en = queue_index_find(&q->store.index, s->sequence);

		check(en != NULL); /* a verdict under way keeps it */
		if (!fits(&q->job, 3 + queue_record_parts(en->body_len), QUEUE_RECORD_SEEN_MAX))
			return;
		settle_take(q, s, en);
	}
}

static void take_leftovers(struct queue *q)
{
	while (!list_empty(&q->leftovers)) {
		struct leftover *lo = LIST_ENTRY(q->leftovers.next, struct leftover, link);

		if (!fits(&q->job, lo->parts, 0))
			return;
		remove_parts(&q->job, lo->body, lo->parts);
		list_remove(&lo->link);
		list_push_back(&q->job.leftovers, &lo->link);
	}
}

static void take_state(struct job *j, struct queue_entry *en)
{
	struct queue_record_state state = {
		.parked = en->state == ENTRY_PARKED,
		.tries = en->tries,
		.first_try_unix_ms = en->first_try_unix_ms,
		.reason = en->reason == NULL ? STRL("") : str_of(en->reason),
	};
	char *record = j->state_records[j->state_count];

	j->states[j->state_count++] = en;
	change(j, QUEUE_RECORD_STATE, en->sequence, 0, record,
	       queue_record_write_state(record, &state));
}

static void take_states(struct queue *q)
{
	struct job *j = &q->job;

	for (struct link *l = q->store.index.items.next; l != &q->store.index.items &&
	     q->due_count > 0 && j->state_count < STATES_MAX && fits(j, 1, QUEUE_RECORD_STATE_MAX);
	     l = l->next) {
		struct queue_entry *en = LIST_ENTRY(l, struct queue_entry, all);

		if (!en->state_due || en->settling)
			continue;
		take_state(j, en);
		queue_set_due(q, en, false);
	}
}

static bool is_forgettable(const struct queue *q, const struct queue_entry *en, size_t taken,
                           uint64_t now)
{
	return q->store.index.seen_count - taken > q->o.seen_max ||
		(now > en->at_unix_ms && now - en->at_unix_ms > remember_ms);
}

/* Ids whose week is over, or too many of them; the number to go on with is written for them. */
static void take_forgotten(struct queue *q)
{
	struct job  *j = &q->job;
	uint64_t     now = loop_unix_ms(q->loop);
	struct link *l = q->store.index.seen.next;

	for (; l != &q->store.index.seen && j->forgotten_count < FORGET_MAX; l = l->next) {
		struct queue_entry *en = LIST_ENTRY(l, struct queue_entry, all);

		if (!is_forgettable(q, en, j->forgotten_count, now) || !fits(j, 2, sizeof(j->meta)))
			break;
		remove_record(j, QUEUE_RECORD_SEEN, en->sequence);
		j->forgotten[j->forgotten_count++] = en;
	}
	if (j->forgotten_count > 0)
		change(j, QUEUE_RECORD_META, 1, 0, j->meta,
		       queue_record_write_meta(j->meta, q->store.next_sequence));
}

/* --- new items --- */

/* Same id in the same lane: ERR_EXISTS: the same body too. newest: of the others; NULL: none. */
static enum err find_same(struct queue *q, const struct queue_put *p, struct queue_entry **newest)
{
	struct queue_entry *en = NULL;
	uint64_t            now = loop_unix_ms(q->loop);

	*newest = NULL;
	while ((en = queue_index_next_same(&q->store.index, p->lane, &p->id_mark, en)) != NULL) {
		if (en->state == ENTRY_SEEN && now > en->at_unix_ms &&
		    now - en->at_unix_ms > remember_ms)
			continue;
		if (memcmp(en->body_mark.bytes, p->body_mark.bytes, sizeof(p->body_mark.bytes)) ==
		    0)
			return ERR_EXISTS;
		if (*newest == NULL || en->sequence > (*newest)->sequence)
			*newest = en;
	}
	return ERR_OK;
}

static bool nobody_was_given(const struct queue_entry *en)
{
	return en->state == ENTRY_WAITING && !en->was_given && !en->settling;
}

static uint64_t cost_of(const struct queue_put *p)
{
	return queue_entry_cost(p->record_len, p->body_len);
}

static enum err check_quota(const struct queue *q, const struct queue_put *p)
{
	const struct queue_index *x = &q->store.index;
	uint64_t                  cost = cost_of(p);
	uint64_t                  bytes_max = q->o.bytes_max - (p->known ? 0 : q->o.reserve_bytes);
	size_t                    items_max = q->o.items_max - (p->known ? 0 : q->o.items_max / 4);

	if (x->charged_bytes + cost > bytes_max || x->charged_items >= items_max)
		return ERR_LIMIT;
	if (p->lane->bytes + cost > q->o.origin_bytes_max ||
	    p->lane->items >= q->o.origin_items_max)
		return ERR_LIMIT;
	return ERR_OK;
}

/* The first look at a put. Anything but ERR_OK is its result. */
static enum err put_admit(struct queue *q, struct queue_put *p)
{
	struct queue_entry *newest;
	enum err            e = find_same(q, p, &newest);

	if (e == ERR_OK)
		e = check_quota(q, p);
	if (e != ERR_OK)
		return e;
	p->entry = calloc(1, sizeof(*p->entry));
	if (p->entry == NULL)
		return ERR_NOMEM;
	queue_index_charge(&q->store.index, p->lane, cost_of(p));
	if (p->parts > 0) {
		p->body = q->store.next_sequence++;
		queue_record_set_body(p->block, p->body);
	}
	return ERR_OK;
}

/* What is decided about an id waits for what happens to it in this group. */
static bool is_same_in_group(const struct job *j, const struct queue_put *p)
{
	for (struct link *l = j->ops.next; l != &j->ops; l = l->next) {
		struct op        *op = LIST_ENTRY(l, struct op, link);
		struct queue_put *other = (struct queue_put *)(void *)op;

		if (op->kind == OP_PUT && other->lane == p->lane &&
		    memcmp(other->id_mark.bytes, p->id_mark.bytes, sizeof(p->id_mark.bytes)) == 0)
			return true;
	}
	return false;
}

static char *part_of(const struct queue_put *p, size_t i, size_t *len)
{
	size_t at = i * (size_t)QUEUE_PART_BYTES, left = p->body_len - at;

	*len = QUEUE_PART_ROOM + (left < QUEUE_PART_BYTES ? left : (size_t)QUEUE_PART_BYTES);
	return p->block + p->record_len + i * (size_t)(QUEUE_PART_ROOM + QUEUE_PART_BYTES);
}

/* As many parts as fit in. True: all are written, or will be with this group. */
static bool take_parts(struct job *j, struct queue_put *p)
{
	for (; p->parts_written + p->parts_in_job < p->parts; p->parts_in_job++) {
		size_t i = p->parts_written + p->parts_in_job, len;
		char  *part = part_of(p, i, &len);

		if (!fits(j, 1, len))
			return false;
		change(j, QUEUE_RECORD_PART, p->body, i, part, len);
	}
	return true;
}

/* False: does not fit. */
static bool take_item(struct queue *q, struct queue_put *p)
{
	struct queue_entry *same, *old = NULL;
	size_t              old_parts;

	(void)find_same(q, p, &same);
	if (same != NULL && nobody_was_given(same))
		old = same;
	old_parts = old == NULL ? 0 : queue_record_parts(old->body_len);
	if (!fits(&q->job, 1 + old_parts, p->record_len))
		return false;
	p->replaces = old;
	p->publishes = true;
	p->entry->sequence = old != NULL ? old->sequence : q->store.next_sequence++;
	change(&q->job, QUEUE_RECORD_ITEM, p->entry->sequence, 0, p->block, p->record_len);
	if (old != NULL)
		remove_parts(&q->job, old->body, old_parts);
	return true;
}

/* What has no room left in this group goes on in the next one, and nothing of its lane overtakes it. */
static void put_take(struct queue *q, struct queue_put *p)
{
	enum err e = ERR_OK;
	bool     all;

	if (p->lane->blocked_in == q->group)
		return;
	if (is_same_in_group(&q->job, p)) {
		p->lane->blocked_in = q->group;
		return;
	}
	if (p->entry == NULL)
		e = put_admit(q, p);
	if (e != ERR_OK) {
		queue_finish(&p->op, e);
		return;
	}
	all = take_parts(&q->job, p) && take_item(q, p);
	if (all || p->parts_in_job > 0)
		p->op.state = OP_IN_JOB;
	if (all) {
		list_remove(&p->op.link);
		list_push_back(&q->job.ops, &p->op.link);
	} else {
		p->lane->blocked_in = q->group;
	}
}

static void take_puts(struct queue *q)
{
	struct link *l = q->puts.next, *next;

	for (; l != &q->puts; l = next) {
		struct op *op = LIST_ENTRY(l, struct op, link);

		next = l->next;
		put_take(q, (struct queue_put *)(void *)op);
	}
}

static void begin(struct queue *q)
{
	struct job *j = &q->job;

	j->kind = JOB_COMMIT;
	j->count = j->settling = j->bytes = 0;
	j->state_count = j->forgotten_count = 0;
	list_init(&j->ops);
	list_init(&j->leftovers);
	q->group++;
}

bool queue_group_build(struct queue *q)
{
	begin(q);
	take_settles(q);
	take_leftovers(q);
	take_states(q);
	take_forgotten(q);
	q->job.settling = q->job.count;
	take_puts(q);
	return q->job.count > 0;
}

bool queue_group_build_last(struct queue *q)
{
	begin(q);
	take_settles(q);
	take_leftovers(q);
	take_states(q);
	q->job.settling = q->job.count;
	return q->job.count > 0;
}

/* --- in the job --- */

/* On a full disk. again: it was refused together with new items; alone it may do. */
static enum err commit_settling(struct queue *q, bool again)
{
	struct queue_backend *b = q->store.backend;
	struct job           *j = &q->job;
	enum err              e = ERR_LIMIT;

	if (again)
		e = b->ops->commit(b, j->changes, j->settling, false);
	if (e == ERR_LIMIT && queue_store_spend_ballast(&q->store))
		e = b->ops->commit(b, j->changes, j->settling, false);
	return e;
}

void queue_group_run(struct queue *q)
{
	struct queue_backend *b = q->store.backend;
	struct job           *j = &q->job;
	bool                  admits = j->count > j->settling;

	for (size_t i = 0; i < j->count; i++)
		if (j->changes[i].value != NULL)
			queue_record_seal(&j->changes[i].key, j->changes[i].value,
			                  j->changes[i].len);
	j->put_result = j->settle_result = b->ops->commit(b, j->changes, j->count, admits);
	if (j->put_result == ERR_LIMIT && j->settling > 0)
		j->settle_result = commit_settling(q, admits); /* going must work all the same */
	if (j->settle_result == ERR_OK)
		queue_store_keep_ballast(&q->store);
	b->ops->usage(b, &j->disk_used, &j->disk_max);
}

/* --- afterwards --- */

static void after_states(struct queue *q)
{
	for (size_t i = 0; i < q->job.state_count; i++) {
		struct queue_entry *en = q->job.states[i];

		if (q->job.settle_result == ERR_OK)
			en->has_state = true;
		else
			queue_set_due(q, en, true);
	}
}

static void after_forgotten(struct queue *q)
{
	for (size_t i = 0; i < q->job.forgotten_count && q->job.settle_result == ERR_OK; i++)
		queue_index_remove(&q->store.index, q->job.forgotten[i]);
}

/* What could not be removed is removed at the next start. */
static void after_leftovers(struct queue *q)
{
	struct link *l;

	while ((l = list_pop(&q->job.leftovers)) != NULL)
		free(LIST_ENTRY(l, struct leftover, link));
}

static void apply_verdict(struct queue *q, struct queue_settle *s, struct queue_entry *en)
{
	struct queue_index *x = &q->store.index;

	switch (s->verdict) {
	case QUEUE_DELIVERED:
	case QUEUE_DROP:
		queue_set_due(q, en, false);
		en->has_state = false;
		en->at_unix_ms = loop_unix_ms(q->loop);
		queue_index_move(x, en, ENTRY_SEEN);
		q->counts.delivered += s->verdict == QUEUE_DELIVERED;
		break;
	case QUEUE_PARK:
		queue_set_due(q, en, false);
		en->has_state = en->was_given = true;
		free(en->reason);
		en->reason = str_dup(str_span(s->reason, s->reason_len));
		queue_index_move(x, en, ENTRY_PARKED);
		break;
	case QUEUE_UNPARK:
		queue_set_due(q, en, false);
		en->has_state = en->was_given = true;
		en->tries = 0;
		en->first_try_unix_ms = 0;
		free(en->reason);
		en->reason = NULL;
		if (en->state == ENTRY_PARKED)
			queue_index_move(x, en, ENTRY_WAITING);
		break;
	case QUEUE_RETRY:
		break;
	}
}

/* A file system that became read-only, or a map that makes no sense any more, is no answer to a sender. */
static enum err to_be_told(enum err e)
{
	return e == ERR_OK || e == ERR_LIMIT || e == ERR_NOMEM ? e : ERR_IO;
}

static void after_settle(struct queue *q, struct queue_settle *s)
{
	struct queue_entry *en = queue_index_find(&q->store.index, s->sequence);

	en->settling = false;
	if (q->job.settle_result == ERR_OK)
		apply_verdict(q, s, en);
	else if (s->slot == NULL && en->state == ENTRY_IN_HAND) /* nobody would settle it again */
		queue_index_move(&q->store.index, en, ENTRY_WAITING);
	queue_finish(&s->op, to_be_told(q->job.settle_result));
}

static void fill_entry(const struct queue_put *p, struct queue_entry *en)
{
	en->body = p->body;
	en->at_unix_ms = p->at_unix_ms;
	en->body_mark = p->body_mark;
	en->record_len = (uint32_t)p->record_len;
	en->body_len = (uint32_t)p->body_len;
}

/* The charge made for the put stays with the entry. */
static void publish(struct queue *q, struct queue_put *p)
{
	struct queue_index *x = &q->store.index;

	if (p->replaces != NULL) {
		queue_index_uncharge(x, p->lane, queue_entry_bytes(p->replaces));
		fill_entry(p, p->replaces);
		free(p->entry);
	} else {
		fill_entry(p, p->entry);
		p->entry->id_mark = p->id_mark;
		p->entry->lane = p->lane;
		p->lane->users++;
		queue_index_add(x, p->entry);
	}
	p->entry = NULL;
	p->parts_written = p->parts_in_job = 0; /* they have an owner now */
	q->counts.put++;
}

static void after_put(struct queue *q, struct queue_put *p)
{
	if (q->job.put_result == ERR_OK)
		publish(q, p);
	queue_finish(&p->op, to_be_told(q->job.put_result));
}

/* Those that only wrote some of their parts. */
static void after_parts(struct queue *q)
{
	struct link *l = q->puts.next, *next;

	for (; l != &q->puts; l = next) {
		struct op        *op = LIST_ENTRY(l, struct op, link);
		struct queue_put *p = (struct queue_put *)(void *)op;

		next = l->next;
		if (op->state != OP_IN_JOB)
			continue;
		op->state = OP_WAITING;
		p->parts_written += p->parts_in_job;
		p->parts_in_job = 0;
		if (p->abandoned)
			queue_put_free(p);
		else if (q->job.put_result != ERR_OK)
			queue_finish(op, to_be_told(q->job.put_result));
	}
}

/* A disk that is just full is so again and again. */
static bool may_complain(struct queue *q)
{
	msec now = loop_now(q->loop);

	if (q->complained_at != 0 && now - q->complained_at < COMPLAIN_EVERY_MS)
		return false;
	q->complained_at = now + (now == 0);
	return true;
}

static void note_result(struct queue *q)
{
	enum err e = q->job.put_result != ERR_OK ? q->job.put_result : q->job.settle_result;

	q->counts.disk_bytes = q->job.disk_used;
	q->counts.disk_max = q->job.disk_max;
	q->counts.commits += q->job.settle_result == ERR_OK;
	if (e != ERR_OK && !q->failing && may_complain(q))
		log_say(e == ERR_LIMIT ? LOG_WARN : LOG_ERROR, "store.queue",
		        e == ERR_LIMIT
		                ? "no room for more: new transactions are refused, kept ones are safe"
		                : "the disk failed (%s): new transactions are refused",
		        err_slug(e));
	if (e == ERR_OK && q->failing)
		log_say(LOG_INFO, "store.queue", "writing works again");
	q->failing = e != ERR_OK;
}

void queue_group_done(struct queue *q)
{
	struct link *l;

	note_result(q);
	after_states(q);
	after_forgotten(q);
	after_leftovers(q);
	after_parts(q);
	while ((l = q->job.ops.next) != &q->job.ops) {
		struct op *op = LIST_ENTRY(l, struct op, link);

		if (op->kind == OP_PUT)
			after_put(q, (struct queue_put *)(void *)op);
		else
			after_settle(q, (struct queue_settle *)(void *)op);
	}
}
