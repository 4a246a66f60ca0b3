#include "role/ledger.h"

#include <stdlib.h>

#include "base/cursor.h"
#include "codec/matrix/signing.h"

#define SAVE_AFTER_MS  MINUTE_MS
#define SAVE_AGAIN_MS  DAY_MS /* all of it: the cache may have been emptied */
#define SEEN_AGAIN_MIN (24 * 60)

enum {
	SCHEMA = 1,
	PLACE_BYTES = LEDGER_MARK_BYTES + 4,
	HEAD_BYTES = 1 + SIGNING_SALT_BYTES,
	RECORD_BYTES = HEAD_BYTES + LEDGER_RECORD_PLACES * PLACE_BYTES,
	KEY_MAX = 64,
};

struct place {
	struct ledger_mark mark;
	uint32_t           seen_min; /* unix time in minutes; 0: free */
};

struct ledger {
	struct ledger_options o;
	uint8_t               salt[SIGNING_SALT_BYTES];
	size_t                rows, records, used;
	bool                 *dirty; /* of each record */
	struct deadline       save_at;
	struct place          places[];
};

static size_t places_of(const struct ledger *l)
{
	return l->rows * LEDGER_ROW;
}

static uint32_t now_min(const struct ledger *l)
{
	return (uint32_t)(loop_unix_ms(l->o.loop) / MINUTE_MS) + 1;
}

/* ---- records ---- */

static struct str record_key(const struct ledger *l, size_t record, char room[KEY_MAX])
{
	struct writer w = writer_over(room, KEY_MAX);

	write_text(&w, "ledger/");
	write_text(&w, l->o.name);
	write_char(&w, '/');
	write_u64(&w, record);
	return writer_done(&w);
}

static void write_u32(struct writer *w, uint32_t v)
{
	for (unsigned shift = 32; shift > 0; shift -= 8)
		write_char(w, (char)(v >> (shift - 8) & 0xff));
}

static size_t record_end(const struct ledger *l, size_t record)
{
	size_t end = (record + 1) * LEDGER_RECORD_PLACES;

	return end < places_of(l) ? end : places_of(l);
}

static bool record_save(struct ledger *l, size_t record, char *room)
{
	char          key[KEY_MAX];
	struct writer w = writer_over(room, RECORD_BYTES);

	write_char(&w, SCHEMA);
	write_bytes(&w, l->salt, sizeof(l->salt));
	for (size_t i = record * LEDGER_RECORD_PLACES; i < record_end(l, record); i++) {
		if (l->places[i].seen_min == 0)
			continue;
		write_bytes(&w, l->places[i].mark.bytes, LEDGER_MARK_BYTES);
		write_u32(&w, l->places[i].seen_min);
	}
	return cache_put(l->o.cache, record_key(l, record, key), writer_done(&w),
	                 loop_unix_ms(l->o.loop) + l->o.keep_ms) == ERR_OK;
}

/* What could not be written stays marked and is tried again. */
static void save(struct ledger *l)
{
	char *room = malloc(RECORD_BYTES);

	for (size_t i = 0; room != NULL && i < l->records; i++)
		if (l->dirty[i] && record_save(l, i, room))
			l->dirty[i] = false;
	free(room);
}

static bool is_dirty(const struct ledger *l)
{
	bool any = false;

	for (size_t i = 0; i < l->records; i++)
		any |= l->dirty[i];
	return any;
}

static void on_save(void *arg)
{
	struct ledger *l = arg;

	for (size_t i = 0; !is_dirty(l) && i < l->records; i++)
		l->dirty[i] = l->used > 0;
	save(l);
	deadline_in(&l->save_at, is_dirty(l) ? SAVE_AFTER_MS : SAVE_AGAIN_MS);
}

static void changed(struct ledger *l, const struct place *p)
{
	size_t record = (size_t)(p - l->places) / LEDGER_RECORD_PLACES;

	if (l->o.cache == NULL)
		return;
	if (!is_dirty(l))
		deadline_in(&l->save_at, SAVE_AFTER_MS);
	l->dirty[record] = true;
}

/* ---- places ---- */

static size_t row_of(const struct ledger *l, const struct ledger_mark *m)
{
	struct reader r = reader_over(str_span(m->bytes, 4));

	return read_u32(&r) % l->rows * LEDGER_ROW;
}

static bool is_free(const struct ledger *l, const struct place *p)
{
	uint32_t now = now_min(l);

	return p->seen_min == 0 ||
		(now > p->seen_min && now - p->seen_min > l->o.keep_ms / MINUTE_MS);
}

static struct place *find(const struct ledger *l, const struct ledger_mark *m)
{
	size_t row = row_of(l, m);

	for (size_t i = row; i < row + LEDGER_ROW; i++) {
		const struct place *p = &l->places[i];

		if (!is_free(l, p) && memcmp(p->mark.bytes, m->bytes, LEDGER_MARK_BYTES) == 0)
			return (struct place *)p;
	}
	return NULL;
}

/* Free, or seen longest ago. */
static struct place *place_for(struct ledger *l, const struct ledger_mark *m)
{
	size_t        row = row_of(l, m);
	struct place *oldest = &l->places[row];

	for (size_t i = row; i < row + LEDGER_ROW; i++)
		if (is_free(l, &l->places[i]))
			return &l->places[i];
		else if (l->places[i].seen_min < oldest->seen_min)
			oldest = &l->places[i];
	return oldest;
}

static void put(struct ledger *l, const struct ledger_mark *m, uint32_t seen_min)
{
	struct place *p = place_for(l, m);

	l->used += p->seen_min == 0;
	*p = (struct place){ *m, seen_min };
	changed(l, p);
}

void ledger_mark(const struct ledger *l, const struct str *texts, size_t count,
                 struct ledger_mark *out)
{
	uint8_t hash[SIGNING_SHA256_BYTES];

	signing_salted_hash(l->salt, texts, count, hash);
	memcpy(out->bytes, hash, LEDGER_MARK_BYTES);
}

bool ledger_has(const struct ledger *l, const struct ledger_mark *m)
{
	return find(l, m) != NULL;
}

bool ledger_is_empty(const struct ledger *l)
{
	return l->used == 0;
}

bool ledger_note(struct ledger *l, const struct ledger_mark *m)
{
	struct place *p = find(l, m);
	uint32_t      now = now_min(l);

	if (p == NULL) {
		put(l, m, now);
		return true;
	}
	/* a clock that is not set yet makes nothing older */
	if (now > p->seen_min && now - p->seen_min >= SEEN_AGAIN_MIN) {
		p->seen_min = now;
		changed(l, p);
	}
	return false;
}

void ledger_forget(struct ledger *l, const struct ledger_mark *m)
{
	struct place *p = find(l, m);

	if (p == NULL)
		return;
	l->used--;
	p->seen_min = 0;
	changed(l, p);
}

/* ---- the whole ---- */

/* One salt for all: records with another one, left by a run that could not read these, are void. */
static void load_record(struct ledger *l, struct str bytes, bool *has_salt)
{
	struct reader r = reader_over(bytes);
	uint8_t       schema = read_u8(&r);
	struct str    salt = read_bytes(&r, SIGNING_SALT_BYTES);

	if (r.failed || schema != SCHEMA)
		return;
	if (!*has_salt)
		memcpy(l->salt, salt.ptr, SIGNING_SALT_BYTES);
	*has_salt = true;
	if (memcmp(l->salt, salt.ptr, SIGNING_SALT_BYTES) != 0)
		return;
	for (;;) {
		struct str         mark = read_bytes(&r, LEDGER_MARK_BYTES);
		uint32_t           seen_min = read_u32(&r);
		struct ledger_mark m;

		if (r.failed)
			return;
		memcpy(m.bytes, mark.ptr, LEDGER_MARK_BYTES);
		if (seen_min != 0 && find(l, &m) == NULL)
			put(l, &m, seen_min);
	}
}

static void load(struct ledger *l)
{
	char  *room = malloc(RECORD_BYTES), key[KEY_MAX];
	bool   has_salt = false;
	size_t len;

	for (size_t i = 0; room != NULL && l->o.cache != NULL && i < l->records; i++)
		if (cache_get(l->o.cache, record_key(l, i, key), room, RECORD_BYTES, &len))
			load_record(l, str_span(room, len), &has_salt);
	free(room);
	if (!has_salt)
		signing_random(l->salt, sizeof(l->salt));
	for (size_t i = 0; i < l->records; i++)
		l->dirty[i] = false;
}

enum err ledger_new(const struct ledger_options *o, struct ledger **out)
{
	size_t         rows = (o->places + LEDGER_ROW - 1) / LEDGER_ROW;
	struct ledger *l;

	rows = rows == 0 ? 1 : rows;
	l = calloc(1, sizeof(*l) + rows * LEDGER_ROW * sizeof(struct place));
	if (l == NULL)
		return ERR_NOMEM;
	l->o = *o;
	l->rows = rows;
	l->records = (places_of(l) + LEDGER_RECORD_PLACES - 1) / LEDGER_RECORD_PLACES;
	deadline_init(&l->save_at, o->loop, on_save, l);
	l->dirty = calloc(l->records, sizeof(*l->dirty));
	if (l->dirty == NULL) {
		free(l);
		return ERR_NOMEM;
	}
	load(l);
	if (o->cache != NULL)
		deadline_in(&l->save_at, SAVE_AGAIN_MS);
	*out = l;
	return ERR_OK;
}

void ledger_free(struct ledger *l)
{
	if (l == NULL)
		return;
	deadline_clear(&l->save_at);
	if (l->o.cache != NULL)
		save(l);
	free(l->dirty);
	free(l);
}
