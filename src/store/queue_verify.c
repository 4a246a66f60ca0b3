#include <stdlib.h>

#include "store/queue_store.h"

struct verify {
	struct queue_store   store;
	struct queue_report *report;
	queue_item_fn       *fn;
	void                *arg;
};

/* Two items that would have been one: the rules about ids were broken. */
static bool is_twin(const struct queue_index *x, const struct queue_entry *en)
{
	const struct queue_entry *other = NULL;

	while ((other = queue_index_next_same(x, en->lane, &en->id_mark, other)) != NULL)
		if (other != en &&
		    memcmp(other->body_mark.bytes, en->body_mark.bytes,
		           sizeof(en->body_mark.bytes)) == 0)
			return true;
	return false;
}

static struct queue_info info_of(const struct queue_entry *en, const struct queue_item *item)
{
	return (struct queue_info){
		.sequence = en->sequence,
		.state = en->state == ENTRY_PARKED ? QUEUE_PARKED : QUEUE_WAITING,
		.server_name = item->server_name,
		.origin = item->origin,
		.at_unix_ms = item->at_unix_ms,
		.bytes = queue_entry_bytes(en),
		.tries = en->tries,
		.first_try_unix_ms = en->first_try_unix_ms,
		.reason = en->reason == NULL ? STRL("") : str_of(en->reason),
	};
}

/* False: stop. */
static bool verify_entry(struct verify *v, const struct queue_entry *en, enum err *e)
{
	struct queue_address at = queue_address_of(en);
	struct queue_item   *item = NULL;
	struct queue_info    info;
	bool                 go_on = true;

	*e = queue_store_read(&v->store, &at, &item);
	if (*e == ERR_SYNTAX) {
		v->report->damaged++;
		queue_fault_add(&v->report->fault, "item %llu is damaged",
		                (unsigned long long)en->sequence);
		*e = ERR_OK;
		return true;
	}
	if (*e != ERR_OK)
		return false;
	if (is_twin(&v->store.index, en)) {
		v->report->damaged++;
		queue_fault_add(&v->report->fault, "item %llu is there twice",
		                (unsigned long long)en->sequence);
	}
	info = info_of(en, item);
	if (v->fn != NULL)
		go_on = v->fn(v->arg, &info, item);
	queue_item_free(item);
	return go_on;
}

static enum err verify_items(struct verify *v)
{
	struct link *items = &v->store.index.items;
	enum err     e = ERR_OK;

	for (struct link *l = items->next; l != items; l = l->next)
		if (!verify_entry(v, LIST_ENTRY(l, struct queue_entry, all), &e))
			break;
	return e;
}

enum err queue_verify_each(const char *state_dir, struct queue_report *report, queue_item_fn *fn,
                           void *arg)
{
	struct queue_options o = {
		.state_dir = state_dir,
		.map_bytes = 16 * 1024 * 1024,
		.allow_volatile = true,
	};
	struct verify v = { .report = report, .fn = fn, .arg = arg };
	enum err      e;

	*report = (struct queue_report){ 0 };
	e = queue_store_open(&v.store, &o, &report->fault);
	if (e != ERR_OK)
		return e;
	report->items = v.store.index.waiting_count + v.store.index.parked_count;
	report->parked = v.store.index.parked_count;
	report->seen = v.store.index.seen_count;
	report->bytes = v.store.index.charged_bytes;
	report->last_sequence = v.store.next_sequence - 1;
	report->orphans = v.store.orphans;
	report->damaged = v.store.damaged + v.store.clashes;
	e = verify_items(&v);
	queue_store_close(&v.store);
	if (e == ERR_OK && (report->damaged > 0 || report->fault.text[0] != '\0'))
		return ERR_SYNTAX;
	return e;
}

enum err queue_verify(const char *state_dir, struct queue_report *report)
{
	return queue_verify_each(state_dir, report, NULL, NULL);
}
