/*
 * check_net.c - the line to the Internet, and what our names mean from here.
 */
#include <stdio.h>
#include <string.h>

#include "app/check.h"
#include "base/procnet.h"
#include "loop/interfaces.h"

enum { QUERY_MS = 8 * 1000, ANSWERS_MAX = 2 * DNS_RECORDS_MAX, LINE_BYTES = 512 };

/* ---- the line ---- */

/* The interface of the default route with the least metric; "": none. */
static void find_wan(char out[PROCNET_NAME_MAX])
{
	FILE                *f = fopen("/proc/net/route", "re");
	char                 text[LINE_BYTES];
	struct procnet_route r;
	uint32_t             best = UINT32_MAX;

	out[0] = '\0';
	while (f != NULL && fgets(text, sizeof(text), f) != NULL) {
		if (!procnet_default_route(str_of(text), &r) ||
		    (out[0] != '\0' && r.metric >= best))
			continue;
		best = r.metric;
		strcpy(out, r.interface);
	}
	if (f != NULL)
		fclose(f);
}

static const char *ports_text(const struct settings *s, char *out, size_t size)
{
	struct writer w = writer_over(out, size - 1);
	unsigned      last = 0;

	for (size_t i = 0; i < s->listen_count; i++) {
		unsigned port = s->listens[i].endpoint.address.port;

		if (port == last)
			continue;
		if (last != 0)
			write_text(&w, ", ");
		write_u64(&w, port);
		last = port;
	}
	*w.at = '\0';
	return out;
}

static void say_line(struct check *c)
{
	const struct line *l = &c->line;
	char               text[ADDRESS_TEXT_SIZE] = "", ports[128];
	enum check_level   shared = l->has_public_v6 ? CHECK_WARNING : CHECK_PROBLEM;
	const char        *v6 = l->has_public_v6
		       ? "servers with IPv6 alone reach this door; for all of them ask the provider for a public "
			 "IPv4 address"
		       : "nobody can connect from outside; ask the provider for a public IPv4 address or IPv6";

	if (l->v4.family != 0)
		address_ip_text(&l->v4, text);
	switch (l->kind) {
	case LINE_PUBLIC:
		check_say(c, CHECK_OK, "line", "public IPv4 address %s%s", text,
		          l->has_public_v6 ? ", and IPv6" : "");
		break;
	case LINE_NAT:
		check_say(
			c, CHECK_WARNING, "line",
			"%s is a private address: another router is in front. Let it forward TCP port "
			"%s to %s, or make it a bridge",
			text, ports_text(c->settings, ports, sizeof(ports)), text);
		break;
	case LINE_SHARED:
		check_say(
			c, shared, "line",
			"%s (100.64.0.0/10) means that the provider shares one IPv4 address among "
			"customers (CGNAT): %s",
			text, v6);
		break;
	case LINE_DSLITE:
		check_say(c, shared, "line", "%s (192.0.0.0/29) is one end of DS-Lite: %s", text,
		          v6);
		break;
	case LINE_V6_ONLY:
		check_say(c, CHECK_WARNING, "line",
		          "there is IPv6 only: servers without it do not reach this door");
		break;
	case LINE_NONE:
		check_say(c, CHECK_PROBLEM, "line",
		          "no address on any interface: is the line down? ('ifstatus wan')");
		break;
	}
}

void check_line(struct check *c)
{
	struct address wan[CHECK_ADDRESSES_MAX];
	char           name[PROCNET_NAME_MAX];
	size_t         count = 0;

	find_wan(name);
	if (name[0] != '\0')
		count = interfaces_addresses_of(name, wan, CHECK_ADDRESSES_MAX);
	c->line = self_check_line(wan, count, c->own, c->own_count);
	if (c->settings->listen_count > 0)
		say_line(c);
}

/* ---- names ---- */

struct asking {
	struct check     *c;
	struct dns_query *query;
	struct dns_answer answer;
};

static void on_answer(void *arg, const struct dns_answer *a)
{
	struct asking *q = arg;

	q->answer = *a;
	loop_stop(q->c->loop);
}

/* Appends what was found. False: nothing was learnt, *why says it. */
static bool ask(struct check *c, const char *name, enum dns_type type, struct address *out,
                size_t *count, const char **why)
{
	struct asking q = { .c = c };
	enum err      e = dns_query_start(&q.query, c->dns, name, type, QUERY_MS, on_answer, &q);

	if (e != ERR_OK) {
		*why = err_slug(e);
		return false;
	}
	loop_run(c->loop);
	if (q.answer.outcome == DNS_FAILED) {
		*why = q.answer.why;
		return false;
	}
	for (size_t i = 0; q.answer.outcome == DNS_FOUND && i < q.answer.count; i++)
		out[(*count)++] = q.answer.records.address[i];
	return true;
}

/* A public name that is not here, seen from a line of that kind. */
static void say_elsewhere(struct check *c, const char *name, const struct address *stray)
{
	char there[ADDRESS_TEXT_SIZE], here[ADDRESS_TEXT_SIZE] = "";

	address_ip_text(stray, there);
	if (c->line.v4.family != 0)
		address_ip_text(&c->line.v4, here);
	switch (c->line.kind) {
	case LINE_NAT:
		check_say(c, CHECK_OK, "name",
		          "%s is %s, which must be the router in front of this one", name, there);
		break;
	case LINE_PUBLIC:
		check_say(c, CHECK_PROBLEM, "name",
		          "%s is %s, but this router is %s: correct the record (dynamic DNS?)",
		          name, there, here);
		break;
	case LINE_SHARED:
	case LINE_DSLITE:
		check_say(c, CHECK_PROBLEM, "name",
		          "%s is %s, which is the provider's and leads nowhere: see 'line'", name,
		          there);
		break;
	case LINE_V6_ONLY:
	case LINE_NONE:
		check_say(c, CHECK_PROBLEM, "name", "%s is %s, which this router does not have",
		          name, there);
		break;
	}
}

static void say_absent(struct check *c, const char *name)
{
	check_say(
		c, CHECK_PROBLEM, "name",
		"%s has no address as this router's resolver tells it. If there is no A or AAAA "
		"record yet, make one. If there is one with a private address (split DNS), dnsmasq has "
		"dropped it (rebind protection): uci add_list dhcp.@dnsmasq[0].rebind_domain='%s'; "
		"uci commit dhcp; /etc/init.d/dnsmasq restart",
		name, name);
}

static void judge(struct check *c, const char *name, const struct address *answers, size_t count)
{
	struct name_look look = self_check_name(answers, count, c->own, c->own_count);
	char             text[ADDRESS_TEXT_SIZE];

	switch (look.kind) {
	case NAME_HERE:
		check_say(c, CHECK_OK, "name", "%s leads here (%s)", name,
		          address_ip_text(&answers[0], text));
		break;
	case NAME_ABSENT:
		say_absent(c, name);
		break;
	case NAME_PRIVATE:
		check_say(
			c, CHECK_WARNING, "name",
			"%s is %s here, a private address and not this router's: machines in the home "
			"network will not come to this door; give them this router's address",
			name, address_ip_text(&look.stray, text));
		break;
	case NAME_MIXED:
		check_say(
			c, CHECK_WARNING, "name",
			"%s leads here, and to %s too, which this router does not have: others will try "
			"that in vain; remove the record",
			name, address_ip_text(&look.stray, text));
		break;
	case NAME_ELSEWHERE:
		say_elsewhere(c, name, &look.stray);
		break;
	}
}

/* is_delegated: other servers only fetch .well-known from it, which may be a web server elsewhere. */
static void check_name(struct check *c, const char *name, bool is_delegated)
{
	struct address answers[ANSWERS_MAX];
	size_t         count = 0;
	const char    *why = "";
	bool           v4 = ask(c, name, DNS_A, answers, &count, &why);
	bool           v6 = ask(c, name, DNS_AAAA, answers, &count, &why);
	char           text[ADDRESS_TEXT_SIZE];

	if (!v4 && !v6)
		check_say(c, CHECK_PROBLEM, "name",
		          "DNS says nothing about %s (%s): is the line up, and option dns right?",
		          name, why);
	else if (is_delegated &&
	         self_check_name(answers, count, c->own, c->own_count).kind == NAME_ELSEWHERE)
		check_say(c, CHECK_OK, "name",
		          "%s is %s, which must answer https://%s/.well-known/matrix/server: see "
		          "'doorstep resolve %s'",
		          name, address_ip_text(&answers[0], text), name, name);
	else
		judge(c, name, answers, count);
}

/* Numbers and single labels are nobody's records. */
static bool is_dns_name(const char *host)
{
	struct address a;

	return host[0] != '[' && address_parse_ip(str_of(host), &a) != ERR_OK &&
		strchr(host, '.') != NULL;
}

static bool was_before(const struct settings *s, size_t domain, size_t host)
{
	const char *name = s->domains[domain].hosts[host];

	for (size_t d = 0; d < domain; d++)
		for (size_t h = 0; h < s->domains[d].host_count; h++)
			if (strcmp(s->domains[d].hosts[h], name) == 0)
				return true;
	return false;
}

void check_names(struct check *c)
{
	const struct settings *s = c->settings;

	for (size_t d = 0; s->listen_count > 0 && d < s->domain_count; d++) {
		const struct domain_settings *domain = &s->domains[d];

		for (size_t h = 0; h < domain->host_count; h++)
			if (is_dns_name(domain->hosts[h]) && !was_before(s, d, h))
				check_name(c, domain->hosts[h],
				           h == 0 && domain->host_count > 1 &&
				                   domain->well_known_server != NULL);
	}
}
