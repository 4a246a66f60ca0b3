/*
 * stranded.h - what the queue holds for nobody: its domain is no longer in the settings, has no homeserver, or
 * the homeserver is said not to sleep.
 *
 * It was acknowledged, so it stays, waits, and is handed over in order as soon as the settings name its
 * domain again. Parking it instead would need an operator's hand then. It is said at the start, at every
 * reload, in `doorstep status` and in `doorstep queue list`.
 */
#ifndef ROLE_STRANDED_H
#define ROLE_STRANDED_H

#include "role/settings.h"
#include "store/queue.h"

struct stranded {
	size_t      items;            /* of all such domains; none: the rest is not set */
	const char *why;              /* of the oldest lane, as half a sentence behind the name */
	char        server_name[256]; /* ditto */
};

/* NULL: deliveries for that name are handed over. Otherwise why not, as in struct stranded. */
const char *stranded_why(const struct settings *s, struct str server_name);

void stranded_look(const struct queue *q, const struct settings *s, struct stranded *out);

#endif
