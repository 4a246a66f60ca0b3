/*
 * http_pool.h - connections to servers that are kept for the next call.
 *
 * Of one purpose each; told apart by the endpoint reached and the TLS name. A connection in the pool that
 * says anything, or ends, is closed: it was asked nothing.
 */
#ifndef NET_HTTP_POOL_H
#define NET_HTTP_POOL_H

#include "base/list.h"
#include "codec/http/h1.h"
#include "loop/loop.h"
#include "loop/socket.h"
#include "net/limits.h"

struct http_pool_options {
	struct h1_limits limits;   /* of response heads */
	size_t           idle_max; /* kept at most; the oldest goes */
	size_t           idle_per_target_max;
	msec             idle_ms;
	struct limit    *handshakes; /* TLS handshakes at once; NULL: no ceiling */
};

struct http_pool *http_pool_new(struct loop *l, const struct http_pool_options *o);
void              http_pool_free(struct http_pool *p); /* no call may be open */
size_t            http_pool_idle(const struct http_pool *p);
/* Closes what is kept, now and when calls under way give it back: after a change of authorities. */
void http_pool_clear(struct http_pool *p);
void http_pool_set(struct http_pool *p, const struct http_pool_options *o); /* a reload */

/* ---- for http_client.c alone ---- */

struct http_pool {
	struct loop             *loop;
	struct http_pool_options options;
	struct link              idle; /* longest idle first */
	size_t                   count;
	unsigned                 era; /* counts http_pool_clear() */
};

/* A connection to a server, in use by one call or idle in the pool. */
struct http_kept {
	struct http_pool *pool;
	struct link       link; /* on pool->idle */
	struct stream    *stream;
	struct endpoint   to;
	char              tls_name[256]; /* "" for plain */
	unsigned          era;           /* of the pool when it was made */
	struct deadline   deadline;
	struct soon       soon; /* closing, from inside the stream's wake */
};

/* Takes the stream over, also when it fails. NULL: memory. */
struct http_kept *http_kept_new(struct http_pool *p, struct stream *st,
                                const struct endpoint *reached, const char *tls_name);
void              http_kept_free(struct http_kept *k); /* closes it */

/* For the next call, if it may be kept; closed otherwise. */
void http_pool_put(struct http_pool *p, struct http_kept *k);

/* One that is quiet and goes there, the caller's from now on; NULL: none. */
struct http_kept *http_pool_take(struct http_pool *p, const struct endpoint *to,
                                 const char *tls_name);

#endif
