#include "role/answers.h"

#include <stdlib.h>

#include "base/metrics.h"
#include "codec/http/cache_control.h"
#include "codec/matrix/ids.h"
#include "fed/server_keys.h"

#define LONG_MS (10 * 365 * (uint64_t)DAY_MS) /* of what has no age */

enum {
	RECORD_VERSION = 1,
	RECORD_HEAD = 1 + 8 + 4 + 2,
	COMPOSED_MAX = 256 * 1024,
};

struct answers {
	struct loop  *loop;
	struct cache *cache;
	struct shelf  shelf;
	unsigned      changes;    /* of devices, seen so far */
	msec          saves_from; /* the hour in which were */
	unsigned      saves;
};

enum err answers_new(struct loop *l, struct cache *cache, size_t bytes_max, struct answers **out)
{
	struct answers *a = calloc(1, sizeof(*a));
	uint32_t        seed;

	if (a == NULL)
		return ERR_NOMEM;
	a->loop = l;
	a->cache = cache;
	loop_random(&seed, sizeof(seed));
	shelf_init(&a->shelf, bytes_max, seed);
	*out = a;
	return ERR_OK;
}

void answers_free(struct answers *a)
{
	if (a == NULL)
		return;
	shelf_fini(&a->shelf);
	free(a);
}

/* ---- devices ---- */

static void forget_devices(struct answers *a)
{
	count_add(COUNT_answers_invalidated,
	          shelf_forget_all(&a->shelf, SNAPSHOT_DEVICES, STRL("")));
}

void answers_set(struct answers *a, size_t bytes_max)
{
	a->changes++;
	forget_devices(a);
	shelf_set_max(&a->shelf, bytes_max);
}

typedef bool user_name_fn(struct str server_name, struct str user, struct writer *w);

static void forget_user(struct answers *a, struct str server_name, struct str user,
                        user_name_fn *write)
{
	char          name[SNAPSHOT_NAME_MAX];
	struct writer w = writer_over(name, sizeof(name));

	if (write(server_name, user, &w))
		count_add(COUNT_answers_invalidated, shelf_forget(&a->shelf, writer_done(&w)));
}

void answers_changed(struct answers *a, struct str user)
{
	struct ids ids;

	a->changes++;
	if (user.len == 0 || ids_parse(IDS_USER, user, &ids) != ERR_OK) {
		forget_devices(a);
		return;
	}
	forget_user(a, ids.server, user, snapshot_devices_name);
	forget_user(a, ids.server, user, snapshot_keys_name);
}

/* ---- the disk ---- */

static bool outlives_us(enum snapshot_kind kind)
{
	return kind == SNAPSHOT_FOUNDATION || kind == SNAPSHOT_RECORD;
}

static struct str cache_key(struct str name, char room[CACHE_KEY_MAX])
{
	struct writer w = writer_over(room, CACHE_KEY_MAX);

	write_text(&w, "answer/");
	write_str(&w, name);
	return w.failed ? STRL("") : writer_done(&w);
}

static void write_number(struct writer *w, uint64_t v, unsigned bytes)
{
	while (bytes-- > 0)
		write_char(w, (char)(v >> (8 * bytes) & 0xff));
}

static struct shelf_item *read_record(struct answers *a, enum snapshot_kind kind, struct str name,
                                      struct str record)
{
	struct reader      r = reader_over(record);
	uint8_t            version = read_u8(&r);
	uint64_t           taken = read_u64(&r);
	uint32_t           age_s = read_u32(&r);
	struct str         fields = read_bytes(&r, read_u16(&r));
	struct str         body = str_span(r.at, (size_t)(r.end - r.at));
	struct shelf_item *i;

	if (r.failed || version != RECORD_VERSION)
		return NULL;
	i = shelf_begin(&a->shelf, kind, name, fields, body.len);
	if (i != NULL && !shelf_add(i, body)) {
		shelf_drop(i);
		return NULL;
	}
	if (i != NULL) {
		i->taken_unix_ms = i->saved_unix_ms = taken;
		i->age_s = age_s;
		i->is_recalled = true;
	}
	return i;
}

static struct shelf_item *recall(struct answers *a, enum snapshot_kind kind, struct str name)
{
	char               key[CACHE_KEY_MAX];
	size_t             len;
	char              *room;
	struct shelf_item *i = NULL;

	if (a->cache == NULL || !outlives_us(kind) || a->shelf.max == 0)
		return NULL;
	room = malloc(CACHE_VALUE_MAX);
	if (room != NULL && cache_get(a->cache, cache_key(name, key), room, CACHE_VALUE_MAX, &len))
		i = read_record(a, kind, name, str_span(room, len));
	free(room);
	if (i == NULL)
		return NULL;
	shelf_put(i);
	return shelf_find(&a->shelf, name);
}

static struct shelf_item *find(struct answers *a, enum snapshot_kind kind, struct str name)
{
	struct shelf_item *i = shelf_find(&a->shelf, name);

	return i != NULL ? i : recall(a, kind, name);
}

/* Records come from whoever asks; foundations are few. */
static bool may_save(struct answers *a, enum snapshot_kind kind)
{
	msec now = loop_now(a->loop);

	if (kind == SNAPSHOT_FOUNDATION)
		return true;
	if (a->saves == 0 || now - a->saves_from >= HOUR_MS) {
		a->saves_from = now;
		a->saves = 0;
	}
	return a->saves < ANSWERS_SAVES_PER_HOUR;
}

static size_t write_record(struct writer *w, const struct shelf_item *i)
{
	write_char(w, RECORD_VERSION);
	write_number(w, i->taken_unix_ms, 8);
	write_number(w, i->age_s, 4);
	write_number(w, i->fields_len, 2);
	write_str(w, shelf_fields(i));
	for (const struct shelf_piece *p = i->first; p != NULL; p = p->next)
		write_bytes(w, p->bytes, p->len);
	return writer_done(w).len;
}

static void save(struct answers *a, const struct asleep_row *row, struct shelf_item *i)
{
	char          key[CACHE_KEY_MAX];
	size_t        size = RECORD_HEAD + i->fields_len + i->body_len;
	char         *room = size <= CACHE_VALUE_MAX && may_save(a, i->kind) ? malloc(size) : NULL;
	struct writer w = writer_over(room, room == NULL ? 0 : size);
	uint64_t      life = row->snapshot_s == ASLEEP_FOREVER ? LONG_MS
							       : (uint64_t)row->snapshot_s * SECOND_MS;

	if (room != NULL) {
		size = write_record(&w, i);
		if (!w.failed &&
		    cache_put(a->cache, cache_key(shelf_name(i), key), str_span(room, size),
		              i->taken_unix_ms + life) == ERR_OK) {
			i->saved_unix_ms = i->taken_unix_ms;
			a->saves += i->kind != SNAPSHOT_FOUNDATION;
			count(COUNT_answers_saved);
		}
	}
	free(room);
}

/* Written only if it says something new, or what is there has lived half of its time. */
static bool wants_saving(const struct answers *a, const struct asleep_row *row,
                         const struct shelf_item *i, const struct shelf_item *old)
{
	if (a->cache == NULL || !outlives_us(i->kind))
		return false;
	if (old == NULL || old->saved_unix_ms == 0 || !shelf_same(i, old))
		return true;
	return row->snapshot_s != ASLEEP_FOREVER &&
		i->taken_unix_ms - old->saved_unix_ms > (uint64_t)row->snapshot_s * SECOND_MS / 2;
}

/* ---- giving ---- */

static msec age_of(const struct answers *a, const struct shelf_item *i)
{
	uint64_t now = loop_unix_ms(a->loop);

	if (!i->is_recalled)
		return loop_now(a->loop) - i->taken_at;
	/* from the future: either clock was wrong, so it may be of any age */
	return now >= i->taken_unix_ms ? now - i->taken_unix_ms : MS_NEVER - 1;
}

uint64_t answers_age_s(const struct answers *a, const struct shelf_item *i)
{
	uint64_t age_s = age_of(a, i) / SECOND_MS + i->age_s;

	return age_s > INT32_MAX ? INT32_MAX : age_s; /* RFC 9111 1.2.2 */
}

static struct shelf_item *find_asked(struct answers *a, const struct snapshot_question *q)
{
	char          name[SNAPSHOT_NAME_MAX];
	struct writer w = writer_over(name, sizeof(name));

	if (!snapshot_name(q, &w))
		return NULL;
	return find(a, snapshot_kind_of(q->match->row), writer_done(&w));
}

/* What comes from the disk is never fresh. */
static struct shelf_item *find_in_memory(struct answers *a, const struct snapshot_question *q)
{
	char          name[SNAPSHOT_NAME_MAX];
	struct writer w = writer_over(name, sizeof(name));

	return snapshot_name(q, &w) ? shelf_find(&a->shelf, writer_done(&w)) : NULL;
}

struct shelf_item *answers_fresh(struct answers *a, const struct snapshot_question *q,
                                 const struct head *request)
{
	struct shelf_item *i;

	if (!snapshot_may_repeat(q->match->row, request))
		return NULL;
	i = find_in_memory(a, q);
	if (i == NULL || i->is_recalled || loop_now(a->loop) >= i->fresh_until)
		return NULL;
	return shelf_hold(i);
}

/* An answer made here, not on the shelf. NULL: no room. */
static struct shelf_item *compose(struct answers *a, struct str json)
{
	struct shelf_item *i = shelf_begin(&a->shelf, SNAPSHOT_DEVICES, STRL(""),
	                                   STRL("Content-Type: application/json\r\n"), json.len);

	if (i != NULL && !shelf_add(i, json)) {
		shelf_drop(i);
		return NULL;
	}
	if (i != NULL)
		i->taken_at = loop_now(a->loop);
	return i;
}

/* The parts of one user, in a block of malloc. *sum grows by its size. */
static bool recall_user(struct answers *a, struct str server_name, struct device_lists_user *u,
                        char **block, size_t *sum)
{
	char                     name[SNAPSHOT_NAME_MAX], id[DEVICE_LISTS_ID_MAX];
	struct writer            w = writer_over(name, sizeof(name));
	struct writer            wid = writer_over(id, sizeof(id));
	const struct shelf_item *i;

	if (!device_lists_id(u, &wid) || !snapshot_keys_name(server_name, writer_done(&wid), &w))
		return false;
	i = shelf_find(&a->shelf, writer_done(&w));
	if (i == NULL || i->body_len > COMPOSED_MAX - *sum || !shelf_copy_body(i, block))
		return false;
	*sum += i->body_len;
	return device_lists_read_part(str_span(*block, i->body_len), u) == ERR_OK;
}

static struct shelf_item *compose_users(struct answers *a, const struct device_lists *lists,
                                        size_t sum)
{
	size_t             size = sum + 128 + 64 * lists->count;
	char              *room;
	struct writer      w;
	struct shelf_item *i = NULL;

	for (size_t k = 0; k < lists->count; k++)
		size += lists->user[k].id.len * DEVICE_LISTS_MEMBER_COUNT;
	room = malloc(size);
	w = writer_over(room, room == NULL ? 0 : size);
	if (room != NULL)
		device_lists_write(lists, &w);
	if (!w.failed && room != NULL)
		i = compose(a, writer_done(&w));
	free(room);
	return i;
}

/* Every user asked for must be known: an answer without one says that he has no devices. */
static struct shelf_item *answer_keys_query(struct answers *a, const struct snapshot_question *q)
{
	struct device_lists *lists = malloc(sizeof(*lists));
	char                *blocks[DEVICE_LISTS_USERS_MAX] = { NULL };
	struct shelf_item   *i = NULL;
	size_t               sum = 0;
	bool ok = lists != NULL && device_lists_asked(q->body, lists) == ERR_OK && lists->count > 0;

	for (size_t k = 0; ok && k < lists->count; k++)
		ok = recall_user(a, q->server_name, &lists->user[k], &blocks[k], &sum);
	if (ok)
		i = compose_users(a, lists, sum);
	for (size_t k = 0; k < DEVICE_LISTS_USERS_MAX; k++)
		free(blocks[k]);
	free(lists);
	return i;
}

/* GET /_matrix/key/v2/server */
static struct shelf_item *find_keys(struct answers *a, struct str server_name)
{
	struct asleep_match      match = { .endpoint = ASLEEP_KEY_SERVER,
		                           .row = asleep_row_of(ASLEEP_KEY_SERVER) };
	struct snapshot_question q = { .match = &match, .server_name = server_name };

	return find_asked(a, &q);
}

bool answers_want_keys(struct answers *a, struct str server_name)
{
	const struct shelf_item *i = find_keys(a, server_name);
	uint64_t                 now = loop_unix_ms(a->loop);

	if (a->shelf.max == 0)
		return false;
	return i == NULL || i->until_unix_ms <= now || now < i->taken_unix_ms ||
		now - i->taken_unix_ms > i->until_unix_ms - now;
}

/* POST /_matrix/key/v2/query: does it ask about us? */
static bool asks_about(struct str body, struct str server_name)
{
	struct json_member asked = { .key = STRL("server_keys") };
	struct json_items  it;
	struct json_item   item = { .kind = JSON_NONE };
	enum json_kind     kind;

	if (json_find(body, JSON_REFUSE_REPEAT, &asked, 1) != ERR_OK || asked.kind != JSON_OBJECT ||
	    json_items_begin(&it, asked.value, NULL, &kind) != ERR_OK)
		return false;
	while (json_items_next(&it, &item) == ERR_OK && item.kind != JSON_END)
		if (json_text_eq(item.key, server_name))
			return true;
	return false;
}

static bool is_about_us(const struct snapshot_question *q)
{
	char          name[256];
	struct writer w = writer_over(name, sizeof(name));

	if (q->match->arg_count == 0)
		return asks_about(q->body, q->server_name);
	asleep_write_decoded(&w, q->match->args[0]);
	return !w.failed && str_eq(writer_done(&w), q->server_name);
}

/* A notary's answer about our own name: its own document, which is signed by both, both being itself. */
static struct shelf_item *answer_key_query(struct answers *a, const struct snapshot_question *q)
{
	struct asleep_match      keys = { .endpoint = ASLEEP_KEY_SERVER,
		                          .row = asleep_row_of(ASLEEP_KEY_SERVER) };
	struct snapshot_question about_us = { .match = &keys, .server_name = q->server_name };
	struct writer            w;
	struct shelf_item       *kept = is_about_us(q) ? find_asked(a, &about_us) : NULL;
	struct shelf_item       *i = NULL;
	char                    *doc = NULL, *json = NULL;

	if (kept == NULL || !shelf_copy_body(kept, &doc))
		return NULL;
	json = malloc(kept->body_len + 32);
	w = writer_over(json, json == NULL ? 0 : kept->body_len + 32);
	write_text(&w, "{\"server_keys\":[");
	write_str(&w, str_span(doc, kept->body_len));
	write_text(&w, "]}");
	if (!w.failed)
		i = compose(a, writer_done(&w));
	free(json);
	free(doc);
	return i;
}

struct shelf_item *answers_asleep(struct answers *a, const struct snapshot_question *q,
                                  const struct head *request, bool exact)
{
	const struct asleep_row *row = q->match->row;
	struct shelf_item       *i;

	if (q->match->endpoint == ASLEEP_KEY_QUERY)
		return answer_key_query(a, q);
	if (row->action != ASLEEP_ANSWER || !snapshot_may_stand_in(row, request))
		return NULL;
	if ((row->flags & ASLEEP_EXACT) != 0 && !exact)
		return NULL;
	if (row->key == ASLEEP_BY_USERS)
		return answer_keys_query(a, q);
	i = find_asked(a, q);
	return i != NULL && snapshot_is_good(row, age_of(a, i)) ? shelf_hold(i) : NULL;
}

/* ---- taking ---- */

void answers_taking_init(struct answers_taking *t)
{
	*t = (struct answers_taking){ .answers = NULL };
}

void answers_expect(struct answers_taking *t, const struct answers *a)
{
	t->changes = a->changes;
}

static void taking_end(struct answers_taking *t)
{
	shelf_drop(t->draft);
	free(t->parts);
	free(t->question);
	answers_taking_init(t);
}

static bool take_question(struct answers_taking *t, struct str body)
{
	if (body.len == 0 || body.len > ANSWERS_QUESTION_MAX)
		return false;
	t->question = malloc(body.len);
	if (t->question == NULL)
		return false;
	memcpy(t->question, body.ptr, body.len);
	t->question_len = body.len;
	return true;
}

static bool take_parts(struct answers_taking *t, const struct head *answer)
{
	const struct field *type = head_find(answer, FIELD_CONTENT_TYPE);

	t->parts = malloc(sizeof(*t->parts));
	return t->parts != NULL && type != NULL && two_parts_init(t->parts, type->value);
}

static bool take_draft(struct answers_taking *t, const struct snapshot_question *q,
                       const struct head *answer)
{
	char          name[SNAPSHOT_NAME_MAX], fields[SNAPSHOT_FIELDS_MAX];
	struct writer w = writer_over(name, sizeof(name)), wf = writer_over(fields, sizeof(fields));
	uint64_t      length = answer->body == BODY_LENGTH ? answer->content_length : 0;
	enum snapshot_kind kind = snapshot_kind_of(q->match->row);

	if (length > snapshot_bytes_max(kind) || !snapshot_fields(answer, &wf))
		return false;
	if (q->match->row->key == ASLEEP_BY_USERS ? !take_question(t, q->body)
	                                          : !snapshot_name(q, &w))
		return false;
	t->draft = shelf_begin(&t->answers->shelf, kind, writer_done(&w), writer_done(&wf),
	                       (size_t)length);
	return t->draft != NULL;
}

static uint32_t age_said(const struct head *answer)
{
	const struct field *age = head_find(answer, FIELD_AGE);
	uint64_t            s;

	return age != NULL && str_to_u64(age->value, INT32_MAX, &s) ? (uint32_t)s : 0;
}

void answers_take(struct answers_taking *t, struct answers *a, const struct snapshot_question *q,
                  const struct head *request, const struct head *answer)
{
	const struct asleep_row *row = q->match->row;

	if (a->shelf.max == 0 || !snapshot_may_take(row, request) || !snapshot_takes(row, answer) ||
	    !str_copy(q->server_name, t->server_name, sizeof(t->server_name)))
		return;
	t->answers = a;
	t->row = row;
	t->endpoint = q->match->endpoint;
	t->fresh_ms = snapshot_fresh_ms(row, answer, loop_unix_ms(a->loop));
	/* what is good neither now nor later */
	if ((t->fresh_ms == 0 && row->snapshot_s == 0) || !take_draft(t, q, answer) ||
	    ((row->flags & ASLEEP_TWO_PARTS) != 0 && !take_parts(t, answer))) {
		taking_end(t);
		return;
	}
	t->draft->age_s = age_said(answer);
}

void answers_take_more(struct answers_taking *t, struct str bytes)
{
	if (t->answers == NULL)
		return;
	if (t->parts != NULL)
		two_parts_feed(t->parts, bytes);
	if (!shelf_add(t->draft, bytes))
		taking_end(t);
}

static void put(struct answers_taking *t, struct shelf_item *i)
{
	struct answers    *a = t->answers;
	struct shelf_item *old = find(a, i->kind, shelf_name(i));

	i->taken_at = loop_now(a->loop);
	i->taken_unix_ms = loop_unix_ms(a->loop);
	i->fresh_until = i->taken_at + t->fresh_ms;
	i->saved_unix_ms = old == NULL ? 0 : old->saved_unix_ms;
	if (wants_saving(a, t->row, i, old))
		save(a, t->row, i);
	count(COUNT_answers_taken);
	shelf_put(i);
}

/* Each user who was asked for with all devices, apart. */
static void put_users(struct answers_taking *t, const struct device_lists *lists)
{
	struct answers *a = t->answers;
	char           *room = malloc(t->draft->body_len + 128);

	for (size_t k = 0; room != NULL && k < lists->count; k++) {
		const struct device_lists_user *u = &lists->user[k];
		char                            name[SNAPSHOT_NAME_MAX], id[DEVICE_LISTS_ID_MAX];
		struct writer                   w = writer_over(room, t->draft->body_len + 128);
		struct writer                   wn = writer_over(name, sizeof(name));
		struct writer                   wid = writer_over(id, sizeof(id));
		struct shelf_item              *i = NULL;

		if (u->devices.ptr == NULL && device_lists_id(u, &wid) &&
		    snapshot_keys_name(str_of(t->server_name), writer_done(&wid), &wn) &&
		    device_lists_write_part(u, &w))
			i = shelf_begin(&a->shelf, SNAPSHOT_DEVICES, writer_done(&wn), STRL(""),
			                writer_done(&w).len);
		if (i != NULL && shelf_add(i, writer_done(&w)))
			put(t, i);
		else
			shelf_drop(i);
	}
	free(room);
}

static void take_apart(struct answers_taking *t)
{
	struct device_lists *lists = malloc(sizeof(*lists));
	char                *body = NULL;

	if (lists != NULL && shelf_copy_body(t->draft, &body) &&
	    device_lists_asked(str_span(t->question, t->question_len), lists) == ERR_OK &&
	    device_lists_answered(str_span(body, t->draft->body_len), lists) == ERR_OK)
		put_users(t, lists);
	free(body);
	free(lists);
}

/* When the keys end; 0: not a document of ours, signed by its own keys. */
static uint64_t read_keys(struct answers_taking *t, uint64_t now_unix_ms)
{
	struct server_keys_clock clock = { now_unix_ms, server_keys_is_plausible(now_unix_ms) };
	struct server_keys      *keys = malloc(sizeof(*keys));
	char                    *body = NULL;
	uint64_t                 until = 0;

	if (keys != NULL && shelf_copy_body(t->draft, &body) &&
	    server_keys_parse(str_span(body, t->draft->body_len), str_of(t->server_name), clock,
	                      keys) == ERR_OK)
		until = server_keys_until(keys);
	free(body);
	free(keys);
	return until;
}

/* Fresh for half of what is left, so that a changed key gets about. */
static bool check_keys(struct answers_taking *t)
{
	uint64_t                 now = loop_unix_ms(t->answers->loop), until;
	const struct shelf_item *old = shelf_find(&t->answers->shelf, shelf_name(t->draft));
	bool known = old != NULL && old->until_unix_ms != 0 && shelf_same(t->draft, old);

	until = known ? old->until_unix_ms : read_keys(t, now);
	if (until <= now)
		t->fresh_ms = 0;
	else if ((until - now) / 2 < t->fresh_ms)
		t->fresh_ms = (until - now) / 2;
	t->draft->until_unix_ms = until;
	return until != 0;
}

static bool is_good(struct answers_taking *t)
{
	if ((t->row->flags & ASLEEP_TWO_PARTS) != 0 && !two_parts_is_complete(t->parts))
		return false;
	/* something changed while the answer was on its way: it may be of before */
	if ((t->row->flags & ASLEEP_EXACT) != 0 && t->changes != t->answers->changes)
		return false;
	return (t->row->flags & ASLEEP_HALF_LIFE) == 0 || check_keys(t);
}

void answers_taken(struct answers_taking *t, bool complete)
{
	struct shelf_item *draft = t->draft;

	if (t->answers == NULL)
		return;
	if (complete && is_good(t)) {
		if (t->row->key == ASLEEP_BY_USERS) {
			take_apart(t);
		} else {
			t->draft = NULL;
			put(t, draft);
		}
	}
	taking_end(t);
}
