/*
 * memory_loop.h - the contracts of loop/ and of TLS kept without a system, for tests that must see every
 * order of events: time stands still until it is moved, streams are memory, dialling and handshakes
 * end when the test says so.
 *
 * It takes the place of the rooms loop/, net/tls and net/dns when linked in their stead, and is stricter
 * than they are: a stream shows its bytes in a heap block of exactly their size that moves with every
 * call, is never touched again after stream_close(), and its wake is never called from inside.
 */
#ifndef TESTS_SUPPORT_MEMORY_LOOP_H
#define TESTS_SUPPORT_MEMORY_LOOP_H

#include "base/list.h"
#include "loop/loop.h"
#include "loop/socket.h"
#include "loop/stream.h"

/* Bytes that grow. */
struct bytes {
	char  *ptr;
	size_t len, size;
};

void       bytes_add(struct bytes *b, struct str s);
void       bytes_take(struct bytes *b, size_t n); /* at the front */
struct str bytes_str(const struct bytes *b);
void       bytes_fini(struct bytes *b);

/* One end of a connection as the program has it; the test is the peer. */
struct memory_stream {
	struct stream   base;
	struct loop    *loop;
	struct link     link;   /* on the loop's streams */
	struct bytes    shown;  /* what stream_peek() gives, at most STREAM_RX_MAX */
	struct bytes    coming; /* sent by the peer, not shown yet */
	enum err        ends;   /* what comes after; ERR_OK: nothing yet */
	struct bytes    queue;  /* written, not taken by the peer */
	struct bytes    taken;
	size_t          accepts; /* bytes the peer takes at once; SIZE_MAX: all */
	size_t          queue_peak;
	bool            news;   /* the owner is to be woken */
	bool            full;   /* the owner waits for room, or for the last to be sent */
	bool            ending; /* stream_shutdown() was called */
	bool            ended;  /* and the peer has seen it */
	bool            closed;
	bool            is_upstream;
	struct endpoint to; /* of a dialled one */
};

struct loop *memory_loop_new(void);
/* Everything must have been closed. Frees the streams, too. */
void memory_loop_free(struct loop *l);

/* Wakes, calls and shows until nothing is left to do; time stands. */
void memory_loop_settle(struct loop *l);
/* Settles, then moves time on, from one deadline to the next. */
void memory_loop_pass(struct loop *l, msec ms);

/* A stream by its number in order of appearance (accepted and dialled), or NULL. */
struct memory_stream *memory_stream_at(struct loop *l, bool upstream, size_t index);
size_t                memory_streams(const struct loop *l, bool upstream);
struct memory_stream *memory_stream_new(struct loop *l, bool upstream);

void memory_stream_send(struct memory_stream *s, struct str bytes); /* the peer sends */
void memory_stream_end(struct memory_stream *s, enum err e);        /* ERR_EOF, ERR_RESET ... */
void memory_stream_accept(struct memory_stream *s, size_t n); /* the peer takes n queued bytes */

/* How dialling and handshakes end from now on: ERR_OK, an error, or ERR_BUSY for not at all. */
void   memory_loop_dials(struct loop *l, enum err e);
void   memory_loop_handshakes(struct loop *l, enum err e);
size_t memory_loop_pending(const struct loop *l); /* dials and handshakes under way */

/* What the wall clock shows now; it goes on with the time of the loop. 1970 until this is called. */
void memory_loop_set_unix(struct loop *l, uint64_t unix_ms);

/* Jobs run one after the other as the loop turns, cancelled ones too; held: not yet. */
void   memory_loop_hold_jobs(struct loop *l, bool held);
size_t memory_loop_jobs(const struct loop *l);

#endif
