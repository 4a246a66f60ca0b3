/*
 * sleep_verb.c - `doorstep sleep` and `doorstep wake`, by the owner's hand.
 */
#include <stdio.h>
#include <string.h>

#include "app/ask.h"
#include "app/verbs.h"
#include "app/words.h"
#include "base/cursor.h"

/* What awake_must_stay() says, for people. */
static const char *reason_text(const char *slug)
{
	static const struct {
		const char *slug, *text;
	} rows[] = {
		{ "handing-over", "it is being given what was kept for it" },
		{ "wanted", "it was woken for somebody" },
		{ "sending", "its own messages are still going out" },
		{ "questions", "other servers are about to ask about what it sent" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].slug, slug) == 0)
			return rows[i].text;
	return slug;
}

/* False: does not fit. */
static bool write_question(struct writer *w, const char *command, const char *homeserver,
                           bool force)
{
	write_text(w, "{\"v\":1,\"command\":");
	write_json_string(w, str_of(command));
	if (homeserver != NULL) {
		write_text(w, ",\"homeserver\":");
		write_json_string(w, str_of(homeserver));
	}
	write_text(w, force ? ",\"force\":true}" : "}");
	return !w->failed;
}

static bool print_answer(const struct ask *a, const struct tree_node *root)
{
	char        wait[WORDS_SIZE];
	const char *name = ask_text(root, "homeserver"), *state = ask_text(root, "state");

	if (!ask_flag(root, "done")) {
		fprintf(stderr,
		        "doorstep %s: %s should stay up: %s (%s); ask again in %s, or --force\n",
		        a->verb, name, reason_text(ask_text(root, "reason")),
		        ask_text(root, "reason"),
		        words_duration((msec)ask_number(root, "wait_ms"), wait));
		return false;
	}
	printf("%s: %s (%s)\n", name, state, ask_text(root, "why"));
	return true;
}

static bool order(struct ask *a, const char *homeserver, bool force, bool json)
{
	char          room[512];
	struct writer w = writer_over(room, sizeof(room));
	struct tree  *t = NULL;
	bool          done;

	if (!write_question(&w, a->verb, homeserver, force)) {
		fprintf(stderr, "doorstep %s: that name is too long\n", a->verb);
		return false;
	}
	if (!ask_tree(a, writer_done(&w), &t))
		return false;
	done = ask_flag(tree_root(t), "done");
	if (json)
		printf("%.*s\n", (int)a->answer.len, a->answer.ptr);
	else
		done = print_answer(a, tree_root(t));
	tree_free(t);
	return done;
}

static int run(const struct cli *cli, const struct ask_where *where, const char *homeserver,
               bool force, bool json)
{
	struct ask a;
	bool       ok = ask_open(&a, cli->name, where) && order(&a, homeserver, force, json);

	ask_close(&a);
	return ok ? EXIT_OK : EXIT_FAILED;
}

int sleep_verb(int argc, char **argv)
{
	struct ask_where        where = { NULL, NULL };
	const char             *homeserver = NULL;
	bool                    force = false, json = false;
	const struct cli_option options[] = {
		{ "force", NULL, "sleep whatever speaks against it", NULL, &force },
		{ "json", NULL, "the answer as one line of JSON", NULL, &json },
		ASK_OPTIONS(&where),
		{ .name = NULL },
	};
	const struct cli cli = {
		.name = "sleep",
		.operands = "[HOMESERVER]",
		.operand_count = 1,
		.operands_optional = 1,
		.operand = &homeserver,
		.about =
			"Tells doorstep that a homeserver goes to sleep now: from here on deliveries are kept,\n"
			"and it is not looked for until somebody wants it. Fails, and says why and for how\n"
			"long, while other servers will come back with questions about what it sent.\n"
			"HOMESERVER is the name of its section; not needed if only one sleeps.\n",
		.examples = "  doorstep sleep && ssh nas systemctl suspend\n"
			    "  doorstep sleep nas --force\n",
		.options = options,
	};
	int done = cli_parse(&cli, argc - 1, argv + 1);

	return done != CLI_GO_ON ? done : run(&cli, &where, homeserver, force, json);
}

int wake_verb(int argc, char **argv)
{
	struct ask_where        where = { NULL, NULL };
	const char             *homeserver = NULL;
	bool                    json = false;
	const struct cli_option options[] = {
		{ "json", NULL, "the answer as one line of JSON", NULL, &json },
		ASK_OPTIONS(&where),
		{ .name = NULL },
	};
	const struct cli cli = {
		.name = "wake",
		.operands = "[HOMESERVER]",
		.operand_count = 1,
		.operands_optional = 1,
		.operand = &homeserver,
		.about =
			"Wakes a homeserver: magic packets if option wake_mac is set, and it is looked for\n"
			"until it answers. Does not wait for that; see 'doorstep status'.\n"
			"HOMESERVER is the name of its section; not needed if only one sleeps.\n",
		.examples = "  doorstep wake\n"
			    "  doorstep wake nas\n",
		.options = options,
	};
	int done = cli_parse(&cli, argc - 1, argv + 1);

	return done != CLI_GO_ON ? done : run(&cli, &where, homeserver, false, json);
}
