/*
 * The look at a transaction against a second reading of it, member by member: the same counts, the same
 * sizes, and the same in pieces as in one.
 *
 * Input: a byte for the size of the pieces, the body.
 */
#include <stdint.h>

#include "codec/json/canon.h"
#include "fed/transaction.h"

/* The length of the longest canonical form; 0 also when one of them has none. */
static size_t longest(struct str list, size_t *count)
{
	struct json_items it;
	struct json_item  item;
	enum json_kind    kind;
	size_t            most = 0;
	bool              is_known = true;

	*count = 0;
	check(json_items_begin(&it, list, NULL, &kind) == ERR_OK && kind == JSON_ARRAY);
	for (;;) {
		struct buf out;

		check(json_items_next(&it, &item) == ERR_OK);
		if (item.kind == JSON_END)
			return is_known ? most : 0;
		check(item.kind == JSON_OBJECT);
		++*count;
		buf_init(&out, item.value.len);
		is_known = canon_write(item.value, NULL, CANON_AS_RECEIVED, &out) == ERR_OK &&
			is_known;
		if (buf_len(&out) > most)
			most = buf_len(&out);
		buf_fini(&out);
	}
}

static void check_list(struct str body, const char *name, size_t count, size_t *most)
{
	struct json_member m = { .key = str_of(name) };
	size_t             there = 0;

	*most = 0;
	check(json_find(body, JSON_REFUSE_REPEAT, &m, 1) == ERR_OK);
	if (m.kind == JSON_ARRAY)
		*most = longest(m.value, &there);
	else
		check(m.kind == JSON_NONE || m.kind == JSON_NULL);
	check(there == count);
}

static void check_second_reading(const struct transaction *t, struct str body)
{
	size_t most;

	check_list(body, "edus", t->edus, &most);
	check_list(body, "pdus", t->pdus, &most);
	if (most > 0)
		check(t->pdu_bytes_most == most);
	check((t->pdus > 0) ==
	      transaction_has(t, TRANSACTION_MESSAGE | TRANSACTION_QUIET | TRANSACTION_STATE));
	check(!transaction_is_fleeting(t) || t->pdus == 0);
	check(strlen(t->origin) <= SERVER_NAME_TEXT_MAX);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str         body = str_span(data, size), rest;
	size_t             piece = size > 0 ? data[0] + 1u : 1;
	struct transaction whole, pieces;

	body = str_from(body, 1);
	transaction_init(&whole, 0);
	transaction_init(&pieces, 0);
	(void)transaction_feed(&whole, body, true);
	for (rest = body; rest.len > 0; rest = str_from(rest, piece))
		(void)transaction_feed(&pieces, str_head(rest, piece), false);
	(void)transaction_feed(&pieces, STRL(""), true);
	/* a long text in pieces is not compared with names, but it equals none */
	check(whole.err == pieces.err || whole.err == ERR_LIMIT);
	if (whole.err != ERR_OK)
		return 0;
	check(whole.pdus == pieces.pdus && whole.edus == pieces.edus);
	check(pieces.pdu_bytes_most <= whole.pdu_bytes_most);
	check(transaction_is_fleeting(&whole) == transaction_is_fleeting(&pieces));
	check_second_reading(&whole, body);
	return 0;
}
