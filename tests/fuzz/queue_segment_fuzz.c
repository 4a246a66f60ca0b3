/*
 * Segments of the queue's journal, and the records in them: nothing is read outside, records come in
 * order and without overlap, what is cut off is behind them.
 *
 * Checksums would keep nearly everything out, so they are put right first, if the first byte is even.
 */
#include <stddef.h>
#include <stdint.h>

#include <stdlib.h>

#include "base/cursor.h"
#include "store/crc32c.h"
#include "store/queue_record.h"
#include "store/queue_segment.h"

/* Whatever it says it is, by each reader. */
static void read_value(const struct queue_segment_record *r)
{
	struct queue_record_item  item;
	struct queue_record_state state;
	struct queue_record_seen  seen;
	struct str                bytes;
	uint64_t                  next;
	struct queue_key          key = r->key;

	key.kind = QUEUE_RECORD_ITEM;
	if (queue_record_read_item(&key, r->value, true, &item) == ERR_OK)
		check(queue_record_check_item(&item.item) == ERR_OK);
	(void)queue_record_read_item(&key, r->value, false, &item);
	key.kind = QUEUE_RECORD_PART;
	(void)queue_record_read_part(&key, r->value, &bytes);
	key.kind = QUEUE_RECORD_STATE;
	(void)queue_record_read_state(&key, r->value, &state);
	key.kind = QUEUE_RECORD_SEEN;
	(void)queue_record_read_seen(&key, r->value, &seen);
	key.kind = QUEUE_RECORD_META;
	(void)queue_record_read_meta(&key, r->value, &next);
}

static uint32_t number_at(const char *at)
{
	struct reader r = reader_over(str_span(at, 4));

	return read_u32(&r);
}

static void set_number(char *at, uint32_t v)
{
	for (unsigned i = 0; i < 4; i++)
		at[i] = (char)(v >> (24 - 8 * i));
}

/* As if the salt were 0. */
static void mend_record(char *at, size_t rest_len)
{
	static const char salt[8];
	char             *value = at + QUEUE_SEGMENT_RECORD;
	size_t            len = rest_len - 16;
	struct queue_key  key = { (enum queue_record_kind)at[17], 0, 0 };
	struct reader     r = reader_over(str_span(at + 18, 14));

	key.part = read_u16(&r);
	(void)read_u32(&r);
	key.number = read_u64(&r);
	if (len >= 12 && key.kind != QUEUE_RECORD_PART && number_at(value + 8) <= len - 12 &&
	    (key.kind != QUEUE_RECORD_ITEM || len >= 28))
		queue_record_seal(&key, value, len);
	set_number(at + 12, crc32c(crc32c(crc32c(0, salt, 8), at, 12), at + 16, rest_len));
}

static void mend(char *bytes, size_t size)
{
	size_t at = QUEUE_SEGMENT_HEAD;

	if (size < QUEUE_SEGMENT_HEAD)
		return;
	memset(bytes + 16, 0, 8); /* the salt */
	set_number(bytes + 36, crc32c(0, bytes, 36));
	while (at + QUEUE_SEGMENT_RECORD <= size) {
		uint32_t rest_len = number_at(bytes + at);

		if (rest_len < 16 || rest_len > size - at - 16)
			return;
		mend_record(bytes + at, rest_len);
		at += (16 + rest_len + 3) & ~(size_t)3;
	}
}

static void scan_all(struct str bytes)
{
	struct queue_segment_head   h;
	struct queue_segment_scan   scan;
	struct queue_segment_record r;
	bool                        is_damaged;
	size_t                      at = QUEUE_SEGMENT_HEAD, end;
	uint64_t                    sequence = 0;

	if (queue_segment_read_head(bytes, &h) != ERR_OK)
		h = (struct queue_segment_head){ .first_sequence = 1 };
	scan = queue_segment_scan_over(bytes, &h);
	end = queue_segment_end(scan, &is_damaged);
	check(end <= (bytes.len > QUEUE_SEGMENT_HEAD ? bytes.len : QUEUE_SEGMENT_HEAD));
	for (bool first = true; queue_segment_next(&scan, &r); first = false) {
		check(r.at >= at && r.end > r.at && r.end <= bytes.len);
		check(first || r.sequence > sequence);
		at = r.end;
		sequence = r.sequence;
		read_value(&r);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *bytes;

	if (size == 0)
		return 0;
	bytes = malloc(size - 1 + (size == 1));
	check(bytes != NULL);
	memcpy(bytes, data + 1, size - 1);
	if (data[0] % 2 == 0)
		mend(bytes, size - 1);
	scan_all(str_span(bytes, size - 1));
	free(bytes);
	return 0;
}
