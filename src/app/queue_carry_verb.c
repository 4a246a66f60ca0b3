#include "app/queue_carry_verb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "app/ask.h"
#include "app/words.h"
#include "store/queue_carry.h"

enum { STATE_DIR_MAX = 1024, LOOK_MS = 200, WAIT_MAX_S = 600 };

/* Where the store is: named itself, or by a configuration. */
struct where {
	const char *state_dir, *config;
	char        room[STATE_DIR_MAX];
};
#define WHERE_OPTIONS(w)                                                                     \
	{ "state-dir", "DIR", "where the queue is; or", &(w)->state_dir, NULL },             \
	{                                                                                    \
		"config", "FILE", "the configuration, for its state_dir", &(w)->config, NULL \
	}

/* -1: known. Else the exit code; said. */
static int find_store(const struct cli *cli, struct where *w)
{
	if ((w->state_dir == NULL) == (w->config == NULL))
		return cli_usage(cli, "needed: either --state-dir DIR or", "--config FILE");
	if (w->state_dir != NULL)
		return CLI_GO_ON;
	w->state_dir = w->room;
	return ask_main_option(w->config, "state_dir", w->room, sizeof(w->room)) ? CLI_GO_ON
										 : EXIT_FAILED;
}

/* 0: it is there. */
static int look_at(const char *state_dir, const char *name)
{
	char path[STATE_DIR_MAX + 16];

	if (strlen(state_dir) >= STATE_DIR_MAX)
		return ENAMETOOLONG;
	snprintf(path, sizeof(path), "%s/%s", state_dir, name);
	return access(path, F_OK) == 0 ? 0 : errno;
}

enum queue_place queue_place_of(const char *verb, const char *state_dir)
{
	int error = look_at(state_dir, "queue");

	if (error == ENOENT || error == ENOTDIR)
		error = look_at(state_dir, "queue.store");
	if (error == 0)
		return QUEUE_PLACE_TAKEN;
	if (error == ENOENT || error == ENOTDIR)
		return QUEUE_PLACE_EMPTY;
	fprintf(stderr, "doorstep %s: %s: %s%s\n", verb, state_dir, strerror(error),
	        error == EACCES ? "; run it as root, or as the user of doorstep" : "");
	return QUEUE_PLACE_HIDDEN;
}

static int complain(const char *verb, const char *what, enum err e, const struct queue_fault *f)
{
	fprintf(stderr, "doorstep %s: %s: %s%s\n", verb, what,
	        f->text[0] != '\0' ? f->text : err_slug(e),
	        e == ERR_BUSY ? "; doorstep must not run meanwhile" : "");
	return EXIT_FAILED;
}

static bool number_of(const struct cli *cli, const char *option, const char *word, uint64_t max,
                      uint64_t *out)
{
	*out = 0;
	if (word == NULL || str_to_u64(str_of(word), max, out))
		return true;
	(void)cli_usage(cli, option, word);
	return false;
}

/* ---- export ---- */

static void rest(void)
{
	const struct timespec t = { 0, LOOK_MS * 1000000L };

	(void)nanosleep(&t, NULL);
}

/* A service that was told to stop needs a moment for it. */
static enum err export_when_free(const char *state_dir, const char *path, uint64_t bytes_max,
                                 uint64_t wait_s, struct queue_carry_report *r)
{
	uint64_t looks = wait_s * 1000 / LOOK_MS;
	enum err e = queue_export(state_dir, path, bytes_max, r);

	for (; e == ERR_BUSY && looks > 0; looks--) {
		rest();
		e = queue_export(state_dir, path, bytes_max, r);
	}
	return e;
}

static int export_to(const char *verb, const char *state_dir, const char *path, uint64_t max_kib,
                     uint64_t wait_s)
{
	struct queue_carry_report r;
	char                      size[WORDS_SIZE];
	enum err                  e;

	switch (queue_place_of(verb, state_dir)) {
	case QUEUE_PLACE_EMPTY:
		printf("nothing is kept in %s\n", state_dir);
		return EXIT_OK;
	case QUEUE_PLACE_HIDDEN:
		return EXIT_FAILED;
	case QUEUE_PLACE_TAKEN:
		break;
	}
	e = export_when_free(state_dir, path, max_kib * 1024, wait_s, &r);
	if (e == ERR_TOO_LARGE) {
		fprintf(stderr,
		        "doorstep %s: %zu items need %s, more than the %" PRIu64 " KiB allowed\n",
		        verb, r.items, words_bytes(r.bytes, size), max_kib);
		return EXIT_FAILED;
	}
	if (e != ERR_OK || (r.items == 0 && r.fault.text[0] != '\0')) /* all of it is damaged */
		return complain(verb, state_dir, e, &r.fault);
	if (r.damaged > 0)
		fprintf(stderr, "doorstep %s: %zu items cannot be read and are left out: %s\n",
		        verb, r.damaged, r.fault.text);
	if (r.items == 0)
		printf("nothing is kept in %s\n", state_dir);
	else
		printf("%zu items, %zu of them parked, in %s (%s)\n", r.items, r.parked, path,
		       words_bytes(r.bytes, size));
	return EXIT_OK;
}

int queue_export_verb(int argc, char **argv)
{
	struct where            where = { .state_dir = NULL };
	const char             *path, *max = NULL, *wait = NULL;
	uint64_t                max_kib, wait_s;
	const struct cli_option options[] = {
		WHERE_OPTIONS(&where),
		{ "max-kib", "N", "fail if the file would be larger", &max, NULL },
		{ "wait", "SECONDS", "wait so long for a doorstep that is ending", &wait, NULL },
		{ .name = NULL },
	};
	const struct cli cli = {
		.name = "queue export",
		.operands = "FILE",
		.operand_count = 1,
		.operand = &path,
		.about =
			"Writes all that is kept into one file, to carry it past something that wipes the\n"
			"disk. doorstep must not run. The queue stays as it is. If nothing is kept no file\n"
			"is made, which is a success.\n",
		.examples = "  doorstep queue export --state-dir /srv/doorstep --max-kib 4096 "
			    "/etc/doorstep/queue.export\n",
		.options = options,
	};
	int done = cli_parse(&cli, argc - 1, argv + 1);

	if (done == CLI_GO_ON)
		done = find_store(&cli, &where);
	if (done != CLI_GO_ON)
		return done;
	if (!number_of(&cli, "no number of KiB:", max, 1u << 30, &max_kib) ||
	    !number_of(&cli, "no number of seconds up to 600:", wait, WAIT_MAX_S, &wait_s))
		return EXIT_USAGE;
	return export_to(cli.name, where.state_dir, path, max_kib, wait_s);
}

/* ---- import ---- */

static int import_from(const char *verb, const char *state_dir, const char *path)
{
	struct queue_carry_report r;
	enum err                  e = queue_import(state_dir, path, &r);

	if (e == ERR_SYNTAX)
		snprintf(r.fault.text, sizeof(r.fault.text),
		         "damaged or cut off after %zu items; those are in the queue", r.items);
	if (e == ERR_UNSUPPORTED && r.fault.text[0] == '\0')
		snprintf(r.fault.text, sizeof(r.fault.text),
		         "written by a newer doorstep: install that one");
	if (e == ERR_NOT_FOUND)
		snprintf(r.fault.text, sizeof(r.fault.text), "%s", strerror(ENOENT));
	if (e != ERR_OK)
		return complain(verb, path, e, &r.fault);
	printf("%zu items, %zu of them parked, %zu of them were there already\n", r.items, r.parked,
	       r.known);
	return EXIT_OK;
}

int queue_import_verb(int argc, char **argv)
{
	struct where            where = { .state_dir = NULL };
	const char             *path;
	const struct cli_option options[] = {
		WHERE_OPTIONS(&where),
		{ .name = NULL },
	};
	const struct cli cli = {
		.name = "queue import",
		.operands = "FILE",
		.operand_count = 1,
		.operand = &path,
		.about =
			"Puts what 'queue export' wrote into the queue, behind what is there. doorstep must\n"
			"not run. May be repeated: nothing gets in twice.\n",
		.examples =
			"  doorstep queue import --state-dir /srv/doorstep /etc/doorstep/queue.export\n",
		.options = options,
	};
	int done = cli_parse(&cli, argc - 1, argv + 1);

	if (done == CLI_GO_ON)
		done = find_store(&cli, &where);
	return done == CLI_GO_ON ? import_from(cli.name, where.state_dir, path) : done;
}

/* ---- count ---- */

static bool count_running(const char *verb, const struct ask_where *at, int64_t *count)
{
	struct ask   a;
	struct tree *t = NULL;
	bool         ok = ask_open(&a, verb, at) &&
		ask_tree(&a, STRL("{\"v\":1,\"command\":\"status\"}"), &t);

	if (ok) {
		const struct tree_node *q = tree_get(tree_root(t), "queue");

		*count = ask_number(q, "waiting") + ask_number(q, "parked");
	}
	tree_free(t);
	ask_close(&a);
	return ok;
}

/* -1: a running doorstep has it, and knows. Else the exit code; said. */
static int count_closed(const char *verb, const char *state_dir, int64_t *count)
{
	struct queue_report r = { .items = 0 };
	enum queue_place    place = queue_place_of(verb, state_dir);
	enum err            e = ERR_OK;

	if (place == QUEUE_PLACE_HIDDEN)
		return EXIT_FAILED;
	if (place == QUEUE_PLACE_TAKEN)
		e = queue_verify(state_dir, &r);
	*count = (int64_t)r.items;
	if (e == ERR_OK || e == ERR_SYNTAX)
		return EXIT_OK;
	return e == ERR_BUSY ? CLI_GO_ON : complain(verb, state_dir, e, &r.fault);
}

int queue_count_verb(int argc, char **argv)
{
	struct ask_where        at = { NULL, NULL };
	const char             *state_dir = NULL;
	int64_t                 count = 0;
	const struct cli_option options[] = {
		{ "state-dir", "DIR", "look there if doorstep does not run", &state_dir, NULL },
		ASK_OPTIONS(&at),
		{ .name = NULL },
	};
	const struct cli cli = {
		.name = "queue count",
		.about =
			"Prints how many items are kept, parked ones too: a number and nothing else.\n",
		.examples = "  doorstep queue count --state-dir /srv/doorstep\n",
		.options = options,
	};
	int done = cli_parse(&cli, argc - 1, argv + 1);

	if (done == CLI_GO_ON && state_dir != NULL) {
		done = count_closed(cli.name, state_dir, &count);
		if (done == EXIT_OK)
			printf("%" PRId64 "\n", count);
	}
	if (done != CLI_GO_ON)
		return done;
	if (!count_running(cli.name, &at, &count))
		return EXIT_FAILED;
	printf("%" PRId64 "\n", count);
	return EXIT_OK;
}
