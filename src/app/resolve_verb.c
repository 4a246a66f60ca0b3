#include "app/resolve_verb.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/cli.h"
#include "app/config.h"
#include "base/log.h"
#include "loop/interfaces.h"
#include "role/resolver.h"

enum {
	OWN_MAX = 64,
	QUERIES_MAX = 16,
	LOOKUP_MS = 30 * 1000,
	FETCH_MS = 10 * 1000,
	OUTPUT_MAX = 32 * 1024,
	NAME_SHOWN_MAX = 1000
};

static const char default_ca_file[] = "/etc/ssl/certs/ca-certificates.crt";

struct resolving {
	struct loop          *loop;
	struct settings      *settings; /* NULL: none given */
	struct dns           *dns;
	struct tls_client    *tls;
	struct resolver      *resolver;
	struct lookup        *lookup;
	struct address        own[OWN_MAX];
	struct address_policy policy;
	const char           *name;
	bool                  json;
	int                   exit_code;
};

/* ---- printing ---- */

static struct str shown_name(const struct resolving *rs)
{
	return str_head(str_of(rs->name), NAME_SHOWN_MAX);
}

/* Whatever was typed or pasted: nothing that a terminal would obey. */
static void write_printable(struct writer *w, struct str s)
{
	for (size_t i = 0; i < s.len; i++)
		write_char(w, s.ptr[i] > 0x1f && s.ptr[i] < 0x7f ? s.ptr[i] : '?');
}

static void json_member(struct writer *w, const char *key, struct str value, bool known)
{
	write_json_string(w, str_of(key));
	write_char(w, ':');
	if (known)
		write_json_string(w, value);
	else
		write_text(w, "null");
}

static void json_step(struct writer *w, const struct resolve *run, size_t i)
{
	const struct resolve_step *s = &run->steps[i];

	write_text(w, i == 0 ? "{" : ",{");
	json_member(w, "step", str_of(resolve_step_kind_slug(s->kind)), true);
	write_char(w, ',');
	json_member(w, "question", resolve_step_question(run, i), true);
	write_char(w, ',');
	json_member(w, "outcome", str_of(s->outcome), true);
	write_char(w, ',');
	json_member(w, "detail", resolve_step_detail(run, i), s->detail_len > 0);
	write_char(w, ',');
	json_member(w, "why", s->why == NULL ? STRL("") : str_of(s->why), s->why != NULL);
	write_char(w, '}');
}

static void json_addresses(struct writer *w, const struct resolution *r, bool ok)
{
	char text[ADDRESS_TEXT_SIZE];

	write_text(w, ",\"addresses\":[");
	for (size_t i = 0; ok && i < r->count; i++) {
		write_text(w, i == 0 ? "" : ",");
		write_json_string(w, str_of(address_text(&r->addresses[i], text)));
	}
	write_text(w, "],");
}

/* Rounded up: an answer of this moment is good for what its record says, not for a second less. */
static uint64_t seconds_left(const struct resolving *rs, const struct resolution *r)
{
	return (resolution_fresh_for(r, loop_unix_ms(rs->loop)) + SECOND_MS - 1) / SECOND_MS;
}

static void write_json(struct writer *w, const struct resolving *rs, const struct resolve *run)
{
	const struct resolution *r = &run->result;
	bool                     ok = r->error == ERR_OK;

	write_char(w, '{');
	json_member(w, "server_name", shown_name(rs), true);
	write_text(w, ",\"steps\":[");
	for (size_t i = 0; i < run->step_count; i++)
		json_step(w, run, i);
	write_char(w, ']');
	json_addresses(w, r, ok);
	json_member(w, "host_header", str_of(r->host_header), ok);
	write_char(w, ',');
	json_member(w, "tls_name", str_of(r->tls_name), ok);
	write_text(w, ",\"tls_name_is_address\":");
	write_text(w, ok && r->tls_name_is_ip ? "true" : "false");
	write_text(w, ",\"expires_in_s\":");
	write_u64(w, seconds_left(rs, r));
	write_char(w, ',');
	json_member(w, "error", str_of(err_slug(r->error)), !ok);
	write_text(w, "}\n");
}

static void write_step(struct writer *w, const struct resolve *run, size_t i)
{
	const struct resolve_step *s = &run->steps[i];

	write_text(w, "  ");
	write_text(w, resolve_step_kind_slug(s->kind));
	write_char(w, ' ');
	write_str(w, resolve_step_question(run, i));
	write_text(w, ": ");
	write_text(w, s->outcome);
	if (s->detail_len > 0) {
		write_text(w, " ");
		write_str(w, resolve_step_detail(run, i));
	}
	if (s->why != NULL && s->why[0] != '\0') {
		write_text(w, " - ");
		write_text(w, s->why);
	}
	write_char(w, '\n');
}

static void write_result(struct writer *w, const struct resolving *rs, const struct resolution *r)
{
	char text[ADDRESS_TEXT_SIZE];

	for (size_t i = 0; i < r->count; i++) {
		write_text(w, "connect to   ");
		write_text(w, address_text(&r->addresses[i], text));
		write_char(w, '\n');
	}
	write_text(w, "Host         ");
	write_text(w, r->host_header);
	write_text(w, "\ncertificate  ");
	write_text(w, r->tls_name);
	write_text(w, r->tls_name_is_ip ? " (an address: iPAddress SAN, no SNI)\n" : "\n");
	write_text(w, "fresh for    ");
	write_u64(w, seconds_left(rs, r));
	write_text(w, " s\n");
}

static void write_lines(struct writer *w, const struct resolving *rs, const struct resolve *run)
{
	write_printable(w, shown_name(rs));
	write_char(w, '\n');
	for (size_t i = 0; i < run->step_count; i++)
		write_step(w, run, i);
	if (run->result.error == ERR_OK) {
		write_result(w, rs, &run->result);
	} else {
		write_text(w, "not resolved: ");
		write_text(w, err_slug(run->result.error));
		write_char(w, '\n');
	}
}

static void on_lookup(void *arg, const struct resolve *run)
{
	struct resolving *rs = arg;
	static char       out[OUTPUT_MAX];
	struct writer     w = writer_over(out, sizeof(out));

	if (rs->json)
		write_json(&w, rs, run);
	else
		write_lines(&w, rs, run);
	fwrite(out, 1, writer_done(&w).len, stdout);
	rs->exit_code = run->result.error == ERR_OK ? EXIT_OK : EXIT_FAILED;
	loop_stop(rs->loop);
}

/* ---- course ---- */

static bool complain(const char *what)
{
	fprintf(stderr, "doorstep resolve: %s\n", what);
	return false;
}

/* Without the system's authorities many names can be resolved all the same; a ca_file of one's own is meant. */
static bool open_tls(struct resolving *rs)
{
	struct tls_fault fault = { "" };
	const char      *ca = rs->settings == NULL ? default_ca_file : rs->settings->ca_file;

	if (tls_client_load(rs->loop, ca, 0, &rs->tls, &fault) == ERR_OK)
		return true;
	fprintf(stderr, "doorstep resolve: %s; .well-known cannot be fetched\n", fault.text);
	rs->tls = NULL;
	return strcmp(ca, default_ca_file) == 0;
}

static bool open_resolver(struct resolving *rs)
{
	const struct settings  *s = rs->settings;
	struct resolver_options o = { .loop = rs->loop,
		                      .policy = &rs->policy,
		                      .names_max = 1,
		                      .deadline_ms = LOOKUP_MS,
		                      .fetch_ms = FETCH_MS };

	rs->policy.own = rs->own;
	rs->policy.own_count = interfaces_addresses(rs->own, OWN_MAX);
	if (s != NULL) {
		rs->policy.allow = s->allow_ranges;
		rs->policy.allow_count = s->allow_range_count;
	}
	if (dns_new(rs->loop, s != NULL && s->has_dns ? &s->dns : NULL, QUERIES_MAX, &rs->dns) !=
	    ERR_OK)
		return complain("the resolver configuration of this system cannot be read");
	if (!open_tls(rs))
		return false;
	o.dns = rs->dns;
	o.tls = rs->tls;
	return resolver_new(&o, &rs->resolver) == ERR_OK || complain("no memory");
}

/* Too long to be asked for: the machine itself says so. */
static void refuse(struct resolving *rs)
{
	static struct resolve    machine;
	struct resolution_random none = { NULL, NULL };

	(void)resolve_begin(&machine, str_of(rs->name), NULL, &rs->policy, none,
	                    loop_unix_ms(rs->loop));
	on_lookup(rs, &machine);
}

static void look_up(struct resolving *rs)
{
	if (strlen(rs->name) > SERVER_NAME_TEXT_MAX)
		refuse(rs);
	else if (lookup_start(&rs->lookup, rs->resolver, str_of(rs->name), RESOLVE_FOR_FEDERATION,
	                      on_lookup, rs) != ERR_OK)
		complain("no memory");
	else
		loop_run(rs->loop);
}

static void run(struct resolving *rs)
{
	rs->loop = loop_new();
	if (rs->loop == NULL)
		return;
	if (open_resolver(rs))
		look_up(rs);
	lookup_cancel(&rs->lookup);
	resolver_free(rs->resolver);
	if (rs->tls != NULL)
		tls_client_drop(rs->tls);
	if (rs->dns != NULL)
		dns_free(rs->dns);
	loop_free(rs->loop);
}

static bool load(struct resolving *rs, const char *path)
{
	struct config_source  source = { .path = path };
	struct config_report *report = calloc(1, sizeof(*report));
	bool ok = report != NULL && config_load(&source, &rs->settings, report) == ERR_OK;

	if (!ok)
		fprintf(stderr, "%s\n", report == NULL ? "no memory" : report->error);
	free(report);
	return ok;
}

int resolve_verb(int argc, char **argv)
{
	struct resolving        rs = { .exit_code = EXIT_FAILED };
	const char             *config = NULL;
	const struct cli_option options[] = {
		{ "json", NULL, "one JSON object instead of lines", NULL, &rs.json },
		{ "config", "FILE",
		  "dns, ca_file and allow_range of this configuration; without it the system's resolver "
		  "and certificate authorities",
		  &config, NULL },
		{ .name = NULL },
	};
	const struct cli cli = {
		.name = "resolve",
		.operands = "NAME",
		.operand_count = 1,
		.operand = &rs.name,
		.about =
			"Finds the server behind a Matrix server name and prints each step taken and why.\n"
			"Asks DNS and fetches /.well-known/matrix/server, but does not connect to the server.\n"
			"Nothing remembered by a running doorstep is used.\n"
			"Exit code: 0 resolved, 1 not resolved, 2 wrong usage.\n",
		.examples = "  doorstep resolve matrix.org\n"
			    "  doorstep resolve --json example.org:8448\n",
		.options = options,
	};
	int done = cli_parse(&cli, argc - 1, argv + 1);

	if (done != CLI_GO_ON)
		return done;
	log_set_level(LOG_WARN);
	if (config == NULL || load(&rs, config))
		run(&rs);
	settings_drop(rs.settings);
	return rs.exit_code;
}
