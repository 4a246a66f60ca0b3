/*
 * dns.c - c-ares on the loop: one poll handle per socket it opens, one deadline for its timeouts.
 *
 * c-ares calls back whenever it likes, also from inside ares_query(); such answers are put aside and
 * told from the loop. It cannot give up a single question either: one that is cancelled or late
 * stays with c-ares without an owner until c-ares is done with it, and keeps its place meanwhile.
 */
#include "net/dns.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/time.h>

#include <uv.h>

#define CARES_NO_DEPRECATED 1 /* the newer calls are not in 1.18 */
#include <ares.h>

#include "base/list.h"
#include "base/metrics.h"
#include "net/dns_answer.h"

enum {
	TRY_MS = 1000, /* doubled with each try */
	TRIES = 3,
	UDP_BYTES = 1232, /* what fits through everywhere */
	WAITING_PER_RUNNING = 16,
	ALIASES_MAX = 8,
	CLASS_IN = 1,
};

enum query_state {
	QUERY_WAITING,  /* for its turn */
	QUERY_RUNNING,  /* c-ares has it */
	QUERY_ANSWERED, /* the owner is to be told from the loop */
};

struct dns_query {
	enum query_state   state;
	struct dns_query **slot; /* the owner's pointer to us; NULL: he is gone */
	struct dns        *dns;
	struct link        link; /* in waiting or answered */
	struct deadline    deadline;
	struct dns_answer *answer; /* NULL when there was no memory for it */
	dns_done_fn       *done;
	void              *arg;
	enum dns_type      type;
	unsigned           aliases; /* that were followed by asking again */
	uint32_t           ttl_s;   /* least of theirs */
	char               name[DNS_NAME_MAX];
};

/* A socket of c-ares. */
struct watch {
	uv_poll_t     poll;
	struct dns   *dns;
	ares_socket_t fd;
	struct link   link;
};

struct dns {
	struct loop    *loop;
	ares_channel    channel;
	struct deadline timer; /* when c-ares wants to look at its timeouts */
	struct soon     work;  /* tells answers and begins what waits */
	struct link     waiting, answered, watches;
	size_t          running, running_max, waiting_count, waiting_max;
	size_t          open; /* poll handles that libuv still holds */
	bool            freed;
};

static struct dns_query *query_of(struct link *l)
{
	return LIST_ENTRY(l, struct dns_query, link);
}

/* --- sockets and timeouts --- */

static void dns_release(struct dns *d)
{
	if (d->freed && d->open == 0)
		free(d);
}

static void on_watch_closed(uv_handle_t *handle)
{
	struct watch *w = handle->data;

	w->dns->open--;
	dns_release(w->dns);
	free(w);
}

static void dns_arm(struct dns *d)
{
	struct timeval room, *in = ares_timeout(d->channel, NULL, &room);

	if (in == NULL)
		deadline_clear(&d->timer);
	else
		deadline_in(&d->timer, (msec)in->tv_sec * 1000 + (msec)in->tv_usec / 1000 + 1);
}

static void on_timer(void *arg)
{
	struct dns *d = arg;

	ares_process_fd(d->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	dns_arm(d);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;
	struct dns   *d = w->dns;
	ares_socket_t in = w->fd, out = w->fd;

	if (status == 0 && (events & UV_READABLE) == 0)
		in = ARES_SOCKET_BAD;
	if (status == 0 && (events & UV_WRITABLE) == 0)
		out = ARES_SOCKET_BAD;
	ares_process_fd(d->channel, in, out);
	dns_arm(d);
}

static struct watch *watch_find(struct dns *d, ares_socket_t fd)
{
	for (struct link *l = d->watches.next; l != &d->watches; l = l->next) {
		struct watch *w = LIST_ENTRY(l, struct watch, link);

		if (w->fd == fd)
			return w;
	}
	return NULL;
}

static struct watch *watch_new(struct dns *d, ares_socket_t fd)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (w == NULL || uv_poll_init(loop_uv(d->loop), &w->poll, fd) != 0) {
		free(w);
		return NULL; /* the question will time out */
	}
	w->poll.data = w;
	w->dns = d;
	w->fd = fd;
	list_push_back(&d->watches, &w->link);
	d->open++;
	return w;
}

static void on_socket(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct dns   *d = arg;
	struct watch *w = watch_find(d, fd);

	if (!readable && !writable) {
		if (w == NULL)
			return;
		list_remove(&w->link);
		uv_close((uv_handle_t *)&w->poll, on_watch_closed);
		return;
	}
	if (w == NULL)
		w = watch_new(d, fd);
	if (w != NULL)
		uv_poll_start(&w->poll, (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0),
		              on_poll);
}

/* --- questions --- */

static void query_free(struct dns_query *q)
{
	deadline_clear(&q->deadline);
	free(q->answer);
	free(q);
}

/* Takes the question from the owner; frees it unless c-ares still has it. */
static void query_leave(struct dns_query *q)
{
	*q->slot = NULL;
	q->slot = NULL;
	deadline_clear(&q->deadline);
	switch (q->state) {
	case QUERY_RUNNING:
		return;
	case QUERY_WAITING:
		q->dns->waiting_count--;
		break;
	case QUERY_ANSWERED:
		break;
	}
	list_remove(&q->link);
	query_free(q);
}

static void tell_failure(dns_done_fn *done, void *arg, const char *why)
{
	struct dns_answer a = { .outcome = DNS_FAILED, .why = why };

	done(arg, &a);
}

static void on_deadline(void *arg)
{
	struct dns_query *q = arg;
	dns_done_fn      *done = q->done;
	void             *owner = q->arg;

	query_leave(q);
	tell_failure(done, owner, "timeout");
}

static const char *status_text(int status)
{
	switch (status) {
	case ARES_EFORMERR:
		return "formerr";
	case ARES_ESERVFAIL:
		return "servfail";
	case ARES_ENOTIMP:
		return "notimp";
	case ARES_EREFUSED:
		return "refused";
	case ARES_ETIMEOUT:
		return "timeout";
	case ARES_ECONNREFUSED:
		return "no server"; /* also: each of several failed */
	case ARES_EBADRESP:
		return "malformed";
	case ARES_ENOMEM:
		return "no memory";
	default:
		return "failed";
	}
}

static void answer_set(struct dns_query *q, int status, const unsigned char *bytes, int len)
{
	q->answer = calloc(1, sizeof(*q->answer));
	if (q->answer == NULL)
		return;
	if ((status == ARES_SUCCESS || status == ARES_ENODATA || status == ARES_ENOTFOUND) &&
	    bytes != NULL && len > 0) {
		dns_answer_read(str_span(bytes, (size_t)len), q->name, q->type, q->answer);
		return;
	}
	q->answer->outcome = DNS_FAILED;
	q->answer->why = status_text(status);
}

/* The server knew only where the name leads to. True: that is asked for. */
static bool follow_alias(struct dns_query *q)
{
	struct dns_answer *a = q->answer;

	if (a == NULL || a->alias[0] == '\0')
		return false;
	if (q->aliases++ == ALIASES_MAX) {
		a->outcome = DNS_FAILED;
		a->why = "long chain of aliases";
		return false;
	}
	strcpy(q->name, a->alias);
	q->ttl_s = a->ttl_s < q->ttl_s ? a->ttl_s : q->ttl_s;
	free(a);
	q->answer = NULL;
	q->state = QUERY_WAITING;
	list_push_front(&q->dns->waiting, &q->link);
	q->dns->waiting_count++;
	return true;
}

static void on_answer(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
	struct dns_query *q = arg;
	struct dns       *d = q->dns;

	(void)timeouts;
	d->running--;
	gauge_down(GAUGE_dns_queries_open);
	if (!d->freed)
		soon_call(&d->work);
	if (q->slot == NULL) {
		query_free(q);
		return;
	}
	answer_set(q, status, bytes, len);
	if (follow_alias(q))
		return;
	if (q->answer != NULL && q->answer->ttl_s > q->ttl_s)
		q->answer->ttl_s = q->ttl_s;
	q->state = QUERY_ANSWERED;
	list_push_back(&d->answered, &q->link);
}

static void query_begin(struct dns_query *q)
{
	struct dns *d = q->dns;

	list_remove(&q->link);
	d->waiting_count--;
	d->running++;
	gauge_up(GAUGE_dns_queries_open);
	q->state = QUERY_RUNNING;
	ares_query(d->channel, q->name, CLASS_IN, dns_answer_type(q->type), on_answer, q);
	dns_arm(d);
}

static void query_tell(struct dns_query *q)
{
	struct dns_answer *a = q->answer;
	dns_done_fn       *done = q->done;
	void              *arg = q->arg;

	q->answer = NULL;
	query_leave(q);
	if (a == NULL)
		tell_failure(done, arg, "no memory");
	else
		done(arg, a);
	free(a);
}

/* One answer at a time, because the owner who is told may free us. */
static void on_work(void *arg)
{
	struct dns *d = arg;

	while (!list_empty(&d->waiting) && d->running < d->running_max)
		query_begin(query_of(d->waiting.next));
	if (list_empty(&d->answered))
		return;
	soon_call(&d->work);
	query_tell(query_of(d->answered.next));
}

enum err dns_query_start(struct dns_query **slot, struct dns *d, const char *name,
                         enum dns_type type, msec deadline_ms, dns_done_fn *done, void *arg)
{
	struct str        text = str_of(name);
	struct dns_query *q;

	if (text.len > 1 && text.ptr[text.len - 1] == '.')
		text.len--;
	if (!dns_answer_name_ok(text))
		return ERR_SYNTAX;
	if (d->waiting_count >= d->waiting_max)
		return ERR_BUSY;
	q = calloc(1, sizeof(*q));
	if (q == NULL)
		return ERR_NOMEM;
	q->state = QUERY_WAITING;
	q->slot = slot;
	q->dns = d;
	q->done = done;
	q->arg = arg;
	q->type = type;
	q->ttl_s = UINT32_MAX;
	(void)str_copy(text, q->name, sizeof(q->name));
	deadline_init(&q->deadline, d->loop, on_deadline, q);
	deadline_in(&q->deadline, deadline_ms);
	list_push_back(&d->waiting, &q->link);
	d->waiting_count++;
	soon_call(&d->work);
	*slot = q;
	return ERR_OK;
}

void dns_query_cancel(struct dns_query **slot)
{
	if (*slot != NULL)
		query_leave(*slot);
}

/* --- life --- */

static int use_server(struct dns *d, const struct address *server)
{
	struct ares_addr_port_node node = {
		.family = server->family == ADDRESS_V4 ? AF_INET : AF_INET6,
		.udp_port = server->port,
		.tcp_port = server->port,
	};

	memcpy(&node.addr, server->ip, address_ip_bytes(server));
	return ares_set_servers_ports(d->channel, &node);
}

static int channel_open(struct dns *d, const struct address *server)
{
	struct ares_options o = {
		.flags = ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES | ARES_FLAG_EDNS,
		.timeout = TRY_MS,
		.tries = TRIES,
		.ednspsz = UDP_BYTES,
		.sock_state_cb = on_socket,
		.sock_state_cb_data = d,
	};
	int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_EDNSPSZ |
		ARES_OPT_SOCK_STATE_CB;
	int status;

#ifdef ARES_OPT_QUERY_CACHE /* 1.31; what is remembered, and for how long, is decided elsewhere */
	mask |= ARES_OPT_QUERY_CACHE;
	o.qcache_max_ttl = 0;
#endif
	status = ares_library_init(ARES_LIB_INIT_ALL);
	if (status != ARES_SUCCESS)
		return status;
	if (server != NULL)
		o.flags |= ARES_FLAG_NOCHECKRESP; /* no other to ask: let us see what it said */
	status = ares_init_options(&d->channel, &o, mask);
	if (status != ARES_SUCCESS) {
		ares_library_cleanup();
		return status;
	}
	return server != NULL ? use_server(d, server) : ARES_SUCCESS;
}

enum err dns_new(struct loop *l, const struct address *server, size_t queries_max, struct dns **out)
{
	struct dns *d = calloc(1, sizeof(*d));
	int         status;

	if (d == NULL)
		return ERR_NOMEM;
	d->loop = l;
	d->running_max = queries_max;
	d->waiting_max = queries_max * WAITING_PER_RUNNING;
	list_init(&d->waiting);
	list_init(&d->answered);
	list_init(&d->watches);
	deadline_init(&d->timer, l, on_timer, d);
	soon_init(&d->work, l, on_work, d);
	status = channel_open(d, server);
	metrics.gauges[GAUGE_dns_queries_open].limit += queries_max; /* there may be several */
	if (status == ARES_SUCCESS) {
		*out = d;
		return ERR_OK;
	}
	if (d->channel != NULL) {
		dns_free(d);
	} else {
		metrics.gauges[GAUGE_dns_queries_open].limit -= queries_max;
		free(d);
	}
	return status == ARES_ENOMEM ? ERR_NOMEM : ERR_CONFIG;
}

void dns_free(struct dns *d)
{
	if (d == NULL)
		return;
	check(list_empty(&d->waiting) && list_empty(&d->answered));
	metrics.gauges[GAUGE_dns_queries_open].limit -= d->running_max;
	soon_clear(&d->work);
	deadline_clear(&d->timer);
	d->freed = true;
	d->open++; /* ours, so that d outlives the next call */
	ares_destroy(d->channel);
	ares_library_cleanup();
	d->open--;
	dns_release(d);
}
