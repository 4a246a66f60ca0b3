/*
 * inside.h - what the files of loop/ share, and the reading of libuv's errors for net/.
 */
#ifndef LOOP_INSIDE_H
#define LOOP_INSIDE_H

#include <uv.h>

#include "loop/loop.h"
#include "loop/socket.h"
#include "loop/stream.h"

/* The deadlines that are set, the soonest at [0]; see deadline.c. */
struct deadline_heap {
	struct deadline **at;
	size_t            count, size;
	msec              armed_at; /* when the timer was to fire; MS_NEVER: it is stopped */
	bool              due;      /* it has fired: they expire behind the input of this turn */
	bool              spared;   /* it fired very late and was set again */
};

struct loop {
	uv_loop_t    uv;
	uv_timer_t   timer;   /* of all deadlines */
	uv_prepare_t prepare; /* these two run the soon queue after timers and after input */
	uv_check_t   check;
	uv_idle_t    idle; /* active while the queue is not empty: no waiting in the poll */
	struct deadline_heap heap;
	struct soon          soon_head;
	uv_signal_t          signals[3];
	bool                 watching;
	struct loop_signals  on_signal;
	char                 scratch[STREAM_RX_MAX]; /* what every socket reads into */
};

void deadline_open(struct loop *l); /* timer, queue and heap of a new loop */
void deadline_close(struct loop *l);
void deadline_soon(struct loop *l);    /* what the last turn has left in the queue */
void deadline_release(struct loop *l); /* after the handles are gone */

/* For a negative libuv status (which is -errno or UV_EOF). */
enum err loop_err(int uv_status);

/*
 * A socket as a stream, not connected yet: the maker connects or opens sock_uv(), then sock_begin()
 * starts reading. Let go by stream_close() at any time. NULL: memory.
 */
struct sock;
struct sock   *sock_new(struct loop *l, bool is_unix);
uv_stream_t   *sock_uv(struct sock *s);
struct stream *sock_stream(struct sock *s);
enum err       sock_begin(struct sock *s);
void           sock_tune(struct sock *s); /* no delay, keep-alive; when connected */

/* Socket addresses as the system has them; an IPv4 address mapped into IPv6 comes out as IPv4. */
socklen_t      sock_address_out(const struct address *a, struct sockaddr_storage *out);
struct address sock_address_in(const struct sockaddr_storage *ss);

#endif
