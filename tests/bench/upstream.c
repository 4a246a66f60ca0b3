/*
 * upstream.c - the homeserver of the benchmark: as cheap as a homeserver can be.
 *
 * Usage: upstream PORT       listens on 127.0.0.1, prints "ready", runs until killed
 *
 * Plain HTTP/1.1 with keep-alive on one epoll loop. A request body needs a Content-Length and is
 * read and forgotten. What is answered depends on the target alone:
 *	.../download/NAME/length-N	N bytes with Content-Length	(N is rounded up to 64 KiB)
 *	.../download/NAME/chunked-N	N bytes in chunks of 64 KiB
 *	anything else			a small JSON document
 * It trusts its peers: only the servers under test talk to it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	HEAD_MAX = 8192,
	BLOCK_BYTES = 65536,
	CHUNK_HEAD = 7, /* "10000\r\n" */
	CHUNK_BYTES = CHUNK_HEAD + BLOCK_BYTES + 2,
	CONNS_MAX = 8192,
};

struct conn {
	int         fd;
	size_t      have;     /* bytes of in[] in use */
	uint64_t    drain;    /* bytes of request body still to come */
	char        out[512]; /* response head and small bodies */
	size_t      out_len, out_at;
	const char *block; /* then this block of block_len bytes, over and over */
	size_t      block_len, block_at;
	uint64_t    blocks; /* blocks still to send, the current one included */
	const char *tail;   /* then this text */
	bool        waits;  /* for room in the socket */
	char        in[HEAD_MAX + 1];
};

static char         plain_block[BLOCK_BYTES], chunk_block[CHUNK_BYTES];
static struct conn *conns[CONNS_MAX];
static int          epoll_fd;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void watch(struct conn *c, int op, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.fd = c->fd };

	if (epoll_ctl(epoll_fd, op, c->fd, &ev) != 0)
		die("epoll_ctl");
}

static void conn_close(struct conn *c)
{
	conns[c->fd] = NULL;
	close(c->fd);
	free(c);
}

/* Sends what is due; false when the connection is gone. Leaves out_len 0 when all is sent. */
static bool flush(struct conn *c)
{
	while (c->out_len > 0) {
		bool        head = c->out_at < c->out_len, body = !head && c->blocks > 0;
		const char *from = head ? c->out + c->out_at
			: body          ? c->block + c->block_at
					: c->tail;
		size_t      len = head ? c->out_len - c->out_at
			     : body    ? c->block_len - c->block_at
				       : strlen(c->tail);
		ssize_t     n = len == 0 ? 0 : send(c->fd, from, len, MSG_NOSIGNAL);

		if (n < 0) {
			if (errno != EAGAIN)
				return false;
			if (!c->waits)
				watch(c, EPOLL_CTL_MOD, EPOLLOUT);
			c->waits = true;
			return true;
		}
		if (head) {
			c->out_at += (size_t)n;
		} else if (body) {
			c->block_at = (c->block_at + (size_t)n) % c->block_len;
			c->blocks -= c->block_at == 0;
		} else {
			c->tail += n;
			if (*c->tail == '\0')
				c->out_len = 0;
		}
	}
	if (c->waits)
		watch(c, EPOLL_CTL_MOD, EPOLLIN);
	c->waits = false;
	return true;
}

static void answer_json(struct conn *c)
{
	static const char body[] = "{\"server\":{\"name\":\"Synapse\",\"version\":\"1.160.0\"}}";

	c->out_len = (size_t)snprintf(
		c->out, sizeof(c->out),
		"HTTP/1.1 200 OK\r\nServer: Synapse/1.160.0\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
		"Content-Type: application/json\r\nCache-Control: no-cache, no-store, must-revalidate\r\n"
		"Content-Length: %zu\r\n\r\n%s",
		sizeof(body) - 1, body);
	c->blocks = 0;
	c->tail = "";
}

static void answer_stream(struct conn *c, const char *kind)
{
	bool chunked = strncmp(kind, "chunked-", 8) == 0;
	char framing[64] = "Transfer-Encoding: chunked";

	c->blocks = (strtoull(strchr(kind, '-') + 1, NULL, 10) + BLOCK_BYTES - 1) / BLOCK_BYTES;
	if (!chunked)
		snprintf(framing, sizeof(framing), "Content-Length: %llu",
		         (unsigned long long)c->blocks * BLOCK_BYTES);
	c->block = chunked ? chunk_block : plain_block;
	c->block_len = chunked ? CHUNK_BYTES : BLOCK_BYTES;
	c->block_at = 0;
	c->tail = chunked ? "0\r\n\r\n" : "";
	c->out_len = (size_t)snprintf(
		c->out, sizeof(c->out),
		"HTTP/1.1 200 OK\r\nServer: Synapse/1.160.0\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
		"Content-Type: application/octet-stream\r\n%s\r\n\r\n",
		framing);
}

/* Takes one request head from in[], if whole. */
static bool take_head(struct conn *c)
{
	char *end, *target, *length;

	c->in[c->have] = '\0';
	end = strstr(c->in, "\r\n\r\n");
	if (end == NULL)
		return false;
	*end = '\0';
	length = strcasestr(c->in, "\r\ncontent-length:");
	c->drain = length == NULL ? 0 : strtoull(length + 17, NULL, 10);
	target = strstr(c->in, "/download/");
	target = target == NULL || target > strchr(c->in, '\r') ? NULL : strchr(target + 10, '/');
	c->out_at = 0;
	if (target != NULL && strchr(target, '-') != NULL)
		answer_stream(c, target + 1);
	else
		answer_json(c);
	c->have -= (size_t)(end + 4 - c->in);
	memmove(c->in, end + 4, c->have);
	return true;
}

/* Serves what in[] holds: heads, bodies, answers. False when the connection is gone. */
static bool serve(struct conn *c)
{
	for (;;) {
		size_t skip = c->drain < c->have ? (size_t)c->drain : c->have;

		memmove(c->in, c->in + skip, c->have - skip);
		c->have -= skip;
		c->drain -= skip;
		if (c->drain > 0)
			return true;
		if (c->out_len > 0 && !flush(c))
			return false;
		if (c->out_len > 0)
			return true;
		if (!take_head(c))
			return c->have < HEAD_MAX;
	}
}

static void on_event(struct conn *c, uint32_t events)
{
	if (c->waits) {
		if (!flush(c) || (!c->waits && !serve(c)))
			conn_close(c);
		return;
	}
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		ssize_t n = recv(c->fd, c->in + c->have, HEAD_MAX - c->have, 0);

		if (n < 0 && errno == EAGAIN)
			return;
		c->have += n > 0 ? (size_t)n : 0;
		if (n <= 0 || !serve(c))
			conn_close(c);
	}
}

static void on_accept(int listener)
{
	int          fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
	struct conn *c;

	if (fd < 0)
		return;
	c = fd < CONNS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (c == NULL)
		die("too many connections");
	c->fd = fd;
	conns[fd] = c;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	watch(c, EPOLL_CTL_ADD, EPOLLIN);
}

static int listen_on(const char *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
		                  .sin_port = htons((uint16_t)atoi(port)),
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&at, sizeof(at)) != 0 || listen(fd, 1024) != 0)
		die("cannot listen");
	return fd;
}

int main(int argc, char **argv)
{
	struct epoll_event events[64];
	int                listener;

	if (argc != 2)
		return fprintf(stderr, "usage: upstream PORT\n"), 2;
	memset(plain_block, 'x', sizeof(plain_block));
	memset(chunk_block, 'x', sizeof(chunk_block));
	memcpy(chunk_block, "10000\r\n", CHUNK_HEAD);
	memcpy(chunk_block + CHUNK_HEAD + BLOCK_BYTES, "\r\n", 2);
	listener = listen_on(argv[1]);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	watch(&(struct conn){ .fd = listener }, EPOLL_CTL_ADD, EPOLLIN);
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		int n = epoll_wait(epoll_fd, events, 64, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == listener)
				on_accept(listener);
			else if (conns[events[i].data.fd] != NULL)
				on_event(conns[events[i].data.fd], events[i].events);
		}
	}
}
