#include "store/queue_segment.h"

#include "base/cursor.h"
#include "store/crc32c.h"

enum {
	AT_SUM = 12, /* of a record */
	AT_REST = 16,
	REST = QUEUE_SEGMENT_RECORD - AT_REST, /* the key and so on */
	WHAT_PUT = 1,
	WHAT_REMOVE = 2,
	WHAT_LAST = 0x80,
	GAP_MAX = 1
		<< 20, /* more records than fit into any number of lost segments that we care for */
};

static const char magic[4] = { 'D', 'S', 'Q', 'J' };

void queue_segment_write_head(char room[QUEUE_SEGMENT_HEAD], const struct queue_segment_head *h)
{
	struct writer w = writer_over(room, QUEUE_SEGMENT_HEAD);

	write_bytes(&w, magic, sizeof(magic));
	write_be(&w, QUEUE_SCHEMA, 4);
	write_be(&w, h->number, 4);
	write_be(&w, h->length_before, 4);
	write_be(&w, h->salt, 8);
	write_be(&w, h->first_sequence, 8);
	write_be(&w, h->number_before, 4);
	write_be(&w, crc32c(0, room, QUEUE_SEGMENT_HEAD - 4), 4);
	check(!w.failed && w.at == w.end);
}

enum err queue_segment_read_head(struct str bytes, struct queue_segment_head *out)
{
	struct reader r = reader_over(bytes);
	struct str    mark = read_bytes(&r, sizeof(magic));
	uint32_t      schema = read_u32(&r);

	out->number = read_u32(&r);
	out->length_before = read_u32(&r);
	out->salt = read_u64(&r);
	out->first_sequence = read_u64(&r);
	out->number_before = read_u32(&r);
	if (read_u32(&r) != crc32c(0, bytes.ptr, r.failed ? 0 : QUEUE_SEGMENT_HEAD - 4) ||
	    r.failed || !str_eq(mark, str_span(magic, sizeof(magic))))
		return ERR_SYNTAX;
	return schema == QUEUE_SCHEMA ? ERR_OK : ERR_UNSUPPORTED;
}

/* Over the salt, the length, the sequence and what follows the checksum. */
static uint32_t sum_of(uint64_t salt, const char *record, size_t rest_len)
{
	char          text[8];
	struct writer w = writer_over(text, sizeof(text));
	uint32_t      sum;

	write_be(&w, salt, 8);
	sum = crc32c(0, text, sizeof(text));
	sum = crc32c(sum, record, AT_SUM);
	return crc32c(sum, record + AT_REST, rest_len);
}

size_t queue_segment_write_record(char *room, uint64_t salt, const struct queue_segment_record *r)
{
	size_t        size = queue_segment_record_size(r->value.len);
	size_t        rest_len = REST + r->value.len;
	struct writer w = writer_over(room, size);

	write_be(&w, rest_len, 4);
	write_be(&w, r->sequence, 8);
	write_be(&w, 0, 4);
	write_be(&w, (r->removes ? WHAT_REMOVE : WHAT_PUT) | (r->is_last ? WHAT_LAST : 0), 1);
	write_be(&w, r->key.kind, 1);
	write_be(&w, r->key.part, 2);
	write_be(&w, r->position, 4);
	write_be(&w, r->key.number, 8);
	write_str(&w, r->value);
	write_be(&w, 0, (unsigned)(size - QUEUE_SEGMENT_RECORD - r->value.len));
	check(!w.failed && w.at == w.end);
	w = writer_over(room + AT_SUM, 4);
	write_be(&w, sum_of(salt, room, rest_len), 4);
	return size;
}

/* Is there a whole record at this place? */
static bool read_record(const struct queue_segment_scan *scan, size_t at,
                        struct queue_segment_record *r)
{
	struct reader in = reader_over(str_from(scan->bytes, at));
	uint32_t      rest_len = read_u32(&in);
	uint32_t      sum;
	unsigned      what, kind;

	r->sequence = read_u64(&in);
	sum = read_u32(&in);
	if (in.failed || rest_len < REST || rest_len > (size_t)(in.end - in.at) ||
	    r->sequence < scan->expected || r->sequence - scan->expected > GAP_MAX ||
	    sum != sum_of(scan->salt, scan->bytes.ptr + at, rest_len))
		return false;
	what = read_u8(&in);
	kind = read_u8(&in);
	r->key.part = read_u16(&in);
	r->position = read_u32(&in);
	r->key.number = read_u64(&in);
	r->value = read_bytes(&in, rest_len - REST);
	r->is_last = (what & WHAT_LAST) != 0;
	r->removes = (what & ~(unsigned)WHAT_LAST) == WHAT_REMOVE;
	if (kind == 0 || kind >= QUEUE_RECORD_KIND_COUNT || r->position > r->sequence)
		return false;
	r->key.kind = (enum queue_record_kind)kind;
	r->at = at;
	r->end = at + queue_segment_record_size(r->value.len);
	return r->end <= scan->bytes.len;
}

bool queue_segment_next(struct queue_segment_scan *scan, struct queue_segment_record *r)
{
	for (size_t at = scan->at; at < scan->bytes.len; at += 4) {
		if (!read_record(scan, at, r))
			continue;
		r->gap = at != scan->at || r->sequence != scan->expected;
		scan->at = r->end;
		scan->expected = r->sequence + 1;
		return true;
	}
	return false;
}

size_t queue_segment_end(struct queue_segment_scan scan, bool *is_damaged)
{
	struct queue_segment_record r;
	uint64_t group = UINT64_MAX; /* sequence of the first record of the group we are in */
	size_t   before = scan.at;   /* end of what precedes it */
	size_t   end = scan.at;      /* end of its latest record */
	bool     is_whole = true;    /* so far */
	bool     is_complete = true;

	*is_damaged = false;
	while (queue_segment_next(&scan, &r)) {
		if (group == UINT64_MAX || r.sequence - r.position != group) {
			/* a new one: all before it was flushed */
			*is_damaged |= !is_whole || !is_complete || (r.gap && r.position == 0);
			group = r.sequence - r.position;
			before = end;
			is_whole = r.position == 0;
		} else if (r.gap) {
			is_whole = false;
		}
		is_complete = r.is_last;
		end = r.end;
	}
	return is_whole && is_complete ? end : before;
}
