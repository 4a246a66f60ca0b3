#include "role/settings.h"

#include "base/err.h"

struct settings *settings_keep(struct settings *s)
{
	s->refs++;
	return s;
}

void settings_drop(struct settings *s)
{
	if (s == NULL)
		return;
	check(s->refs > 0);
	if (--s->refs == 0)
		s->free(s);
}

const struct domain_settings *settings_domain(const struct settings *s, struct str server_name)
{
	for (size_t i = 0; i < s->domain_count; i++)
		if (str_is(server_name, s->domains[i].server_name))
			return &s->domains[i];
	return NULL;
}

/* "host", "host:port", "[v6]:port" without the port. */
static struct str host_without_port(struct str host)
{
	size_t colon = host.len;

	if (host.len == 0 || host.ptr[host.len - 1] == ']')
		return host;
	while (colon > 0 && host.ptr[colon - 1] != ':')
		colon--;
	return colon == 0 ? host : str_head(host, colon - 1);
}

const struct domain_settings *settings_domain_by_host(const struct settings *s, struct str host)
{
	struct str name = host_without_port(host);

	for (size_t i = 0; i < s->domain_count; i++)
		for (size_t k = 0; k < s->domains[i].host_count; k++)
			if (str_ieq(name, str_of(s->domains[i].hosts[k])))
				return &s->domains[i];
	return NULL;
}
