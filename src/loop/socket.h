/*
 * socket.h - streams over TCP and unix sockets: listening for them and connecting.
 */
#ifndef LOOP_SOCKET_H
#define LOOP_SOCKET_H

#include "base/address.h"
#include "loop/loop.h"
#include "loop/stream.h"

/* Where to listen or connect: an address, or a unix socket when path is not empty. */
struct endpoint {
	struct address address;
	bool           v6_only;   /* listening on ::, leave IPv4 alone */
	char           path[108]; /* NUL-terminated; "" for TCP */
};

/* "127.0.0.1:8009", "[::1]:8009", "unix:/run/x.sock". ERR_SYNTAX. */
enum err endpoint_parse(struct str text, struct endpoint *out);

struct listener;

/*
 * A new connection. peer: its address (family 0 for a unix socket). The stream is the receiver's
 * now: he owns it before returning, or closes it.
 */
typedef void accept_fn(void *arg, struct stream *s, const struct address *peer);

/*
 * Binds and listens (backlog 511, SO_REUSEADDR). A stale unix socket file (nobody answers) is
 * replaced, mode 0660.
 * ERR_EXISTS: address in use.  ERR_DENIED: not permitted.  ERR_UNREACHABLE: no such local
 * address.  ERR_NOMEM.  ERR_IO: else; errno is set in all cases.
 */
enum err listener_open(struct loop *l, const struct endpoint *at, accept_fn *on_accept, void *arg,
                       struct listener **out);
void     listener_pause(struct listener *li); /* connections wait in the kernel */
void     listener_resume(struct listener *li);
void     listener_close(struct listener *li);
const struct endpoint *listener_endpoint(
	const struct listener *li); /* with the port really bound */

/*
 * Operation: connect to the first of the addresses that answers. Attempts start 250 ms apart (RFC 8305),
 * each may take 5 s; tcp_nodelay and keep-alive are set on the winner.
 */
struct dial;
typedef void dial_done_fn(void *arg, enum err e, struct stream *s, const struct endpoint *reached);

enum { DIAL_ADDRESSES_MAX = 16 };

/* deadline_ms: for the whole operation. done gets ERR_TIMEOUT, ERR_REFUSED, ERR_UNREACHABLE ... */
enum err dial_start(struct dial **slot, struct loop *l, const struct endpoint *to, size_t count,
                    msec deadline_ms, dial_done_fn *done, void *arg);
void     dial_cancel(struct dial **slot);

#endif
