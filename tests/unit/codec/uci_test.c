#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/cursor.h"
#include "codec/uci.h"
#include "support/exact.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

enum { BUDGET = 1 << 20 };

/* "type name{option=value list=[a|b]}" for each section; an anonymous one is called @index. */
static void dump(const struct uci *u, struct writer *w)
{
	for (const struct uci_section *s = u->first; s != NULL; s = s->next) {
		write_str(w, s->type);
		write_char(w, ' ');
		if (s->name.len == 0) {
			write_char(w, '@');
			write_u64(w, s->index);
		}
		write_str(w, s->name);
		write_char(w, '{');
		for (const struct uci_option *o = s->first; o != NULL; o = o->next) {
			write_str(w, o->name);
			write_text(w, o->is_list ? "=[" : "=");
			for (const struct uci_value *v = o->first; v != NULL; v = v->next) {
				write_str(w, v->text);
				write_text(w, v->next == NULL ? "" : "|");
			}
			write_text(w, o->is_list ? "]" : "");
			write_text(w, o->next == NULL ? "" : " ");
		}
		write_char(w, '}');
	}
}

#define HEAD "config a b\n"

static const struct row {
	const char *what;
	struct str  text;
	const char *want;
} good[] = {
	/* sections */
	{ "empty file", STR(""), "" },
	{ "blank lines", STR("\n  \n\t\v\f\r\n"), "" },
	{ "named", STR("config domain home\n"), "domain home{}" },
	{ "named, quoted", STR("config 'domain' \"home\"\n"), "domain home{}" },
	{ "anonymous", STR("config domain\nconfig x\nconfig domain\n"),
	  "domain @0{}x @0{}domain @1{}" },
	{ "anonymous counts named ones", STR("config d n\nconfig d\n"), "d n{}d @1{}" },
	{ "empty name is anonymous", STR("config domain ''\n"), "domain @0{}" },
	{ "type of any printable ASCII", STR("config d-o!m.~ n\n"), "d-o!m.~ n{}" },
	{ "name of digits", STR("config d 0_9\n"), "d 0_9{}" },
	{ "same name and type merge",
	  STR("config d n\noption a 1\nconfig e m\nconfig d n\noption b 2\n"),
	  "d n{a=1 b=2}e m{}" },
	{ "no final newline", STR("config d n\noption a 1"), "d n{a=1}" },
	{ "no final newline, anonymous", STR("config d"), "d @0{}" },
	{ "indented", STR(" \t\v\f config d n\n\t option a 1\n"), "d n{a=1}" },
	/* keywords */
	{ "short keywords", STR("p pkg\nc d n\no a 1\nl b 2\n"), "d n{a=1 b=[2]}" },
	{ "TAB behind the keyword", STR("config\td n\noption\ta\t1\n"), "d n{a=1}" },
	{ "package", STR("package foo\nconfig d n\n"), "d n{}" },
	{ "package of another name", STR("package 'a-b_9'\nconfig d n\npackage x\noption a 1\n"),
	  "d n{a=1}" },
	/* quotes */
	{ "glued pieces", STR(HEAD "option a 'a'\"b\"c\n"), "a b{a=abc}" },
	{ "single quotes are literal", STR(HEAD "option a 'x\\n\\'\n"), "a b{a=x\\n\\}" },
	{ "apostrophe by gluing", STR(HEAD "option a 'it'\\''s'\n"), "a b{a=it's}" },
	{ "apostrophe in double quotes", STR(HEAD "option a \"it's\"\n"), "a b{a=it's}" },
	{ "backslash in double quotes", STR(HEAD "option a \"a\\nb\\\"c\\\\d\"\n"),
	  "a b{a=anb\"c\\d}" },
	{ "backslash in bare text", STR(HEAD "option a a\\b\\ c\\\\\n"), "a b{a=ab c\\}" },
	{ "lines in single quotes", STR(HEAD "option a 'x\ny\n'\noption c 1\n"),
	  "a b{a=x\ny\n c=1}" },
	{ "lines in double quotes", STR(HEAD "option a \"x\ny\"\n"), "a b{a=x\ny}" },
	{ "keywords in quotes", STR(HEAD "option a '\noption b 1\n'\n"), "a b{a=\noption b 1\n}" },
	{ "continuation in bare text", STR(HEAD "option a x\\\ny\n"), "a b{a=xy}" },
	{ "continuation in double quotes", STR(HEAD "option a \"x\\\ny\"\n"), "a b{a=xy}" },
	{ "continuation of CRLF lines", STR(HEAD "option a x\\\r\ny\n"), "a b{a=xy}" },
	{ "continuation at the end", STR(HEAD "option a x\\"), "a b{a=x}" },
	{ "quoted names", STR(HEAD "option 'o'\"p\" 1\n"), "a b{op=1}" },
	{ "other bytes", STR(HEAD "option a \"\xc3\xbc\x01\xff\"\n"), "a b{a=\xc3\xbc\x01\xff}" },
	/* comments */
	{ "comment line", STR("# config x\n\t#y\nconfig d n\n"), "d n{}" },
	{ "comment line does not go on", STR("# x \\\nconfig d n\n"), "d n{}" },
	{ "comment behind a value", STR(HEAD "option a 1 # 2\noption c 1# 2\n"), "a b{a=1 c=1}" },
	{ "comment within a word", STR(HEAD "option a d#e\n"), "a b{a=d}" },
	{ "comment behind a quote", STR(HEAD "option a 'd'#e\n"), "a b{a=d}" },
	{ "number sign in quotes", STR(HEAD "option a 'd#e'\noption c \"f#g\"\n"),
	  "a b{a=d#e c=f#g}" },
	{ "number sign escaped", STR(HEAD "option a d\\#e\n"), "a b{a=d#e}" },
	/* semicolons */
	{ "in quotes", STR(HEAD "option a '1;2'\n"), "a b{a=1;2}" },
	{ "behind a quote", STR(HEAD "option a '1';option c '2'\n"), "a b{a=1 c=2}" },
	{ "behind a blank", STR(HEAD "option a 1 ; option c 2\n"), "a b{a=1 c=2}" },
	{ "behind a bare word drops the line", STR(HEAD "option a 1;2\noption c 3\n"),
	  "a b{a=1 c=3}" },
	{ "behind a bare section drops the line", STR("config x y; option a 1\n"), "x y{}" },
	{ "behind a bare word with an escape", STR(HEAD "option a 1\\2;option c 3\n"),
	  "a b{a=12 c=3}" },
	{ "of a section", STR("config x y ; option a 1\n"), "x y{a=1}" },
	/* line ends */
	{ "CRLF", STR("config d n\r\n\toption a 1\r\n\r\n"), "d n{a=1}" },
	{ "CR in quotes stays", STR(HEAD "option a 'x\r\ny'\r\n"), "a b{a=x\r\ny}" },
	/* values */
	{ "missing value does nothing", STR(HEAD "option a\n"), "a b{}" },
	{ "empty value does nothing", STR(HEAD "option a 1\noption a ''\noption c \"\"\n"),
	  "a b{a=1}" },
	{ "last value wins, first place", STR(HEAD "option a 1\noption c 2\noption a 3\n"),
	  "a b{a=3 c=2}" },
	{ "list", STR(HEAD "list a 1\nlist a 1\nlist a 2\n"), "a b{a=[1|1|2]}" },
	{ "list items missing and empty", STR(HEAD "list a\nlist a ''\nlist a x\n"),
	  "a b{a=[||x]}" },
	{ "option becomes list", STR(HEAD "option a 1\nlist a 2\n"), "a b{a=[1|2]}" },
	{ "list becomes option", STR(HEAD "list a 1\nlist a 2\noption a 3\n"), "a b{a=3}" },
	{ "an empty option leaves the list", STR(HEAD "list a 1\noption a ''\n"), "a b{a=[1]}" },
	/* what uci export prints */
	{ "export",
	  STR("package doorstep\n\nconfig doorstep 'main'\n\toption enabled '1'\n"
	      "\nconfig domain\n\tlist expose 'a'\n\tlist expose 'it'\\''s'\n\n"),
	  "doorstep main{enabled=1}domain @0{expose=[a|it's]}" },
	{ "export -n", STR("package p\n\nconfig domain 'cfg017389'\n\toption a 'b'\n\n"),
	  "domain cfg017389{a=b}" },
	{ "what commit writes", STR("\nconfig d 'n'\n\toption a 'x\n\ty\n'\n\tlist b ''\n"),
	  "d n{a=x\n\ty\n b=[]}" },
};

static const struct bad_row {
	struct str  text;
	const char *reason;
	unsigned    line, column;
} bad[] = {
	{ STR("config"), "config without name", 1, 1 },
	{ STR("config\n"), "invalid command", 1, 1 },
	{ STR("config \n"), "insufficient arguments", 1, 9 },
	{ STR("config ''\n"), "insufficient arguments", 1, 8 },
	{ STR("config # x\n"), "insufficient arguments", 1, 8 },
	{ STR("package"), "package without name", 1, 1 },
	{ STR("package a.b\n"), "invalid character in name field", 1, 9 },
	{ STR(HEAD "option"), "option without name", 2, 1 },
	{ STR(HEAD "list"), "option without name", 2, 1 },
	{ STR(HEAD "  option\n"), "invalid command", 2, 3 },
	{ STR(HEAD "option\va 1\n"), "invalid command", 2, 1 },
	{ STR("foo x\n"), "invalid command", 1, 1 },
	{ STR("Config d n\n"), "invalid command", 1, 1 },
	{ STR("'config' d n\n"), "invalid command", 1, 1 },
	{ STR("conf d n\n"), "invalid command", 1, 1 },
	{ STR("\xef\xbb\xbf"
	      "config d n\n"),
	  "invalid command", 1, 1 },
	{ STR("option a 1\n"), "option/list command found before the first section", 1, 1 },
	{ STR("package p\nlist a 1\n"), "option/list command found before the first section", 2,
	  1 },
	{ STR("config d n x\n"), "too many arguments", 1, 12 },
	{ STR(HEAD "option a 1 2\n"), "too many arguments", 2, 12 },
	{ STR(HEAD "option a \\\n 'v'\n"), "too many arguments", 3, 2 },
	{ STR(HEAD "option 'a';option c 1\n"), "too many arguments", 2, 12 },
	{ STR("config d ; option a 1\n"), "too many arguments", 1, 12 },
	{ STR(HEAD "option \\\n a 1\n"), "insufficient arguments", 2, 8 },
	{ STR("config d a-b\n"), "invalid character in name field", 1, 10 },
	{ STR("config d a.b\n"), "invalid character in name field", 1, 10 },
	{ STR("config d 'a b'\n"), "invalid character in name field", 1, 10 },
	{ STR("config d \xc3\xbc\n"), "invalid character in name field", 1, 10 },
	{ STR("config 'd e' n\n"), "invalid character in type field", 1, 8 },
	{ STR("config d\xc3\xbc n\n"), "invalid character in type field", 1, 8 },
	{ STR(HEAD "option a-b 1\n"), "invalid character in name field", 2, 8 },
	{ STR("config d n\nconfig e n\n"),
	  "section of different type overwrites prior section with same name", 2, 10 },
	{ STR(HEAD "option a 'x\noption b 1\n"), "EOF with unterminated '", 2, 10 },
	{ STR(HEAD "option a \"x\\\"\noption b 1\n"), "EOF with unterminated \"", 2, 10 },
	{ STR(HEAD "option a \"x\\"), "EOF with unterminated \"", 2, 10 },
	{ STR(HEAD "option a 'x'; \n"), "invalid command", 2, 15 },
	{ STR("doorstep.main=doorstep\ndoorstep.main.enabled='1'\n"), "invalid command", 1, 1 },
	{ STR(HEAD "option a 1\nopt\0ion b 1\n"), "NUL byte", 3, 4 },
	{ STR("\0"), "NUL byte", 1, 1 },
};

static const struct row lenient[] = {
	{ "bad lines are left out", STR("foo\nconfig d n\noption\noption a 1\nbar x\noption b 2\n"),
	  "d n{a=1 b=2}" },
	{ "surplus words are ignored", STR("config d n x\noption a 1 2\n"), "d n{a=1}" },
	{ "another type takes over", STR("config d n\noption a 1\nconfig e n\noption b 2\n"),
	  "e n{a=1 b=2}" },
	{ "and no longer counts among its old type",
	  STR("config d n\nconfig d\nconfig e\nconfig e n\n"), "e n{}d @0{}e @1{}" },
	{ "an open quote swallows the rest", STR("config d n\noption a 'x\noption b 2\n"),
	  "d n{}" },
};

static void expect(struct str text, enum uci_mode mode, const char *want)
{
	char             got[1024];
	struct writer    w = writer_over(got, sizeof(got));
	struct arena     arena;
	struct uci       uci;
	struct uci_fault fault;

	arena_init(&arena, BUDGET);
	assert_int_equal(uci_parse(text, mode, &arena, &uci, &fault), ERR_OK);
	dump(&uci, &w);
	assert_false(w.failed);
	assert_int_equal(writer_done(&w).len, strlen(want));
	assert_memory_equal(got, want, strlen(want));
	arena_fini(&arena);
}

static void reads_what_libuci_reads(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(good); i++) {
		print_message("  %s\n", good[i].what);
		expect(good[i].text, UCI_STRICT, good[i].want);
	}
}

static void lenient_reads_on(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(lenient); i++) {
		print_message("  %s\n", lenient[i].what);
		expect(lenient[i].text, UCI_LENIENT, lenient[i].want);
	}
}

static void refuses_with_place_and_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		struct arena     arena;
		struct uci       uci;
		struct uci_fault fault;

		print_message("  %.*s\n", (int)bad[i].text.len, bad[i].text.ptr);
		arena_init(&arena, BUDGET);
		assert_int_equal(uci_parse(bad[i].text, UCI_STRICT, &arena, &uci, &fault),
		                 ERR_SYNTAX);
		assert_string_equal(fault.reason, bad[i].reason);
		assert_int_equal(fault.place.line, bad[i].line);
		assert_int_equal(fault.place.column, bad[i].column);
		arena_fini(&arena);
	}
}

static void knows_where_things_stand(void **state)
{
	static const struct str text =
		STR("package p\nconfig d 'n'\n\toption  one 'x\n y'\n\tlist two a\n"
	            "\tlist two \"b\"\n");
	struct arena             arena;
	struct uci               uci;
	struct uci_fault         fault;
	const struct uci_option *o;

	(void)state;
	arena_init(&arena, BUDGET);
	assert_int_equal(uci_parse(text, UCI_STRICT, &arena, &uci, &fault), ERR_OK);
	assert_null(fault.reason);
	assert_int_equal(uci.first->place.line, 2);
	assert_int_equal(uci.first->place.column, 8);
	o = uci_option(uci.first, "one");
	assert_non_null(o);
	assert_int_equal(o->place.line, 3);
	assert_int_equal(o->place.column, 10);
	assert_int_equal(o->first->place.line, 3);
	assert_int_equal(o->first->place.column, 14);
	o = uci_option(uci.first, "two");
	assert_int_equal(o->first->next->place.line, 6);
	assert_int_equal(o->first->next->place.column, 11);
	assert_null(uci_option(uci.first, "three"));
	arena_fini(&arena);
}

/* as `uci export` and commit write values: in single quotes, each of those inside as '\'' */
static void write_exported(struct writer *w, struct str value)
{
	write_char(w, '\'');
	for (size_t i = 0; i < value.len; i++)
		if (value.ptr[i] == '\'')
			write_text(w, "'\\''");
		else
			write_char(w, value.ptr[i]);
	write_char(w, '\'');
}

static void any_value_survives_export(void **state)
{
	static const char piece[] = "'\"\\;# \t\r\nab\xc3\xbc\x01\x7f$`";
	unsigned          seed = 1;

	(void)state;
	for (unsigned round = 0; round < 2000; round++) {
		char             value[16], text[128];
		struct writer    w = writer_over(text, sizeof(text));
		size_t           len = 1 + round % sizeof(value);
		struct arena     arena;
		struct uci       uci;
		struct uci_fault fault;

		for (size_t i = 0; i < len; i++) {
			seed = seed * 1103515245 + 12345;
			value[i] = piece[(seed >> 16) % (sizeof(piece) - 1)];
		}
		write_text(&w, "config d 'n'\n\toption a ");
		write_exported(&w, str_span(value, len));
		write_text(&w, "\n\toption z '1'\n\n");
		assert_false(w.failed);
		arena_init(&arena, BUDGET);
		assert_int_equal(uci_parse(writer_done(&w), UCI_STRICT, &arena, &uci, &fault),
		                 ERR_OK);
		assert_true(str_eq(uci_option(uci.first, "a")->first->text, str_span(value, len)));
		assert_non_null(uci_option(uci.first, "z"));
		arena_fini(&arena);
	}
}

static void every_prefix_stays_within(void **state)
{
	static const struct str text = STR(
		"package p\nconfig d 'n' # c\n\toption a \"x\\\n\\\"y\" ; o b\\ \\\nc;d\n\tlist l 'it'\\''s'\r\n");

	(void)state;
	for (size_t n = 0; n <= text.len; n++) {
		struct exact     x;
		struct str       prefix = exact_copy(&x, str_head(text, n));
		struct arena     arena;
		struct uci       uci;
		struct uci_fault fault;
		enum err         e;

		arena_init(&arena, BUDGET);
		e = uci_parse(prefix, UCI_STRICT, &arena, &uci, &fault);
		assert_true((e == ERR_OK) == (fault.reason == NULL));
		arena_fini(&arena);
		exact_free(&x);
	}
}

static void large_files_are_read(void **state)
{
	char            *text = malloc(300 * 1024);
	struct writer    w = writer_over(text, 300 * 1024);
	struct arena     arena;
	struct uci       uci;
	struct uci_fault fault;
	size_t           sections = 0;

	(void)state;
	write_text(&w, "config d big\n\toption a '");
	for (unsigned i = 0; i < 200000; i++)
		write_char(&w, 'x');
	write_text(&w, "'\n");
	for (unsigned i = 0; i < 300; i++) {
		write_text(&w, "config d s");
		write_u64(&w, i);
		write_text(&w, "\n\toption a 1\n");
	}
	assert_false(w.failed);
	arena_init(&arena, BUDGET);
	assert_int_equal(uci_parse(writer_done(&w), UCI_STRICT, &arena, &uci, &fault), ERR_OK);
	assert_int_equal(uci_option(uci.first, "a")->first->text.len, 200000);
	for (const struct uci_section *s = uci.first; s != NULL; s = s->next)
		sections++;
	assert_int_equal(sections, 301);
	assert_int_equal(uci.last->index, 300);
	arena_fini(&arena);
	free(text);
}

static void budget_is_kept(void **state)
{
	static const struct str text = STR("config d n\noption a 1\nlist b 2\nlist b 3\n");
	size_t                  budget = 0, failures = 0;
	enum err                e;

	(void)state;
	do {
		struct arena     arena;
		struct uci       uci;
		struct uci_fault fault;

		arena_init(&arena, budget);
		e = uci_parse(text, UCI_STRICT, &arena, &uci, &fault);
		assert_true(e == ERR_OK || e == ERR_NOMEM);
		assert_null(fault.reason);
		failures += e == ERR_NOMEM;
		arena_fini(&arena);
		budget += 16;
	} while (e != ERR_OK && budget < 8192);
	assert_int_equal(e, ERR_OK);
	assert_true(failures > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_what_libuci_reads),
		cmocka_unit_test(refuses_with_place_and_reason),
		cmocka_unit_test(lenient_reads_on),
		cmocka_unit_test(knows_where_things_stand),
		cmocka_unit_test(any_value_survives_export),
		cmocka_unit_test(every_prefix_stays_within),
		cmocka_unit_test(large_files_are_read),
		cmocka_unit_test(budget_is_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
