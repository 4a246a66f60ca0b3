/*
 * http_server.h - the answering side of HTTP/1.1 on one stream.
 *
 * Room net/: transports made of loop/ streams: TLS, DNS, HTTP client and server. It knows protocols and
 * ceilings, and must never know what a request means.
 *
 * One request at a time: the next head is not read before the answer to this one is finished, so
 * pipelined requests are answered in order and nothing is queued. The handler owns a request from
 * the moment it is given one until it calls http_respond_end() or http_respond_abort(), either of
 * which it must call exactly once; after that the request is gone.  Its wake function means "look
 * again": http_request_peek(), http_respond_room() or http_request_broken() may have changed.
 */
#ifndef NET_HTTP_SERVER_H
#define NET_HTTP_SERVER_H

#include "base/address.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "codec/http/h1.h"
#include "loop/loop.h"
#include "loop/stream.h"

struct http_server;
struct http_conn;
struct http_request;

struct http_server_options {
	struct h1_limits limits;
	unsigned         requests_max;  /* per connection, then Connection: close */
	msec             head_ms;       /* first byte of a head to its end, in all */
	msec             idle_ms;       /* between requests */
	msec             body_idle_ms;  /* a body without a byte */
	msec             write_idle_ms; /* an answer nobody reads */
	size_t           arena_bytes;   /* budget of one request */
};

struct http_handler {
	void (*request)(void *arg, struct http_request *r);
	/* A head or body framing was refused with this status; tells the log, the answer is sent. May be NULL. */
	void (*malformed)(void *arg, const struct address *peer, int status, const char *slug);
	void (*closed)(void *arg); /* a connection went away: room for another. May be NULL */
	void *arg;
};

/* Options are copied; NULL: memory. */
struct http_server *http_server_new(struct loop *l, const struct http_server_options *o,
                                    const struct http_handler *h);
void http_server_set_options(struct http_server *s, const struct http_server_options *o);

/* Begins to serve the stream, which is the server's from now on (closed when memory is gone). */
enum err http_server_take(struct http_server *s, struct stream *st, const struct address *peer);
size_t   http_server_connections(const struct http_server *s);

/* Connections whose peer is in the same /32 (IPv4) or /64 (IPv6). */
size_t http_server_connections_of(const struct http_server *s, const struct address *peer);

/* Closes the connection that has been idle longest; false if none is idle. */
bool http_server_close_idle(struct http_server *s);

/* idle (with the handler's arg): a connection has been answered; http_server_close_idle() will soon find it. */
void http_server_on_idle(struct http_server *s, void (*idle)(void *arg));

/* No further requests: idle connections close now, busy ones after their answer. */
void http_server_drain(struct http_server *s);
void http_server_free(
	struct http_server *s); /* cuts what is left; handlers see it as broken first */

/* ---- requests ---- */

typedef void http_wake_fn(void *arg);

void                  http_request_own(struct http_request *r, http_wake_fn *wake, void *arg);
const struct head    *http_request_head(const struct http_request *r);
const struct address *http_request_peer(const struct http_request *r);
struct arena         *http_request_arena(struct http_request *r);

/* Who looks on while a request's body is taken, whoever takes it. */
struct http_request_tap {
	void (*took)(void *arg, struct str bytes);
	void (*over)(void *arg); /* the request is gone */
	void *arg;
};
void http_request_tap(struct http_request *r, const struct http_request_tap *tap); /* copied; one */

/* Body bytes waiting, decoded; empty when none. The first call lets the peer send (100 Continue). */
struct str http_request_peek(struct http_request *r);
void       http_request_consume(struct http_request *r, size_t n);
bool       http_request_body_done(const struct http_request *r); /* all of it was consumed */
/*
 * Gives back what was consumed, from the first byte of the body: it is peeked at again, as if it had just
 * come. The storage is taken over, *body left empty.
 */
void http_request_restore(struct http_request *r, struct buf *body);

/* More body bytes than this: broken with ERR_TOO_LARGE. */
void http_request_body_max(struct http_request *r, uint64_t max);

/* ERR_OK; ERR_SYNTAX framing, ERR_EOF / ERR_RESET / ERR_TRUNCATED peer gone, ERR_SLOW_PEER, ERR_TOO_LARGE. */
enum err http_request_broken(const struct http_request *r);

/*
 * The head of the final answer, from a parsed head (of an upstream, or made by us).  Hop-by-hop fields,
 * Content-Length and Transfer-Encoding of h are left out and written anew from h->body and
 * h->content_length. extra: finished field lines of ours, "" for none.
 */
void   http_respond_head(struct http_request *r, const struct head *h, struct str extra);
bool   http_respond_begun(const struct http_request *r);
size_t http_respond_room(const struct http_request *r);
void   http_respond_body(struct http_request *r, struct str bytes); /* at most room bytes */
void   http_respond_flush(
	  struct http_request *r); /* at the end of each pump: sends what was put together */
void http_respond_end(struct http_request *r);   /* complete; flushes; r is gone */
void http_respond_abort(struct http_request *r); /* cut short, visibly so; r is gone */

/* A whole answer: head, body, end; r is gone. The connection closes if the request body was not read. */
void http_respond_with(struct http_request *r, int status, const char *content_type,
                       struct str extra, struct str body);

/* Answers "200" to CONNECT and hands the bare stream over, unread bytes included; r is gone. */
struct stream *http_respond_tunnel(struct http_request *r);

#endif
