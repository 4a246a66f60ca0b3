#include "fed/snapshot.h"

#include "codec/http/cache_control.h"
#include "codec/matrix/ids.h"

enum { PART_END = '\n' }; /* between the parts of a name; occurs in none */

enum snapshot_kind snapshot_kind_of(const struct asleep_row *row)
{
	if (row->scope == ASLEEP_KEEP_NOTHING)
		return SNAPSHOT_NONE;
	if (row->scope == ASLEEP_KEEP_ORIGIN)
		return SNAPSHOT_PASSING;
	if ((row->flags & ASLEEP_EXACT) != 0)
		return SNAPSHOT_DEVICES;
	if (row->key == ASLEEP_BY_ENDPOINT)
		return SNAPSHOT_FOUNDATION;
	return row->snapshot_s == ASLEEP_FOREVER ? SNAPSHOT_MEDIA : SNAPSHOT_RECORD;
}

size_t snapshot_bytes_max(enum snapshot_kind kind)
{
	switch (kind) {
	case SNAPSHOT_FOUNDATION:
	case SNAPSHOT_RECORD:
		return 60 * 1024; /* with its fields in one value of store/cache.h */
	case SNAPSHOT_DEVICES:
		return 256 * 1024;
	case SNAPSHOT_MEDIA:
		return 16 * 1024 * 1024;
	case SNAPSHOT_PASSING:
		return 64 * 1024;
	case SNAPSHOT_NONE:
		break;
	}
	return 0;
}

/* ---- names ---- */

/* Text as it is; control characters have no place in a name. */
static bool write_part(struct writer *w, struct str text)
{
	for (size_t i = 0; i < text.len; i++)
		if ((unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
			return false;
	write_char(w, PART_END);
	write_str(w, text);
	return !w->failed;
}

static bool begin_name(struct writer *w, const struct asleep_row *row, struct str server_name)
{
	write_text(w, row->slug);
	return write_part(w, server_name);
}

static bool is_ours(enum ids_kind kind, struct str id, struct str server_name)
{
	struct ids ids;

	return ids_parse(kind, id, &ids) == ERR_OK && str_eq(ids.server, server_name);
}

static bool user_name(enum asleep_endpoint e, struct str server_name, struct str user,
                      struct writer *w)
{
	return is_ours(IDS_USER, user, server_name) &&
		begin_name(w, asleep_row_of(e), server_name) && write_part(w, user);
}

bool snapshot_devices_name(struct str server_name, struct str user, struct writer *w)
{
	return user_name(ASLEEP_USER_DEVICES, server_name, user, w);
}

bool snapshot_keys_name(struct str server_name, struct str user, struct writer *w)
{
	return user_name(ASLEEP_KEYS_QUERY, server_name, user, w);
}

/* ---- parameters of the query ---- */

enum param_rule {
	PARAM_USER, /* of ours, and it must be there */
	PARAM_ALIAS,
	PARAM_PROFILE_FIELD, /* displayname, avatar_url */
	PARAM_KEYED,         /* the answer depends on it */
	PARAM_IDLE,          /* how long to wait and the like: it does not */
};

static const struct param {
	enum asleep_endpoint endpoint;
	enum param_rule      rule;
	const char          *name;
} params[] = {
	{ ASLEEP_PROFILE, PARAM_USER, "user_id" },
	{ ASLEEP_PROFILE, PARAM_PROFILE_FIELD, "field" },
	{ ASLEEP_DIRECTORY, PARAM_ALIAS, "room_alias" },
	{ ASLEEP_MEDIA_DOWNLOAD, PARAM_IDLE, "timeout_ms" },
	{ ASLEEP_MEDIA_THUMBNAIL, PARAM_KEYED, "width" },
	{ ASLEEP_MEDIA_THUMBNAIL, PARAM_KEYED, "height" },
	{ ASLEEP_MEDIA_THUMBNAIL, PARAM_KEYED, "method" },
	{ ASLEEP_MEDIA_THUMBNAIL, PARAM_KEYED, "animated" },
	{ ASLEEP_MEDIA_THUMBNAIL, PARAM_IDLE, "timeout_ms" },
	{ ASLEEP_OLD_DOWNLOAD, PARAM_IDLE, "allow_remote" },
	{ ASLEEP_OLD_DOWNLOAD, PARAM_IDLE, "allow_redirect" }, /* only a 200 is kept */
	{ ASLEEP_OLD_DOWNLOAD, PARAM_IDLE, "timeout_ms" },
	{ ASLEEP_OLD_THUMBNAIL, PARAM_KEYED, "width" },
	{ ASLEEP_OLD_THUMBNAIL, PARAM_KEYED, "height" },
	{ ASLEEP_OLD_THUMBNAIL, PARAM_KEYED, "method" },
	{ ASLEEP_OLD_THUMBNAIL, PARAM_KEYED, "animated" },
	{ ASLEEP_OLD_THUMBNAIL, PARAM_IDLE, "allow_remote" },
	{ ASLEEP_OLD_THUMBNAIL, PARAM_IDLE, "allow_redirect" },
	{ ASLEEP_OLD_THUMBNAIL, PARAM_IDLE, "timeout_ms" },
};

enum { PARAM_COUNT = sizeof(params) / sizeof(params[0]), VALUE_MAX = 300 };

/* Position in params, or PARAM_COUNT. Names are compared as written: nobody needs to escape them. */
static size_t find_param(enum asleep_endpoint e, struct str name)
{
	size_t i = 0;

	while (i < PARAM_COUNT && (params[i].endpoint != e || !str_is(name, params[i].name)))
		i++;
	return i;
}

/* Decoded into room; false: it could be read in two ways, or is too long. */
static bool decode_value(struct str raw, char room[VALUE_MAX], struct str *out)
{
	struct writer w = writer_over(room, VALUE_MAX);

	if (raw.len == 0 || str_find(raw, '+') < raw.len || str_find(raw, ';') < raw.len)
		return false;
	asleep_write_decoded(&w, raw);
	*out = writer_done(&w);
	return !w.failed;
}

static bool obeys(enum param_rule rule, struct str value, struct str server_name)
{
	switch (rule) {
	case PARAM_USER:
		return is_ours(IDS_USER, value, server_name);
	case PARAM_ALIAS:
		return is_ours(IDS_ALIAS, value, server_name);
	case PARAM_PROFILE_FIELD:
		return str_is(value, "displayname") || str_is(value, "avatar_url");
	case PARAM_KEYED:
	case PARAM_IDLE:
		break;
	}
	return true;
}

/* The values by position in params, raw; false: one that is unknown or repeated. */
static bool collect_params(enum asleep_endpoint e, struct str query, struct str values[PARAM_COUNT])
{
	while (query.len > 0) {
		size_t     end = str_find(query, '&');
		struct str one = str_head(query, end);
		size_t     eq = str_find(one, '=');
		size_t     i = find_param(e, str_head(one, eq));

		if (i == PARAM_COUNT || eq == one.len || values[i].ptr != NULL)
			return false;
		values[i] = str_from(one, eq + 1);
		query = str_from(query, end + 1);
	}
	return true;
}

static bool write_param(struct writer *w, const struct param *p, struct str raw,
                        struct str server_name)
{
	char       room[VALUE_MAX];
	struct str value;

	if (raw.ptr == NULL) /* its place in the name stays */
		return p->rule != PARAM_USER && p->rule != PARAM_ALIAS && write_part(w, STRL(""));
	return decode_value(raw, room, &value) && obeys(p->rule, value, server_name) &&
		write_part(w, value);
}

static bool write_params(struct writer *w, const struct snapshot_question *q)
{
	enum asleep_endpoint e = q->match->endpoint;
	struct str           values[PARAM_COUNT] = { { NULL, 0 } };
	bool ok = collect_params(e, str_from(q->target, str_find(q->target, '?') + 1), values);

	for (size_t i = 0; ok && i < PARAM_COUNT; i++)
		if (params[i].endpoint == e && params[i].rule != PARAM_IDLE)
			ok = write_param(w, &params[i], values[i], q->server_name);
	return ok;
}

/* ---- arguments of the path ---- */

static bool write_argument(struct writer *w, struct str raw)
{
	char          room[VALUE_MAX];
	struct writer d = writer_over(room, sizeof(room));

	asleep_write_decoded(&d, raw);
	return !d.failed && write_part(w, writer_done(&d));
}

/* A media id as servers make them; it takes no escapes then. */
static bool write_media_id(struct writer *w, struct str raw)
{
	return ids_is_media_id(raw) && write_part(w, raw);
}

static bool write_old_media(struct writer *w, const struct snapshot_question *q)
{
	char          room[VALUE_MAX];
	struct writer d = writer_over(room, sizeof(room));

	asleep_write_decoded(&d, q->match->args[0]);
	return !d.failed && str_eq(writer_done(&d), q->server_name) &&
		write_media_id(w, q->match->args[1]) &&
		/* a name for the file, which comes back in the answer */
		write_argument(w, q->match->arg_count > 2 ? q->match->args[2] : STRL("")) &&
		write_params(w, q);
}

static bool write_user_argument(struct writer *w, const struct snapshot_question *q)
{
	char          room[VALUE_MAX];
	struct writer d = writer_over(room, sizeof(room));

	asleep_write_decoded(&d, q->match->args[0]);
	return !d.failed && is_ours(IDS_USER, writer_done(&d), q->server_name) &&
		write_part(w, writer_done(&d));
}

static bool write_public(struct writer *w, const struct snapshot_question *q)
{
	switch (q->match->row->key) {
	case ASLEEP_BY_ENDPOINT:
		return true;
	case ASLEEP_BY_ARGUMENT:
		if (q->match->endpoint == ASLEEP_USER_DEVICES)
			return write_user_argument(w, q);
		return write_media_id(w, q->match->args[0]) && write_params(w, q);
	case ASLEEP_BY_TARGET:
		if (q->match->endpoint == ASLEEP_OLD_DOWNLOAD ||
		    q->match->endpoint == ASLEEP_OLD_THUMBNAIL)
			return write_old_media(w, q);
		if (q->match->endpoint == ASLEEP_MEDIA_THUMBNAIL &&
		    !write_media_id(w, q->match->args[0]))
			return false;
		return write_params(w, q);
	case ASLEEP_BY_NOTHING:
	case ASLEEP_BY_BODY:
	case ASLEEP_BY_USERS:
		break;
	}
	return false;
}

/* For one asker: by the bytes of the question, for nobody else gains by its spellings. */
static bool write_for_origin(struct writer *w, const struct snapshot_question *q)
{
	return q->origin.len > 0 && write_part(w, q->origin) && write_part(w, q->target) &&
		(q->body.len == 0 || write_part(w, q->body));
}

bool snapshot_name(const struct snapshot_question *q, struct writer *w)
{
	const struct asleep_row *row = q->match->row;

	if (row->scope == ASLEEP_KEEP_NOTHING || !begin_name(w, row, q->server_name))
		return false;
	return row->scope == ASLEEP_KEEP_ORIGIN ? write_for_origin(w, q) : write_public(w, q);
}

/* ---- requests ---- */

static bool has_field(const struct head *h, const char *const *names)
{
	for (size_t i = 0; i < h->field_count; i++)
		for (const char *const *n = names; *n != NULL; n++)
			if (str_ieq(h->fields[i].name, str_of(*n)))
				return true;
	return false;
}

static bool is_asked_plainly(const struct asleep_row *row, const struct head *h)
{
	bool open = row->auth == ASLEEP_AUTH_NONE || (row->flags & ASLEEP_ANONYMOUS) != 0;

	return !(open && head_find(h, FIELD_AUTHORIZATION) != NULL);
}

bool snapshot_may_take(const struct asleep_row *row, const struct head *request)
{
	static const char *const special[] = { "range", "cookie", NULL };
	bool by_body = row->key == ASLEEP_BY_BODY || row->key == ASLEEP_BY_USERS;

	if (row->scope == ASLEEP_KEEP_NOTHING || has_field(request, special))
		return false;
	if (request->method != HTTP_GET && !(request->method == HTTP_POST && by_body))
		return false;
	return is_asked_plainly(row, request) &&
		(request->method == HTTP_POST || request->body == BODY_NONE);
}

bool snapshot_may_repeat(const struct asleep_row *row, const struct head *request)
{
	static const char *const special[] = { "range",         "cookie",   "if-match",
		                               "if-none-match", "if-range", "if-modified-since",
		                               "cache-control", "pragma",   NULL };

	return row->fresh_s > 0 && is_asked_plainly(row, request) &&
		(request->method == HTTP_GET || request->method == HTTP_HEAD) &&
		request->body == BODY_NONE && !has_field(request, special);
}

bool snapshot_may_stand_in(const struct asleep_row *row, const struct head *request)
{
	bool anonymous = (row->flags & ASLEEP_ANONYMOUS) != 0;

	return row->snapshot_s > 0 &&
		!(anonymous && head_find(request, FIELD_AUTHORIZATION) != NULL);
}

bool snapshot_is_good(const struct asleep_row *row, msec age_ms)
{
	return row->snapshot_s == ASLEEP_FOREVER || age_ms <= (msec)row->snapshot_s * SECOND_MS;
}

/* ---- answers ---- */

/* "name" or "name=..." */
static bool is_directive(struct str member, const char *name, struct str *value)
{
	size_t eq = str_find(member, '=');

	*value = str_from(member, eq + 1);
	return str_ieq(str_trim(str_head(member, eq)), str_of(name));
}

/* The last one wins, as in cache_control.h. */
static bool find_directive(const struct head *h, const char *name, struct str *value)
{
	bool found = false;

	for (size_t i = 0; i < h->field_count; i++) {
		struct str rest = h->fields[i].value, member, v;

		while (h->fields[i].id == FIELD_CACHE_CONTROL && head_list_next(&rest, &member))
			if (is_directive(member, name, &v)) {
				*value = v;
				found = true;
			}
	}
	return found;
}

/* Vary on what makes no difference here: bodies that are encoded are not kept. */
static bool varies(const struct head *h)
{
	for (size_t i = 0; i < h->field_count; i++) {
		struct str rest = h->fields[i].value, member;

		while (str_ieq(h->fields[i].name, STRL("Vary")) && head_list_next(&rest, &member))
			if (!str_ieq(member, STRL("Accept-Encoding")))
				return true;
	}
	return false;
}

bool snapshot_takes(const struct asleep_row *row, const struct head *answer)
{
	static const char *const special[] = { "content-encoding", "content-range", "set-cookie",
		                               "location", NULL };
	struct str               value;

	if (answer->status != 200 || has_field(answer, special) || varies(answer))
		return false;
	return row->scope == ASLEEP_KEEP_ORIGIN || !find_directive(answer, "private", &value);
}

static const char *const kept_fields[] = {
	"access-control-allow-headers",
	"access-control-allow-methods",
	"access-control-allow-origin",
	"access-control-expose-headers",
	"cache-control",
	"content-disposition",
	"content-language",
	"content-security-policy",
	"content-type",
	"cross-origin-resource-policy",
	"date",
	"etag",
	"expires",
	"last-modified",
	"referrer-policy",
	"x-content-type-options",
	"x-robots-tag",
	NULL,
};

bool snapshot_fields(const struct head *answer, struct writer *w)
{
	for (size_t i = 0; i < answer->field_count; i++) {
		const struct field *f = &answer->fields[i];
		const struct head   alone = { .fields = (struct field *)f, .field_count = 1 };

		if (!has_field(&alone, kept_fields) || head_is_hop_by_hop(answer, f))
			continue;
		write_str(w, f->name);
		write_text(w, ": ");
		write_str(w, f->value);
		write_text(w, "\r\n");
	}
	return !w->failed;
}

/* Even if the answer says nothing about it. */
static bool lasts(enum snapshot_kind kind)
{
	return kind == SNAPSHOT_FOUNDATION || kind == SNAPSHOT_MEDIA;
}

msec snapshot_fresh_ms(const struct asleep_row *row, const struct head *answer,
                       uint64_t now_unix_ms)
{
	msec       life = (msec)row->fresh_s * SECOND_MS;
	msec       said = cache_control_of(answer, now_unix_ms);
	struct str value;
	uint64_t   seconds;

	if (find_directive(answer, "private", &value) && row->scope != ASLEEP_KEEP_ORIGIN)
		return 0;
	if (find_directive(answer, "no-cache", &value))
		return 0;
	if (said == MS_NEVER && !lasts(snapshot_kind_of(row)))
		life = 0;
	if (said < life)
		life = said;
	if (!find_directive(answer, "s-maxage", &value))
		return life;
	/* for shared caches it stands instead of max-age; the lesser of the two does no harm */
	if (!str_to_u64(str_trim(value), UINT32_MAX, &seconds))
		return 0;
	return seconds * SECOND_MS < life ? seconds * SECOND_MS : life;
}
