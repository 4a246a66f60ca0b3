/*
 * queue_verb.c - `doorstep queue ...`: what is kept for sleeping homeservers.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "app/ask.h"
#include "app/queue_carry_verb.h"
#include "app/verbs.h"
#include "app/words.h"
#include "base/cursor.h"
#include "codec/matrix/base64.h"
#include "store/queue.h"

enum { QUESTION_MAX = 160, ROOM_FOR_BODY = 64 * 1024, STATE_DIR_MAX = 4096 };

/* ---- questions ---- */

/* {"v":1,"command":COMMAND,KEY:NUMBER, and finished members */
static bool ask_about(struct ask *a, const char *command, const char *key, uint64_t number,
                      const char *more, struct tree **out)
{
	char          room[QUESTION_MAX];
	struct writer w = writer_over(room, sizeof(room));

	write_text(&w, "{\"v\":1,\"command\":");
	write_json_string(&w, str_of(command));
	write_text(&w, ",");
	write_json_string(&w, str_of(key));
	write_text(&w, ":");
	write_u64(&w, number);
	write_text(&w, more);
	write_text(&w, "}");
	return !w.failed && ask_tree(a, writer_done(&w), out);
}

static bool print_json(const struct ask *a)
{
	printf("%.*s\n", (int)a->answer.len, a->answer.ptr);
	return true;
}

/* ---- list ---- */

static const char *age_text(int64_t at_unix_ms, char out[WORDS_SIZE])
{
	int64_t now = (int64_t)time(NULL);

	return words_duration(
		now > at_unix_ms / 1000 ? (msec)(now - at_unix_ms / 1000) * SECOND_MS : 0, out);
}

static int width_of(const struct tree_node *items, const char *key, int least)
{
	int width = least;

	for (const struct tree_node *n = tree_first(items); n != NULL; n = tree_next(n)) {
		int len = (int)strlen(ask_text(n, key));

		width = len > width ? len : width;
	}
	return width < 48 ? width : 48;
}

static void print_items(const struct tree_node *items, bool head)
{
	int origin = width_of(items, "origin", 6), own = width_of(items, "server_name", 3);

	if (head)
		printf("%8s  %-7s  %-*s  %-*s  %9s  %-20s %5s  %s\n", "NUMBER", "STATE", origin,
		       "ORIGIN", own, "FOR", "SIZE", "AGE", "TRIES", "REASON");
	for (const struct tree_node *n = tree_first(items); n != NULL; n = tree_next(n)) {
		char size[WORDS_SIZE], age[WORDS_SIZE];

		printf("%8" PRId64 "  %-7s  %-*s  %-*s  %9s  %-20s %5" PRId64 "%s%s\n",
		       ask_number(n, "sequence"), ask_text(n, "state"), origin,
		       ask_text(n, "origin"), own, ask_text(n, "server_name"),
		       words_bytes((uint64_t)ask_number(n, "bytes"), size),
		       age_text(ask_number(n, "at_unix_ms"), age), ask_number(n, "tries"),
		       ask_has(n, "reason") ? "  " : "",
		       ask_has(n, "reason") ? ask_text(n, "reason") : "");
		if (ask_has(n, "stranded"))
			printf("          nobody is given it: %s %s\n", ask_text(n, "server_name"),
			       ask_text(n, "stranded"));
	}
}

static void print_page(const struct tree_node *root, bool first, bool parked)
{
	const struct tree_node *items = tree_get(root, "items");

	if (tree_first(items) != NULL)
		print_items(items, first);
	else if (first)
		printf(parked ? "nothing is parked\n" : "nothing is kept\n");
}

static bool print_pages(struct ask *a, bool parked, bool json)
{
	uint64_t after = 0;
	bool     first = true, more = true;

	while (more) {
		struct tree *t = NULL;

		if (!ask_about(a, "queue-list", "after", after, parked ? ",\"parked\":true" : "",
		               &t))
			return false;
		if (json)
			print_json(a);
		else
			print_page(tree_root(t), first, parked);
		more = ask_has(tree_root(t), "next") &&
			(uint64_t)ask_number(tree_root(t), "next") > after;
		after = (uint64_t)ask_number(tree_root(t), "next");
		first = false;
		tree_free(t);
	}
	return true;
}

static int list(int argc, char **argv, const struct cli *shape, bool parked)
{
	struct ask_where        where = { NULL, NULL };
	struct cli              cli = *shape;
	struct ask              a;
	bool                    json = false, ok;
	const struct cli_option options[] = {
		{ "json", NULL, "one line of JSON for each page of up to 32 items", NULL, &json },
		ASK_OPTIONS(&where),
		{ .name = NULL },
	};
	int done;

	cli.options = options;
	done = cli_parse(&cli, argc - 1, argv + 1);
	if (done != CLI_GO_ON)
		return done;
	ok = ask_open(&a, cli.name, &where) && print_pages(&a, parked, json);
	ask_close(&a);
	return ok ? EXIT_OK : EXIT_FAILED;
}

static int list_verb(int argc, char **argv)
{
	static const struct cli shape = {
		.name = "queue list",
		.about =
			"Lists what is kept: transactions that other servers were told are accepted,\n"
			"waiting for the homeserver or set aside for the owner.\n",
		.examples = "  doorstep queue list\n"
			    "  doorstep queue list --json | jq '.items[].origin'\n",
	};

	return list(argc, argv, &shape, false);
}

static int parked_verb(int argc, char **argv)
{
	static const struct cli shape = {
		.name = "queue parked",
		.about =
			"Lists what was set aside, and why: the homeserver refused it, or did not take it\n"
			"in many tries. 'queue retry' offers an item again, 'queue drop' throws it away.\n",
		.examples = "  doorstep queue parked\n",
	};

	return list(argc, argv, &shape, true);
}

/* ---- show ---- */

static void print_line(const char *name, const char *text)
{
	printf("%-15s %s\n", name, text);
}

static void print_state(const struct tree_node *item)
{
	char    first[WORDS_SIZE];
	int64_t tries = ask_number(item, "tries");

	printf("%-15s %s", "state", ask_text(item, "state"));
	if (ask_has(item, "reason"))
		printf(": %s", ask_text(item, "reason"));
	printf("\n%-15s %" PRId64, "tries", tries);
	if (ask_has(item, "first_try_unix_ms"))
		printf(", the first one %s ago",
		       age_text(ask_number(item, "first_try_unix_ms"), first));
	printf("\n");
}

static void print_arrival(int64_t at_unix_ms)
{
	char      age[WORDS_SIZE], when[64];
	time_t    at = (time_t)(at_unix_ms / 1000);
	struct tm tm;

	if (localtime_r(&at, &tm) == NULL ||
	    strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(when, sizeof(when), "?");
	printf("%-15s %s, %s ago\n", "came", when, age_text(at_unix_ms, age));
}

static void print_shown(const struct tree_node *root)
{
	const struct tree_node *item = tree_get(root, "item");
	char                    size[WORDS_SIZE];

	printf("%-15s %" PRId64 "\n", "number", ask_number(item, "sequence"));
	print_state(item);
	print_line("from", ask_text(item, "origin"));
	print_line("address", ask_text(root, "peer"));
	print_line("for", ask_text(item, "server_name"));
	print_arrival(ask_number(item, "at_unix_ms"));
	print_line("takes", words_bytes((uint64_t)ask_number(item, "bytes"), size));
	print_line("transaction", ask_text(root, "transaction_id"));
	printf("%-15s %s %s\n", "request", ask_text(root, "method"), ask_text(root, "target"));
	print_line("content type", ask_text(root, "content_type"));
	for (const struct tree_node *n = tree_first(tree_get(root, "authorization")); n != NULL;
	     n = tree_next(n))
		print_line("authorization", ask_text(n, NULL));
	print_line("body", words_bytes((uint64_t)ask_number(root, "body_bytes"), size));
	if (ask_flag(root, "head_cut"))
		printf("(long parts of the head are cut)\n");
}

/* False: the answer holds no piece. */
static bool print_piece(const struct tree_node *root, char *room)
{
	struct writer w = writer_over(room, ROOM_FOR_BODY);
	struct str    text;

	if (tree_text(tree_get(root, "body"), &text) == ERR_OK)
		return fwrite(text.ptr, 1, text.len, stdout) == text.len;
	if (tree_text(tree_get(root, "body_base64"), &text) != ERR_OK ||
	    base64_read(text, &w) != ERR_OK || w.failed)
		return false;
	text = writer_done(&w);
	return fwrite(text.ptr, 1, text.len, stdout) == text.len;
}

static bool print_body(struct ask *a, uint64_t sequence)
{
	char    *room = malloc(ROOM_FOR_BODY);
	char     more[64];
	uint64_t offset = 0;
	bool     ok = room != NULL, last = false;

	while (ok && !last) {
		struct tree *t = NULL;

		snprintf(more, sizeof(more), ",\"body\":true,\"offset\":%" PRIu64, offset);
		ok = ask_about(a, "queue-show", "sequence", sequence, more, &t);
		if (!ok)
			break;
		ok = print_piece(tree_root(t), room);
		if (!ok)
			fprintf(stderr, "doorstep %s: the answer holds no body\n", a->verb);
		last = (uint64_t)ask_number(tree_root(t), "next_offset") <= offset;
		offset = (uint64_t)ask_number(tree_root(t), "next_offset");
		tree_free(t);
	}
	free(room);
	return ok;
}

static bool show(struct ask *a, uint64_t sequence, bool json)
{
	struct tree *t = NULL;

	if (!ask_about(a, "queue-show", "sequence", sequence, "", &t))
		return false;
	if (json)
		print_json(a);
	else
		print_shown(tree_root(t));
	tree_free(t);
	return true;
}

/* The operand; 0: it is no number, which was said. */
static uint64_t number_operand(const struct cli *cli, const char *word)
{
	uint64_t n = 0;

	if (!str_to_u64(str_of(word), INT64_MAX, &n) || n == 0) {
		(void)cli_usage(cli, "no number of an item:", word);
		return 0;
	}
	return n;
}

static int show_verb(int argc, char **argv)
{
	struct ask_where        where = { NULL, NULL };
	const char             *word;
	bool                    json = false, body = false, ok;
	struct ask              a;
	uint64_t                n;
	const struct cli_option options[] = {
		{ "body", NULL, "the body as it came, and nothing else", NULL, &body },
		{ "json", NULL, "one line of JSON, without the body", NULL, &json },
		ASK_OPTIONS(&where),
		{ .name = NULL },
	};
	const struct cli cli = {
		.name = "queue show",
		.operands = "NUMBER",
		.operand_count = 1,
		.operand = &word,
		.about =
			"Shows one item of 'queue list': who sent it, when, how often it was offered.\n",
		.examples = "  doorstep queue show 17\n"
			    "  doorstep queue show 17 --body | jq .\n",
		.options = options,
	};
	int done = cli_parse(&cli, argc - 1, argv + 1);

	if (done != CLI_GO_ON)
		return done;
	n = number_operand(&cli, word);
	if (n == 0)
		return EXIT_USAGE;
	ok = ask_open(&a, cli.name, &where) && (body ? print_body(&a, n) : show(&a, n, json));
	ask_close(&a);
	return ok ? EXIT_OK : EXIT_FAILED;
}

/* ---- retry and drop ---- */

static bool settle(struct ask *a, const char *command, uint64_t sequence, const char *said,
                   bool json)
{
	struct tree *t = NULL;

	if (!ask_about(a, command, "sequence", sequence, "", &t))
		return false;
	if (json)
		print_json(a);
	else
		printf("item %" PRIu64 " %s\n", sequence, said);
	tree_free(t);
	return true;
}

static int settle_verb(int argc, char **argv, const struct cli *shape, const char *command,
                       const char *said)
{
	struct ask_where        where = { NULL, NULL };
	struct cli              cli = *shape;
	const char             *word;
	bool                    json = false, ok;
	struct ask              a;
	uint64_t                n;
	const struct cli_option options[] = {
		{ "json", NULL, "the answer as one line of JSON", NULL, &json },
		ASK_OPTIONS(&where),
		{ .name = NULL },
	};
	int done;

	cli.options = options;
	cli.operands = "NUMBER";
	cli.operand_count = 1;
	cli.operand = &word;
	done = cli_parse(&cli, argc - 1, argv + 1);
	if (done != CLI_GO_ON)
		return done;
	n = number_operand(&cli, word);
	if (n == 0)
		return EXIT_USAGE;
	ok = ask_open(&a, cli.name, &where) && settle(&a, command, n, said, json);
	ask_close(&a);
	return ok ? EXIT_OK : EXIT_FAILED;
}

static int retry_verb(int argc, char **argv)
{
	static const struct cli shape = {
		.name = "queue retry",
		.about =
			"Offers a parked item to the homeserver again, at its old place in the order.\n",
		.examples = "  doorstep queue retry 17\n",
	};

	return settle_verb(argc, argv, &shape, "queue-retry", "waits for the homeserver again");
}

static int drop_verb(int argc, char **argv)
{
	static const struct cli shape = {
		.name = "queue drop",
		.about =
			"Throws an item away. Its sender was told that it is accepted and will not send it\n"
			"again: what is in it is lost, unless the homeserver asks for it later.\n",
		.examples = "  doorstep queue drop 17\n",
	};

	return settle_verb(argc, argv, &shape, "queue-drop", "is gone");
}

/* ---- verify ---- */

static void print_report(const struct queue_report *r, enum err e)
{
	char size[WORDS_SIZE];

	printf("%-9s %zu waiting, %zu parked, %s\n", "items", r->items - r->parked, r->parked,
	       words_bytes(r->bytes, size));
	printf("%-9s %zu ids of items that are settled\n", "seen", r->seen);
	printf("%-9s %zu\n", "damaged", r->damaged);
	printf("%-9s %zu pieces left by a crash, harmless\n", "orphans", r->orphans);
	if (r->fault.text[0] != '\0')
		printf("%-9s %s\n", "found", r->fault.text);
	printf("%s\n", e == ERR_OK ? "the store is whole" : "the store is damaged");
}

static void print_report_json(const struct queue_report *r, enum err e)
{
	char          room[sizeof(r->fault.text) * 6 + 8];
	struct writer w = writer_over(room, sizeof(room));

	write_json_string(&w, str_of(r->fault.text));
	printf("{\"v\":1,\"whole\":%s,\"items\":%zu,\"parked\":%zu,\"seen\":%zu,\"damaged\":%zu,"
	       "\"orphans\":%zu,\"bytes\":%" PRIu64 ",\"last_sequence\":%" PRIu64
	       ",\"fault\":%.*s}\n",
	       e == ERR_OK ? "true" : "false", r->items, r->parked, r->seen, r->damaged, r->orphans,
	       r->bytes, r->last_sequence, (int)writer_done(&w).len, writer_done(&w).ptr);
}

static int verify(const char *state_dir, bool json)
{
	struct queue_report r;
	enum err            e;

	/* checking would make an empty one, and call it whole */
	switch (queue_place_of("queue verify", state_dir)) {
	case QUEUE_PLACE_EMPTY:
		fprintf(stderr, "doorstep queue verify: %s: there is no queue here\n", state_dir);
		return EXIT_FAILED;
	case QUEUE_PLACE_HIDDEN:
		return EXIT_FAILED;
	case QUEUE_PLACE_TAKEN:
		break;
	}
	memset(&r, 0, sizeof(r));
	e = queue_verify(state_dir, &r);
	if (e != ERR_OK && e != ERR_SYNTAX) {
		fprintf(stderr, "doorstep queue verify: %s: %s%s\n", state_dir,
		        r.fault.text[0] != '\0' ? r.fault.text : err_slug(e),
		        e == ERR_BUSY ? "; doorstep must not run meanwhile" : "");
		return EXIT_FAILED;
	}
	if (json)
		print_report_json(&r, e);
	else
		print_report(&r, e);
	return e == ERR_OK ? EXIT_OK : EXIT_FAILED;
}

static int verify_verb(int argc, char **argv)
{
	const char             *config = NULL;
	char                    state_dir[STATE_DIR_MAX];
	bool                    json = false;
	const struct cli_option options[] = {
		{ "config", "FILE", "the configuration, for its state_dir (needed)", &config,
		  NULL },
		{ "json", NULL, "the report as one line of JSON", NULL, &json },
		{ .name = NULL },
	};
	const struct cli cli = {
		.name = "queue verify",
		.about =
			"Reads everything that is kept and says whether it is whole. doorstep must not run.\n"
			"What an interrupted write left is put right, as at every start.\n",
		.examples = "  doorstep queue verify --config /etc/config/doorstep\n",
		.options = options,
	};
	int done = cli_parse(&cli, argc - 1, argv + 1);

	if (done != CLI_GO_ON)
		return done;
	if (config == NULL)
		return cli_usage(&cli, "missing:", "--config FILE");
	if (!ask_main_option(config, "state_dir", state_dir, sizeof(state_dir)))
		return EXIT_FAILED;
	return verify(state_dir, json);
}

/* ---- the verb ---- */

static const struct part {
	const char *name;
	int (*run)(int argc, char **argv);
} parts[] = {
	{ "list", list_verb },           { "parked", parked_verb },
	{ "show", show_verb },           { "retry", retry_verb },
	{ "drop", drop_verb },           { "verify", verify_verb },
	{ "count", queue_count_verb },   { "export", queue_export_verb },
	{ "import", queue_import_verb },
};

int queue_verb(int argc, char **argv)
{
	static const struct cli cli = {
		.name = "queue",
		.operands = "list|parked|show|count|retry|drop|verify|export|import ...",
		.about = "  list                   what is kept for sleeping homeservers\n"
			 "  parked                 what was set aside, and why\n"
			 "  show NUMBER            one item\n"
			 "  retry NUMBER           offer a parked item again\n"
			 "  drop NUMBER            throw an item away\n"
			 "  count                  how many items there are\n"
			 "  verify --config FILE   is the store whole? (doorstep must not run)\n"
			 "  export, import FILE    all of it in a file, past an upgrade (ditto)\n"
			 "\nEach has its own --help.\n",
		.examples = "  doorstep queue list\n"
			    "  doorstep queue show 17\n",
	};

	if (argc < 2)
		return cli_usage(
			&cli, "missing:",
			"list, parked, show, count, retry, drop, verify, export or import");
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strcmp(argv[1], parts[i].name) == 0)
			return parts[i].run(argc - 1, argv + 1);
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
		cli_help(&cli);
		return EXIT_OK;
	}
	return cli_usage(&cli, "unknown:", argv[1]);
}
