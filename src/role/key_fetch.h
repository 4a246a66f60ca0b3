/*
 * key_fetch.h - operation: GET one small document of another homeserver, found and reached as any
 * federation request reaches it: discovery, the address rules, TLS for the name that discovery says.
 *
 * Used for keys only (keyring.h); the name is one that a stranger claimed to have. A name that is served
 * here is asked of its homeserver itself: the way out and back in would end at the router.
 */
#ifndef ROLE_KEY_FETCH_H
#define ROLE_KEY_FETCH_H

#include "net/tls.h"
#include "role/resolver.h"
#include "role/upstream.h"

struct key_fetcher;

struct key_fetcher_options {
	struct loop       *loop;
	struct resolver   *resolver;
	struct tls_client *tls;         /* kept; NULL: every fetch ends with ERR_TLS */
	msec               deadline_ms; /* of one fetch, discovery included; 0: 10 s */
	size_t             body_max;    /* 0: 64 KiB */
	/* The homeserver of a name that is served here, or NULL; may be NULL. */
	struct upstream *(*local)(void *arg, struct str server_name);
	void *arg;
};

enum err key_fetcher_new(const struct key_fetcher_options *o, struct key_fetcher **out);
void     key_fetcher_free(struct key_fetcher *f); /* no fetch may be under way; NULL is fine */
void     key_fetcher_set(struct key_fetcher *f, struct tls_client *tls); /* for a reload */

struct key_fetch;

/* e: ERR_OK with the body of a 200, valid during the call; or why there is none. */
typedef void key_fetch_done_fn(void *arg, enum err e, struct str body);

/* ERR_NOMEM. server_name and path are copied. */
enum err key_fetch_start(struct key_fetch **slot, struct key_fetcher *f, struct str server_name,
                         struct str path, key_fetch_done_fn *done, void *arg);
void     key_fetch_cancel(struct key_fetch **slot);

#endif
