/*
 * status_verb.c - asks the running doorstep through its control socket.
 */
#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "app/ask.h"
#include "app/verbs.h"
#include "app/words.h"

/* --- for people --- */

static void print_head(const struct tree_node *root)
{
	int64_t up = ask_number(root, "uptime_s");

	printf("doorstep %s, process %" PRId64 ", up %" PRId64 "d %02" PRId64 ":%02" PRId64
	       ":%02" PRId64 ", memory class %" PRId64 "\n",
	       ask_text(root, "version"), ask_number(root, "pid"), up / 86400, up / 3600 % 24,
	       up / 60 % 60, up % 60, ask_number(root, "memory_class"));
}

static void print_domain(const struct tree_node *n)
{
	int64_t left = ask_number(n, "certificate_until_unix") - (int64_t)time(NULL);

	printf("domain    %s at %s\n", ask_text(n, "server_name"), ask_text(n, "homeserver"));
	if (!ask_has(n, "certificate_until_unix"))
		return;
	if (left < 0)
		printf("          its certificate has ended: renew it\n");
	else
		printf("          certificate good for %" PRId64 " more days\n", left / 86400);
}

static void print_places(const struct tree_node *root)
{
	const struct tree_node *n;

	for (n = tree_first(tree_get(root, "domains")); n != NULL; n = tree_next(n))
		print_domain(n);
	for (n = tree_first(tree_get(root, "listeners")); n != NULL; n = tree_next(n))
		printf("listens   %s (%s)\n", ask_text(n, "at"), ask_text(n, "section"));
	for (n = tree_first(tree_get(root, "outbound")); n != NULL; n = tree_next(n))
		printf("outbound  %s, %s (%s)\n", ask_text(n, "at"), ask_text(n, "mode"),
		       ask_text(n, "section"));
}

static void print_homeserver(const struct tree_node *n)
{
	char since[WORDS_SIZE], next[WORDS_SIZE];

	if (!ask_flag(n, "sleeps")) {
		printf("homeserver %s at %s\n", ask_text(n, "section"), ask_text(n, "url"));
		return;
	}
	printf("homeserver %s at %s: %s for %s (%s)\n", ask_text(n, "section"), ask_text(n, "url"),
	       ask_text(n, "state"), words_duration((msec)ask_number(n, "since_ms"), since),
	       ask_text(n, "why"));
	if (ask_has(n, "next_look_ms"))
		printf("          looked for again in %s\n",
		       words_duration((msec)ask_number(n, "next_look_ms"), next));
	if (ask_has(n, "must_stay"))
		printf("          should not sleep yet (%s): ask in %s\n", ask_text(n, "must_stay"),
		       words_duration((msec)ask_number(n, "stay_ms"), next));
	printf("          %" PRId64 " requests held, %" PRId64 " probes, %" PRId64
	       " magic packets sent%s\n",
	       ask_number(n, "held"), ask_number(n, "probes"), ask_number(n, "packets"),
	       ask_flag(n, "can_wake") ? "" : " (no wake_mac)");
	if (ask_has(n, "packet_error"))
		printf("          the last magic packet could not be sent: %s\n",
		       ask_text(n, "packet_error"));
}

static void print_queue(const struct tree_node *q)
{
	char   bytes[WORDS_SIZE], most[WORDS_SIZE], age[WORDS_SIZE];
	time_t now = time(NULL), came;

	if (!ask_has(q, "kind"))
		return;
	printf("queue     %" PRId64 " waiting, %" PRId64 " parked, %s of %s (%s)\n",
	       ask_number(q, "waiting"), ask_number(q, "parked"),
	       words_bytes((uint64_t)ask_number(q, "bytes"), bytes),
	       words_bytes((uint64_t)ask_number(q, "bytes_max"), most), ask_text(q, "kind"));
	came = (time_t)(ask_number(q, "oldest_unix_ms") / 1000);
	if (ask_has(q, "oldest_unix_ms"))
		printf("          the oldest came %s ago\n",
		       words_duration(now > came ? (msec)(now - came) * SECOND_MS : 0, age));
	if (ask_number(q, "stranded") > 0)
		printf("          %" PRId64 " wait for nobody: %s %s\n", ask_number(q, "stranded"),
		       ask_text(q, "stranded_name"), ask_text(q, "stranded_why"));
	if (ask_number(q, "parked") > 0)
		printf("          see 'doorstep queue parked'\n");
}

static void print_sleep(const struct tree_node *root)
{
	const struct tree_node *n = tree_first(tree_get(root, "homeservers"));

	for (; n != NULL; n = tree_next(n))
		print_homeserver(n);
	print_queue(tree_get(root, "queue"));
	if (ask_flag(root, "shut"))
		printf("queue     shut: doorstep died too often while it opened or read state_dir, so "
		       "nothing is kept;\n          see 'doorstep queue verify', then restart doorstep\n");
}

static void print_gauges(const struct tree_node *root)
{
	const struct tree_node *n = tree_first(tree_get(root, "gauges"));

	printf("\n%-34s %10s %10s %10s\n", "in use", "now", "peak", "limit");
	for (; n != NULL; n = tree_next(n))
		printf("  %-32s %10" PRId64 " %10" PRId64 " %10" PRId64 "\n", tree_key(n).ptr,
		       ask_number(n, "used"), ask_number(n, "peak"), ask_number(n, "limit"));
}

/* What never happened is not worth a line. */
static void print_counters(const struct tree_node *root)
{
	const struct tree_node *n = tree_first(tree_get(root, "counters"));

	printf("\nsince start\n");
	for (; n != NULL; n = tree_next(n))
		if (ask_number(n, NULL) > 0)
			printf("  %-32s %10" PRId64 "\n", tree_key(n).ptr, ask_number(n, NULL));
	for (n = tree_first(tree_get(root, "causes")); n != NULL; n = tree_next(n))
		for (const struct tree_node *c = tree_first(n); c != NULL; c = tree_next(c))
			printf("  %-32s %10" PRId64 " %s\n", tree_key(n).ptr, ask_number(c, NULL),
			       tree_key(c).ptr);
}

static bool print_for_people(struct str answer)
{
	struct tree *t = NULL;

	if (tree_read(answer, &t) != ERR_OK) {
		fprintf(stderr, "doorstep status: the answer is no JSON\n");
		return false;
	}
	print_head(tree_root(t));
	print_places(tree_root(t));
	print_sleep(tree_root(t));
	print_gauges(tree_root(t));
	print_counters(tree_root(t));
	tree_free(t);
	return true;
}

/* --- the verb --- */

static int run(const struct ask_where *where, bool json)
{
	struct ask a;
	bool       ok = ask_open(&a, "status", where) &&
		ask_line(&a, STRL("{\"v\":1,\"command\":\"status\"}"));

	if (ok && json)
		printf("%.*s\n", (int)a.answer.len, a.answer.ptr);
	else if (ok)
		ok = print_for_people(a.answer);
	ask_close(&a);
	return ok ? EXIT_OK : EXIT_FAILED;
}

int status_verb(int argc, char **argv)
{
	struct ask_where        where = { NULL, NULL };
	bool                    json = false;
	const struct cli_option options[] = {
		{ "json", NULL, "the whole document, one line of JSON", NULL, &json },
		ASK_OPTIONS(&where),
		{ .name = NULL },
	};
	const struct cli cli = {
		.name = "status",
		.about =
			"Asks the running doorstep what it is doing: which homeserver sleeps, what is kept\n"
			"for it, connections now and at most, requests, failures by cause.\n",
		.examples = "  doorstep status\n"
			    "  doorstep status --json --socket /tmp/x/control.sock\n",
		.options = options,
	};
	int done = cli_parse(&cli, argc - 1, argv + 1);

	return done != CLI_GO_ON ? done : run(&where, json);
}
