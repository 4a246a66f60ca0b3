/*
 * cli.h - reading a verb's arguments and writing its help from one description.
 */
#ifndef APP_CLI_H
#define APP_CLI_H

#include <stdbool.h>
#include <stddef.h>

/* Exit codes of every verb. */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

struct cli_option {
	const char *name;       /* without the dashes */
	const char *value_name; /* NULL: a switch */
	const char *help;
	const char *
		*value; /* where the value goes ("--name V" or "--name=V"; the last one counts) */
	bool    *seen;  /* a switch: set to true; may be NULL otherwise */
};

struct cli {
	const char  *name;                /* "config check" */
	const char  *operands;            /* as shown: "FILE"; NULL: none */
	size_t       operand_count;       /* exactly so many */
	size_t       operands_optional;   /* so many of the last may be missing: NULL then */
	const char **operand;             /* room for operand_count */
	const char  *about;               /* what it does, sentences ended by newlines */
	const char  *examples;            /* lines ended by newlines */
	const struct cli_option *options; /* ended by a NULL name; NULL: none */
};

enum { CLI_GO_ON = -1 };

/*
 * args are what follows the verb. CLI_GO_ON: everything was understood. EXIT_OK: --help was asked for
 * and printed. EXIT_USAGE: the mistake was printed. `--` ends the options.
 */
int cli_parse(const struct cli *c, int count, char *const *args);

/* "doorstep NAME: sentence" on standard error, with a pointer to --help. Returns EXIT_USAGE. */
int cli_usage(const struct cli *c, const char *what, const char *word);

void cli_help(const struct cli *c);

#endif
