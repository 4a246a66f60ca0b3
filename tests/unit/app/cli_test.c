#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "app/cli.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static const struct row {
	const char *args[6];
	int         want;
	const char *config; /* of --config */
	bool        json;
	const char *name; /* the operand */
} rows[] = {
	{ { "x" }, CLI_GO_ON, NULL, false, "x" },
	{ { "x", "--json" }, CLI_GO_ON, NULL, true, "x" },
	{ { "--json", "x" }, CLI_GO_ON, NULL, true, "x" },
	{ { "--config", "f", "x" }, CLI_GO_ON, "f", false, "x" },
	{ { "--config=f", "x" }, CLI_GO_ON, "f", false, "x" },
	{ { "--config=", "x" }, CLI_GO_ON, "", false, "x" },
	{ { "--config=a=b", "x" }, CLI_GO_ON, "a=b", false, "x" },
	{ { "--config", "a", "--config", "b", "x" }, CLI_GO_ON, "b", false, "x" },
	{ { "--config", "--json", "x" }, CLI_GO_ON, "--json", false, "x" },
	{ { "--", "--json" }, CLI_GO_ON, NULL, false, "--json" },
	{ { "-" }, CLI_GO_ON, NULL, false, "-" },
	{ { "--help" }, EXIT_OK, NULL, false, NULL },
	{ { "-h" }, EXIT_OK, NULL, false, NULL },
	{ { "x", "--help", "--nonsense" }, EXIT_OK, NULL, false, NULL },
	{ { NULL }, EXIT_USAGE, NULL, false, NULL },
	{ { "x", "y" }, EXIT_USAGE, NULL, false, NULL },
	{ { "x", "--config" }, EXIT_USAGE, NULL, false, NULL },
	{ { "x", "--json=1" }, EXIT_USAGE, NULL, false, NULL },
	{ { "x", "--jso" }, EXIT_USAGE, NULL, false, NULL },
	{ { "x", "--jsonx" }, EXIT_USAGE, NULL, false, NULL },
	{ { "x", "-j" }, EXIT_USAGE, NULL, false, NULL },
	{ { "x", "--", "--help" }, EXIT_USAGE, NULL, false, NULL },
};

static void reads_arguments(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(rows); i++) {
		const struct row       *r = &rows[i];
		const char             *config = NULL, *name = NULL;
		bool                    json = false;
		char                   *args[6] = { NULL };
		int                     count = 0;
		const struct cli_option options[] = {
			{ "config", "FILE", "a file", &config, NULL },
			{ "json", NULL, "as JSON", NULL, &json },
			{ .name = NULL },
		};
		const struct cli cli = { .name = "test",
			                 .operands = "NAME",
			                 .operand_count = 1,
			                 .operand = &name,
			                 .about = "Tests.\n",
			                 .examples = "  none\n",
			                 .options = options };

		for (; count < 6 && r->args[count] != NULL; count++)
			args[count] = (char *)(uintptr_t)r->args[count];
		print_message("  row %zu\n", i);
		assert_int_equal(cli_parse(&cli, count, args), r->want);
		if (r->want != CLI_GO_ON)
			continue;
		assert_int_equal(json, r->json);
		assert_string_equal(name, r->name);
		assert_true((config == NULL) == (r->config == NULL));
		if (config != NULL)
			assert_string_equal(config, r->config);
	}
}

static void the_last_operands_may_be_missing(void **state)
{
	static const struct {
		const char *args[3];
		int         count, want;
		const char *got[2];
	} rows_here[] = {
		{ { NULL }, 0, EXIT_USAGE, { "x", "x" } },
		{ { "a" }, 1, CLI_GO_ON, { "a", NULL } },
		{ { "a", "b" }, 2, CLI_GO_ON, { "a", "b" } },
		{ { "a", "b", "c" }, 3, EXIT_USAGE, { "a", "b" } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(rows_here); i++) {
		const char      *operand[2] = { "x", "x" };
		char            *args[3] = { NULL };
		const struct cli cli = { .name = "test",
			                 .operands = "A [B]",
			                 .operand_count = 2,
			                 .operands_optional = 1,
			                 .operand = operand };

		for (int k = 0; k < rows_here[i].count; k++)
			args[k] = (char *)(uintptr_t)rows_here[i].args[k];
		assert_int_equal(cli_parse(&cli, rows_here[i].count, args), rows_here[i].want);
		for (size_t k = 0; k < 2; k++)
			if (rows_here[i].got[k] == NULL)
				assert_null(operand[k]);
			else
				assert_string_equal(operand[k], rows_here[i].got[k]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_arguments),
		cmocka_unit_test(the_last_operands_may_be_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
