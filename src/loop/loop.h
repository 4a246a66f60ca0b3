/*
 * loop.h - the event loop of the process, and time.
 *
 * Room loop/: libuv made ours. It knows deadlines, byte streams over sockets, listeners, connecting,
 * jobs in the thread pool and signals; it must never know what the bytes mean.
 *
 * Three kinds of things live on a loop. A deadline is embedded in its owner. An operation
 * (dial in socket.h, work.h) is started with the address of the owner's pointer, ends exactly once by
 * its done callback or by cancel, and frees itself. A stream (stream.h) is closed by its owner.
 * Callbacks are only ever made by the loop, never from inside a call into loop/.
 */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"

struct loop;

/* NULL: memory. Ignores SIGPIPE and SIGXFSZ for the process; sets the pool to two workers. */
struct loop *loop_new(void);
void         loop_free(struct loop *l); /* everything on it must have been closed */

/* Runs until loop_stop() or nothing is left to wait for. */
void loop_run(struct loop *l);
void loop_stop(struct loop *l);

msec loop_now(const struct loop *l);     /* monotonic, as of this turn of the loop */
msec loop_unix_ms(const struct loop *l); /* wall clock, read now */

/* Cryptographic randomness from the system. */
void loop_random(void *p, size_t n);

/*
 * A point in time at which something is called. Embedded in its owner; moving it later costs
 * nothing but a store, so it may be set for every byte. All deadlines of a loop share one timer.
 * Input that is there is handed over before a deadline is called; when the process or the machine
 * stood still, deadlines come DEADLINE_GRACE_MS later still, for what was to arrive meanwhile.
 */
enum { DEADLINE_GRACE_MS = 250 };
typedef void deadline_fn(void *arg);

struct deadline {
	struct loop *loop;
	deadline_fn *expired;
	void        *arg;
	msec         at;      /* when to call; MS_NEVER: not set */
	msec         heap_at; /* when the heap will look at it; private to deadline.c */
	size_t       index;   /* place in the heap, SIZE_MAX: none; private to deadline.c */
};

void deadline_init(struct deadline *d, struct loop *l, deadline_fn *expired, void *arg);
void deadline_in(struct deadline *d, msec from_now_ms); /* sets or moves */
void deadline_clear(struct deadline *d); /* never called any more; may be set again */

static inline bool deadline_is_set(const struct deadline *d)
{
	return d->at != MS_NEVER;
}

/*
 * Calls fn(arg) once from the loop, after the callbacks of this turn: for telling an owner what was
 * found out inside a call of his. Embedded; cancel by soon_clear().
 */
struct soon {
	struct loop *loop;
	deadline_fn *fn;
	void        *arg;
	struct soon *prev, *next; /* private to deadline.c */
	bool         queued;
};

void soon_init(struct soon *s, struct loop *l, deadline_fn *fn, void *arg);
void soon_call(struct soon *s); /* a second call before the first ran does nothing more */
void soon_clear(struct soon *s);

/* SIGTERM, SIGINT and SIGHUP as calls from the loop. One set per loop. */
struct loop_signals {
	deadline_fn *terminate, *reload;
	void        *arg;
};
enum err loop_watch_signals(struct loop *l, const struct loop_signals *s);
void     loop_unwatch_signals(struct loop *l);

/* The uv_loop_t, for net/ only. */
struct uv_loop_s;
struct uv_loop_s *loop_uv(struct loop *l);

#endif
