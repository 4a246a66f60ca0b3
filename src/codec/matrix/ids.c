#include "codec/matrix/ids.h"

#include "codec/matrix/server_name.h"

static const struct {
	char sigil;
	bool local_required, server_required;
} kinds[] = {
	[IDS_USER] = { '@', false, true },
	[IDS_ALIAS] = { '#', true, true },
	[IDS_ROOM] = { '!', true, false },
	[IDS_EVENT] = { '$', true, false },
};

enum err ids_parse(enum ids_kind kind, struct str text, struct ids *out)
{
	struct server_name name;
	struct ids         id;
	size_t             colon = str_find(text, ':');
	enum err           e;

	if (text.len < 2 || text.len > IDS_BYTES_MAX || text.ptr[0] != kinds[kind].sigil ||
	    str_find(text, '\0') != text.len)
		return ERR_SYNTAX;
	id.local = str_from(str_head(text, colon), 1);
	id.server = str_from(text, colon + 1);
	if (kinds[kind].local_required && id.local.len == 0)
		return ERR_SYNTAX;
	if (kinds[kind].server_required || colon != text.len) {
		e = server_name_parse(id.server, &name);
		if (e != ERR_OK)
			return e;
	}
	*out = id;
	return ERR_OK;
}

bool ids_is_media_id(struct str text)
{
	if (text.len == 0 || text.len > IDS_BYTES_MAX)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    c != '-' && c != '_')
			return false;
	}
	return true;
}

enum err ids_parse_mxc(struct str text, struct str *server, struct str *media_id)
{
	const struct str   scheme = STR("mxc://");
	struct server_name name;
	struct str         rest, host, media;
	enum err           e;

	if (!str_starts(text, scheme))
		return ERR_SYNTAX;
	rest = str_from(text, scheme.len);
	host = str_head(rest, str_find(rest, '/'));
	media = str_from(rest, host.len + 1);
	e = server_name_parse(host, &name);
	if (e != ERR_OK)
		return e;
	if (!ids_is_media_id(media))
		return ERR_SYNTAX;
	*server = host;
	*media_id = media;
	return ERR_OK;
}
