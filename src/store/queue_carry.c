#include "store/queue_carry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cursor.h"
#include "store/place.h"
#include "store/queue_record.h"
#include "store/queue_store.h"

enum {
	VERSION = 1,
	HEAD_BYTES = 8,
	FRAME_BYTES = 16,
	IMPORT_ITEMS_MAX = 65536,
	IMPORT_PENDING_MAX = 32 * 1024 * 1024,
	IMPORT_MAP_MIN = 16 * 1024 * 1024,
	IMPORT_MAP_MAX = 512 * 1024 * 1024,
};

static const char magic[4] = { 'D', 'S', 'Q', 'X' };

/* ---- export ---- */

struct carrier {
	FILE                      *out;
	struct queue_carry_report *report;
	uint64_t                   bytes_max;
	enum err                   e;
};

/* Counts on when it is too much already, so that the report tells how much it would be. */
static void put_bytes(struct carrier *c, const void *p, size_t n)
{
	c->report->bytes += n;
	if (c->e == ERR_OK && c->bytes_max > 0 && c->report->bytes > c->bytes_max)
		c->e = ERR_TOO_LARGE;
	if (c->e == ERR_OK && fwrite(p, 1, n, c->out) != n)
		c->e = place_err(errno);
}

/* Seals the record. */
static void put_frame(struct carrier *c, const struct queue_key *key, char *record, size_t len)
{
	char          room[FRAME_BYTES];
	struct writer w = writer_over(room, sizeof(room));

	queue_record_seal(key, record, len);
	write_be(&w, len, 4);
	write_be(&w, key->kind, 1);
	write_be(&w, 0, 1);
	write_be(&w, key->part, 2);
	write_be(&w, key->number, 8);
	put_bytes(c, room, sizeof(room));
	put_bytes(c, record, len);
}

static void put_parts(struct carrier *c, uint64_t sequence, struct str body)
{
	char *room = malloc(QUEUE_PART_ROOM + QUEUE_PART_BYTES);

	if (room == NULL && c->e == ERR_OK)
		c->e = ERR_NOMEM;
	for (size_t i = 0; room != NULL && i < queue_record_parts(body.len); i++) {
		struct queue_key key = { QUEUE_RECORD_PART, sequence, (uint16_t)i };
		struct str part = str_head(str_from(body, i * QUEUE_PART_BYTES), QUEUE_PART_BYTES);

		memcpy(room + QUEUE_PART_ROOM, part.ptr, part.len);
		put_frame(c, &key, room, QUEUE_PART_ROOM + part.len);
	}
	free(room);
}

static void put_state(struct carrier *c, const struct queue_info *info)
{
	struct queue_key          key = { QUEUE_RECORD_STATE, info->sequence, 0 };
	char                      room[QUEUE_RECORD_STATE_MAX];
	struct queue_record_state state = { true, info->tries, info->first_try_unix_ms,
		                            str_head(info->reason, QUEUE_REASON_MAX) };

	put_frame(c, &key, room, queue_record_write_state(room, &state));
}

static bool on_export(void *arg, const struct queue_info *info, const struct queue_item *item)
{
	struct carrier  *c = arg;
	struct queue_key key = { QUEUE_RECORD_ITEM, info->sequence, 0 };
	size_t           len = queue_record_item_size(item);
	char            *record = malloc(len);

	if (record == NULL) {
		c->e = ERR_NOMEM;
		return false;
	}
	queue_record_write_item(record, item);
	if (!queue_record_is_inline(item->body.len)) {
		put_parts(c, info->sequence, item->body);
		queue_record_set_body(record, info->sequence);
	}
	put_frame(c, &key, record, len);
	free(record);
	c->report->items++;
	if (info->state == QUEUE_PARKED) {
		c->report->parked++;
		put_state(c, info);
	}
	return c->e == ERR_OK || c->e == ERR_TOO_LARGE;
}

static void put_all(struct carrier *c, const char *state_dir)
{
	char                head[HEAD_BYTES];
	struct writer       w = writer_over(head, sizeof(head));
	struct queue_key    last = { QUEUE_RECORD_META, 1, 0 };
	struct queue_report store;
	char                room[QUEUE_RECORD_META_BYTES];
	enum err            e;

	write_bytes(&w, magic, sizeof(magic));
	write_be(&w, VERSION, 4);
	put_bytes(c, head, sizeof(head));
	e = queue_verify_each(state_dir, &store, on_export, c);
	c->report->damaged = store.damaged;
	c->report->fault = store.fault;
	if (e != ERR_OK && e != ERR_SYNTAX && c->e == ERR_OK)
		c->e = e;
	put_frame(c, &last, room, queue_record_write_meta(room, c->report->items + 1));
}

static enum err settle_file(struct carrier *c, const char *fresh, const char *path)
{
	if (c->e == ERR_OK && (fflush(c->out) != 0 || fsync(fileno(c->out)) != 0))
		c->e = place_err(errno);
	if (fclose(c->out) != 0 && c->e == ERR_OK)
		c->e = place_err(errno);
	if (c->e == ERR_OK && c->report->items > 0 && rename(fresh, path) != 0)
		c->e = place_err(errno);
	if (c->e != ERR_OK || c->report->items == 0) {
		(void)unlink(fresh);
		return c->e;
	}
	return place_sync_parent(path);
}

enum err queue_export(const char *state_dir, const char *path, uint64_t bytes_max,
                      struct queue_carry_report *report)
{
	char           fresh[PLACE_PATH_MAX + 8];
	struct carrier c = { .report = report, .bytes_max = bytes_max, .e = ERR_OK };
	int            fd;

	*report = (struct queue_carry_report){ 0 };
	if (strlen(path) >= PLACE_PATH_MAX)
		return ERR_IO;
	snprintf(fresh, sizeof(fresh), "%s.new", path);
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return place_err(errno);
	c.out = fdopen(fd, "w");
	if (c.out == NULL) {
		close(fd);
		return ERR_NOMEM;
	}
	put_all(&c, state_dir);
	return settle_file(&c, fresh, path);
}

/* ---- import ---- */

struct bearer {
	FILE                      *in;
	struct queue_carry_report *report;
	struct loop               *loop;
	struct queue              *queue;
	struct queue_put          *put;
	struct queue_settle       *settle;
	uint64_t                   last;   /* sequence of the newest item in the queue */
	bool                       is_new; /* the item taken last was not there before */
	char                      *body;   /* of the item that comes next, from its parts */
	size_t                     body_len;
	char                      *record;  /* QUEUE_VALUE_MAX */
	bool                       is_done; /* the last frame was seen */
	enum err                   e;
};

static void on_done(void *arg, enum err e)
{
	struct bearer *b = arg;

	b->e = e;
	loop_stop(b->loop);
}

static void settle(struct bearer *b, enum queue_verdict verdict, struct str reason)
{
	b->e = queue_settle_start(&b->settle, b->queue, b->last, verdict, reason, on_done, b);
	if (b->e == ERR_OK)
		loop_run(b->loop);
}

/*
 * A new item counts as tried: so another one with its transaction id, in this file or from a sender who
 * makes ids anew, is put behind it and never in its place.
 */
static void note_new(struct bearer *b)
{
	struct queue_info info;

	b->is_new = queue_list(b->queue, b->last, false, &info, 1) == 1;
	if (!b->is_new)
		return;
	b->last = info.sequence;
	settle(b, QUEUE_RETRY, STRL(""));
}

static void take_item(struct bearer *b, const struct queue_key *key, struct str record)
{
	struct queue_record_item r;

	b->e = queue_record_read_item(key, record, true, &r);
	if (b->e == ERR_OK && r.body != 0) {
		if (r.body_len != b->body_len)
			b->e = ERR_SYNTAX;
		r.item.body = str_span(b->body, b->body_len);
	}
	if (b->e == ERR_OK)
		b->e = queue_put_start(&b->put, b->queue, &r.item, true, on_done, b);
	if (b->e == ERR_OK)
		loop_run(b->loop);
	free(b->body);
	b->body = NULL;
	b->body_len = 0;
	b->report->items++;
	b->is_new = false;
	if (b->e == ERR_EXISTS) {
		b->report->known++;
		b->e = ERR_OK;
	} else if (b->e == ERR_OK) {
		note_new(b);
	}
}

static void take_part(struct bearer *b, const struct queue_key *key, struct str record)
{
	struct str bytes;
	char      *more;

	b->e = queue_record_read_part(key, record, &bytes);
	if (b->e == ERR_OK &&
	    (key->part != b->body_len / QUEUE_PART_BYTES ||
	     bytes.len > QUEUE_BODY_MAX - b->body_len))
		b->e = ERR_SYNTAX;
	if (b->e != ERR_OK)
		return;
	more = realloc(b->body, b->body_len + bytes.len + 1);
	if (more == NULL) {
		b->e = ERR_NOMEM;
		return;
	}
	memcpy(more + b->body_len, bytes.ptr, bytes.len);
	b->body = more;
	b->body_len += bytes.len;
}

static void take_state(struct bearer *b, const struct queue_key *key, struct str record)
{
	struct queue_record_state s;

	b->e = queue_record_read_state(key, record, &s);
	if (b->e != ERR_OK || !s.parked)
		return;
	b->report->parked++;
	if (b->is_new)
		settle(b, QUEUE_PARK, s.reason);
}

static void take_last(struct bearer *b, const struct queue_key *key, struct str record)
{
	uint64_t next = 0;

	b->e = queue_record_read_meta(key, record, &next);
	if (b->e == ERR_OK && next != b->report->items + 1)
		b->e = ERR_SYNTAX;
	b->is_done = true;
}

static void take(struct bearer *b, const struct queue_key *key, struct str record)
{
	switch (key->kind) {
	case QUEUE_RECORD_ITEM:
		take_item(b, key, record);
		break;
	case QUEUE_RECORD_PART:
		take_part(b, key, record);
		break;
	case QUEUE_RECORD_STATE:
		take_state(b, key, record);
		break;
	case QUEUE_RECORD_META:
		take_last(b, key, record);
		break;
	case QUEUE_RECORD_SEEN:
	case QUEUE_RECORD_KIND_COUNT:
		b->e = ERR_SYNTAX;
		break;
	}
}

/* Exactly so many bytes; what is missing is a damaged file. */
static void get_bytes(struct bearer *b, char *room, size_t n)
{
	if (fread(room, 1, n, b->in) != n)
		b->e = ferror(b->in) ? ERR_IO : ERR_SYNTAX;
}

static void take_frame(struct bearer *b)
{
	char             room[FRAME_BYTES];
	struct reader    r = reader_over(str_span(room, sizeof(room)));
	struct queue_key key;
	size_t           len;
	unsigned         kind;

	get_bytes(b, room, sizeof(room));
	if (b->e != ERR_OK)
		return;
	len = read_u32(&r);
	kind = read_u8(&r);
	if (read_u8(&r) != 0 || len > QUEUE_VALUE_MAX || kind == 0 ||
	    kind >= QUEUE_RECORD_KIND_COUNT) {
		b->e = ERR_SYNTAX;
		return;
	}
	key.kind = (enum queue_record_kind)kind;
	key.part = read_u16(&r);
	key.number = read_u64(&r);
	get_bytes(b, b->record, len);
	if (b->e == ERR_OK)
		take(b, &key, str_span(b->record, len));
}

static void take_all(struct bearer *b)
{
	char          head[HEAD_BYTES];
	struct reader r = reader_over(str_span(head, sizeof(head)));
	uint32_t      version;

	get_bytes(b, head, sizeof(head));
	if (b->e == ERR_OK && memcmp(read_bytes(&r, sizeof(magic)).ptr, magic, sizeof(magic)) != 0)
		b->e = ERR_SYNTAX;
	version = read_u32(&r);
	if (b->e == ERR_OK && version != VERSION)
		b->e = version > VERSION ? ERR_UNSUPPORTED : ERR_SYNTAX;
	while (b->e == ERR_OK && !b->is_done)
		take_frame(b);
	if (b->e == ERR_OK && fgetc(b->in) != EOF)
		b->e = ERR_SYNTAX;
}

/* The largest sequence there is. */
static uint64_t newest(const struct queue *q)
{
	struct queue_info info[16];
	uint64_t          last = 0;
	size_t            n;

	while ((n = queue_list(q, last, false, info, 16)) > 0)
		last = info[n - 1].sequence;
	return last;
}

/* Room for all of it, whatever the configuration allows: it was acknowledged. */
static enum err open_for_import(struct bearer *b, const char *state_dir)
{
	uint64_t             size = 0, map;
	struct queue_options o = { .loop = b->loop,
		                   .state_dir = state_dir,
		                   .items_max = IMPORT_ITEMS_MAX,
		                   .origin_items_max = IMPORT_ITEMS_MAX,
		                   .pending_bytes_max = IMPORT_PENDING_MAX };
	enum err             e;

	if (fseek(b->in, 0, SEEK_END) == 0 && ftell(b->in) > 0)
		size = (uint64_t)ftell(b->in);
	rewind(b->in);
	b->report->bytes = size;
	map = 4 * size + IMPORT_MAP_MIN;
	o.map_bytes = (size_t)(map < IMPORT_MAP_MAX ? map : IMPORT_MAP_MAX);
	o.bytes_max = o.origin_bytes_max = o.map_bytes / 2;
	e = queue_open(&o, &b->queue, &b->report->fault);
	if (e == ERR_OK)
		b->last = newest(b->queue);
	return e;
}

static enum err import_into(struct bearer *b, const char *state_dir)
{
	b->loop = loop_new();
	b->record = malloc(QUEUE_VALUE_MAX);
	b->e = b->loop == NULL || b->record == NULL ? ERR_NOMEM : open_for_import(b, state_dir);
	if (b->e == ERR_OK)
		take_all(b);
	queue_close(b->queue);
	if (b->loop != NULL) {
		loop_run(b->loop);
		loop_free(b->loop);
	}
	free(b->record);
	free(b->body);
	return b->e;
}

enum err queue_import(const char *state_dir, const char *path, struct queue_carry_report *report)
{
	struct bearer b = { .report = report };
	enum err      e;
	int           fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	*report = (struct queue_carry_report){ 0 };
	if (fd < 0)
		return errno == ENOENT ? ERR_NOT_FOUND : place_err(errno);
	b.in = fdopen(fd, "r");
	if (b.in == NULL) {
		close(fd);
		return ERR_NOMEM;
	}
	e = import_into(&b, state_dir);
	fclose(b.in);
	return e;
}
