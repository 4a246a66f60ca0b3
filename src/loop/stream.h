/*
 * stream.h - a two-way byte stream with back-pressure, whatever carries it.
 *
 * TCP and unix sockets (socket.h), TLS over any stream (net/tls.h), later streams of a link: all are
 * this. The owner gets one callback, wake, meaning "look again": new bytes may be in
 * stream_peek(), stream_room() may have become positive, stream_ended() may have changed. Owners
 * therefore have one pump function that moves what can be moved, and need not know why it ran.
 *
 * Reading stops by itself when the owner does not consume (bounded buffer); writing is bounded by the
 * owner obeying stream_room(). An idle stream holds no buffers.
 */
#ifndef LOOP_STREAM_H
#define LOOP_STREAM_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct stream;

/* Called from the loop only, never from inside a stream_* call. */
typedef void stream_wake_fn(void *arg);

enum {
	STREAM_RX_MAX = 16 * 1024, /* waiting bytes at most, per stream */
	STREAM_TX_MAX = 16 * 1024, /* queued output above which room is 0 */
	STREAM_ROOM_LEAST = 1024,  /* less room than this counts as none, against tiny writes */
};

struct stream_ops {
	struct str (*peek)(struct stream *s);
	void (*consume)(struct stream *s, size_t n);
	size_t (*room)(const struct stream *s);
	size_t (*unsent)(const struct stream *s);
	bool (*quiet)(const struct stream *s); /* NULL: as far as peek can tell */
	enum err (*write)(struct stream *s, struct str bytes);
	void (*shutdown)(struct stream *s);
	void (*close)(struct stream *s);
};

struct stream { /* first member of every implementation */
	const struct stream_ops *ops;
	stream_wake_fn          *wake;
	void                    *arg;
	enum err                 end; /* ERR_OK while the peer may still send */
};

static inline void stream_own(struct stream *s, stream_wake_fn *wake, void *arg)
{
	s->wake = wake;
	s->arg = arg;
}

/*
 * The bytes waiting, contiguous; empty when none. After stream_consume() a further call may
 * show more (a TLS record being opened), so owners loop until it is empty or nothing more can be
 * done. Valid until the next call on this stream or return to the loop.
 */
static inline struct str stream_peek(struct stream *s)
{
	return s->ops->peek(s);
}

static inline void stream_consume(struct stream *s, size_t n)
{
	s->ops->consume(s, n);
}

/* ERR_OK: open.  ERR_EOF: the peer ended in good order (TLS: with close_notify).  Else why it broke.
   May be set while bytes still wait in stream_peek(); a broken stream takes no more output. */
static inline enum err stream_ended(const struct stream *s)
{
	return s->end;
}

/*
 * Open, and nothing has come that the owner has not seen: asks the kernel too. For a kept connection
 * before it is used again, because what came before the question is not its answer.
 */
static inline bool stream_is_quiet(struct stream *s)
{
	return s->end == ERR_OK && s->ops->peek(s).len == 0 &&
		(s->ops->quiet == NULL || s->ops->quiet(s));
}

/*
 * Bytes of output the owner may add now: STREAM_ROOM_LEAST or more, or 0: wait for wake. Only a write
 * that leaves no room is followed by that wake: who stages bytes and counts them as room taken looks
 * again when he has written them.
 */
static inline size_t stream_room(const struct stream *s)
{
	return s->ops->room(s);
}

/*
 * Queues all of bytes and starts sending. Owners ask for room first; a small message (an error
 * answer) may exceed it. ERR_NOMEM, or the stream's end if it is broken.
 */
static inline enum err stream_write(struct stream *s, struct str bytes)
{
	return s->ops->write(s, bytes);
}

/* Output that the system has not taken yet, and that stream_close() would drop. */
static inline size_t stream_unsent(const struct stream *s)
{
	return s->ops->unsent(s);
}

/*
 * After what is queued: the end of our side (TCP FIN, TLS close_notify then FIN). Reading goes on, room
 * is 0 from now on. If something was queued, the owner is woken when the last of it has gone.
 */
static inline void stream_shutdown(struct stream *s)
{
	s->ops->shutdown(s);
}

/* Lets go at once: queued output is dropped, no callback follows, s is gone. */
static inline void stream_close(struct stream *s)
{
	s->ops->close(s);
}

#endif
