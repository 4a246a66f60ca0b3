#include "app/config_check.h"

#include "app/suggest.h"

typedef enum err rule_fn(const struct config_document *d, const struct config_section *s);

static enum err check_reference(const struct config_document *d, const struct config_section *s,
                                const char *homeserver)
{
	struct suggest near;
	char           text[80];

	if (homeserver == NULL || config_find(d, SECTION_HOMESERVER, homeserver) != NULL)
		return ERR_OK;
	suggest_init(&near, str_of(homeserver));
	for (const struct config_section *h = config_next(d, NULL, SECTION_HOMESERVER); h != NULL;
	     h = config_next(d, h, SECTION_HOMESERVER))
		suggest_offer(&near, h->name);
	return config_refuse(d, s, "homeserver", 0,
	                     "homeserver: there is no \"config homeserver '%s'\"%s", homeserver,
	                     suggest_text(&near, text, sizeof(text)));
}

static enum err domain_reference(const struct config_document *d, const struct config_section *s)
{
	return check_reference(d, s, ((const struct domain_options *)s->values)->homeserver);
}

static enum err domain_is_unique(const struct config_document *d, const struct config_section *s)
{
	const struct domain_options *o = s->values;

	for (const struct config_section *t = config_next(d, NULL, SECTION_DOMAIN); t != s;
	     t = config_next(d, t, SECTION_DOMAIN)) {
		const struct domain_options *other = t->values;

		if (str_ieq(str_of(o->server_name), str_of(other->server_name)))
			return config_refuse(d, s, "server_name", 0,
			                     "server_name: '%s' is that of domain '%s' already",
			                     o->server_name, t->name);
	}
	return ERR_OK;
}

static enum err domain_has_certificate(const struct config_document *d,
                                       const struct config_section  *s)
{
	const struct domain_options *o = s->values;

	if (o->certificate.count > 0 && o->key.count == 0)
		return config_refuse(
			d, s, "certificate", 0,
			"certificate: no key belongs to it; add a 'list key' to this domain");
	if (o->certificate.count == 0 && o->key.count > 0)
		return config_refuse(
			d, s, "key", 0,
			"key: no certificate belongs to it; add a 'list certificate' to this "
			"domain");
	if (o->certificate.count == 0 && config_count(d, SECTION_LISTEN) > 0)
		return config_refuse(
			d, s, NULL, 0,
			"domain '%s' has no certificate, and ports are opened for it; add "
			"'list certificate' and 'list key'",
			s->name);
	return ERR_OK;
}

static enum err domain_exposes(const struct config_document *d, const struct config_section *s)
{
	const struct domain_options *o = s->values;

	if (o->homeserver == NULL && config_is_set(s, "expose"))
		return config_refuse(
			d, s, "expose", 0,
			"expose: there is no homeserver to pass requests to; add an 'option "
			"homeserver'");
	if (o->client_extra != NULL && o->client_url.text == NULL)
		return config_refuse(d, s, "client_extra", 0,
		                     "client_extra: has no effect without an 'option client_url'");
	return ERR_OK;
}

static enum err domain_is_reachable(const struct config_document *d, const struct config_section *s)
{
	if (config_count(d, SECTION_LISTEN) == 0)
		config_warn(d, s, NULL, 0,
		            "domain '%s' cannot be reached: there is no 'config listen'", s->name);
	return ERR_OK;
}

static enum err homeserver_wakes(const struct config_document *d, const struct config_section *s)
{
	const struct homeserver_options *o = s->values;

	if (config_is_set(s, "wake_mac") && o->url.unix_path != NULL)
		return config_refuse(d, s, "wake_mac", 0,
		                     "wake_mac: a homeserver on a unix socket is on this machine, "
		                     "which is awake");
	if (config_is_set(s, "wake_address") && !config_is_set(s, "wake_mac"))
		return config_refuse(d, s, "wake_address", 0,
		                     "wake_address: has no effect without an 'option wake_mac'");
	return ERR_OK;
}

/* What a socket occupies. */
struct claim {
	const struct config_section *section;
	struct address               address; /* ip and port */
	bool                         v4_any, v6_any;
	const char                  *path; /* unix socket, else "" */
};

static bool is_any(const struct address *a)
{
	static const uint8_t zero[16];

	return memcmp(a->ip, zero, sizeof(zero)) == 0;
}

static struct claim claim_of(const struct config_section *s)
{
	struct claim c = { .section = s, .path = "" };

	if (s->kind == SECTION_LISTEN) {
		const struct listen_options *o = s->values;

		c.address = o->address;
		c.address.port = (uint16_t)o->port;
		c.v4_any = c.v6_any = !config_is_set(s, "address");
	} else {
		const struct outbound_options *o = s->values;

		c.address = o->listen.address;
		c.path = o->listen.path;
	}
	if (c.path[0] == '\0' && !c.v4_any && is_any(&c.address)) {
		c.v4_any = c.address.family == ADDRESS_V4;
		c.v6_any = !c.v4_any;
	}
	return c;
}

static bool covers_family(const struct claim *c, bool any, enum address_family family)
{
	return any || (!c->v4_any && !c->v6_any && c->address.family == family);
}

static bool clashes_in(const struct claim *a, bool a_any, const struct claim *b, bool b_any,
                       enum address_family family)
{
	return covers_family(a, a_any, family) && covers_family(b, b_any, family) &&
		(a_any || b_any || address_same_ip(&a->address, &b->address));
}

static bool clashes(const struct claim *a, const struct claim *b)
{
	if (a->path[0] != '\0' || b->path[0] != '\0')
		return strcmp(a->path, b->path) == 0;
	return a->address.port == b->address.port &&
		(clashes_in(a, a->v4_any, b, b->v4_any, ADDRESS_V4) ||
	         clashes_in(a, a->v6_any, b, b->v6_any, ADDRESS_V6));
}

static enum err check_claim(const struct config_document *d, const struct config_section *s)
{
	const char  *option = s->kind == SECTION_LISTEN ? "port" : "listen";
	struct claim mine = claim_of(s);

	for (const struct config_section *t = d->first; t != s; t = t->next) {
		struct claim other;

		if (t->kind != SECTION_LISTEN && t->kind != SECTION_OUTBOUND)
			continue;
		other = claim_of(t);
		if (!clashes(&mine, &other))
			continue;
		if (mine.path[0] != '\0')
			return config_refuse(d, s, option, 0,
			                     "%s: the socket is that of \"config %s '%s'\" already",
			                     option, option_sections[t->kind].name, t->name);
		return config_refuse(
			d, s, option, 0,
			"%s: port %u is taken by \"config %s '%s'\" already; choose another",
			option, mine.address.port, option_sections[t->kind].name, t->name);
	}
	if (mine.path[0] != '\0' && config_main(d)->control != NULL &&
	    strcmp(mine.path, config_main(d)->control) == 0)
		return config_refuse(d, s, option, 0,
		                     "%s: the socket is the control socket already", option);
	return ERR_OK;
}

static enum err listen_has_domain(const struct config_document *d, const struct config_section *s)
{
	if (config_count(d, SECTION_DOMAIN) == 0)
		return config_refuse(
			d, s, NULL, 0,
			"listening is for domains, and there is none; add a 'config domain'");
	return ERR_OK;
}

static enum err outbound_reference(const struct config_document *d, const struct config_section *s)
{
	return check_reference(d, s, ((const struct outbound_options *)s->values)->homeserver);
}

static enum err outbound_has_secret(const struct config_document *d, const struct config_section *s)
{
	const struct outbound_options *o = s->values;

	if (o->secret_file == NULL && o->listen.path[0] == '\0')
		return config_refuse(
			d, s, NULL, 0,
			"outbound '%s' is open to everybody who reaches it; add an 'option "
			"secret_file', or listen on a unix socket",
			s->name);
	return ERR_OK;
}

static bool is_private(const struct address *a)
{
	static const char *const ranges[] = { "127.0.0.0/8",    "10.0.0.0/8",     "172.16.0.0/12",
		                              "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10",
		                              "::1/128",        "fc00::/7",       "fe80::/10" };
	struct cidr              r;

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		if (address_parse_cidr(str_of(ranges[i]), &r) == ERR_OK && address_in_cidr(a, &r))
			return true;
	return false;
}

static enum err outbound_is_private(const struct config_document *d, const struct config_section *s)
{
	const struct outbound_options *o = s->values;

	if (o->listen.path[0] == '\0' && !is_private(&o->listen.address))
		config_warn(
			d, s, "listen", 0,
			"listen: this is not an address of a home network; the port may be open to "
			"the Internet");
	return ERR_OK;
}

static enum err limits_fit(const struct config_document *d, const struct config_section *s)
{
	const struct limit_settings *l = s->values;

	if (l->request_line_max > l->request_head_max)
		return config_refuse(d, s, "request_line_max", 0,
		                     "request_line_max: is larger than request_head_max");
	if (l->field_max > l->request_head_max)
		return config_refuse(d, s, "field_max", 0,
		                     "field_max: is larger than request_head_max");
	if (config_is_set(s, "outbound_per_server") &&
	    l->outbound_per_server > l->outbound_connections)
		return config_refuse(
			d, s, "outbound_per_server", 0,
			"outbound_per_server: is larger than outbound_connections (%u)",
			l->outbound_connections);
	return ERR_OK;
}

/* Only this listener tells whom a homeserver writes to. */
static bool has_federation_listener(const struct config_document *d)
{
	for (const struct config_section *s = config_next(d, NULL, SECTION_OUTBOUND); s != NULL;
	     s = config_next(d, s, SECTION_OUTBOUND))
		if (((const struct outbound_options *)s->values)->mode ==
		    OUTBOUND_MATRIX_FEDERATION)
			return true;
	return false;
}

static enum err policy_can_know(const struct config_document *d, const struct config_section *s)
{
	const struct policy_options *p = s->values;

	if (p->invites_from == INVITES_FROM_KNOWN && !has_federation_listener(d))
		return config_refuse(
			d, s, "invites_from", 0,
			"invites_from: nobody would ever be known; 'known' needs a 'config outbound' "
			"with mode 'matrix-federation', which sees whom the homeserver writes to");
	return ERR_OK;
}

/* In the order in which an owner would want to hear of them. */
static const struct {
	enum option_section kind;
	rule_fn            *holds;
} rules[] = {
	{ SECTION_DOMAIN, domain_is_unique },
	{ SECTION_DOMAIN, domain_reference },
	{ SECTION_DOMAIN, domain_exposes },
	{ SECTION_DOMAIN, domain_has_certificate },
	{ SECTION_DOMAIN, domain_is_reachable },
	{ SECTION_HOMESERVER, homeserver_wakes },
	{ SECTION_LISTEN, listen_has_domain },
	{ SECTION_LISTEN, check_claim },
	{ SECTION_OUTBOUND, outbound_reference },
	{ SECTION_OUTBOUND, outbound_has_secret },
	{ SECTION_OUTBOUND, outbound_is_private },
	{ SECTION_OUTBOUND, check_claim },
	{ SECTION_LIMITS, limits_fit },
	{ SECTION_POLICY, policy_can_know },
};

enum err config_check(const struct config_document *d)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		for (const struct config_section *s = config_next(d, NULL, rules[i].kind);
		     s != NULL; s = config_next(d, s, rules[i].kind)) {
			enum err e = rules[i].holds(d, s);

			if (e != ERR_OK)
				return e;
		}
	if (config_count(d, SECTION_LISTEN) == 0 && config_count(d, SECTION_OUTBOUND) == 0)
		config_warn(
			d, d->main, NULL, 0,
			"there is nothing to do: neither a 'config listen' nor a 'config outbound'");
	return ERR_OK;
}
