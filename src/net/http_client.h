/*
 * http_client.h - the asking side of HTTP/1.1: one call at a time on connections that may be kept.
 *
 * A call is a conversation, not a one-shot: it wakes its owner ("look again") as the connection
 * stands, room for body bytes appears, the answer's head and body arrive or it fails. It ends
 * when the owner closes it; only then does the connection go back to its pool, and only if the
 * exchange was complete and of definite length in both directions (never with unread bytes).
 *
 * A kept connection that turns out dead before any byte of an answer is replaced once, if what was
 * sent is still held and the method may be repeated (RFC 9110 9.2.2), or if nothing was sent.
 */
#ifndef NET_HTTP_CLIENT_H
#define NET_HTTP_CLIENT_H

#include "codec/http/h1.h"
#include "loop/loop.h"
#include "loop/socket.h"
#include "net/http_pool.h"
#include "net/tls.h"

struct http_target {
	const struct endpoint *to; /* tried in order, staggered */
	size_t                 count;
	struct tls_client     *tls; /* NULL: plain */
	struct str             tls_name;
	bool                   tls_name_is_address;
	msec                   connect_ms; /* connecting and handshake together */
};

struct http_call_options {
	struct http_target target; /* copied */
	enum http_method   method;
	struct str         head; /* the finished request head; copied */
	bool has_body;           /* http_call_send() will follow, ended by http_call_send_end() */
	msec response_head_ms;   /* after the request is sent, or idle while it is */
	bool keep;               /* may the connection be kept afterwards */
	bool self_delimiting;    /* the body shows whether it is whole: without a length it may
	                                     * end without close_notify, as simple servers do it */
};

struct http_call;
typedef void http_call_wake_fn(void *arg); /* from the loop only, never from inside http_call_* */

/* ERR_NOMEM. The options and what they point to are not needed after the call. */
enum err http_call_open(struct http_pool *p, const struct http_call_options *o,
                        http_call_wake_fn *wake, void *arg, struct http_call **out);
void     http_call_close(struct http_call *c); /* at any time; NULL is fine */

/* ERR_OK, or why it is over. ERR_BAD_ANSWER: it could not be understood (http_call_fault). */
enum err    http_call_failed(const struct http_call *c);
const char *http_call_fault(const struct http_call *c); /* a short text for the log */
bool        http_call_connected(const struct http_call *c);
bool        http_call_reused(const struct http_call *c);

/* Body, already framed for the wire (chunks written by the caller). */
size_t http_call_room(const struct http_call *c);
void   http_call_send(struct http_call *c, struct str framed); /* at most room bytes */
void   http_call_send_end(struct http_call *c);
void   http_call_flush(struct http_call *c); /* at the end of each pump */

/* The answer. NULL until its final head is there; 1xx are passed over. */
const struct head *http_call_answer(const struct http_call *c);
struct str         http_call_peek(struct http_call *c);
void               http_call_consume(struct http_call *c, size_t n);
bool               http_call_done(const struct http_call *c); /* all of the body was consumed */

#endif
