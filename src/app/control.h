/*
 * control.h - the control socket: one JSON object per line, one line in return.
 *
 *   {"v":1,"command":"status"}    the document of role/status.h
 *   anything else                 {"v":1,"error":"sentence"}, and the connection ends
 *
 * A unix socket (mode 0660) for the owner's tools. Bounded all the same: lines of CONTROL_LINE_MAX bytes,
 * CONTROL_CLIENTS_MAX clients (more wait in the kernel), CONTROL_IDLE_MS without a complete line.
 */
#ifndef APP_CONTROL_H
#define APP_CONTROL_H

#include "loop/loop.h"
#include "role/settings.h"

enum {
	CONTROL_VERSION = 1,
	CONTROL_LINE_MAX = 1024,
	CONTROL_CLIENTS_MAX = 8,
	CONTROL_IDLE_MS = 10 * 1000,
};

/* The settings in force, asked for at each command. */
typedef const struct settings *control_settings_fn(void *arg);

struct control;

/*
 * Errors of listener_open(); errno is set. path is copied.
 *   started_at  when the process began, on the loop's clock: for the uptime
 */
enum err    control_open(struct loop *l, const char *path, msec started_at,
                         control_settings_fn *settings, void *arg, struct control **out);
const char *control_path(const struct control *c);
void        control_close(struct control *c); /* NULL is fine; the clients are let go too */

#endif
