/*
 * status_verb.c - asks the running doorstep through its control socket.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/cli.h"
#include "app/config.h"
#include "app/config_document.h"
#include "app/verbs.h"
#include "codec/json/tree.h"

enum { ANSWER_MAX = TREE_BYTES_MAX, PATIENCE_S = 5, ARENA_MAX = 4 * 1024 * 1024 };

static const char default_socket[] = "/var/run/doorstep/control.sock";

static bool complain(const char *path, const char *what)
{
	fprintf(stderr,
	        "doorstep status: %s: %s; is doorstep running, and is this its 'option control'?\n",
	        path, what);
	return false;
}

static int connect_to(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct timeval     patience = { .tv_sec = PATIENCE_S };
	int                fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int                error;

	if (fd < 0)
		return -1;
	errno = ENAMETOOLONG;
	if (str_copy(str_of(path), un.sun_path, sizeof(un.sun_path)) &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0 &&
	    connect(fd, (const struct sockaddr *)&un, sizeof(un)) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

/* One line of answer into room, its newline cut off. */
static bool read_line(int fd, char *room, size_t size, struct str *line)
{
	size_t  len = 0;
	ssize_t n = 1;

	while (n > 0 && len < size && memchr(room, '\n', len) == NULL) {
		n = read(fd, room + len, size - len);
		if (n > 0)
			len += (size_t)n;
	}
	*line = str_head(str_span(room, len), str_find(str_span(room, len), '\n'));
	return line->len < len;
}

static bool ask(const char *path, char *room, struct str *answer)
{
	static const char question[] = "{\"v\":1,\"command\":\"status\"}\n";
	int               fd = connect_to(path);
	bool              ok;

	if (fd < 0)
		return complain(path, strerror(errno));
	ok = send(fd, question, sizeof(question) - 1, MSG_NOSIGNAL) ==
			(ssize_t)sizeof(question) - 1 &&
		read_line(fd, room, ANSWER_MAX, answer);
	close(fd);
	return ok || complain(path, "no answer");
}

/* --- for people --- */

static int64_t number_at(const struct tree_node *node, const char *key)
{
	int64_t n = 0;

	(void)tree_integer(key == NULL ? node : tree_get(node, key), &n);
	return n;
}

static const char *text_at(const struct tree_node *node, const char *key)
{
	struct str s;

	return tree_text(tree_get(node, key), &s) == ERR_OK ? s.ptr : "-";
}

static void print_head(const struct tree_node *root)
{
	int64_t up = number_at(root, "uptime_s");

	printf("doorstep %s, process %" PRId64 ", up %" PRId64 "d %02" PRId64 ":%02" PRId64
	       ":%02" PRId64 ", memory class %" PRId64 "\n",
	       text_at(root, "version"), number_at(root, "pid"), up / 86400, up / 3600 % 24,
	       up / 60 % 60, up % 60, number_at(root, "memory_class"));
}

static void print_places(const struct tree_node *root)
{
	const struct tree_node *n;

	for (n = tree_first(tree_get(root, "domains")); n != NULL; n = tree_next(n))
		printf("domain    %s at %s\n", text_at(n, "server_name"), text_at(n, "homeserver"));
	for (n = tree_first(tree_get(root, "listeners")); n != NULL; n = tree_next(n))
		printf("listens   %s (%s)\n", text_at(n, "at"), text_at(n, "section"));
	for (n = tree_first(tree_get(root, "outbound")); n != NULL; n = tree_next(n))
		printf("outbound  %s, %s (%s)\n", text_at(n, "at"), text_at(n, "mode"),
		       text_at(n, "section"));
}

static void print_gauges(const struct tree_node *root)
{
	const struct tree_node *n = tree_first(tree_get(root, "gauges"));

	printf("\n%-34s %10s %10s %10s\n", "in use", "now", "peak", "limit");
	for (; n != NULL; n = tree_next(n))
		printf("  %-32s %10" PRId64 " %10" PRId64 " %10" PRId64 "\n", tree_key(n).ptr,
		       number_at(n, "used"), number_at(n, "peak"), number_at(n, "limit"));
}

/* What never happened is not worth a line. */
static void print_counters(const struct tree_node *root)
{
	const struct tree_node *n = tree_first(tree_get(root, "counters"));

	printf("\nsince start\n");
	for (; n != NULL; n = tree_next(n))
		if (number_at(n, NULL) > 0)
			printf("  %-32s %10" PRId64 "\n", tree_key(n).ptr, number_at(n, NULL));
	for (n = tree_first(tree_get(root, "causes")); n != NULL; n = tree_next(n))
		for (const struct tree_node *c = tree_first(n); c != NULL; c = tree_next(c))
			printf("  %-32s %10" PRId64 " %s\n", tree_key(n).ptr, number_at(c, NULL),
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
	print_gauges(tree_root(t));
	print_counters(tree_root(t));
	tree_free(t);
	return true;
}

/* --- the verb --- */

static bool print_answer(struct str answer, bool json)
{
	static const struct str refusal = STR("{\"v\":1,\"error\":");

	if (str_starts(answer, refusal)) {
		fprintf(stderr, "doorstep status: %.*s\n", (int)answer.len, answer.ptr);
		return false;
	}
	if (!json)
		return print_for_people(answer);
	printf("%.*s\n", (int)answer.len, answer.ptr);
	return true;
}

static bool control_of(const struct config_document *d, const char *file, char *path, size_t size)
{
	const char *control = config_main(d)->control;

	if (control != NULL)
		return str_copy(str_of(control), path, size);
	fprintf(stderr, "%s: there is no 'option control', so nothing can be asked\n", file);
	return false;
}

/*
 * The control option of a configuration, into path. Only the text is read: whoever asks need not be
 * allowed to read keys and secrets.
 */
static bool path_from_config(const char *file, char *path, size_t size)
{
	struct config_source   source = { .path = file };
	struct config_report   report;
	struct config_document document;
	struct arena           arena;
	char                  *text;
	size_t                 len;
	bool                   ok = false;

	if (config_read_file(file, &text, &len, &report) == ERR_OK) {
		arena_init(&arena, ARENA_MAX);
		if (config_document_read(&document, &source, str_span(text, len), &arena,
		                         &report) == ERR_OK)
			ok = control_of(&document, file, path, size);
		arena_fini(&arena);
		free(text);
	}
	if (report.error[0] != '\0')
		fprintf(stderr, "%s\n", report.error);
	return ok;
}

static int run(const char *path, bool json)
{
	char      *room = malloc(ANSWER_MAX);
	struct str answer;
	bool       ok = room != NULL && ask(path, room, &answer) && print_answer(answer, json);

	free(room);
	return ok ? EXIT_OK : EXIT_FAILED;
}

int status_verb(int argc, char **argv)
{
	const char             *path = default_socket, *config = NULL;
	char                    configured[108];
	bool                    json = false;
	const struct cli_option options[] = {
		{ "json", NULL, "the whole document, one line of JSON", NULL, &json },
		{ "socket", "PATH", "control socket; default /var/run/doorstep/control.sock", &path,
		  NULL },
		{ "config", "FILE", "take the control socket from this configuration", &config,
		  NULL },
		{ .name = NULL },
	};
	const struct cli cli = {
		.name = "status",
		.about =
			"Asks the running doorstep what it is doing: connections now and at most, requests,\n"
			"failures by cause.\n",
		.examples = "  doorstep status\n"
			    "  doorstep status --json --socket /tmp/x/control.sock\n",
		.options = options,
	};
	int done = cli_parse(&cli, argc - 1, argv + 1);

	if (done != CLI_GO_ON)
		return done;
	if (config != NULL) {
		if (!path_from_config(config, configured, sizeof(configured)))
			return EXIT_FAILED;
		path = configured;
	}
	return run(path, json);
}
