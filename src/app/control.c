#include "app/control.h"

#include <stdlib.h>

#include "base/list.h"
#include "loop/socket.h"

struct control {
	struct loop                  *loop;
	struct listener              *listener;
	const struct control_command *commands;
	void                         *arg;
	struct link                   clients;
	size_t                        client_count;
};

struct client {
	struct link           link;
	struct control       *control;
	struct stream        *stream;
	struct deadline       idle;
	struct control_reply *reply;  /* under way; NULL: none */
	bool                  busy;   /* on_client() is at work */
	bool                  ending; /* an error was answered: waiting for the peer to see it */
};

struct control_reply {
	struct client *client; /* NULL: gone meanwhile */
};

static void client_close(struct client *cl)
{
	struct control *c = cl->control;

	if (cl->reply != NULL)
		cl->reply->client = NULL;
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

/* --- questions --- */

static const struct control_command *find_command(const struct control *c, struct str name)
{
	for (const struct control_command *k = c->commands; k->name != NULL; k++)
		if (str_is(name, k->name))
			return k;
	return NULL;
}

/* NULL: *fault says why. The tree is the caller's. */
static const struct control_command *read_command(const struct control *c, struct str line,
                                                  struct tree **t, const char **fault)
{
	const struct tree_node *root;
	struct str              name;
	int64_t                 version;

	*fault = "not one JSON object";
	if (tree_read(line, t) != ERR_OK)
		return NULL;
	root = tree_root(*t);
	*fault = "v must be 1";
	if (tree_integer(tree_get(root, "v"), &version) != ERR_OK || version != CONTROL_VERSION)
		return NULL;
	*fault = "no command";
	if (tree_text(tree_get(root, "command"), &name) != ERR_OK)
		return NULL;
	*fault = "unknown command";
	return find_command(c, name);
}

/* --- the conversation --- */

static void client_say_error(struct client *cl, const char *fault)
{
	char          text[512];
	struct writer w = writer_over(text, sizeof(text));

	write_text(&w, "{\"v\":1,\"error\":");
	write_json_string(&w, str_of(fault));
	write_text(&w, "}\n");
	stream_write(cl->stream,
	             w.failed ? STRL("{\"v\":1,\"error\":\"failed\"}\n") : writer_done(&w));
	stream_shutdown(cl->stream);
	cl->ending = true;
}

static void client_ask(struct client *cl, struct str line)
{
	const char                   *fault;
	struct tree                  *t = NULL;
	const struct control_command *command = read_command(cl->control, line, &t, &fault);
	struct control_reply         *reply = command == NULL ? NULL : malloc(sizeof(*reply));

	deadline_in(&cl->idle, CONTROL_IDLE_MS);
	if (reply == NULL) {
		client_say_error(cl, command == NULL ? fault : "no memory left");
	} else {
		reply->client = cl;
		cl->reply = reply;
		command->run(cl->control->arg, tree_root(t), reply);
	}
	tree_free(t);
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
	if (cl->reply != NULL)
		return false;
	if (end > CONTROL_LINE_MAX) {
		client_say_error(cl, "line too long");
		return true;
	}
	if (end == waiting.len || stream_room(cl->stream) == 0)
		return false;
	client_ask(cl, str_head(waiting, end));
	stream_consume(cl->stream, end + 1);
	return true;
}

static void on_client(void *arg)
{
	struct client *cl = arg;

	cl->busy = true;
	while (client_take_line(cl))
		;
	cl->busy = false;
	if (stream_ended(cl->stream) != ERR_OK)
		client_close(cl);
}

/* The client, if it is still there, of a reply that is given now. */
static struct client *reply_client(struct control_reply *r)
{
	struct client *cl = r->client;

	free(r);
	if (cl == NULL)
		return NULL;
	cl->reply = NULL;
	deadline_in(&cl->idle, CONTROL_IDLE_MS);
	return cl;
}

/* What was asked meanwhile. */
static void client_go_on(struct client *cl)
{
	if (!cl->busy)
		on_client(cl);
}

void control_answer(struct control_reply *r, struct str json)
{
	struct client *cl = reply_client(r);

	if (cl == NULL)
		return;
	if (stream_write(cl->stream, json) != ERR_OK ||
	    stream_write(cl->stream, STRL("\n")) != ERR_OK)
		client_say_error(cl, "no memory left");
	client_go_on(cl);
}

void control_refuse(struct control_reply *r, const char *sentence)
{
	struct client *cl = reply_client(r);

	if (cl == NULL)
		return;
	client_say_error(cl, sentence);
	client_go_on(cl);
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

enum err control_open(const struct control_options *o, struct control **out)
{
	struct control *c = calloc(1, sizeof(*c));
	struct endpoint at = { .path = "" };
	enum err        e;

	if (c == NULL)
		return ERR_NOMEM;
	*c = (struct control){ .loop = o->loop, .commands = o->commands, .arg = o->arg };
	list_init(&c->clients);
	e = str_copy(str_of(o->path), at.path, sizeof(at.path)) ? ERR_OK : ERR_RANGE;
	if (e == ERR_OK)
		e = listener_open(o->loop, &at, on_accept, c, &c->listener);
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
