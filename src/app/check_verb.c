/*
 * check_verb.c - `doorstep check`.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/check.h"
#include "app/cli.h"
#include "app/config.h"
#include "app/config_tls.h"
#include "app/verbs.h"
#include "base/log.h"
#include "loop/interfaces.h"

enum { SENTENCE_MAX = 1024, DNS_QUERIES = 4 };

static const char *const level_words[CHECK_LEVELS] = { "ok", "warning", "problem" };

/* ---- printing ---- */

static void print_json_text(const char *text)
{
	char          room[SENTENCE_MAX * 6 + 8];
	struct writer w = writer_over(room, sizeof(room));

	write_json_string(&w, str_of(text));
	fwrite(room, 1, writer_done(&w).len, stdout);
}

static bool is_first(const struct check *c)
{
	return c->counts[CHECK_OK] + c->counts[CHECK_WARNING] + c->counts[CHECK_PROBLEM] == 0;
}

void check_say(struct check *c, enum check_level level, const char *topic, const char *format, ...)
{
	char    text[SENTENCE_MAX];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (char *at = text; *at != '\0'; at++)
		if ((unsigned char)*at < 0x20 || *at == 0x7f)
			*at = ' '; /* names come from files and from DNS */
	if (c->json) {
		printf("%s{\"level\":\"%s\",\"topic\":\"%s\",\"text\":", is_first(c) ? "" : ",",
		       level_words[level], topic);
		print_json_text(text);
		fputs("}", stdout);
	} else {
		printf("%-8s %-13s %s\n", level_words[level], topic, text);
		fflush(stdout); /* some looks take their time */
	}
	c->counts[level]++;
}

static void print_end(const struct check *c)
{
	if (c->json)
		printf("],\"problems\":%zu,\"warnings\":%zu}\n", c->counts[CHECK_PROBLEM],
		       c->counts[CHECK_WARNING]);
	else if (c->counts[CHECK_PROBLEM] + c->counts[CHECK_WARNING] == 0)
		printf("nothing is in the way\n");
	else
		printf("%zu problems, %zu warnings\n", c->counts[CHECK_PROBLEM],
		       c->counts[CHECK_WARNING]);
}

/* ---- the configuration ---- */

/* Lines of the report, each a finding. */
static void say_lines(struct check *c, enum check_level level, const char *lines)
{
	size_t len;

	for (; *lines != '\0'; lines += len + (lines[len] != '\0')) {
		len = strcspn(lines, "\n");
		check_say(c, level, "configuration", "%.*s", (int)len, lines);
	}
}

static void check_configuration(struct check *c, const struct config_source *source,
                                struct settings **out)
{
	struct config_report *report = calloc(1, sizeof(*report));
	enum err              e = ERR_NOMEM;

	if (report != NULL)
		e = config_load(source, out, report);
	if (e == ERR_OK) {
		c->settings = *out;
		say_lines(c, CHECK_WARNING, report->warnings);
		report->warnings[0] = '\0';
		e = config_check_tls(source->path, *out, report);
		say_lines(c, CHECK_WARNING, report->warnings);
	}
	if (e != ERR_OK)
		say_lines(c, CHECK_PROBLEM, report == NULL ? "no memory left" : report->error);
	else if (!c->settings->enabled)
		check_say(c, CHECK_WARNING, "configuration",
		          "%s is right, but says enabled '0': doorstep will not start",
		          source->path);
	else
		check_say(c, CHECK_OK, "configuration", "%s is right", source->path);
	free(report);
}

/* ---- course ---- */

static void look(struct check *c)
{
	const struct settings *s = c->settings;

	c->own_count = interfaces_addresses(c->own, CHECK_ADDRESSES_MAX);
	if (dns_new(c->loop, s->has_dns ? &s->dns : NULL, DNS_QUERIES, &c->dns) != ERR_OK)
		check_say(
			c, CHECK_PROBLEM, "dns",
			"the resolver configuration of this system cannot be read: set option dns");
	check_state_dir(c);
	check_ports(c);
	check_line(c);
	if (c->dns != NULL)
		check_names(c);
	check_homeservers(c);
	if (c->dns != NULL)
		dns_free(c->dns);
}

static int check_all(const struct config_source *source, bool json)
{
	struct check    *c = calloc(1, sizeof(*c));
	struct settings *s = NULL;
	int              code = EXIT_FAILED;

	if (c == NULL)
		return EXIT_FAILED;
	c->json = json;
	c->loop = loop_new();
	if (json)
		fputs("{\"v\":1,\"findings\":[", stdout);
	check_clock(c);
	check_configuration(c, source, &s);
	if (c->settings != NULL && c->loop != NULL)
		look(c);
	print_end(c);
	if (c->counts[CHECK_PROBLEM] == 0)
		code = EXIT_OK;
	settings_drop(s);
	if (c->loop != NULL)
		loop_free(c->loop);
	free(c);
	return code;
}

int check_verb(int argc, char **argv)
{
	struct config_source    source = { .all = true };
	bool                    json = false;
	const struct cli_option options[] = {
		{ "config", "FILE", "the configuration (needed)", &source.path, NULL },
		{ "credentials", "DIR",
		  "look for certificate, key and secret files here, by their base names",
		  &source.credentials, NULL },
		{ "json", NULL, "one JSON object instead of lines", NULL, &json },
		{ .name = NULL },
	};
	const struct cli cli = {
		.name = "check",
		.about =
			"Looks for what is in the way of this door and says what to do: clock, configuration,\n"
			"certificates, state_dir, ports in use, the line to the Internet, names in DNS, the\n"
			"homeserver. Run it as root on the router, whether doorstep runs or not. Nothing is\n"
			"changed; DNS and the homeserver are asked, nobody else.\n"
			"Exit status 0: no problem (there may be warnings), 1: a problem, 2: wrong usage.\n",
		.examples = "  doorstep check --config /etc/config/doorstep\n",
		.options = options,
	};
	int done = cli_parse(&cli, argc - 1, argv + 1);

	if (done != CLI_GO_ON)
		return done;
	if (source.path == NULL)
		return cli_usage(&cli, "missing:", "--config FILE");
	log_set_level(LOG_ERROR);
	return check_all(&source, json);
}
