/*
 * house.h - the roles, their listeners and what they share, built from settings and rebuilt on reload.
 *
 * A reload first makes everything new that can fail (certificates, authorities, listeners); only
 * when all of it stands is anything exchanged, so a bad configuration changes nothing. Listeners
 * that stay the same are kept: no connection waiting in the kernel is lost.
 */
#ifndef APP_HOUSE_H
#define APP_HOUSE_H

#include <stdbool.h>

#include "loop/loop.h"
#include "role/settings.h"

struct house;
struct queue;
struct reception;
struct tls_server;

/* What is wrong and what to do, one line. */
struct house_fault {
	char text[512];
};

/* Says why in fault. */
typedef enum err house_bound_fn(void *arg, struct house_fault *fault);

/*
 * bound: called when every TCP port is open, and nothing else yet (NULL: nobody). No connection is
 * taken, no file of state_dir opened before it has returned ERR_OK.
 */
enum err house_open(struct loop *l, struct settings *s, house_bound_fn *bound, void *arg,
                    struct house_fault *fault, struct house **out);
enum err house_reload(struct house *h, struct settings *s, struct house_fault *fault);

/* Reads certificates and keys again, and nothing else; wrong ones change nothing. */
enum err house_renew(struct house *h, struct house_fault *fault);

/* Now and then: looks at what changes by itself (addresses of the interfaces). */
void house_refresh(struct house *h);

const struct settings *house_settings(const struct house *h);

/* For the owner's commands; good until the next reload. */
struct queue *house_queue(const struct house *h); /* NULL: nothing is kept */
bool house_is_shut(const struct house *h); /* ditto, state_dir is left alone (store/deaths.h) */
const struct tls_server *house_tls(const struct house *h); /* NULL: nothing listens */
struct reception        *house_reception(
	       const struct house *h, const struct homeserver_settings *hs); /* NULL: it does not sleep */

void house_drain(struct house *h); /* no new connections or requests */
bool house_is_empty(const struct house *h);
void house_close(struct house *h);

#endif
