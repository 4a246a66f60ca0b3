#include "store/queue_record.h"

#include "base/cursor.h"
#include "codec/matrix/signing.h"
#include "store/crc32c.h"

enum {
	VERSION = 1,
	HEAD = 12, /* version, kind, 0, 0, checksum, how much it covers */
	AT_SUM = 4,
	AT_COVERED = 8,
	AT_BODY = HEAD,          /* of an item: number of its parts */
	AT_BODY_SUM = HEAD + 12, /* checksum of a small body, behind the length */
};

_Static_assert((int)QUEUE_PART_ROOM == (int)HEAD, "a part has nothing but the head in front");
_Static_assert(HEAD + QUEUE_HEAD_MAX + 128 + QUEUE_INLINE_MAX <= QUEUE_VALUE_MAX, "an item fits");
_Static_assert(HEAD + QUEUE_PART_BYTES <= QUEUE_VALUE_MAX, "a part fits");

/* --- numbers --- */

static void put_be(char *at, uint64_t v, unsigned bytes)
{
	struct writer w = writer_over(at, bytes);

	write_be(&w, v, bytes);
}

static uint32_t get_u32(const char *at)
{
	struct reader r = reader_over(str_span(at, 4));

	return read_u32(&r);
}

struct queue_mark queue_mark_of(struct str text)
{
	uint8_t           hash[SIGNING_SHA256_BYTES];
	struct queue_mark m;

	signing_sha256(text, hash);
	memcpy(m.bytes, hash, sizeof(m.bytes));
	return m;
}

/* --- heads and checksums --- */

static void write_head(struct writer *w, enum queue_record_kind kind)
{
	write_be(w, VERSION, 1);
	write_be(w, kind, 1);
	write_be(w, 0, 2);
	write_be(w, 0, 8); /* sealing and finish() fill these in */
}

/* What is covered is known only at the end. */
static size_t finish(struct writer *w)
{
	size_t len = (size_t)(w->at - w->begin);

	check(!w->failed && len >= HEAD);
	put_be(w->begin + AT_COVERED, len - HEAD, 4);
	return len;
}

static uint32_t sum_of(const struct queue_key *key, const char *record, size_t covered)
{
	char          name[11 + 4]; /* the key, and how much is covered */
	struct writer w = writer_over(name, sizeof(name));

	write_be(&w, key->kind, 1);
	write_be(&w, key->number, 8);
	write_be(&w, key->part, 2);
	write_be(&w, covered, 4);
	return crc32c(crc32c(0, name, sizeof(name)), record + HEAD, covered);
}

void queue_record_seal(const struct queue_key *key, char *record, size_t len)
{
	size_t covered;

	check(len >= HEAD);
	if (key->kind == QUEUE_RECORD_PART) {
		struct writer w = writer_over(record, len);

		write_head(&w, QUEUE_RECORD_PART);
		put_be(record + AT_COVERED, len - HEAD, 4);
	}
	covered = get_u32(record + AT_COVERED);
	check(covered <= len - HEAD);
	if (key->kind == QUEUE_RECORD_ITEM)
		put_be(record + AT_BODY_SUM,
		       crc32c(0, record + HEAD + covered, len - HEAD - covered), 4);
	put_be(record + AT_SUM, sum_of(key, record, covered), 4);
}

/* rest: what the checksum covers, now known to be right. */
static enum err open_record(const struct queue_key *key, struct str record, struct str *rest)
{
	struct reader r = reader_over(record);
	unsigned      version = read_u8(&r), kind = read_u8(&r);
	uint16_t      zero = read_u16(&r);
	uint32_t      sum = read_u32(&r), covered = read_u32(&r);

	if (!r.failed && version > VERSION && kind == key->kind)
		return ERR_UNSUPPORTED;
	if (r.failed || version != VERSION || kind != key->kind || zero != 0)
		return ERR_SYNTAX;
	*rest = read_bytes(&r, covered);
	return !r.failed && sum == sum_of(key, record.ptr, covered) ? ERR_OK : ERR_SYNTAX;
}

/* --- items --- */

static size_t head_bytes(const struct queue_item *item)
{
	return item->server_name.len + item->origin.len + item->transaction_id.len +
		item->method.len + item->target.len + item->authorization.len +
		item->content_type.len;
}

static bool is_between(struct str s, size_t least, size_t most)
{
	return s.len >= least && s.len <= most;
}

enum err queue_record_check_item(const struct queue_item *item)
{
	if (!is_between(item->server_name, 1, 255) || !is_between(item->origin, 1, 255) ||
	    !is_between(item->transaction_id, 1, 1024) || !is_between(item->method, 1, 32) ||
	    !is_between(item->target, 1, QUEUE_HEAD_MAX))
		return ERR_RANGE;
	if (item->authorization.len > QUEUE_HEAD_MAX || item->content_type.len > QUEUE_HEAD_MAX ||
	    head_bytes(item) > QUEUE_HEAD_MAX || item->body.len > QUEUE_BODY_MAX)
		return ERR_TOO_LARGE;
	return ERR_OK;
}

enum {
	ITEM_FIXED = HEAD + 8 + 4 + 4 + 8 + 1 + 16 + 2 + QUEUE_HASH_BYTES + 1 + 1 + 2 + 1 + 4 + 4 +
		4
};

static size_t inline_bytes(size_t body_len)
{
	return queue_record_is_inline(body_len) ? body_len : 0;
}

size_t queue_record_item_size(const struct queue_item *item)
{
	return ITEM_FIXED + head_bytes(item) + inline_bytes(item->body.len);
}

void queue_record_write_item(char *room, const struct queue_item *item)
{
	struct writer w = writer_over(room, ITEM_FIXED + head_bytes(item));

	write_head(&w, QUEUE_RECORD_ITEM);
	write_be(&w, 0, 8);
	write_be(&w, item->body.len, 4);
	write_be(&w, 0, 4);
	write_be(&w, item->at_unix_ms, 8);
	write_be(&w, item->peer.family, 1);
	write_bytes(&w, item->peer.ip, sizeof(item->peer.ip));
	write_be(&w, item->peer.port, 2);
	write_bytes(&w, item->body_hash, QUEUE_HASH_BYTES);
	write_be(&w, item->server_name.len, 1);
	write_be(&w, item->origin.len, 1);
	write_be(&w, item->transaction_id.len, 2);
	write_be(&w, item->method.len, 1);
	write_be(&w, item->target.len, 4);
	write_be(&w, item->authorization.len, 4);
	write_be(&w, item->content_type.len, 4);
	write_str(&w, item->server_name);
	write_str(&w, item->origin);
	write_str(&w, item->transaction_id);
	write_str(&w, item->method);
	write_str(&w, item->target);
	write_str(&w, item->authorization);
	write_str(&w, item->content_type);
	finish(&w);
	check(w.at == w.end);
	if (inline_bytes(item->body.len) > 0)
		memcpy(w.end, item->body.ptr, item->body.len);
}

void queue_record_set_body(char *record, uint64_t body)
{
	put_be(record + AT_BODY, body, 8);
}

/* A family that we do not know is none. */
static void read_peer(struct reader *r, struct address *peer)
{
	unsigned   family = read_u8(r);
	struct str ip = read_bytes(r, sizeof(peer->ip));

	*peer = (struct address){ .port = read_u16(r) };
	if (family == ADDRESS_V4 || family == ADDRESS_V6)
		peer->family = family == ADDRESS_V4 ? ADDRESS_V4 : ADDRESS_V6;
	if (!r->failed)
		memcpy(peer->ip, ip.ptr, sizeof(peer->ip));
}

static uint32_t read_item_head(struct reader *r, struct queue_record_item *out)
{
	struct queue_item *item = &out->item;
	struct str         hash;
	uint32_t           body_sum;
	size_t             lens[7];

	out->body = read_u64(r);
	out->body_len = read_u32(r);
	body_sum = read_u32(r);
	item->at_unix_ms = read_u64(r);
	read_peer(r, &item->peer);
	hash = read_bytes(r, QUEUE_HASH_BYTES);
	if (!r->failed)
		memcpy(item->body_hash, hash.ptr, QUEUE_HASH_BYTES);
	lens[0] = read_u8(r);
	lens[1] = read_u8(r);
	lens[2] = read_u16(r);
	lens[3] = read_u8(r);
	lens[4] = read_u32(r);
	lens[5] = read_u32(r);
	lens[6] = read_u32(r);
	item->server_name = read_bytes(r, lens[0]);
	item->origin = read_bytes(r, lens[1]);
	item->transaction_id = read_bytes(r, lens[2]);
	item->method = read_bytes(r, lens[3]);
	item->target = read_bytes(r, lens[4]);
	item->authorization = read_bytes(r, lens[5]);
	item->content_type = read_bytes(r, lens[6]);
	return body_sum;
}

enum err queue_record_read_item(const struct queue_key *key, struct str record, bool is_whole,
                                struct queue_record_item *out)
{
	struct str    rest;
	struct reader r;
	uint32_t      body_sum;
	enum err      e = open_record(key, record, &rest);

	*out = (struct queue_record_item){ 0 };
	if (e != ERR_OK)
		return e;
	r = reader_over(rest);
	body_sum = read_item_head(&r, out);
	if (r.failed || r.at != r.end || out->body_len > QUEUE_BODY_MAX ||
	    (out->body == 0) != queue_record_is_inline(out->body_len) ||
	    queue_record_check_item(&out->item) != ERR_OK)
		return ERR_SYNTAX;
	if (!is_whole)
		return ERR_OK;
	out->item.body = str_from(record, HEAD + rest.len);
	if (out->item.body.len != inline_bytes(out->body_len) ||
	    crc32c(0, out->item.body.ptr, out->item.body.len) != body_sum)
		return ERR_SYNTAX;
	return ERR_OK;
}

/* --- the others --- */

enum err queue_record_read_part(const struct queue_key *key, struct str record, struct str *bytes)
{
	enum err e = open_record(key, record, bytes);

	if (e == ERR_OK && (bytes->len != record.len - HEAD || bytes->len > QUEUE_PART_BYTES))
		return ERR_SYNTAX;
	return e;
}

/* A reader over what such a record holds, or one that has failed. */
static enum err begin(const struct queue_key *key, struct str record, struct reader *r)
{
	struct str rest;
	enum err   e = open_record(key, record, &rest);

	if (e == ERR_OK && rest.len != record.len - HEAD)
		return ERR_SYNTAX;
	if (e == ERR_OK)
		*r = reader_over(rest);
	return e;
}

static enum err end(const struct reader *r)
{
	return r->failed || r->at != r->end ? ERR_SYNTAX : ERR_OK;
}

size_t queue_record_write_state(char *room, const struct queue_record_state *s)
{
	struct writer w = writer_over(room, QUEUE_RECORD_STATE_MAX);

	write_head(&w, QUEUE_RECORD_STATE);
	write_be(&w, s->parked, 1);
	write_be(&w, s->tries, 4);
	write_be(&w, s->first_try_unix_ms, 8);
	write_str(&w, str_head(s->reason, QUEUE_REASON_MAX));
	return finish(&w);
}

enum err queue_record_read_state(const struct queue_key *key, struct str record,
                                 struct queue_record_state *out)
{
	struct reader r;
	enum err      e = begin(key, record, &r);
	unsigned      parked;

	*out = (struct queue_record_state){ 0 };
	if (e != ERR_OK)
		return e;
	parked = read_u8(&r);
	out->parked = parked == 1;
	out->tries = read_u32(&r);
	out->first_try_unix_ms = read_u64(&r);
	out->reason = read_bytes(&r, (size_t)(r.end - r.at));
	return parked > 1 || out->reason.len > QUEUE_REASON_MAX ? ERR_SYNTAX : end(&r);
}

size_t queue_record_write_seen(char *room, const struct queue_record_seen *s)
{
	struct writer w = writer_over(room, QUEUE_RECORD_SEEN_MAX);

	write_head(&w, QUEUE_RECORD_SEEN);
	write_be(&w, s->at_unix_ms, 8);
	write_bytes(&w, s->id.bytes, QUEUE_MARK_BYTES);
	write_bytes(&w, s->body.bytes, QUEUE_MARK_BYTES);
	write_be(&w, s->server_name.len, 1);
	write_str(&w, s->server_name);
	write_str(&w, s->origin);
	return finish(&w);
}

static void read_mark(struct reader *r, struct queue_mark *m)
{
	struct str s = read_bytes(r, QUEUE_MARK_BYTES);

	if (!r->failed)
		memcpy(m->bytes, s.ptr, QUEUE_MARK_BYTES);
}

enum err queue_record_read_seen(const struct queue_key *key, struct str record,
                                struct queue_record_seen *out)
{
	struct reader r;
	enum err      e = begin(key, record, &r);

	*out = (struct queue_record_seen){ 0 };
	if (e != ERR_OK)
		return e;
	out->at_unix_ms = read_u64(&r);
	read_mark(&r, &out->id);
	read_mark(&r, &out->body);
	out->server_name = read_bytes(&r, read_u8(&r));
	out->origin = read_bytes(&r, r.failed ? 0 : (size_t)(r.end - r.at));
	if (!is_between(out->server_name, 1, 255) || !is_between(out->origin, 1, 255))
		return ERR_SYNTAX;
	return end(&r);
}

size_t queue_record_write_meta(char *room, uint64_t next_sequence)
{
	struct writer w = writer_over(room, QUEUE_RECORD_META_BYTES);

	write_head(&w, QUEUE_RECORD_META);
	write_be(&w, next_sequence, 8);
	return finish(&w);
}

enum err queue_record_read_meta(const struct queue_key *key, struct str record,
                                uint64_t *next_sequence)
{
	struct reader r;
	enum err      e = begin(key, record, &r);

	if (e != ERR_OK)
		return e;
	*next_sequence = read_u64(&r);
	return end(&r);
}
