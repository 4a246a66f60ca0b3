#include "app/cli.h"

#include <stdio.h>
#include <string.h>

int cli_usage(const struct cli *c, const char *what, const char *word)
{
	fprintf(stderr, "doorstep %s: %s%s%s; see 'doorstep %s --help'\n", c->name, what,
	        word[0] == '\0' ? "" : " ", word, c->name);
	return EXIT_USAGE;
}

static void print_usage_line(const struct cli *c)
{
	printf("usage: doorstep %s", c->name);
	for (const struct cli_option *o = c->options; o != NULL && o->name != NULL; o++)
		printf(o->value_name == NULL ? " [--%s]" : " [--%s %s]", o->name, o->value_name);
	if (c->operands != NULL)
		printf(" %s", c->operands);
	printf("\n");
}

void cli_help(const struct cli *c)
{
	char left[64];

	print_usage_line(c);
	printf("\n%s", c->about);
	printf("\noptions:\n");
	for (const struct cli_option *o = c->options; o != NULL && o->name != NULL; o++) {
		snprintf(left, sizeof(left), "--%s%s%s", o->name, o->value_name == NULL ? "" : " ",
		         o->value_name == NULL ? "" : o->value_name);
		printf("  %-22s %s\n", left, o->help);
	}
	printf("  %-22s %s\n", "--help", "this text");
	printf("\nexamples:\n%s", c->examples);
	printf("\nexit status: 0 success, 1 failure, 2 wrong usage\n");
}

/* The option that a word "name" or "name=value" names; *value is what follows the equals sign. */
static const struct cli_option *find_option(const struct cli *c, const char *word,
                                            const char **value)
{
	size_t len = strcspn(word, "=");

	*value = word[len] == '=' ? word + len + 1 : NULL;
	for (const struct cli_option *o = c->options; o != NULL && o->name != NULL; o++)
		if (strlen(o->name) == len && memcmp(o->name, word, len) == 0)
			return o;
	return NULL;
}

/* args[*i] begins with two dashes. */
static int take_option(const struct cli *c, int count, char *const *args, int *i)
{
	const char              *value;
	const struct cli_option *o = find_option(c, args[*i] + 2, &value);

	if (strcmp(args[*i], "--help") == 0) {
		cli_help(c);
		return EXIT_OK;
	}
	if (o == NULL)
		return cli_usage(c, "unknown option", args[*i]);
	if (o->value_name == NULL && value != NULL)
		return cli_usage(c, "no value belongs to", args[*i]);
	if (o->value_name != NULL && value == NULL) {
		if (*i + 1 >= count)
			return cli_usage(c, "a value is missing behind", args[*i]);
		value = args[++*i];
	}
	if (o->value != NULL)
		*o->value = value;
	if (o->seen != NULL)
		*o->seen = true;
	return CLI_GO_ON;
}

int cli_parse(const struct cli *c, int count, char *const *args)
{
	size_t operands = 0;
	bool   only_operands = false;

	for (int i = 0; i < count; i++) {
		int done = CLI_GO_ON;

		if (!only_operands && strcmp(args[i], "--") == 0)
			only_operands = true;
		else if (!only_operands && strncmp(args[i], "--", 2) == 0)
			done = take_option(c, count, args, &i);
		else if (!only_operands && args[i][0] == '-' && args[i][1] != '\0')
			done = strcmp(args[i], "-h") == 0 ? (cli_help(c), EXIT_OK)
							  : cli_usage(c, "unknown option", args[i]);
		else if (operands == c->operand_count)
			done = cli_usage(c, "one word too many:", args[i]);
		else
			c->operand[operands++] = args[i];
		if (done != CLI_GO_ON)
			return done;
	}
	if (operands + c->operands_optional < c->operand_count)
		return cli_usage(c, "missing:", c->operands);
	while (operands < c->operand_count)
		c->operand[operands++] = NULL;
	return CLI_GO_ON;
}
