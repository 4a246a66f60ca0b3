#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/cli.h"
#include "app/config.h"
#include "app/config_check.h"
#include "app/config_needs.h"
#include "app/config_show.h"
#include "app/config_tls.h"
#include "app/verbs.h"

static void print_report(const struct config_report *report)
{
	fputs(report->warnings, stderr);
	if (report->error[0] != '\0')
		fprintf(stderr, "%s\n", report->error);
}

static int config_check_verb(int argc, char **argv)
{
	struct config_source    source = { .all = true };
	const struct cli_option options[] = {
		{ "credentials", "DIR",
		  "look for certificate, key and secret files here, by their base names",
		  &source.credentials, NULL },
		{ .name = NULL },
	};
	const struct cli cli = {
		.name = "config check",
		.operands = "FILE",
		.operand_count = 1,
		.operand = &source.path,
		.about =
			"Checks everything that can be checked without opening a port: every option, what\n"
			"belongs together, every file named, certificates against their keys and names.\n"
			"Says nothing and ends with success when all is well; warnings change nothing in that.\n",
		.examples = "  doorstep config check /etc/config/doorstep\n"
			    "  uci export doorstep > /tmp/new && doorstep config check /tmp/new\n",
		.options = options,
	};
	struct config_report report;
	struct settings     *settings = NULL;
	int                  done = cli_parse(&cli, argc - 1, argv + 1);
	enum err             e;

	if (done != CLI_GO_ON)
		return done;
	e = config_load(&source, &settings, &report);
	if (e == ERR_OK)
		e = config_check_tls(source.path, settings, &report);
	settings_drop(settings);
	print_report(&report);
	return e == ERR_OK ? EXIT_OK : EXIT_FAILED;
}

/* What to do with a document that could be read; its error is the verb's. */
typedef enum err document_fn(const struct config_document *d);

static enum err with_document(const char *path, document_fn *fn, struct config_report *report)
{
	struct config_source   source = { .path = path };
	struct config_document document;
	struct arena           arena;
	char                  *text;
	size_t                 len;
	enum err               e = config_read_file(path, &text, &len, report);

	if (e == ERR_OK) {
		arena_init(&arena, 4 * 1024 * 1024);
		e = config_document_read(&document, &source, str_span(text, len), &arena, report);
		if (e == ERR_OK)
			e = fn(&document);
		arena_fini(&arena);
		free(text);
	}
	return e;
}

static enum err show_text(const struct config_document *d)
{
	config_show(d, stdout);
	return ERR_OK;
}

static enum err show_json(const struct config_document *d)
{
	config_show_json(d, stdout);
	return ERR_OK;
}

static enum err show(const char *path, bool json)
{
	struct config_report report;
	enum err             e = with_document(path, json ? show_json : show_text, &report);

	print_report(&report);
	return e;
}

static int show_verb(int argc, char **argv)
{
	const char             *path = NULL;
	bool                    json = false;
	const struct cli_option options[] = {
		{ "config", "FILE", "the configuration (needed)", &path, NULL },
		{ "json", NULL, "as one JSON object", NULL, &json },
		{ .name = NULL },
	};
	const struct cli cli = {
		.name = "config show",
		.about =
			"Prints the configuration as it is understood, every default filled in and marked.\n",
		.examples = "  doorstep config show --config /etc/config/doorstep\n"
			    "  doorstep config show --config /etc/config/doorstep --json\n",
		.options = options,
	};
	int done = cli_parse(&cli, argc - 1, argv + 1);

	if (done != CLI_GO_ON)
		return done;
	if (path == NULL)
		return cli_usage(&cli, "missing:", "--config FILE");
	return show(path, json) == ERR_OK ? EXIT_OK : EXIT_FAILED;
}

static enum err show_needs(const struct config_document *d)
{
	enum err e = config_check(d);

	if (e == ERR_OK)
		config_needs(d, stdout);
	return e;
}

static enum err needs(const char *path)
{
	struct config_report report;
	enum err             e = with_document(path, show_needs, &report);

	if (e != ERR_OK)
		print_report(&report);
	return e;
}

static int needs_verb(int argc, char **argv)
{
	const char      *path = NULL;
	const struct cli cli = {
		.name = "config needs",
		.operands = "FILE",
		.operand_count = 1,
		.operand = &path,
		.about =
			"Prints what the configuration needs of the system around the process, for the\n"
			"script that starts it: lines of a word and a value (enabled, state, control,\n"
			"authorities, credential, read, socket, port, sleeps, jail, open_firewall,\n"
			"interface). No file that the configuration names is looked for.\n",
		.examples =
			"  doorstep config needs /etc/config/doorstep | sed -n 's/^credential //p'\n",
	};
	int done = cli_parse(&cli, argc - 1, argv + 1);

	if (done != CLI_GO_ON)
		return done;
	return needs(path) == ERR_OK ? EXIT_OK : EXIT_FAILED;
}

static int manual_verb(int argc, char **argv)
{
	const struct cli cli = {
		.name = "config manual",
		.about = "Prints every option there is, as Markdown.\n",
		.examples = "  doorstep config manual | less\n",
	};
	int done = cli_parse(&cli, argc - 1, argv + 1);

	if (done != CLI_GO_ON)
		return done;
	config_manual(stdout);
	return EXIT_OK;
}

static const struct part {
	const char *name;
	int (*run)(int argc, char **argv);
} parts[] = {
	{ "check", config_check_verb },
	{ "show", show_verb },
	{ "needs", needs_verb },
	{ "manual", manual_verb },
};

int config_verb(int argc, char **argv)
{
	static const struct cli cli = {
		.name = "config",
		.operands = "check|show|needs|manual ...",
		.about = "  check FILE           is it right?\n"
			 "  show --config FILE   what does it say, defaults included?\n"
			 "  needs FILE           what must the system provide? (for scripts)\n"
			 "  manual               which options are there?\n"
			 "\nEach has its own --help.\n",
		.examples = "  doorstep config check /etc/config/doorstep\n",
	};

	if (argc < 2)
		return cli_usage(&cli, "missing:", "check, show, needs or manual");
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strcmp(argv[1], parts[i].name) == 0)
			return parts[i].run(argc - 1, argv + 1);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		cli_help(&cli);
		return EXIT_OK;
	}
	return cli_usage(&cli, "unknown:", argv[1]);
}
