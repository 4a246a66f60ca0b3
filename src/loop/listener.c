/*
 * listener.c - accepting connections.
 *
 * The listening socket is polled and accept() called here rather than by libuv: so a busy listener
 * cannot keep the loop, running out of descriptors is seen and waited out with the connections
 * left in the kernel, and the peer's address comes without a further call.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "loop/inside.h"
#include "loop/socket.h"

enum {
	ACCEPT_BATCH = 16, /* connections per turn of the loop */
	ACCEPT_REST_MS = 100,
	BACKLOG = 511,
};

struct listener {
	uv_poll_t       poll;
	struct loop    *loop;
	int             fd;
	struct endpoint at;
	accept_fn      *on_accept;
	void           *arg;
	struct deadline rest; /* set: descriptors or memory ran out, not accepting until then */
	bool            paused;
};

static void on_ready(uv_poll_t *poll, int status, int events);

static void listener_listen(struct listener *li)
{
	if (!li->paused && !deadline_is_set(&li->rest))
		uv_poll_start(&li->poll, UV_READABLE, on_ready);
}

static void on_rested(void *arg)
{
	listener_listen(arg);
}

static void listener_rest(struct listener *li)
{
	uv_poll_stop(&li->poll);
	deadline_in(&li->rest, ACCEPT_REST_MS);
}

static void listener_hand_over(struct listener *li, int fd, const struct sockaddr_storage *from)
{
	struct address peer = sock_address_in(from);
	struct sock   *s = sock_new(li->loop, li->at.path[0] != '\0');
	int            status;

	if (s == NULL) {
		close(fd);
		return;
	}
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	if (li->at.path[0] != '\0')
		status = uv_pipe_open((uv_pipe_t *)sock_uv(s), fd);
	else
		status = uv_tcp_open((uv_tcp_t *)sock_uv(s), fd);
	if (status != 0) {
		close(fd);
		stream_close(sock_stream(s));
		return;
	}
	sock_tune(s);
	sock_begin(s);
	li->on_accept(li->arg, sock_stream(s), &peer);
}

/* Whether to try on at once. */
static bool listener_accept(struct listener *li)
{
	struct sockaddr_storage from = { .ss_family = AF_UNSPEC };
	socklen_t               len = sizeof(from);
	int                     fd = accept(li->fd, (struct sockaddr *)&from, &len);

	if (fd >= 0) {
		listener_hand_over(li, fd, &from);
		return true;
	}
	switch (errno) {
	case EAGAIN:
		return false;
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
		listener_rest(li);
		return false;
	default:
		return true; /* that connection has failed already, see accept(2) */
	}
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct listener *li = poll->data;

	(void)status;
	(void)events;
	for (int i = 0; i < ACCEPT_BATCH && listener_accept(li); i++) {
		if (li->paused || uv_is_closing((uv_handle_t *)poll))
			return;
	}
}

/* --- opening --- */

static bool is_stale_socket(const struct sockaddr_un *un)
{
	struct stat st;
	bool        stale;
	int         fd;

	if (lstat(un->sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	stale = connect(fd, (const struct sockaddr *)un, sizeof(*un)) != 0 && errno == ECONNREFUSED;
	close(fd);
	return stale;
}

static int bind_unix(int fd, const char *path)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	mode_t             mask;
	int                r;

	if (!str_copy(str_of(path), un.sun_path, sizeof(un.sun_path))) {
		errno = ENAMETOOLONG;
		return -1;
	}
	mask = umask(0117); /* 0660 from the first moment */
	r = bind(fd, (struct sockaddr *)&un, sizeof(un));
	if (r != 0 && errno == EADDRINUSE) {
		if (is_stale_socket(&un) && unlink(path) == 0)
			r = bind(fd, (struct sockaddr *)&un, sizeof(un));
		else
			errno = EADDRINUSE;
	}
	umask(mask);
	return r;
}

static int bind_tcp(int fd, struct endpoint *at)
{
	struct sockaddr_storage ss;
	socklen_t               len = sock_address_out(&at->address, &ss);
	int                     on = 1, v6_only = at->v6_only;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
		return -1;
	if (ss.ss_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6_only, sizeof(v6_only)) != 0)
		return -1;
	if (bind(fd, (struct sockaddr *)&ss, len) != 0)
		return -1;
	if (at->address.port != 0)
		return 0;
	len = sizeof(ss);
	if (getsockname(fd, (struct sockaddr *)&ss, &len) != 0)
		return -1;
	at->address.port = sock_address_in(&ss).port;
	return 0;
}

/* A bound and listening descriptor; -1 with errno. */
static int listen_at(struct endpoint *at)
{
	int family = at->address.family == ADDRESS_V4 ? AF_INET : AF_INET6;
	int fd, r, saved;

	if (at->path[0] != '\0')
		family = AF_UNIX;
	fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	r = family == AF_UNIX ? bind_unix(fd, at->path) : bind_tcp(fd, at);
	if (r == 0 && listen(fd, BACKLOG) == 0)
		return fd;
	saved = errno;
	close(fd);
	errno = saved;
	return -1;
}

enum err listener_open(struct loop *l, const struct endpoint *at, accept_fn *on_accept, void *arg,
                       struct listener **out)
{
	struct listener *li = calloc(1, sizeof(*li));
	int              status;

	if (li == NULL)
		return ERR_NOMEM;
	li->loop = l;
	li->at = *at;
	li->on_accept = on_accept;
	li->arg = arg;
	deadline_init(&li->rest, l, on_rested, li);
	li->fd = listen_at(&li->at);
	if (li->fd < 0) {
		status = uv_translate_sys_error(errno);
		free(li);
		errno = -status;
		return loop_err(status);
	}
	status = uv_poll_init(&l->uv, &li->poll, li->fd);
	if (status != 0) {
		close(li->fd);
		free(li);
		errno = -status;
		return loop_err(status);
	}
	li->poll.data = li;
	listener_listen(li);
	*out = li;
	return ERR_OK;
}

void listener_pause(struct listener *li)
{
	li->paused = true;
	uv_poll_stop(&li->poll);
}

void listener_resume(struct listener *li)
{
	li->paused = false;
	listener_listen(li);
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void listener_close(struct listener *li)
{
	if (li->at.path[0] != '\0')
		unlink(li->at.path);
	deadline_clear(&li->rest);
	uv_close((uv_handle_t *)&li->poll, on_closed);
	close(li->fd);
}

const struct endpoint *listener_endpoint(const struct listener *li)
{
	return &li->at;
}
