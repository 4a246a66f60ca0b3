/*
 * main.c - one executable, verbs.
 */
#include <stdio.h>
#include <string.h>

#include "app/cli.h"
#include "app/resolve_verb.h"
#include "app/suggest.h"
#include "app/verbs.h"
#include "app/version.h"

static int version_verb(int argc, char **argv);
static int help_verb(int argc, char **argv);

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary; /* NULL: another spelling of a verb */
} verbs[] = {
	{ "serve", serve_verb, "run the door: inbound, outbound, or both" },
	{ "check", check_verb, "is something in the way of this door? what to do" },
	{ "config", config_verb, "check or show a configuration" },
	{ "resolve", resolve_verb, "find a Matrix server, and say how" },
	{ "status", status_verb, "what the running doorstep is doing" },
	{ "sleep", sleep_verb, "say that a homeserver goes to sleep" },
	{ "wake", wake_verb, "wake a homeserver, or say that it is awake" },
	{ "queue", queue_verb, "look at what is kept for sleeping homeservers" },
	{ "--version", version_verb, "version and libraries" },
	{ "--help", help_verb, "this text; 'doorstep VERB --help' for a verb" },
	{ "version", version_verb, NULL },
	{ "help", help_verb, NULL },
	{ "-h", help_verb, NULL },
};

enum { VERB_COUNT = sizeof(verbs) / sizeof(verbs[0]) };

static int version_verb(int argc, char **argv)
{
	(void)argc, (void)argv;
	version_print();
	return EXIT_OK;
}

static int help_verb(int argc, char **argv)
{
	(void)argc, (void)argv;
	printf("doorstep - the door of a Matrix domain on an OpenWrt router\n\nusage: doorstep VERB ...\n\n");
	for (size_t i = 0; i < VERB_COUNT; i++)
		if (verbs[i].summary != NULL)
			printf("  %-10s %s\n", verbs[i].name, verbs[i].summary);
	printf("\nexamples:\n"
	       "  doorstep config check /etc/config/doorstep\n"
	       "  doorstep serve --config /etc/config/doorstep\n"
	       "  doorstep resolve matrix.org\n"
	       "\nexit status: 0 success, 1 failure, 2 wrong usage\n");
	return EXIT_OK;
}

static int unknown_verb(const char *word)
{
	struct suggest s;
	char           near[80];

	suggest_init(&s, str_of(word));
	for (size_t i = 0; i < VERB_COUNT; i++)
		suggest_offer(&s, verbs[i].name);
	fprintf(stderr, "doorstep: unknown verb '%s'%s; see 'doorstep --help'\n", word,
	        suggest_text(&s, near, sizeof(near)));
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "doorstep: say what to do; see 'doorstep --help'\n");
		return EXIT_USAGE;
	}
	for (size_t i = 0; i < VERB_COUNT; i++)
		if (strcmp(argv[1], verbs[i].name) == 0) {
			int code = verbs[i].run(argc - 1, argv + 1);

			/* a full disk or a closed pipe behind standard output is a failure too */
			return fflush(stdout) == 0 || code != EXIT_OK ? code : EXIT_FAILED;
		}
	return unknown_verb(argv[1]);
}
