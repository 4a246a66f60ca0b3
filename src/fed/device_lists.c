#include "fed/device_lists.h"

static const char *const members[DEVICE_LISTS_MEMBER_COUNT] = {
	[DEVICE_LISTS_DEVICES] = "device_keys",
	[DEVICE_LISTS_MASTER] = "master_keys",
	[DEVICE_LISTS_SELF] = "self_signing_keys",
};

/* ---- the question ---- */

static struct device_lists_user *find(struct device_lists *lists, struct str id)
{
	for (size_t i = 0; i < lists->count; i++)
		if (json_text_cmp(lists->user[i].id, id) == 0)
			return &lists->user[i];
	return NULL;
}

static bool is_empty_array(struct str array)
{
	struct json_items it;
	struct json_item  item;
	enum json_kind    kind;

	return json_items_begin(&it, array, NULL, &kind) == ERR_OK &&
		json_items_next(&it, &item) == ERR_OK && item.kind == JSON_END;
}

static enum err add_user(struct device_lists *lists, const struct json_item *item)
{
	struct device_lists_user *u;

	if (item->kind != JSON_ARRAY || find(lists, item->key) != NULL)
		return ERR_SYNTAX;
	if (lists->count == DEVICE_LISTS_USERS_MAX)
		return ERR_LIMIT;
	u = &lists->user[lists->count++];
	*u = (struct device_lists_user){ .id = item->key };
	if (!is_empty_array(item->value))
		u->devices = item->value;
	return ERR_OK;
}

enum err device_lists_asked(struct str question, struct device_lists *out)
{
	struct json_member asked = { .key = STRL("device_keys") };
	struct json_items  it;
	struct json_item   item = { .kind = JSON_NONE };
	enum json_kind     kind;
	enum err           e = json_find(question, JSON_REFUSE_REPEAT, &asked, 1);

	out->count = 0;
	if (e == ERR_OK && asked.kind != JSON_OBJECT)
		e = ERR_SYNTAX;
	if (e == ERR_OK)
		e = json_items_begin(&it, asked.value, NULL, &kind);
	while (e == ERR_OK && (e = json_items_next(&it, &item)) == ERR_OK && item.kind != JSON_END)
		e = add_user(out, &item);
	return e;
}

/* ---- the answer ---- */

static enum err take_parts(struct device_lists *lists, enum device_lists_member m, struct str doc)
{
	struct json_items it;
	struct json_item  item;
	enum json_kind    kind;
	enum err          e = json_items_begin(&it, doc, NULL, &kind);

	while (e == ERR_OK && (e = json_items_next(&it, &item)) == ERR_OK &&
	       item.kind != JSON_END) {
		struct device_lists_user *u = find(lists, item.key);

		if (u == NULL)
			continue;
		if (item.kind != JSON_OBJECT || u->part[m].ptr != NULL)
			return ERR_SYNTAX;
		u->part[m] = item.value;
	}
	return e;
}

static void set_names(struct json_member found[DEVICE_LISTS_MEMBER_COUNT])
{
	for (size_t m = 0; m < DEVICE_LISTS_MEMBER_COUNT; m++)
		found[m] = (struct json_member){ .key = str_of(members[m]) };
}

enum err device_lists_answered(struct str answer, struct device_lists *lists)
{
	struct json_member found[DEVICE_LISTS_MEMBER_COUNT];
	enum err           e;

	set_names(found);
	for (size_t i = 0; i < lists->count; i++)
		memset(lists->user[i].part, 0, sizeof(lists->user[i].part));
	e = json_find(answer, JSON_REFUSE_REPEAT, found, DEVICE_LISTS_MEMBER_COUNT);
	for (unsigned m = 0; e == ERR_OK && m < DEVICE_LISTS_MEMBER_COUNT; m++) {
		if (found[m].kind == JSON_OBJECT)
			e = take_parts(lists, (enum device_lists_member)m, found[m].value);
		else if (found[m].kind != JSON_NONE && found[m].kind != JSON_NULL)
			e = ERR_SYNTAX;
	}
	return e;
}

bool device_lists_id(const struct device_lists_user *u, struct writer *w)
{
	if (u->id.len > 6 * DEVICE_LISTS_ID_MAX)
		return false;
	json_unescape(u->id, w);
	return !w->failed;
}

/* ---- the parts ---- */

static void write_member(struct writer *w, bool *first, const char *name)
{
	write_char(w, *first ? '{' : ',');
	*first = false;
	write_json_string(w, str_of(name));
	write_char(w, ':');
}

bool device_lists_write_part(const struct device_lists_user *u, struct writer *w)
{
	bool first = true;

	if (u->part[DEVICE_LISTS_DEVICES].ptr == NULL)
		return false;
	for (size_t m = 0; m < DEVICE_LISTS_MEMBER_COUNT; m++)
		if (u->part[m].ptr != NULL) {
			write_member(w, &first, members[m]);
			write_str(w, u->part[m]);
		}
	write_char(w, '}');
	return !w->failed;
}

enum err device_lists_read_part(struct str part, struct device_lists_user *u)
{
	struct json_member found[DEVICE_LISTS_MEMBER_COUNT];
	enum err           e;

	set_names(found);
	e = json_find(part, JSON_REFUSE_REPEAT, found, DEVICE_LISTS_MEMBER_COUNT);
	if (e == ERR_OK && found[DEVICE_LISTS_DEVICES].kind != JSON_OBJECT)
		e = ERR_SYNTAX;
	for (size_t m = 0; e == ERR_OK && m < DEVICE_LISTS_MEMBER_COUNT; m++) {
		u->part[m] = found[m].kind == JSON_OBJECT ? found[m].value
							  : (struct str){ NULL, 0 };
		if (found[m].kind != JSON_OBJECT && found[m].kind != JSON_NONE)
			e = ERR_SYNTAX;
	}
	return e;
}

/* ---- an answer made of parts ---- */

static bool is_wanted(struct str wanted, struct str device)
{
	struct json_items it;
	struct json_item  item;
	enum json_kind    kind;

	if (json_items_begin(&it, wanted, NULL, &kind) != ERR_OK)
		return false;
	while (json_items_next(&it, &item) == ERR_OK && item.kind != JSON_END)
		if (item.kind == JSON_STRING && json_text_cmp(item.value, device) == 0)
			return true;
	return false;
}

/* A key or string as it was written. */
static void write_text_as_is(struct writer *w, struct str text)
{
	write_char(w, '"');
	write_str(w, text);
	write_char(w, '"');
}

static void write_some_devices(struct writer *w, const struct device_lists_user *u)
{
	struct json_items it;
	struct json_item  item;
	enum json_kind    kind;
	bool              first = true;

	write_char(w, '{');
	if (json_items_begin(&it, u->part[DEVICE_LISTS_DEVICES], NULL, &kind) != ERR_OK)
		w->failed = true;
	while (!w->failed && json_items_next(&it, &item) == ERR_OK && item.kind != JSON_END) {
		if (item.kind != JSON_OBJECT || !is_wanted(u->devices, item.key))
			continue;
		if (!first)
			write_char(w, ',');
		first = false;
		write_text_as_is(w, item.key);
		write_char(w, ':');
		write_str(w, item.value);
	}
	write_char(w, '}');
}

static void write_users(struct writer *w, const struct device_lists *lists,
                        enum device_lists_member m)
{
	bool first = true;

	write_char(w, '{');
	for (size_t i = 0; i < lists->count; i++) {
		const struct device_lists_user *u = &lists->user[i];

		if (u->part[m].ptr == NULL)
			continue;
		if (!first)
			write_char(w, ',');
		first = false;
		write_text_as_is(w, u->id);
		write_char(w, ':');
		if (m == DEVICE_LISTS_DEVICES && u->devices.ptr != NULL)
			write_some_devices(w, u);
		else
			write_str(w, u->part[m]);
	}
	write_char(w, '}');
}

void device_lists_write(const struct device_lists *lists, struct writer *w)
{
	bool first = true;

	for (unsigned m = 0; m < DEVICE_LISTS_MEMBER_COUNT; m++) {
		write_member(w, &first, members[m]);
		write_users(w, lists, (enum device_lists_member)m);
	}
	write_char(w, '}');
}
