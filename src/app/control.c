#include "app/control.h"

#include <stdlib.h>
#include <unistd.h>

#include "app/version.h"
#include "base/buf.h"
#include "base/list.h"
#include "codec/json/tree.h"
#include "loop/socket.h"
#include "role/status.h"

enum { ANSWER_MAX = 256 * 1024 };

struct control {
	struct loop         *loop;
	struct listener     *listener;
	control_settings_fn *settings;
	void                *arg;
	msec                 started_at;
	struct link          clients;
	size_t               client_count;
};

struct client {
	struct link     link;
	struct control *control;
	struct stream  *stream;
	struct deadline idle;
	bool            ending; /* an error was answered: waiting for the peer to see it */
};

static void client_close(struct client *cl)
{
	struct control *c = cl->control;

	deadline_clear(&cl->idle);
	stream_close(cl->stream);
	list_remove(&cl->link);
	free(cl);
	if (c->client_count-- == CONTROL_CLIENTS_MAX)
		listener_resume(c->listener);
}

static void on_idle(void *arg)
{
	client_close(arg);
}

/* --- commands --- */

static enum err answer_status(const struct control *c, struct buf *out)
{
	const struct status_source source = {
		.version = version_text(),
		.pid = (uint64_t)getpid(),
		.uptime_ms = loop_now(c->loop) - c->started_at,
		.settings = c->settings(c->arg),
	};

	return status_write(&source, out);
}

static const struct command {
	struct str name;
	enum err (*answer)(const struct control *c, struct buf *out);
} commands[] = {
	{ STR("status"), answer_status },
};

static const struct command *find_command(struct str name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (str_eq(commands[i].name, name))
			return &commands[i];
	return NULL;
}

/* NULL: *fault says why. */
static const struct command *read_command(struct str line, const char **fault)
{
	struct tree          *t = NULL;
	const struct command *command = NULL;
	struct str            name;
	int64_t               version;

	if (tree_read(line, &t) != ERR_OK) {
		*fault = "not one JSON object";
	} else if (tree_integer(tree_get(tree_root(t), "v"), &version) != ERR_OK ||
	           version != CONTROL_VERSION) {
		*fault = "v must be 1";
	} else if (tree_text(tree_get(tree_root(t), "command"), &name) != ERR_OK) {
		*fault = "no command";
	} else {
		command = find_command(name);
		*fault = "unknown command";
	}
	tree_free(t);
	return command;
}

/* --- the conversation --- */

static void client_refuse(struct client *cl, const char *fault)
{
	char          text[128];
	struct writer w = writer_over(text, sizeof(text));

	write_text(&w, "{\"v\":1,\"error\":");
	write_json_string(&w, str_of(fault));
	write_text(&w, "}\n");
	stream_write(cl->stream, writer_done(&w));
	stream_shutdown(cl->stream);
	cl->ending = true;
}

static void client_answer(struct client *cl, struct str line)
{
	const char           *fault = NULL;
	const struct command *command = read_command(line, &fault);
	struct buf            out;
	enum err              e = ERR_OK;

	if (command == NULL) {
		client_refuse(cl, fault);
		return;
	}
	buf_init(&out, ANSWER_MAX);
	e = command->answer(cl->control, &out);
	if (e == ERR_OK)
		e = buf_add(&out, STRL("\n"));
	if (e == ERR_OK)
		e = stream_write(cl->stream, buf_str(&out));
	buf_fini(&out);
	if (e != ERR_OK)
		client_refuse(cl, "no memory left");
	deadline_in(&cl->idle, CONTROL_IDLE_MS);
}

/* Whether another line may be waiting. */
static bool client_take_line(struct client *cl)
{
	struct str waiting = stream_peek(cl->stream);
	size_t     end = str_find(waiting, '\n');

	if (cl->ending) {
		stream_consume(cl->stream, waiting.len);
		return waiting.len > 0;
	}
	if (end > CONTROL_LINE_MAX) {
		client_refuse(cl, "line too long");
		return true;
	}
	if (end == waiting.len || stream_room(cl->stream) == 0)
		return false;
	client_answer(cl, str_head(waiting, end));
	stream_consume(cl->stream, end + 1);
	return true;
}

static void on_client(void *arg)
{
	struct client *cl = arg;

	while (client_take_line(cl))
		;
	if (stream_ended(cl->stream) != ERR_OK)
		client_close(cl);
}

static void on_accept(void *arg, struct stream *s, const struct address *peer)
{
	struct control *c = arg;
	struct client  *cl = calloc(1, sizeof(*cl));

	(void)peer;
	if (cl == NULL) {
		stream_close(s);
		return;
	}
	cl->control = c;
	cl->stream = s;
	stream_own(s, on_client, cl);
	deadline_init(&cl->idle, c->loop, on_idle, cl);
	deadline_in(&cl->idle, CONTROL_IDLE_MS);
	list_push_back(&c->clients, &cl->link);
	if (++c->client_count == CONTROL_CLIENTS_MAX)
		listener_pause(c->listener);
}

enum err control_open(struct loop *l, const char *path, msec started_at,
                      control_settings_fn *settings, void *arg, struct control **out)
{
	struct control *c = calloc(1, sizeof(*c));
	struct endpoint at = { .path = "" };
	enum err        e;

	if (c == NULL)
		return ERR_NOMEM;
	*c = (struct control){
		.loop = l, .settings = settings, .arg = arg, .started_at = started_at
	};
	list_init(&c->clients);
	e = str_copy(str_of(path), at.path, sizeof(at.path)) ? ERR_OK : ERR_RANGE;
	if (e == ERR_OK)
		e = listener_open(l, &at, on_accept, c, &c->listener);
	if (e == ERR_OK)
		*out = c;
	else
		free(c);
	return e;
}

const char *control_path(const struct control *c)
{
	return listener_endpoint(c->listener)->path;
}

void control_close(struct control *c)
{
	if (c == NULL)
		return;
	while (!list_empty(&c->clients))
		client_close(LIST_ENTRY(c->clients.next, struct client, link));
	listener_close(c->listener);
	free(c);
}
