/*
 * socket.c - a TCP or unix socket of libuv as a stream.
 *
 * Input is read into the loop's scratch and shown from there while the owner is woken; only what he
 * leaves is copied and kept. Output is written at once; what the kernel does not take becomes
 * one chunk in flight and one growing behind it.
 */
#include "loop/socket.h"

#include <errno.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/buf.h"
#include "loop/inside.h"

enum { KEEPALIVE_S = 60 };

/* Bytes that wait for the kernel. */
struct chunk {
	uv_write_t request;
	size_t     len, size;
	char       bytes[];
};

struct sock {
	struct stream base;
	union {
		uv_handle_t handle;
		uv_stream_t stream;
		uv_tcp_t    tcp;
		uv_pipe_t   pipe;
	} uv;
	struct loop  *loop;
	struct soon   look;    /* tells the owner what a call of his found out */
	struct str    fresh;   /* input in the loop's scratch, during wake only */
	struct buf    kept;    /* input that the owner left; empty while fresh is not */
	struct chunk *flight;  /* being written by libuv */
	struct chunk *next;    /* not yet given to libuv */
	enum err      broken;  /* output failed, input is read to its end before we say so */
	bool          reading; /* libuv reads */
	bool          full;    /* room was 0 since the last wake for room */
	bool          ending;  /* the owner asked for shutdown */
};

static struct sock *sock_of(const struct stream *s)
{
	return (struct sock *)(uintptr_t)s;
}

static void sock_wake(struct sock *s)
{
	if (s->base.wake != NULL)
		s->base.wake(s->base.arg);
}

static void on_look(void *arg)
{
	sock_wake(arg);
}

/* --- input --- */

static size_t rx_waiting(const struct sock *s)
{
	return s->fresh.len + buf_len(&s->kept);
}

static void rx_stop(struct sock *s)
{
	uv_read_stop(&s->uv.stream);
	s->reading = false;
}

static void rx_ended(struct sock *s, enum err e)
{
	rx_stop(s);
	s->base.end = s->broken != ERR_OK ? s->broken : e;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
	struct sock *s = handle->data;

	(void)suggested;
	out->base = s->loop->scratch;
	out->len = STREAM_RX_MAX - rx_waiting(s);
}

/* Copies what the owner left in the scratch, and stops reading when that is all we may hold. */
static void rx_keep(struct sock *s)
{
	struct str left = s->fresh;

	s->fresh = (struct str){ "", 0 };
	if (left.len > 0 && buf_add(&s->kept, left) != ERR_OK) {
		rx_ended(s, ERR_NOMEM);
		soon_call(&s->look);
	}
	if (s->reading && rx_waiting(s) == STREAM_RX_MAX) {
		rx_stop(s);
		if (s->broken != ERR_OK) {
			s->base.end = s->broken; /* nobody would find out later */
			soon_call(&s->look);
		}
	}
}

/*
 * libuv says end of file for whatever hangs up behind the last bytes, a reset too. EPIPE is a reset
 * that came behind the end.
 */
static enum err end_of(const struct sock *s, int status)
{
	uv_os_fd_t fd;
	int        error = 0;
	socklen_t  len = sizeof(error);

	if (status == UV_EOF && uv_fileno(&s->uv.handle, &fd) == 0 &&
	    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) == 0 && error != 0 && error != EPIPE)
		status = uv_translate_sys_error(error);
	return loop_err(status);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *in)
{
	struct sock *s = stream->data;
	struct str   got = { in->base, n > 0 ? (size_t)n : 0 };

	if (n == 0)
		return; /* would block */
	if (n < 0)
		rx_ended(s, end_of(s, (int)n));
	else if (buf_len(&s->kept) == 0)
		s->fresh = got;
	else if (buf_add(&s->kept, got) != ERR_OK)
		rx_ended(s, ERR_NOMEM);
	sock_wake(s);
	if (!uv_is_closing(&s->uv.handle))
		rx_keep(s);
}

static struct str sock_peek(struct stream *stream)
{
	struct sock *s = sock_of(stream);

	return s->fresh.len > 0 ? s->fresh : buf_str(&s->kept);
}

static void sock_consume(struct stream *stream, size_t n)
{
	struct sock *s = sock_of(stream);

	if (s->fresh.len > 0) {
		check(n <= s->fresh.len);
		s->fresh = str_from(s->fresh, n);
		return; /* reading has not stopped */
	}
	buf_take(&s->kept, n);
	buf_rest(&s->kept);
	if (n > 0 && !s->reading && s->base.end == ERR_OK)
		sock_begin(s);
}

/* --- output --- */

static void on_written(uv_write_t *request, int status);

static size_t tx_waiting(const struct sock *s)
{
	return uv_stream_get_write_queue_size(&s->uv.stream) + (s->next != NULL ? s->next->len : 0);
}

static size_t sock_room(const struct stream *stream)
{
	const struct sock *s = sock_of(stream);
	size_t             waiting = tx_waiting(s);

	if (s->broken != ERR_OK || s->ending || waiting + STREAM_ROOM_LEAST > STREAM_TX_MAX)
		return 0;
	return STREAM_TX_MAX - waiting;
}

static size_t sock_unsent(const struct stream *stream)
{
	const struct sock *s = sock_of(stream);

	return s->broken != ERR_OK ? 0 : tx_waiting(s);
}

/* One look at the kernel's queue: neither bytes nor the end of the peer are there. */
static bool sock_quiet(const struct stream *stream)
{
	const struct sock *s = sock_of(stream);
	uv_os_fd_t         fd;
	char               byte;

	if (uv_fileno(&s->uv.handle, &fd) != 0)
		return false;
	return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
		(errno == EAGAIN || errno == EWOULDBLOCK);
}

static void tx_drop(struct sock *s)
{
	free(s->next);
	s->next = NULL;
}

/*
 * When the peer has reset the connection, what he sent before (an early answer) is still to be read,
 * and reading ends with the same news. Otherwise nothing will tell the owner but we.
 */
static void tx_failed(struct sock *s, int status)
{
	tx_drop(s);
	s->broken = loop_err(status);
	if (s->broken == ERR_RESET && s->reading)
		return;
	rx_stop(s);
	s->base.end = s->broken;
	soon_call(&s->look);
}

static void tx_end_if_done(struct sock *s)
{
	uv_os_fd_t fd;

	if (!s->ending || s->flight != NULL || s->next != NULL)
		return;
	if (uv_fileno(&s->uv.handle, &fd) == 0)
		shutdown(fd, SHUT_WR);
}

static void tx_fly(struct sock *s)
{
	struct chunk *c = s->next;
	uv_buf_t      bytes;
	int           status;

	if (c == NULL)
		return;
	bytes = uv_buf_init(c->bytes, (unsigned)c->len);
	c->request.data = s;
	status = uv_write(&c->request, &s->uv.stream, &bytes, 1, on_written);
	if (status != 0) {
		tx_failed(s, status);
		return;
	}
	s->flight = c;
	s->next = NULL;
}

static void on_written(uv_write_t *request, int status)
{
	struct sock *s = request->data;

	free(s->flight);
	s->flight = NULL;
	if (uv_is_closing(&s->uv.handle))
		return;
	if (status != 0) {
		tx_failed(s, status);
		return;
	}
	tx_fly(s);
	tx_end_if_done(s);
	if (s->ending ? tx_waiting(s) == 0 : s->full && tx_waiting(s) < STREAM_TX_MAX / 2) {
		s->full = false;
		sock_wake(s);
	}
}

/* Appends to the chunk that waits behind the one in flight. */
static enum err tx_queue(struct sock *s, struct str bytes)
{
	struct chunk *c = s->next;
	size_t        len = c != NULL ? c->len : 0;
	size_t        size = c != NULL ? c->size : 0;

	if (bytes.len > UINT32_MAX / 4 - len)
		return ERR_NOMEM;
	if (size - len < bytes.len) {
		size = s->flight != NULL ? 2 * (len + bytes.len) : len + bytes.len;
		if (size > STREAM_TX_MAX && len + bytes.len <= STREAM_TX_MAX)
			size = STREAM_TX_MAX; /* who obeys the room adds no more */
		c = realloc(c, sizeof(*c) + size);
		if (c == NULL)
			return ERR_NOMEM;
		c->size = size;
		s->next = c;
	}
	memcpy(c->bytes + len, bytes.ptr, bytes.len);
	c->len = len + bytes.len;
	return ERR_OK;
}

/* Writes what the kernel takes now; returns the rest. */
static struct str tx_now(struct sock *s, struct str bytes)
{
	uv_buf_t piece;
	int      n;

	if (s->flight != NULL || bytes.len == 0)
		return bytes;
	piece = uv_buf_init((char *)(uintptr_t)bytes.ptr, (unsigned)bytes.len);
	n = uv_try_write(&s->uv.stream, &piece, 1);
	if (n < 0 && n != UV_EAGAIN) {
		tx_failed(s, n);
		return (struct str){ "", 0 };
	}
	return str_from(bytes, n > 0 ? (size_t)n : 0);
}

static enum err sock_write(struct stream *stream, struct str bytes)
{
	struct sock *s = sock_of(stream);
	enum err     e;

	if (s->base.end != ERR_OK && s->base.end != ERR_EOF)
		return s->base.end;
	if (s->broken != ERR_OK)
		return ERR_OK; /* as if the kernel had taken it: the end will be told */
	if (s->ending)
		return ERR_EOF;
	bytes = tx_now(s, bytes);
	if (bytes.len == 0)
		return ERR_OK;
	e = tx_queue(s, bytes);
	if (e != ERR_OK) {
		tx_failed(s, UV_ENOMEM); /* part of it may be gone out already */
		return e;
	}
	if (s->flight == NULL)
		tx_fly(s);
	if (s->broken == ERR_OK && sock_room(stream) == 0)
		s->full = true;
	return ERR_OK;
}

static void sock_shutdown(struct stream *stream)
{
	struct sock *s = sock_of(stream);

	if (s->ending || s->broken != ERR_OK)
		return;
	s->ending = true;
	tx_end_if_done(s);
}

/* --- life --- */

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void sock_close(struct stream *stream)
{
	struct sock *s = sock_of(stream);

	s->base.wake = NULL;
	s->fresh = (struct str){ "", 0 };
	soon_clear(&s->look);
	buf_fini(&s->kept);
	tx_drop(s);
	uv_close(&s->uv.handle, on_closed); /* a chunk in flight comes home before */
}

static const struct stream_ops sock_ops = {
	.peek = sock_peek,
	.consume = sock_consume,
	.room = sock_room,
	.unsent = sock_unsent,
	.quiet = sock_quiet,
	.write = sock_write,
	.shutdown = sock_shutdown,
	.close = sock_close,
};

struct sock *sock_new(struct loop *l, bool is_unix)
{
	struct sock *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	if (is_unix)
		check(uv_pipe_init(&l->uv, &s->uv.pipe, 0) == 0);
	else
		check(uv_tcp_init(&l->uv, &s->uv.tcp) == 0);
	s->uv.handle.data = s;
	s->base.ops = &sock_ops;
	s->loop = l;
	s->fresh = (struct str){ "", 0 };
	buf_init(&s->kept, STREAM_RX_MAX);
	soon_init(&s->look, l, on_look, s);
	return s;
}

uv_stream_t *sock_uv(struct sock *s)
{
	return &s->uv.stream;
}

struct stream *sock_stream(struct sock *s)
{
	return &s->base;
}

enum err sock_begin(struct sock *s)
{
	int status = uv_read_start(&s->uv.stream, on_alloc, on_read);

	if (status != 0) {
		s->base.end = loop_err(status);
		soon_call(&s->look);
		return s->base.end;
	}
	s->reading = true;
	return ERR_OK;
}

void sock_tune(struct sock *s)
{
	if (s->uv.handle.type != UV_TCP)
		return;
	uv_tcp_nodelay(&s->uv.tcp, 1);
	uv_tcp_keepalive(&s->uv.tcp, 1, KEEPALIVE_S);
}
