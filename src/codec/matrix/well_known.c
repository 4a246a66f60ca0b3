#include "codec/matrix/well_known.h"

#include <stdbool.h>

#include "codec/json/scan.h"

static enum err read_name(struct str text, char out[SERVER_NAME_TEXT_MAX + 1])
{
	struct writer      w = writer_over(out, SERVER_NAME_TEXT_MAX);
	struct server_name name;
	enum err           e;

	json_unescape(text, &w);
	e = w.failed ? ERR_SYNTAX : server_name_parse(writer_done(&w), &name);
	*(e == ERR_OK ? w.at : out) = '\0';
	return e;
}

enum err well_known_read_server(struct str body, char out[SERVER_NAME_TEXT_MAX + 1])
{
	struct json_member m = { .key = STR("m.server") };
	enum err           e;

	out[0] = '\0';
	if (body.len > WELL_KNOWN_BODY_MAX)
		return ERR_TOO_LARGE;
	e = json_find(body, JSON_LAST_WINS, &m, 1);
	if (e != ERR_OK)
		return ERR_SYNTAX; /* too deep is as unreadable as broken */
	if (m.kind == JSON_NONE)
		return ERR_NOT_FOUND;
	if (m.kind != JSON_STRING)
		return ERR_SYNTAX;
	return read_name(m.value, out);
}

void well_known_write_server(struct writer *w, struct str delegate)
{
	write_text(w, "{\"m.server\":");
	write_json_string(w, delegate);
	write_char(w, '}');
}

static const struct str homeserver_key = STR("m.homeserver");

static void write_item(struct writer *w, const struct json_item *item)
{
	bool quoted = item->kind == JSON_STRING;

	write_text(w, ",\"");
	write_str(w, item->key);
	write_text(w, quoted ? "\":\"" : "\":");
	write_str(w, item->value);
	if (quoted)
		write_char(w, '"');
}

static enum err write_members(struct writer *w, struct str object)
{
	struct json_items it;
	struct json_item  item;
	enum json_kind    kind;
	enum err          e = json_items_begin(&it, object, NULL, &kind);

	if (e != ERR_OK || kind != JSON_OBJECT)
		return ERR_SYNTAX;
	for (;;) {
		e = json_items_next(&it, &item);
		if (e != ERR_OK)
			return ERR_SYNTAX;
		if (item.kind == JSON_END)
			return ERR_OK;
		if (!json_text_eq(item.key, homeserver_key))
			write_item(w, &item);
	}
}

enum err well_known_write_client(struct writer *w, struct str base_url, struct str extra)
{
	enum err e = ERR_OK;

	write_text(w, "{\"m.homeserver\":{\"base_url\":");
	write_json_string(w, base_url);
	write_char(w, '}');
	if (extra.len > 0)
		e = write_members(w, extra);
	write_char(w, '}');
	return e;
}

/* "key":"value" with a comma before all but the first; nothing for an empty value. */
static void write_member(struct writer *w, const char *key, struct str value, bool *first)
{
	if (value.len == 0)
		return;
	write_text(w, *first ? "\"" : ",\"");
	write_text(w, key);
	write_text(w, "\":");
	write_json_string(w, value);
	*first = false;
}

void well_known_write_support(struct writer *w, const struct well_known_contact *contacts,
                              size_t count, struct str support_page)
{
	bool first = count == 0;

	write_text(w, count == 0 ? "{" : "{\"contacts\":[");
	for (size_t i = 0; i < count; i++) {
		bool first_member = true;

		write_text(w, i == 0 ? "{" : ",{");
		write_member(w, "matrix_id", contacts[i].matrix_id, &first_member);
		write_member(w, "email_address", contacts[i].email, &first_member);
		write_member(w, "role", contacts[i].role, &first_member);
		write_char(w, '}');
	}
	if (count > 0)
		write_char(w, ']');
	write_member(w, "support_page", support_page, &first);
	write_char(w, '}');
}
