#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <config.h> /* made from Kconfig */

#include "app/config_show.h"
#include "codec/json/tree.h"

enum { BUDGET = 1 << 20 };

/* What a printer printed. Free it. */
static char *printed(void (*print)(const struct config_document *d, FILE *out),
                     const struct config_document *d)
{
	char  *text = NULL;
	size_t len = 0;
	FILE  *f = open_memstream(&text, &len);

	assert_non_null(f);
	print(d, f);
	assert_int_equal(fclose(f), 0);
	return text;
}

static void print_manual(const struct config_document *d, FILE *out)
{
	(void)d;
	config_manual(out);
}

static void read_document(struct config_document *d, struct arena *arena, const char *from)
{
	static struct config_report report;
	const struct config_source  source = { .path = "F", .memory_kb = 120 << 10 };

	arena_init(arena, BUDGET);
	if (config_document_read(d, &source, str_of(from), arena, &report) != ERR_OK)
		fail_msg("%s", report.error);
}

static const char sample[] =
	"config doorstep 'main'\n\toption state_dir \"it's\"\n\tlist allow_range '10.0.0.0/8'\n"
	"config domain\n\toption server_name 'example.org'\n\toption expose 'media'\n"
	"\tlist support_contact 'role=m.role.admin email=\"a\"@b.c'\n"
	"config listen 'l'\n";

static void shows_what_is_and_what_is_assumed(void **state)
{
	struct config_document d;
	struct arena           arena;
	char                  *out;

	(void)state;
	read_document(&d, &arena, sample);
	out = printed(config_show, &d);
	assert_non_null(strstr(out, "# memory class 128\n"));
	assert_non_null(strstr(out, "\nconfig doorstep 'main'\n"));
	assert_non_null(strstr(out, "\toption enabled '0' # default\n"));
	assert_non_null(strstr(out, "\toption state_dir 'it'\\''s'\n"));
	assert_non_null(strstr(out, "\tlist allow_range '10.0.0.0/8'\n"));
	assert_non_null(strstr(out, "\nconfig domain\n"));
	assert_non_null(strstr(out, "\tlist expose 'media'\n"));
	assert_non_null(strstr(out, "\toption port '8448' # default\n"));
	assert_non_null(strstr(out, "\toption inbound_connections '128' # default\n"));
	assert_null(strstr(out, "dns '"));
	free(out);
	arena_fini(&arena);
}

/* Words are shown one by one, however they were written. */
static void shows_words(void **state)
{
	static const char text[] =
		"config homeserver 'a'\n\toption url 'http://192.168.1.20:8008'\n"
		"\tlist wake_on ' media  keys'\n\tlist wake_on 'join'\n"
		"config homeserver 'b'\n\toption url 'http://192.168.1.21:8008'\n"
		"\toption wake_mac '00:11:22:33:44:55'\n";
	struct config_document d;
	struct arena           arena;
	char                  *out;

	(void)state;
	read_document(&d, &arena, text);
	out = printed(config_show, &d);
	assert_non_null(strstr(out,
	                       "\tlist wake_on 'media'\n\tlist wake_on 'keys'\n"
	                       "\tlist wake_on 'join'\n"));
	assert_non_null(strstr(out,
	                       "\tlist wake_on 'message' # default\n"
	                       "\tlist wake_on 'to_device' # default\n"));
	assert_non_null(strstr(out, "\toption wake_mac '00:11:22:33:44:55'\n"));
	assert_non_null(strstr(out, "\toption queue_limit '32M' # default\n"));
	assert_non_null(strstr(out, "\toption probe_interval '30s' # default\n"));
	free(out);
	out = printed(config_show_json, &d);
	assert_non_null(strstr(out, "\"wake_on\":[\"media\",\"keys\",\"join\"]"));
	assert_non_null(strstr(out,
	                       "\"wake_on\":[\"message\",\"to_device\",\"invite\",\"keys\","
	                       "\"client\",\"join\"]"));
	free(out);
	arena_fini(&arena);
}

/* What is shown can be read again, and then shows the same. */
static void what_is_shown_is_a_configuration(void **state)
{
	struct config_document d, again;
	struct arena           arena, arena_again;
	char                  *out, *out_again, *mark;

	(void)state;
	read_document(&d, &arena, sample);
	out = printed(config_show, &d);
	read_document(&again, &arena_again, out);
	out_again = printed(config_show, &again);
	while ((mark = strstr(out, " # default")) != NULL)
		memmove(mark, mark + 10, strlen(mark + 10) + 1);
	/* sections that were absent have a name now */
	assert_string_equal(out, out_again);
	free(out);
	free(out_again);
	arena_fini(&arena);
	arena_fini(&arena_again);
}

static void shows_json(void **state)
{
	struct config_document  d;
	struct arena            arena;
	struct tree            *t;
	const struct tree_node *s, *options;
	struct str              got;
	int64_t                 n;
	bool                    flag = true;
	char                   *out;

	(void)state;
	read_document(&d, &arena, sample);
	out = printed(config_show_json, &d);
	assert_int_equal(tree_read(str_of(out), &t), ERR_OK);
	assert_int_equal(tree_integer(tree_get(tree_root(t), "memory_class"), &n), ERR_OK);
	assert_int_equal(n, 128);
	s = tree_first(tree_get(tree_root(t), "sections"));
	options = tree_get(s, "options");
	assert_int_equal(tree_text(tree_get(s, "type"), &got), ERR_OK);
	assert_true(str_is(got, "doorstep"));
	assert_int_equal(tree_bool(tree_get(options, "enabled"), &flag), ERR_OK);
	assert_false(flag);
	assert_int_equal(tree_text(tree_first(tree_get(options, "allow_range")), &got), ERR_OK);
	assert_true(str_is(got, "10.0.0.0/8"));
	assert_int_equal(tree_text(tree_first(tree_get(s, "defaults")), &got), ERR_OK);
	assert_true(str_is(got, "enabled"));
	s = tree_next(s);
	options = tree_get(s, "options");
	assert_int_equal(tree_text(tree_get(s, "name"), &got), ERR_OK);
	assert_true(str_is(got, "@domain[0]"));
	assert_int_equal(tree_text(tree_first(tree_get(options, "support_contact")), &got), ERR_OK);
	assert_true(str_is(got, "role=m.role.admin email=\"a\"@b.c"));
	s = tree_next(s);
	assert_int_equal(tree_integer(tree_get(tree_get(s, "options"), "port"), &n), ERR_OK);
	assert_int_equal(n, 8448);
	tree_free(t);
	free(out);
	arena_fini(&arena);
}

static char *read_whole(const char *path)
{
	FILE *f = fopen(path, "r");
	char *room = calloc(1, 256 * 1024);

	assert_non_null(f);
	assert_non_null(room);
	assert_true(fread(room, 1, 256 * 1024 - 1, f) > 0);
	fclose(f);
	return room;
}

/* docs/configuration.md is written by hand but for the tables; those come from `doorstep config manual`. */
static void the_manual_is_up_to_date(void **state)
{
	const bool is_standard = CONFIG_DOORSTEP_MAX_CONNECTIONS == 2048 &&
		CONFIG_DOORSTEP_MAX_HANDSHAKES == 32 && CONFIG_DOORSTEP_MAX_HEAD_BYTES == 65536 &&
		CONFIG_DOORSTEP_MAX_HEAD_FIELDS == 100 &&
		CONFIG_DOORSTEP_MAX_TARGET_BYTES == 16384 && CONFIG_DOORSTEP_MAX_DNS_QUERIES == 64;
	char *manual = printed(print_manual, NULL);
	char *page = read_whole(TESTS_DIR "/../docs/configuration.md");

	(void)state;
	if (is_standard && strstr(page, manual) == NULL)
		fail_msg(
			"docs/configuration.md: replace what is between the marks by the output of "
			"'doorstep config manual'");
	free(manual);
	free(page);
}

/* A configuration in the manual must be one. */
static void the_examples_of_the_manual_are_right(void **state)
{
	char    *page = read_whole(TESTS_DIR "/../docs/configuration.md"), *at = page;
	unsigned count = 0;

	(void)state;
	while ((at = strstr(at, "```uci\n")) != NULL) {
		struct config_document d;
		struct arena           arena;
		char                  *end = strstr(at + 7, "```\n");

		assert_non_null(end);
		*end = '\0';
		read_document(&d, &arena, at + 7);
		arena_fini(&arena);
		at = end + 4;
		count++;
	}
	assert_true(count >= 3);
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shows_what_is_and_what_is_assumed),
		cmocka_unit_test(shows_words),
		cmocka_unit_test(what_is_shown_is_a_configuration),
		cmocka_unit_test(shows_json),
		cmocka_unit_test(the_manual_is_up_to_date),
		cmocka_unit_test(the_examples_of_the_manual_are_right),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
