/*
 * http_server_inside.h - what http_server.c (connections), http_request.c and http_respond.c (the one
 * request at work on a connection) share. Nobody else may see it.
 */
#ifndef NET_HTTP_SERVER_INSIDE_H
#define NET_HTTP_SERVER_INSIDE_H

#include "net/http_server.h"

enum conn_state {
	CONN_IDLE,    /* between requests; the idle deadline runs */
	CONN_HEAD,    /* some of a head has arrived; the head deadline runs */
	CONN_REQUEST, /* the handler has it */
	CONN_LINGER,  /* answered and shut down; input is thrown away for a moment */
	CONN_CLOSED,  /* to be freed by conn_pump() */
};

struct http_request {
	struct http_conn     *conn;
	struct arena          arena;
	struct head           head;
	struct h1_head_parser parser;
	struct h1_body        body;
	uint64_t              body_max;
	struct buf            restored; /* given back by the handler, comes before the span */
	struct str            span; /* decoded bytes at the front of the stream, not yet consumed */
	enum err              broken;
	bool                  body_done;
	bool                  want_body; /* the handler asked for body bytes and there were none */
	bool                  continued; /* 100 Continue was sent or is not wanted */
	bool                  begun;     /* final head written */
	bool                  chunked;   /* the answer is */
	bool                  no_body;   /* HEAD, 204, 304: body bytes are dropped */
	bool                  blocked;   /* the answer waits for room */
	struct http_request_tap tap;
	http_wake_fn           *wake;
	void                   *arg;
};

struct http_conn {
	struct http_server  *server;
	struct link          link;      /* on server->conns */
	struct link          idle_link; /* on server->idle while CONN_IDLE */
	enum conn_state      state;
	bool                 in_pump;
	bool                 close_after; /* no further request on this connection */
	bool                 cut;         /* close without farewell */
	unsigned             served;
	size_t               lingered;
	size_t               linger_unsent; /* of the answer, when the deadline was set */
	struct stream       *stream;
	struct address       peer;
	struct http_request *request; /* CONN_HEAD, CONN_REQUEST */
	struct buf           out;
	struct deadline      deadline;
	struct soon          soon;
};

struct http_server {
	struct loop               *loop;
	struct http_server_options options;
	struct http_handler        handler;
	http_wake_fn              *idle_fn;     /* may be NULL */
	struct link                conns, idle; /* idle: longest first */
	size_t                     count;
	bool                       draining;
};

/* ---- http_server.c ---- */

void http_conn_set_state(struct http_conn *c, enum conn_state state);
/* Sends what was put together; sets cut when it cannot. */
void http_conn_flush(struct http_conn *c);

/* After an answer: the next request, or the end. */
void http_conn_next(struct http_conn *c);

/* ---- http_request.c ---- */

struct http_request *http_request_new(struct http_conn *c);  /* NULL: memory */
void                 http_request_free(struct http_conn *c); /* the one at work, if any */

/* The head moves into the request's arena, so that the stream can go on. */
enum err http_request_read(struct http_request *r, struct str bytes);

void http_request_break(struct http_request *r, enum err e); /* the first reason stays */

/*
 * What the end of the peer's side means for the request. Without its body it is none; with it, the peer
 * may still want the answer, but not for long unless it comes.
 */
void http_request_note_end(struct http_request *r);

#endif
