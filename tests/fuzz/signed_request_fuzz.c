/*
 * Requests that Synapse signed (tests/data/signed), with some bytes changed in the header lines, the
 * target and the body: of what was good and still is, what is signed is the same, byte for byte.
 *
 * Input: a byte for the request, then for each change where (two bytes), how (one) and with what.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/matrix/key_id.h"
#include "codec/matrix/xmatrix.h"
#include "fed/server_keys.h"

enum { LINES_MAX = 10, REQUESTS_MAX = 80, BODY_MAX = 8000, CHANGES_MAX = 16 };

struct request {
	struct str         server_name, method, lines[LINES_MAX], target, body;
	size_t             line_count;
	struct server_keys keys;
	struct buf         signed_bytes;
	bool               is_good;
};

static struct request           requests[REQUESTS_MAX];
static size_t                   request_count;
static struct arena             arena;
static struct server_keys_clock now = { 0, true };

/* ---- the corpus, read once ---- */

static struct str member(struct str object, const char *key)
{
	struct json_member m = { .key = str_of(key) };
	struct str         plain;

	check(json_find(object, JSON_REFUSE_REPEAT, &m, 1) == ERR_OK && m.kind != JSON_NONE);
	if (m.kind != JSON_STRING)
		return m.value;
	check(json_unescape_copy(m.value, &arena, &plain) == ERR_OK);
	return plain;
}

static void read_lines(struct str list, struct request *r)
{
	struct json_items it;
	struct json_item  item;
	enum json_kind    kind;

	check(json_items_begin(&it, list, NULL, &kind) == ERR_OK);
	while (json_items_next(&it, &item) == ERR_OK && item.kind == JSON_STRING &&
	       r->line_count < LINES_MAX)
		check(json_unescape_copy(item.value, &arena, &r->lines[r->line_count++]) == ERR_OK);
}

static enum err verify(const struct request *r, const struct str *lines, struct str target,
                       struct str body, struct buf *signed_bytes);

static void read_request(struct str object, struct str origins)
{
	struct request *r = &requests[request_count];
	char            origin[SERVER_NAME_TEXT_MAX + 1];

	*r = (struct request){ .server_name = member(object, "server_name"),
		               .method = member(object, "method"),
		               .target = member(object, "target"),
		               .body = member(object, "body") };
	read_lines(member(object, "authorization"), r);
	check(str_copy(member(object, "origin"), origin, sizeof(origin)));
	if (r->body.len > BODY_MAX)
		return;
	check(server_keys_parse(member(origins, origin), str_of(origin), now, &r->keys) == ERR_OK);
	buf_init(&r->signed_bytes, 4 * BODY_MAX);
	r->is_good = verify(r, r->lines, r->target, r->body, &r->signed_bytes) == ERR_OK;
	check(r->is_good == str_is(member(object, "want"), "ok"));
	request_count++;
}

static void read_corpus(void)
{
	static char       text[1 << 20];
	FILE             *file = fopen(TESTS_DIR "/data/signed/made.json", "rb");
	struct str        all;
	struct json_items it;
	struct json_item  item;
	enum json_kind    kind;

	check(file != NULL);
	all = str_span(text, fread(text, 1, sizeof(text), file));
	check(fclose(file) == 0);
	check(signing_init() == ERR_OK);
	arena_init(&arena, (size_t)16 << 20);
	check(str_to_u64(member(all, "at"), UINT64_MAX, &now.now_unix_ms));
	check(json_items_begin(&it, member(all, "requests"), NULL, &kind) == ERR_OK);
	while (json_items_next(&it, &item) == ERR_OK && item.kind == JSON_OBJECT &&
	       request_count < REQUESTS_MAX)
		read_request(item.value, member(all, "origins"));
	check(request_count > 20);
}

/* ---- as the verifier does it ---- */

static enum err verify_lines(const struct xmatrix_message *m, const struct xmatrix_lines *lines,
                             const struct server_keys *keys)
{
	enum err e = ERR_OK;
	size_t   known = 0;

	for (size_t i = 0; i < lines->count && e == ERR_OK; i++) {
		const struct signing_key *key;
		struct key_id             id;

		if (key_id_parse(lines->line[i].key, &id) != ERR_OK ||
		    server_keys_find(keys, id.text, now, &key) != ERR_OK)
			continue;
		known++;
		e = xmatrix_verify(m, lines->line[i].sig, key);
	}
	return e == ERR_OK && known == 0 ? ERR_SIGNATURE : e;
}

static enum err verify(const struct request *r, const struct str *lines, struct str target,
                       struct str body, struct buf *signed_bytes)
{
	struct field           fields[LINES_MAX];
	struct head            head = { .fields = fields, .field_count = r->line_count };
	struct arena           own;
	struct xmatrix_lines   collected;
	struct xmatrix_message m;
	enum err               e;

	for (size_t i = 0; i < r->line_count; i++)
		fields[i] = (struct field){ FIELD_AUTHORIZATION, STR("Authorization"), lines[i] };
	arena_init(&own, 1 << 16);
	e = xmatrix_collect(&head, &own, &collected);
	if (e == ERR_OK && !xmatrix_is_for(&collected, r->server_name))
		e = ERR_DENIED;
	if (e == ERR_OK && !str_eq(collected.origin, str_of(r->keys.server_name)))
		e = ERR_NOT_FOUND;
	if (e == ERR_OK) {
		const struct xmatrix_request x = { r->method, target, collected.origin,
			                           r->server_name, body };

		e = xmatrix_open(&m, &x, 4 * BODY_MAX);
		if (e == ERR_OK) {
			e = verify_lines(&m, &collected, &r->keys);
			if (!m.canon.odd_numbers)
				check(buf_add(signed_bytes, buf_str(&m.bytes)) == ERR_OK);
			xmatrix_close(&m);
		}
	}
	arena_fini(&own);
	return e;
}

/* ---- changes ---- */

struct text {
	char   bytes[LINES_MAX * 2000 + BODY_MAX + CHANGES_MAX];
	size_t line_end[LINES_MAX], target_end, len;
};

static void text_add(struct text *t, struct str s)
{
	check(t->len + s.len <= sizeof(t->bytes));
	memcpy(t->bytes + t->len, s.ptr, s.len);
	t->len += s.len;
}

static void insert_at(struct text *t, size_t at, char c, const struct request *r)
{
	if (t->len == sizeof(t->bytes))
		return;
	memmove(t->bytes + at + 1, t->bytes + at, t->len - at);
	t->bytes[at] = c;
	t->len++;
	for (size_t i = 0; i < r->line_count; i++)
		t->line_end[i] += t->line_end[i] > at;
	t->target_end += t->target_end > at;
}

static void remove_at(struct text *t, size_t at, const struct request *r)
{
	memmove(t->bytes + at, t->bytes + at + 1, t->len - at - 1);
	t->len--;
	for (size_t i = 0; i < r->line_count; i++)
		t->line_end[i] -= t->line_end[i] > at;
	t->target_end -= t->target_end > at;
}

static void change(struct text *t, const uint8_t how[4], const struct request *r)
{
	size_t at = t->len > 0 ? (size_t)(how[0] << 8 | how[1]) % t->len : 0;

	if (how[2] % 4 == 0)
		insert_at(t, at, (char)how[3], r);
	else if (how[2] % 4 == 1 && t->len > 0)
		remove_at(t, at, r);
	else if (how[2] % 4 == 2 && t->len > 0)
		t->bytes[at] = (char)(t->bytes[at] ^ how[3]);
	else if (t->len > 0)
		t->bytes[at] = (char)how[3];
}

static void check_changed(const struct request *r, const struct text *t)
{
	struct str lines[LINES_MAX], target, body;
	size_t     at = 0;
	struct buf bytes;

	for (size_t i = 0; i < r->line_count; at = t->line_end[i++])
		lines[i] = str_span(t->bytes + at, t->line_end[i] - at);
	target = str_span(t->bytes + at, t->target_end - at);
	body = str_span(t->bytes + t->target_end, t->len - t->target_end);
	buf_init(&bytes, 4 * BODY_MAX);
	/* one that was refused may have been mended, or its wrong line made one of another scheme */
	if (verify(r, lines, target, body, &bytes) == ERR_OK && r->is_good)
		check(buf_len(&bytes) == 0 || buf_len(&r->signed_bytes) == 0 ||
		      str_eq(buf_str(&bytes), buf_str(&r->signed_bytes)));
	buf_fini(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct text    t;
	const struct request *r;

	if (request_count == 0)
		read_corpus();
	if (size == 0)
		return 0;
	r = &requests[data[0] % request_count];
	t.len = 0;
	for (size_t i = 0; i < r->line_count; i++) {
		text_add(&t, r->lines[i]);
		t.line_end[i] = t.len;
	}
	text_add(&t, r->target);
	t.target_end = t.len;
	text_add(&t, r->body);
	for (size_t i = 1; i + 4 <= size && i < 4 * CHANGES_MAX; i += 4)
		change(&t, data + i, r);
	check_changed(r, &t);
	return 0;
}
