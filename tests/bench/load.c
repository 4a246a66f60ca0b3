/*
 * load.c - the other servers of the benchmark: TLS clients on OpenSSL, one thread, one epoll loop.
 *
 * Usage: load PORT MODE COUNT WARM CONNECTIONS TLS [BYTES] [STALL_MS]
 *	get		small federation GET on kept-alive connections
 *	put		federation PUT with 4 KiB of JSON, every transaction id different
 *	length		download of BYTES with Content-Length
 *	chunked		download of BYTES in chunks
 *	handshake	connect, full handshake, close
 *	idle		connect, full handshake, one GET, stay
 * TLS is 1.2 or 1.3. Does WARM tasks, prints "ready", waits for a line on stdin, does COUNT tasks,
 * prints one line of JSON, and holds its connections until stdin ends: so the caller can read the
 * server's meters exactly around the tasks. STALL_MS: time between asking and starting to read.
 *
 * Every answer is checked: status 200, framing, length. Anything else counts as failed.
 * To give every server the same work, one cipher suite and one key share are offered: those that
 * OpenSSL 3, and with it Synapse, arrives at by default.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define SERVER_NAME "socialnetwork24.com"

enum { HEAD_MAX = 8192, PUT_BYTES = 4096, QUIET_MS = 20000, FAILED_MAX = 3 };

enum mode { MODE_GET, MODE_PUT, MODE_LENGTH, MODE_CHUNKED, MODE_HANDSHAKE, MODE_IDLE, MODE_COUNT };
static const char *const mode_names[MODE_COUNT] = {
	"get", "put", "length", "chunked", "handshake", "idle",
};

enum state {
	CONN_NONE,    /* no socket */
	CONN_OPENING, /* connect and handshake in flight */
	CONN_HEAD,    /* waiting for the whole response head */
	CONN_BODY,
	CONN_CLOSING, /* close_notify sent, waiting for the server's end */
	CONN_IDLE,    /* handshake and all requests done */
};

enum chunk { CHUNK_SIZE, CHUNK_DATA, CHUNK_DATA_END, CHUNK_TRAILER };

struct conn {
	enum state state;
	int        fd;
	SSL       *ssl;
	char       head[HEAD_MAX + 1];
	size_t     have;           /* bytes in head */
	bool       chunked, close; /* what the response head said */
	uint64_t   left;           /* bytes of body, or of chunk, still to come */
	uint64_t   body;           /* bytes of body so far */
	enum chunk chunk;
	size_t     line; /* bytes in the chunk size or trailer line so far */
};

static struct {
	enum mode     mode;
	uint16_t      port;
	unsigned long target, started, done, failed, reconnects, opened;
	uint64_t      bytes, want; /* body bytes received in all; expected per response */
	unsigned      slots, stall_ms;
	unsigned long txn;
	SSL_CTX      *ctx;
	int           epoll_fd;
	char          cipher[64];
	struct conn  *conns;
} l;

static char   request[PUT_BYTES + 1024];
static size_t request_len;
static char  *request_txn; /* where the ten digits of the transaction id stand */

static void task_start(struct conn *c);

static void die(const char *what)
{
	fprintf(stderr, "load: %s\n", what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

static void request_build(void)
{
	static const char auth[] =
		"Authorization: X-Matrix origin=\"tchncs.de\",destination=\"" SERVER_NAME "\","
		"key=\"ed25519:a_XyZw\",sig=\"Jhv0q8kZ9pT2cW7mB4nY6xL1sD3fG5hK8jQ0wE2rT4yU6iO8pA1sD3fG5hK7"
		"lZ9xC1vB3nM5qW7eR9tY2uI4oA\"\r\n";
	static const char common[] = "Host: " SERVER_NAME
				     "\r\nUser-Agent: Synapse/1.160.0\r\nAccept: */*\r\n";
	static const char event[] =
		"{\"auth_events\":[\"$UYo1nZEqTgTJX1Xh3qf0gGJxEq2DZ1bEh8oJ1n2i3k4\"],\"content\":{\"body\":"
		"\"The quick brown fox jumps over the lazy dog\",\"msgtype\":\"m.text\"},\"depth\":4711,"
		"\"origin_server_ts\":1767225600000,\"room_id\":\"!testraum:" SERVER_NAME "\","
		"\"sender\":\"@egon:tchncs.de\",\"type\":\"m.room.message\"}";
	static const char end[] = "],\"pad\":\"";
	char              body[PUT_BYTES + 1], kind[32];
	size_t            n;

	if (l.mode == MODE_PUT) {
		n = (size_t)sprintf(body,
		                    "{\"origin\":\"tchncs.de\",\"origin_server_ts\":1767225600000,"
		                    "\"edus\":[],\"pdus\":[%s",
		                    event);
		while (n + sizeof(event) + sizeof(end) + 2 < PUT_BYTES)
			n += (size_t)sprintf(body + n, ",%s", event);
		n += (size_t)sprintf(body + n, "%s", end);
		memset(body + n, 'p', PUT_BYTES - 2 - n);
		memcpy(body + PUT_BYTES - 2, "\"}", 3);
		request_len = (size_t)sprintf(
			request,
			"PUT /_matrix/federation/v1/send/%010d HTTP/1.1\r\n%s%s"
			"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			0, common, auth, PUT_BYTES, body);
		request_txn = strstr(request, "0000000000");
		return;
	}
	snprintf(kind, sizeof(kind), "%s-%llu", mode_names[l.mode], (unsigned long long)l.want);
	if (l.mode == MODE_LENGTH || l.mode == MODE_CHUNKED)
		request_len = (size_t)sprintf(request,
		                              "GET /_matrix/media/v3/download/" SERVER_NAME
		                              "/%s HTTP/1.1\r\n%s\r\n",
		                              kind, common);
	else
		request_len = (size_t)sprintf(request,
		                              "GET /_matrix/federation/v1/version HTTP/1.1\r\n"
		                              "%s%s\r\n",
		                              common, auth);
}

static void conn_watch(struct conn *c, int op, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = c };

	if (epoll_ctl(l.epoll_fd, op, c->fd, &ev) != 0)
		die("epoll_ctl");
}

static void conn_drop(struct conn *c)
{
	SSL_free(c->ssl);
	close(c->fd);
	c->ssl = NULL;
	c->state = CONN_NONE;
}

static void conn_open(struct conn *c)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
		                  .sin_port = htons(l.port),
		                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int                on = 1;

	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0 ||
	    (connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0 && errno != EINPROGRESS))
		die("cannot connect");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	c->ssl = SSL_new(l.ctx);
	if (c->ssl == NULL || !SSL_set_fd(c->ssl, c->fd) ||
	    !SSL_set_tlsext_host_name(c->ssl, SERVER_NAME))
		die("no TLS connection object");
	SSL_set_connect_state(c->ssl);
	c->state = CONN_OPENING;
	conn_watch(c, EPOLL_CTL_ADD, EPOLLOUT);
}

/* The slot that takes the next task: for idle, one that was never opened. */
static struct conn *next_slot(struct conn *c)
{
	return l.mode == MODE_IDLE && l.opened < l.slots ? &l.conns[l.opened] : c;
}

static void task_end(struct conn *c, bool ok)
{
	*(ok ? &l.done : &l.failed) += 1;
	if (!ok && l.failed > FAILED_MAX)
		die("too many failed requests");
	if (!ok || c->close || l.mode == MODE_HANDSHAKE)
		conn_drop(c);
	else
		c->state = CONN_IDLE;
	task_start(next_slot(c));
}

static void task_failed(struct conn *c, const char *why)
{
	fprintf(stderr, "load: %s failed: %s (%.60s)\n", mode_names[l.mode], why, c->head);
	ERR_print_errors_fp(stderr);
	task_end(c, false);
}

static bool wants_io(struct conn *c, int result)
{
	int e = SSL_get_error(c->ssl, result);

	return e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE;
}

static void request_send(struct conn *c)
{
	int n;

	if (request_txn != NULL) {
		char digits[16];

		snprintf(digits, sizeof(digits), "%010lu", l.txn++ % 1000000000);
		memcpy(request_txn, digits, 10);
	}
	c->have = c->body = 0;
	c->head[0] = '\0';
	n = SSL_write(c->ssl, request, (int)request_len);
	if (n == (int)request_len)
		c->state = CONN_HEAD;
	else if (wants_io(c, n))
		die("a request does not fit into an empty socket");
	else
		task_failed(c, "sending");
}

static void task_start(struct conn *c)
{
	if (l.started == l.target)
		return;
	l.started++;
	if (c->state == CONN_IDLE) {
		request_send(c);
		return;
	}
	if (c == &l.conns[l.opened])
		l.opened++;
	else if (l.mode != MODE_HANDSHAKE)
		l.reconnects++;
	conn_open(c);
}

/* Reads the response head in c->head; false if it is not the answer we want. */
static bool head_read(struct conn *c)
{
	const char *length = strcasestr(c->head, "\r\ncontent-length:");

	c->chunked = strcasestr(c->head, "\r\ntransfer-encoding: chunked\r\n") != NULL;
	c->close = strcasestr(c->head, "\r\nconnection: close\r\n") != NULL;
	c->left = length == NULL ? 0 : strtoull(length + 17, NULL, 10);
	c->chunk = CHUNK_SIZE;
	c->line = 0;
	return strncmp(c->head, "HTTP/1.1 200 ", 13) == 0 && (c->chunked || length != NULL);
}

static int hex(char ch)
{
	if (ch >= '0' && ch <= '9')
		return ch - '0';
	ch |= 32;
	return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

enum body { BODY_MORE, BODY_END, BODY_BAD };

static enum body chunked_take(struct conn *c, const char *p, size_t n)
{
	while (n > 0) {
		size_t k;

		switch (c->chunk) {
		case CHUNK_DATA:
			k = c->left < n ? (size_t)c->left : n;
			c->left -= k;
			c->body += k;
			if (c->left == 0)
				c->chunk = CHUNK_DATA_END;
			p += k;
			n -= k;
			continue;
		case CHUNK_SIZE:
			if (hex(*p) >= 0)
				c->left = c->left * 16 + (uint64_t)hex(*p), c->line++;
			else if (*p == '\n' && c->line > 0)
				c->chunk = c->left > 0 ? CHUNK_DATA : CHUNK_TRAILER, c->line = 0;
			else if (*p != '\r')
				return BODY_BAD;
			break;
		case CHUNK_DATA_END:
			if (*p == '\n')
				c->chunk = CHUNK_SIZE, c->line = 0;
			else if (*p != '\r')
				return BODY_BAD;
			break;
		case CHUNK_TRAILER:
			if (*p == '\n' && c->line == 0)
				return n == 1 ? BODY_END : BODY_BAD;
			c->line = *p == '\n' ? 0 : c->line + (*p != '\r');
			break;
		}
		p++;
		n--;
	}
	return BODY_MORE;
}

static enum body body_take(struct conn *c, const char *p, size_t n)
{
	if (c->chunked)
		return chunked_take(c, p, n);
	if (n > c->left)
		return BODY_BAD;
	c->left -= n;
	c->body += n;
	return c->left == 0 ? BODY_END : BODY_MORE;
}

/* Feeds n bytes from the server; true while the task goes on. */
static bool conn_take(struct conn *c, const char *p, size_t n)
{
	enum body b;

	if (c->state == CONN_HEAD) {
		size_t before = c->have, k = n < HEAD_MAX - c->have ? n : HEAD_MAX - c->have, head;
		char  *end;

		memcpy(c->head + before, p, k);
		c->have += k;
		c->head[c->have] = '\0';
		end = strstr(c->head, "\r\n\r\n");
		if (end == NULL && c->have < HEAD_MAX)
			return true;
		if (end == NULL || (end[2] = '\0', !head_read(c))) {
			task_failed(c, "not a good response head");
			return false;
		}
		head = (size_t)(end + 4 - c->head);
		p += head - before;
		n -= head - before;
		c->left = c->chunked ? 0 : c->left;
		c->state = CONN_BODY;
	}
	b = body_take(c, p, n);
	if (b == BODY_MORE)
		return true;
	l.bytes += c->body;
	if (b == BODY_END && (l.want == 0 || c->body == l.want))
		task_end(c, true);
	else
		task_failed(c, "bad body");
	return false;
}

static void conn_read(struct conn *c)
{
	static char buf[32768];
	int         n;

	do {
		n = SSL_read(c->ssl, buf, sizeof(buf));
	} while (n > 0 && (c->state == CONN_CLOSING || conn_take(c, buf, (size_t)n)));
	if (n > 0 || wants_io(c, n))
		return;
	if (c->state == CONN_CLOSING)
		task_end(c, true);
	else if (c->state == CONN_IDLE)
		die("an idle connection was closed by the server");
	else
		task_failed(c, "closed by the server");
}

static void conn_opening(struct conn *c)
{
	int n = SSL_do_handshake(c->ssl);

	if (n != 1) {
		if (!wants_io(c, n))
			task_failed(c, "handshake");
		else
			conn_watch(c, EPOLL_CTL_MOD, EPOLLIN);
		return;
	}
	if (SSL_session_reused(c->ssl))
		die("the handshake was not a full one");
	snprintf(l.cipher, sizeof(l.cipher), "%s %s %s", SSL_get_version(c->ssl),
	         SSL_get_cipher(c->ssl),
	         SSL_group_to_name(c->ssl, (int)SSL_get_negotiated_group(c->ssl)));
	conn_watch(c, EPOLL_CTL_MOD, EPOLLIN);
	c->head[0] = '\0';
	c->close = false;
	if (l.mode != MODE_HANDSHAKE) {
		c->state = CONN_HEAD;
		request_send(c);
		return;
	}
	SSL_shutdown(c->ssl);
	shutdown(c->fd, SHUT_WR);
	c->state = CONN_CLOSING;
}

static void run(unsigned long count, unsigned connections, unsigned stall_ms)
{
	struct epoll_event events[64];

	l.target = count;
	l.started = l.done = l.failed = l.reconnects = l.bytes = 0;
	for (unsigned i = 0; i < connections; i++)
		task_start(next_slot(&l.conns[i]));
	usleep(stall_ms * 1000);
	while (l.done + l.failed < l.target) {
		int n = epoll_wait(l.epoll_fd, events, 64, QUIET_MS);

		if (n == 0)
			die("nothing happens any more");
		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.ptr;

			if (c->state == CONN_OPENING)
				conn_opening(c);
			else if (c->state != CONN_NONE)
				conn_read(c);
		}
	}
}

static void tls_set_up(const char *version)
{
	int v = strcmp(version, "1.2") == 0 ? TLS1_2_VERSION : TLS1_3_VERSION;

	l.ctx = SSL_CTX_new(TLS_client_method());
	if (l.ctx == NULL || !SSL_CTX_set_min_proto_version(l.ctx, v) ||
	    !SSL_CTX_set_max_proto_version(l.ctx, v) ||
	    !SSL_CTX_set_cipher_list(l.ctx, "ECDHE-ECDSA-AES256-GCM-SHA384") ||
	    !SSL_CTX_set_ciphersuites(l.ctx, "TLS_AES_256_GCM_SHA384") ||
	    !SSL_CTX_set1_groups_list(l.ctx, "X25519:P-256"))
		die("cannot set up TLS");
	SSL_CTX_set_mode(l.ctx, SSL_MODE_RELEASE_BUFFERS);
}

/* Is every connection that was left idle still open, and silent? */
static bool idle_alive(void)
{
	char byte;

	for (unsigned i = 0; i < l.opened && l.mode == MODE_IDLE; i++)
		if (recv(l.conns[i].fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN)
			return false;
	return true;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	unsigned long count, warm;
	unsigned      connections;
	double        begin;
	char          line[16];

	if (argc < 7)
		return fprintf(stderr, "usage: at the top of load.c\n"), 2;
	l.port = (uint16_t)atoi(argv[1]);
	while (l.mode < MODE_COUNT && strcmp(mode_names[l.mode], argv[2]) != 0)
		l.mode++;
	if (l.mode == MODE_COUNT)
		die("unknown mode");
	count = strtoul(argv[3], NULL, 10);
	warm = strtoul(argv[4], NULL, 10);
	connections = (unsigned)atoi(argv[5]);
	l.want = argc > 7 ? strtoull(argv[7], NULL, 10) : 0;
	l.slots = l.mode == MODE_IDLE ? (unsigned)(count + warm) : connections;
	l.conns = calloc(l.slots + 1, sizeof(*l.conns));
	l.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	tls_set_up(argv[6]);
	request_build();
	run(warm, warm < connections ? (unsigned)warm : connections, 0);
	printf("ready\n");
	fflush(stdout);
	if (fgets(line, sizeof(line), stdin) == NULL)
		return 1;
	begin = now();
	run(count, connections, argc > 8 ? (unsigned)atoi(argv[8]) : 0);
	printf("{\"done\": %lu, \"failed\": %lu, \"reconnects\": %lu, \"bytes\": %llu, \"seconds\": %.3f, "
	       "\"cipher\": \"%s\"}\n",
	       l.done, l.failed, l.reconnects, (unsigned long long)l.bytes, now() - begin,
	       l.cipher);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) != NULL)
		;
	if (!idle_alive())
		die("an idle connection did not stay");
	return l.failed == 0 ? 0 : 1;
}
