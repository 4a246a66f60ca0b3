#include "app/ask.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "app/config.h"
#include "app/config_document.h"

enum { ARENA_MAX = 4 * 1024 * 1024 };

static const char default_socket[] = "/var/run/doorstep/control.sock";

static const char is_it[] = "is doorstep running, and is this its 'option control'?";

static bool complain(const struct ask *a, const char *what, const char *advice)
{
	fprintf(stderr, "doorstep %s: %s: %s; %s\n", a->verb, a->path, what, advice);
	return false;
}

/* ---- where the socket is ---- */

static bool option_of(const struct config_document *d, const char *file, const char *option,
                      char *out, size_t size)
{
	bool        control = strcmp(option, "control") == 0;
	const char *value = control ? config_main(d)->control : config_main(d)->state_dir;

	if (value != NULL)
		return str_copy(str_of(value), out, size);
	fprintf(stderr, "%s: there is no 'option %s', so %s\n", file, option,
	        control ? "nothing can be asked" : "nothing is kept");
	return false;
}

bool ask_main_option(const char *file, const char *option, char *out, size_t size)
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
			ok = option_of(&document, file, option, out, size);
		arena_fini(&arena);
		free(text);
	}
	if (report.error[0] != '\0')
		fprintf(stderr, "%s\n", report.error);
	return ok;
}

bool ask_open(struct ask *a, const char *verb, const struct ask_where *where)
{
	const char *path = where->socket != NULL ? where->socket : default_socket;

	*a = (struct ask){ .verb = verb };
	if (where->socket == NULL && where->config != NULL) {
		if (!ask_main_option(where->config, "control", a->path, sizeof(a->path)))
			return false;
	} else if (!str_copy(str_of(path), a->path, sizeof(a->path))) {
		fprintf(stderr,
		        "doorstep %s: --socket: the path of a socket has %zu bytes at most\n", verb,
		        sizeof(a->path) - 1);
		return false;
	}
	a->room = malloc(ASK_ANSWER_MAX);
	if (a->room == NULL)
		fprintf(stderr, "doorstep %s: no memory left\n", verb);
	return a->room != NULL;
}

void ask_close(struct ask *a)
{
	free(a->room);
	a->room = NULL;
}

/* ---- the conversation ---- */

static int connect_to(const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct timeval     patience = { .tv_sec = ASK_PATIENCE_S };
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

static bool say(int fd, struct str text)
{
	return send(fd, text.ptr, text.len, MSG_NOSIGNAL) == (ssize_t)text.len;
}

/* The sentence of an error, as it is. */
static bool print_refusal(const struct ask *a)
{
	struct tree *t = NULL;

	if (tree_read(a->answer, &t) == ERR_OK)
		fprintf(stderr, "doorstep %s: %s\n", a->verb, ask_text(tree_root(t), "error"));
	else
		fprintf(stderr, "doorstep %s: the answer is no JSON\n", a->verb);
	tree_free(t);
	return false;
}

bool ask_line(struct ask *a, struct str question)
{
	int  fd = connect_to(a->path);
	bool ok;

	if (fd < 0)
		return complain(a, strerror(errno),
		                errno == EACCES ? "run it as root, or as the user of doorstep"
		                                : is_it);
	ok = say(fd, question) && say(fd, STRL("\n")) &&
		read_line(fd, a->room, ASK_ANSWER_MAX, &a->answer);
	close(fd);
	if (!ok)
		return complain(a, "no answer", is_it);
	return !str_starts(a->answer, STRL("{\"v\":1,\"error\":")) || print_refusal(a);
}

bool ask_tree(struct ask *a, struct str question, struct tree **out)
{
	if (!ask_line(a, question))
		return false;
	if (tree_read(a->answer, out) == ERR_OK)
		return true;
	fprintf(stderr, "doorstep %s: the answer is no JSON\n", a->verb);
	return false;
}

/* ---- what is in an answer ---- */

static const struct tree_node *member(const struct tree_node *node, const char *key)
{
	return key == NULL ? node : tree_get(node, key);
}

int64_t ask_number(const struct tree_node *node, const char *key)
{
	int64_t n = 0;

	(void)tree_integer(member(node, key), &n);
	return n;
}

const char *ask_text(const struct tree_node *node, const char *key)
{
	struct str s;

	return tree_text(member(node, key), &s) == ERR_OK ? s.ptr : "-";
}

bool ask_flag(const struct tree_node *node, const char *key)
{
	bool set = false;

	return tree_bool(member(node, key), &set) == ERR_OK && set;
}

bool ask_has(const struct tree_node *node, const char *key)
{
	struct str s;
	int64_t    n;

	return tree_text(member(node, key), &s) == ERR_OK ||
		tree_integer(member(node, key), &n) == ERR_OK;
}
