#include "fed/server_list.h"

#include "codec/matrix/server_name.h"

struct spelled {
	struct str host;
	uint16_t   port; /* 0: none */
};

static struct spelled spell(struct str name)
{
	struct server_name parsed;
	struct spelled     s = { name, 0 };

	if (server_name_parse(name, &parsed) == ERR_OK)
		s = (struct spelled){ parsed.host, parsed.port };
	while (s.host.len > 1 && s.host.ptr[s.host.len - 1] == '.')
		s.host.len--;
	return s;
}

static bool entry_fits(struct str entry, const struct spelled *name)
{
	struct spelled e;

	if (str_starts(entry, STRL("*.")))
		return name->host.len >= entry.len && str_iends(name->host, str_from(entry, 1));
	e = spell(entry);
	return str_ieq(e.host, name->host) && (e.port == 0 || e.port == name->port);
}

bool server_list_has(const char *const *entries, size_t count, struct str name)
{
	struct spelled s = spell(name);

	for (size_t i = 0; i < count; i++)
		if (entry_fits(str_of(entries[i]), &s))
			return true;
	return false;
}
