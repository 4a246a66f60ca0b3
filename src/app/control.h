/*
 * control.h - the control socket: one JSON object per line, one line in return.
 *
 *   {"v":1,"command":NAME, ...}   what the command says, an object with "v":1
 *   anything else                 {"v":1,"error":"sentence"}, and the connection ends
 *
 * Questions on one connection are answered in their order, the next one being read when the last is
 * answered. What the commands are and do is the caller's business; desk.h has ours.
 *
 * A unix socket (mode 0660) for the owner's tools. Bounded all the same: lines of CONTROL_LINE_MAX bytes,
 * CONTROL_CLIENTS_MAX clients (more wait in the kernel), CONTROL_IDLE_MS without a complete line.
 */
#ifndef APP_CONTROL_H
#define APP_CONTROL_H

#include "codec/json/tree.h"
#include "loop/loop.h"

enum {
	CONTROL_VERSION = 1,
	CONTROL_LINE_MAX = 1024,
	CONTROL_CLIENTS_MAX = 8,
	CONTROL_IDLE_MS = 10 * 1000,
};

struct control;

/* Who asked. Whoever was given one answers it exactly once, now or later, even if nobody listens any more. */
struct control_reply;

/* question: lives until the function returns. */
typedef void control_command_fn(void *arg, const struct tree_node *question,
                                struct control_reply *reply);

struct control_command {
	const char         *name;
	control_command_fn *run;
};

struct control_options {
	struct loop                  *loop;
	const char                   *path;     /* copied */
	const struct control_command *commands; /* ended by a NULL name; kept */
	void                         *arg;
};

/* Errors of listener_open(); errno is set. */
enum err    control_open(const struct control_options *o, struct control **out);
const char *control_path(const struct control *c);
void        control_close(
	       struct control *c); /* NULL is fine; clients are let go, replies stay to be given */

/* json: one object, without a line break. */
void control_answer(struct control_reply *r, struct str json);
void control_refuse(struct control_reply *r,
                    const char           *sentence); /* an error; ends the connection */

#endif
