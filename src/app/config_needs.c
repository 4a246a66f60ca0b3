#include "app/config_needs.h"

#include <string.h>

/* Values hold no control characters (option_value.c), so a line stays a line. */
static void say(FILE *out, const char *word, const char *value)
{
	if (value != NULL)
		fprintf(out, "%s %s\n", word, value);
}

static void say_flag(FILE *out, const char *word, bool flag)
{
	fprintf(out, "%s %d\n", word, flag ? 1 : 0);
}

static void say_each(FILE *out, const char *word, const struct values *v)
{
	const char *const *texts = v->at;

	for (size_t i = 0; i < v->count; i++)
		say(out, word, texts[i]);
}

static void say_files(const struct config_document *d, FILE *out)
{
	const struct config_section *s;

	for (s = config_next(d, NULL, SECTION_DOMAIN); s != NULL;
	     s = config_next(d, s, SECTION_DOMAIN)) {
		const struct domain_options *o = s->values;

		say_each(out, "credential", &o->certificate);
		say_each(out, "credential", &o->key);
	}
	for (s = config_next(d, NULL, SECTION_OUTBOUND); s != NULL;
	     s = config_next(d, s, SECTION_OUTBOUND))
		say(out, "credential", ((const struct outbound_options *)s->values)->secret_file);
	for (s = config_next(d, NULL, SECTION_DOMAIN); s != NULL;
	     s = config_next(d, s, SECTION_DOMAIN))
		say(out, "read", ((const struct domain_options *)s->values)->client_extra);
	for (s = config_next(d, NULL, SECTION_OUTBOUND); s != NULL;
	     s = config_next(d, s, SECTION_OUTBOUND)) {
		const struct outbound_options *o = s->values;

		if (o->listen.path[0] != '\0')
			say(out, "socket", o->listen.path);
	}
}

static bool is_first_with_port(const struct config_document *d, const struct config_section *at)
{
	const struct config_section *s = config_next(d, NULL, SECTION_LISTEN);
	unsigned                     port = ((const struct listen_options *)at->values)->port;

	while (s != at && ((const struct listen_options *)s->values)->port != port)
		s = config_next(d, s, SECTION_LISTEN);
	return s == at;
}

static void say_ports(const struct config_document *d, FILE *out)
{
	for (const struct config_section *s = config_next(d, NULL, SECTION_LISTEN); s != NULL;
	     s = config_next(d, s, SECTION_LISTEN))
		if (is_first_with_port(d, s))
			fprintf(out, "port %u\n", ((const struct listen_options *)s->values)->port);
}

/* As config_build.c understands it: absent, it follows state_dir. */
static bool sleeps(const struct config_document *d, const struct config_section *s)
{
	return config_is_set(s, "sleeps") ? ((const struct homeserver_options *)s->values)->sleeps
					  : config_main(d)->state_dir != NULL;
}

static bool has_sleeper(const struct config_document *d)
{
	const struct config_section *s = config_next(d, NULL, SECTION_HOMESERVER);

	while (s != NULL && !sleeps(d, s))
		s = config_next(d, s, SECTION_HOMESERVER);
	return s != NULL;
}

static void say_openwrt(const struct config_document *d, FILE *out)
{
	const struct openwrt_options *o = d->openwrt->values;
	static const char *const      interfaces[] = { "wan", "wan6", "lan" };

	say_flag(out, "jail", o->jail);
	say_flag(out, "open_firewall", o->open_firewall);
	say_each(out, "interface", &o->interface);
	for (size_t i = 0; o->interface.count == 0 && i < 3; i++)
		say(out, "interface", interfaces[i]);
}

void config_needs(const struct config_document *d, FILE *out)
{
	const struct main_options *m = config_main(d);

	say_flag(out, "enabled", m->enabled);
	say(out, "state", m->state_dir);
	say(out, "control", m->control);
	say(out, "authorities", m->ca_file);
	if (m->dns.port == 0)
		say(out, "resolver", "/etc/resolv.conf");
	say_files(d, out);
	say_ports(d, out);
	if (has_sleeper(d))
		say_flag(out, "sleeps", true);
	say_openwrt(d, out);
}
