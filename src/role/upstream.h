/*
 * upstream.h - a homeserver as somewhere to send requests: its addresses, its kept connections.
 *
 * A homeserver given by name is looked up when needed and again when the records' life ends, and
 * its last known addresses serve while looking up fails. The address policy for strangers does not
 * apply: this address is the owner's word.
 */
#ifndef ROLE_UPSTREAM_H
#define ROLE_UPSTREAM_H

#include "net/dns.h"
#include "net/http_client.h"
#include "role/settings.h"

struct upstream;

/* tls: for https urls, else may be NULL. hs is copied in what is needed; dns may be NULL for numeric ones. */
enum err         upstream_new(struct loop *l, const struct homeserver_settings *hs,
                              const struct limit_settings *limits, struct tls_client *tls, struct dns *dns,
                              struct upstream **out);
struct upstream *upstream_keep(struct upstream *u);
void upstream_drop(struct upstream *u); /* the last one frees: no call open, no waiter left */

/* Someone who waits for the address. */
struct upstream_wait {
	struct link link;
	void (*ready)(void *arg, enum err e);
	void *arg;
};

/*
 * ERR_OK: *target is filled (valid until the loop turns). ERR_BUSY: ready will be called, then ask
 * again. Else the lookup failed.
 */
enum err upstream_target(struct upstream *u, struct http_target *target, struct upstream_wait *w);
void     upstream_wait_cancel(struct upstream_wait *w);

/* How a request to it went. When it cannot be reached, and when it can again, the log says so once. */
void upstream_note(struct upstream *u, enum err e);

struct http_pool *upstream_pool(struct upstream *u);
struct limit     *upstream_calls(struct upstream *u); /* the ceiling on connections to it */
/* For a reload: ceilings and times, where names are asked and which authorities count from now on. */
void upstream_limit(struct upstream *u, const struct homeserver_settings *hs,
                    const struct limit_settings *limits);
void upstream_set(struct upstream *u, struct tls_client *tls, struct dns *dns);
bool upstream_is_local(const struct upstream *u); /* unix socket */

#endif
